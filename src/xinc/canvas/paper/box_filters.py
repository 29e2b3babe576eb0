"""Where a neuron's plane lands: windows, taps and phases of the path from a layer to the picture.

A box filter after a nearest-neighbour up-sampling by r is, on the coarse grid, a few taps for each of the r phases; so
is a box filter after placing a plane at one sub-pixel of every r x r cell. Both are separable, and neither grid is ever
filled with copies or zeros. Worked out here once a layer, for any odd kernel and any up-sampling, in (y, x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.kernels import BLOCK, CODES, GROUP, Chain
from xinc.canvas.network.activations import IDENTITY, Activation
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Bounds, Window, cells, filtered_from
from xinc.notation import Floats, Indices


@dataclass(frozen=True)
class BoxAxis:
    """One step along one axis: phase ``p`` of cell ``c`` is ``sum_t taps[cell, p, t] coarse[c + offset + t]``."""

    upscale: int
    offset: int
    taps: Floats  # (cells, phases, taps)


@dataclass(frozen=True)
class Step:
    """A box filter behind an up-sampling, and the activation that follows."""

    y: BoxAxis
    x: BoxAxis
    activation: Activation


def box_axis(kernel: int, upscale: int, *, placed: bool) -> BoxAxis:
    """Taps of a mean over ``kernel`` behind an up-sampling by ``upscale``.

    Args:
        kernel: odd width of the box.
        upscale: of the grid in front of the box.
        placed: whether that grid holds a plane at one sub-pixel a cell (one set of taps for each sub-pixel), and not
            copies of the coarse value.
    """
    half = kernel // 2
    offset = -((half + upscale - 1) // upscale)
    count = 2 * -offset + 1
    cells = upscale if placed else 1
    taps = np.zeros((cells, upscale, count), np.float32)
    for phase in range(upscale):
        for t in range(count):
            for sub in range(upscale):
                distance = upscale * (t + offset) + sub - phase
                if abs(distance) <= half:
                    taps[sub if placed else 0, phase, t] += 1
    return BoxAxis(upscale, offset, taps / np.float32(kernel))


def steps_to_picture(plan: Plan, position: int) -> list[Step]:
    """The steps from the placed plane of a stage to the picture (section 3.2 of the paper, rules D5 and D6)."""
    stage = plan.stages[position]
    upscale, placed = stage.upscale, True
    steps = []
    for later in plan.stages[position + 1 :]:
        kernel = later.weight.shape[2:]
        final = later is plan.stages[-1]
        steps.append(
            Step(
                box_axis(int(kernel[0]), upscale[0], placed=placed),
                box_axis(int(kernel[1]), upscale[1], placed=placed),
                IDENTITY if final else later.activation,
            )
        )
        upscale, placed = later.upscale, False
    if not steps:  # the head: its planes are the maps
        steps.append(Step(box_axis(1, upscale[0], placed=True), box_axis(1, upscale[1], placed=True), IDENTITY))
    return steps


@dataclass(frozen=True)
class _Ranges:
    """Along one axis: cells each step expands, and the first index and size of each step's input buffer."""

    cells: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    plane: tuple[int, int]


def _ranges(axes: list[BoxAxis], coarse: list[int], lo: int, hi: int) -> _Ranges:
    """What each step must compute along one axis so that the picture's ``[lo, hi)`` comes out right."""
    covering: list[Bounds] = []
    needed = (lo, hi)
    for axis, size in zip(reversed(axes), reversed(coarse), strict=True):
        covering.insert(0, cells(needed, axis.upscale))
        needed = filtered_from(covering[0], -axis.offset, size)
    # A step's input buffer holds what the step before it expanded (whole cells), with room for zeros at both ends.
    made = [(axis.upscale * a, axis.upscale * b) for axis, (a, b) in zip(axes, covering, strict=True)]
    windows = [needed, *made[:-1]]
    starts = tuple(-axis.offset - window[0] for axis, window in zip(axes, windows, strict=True))
    sizes = tuple(window[1] - window[0] - 2 * axis.offset for axis, window in zip(axes, windows, strict=True))
    return _Ranges(tuple(covering), starts, sizes, needed)


_SLACK = 64
"""Values behind a buffer that a filter over whole rows may read and never uses."""


@dataclass(frozen=True)
class WindowPath:
    """A path over one window.

    Attributes:
        chain: for the compiled loops.
        scratch: ``(steps - 1 + GROUP, values)``, the intermediate grids' buffers.
        line: values of a line buffer.
        covered: the window that is really computed, whole cells of the last up-sampling.
        stride: length of a coarse row of the last step in its buffer, padding included.
    """

    chain: Chain
    scratch: tuple[int, int]
    line: int
    covered: Window
    stride: int


@dataclass(frozen=True)
class Path:
    """Everything about a layer's way to the picture that does not depend on the window."""

    steps: tuple[Step, ...]
    coarse: tuple[tuple[int, int], ...]  # grid in front of each step's up-sampling
    values: Floats
    weight: Floats
    shift: Floats
    cell: Indices
    activation: Activation

    @property
    def phases(self) -> tuple[int, int]:
        """Up-sampling of the last step: rows of the picture are made phase by phase of it."""
        return self.steps[-1].y.upscale, self.steps[-1].x.upscale

    def window(self, window: Window) -> WindowPath:
        """The chain for a window, its buffers' sizes, and the window that it really covers (whole cells)."""
        steps = self.steps
        y = _ranges([step.y for step in steps], [grid[0] for grid in self.coarse], window.y0, window.y1)
        x = _ranges([step.x for step in steps], [grid[1] for grid in self.coarse], window.x0, window.x1)
        ry, rx = self.phases
        strides = list(x.sizes)
        strides[0] = max(strides[0], x.plane[1] - x.plane[0] + self.weight.shape[3] - 1)
        base_y, base_x = self._base(y.cells[0], x.cells[0])
        own = _parameters(self.activation)
        table = [
            (s.y.upscale, s.x.upscale, s.y.taps.shape[2], s.x.taps.shape[2], s.y.offset, s.x.offset, *cy, *cx)
            for s, cy, cx in zip(steps, y.cells, x.cells, strict=True)
        ]
        codes = [CODES[step.activation.name] for step in steps]
        chain = Chain(
            values=self._read(y.plane, x.plane, strides[0]),
            weight=self.weight,
            shift=self.shift,
            cell=self.cell,
            code=CODES[self.activation.name],
            parameter=own,
            window=np.array([*y.plane, *x.plane], np.int64),
            start=np.array(list(zip(y.starts, x.starts, strides, strict=True)), np.int64),
            steps=np.array([(*row, code) for row, code in zip(table, codes, strict=True)], np.int64),
            parameters=np.stack([_parameters(step.activation) for step in steps]),
            taps_y=_stacked([step.y.taps for step in steps]),
            taps_x=_stacked([step.x.taps for step in steps]),
            base_y=base_y,
            base_x=base_x,
            has_base=bool(own[2] != 0),
        )
        covered = Window(ry * y.cells[-1][0], ry * y.cells[-1][1], rx * x.cells[-1][0], rx * x.cells[-1][1])
        largest = max(a * b for a, b in zip(y.sizes, strides, strict=True))
        line = max(largest, *(max(BLOCK, b) * s.x.upscale for s, b in zip(steps, strides, strict=True)))
        return WindowPath(chain, (len(steps) - 1 + GROUP, largest + _SLACK), line + _SLACK, covered, strides[-1])

    def _read(self, rows: tuple[int, int], columns: tuple[int, int], stride: int) -> Floats:
        """What the convolution reads for some of its rows and columns ``(C_in, values)``, rows ``stride`` apart."""
        ky, kx = self.weight.shape[2:]
        seen = self.values[:, rows[0] : rows[1] + ky - 1, columns[0] : columns[1] + kx - 1]
        room = stride - seen.shape[2]
        spaced = np.pad(seen, ((0, 0), (0, 0), (0, room))) if room else seen  # a whole picture is often read as it is
        return np.ascontiguousarray(spaced.reshape(len(seen), -1))

    def _base(self, cells_y: tuple[int, int], cells_x: tuple[int, int]) -> tuple[Floats, Floats]:
        """Box mean of a constant plane of the activation's value at 0, separable, zeros outside the picture."""
        zero = _parameters(self.activation)[2]
        if zero == 0:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        first = self.steps[0]
        rows = _coverage(first.y, cells_y, self.coarse[0][0])
        columns = _coverage(first.x, cells_x, self.coarse[0][1])
        return (rows * zero).astype(np.float32), np.ascontiguousarray(columns, np.float32)


def _coverage(axis: BoxAxis, cells: tuple[int, int], size: int) -> Floats:
    """Share of a box that lies inside the picture, for each fine index of the cells."""
    inside = np.zeros((cells[1] - cells[0], axis.upscale), np.float32)
    for index, cell in enumerate(range(*cells)):
        for t in range(axis.taps.shape[2]):
            if 0 <= cell + axis.offset + t < size:
                inside[index] += axis.taps[:, :, t].sum(0)
    return inside.reshape(-1)


def _parameters(activation: Activation) -> Floats:
    """Two parameters and the value at zero."""
    zero = float(activation(torch.zeros(1))[0])
    given = (*activation.parameters, 0.0, 0.0)
    return np.array([given[0], given[1], zero], np.float32)


def _stacked(taps: list[Floats]) -> Floats:
    """Tap tables of all steps in one array, padded with zeros."""
    shape = tuple(max(table.shape[d] for table in taps) for d in range(3))
    stacked = np.zeros((len(taps), *shape), np.float32)
    for index, table in enumerate(taps):
        stacked[index, : table.shape[0], : table.shape[1], : table.shape[2]] = table
    return stacked


def path_of(plan: Plan, position: int, *, official: bool) -> Path:
    """The path of a convolution stage under the paper's method, or the published code's."""
    stage = plan.stages[position]
    is_head = position == len(plan.stages) - 1
    rh, rw = stage.upscale
    sub = np.arange(stage.outputs) % (rh * rw)
    grids = []
    height, width = int(stage.input.shape[1]), int(stage.input.shape[2])
    for later in plan.stages[position:]:
        grids.append((height, width))
        height, width = height * later.upscale[0], width * later.upscale[1]
    return Path(
        steps=tuple(steps_to_picture(plan, position)),
        coarse=tuple(grids[: max(1, len(grids) - 1)]),
        values=padded(stage.input, stage.padding),
        weight=np.ascontiguousarray(stage.weight.float().numpy().transpose(1, 0, 2, 3)),
        shift=np.ascontiguousarray(stage.bias_or_zero.float().numpy() / np.float32(stage.inputs)),
        cell=np.stack([sub // rw, sub % rw], 1).astype(np.int64),
        activation=IDENTITY if is_head and official else stage.activation,
    )


def padded(values: Tensor, padding: tuple[int, int]) -> Floats:
    """Channels with zeros around them, as the kernels read them."""
    py, px = padding
    result: Floats = np.ascontiguousarray(torch.nn.functional.pad(values.float(), (px, px, py, py)).numpy())
    return result
