"""The Jacobian of the picture by an earlier stage's values, as a table: the rest of the network is local.

A pixel ``p`` sees a small window of every earlier grid, so ``J[p, c; f, ch] = ∂y_c(p) / ∂u_ch(f)``, with ``u`` the
values behind a stage's activation, is a dense block for each pixel: window x channels x colours. It is made backwards,
stage by stage, for any rows and columns of the picture by themselves; so memory is bounded by the rows taken at a time.

One step goes from the window behind a stage through its activation, shuffle and convolution to the window behind the
stage before it. Pixels whose windows begin at the same sub-pixel of a cell share the geometry: for such a class a step
is a matrix product for each cell of the convolution's grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.exact.tail import derivative, pixels_of
from xinc.canvas.kernels.windows import gather_class, scatter_class
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import ReceptiveField, Window, receptive_fields
from xinc.canvas.reductions.stream import workers
from xinc.notation import Floats, Indices

TILE = 1536
"""Columns of a matrix product: what it makes stays in cache until it is put in place."""

SHARED_FROM = 64
"""Rows of a matrix from which on threads share the work on them."""


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Makes the table of a convolution stage for any rows and columns of the picture.

    Attributes:
        plan: a chain of convolutions.
        position: of the stage; the table ends behind its activation.
    """

    plan: Plan
    position: int

    @cached_property
    def rows(self) -> list[ReceptiveField]:
        """Windows along y, of the stage and those behind it."""
        return receptive_fields(self.plan, self.position, 0)

    @cached_property
    def columns(self) -> list[ReceptiveField]:
        """Windows along x."""
        return receptive_fields(self.plan, self.position, 1)

    @property
    def colours(self) -> int:
        """Colours of the picture."""
        return len(self.plan.output)

    @cached_property
    def _slopes(self) -> list[Floats]:
        """``φ'`` behind the shuffle of every later stage, with zeros around it as wide as windows reach."""
        slopes = []
        for step, stage in enumerate(self.plan.stages[self.position + 1 :], start=1):
            slope = derivative(stage.activation, stage.preactivation()).float()
            y, x = self.rows[step], self.columns[step]
            padded = torch.nn.functional.pad(slope, (x.margin, x.overhang, y.margin, y.overhang))
            slopes.append(np.ascontiguousarray(padded.numpy()))
        return slopes

    def values(self) -> int:
        """Values held for one pixel while the table is made: two stages' windows at a time."""
        stages = self.plan.stages[self.position :]
        sizes = [
            y.length * x.length * self.colours * _shuffled(stage)
            for stage, y, x in zip(stages, self.rows, self.columns, strict=True)
        ]
        return max(a + b for a, b in zip([*sizes, 0], [0, *sizes], strict=True))

    def products(self) -> float:
        """Multiplications for one pixel."""
        total = 0.0
        for step in range(1, len(self.rows)):
            stage, y, x = self.plan.stages[self.position + step], self.rows[step], self.columns[step]
            window = float(y.extent.mean() * x.extent.mean())
            total += self.colours * window * _shuffled(stage) * stage.weight[0].numel()
        return total

    def table(self, rows: Indices, columns: Indices, space: Space | None = None) -> Floats:
        """``∂y_c(p) / ∂u_ch(f)`` for pixels at the crossings of some rows and columns.

        Args:
            rows: of the picture.
            columns: of the picture.
            space: memory to work in; the table lies in it too, and is lost when it is used again.

        Returns:
            ``(window y, window x, channels, colours, rows, columns)``; the window of row y and column x begins at
            ``self.rows[0].start[y]``, ``self.columns[0].start[x]``.
        """
        colours, space = self.colours, space or Space()
        last = len(self.rows) - 1
        table = space.array(f"table {last % 2}", (1, 1, colours, colours, len(rows), len(columns)))
        table[:] = np.eye(colours, dtype=np.float32)[:, :, None, None]
        for step in range(last, 0, -1):
            table = self._step(step, table, rows, columns, space)
        return table

    def _step(self, step: int, table: Floats, rows: Indices, columns: Indices, space: Space) -> Floats:
        """From the window behind stage ``position + step`` to the window behind the one before."""
        stage = self.plan.stages[self.position + step]
        window = (self.rows[step - 1].length, self.columns[step - 1].length)
        shape = (*window, stage.inputs, self.colours, len(rows), len(columns))
        made = space.array(f"table {(step - 1) % 2}", shape)
        target = made.reshape(-1, *shape[3:])
        most = max(1, TILE * self.rows[step].upscale // (self.colours * len(columns)))
        for y in _classes(self.rows[step], rows, most):
            for x in _classes(self.columns[step], columns):
                key = (step, y.sub, y.length, x.sub, x.length)
                if key not in space.geometry:
                    space.geometry[key] = _Geometry.of(stage, y, x)
                geometry = space.geometry[key]
                gathered = self._gathered(step, table, geometry, (y, x), space)
                product = geometry.multiplied(gathered, (*window, stage.inputs), space)
                _scatter(product, (y, x), target, space)
        return made

    def _gathered(
        self, step: int, table: Floats, geometry: _Geometry, pixels: tuple[_Class, _Class], space: Space
    ) -> Floats:
        """The table of a class of pixels times ``φ'``, ``(cells x window x channels, colours x pixels)``."""
        y, x = pixels
        gathered = space.array("gathered", (len(geometry.order), self.colours * len(y.own) * len(x.own)))
        slope = self._slopes[step - 1]
        at_y, at_x = y.begin + self.rows[step].margin, x.begin + self.columns[step].margin

        def work(part: slice) -> None:
            line = np.empty(len(x.own), np.float32)
            gather_class(table, slope, geometry.order[part], y.own, x.own, at_y, at_x, line, gathered[part])

        space.share(len(gathered), work)
        return gathered


@dataclass(frozen=True)
class _Geometry:
    """What the pixels of a class share: the order in which entries are gathered, and a matrix for each cell.

    Attributes:
        order: window y, window x and channel of each gathered row, cell by cell ``(n, 3)``.
        cells: place of each cell in the window's cells, and its transposed weights ``(ky, kx x inputs, n)``.
    """

    order: Indices
    cells: tuple[tuple[int, int, Tensor], ...]

    @classmethod
    def of(cls, stage: LinearOperation, y: _Class, x: _Class) -> _Geometry:
        """That of a class of windows on the grid behind a stage."""
        rh, rw = stage.upscale
        kernel_y, kernel_x = stage.weight.shape[2:]
        weight = stage.weight.float().reshape(-1, rh, rw, stage.inputs, kernel_y, kernel_x).permute(4, 5, 3, 1, 2, 0)
        order, cells = [], []
        for row, fy in y.cells():
            for column, fx in x.cells():
                order += [(dy, dx, channel) for dy in fy for dx in fx for channel in range(weight.shape[5])]
                part = weight[:, :, :, y.subpixels(fy), x.subpixels(fx)]
                cells.append((row, column, part.reshape(kernel_y, kernel_x * stage.inputs, -1)))
        return cls(np.array(order, np.int64), tuple(cells))

    def multiplied(self, gathered: Floats, shape: tuple[int, int, int], space: Space) -> Floats:
        """The transposed convolution of gathered windows, ``(window y x window x x inputs, colours x pixels)``."""
        values, first, count = torch.from_numpy(gathered), 0, gathered.shape[1]
        made = space.array("product", (*shape, count))
        made[:] = 0
        product = torch.from_numpy(made)
        for row, column, matrix in self.cells:
            part = values[first : first + matrix.shape[2]]
            width = matrix.shape[1] // shape[2]
            for y, lines in enumerate(matrix):
                product[row + y, column : column + width].view(-1, count).addmm_(lines, part)
            first += len(part)
        return made.reshape(-1, count)


class Space:
    """Memory that is used again for every band, and threads that share the work on it."""

    def __init__(self) -> None:
        self._held: dict[str, Floats] = {}
        self.geometry: dict[tuple[int, ...], _Geometry] = {}
        self._pool = ThreadPoolExecutor(workers()) if workers() > 1 else None

    def array(self, name: str, shape: tuple[int, ...]) -> Floats:
        """An array with any content; it is valid until one of the same name is asked for."""
        size = math.prod(shape)
        if name not in self._held or self._held[name].size < size:
            self._held[name] = np.empty(size, np.float32)
        return self._held[name][:size].reshape(shape)

    def release(self, array: Floats) -> None:
        """Leave an array to whoever holds it: its memory is not used again."""
        self._held = {name: held for name, held in self._held.items() if not np.shares_memory(held, array)}

    def share(self, count: int, work: Callable[[slice], None]) -> None:
        """Do work on slices of ``range(count)``, in as many threads as there are."""
        if self._pool is None or count < SHARED_FROM:
            work(slice(0, count))
            return
        size = -(-count // (2 * workers()))
        list(self._pool.map(work, [slice(a, a + size) for a in range(0, count, size)]))


@dataclass(frozen=True)
class _Class:
    """Pixels along one axis whose window begins at the same sub-pixel of a cell.

    Attributes:
        own: which of the asked pixels.
        begin: first index of their windows.
        length: of the longest.
        upscale: of the grid.
    """

    own: Indices
    begin: Indices
    length: int
    upscale: int

    @property
    def sub(self) -> int:
        """The sub-pixel."""
        return int(self.begin[0]) % self.upscale

    def cells(self) -> list[tuple[int, range]]:
        """Cells that the windows meet: their distance from the first, and the window's indices inside."""
        sub, r = self.sub, self.upscale
        count = (sub + self.length - 1) // r + 1
        return [(c, range(max(0, c * r - sub), min(self.length, (c + 1) * r - sub))) for c in range(count)]

    def subpixels(self, inside: range) -> slice:
        """Sub-pixels of a cell that the window's indices inside it are."""
        first = (self.sub + inside.start) % self.upscale
        return slice(first, first + len(inside))


def _classes(reach: ReceptiveField, pixels: Indices, most: int | None = None) -> list[_Class]:
    """The asked pixels by the sub-pixel at which their windows begin, ``most`` of them at a time."""
    begin, extent = reach.start[pixels], reach.extent[pixels]
    found = []
    for sub in range(reach.upscale):
        group = np.flatnonzero(begin % reach.upscale == sub)
        size = most or max(1, len(group))
        for own in (group[first : first + size] for first in range(0, len(group), size)):
            found.append(_Class(own, begin[own], int(extent[own].max()), reach.upscale))
    return found


def _scatter(product: Floats, pixels: tuple[_Class, _Class], target: Floats, space: Space) -> None:
    y, x = pixels
    space.share(len(product), lambda part: scatter_class(product[part], y.own, x.own, target[part]))


def _shuffled(stage: LinearOperation) -> int:
    """Channels behind a stage's shuffle."""
    return stage.outputs // (stage.upscale[0] * stage.upscale[1])


def pixel_jacobian(plan: Plan, position: int, window: Window) -> Tensor:
    """``∂y_c(p) / ∂pre_j(p)`` of a linear stage for the pixels of a window, ``(N, colours, C_out)``."""
    made: Tensor | None = None
    for stage in reversed(plan.stages[position:]):
        at = torch.nn.functional.linear(pixels_of(stage.input, plan.size, window), stage.weight, stage.bias)
        slope = derivative(stage.activation, at)
        made = torch.diag_embed(slope) if made is None else made * slope[:, None]
        if stage is not plan.stages[position]:
            made = made @ stage.weight
    assert made is not None  # a plan has a stage at that position
    return made
