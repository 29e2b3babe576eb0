"""First-order transport of a convolution's kernels through the Jacobian's table, in compiled loops over bands of rows.

A kernel's plane is non-zero at one sub-pixel of every cell behind the shuffle, so few entries of a pixel's window meet
it, and which ones depends on the pixel's phase alone: its row and column modulo the layer's total up-sampling.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.exact.jacobian import Jacobian, Space
from xinc.canvas.exact.tail import derivative
from xinc.canvas.kernels.course import LANES, Course
from xinc.canvas.kernels.folds import Fold
from xinc.canvas.kernels.transport import stream_transport, stream_transport_pair
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import ReceptiveField, Window, crop
from xinc.canvas.reductions.fold import Accumulators, BandPass, Folded, Pass
from xinc.canvas.reductions.packing import Packing
from xinc.canvas.reductions.stream import in_threads, workers
from xinc.notation import ColouredMaps, Floats, Indices

TABLE_VALUES = 1 << 26
"""Values that the table of a band, and the one it is made from, may hold; also those kept between passes (256 MB)."""

BAND_PIXELS = 1 << 13
"""Pixels of a band: one channel's part of the table stays in the second-level cache while input channels pass by."""

TILED_BELOW = 256
"""Values of a phase in a band under which neighbouring phases are worked on together."""


class Scratch(NamedTuple):
    """Buffers of one thread; see :func:`~xinc.canvas.kernels.transport.stream_transport`."""

    coefficients: Floats
    plane: Floats
    tiles: Floats
    lines: Floats


@dataclass(frozen=True)
class Taps:
    """For each sub-pixel and phase along one axis: first window index, number of taps, first cell ``(r, phases)``."""

    first: Indices
    count: Indices
    cell: Indices

    @classmethod
    def of(cls, reach: ReceptiveField, pixels: Indices) -> Taps:
        """The taps of one pixel in each phase."""
        start, extent, r = reach.start[pixels], reach.extent[pixels], reach.upscale
        sub = np.arange(r)[:, None]
        first = (sub - start) % r
        return cls(first, np.maximum(0, -((first - extent) // r)), (start + first - sub) // r)

    @property
    def cells(self) -> tuple[int, int]:
        """First cell that a tap reads, and one behind the last."""
        used = self.count > 0
        if not used.any():
            return 0, 0
        return int(self.cell[used].min()), int((self.cell + self.count)[used].max())


class Courses:
    """The bands of a layer: their geometry, worked out once, and their tables, made when needed.

    Args:
        plan: a chain of convolutions with at most three colours.
        position: of the stage.
    """

    def __init__(self, plan: Plan, position: int) -> None:
        self.stage, self.size = plan.stages[position], plan.size
        self.jacobian = Jacobian(plan, position)
        height, width = plan.size
        self.grid = (int(self.stage.input.shape[1]), int(self.stage.input.shape[2]))
        self.step = (height // self.grid[0], width // self.grid[1])
        rows = max(1, min(height, TABLE_VALUES // (self.jacobian.values() * width), BAND_PIXELS // width))
        self.whole = rows >= self.step[0]
        rows = rows // self.step[0] * self.step[0] if self.whole else rows
        self.bands = [(y, min(height, y + rows)) for y in range(0, height, rows)]
        self.tiled = self.phase_rows(self.bands[0]) * self.grid[1] < TILED_BELOW
        self.columns = np.arange(width).reshape(self.grid[1], self.step[1]).T.reshape(-1)
        self.taps_x = Taps.of(self.jacobian.columns[0], np.arange(self.step[1]))
        low, high = self.taps_x.cells
        self.offsets = (min(0, low), max(0, high - 1))
        reach = max(self.offsets[1] - self.offsets[0], int(self.stage.weight.shape[3]) - 1)
        self.pitch = self.grid[1] + reach
        self.stride = self.grid[1] if self.tiled else self.pitch
        self.runs = self._runs()
        self._kept: dict[tuple[int, int], Course] = {}

    def phase_rows(self, band: tuple[int, int]) -> int:
        """Rows of a band in one phase: one where a band has no whole cell."""
        return (band[1] - band[0]) // self.step[0] if self.whole else 1

    def packing(self, band: tuple[int, int]) -> Packing:
        """How a band's planes are packed: its phases one after the other; row by row where it has no whole cell."""
        rows = band[1] - band[0]
        cut = ((0, rows),) if self.whole else tuple((y, y + 1) for y in range(rows))
        phases = (self.step[0] if self.whole else 1, self.step[1])
        return Packing(cut, phases, self.size[1], (self.stride,) * len(cut))

    def _runs(self) -> Indices:
        """For each sub-pixel: first phase, phases, taps, first cell of the runs; filled up with zeros."""
        found: list[list[tuple[int, int, int, int]]] = []
        for count, cell in zip(self.taps_x.count.tolist(), self.taps_x.cell.tolist(), strict=True):
            runs: list[tuple[int, int, int, int]] = []
            for phase, (taps, first) in enumerate(zip(count, cell, strict=True)):
                begin = first if taps else 0
                if self.tiled and runs and runs[-1][2:] == (taps, begin):
                    runs[-1] = (runs[-1][0], runs[-1][1] + 1, taps, begin)
                else:
                    runs.append((phase, 1, taps, begin))
            found.append(runs)
        table = np.zeros((len(found), max(map(len, found)), 4), np.int64)
        for row, runs in zip(table, found, strict=True):
            row[: len(runs)] = runs
        return table

    @cached_property
    def slope(self) -> Floats:
        """``φ'`` of the layer's own activation, on the convolution's grid ``(C_out, h, w)``."""
        fine = derivative(self.stage.activation, self.stage.preactivation()).float()
        (rh, rw), (height, width) = self.stage.upscale, self.grid
        cells = fine.reshape(-1, height, rh, width, rw).permute(0, 2, 4, 1, 3)
        result: Floats = np.ascontiguousarray(cells.reshape(-1, height, width).numpy())
        return result

    @cached_property
    def _values(self) -> tuple[Floats, Floats]:
        weight = np.ascontiguousarray(self.stage.weight.float().numpy().transpose(1, 0, 2, 3))
        (py, px), width = self.stage.padding, self.grid[1]
        sides = (px, self.pitch - width - px, py, py)
        values = torch.nn.functional.pad(self.stage.input.float(), sides).reshape(-1)
        return np.append(values.numpy(), np.zeros(8, np.float32)), weight

    def vertical(self, band: tuple[int, int]) -> Taps:
        """Taps along y of the phases of a band."""
        return Taps.of(
            self.jacobian.rows[0], np.arange(band[0], band[0] + (band[1] - band[0]) // self.phase_rows(band))
        )

    def course(self, band: tuple[int, int], space: Space, *, keep: bool = False) -> Course:
        """What the loop needs for a band, its table included; it lies in ``space`` unless it is kept."""
        if (kept := self._kept.get(band)) is not None:
            return kept
        taps = self.vertical(band)
        low, high = taps.cells
        table = self.jacobian.table(np.arange(*band), self.columns, space)
        if table.shape[3] < 3:
            table = np.pad(table, [(0, 3 - table.shape[3]) if axis == 3 else (0, 0) for axis in range(6)])
        course = Course(
            table=table.reshape(-1),
            shape=np.array(table.shape, np.int64),
            slope=self.slope,
            values=self._values[0],
            weight=self._values[1],
            upscale=np.array(self.stage.upscale, np.int64),
            grid=np.array([low, high + self.phase_rows(band) - 1], np.int64),
            phase_rows=self.phase_rows(band),
            stride=self.stride,
            pitch=self.pitch,
            left=-self.offsets[0],
            tiled=self.tiled,
            taps_y=np.stack([taps.first, taps.count, taps.cell], 2).astype(np.int64),
            taps_x=self.taps_x.first.astype(np.int64),
            runs=self.runs,
        )
        if keep and table.size * (len(self._kept) + 1) <= TABLE_VALUES:
            space.release(table)
            self._kept[band] = course
            _keeper(self)
        return course

    def forget(self) -> None:
        """Let go of the tables that were kept."""
        self._kept.clear()

    def scratch(self, frames: int = 1) -> Scratch:
        """Buffers of one thread that serve every band, the first one the largest; coefficients of several frames."""
        most = self.phase_rows(self.bands[0])
        taps = [self.vertical(band) for band in self.bands]
        cells = max(high - low for low, high in (tap.cells for tap in taps)) + most
        meetings = max(int(np.maximum(tap.count, 1).sum(1).max()) for tap in taps)
        area, lines = most * self.stride, 0
        for runs in self.runs.tolist():
            blocks = [-(-phases * area // LANES) * max(1, count) for _, phases, count, _ in runs]
            lines = max(lines, 3 * sum(blocks) * meetings)
        tile = int(self.runs[:, :, 1].max()) * most * self.grid[1]
        offsets = self.offsets[1] - self.offsets[0] + 1
        return Scratch(
            np.zeros(frames * (lines + 1) * LANES, np.float32),
            np.zeros((cells + 1) * self.pitch + LANES, np.float32),
            np.zeros(cells * offsets * tile + LANES if self.tiled else 1, np.float32),
            np.zeros((2, max(3 * LANES, self.step[1] * area)), np.float32),
        )


_last: weakref.ref[Courses] | None = None
_KEEPING = Lock()


def _keeper(courses: Courses) -> None:
    """Only one layer keeps tables between its passes: memory does not grow with the layers that were looked at."""
    global _last
    with _KEEPING:
        previous = _last() if _last is not None else None
        _last = weakref.ref(courses)
    if previous is not None and previous is not courses:
        previous.forget()


def fold_transport(
    courses: Courses, wanted: Pass, progress: Callable[[float], None] | None = None, before: Courses | None = None
) -> Folded:
    """Fold the maps of all kernels, band by band; threads share the output channels.

    A pass that makes histograms is followed by others: its tables are kept, as far as memory allows.

    Args:
        courses: of the layer.
        wanted: what is collected.
        progress: told of the share that was done.
        before: of the same layer on another frame, where two are compared.
    """
    stage = courses.stage
    total = Folded.empty(stage.neurons, courses.size, wanted)
    inputs = np.arange(stage.inputs)
    frames = 1 if before is None else 2
    scratch, spaces = [courses.scratch(frames) for _ in range(workers())], [Space() for _ in range(frames)]
    report = None if progress is None else lambda share: progress(share / len(courses.bands))
    for rows in courses.bands:
        course = courses.course(rows, spaces[0], keep="histogram" in wanted)
        then = before.course(rows, spaces[1]) if before is not None else None
        part = BandPass(stage.neurons, courses.packing(rows), wanted, rows, total)

        def work(o: int, own: tuple[Fold, Scratch], course: Course = course, then: Course | None = then) -> None:
            how = (o, inputs, inputs * stage.outputs + o, *own[1], own[0])
            if then is None:
                stream_transport(course, *how)
            else:
                stream_transport_pair(course, then, *how, Accumulators.nothing(own[0].earlier[None]))

        folds = [part.worker() for _ in scratch]
        in_threads(range(stage.outputs), work, list(zip(folds, scratch, strict=True)).pop, report)
        part.finish(folds)
    if "thresholds" in wanted:
        courses.forget()
    return total


def maps_by_transport(courses: Courses, neurons: Sequence[int]) -> Floats:
    """Whole maps of some kernels, ``(n, H, W)``."""
    index, outputs = np.asarray(neurons, np.int64), courses.stage.outputs
    maps = np.empty((len(index), *courses.size), np.float32)
    wanted = {int(o): np.flatnonzero(index % outputs == o) for o in np.unique(index % outputs)}
    space = Space()
    for band in courses.bands:
        course, packing = courses.course(band, space), courses.packing(band)
        dense = np.zeros((len(index), packing.origins[-1]), np.float32)
        fold = Accumulators.nothing(dense)

        def work(o: int, own: Scratch, course: Course = course, fold: Fold = fold) -> None:
            stream_transport(course, o, index[wanted[o]] // outputs, wanted[o], *own, fold)

        in_threads(list(wanted), work, courses.scratch, None)
        maps[:, slice(*band)] = packing.unpack(dense)
    return maps


def terms_at(courses: Courses, rows: Indices, columns: Indices) -> ColouredMaps:
    """Terms of all kernels at the crossings of some rows and columns, ``(K, colours, rows, columns)``.

    Pixels whose windows begin in the same cell share the cells that they see, and with them what the kernels' planes
    hold there: a small matrix product for each output channel.
    """
    jacobian, stage = courses.jacobian, courses.stage
    table = torch.from_numpy(jacobian.table(rows, columns))
    y, x = jacobian.rows[0], jacobian.columns[0]
    made = table.new_zeros(stage.neurons, jacobian.colours, len(rows), len(columns))
    for top, own_rows in _by_cell(y, rows):
        for left, own_columns in _by_cell(x, columns):
            pixels = _crossing(own_rows, own_columns)
            shifts = (y.start[rows[own_rows]] - top * y.upscale, x.start[columns[own_columns]] - left * x.upscale)
            entries = _by_channel(table[..., pixels[0], pixels[1]], shifts, stage.upscale)
            made[:, :, pixels[0], pixels[1]] = _met(courses, entries, (top, left))
    return made


def _crossing(rows: Indices, columns: Indices) -> tuple[Any, Any]:
    """Ascending rows and columns as an index of two axes: slices where none is left out, which are much faster."""
    ends = [(int(own[0]), int(own[-1]) + 1) for own in (rows, columns)]
    if all(end - first == len(own) for (first, end), own in zip(ends, (rows, columns), strict=True)):
        return slice(*ends[0]), slice(*ends[1])
    down, across = np.ix_(rows, columns)
    return down, across


def _by_cell(reach: ReceptiveField, pixels: Indices) -> list[tuple[int, Indices]]:
    """The asked pixels by the cell in which their windows begin."""
    cells = reach.start[pixels] // reach.upscale
    return [(int(cell), np.flatnonzero(cells == cell)) for cell in np.unique(cells)]


def _by_channel(table: Tensor, shifts: tuple[Indices, Indices], upscale: tuple[int, int]) -> Tensor:
    """Entries of a table by output channel and cell ``(C_out, colours, rows, columns, cells y, cells x)``.

    Args:
        table: ``(window y, window x, channels, colours, rows, columns)``.
        shifts: where in its first cell the window of each row and column begins.
        upscale: of the shuffle.
    """
    (rh, rw), (height, width, channels, *pixels) = upscale, table.shape
    down, across = (height + rh - 2) // rh + 1, (width + rw - 2) // rw + 1
    placed = table.new_zeros(down * rh, across * rw, channels, *pixels)
    for a in np.unique(shifts[0]):
        for b in np.unique(shifts[1]):
            own = _crossing(np.flatnonzero(shifts[0] == a), np.flatnonzero(shifts[1] == b))
            placed[a : a + height, b : b + width, ..., own[0], own[1]] = table[..., own[0], own[1]]
    split = placed.reshape(down, rh, across, rw, channels, *pixels).permute(4, 1, 3, 5, 6, 7, 0, 2)
    return split.reshape(channels * rh * rw, *pixels, down, across)


def _met(courses: Courses, entries: Tensor, first: tuple[int, int]) -> Tensor:
    """Entries times the planes of all kernels over the cells from ``first`` on, ``(K, colours, rows, columns)``."""
    stage, (outputs, colours, rows, columns, down, across) = courses.stage, entries.shape
    window = Window(first[0], first[0] + down, first[1], first[1] + across)
    grid = Window(0, courses.grid[0], 0, courses.grid[1])
    slope = crop(torch.from_numpy(courses.slope), grid, window)  # zero outside: there are no planes there
    values = crop(stage.input.float(), grid, window.widened(stage.padding))
    kernel = stage.weight.shape[2:]
    patches = values.unfold(1, kernel[0], 1).unfold(2, kernel[1], 1)  # inputs, cells y, cells x, taps y, taps x
    weight = stage.weight.float().flatten(2)
    planes = torch.einsum("oit,iqt->oiq", weight, patches.reshape(stage.inputs, -1, weight.shape[2]))
    planes *= slope.reshape(outputs, 1, -1)
    terms = planes @ entries.reshape(outputs, colours * rows * columns, -1).transpose(1, 2)
    return terms.transpose(0, 1).reshape(-1, colours, rows, columns)
