"""The Jacobian of a local rest of a network as a table, made by combs of pixels far enough apart not to meet.

If a pixel of the picture sees only a window of a layer, one product backwards from many pixels at once keeps them
apart: what arrives at a place of the layer comes from the one pixel of the comb that sees it. The window is found by
probing, and what it gives is compared with a product forwards, so that a window probed too small is found out.

A table that can be held serves every question. Where it cannot, the combs are gone through one after another, and what
is asked of the maps is folded at each comb's pixels: memory is that of a comb, however large the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.kernels.windows import comb_terms
from xinc.canvas.network.plan import Rest
from xinc.canvas.network.receptive_field import ProbedField, Window
from xinc.canvas.reductions.stream import in_threads, workers
from xinc.notation import ColouredMaps

TABLE_VALUES = 1 << 26
"""Numbers that a table may hold (256 MB in float32)."""
COMB_VALUES = 1 << 23
"""Numbers of a comb's table, and of the terms at its pixels, that are held at once (32 MB each)."""
PLANE_VALUES = 1 << 27
"""Numbers of the layer's planes that are kept from comb to comb (512 MB in float32)."""

Backward = Callable[[Tensor], Tensor]
"""The products of the Jacobian's transpose with pictures: ``(m, colours, H, W)`` to ``(m, *shape)``."""
Area = tuple[slice, slice]
"""Rows and columns of the picture."""


def fits(field: ProbedField) -> bool:
    """Whether a layer's table can be held."""
    pixels, layer = field.y.pixels * field.x.pixels, field.grid.layer
    columns = max(layer.outputs, layer.inputs if layer.kind == "linear" else 0)
    return field.colours * columns * field.y.window * field.x.window * pixels <= TABLE_VALUES


@dataclass(frozen=True, eq=False)
class JacobianTable:
    """``J[p, c; q, j]``: what one unit at place q of column j (an output channel, or an input feature) does to pixel p.

    Attributes:
        reach: geometry.
        values: ``(columns, rows, pixels of a row, colours, window y, window x)``.
        y: rows of the picture that it holds.
        x: columns of the picture.
    """

    reach: ProbedField
    values: Tensor
    y: Tensor
    x: Tensor

    def maps(self, neurons: Sequence[int], window: Window) -> ColouredMaps:
        """Signed contributions of some neurons over a window, by the whole picture's table, ``(n, colours, h, w)``."""
        rows, columns = slice(window.y0, window.y1), slice(window.x0, window.x1)
        whole = window.shape == (len(self.y), len(self.x))
        values = self.values if whole else self.values[:, rows, columns].contiguous()
        part = JacobianTable(self.reach, values, self.y[rows], self.x[columns])
        return part.transport(planes_of(self.reach, neurons), columns_of(self.reach, neurons))

    def transport(self, planes: Tensor, columns: Tensor) -> Tensor:
        """Planes ``(n, h, w)`` of the given columns, with a window of zeros around, carried to the table's pixels."""
        reach, values = self.reach, self.values
        rows, across = reach.y.places(self.y.to(planes.device)), reach.x.places(self.x.to(planes.device))
        if values.device.type == "cpu" and values.dtype == planes.dtype == torch.float32:
            return self._compiled(planes, columns, rows[:, 0], across[:, 0])
        total = planes.new_zeros(reach.colours, len(planes), len(rows), len(across))
        for dy in range(reach.y.window):
            for dx in range(reach.x.window):
                seen = planes[:, rows[:, dy]][:, :, across[:, dx]]
                total.addcmul_(values[columns, ..., dy, dx].movedim(-1, 0), seen)
        return total.transpose(0, 1)

    def _compiled(self, planes: Tensor, columns: Tensor, first_y: Tensor, first_x: Tensor) -> Tensor:
        blocks = self.values.flatten(4).numpy()
        given, index = planes.contiguous().numpy(), columns.numpy()
        y, x = first_y.numpy(), first_x.numpy()
        out = np.empty((len(given), self.reach.colours, len(y), len(x)), np.float32)

        def work(part: slice, seen: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
            comb_terms(blocks, given[part], index[part], y, x, seen, out[part])

        size = max(1, -(-len(given) // (4 * workers())))
        scratch = (self.reach.y.window, self.reach.x.window)
        parts = [slice(first, first + size) for first in range(0, len(given), size)]
        in_threads(parts, work, lambda: np.empty(scratch, np.float32), None)
        return torch.from_numpy(out)


def columns_of(reach: ProbedField, neurons: Sequence[int]) -> Tensor:
    """Which column of a table each neuron's plane belongs to."""
    inputs, outputs = reach.grid.layer.pairs()
    return (inputs if reach.grid.layer.kind == "linear" else outputs)[list(neurons)].to(reach.grid.layer.values.device)


def planes_of(reach: ProbedField, neurons: Sequence[int]) -> Tensor:
    """One number a place of each neuron, with a window of zeros around, ``(n, h, w)``."""
    return _padded(reach.grid.layer.planes(neurons).reshape(len(neurons), *reach.grid.size), reach)


def _padded(values: Tensor, reach: ProbedField) -> Tensor:
    y, x = reach.y.window, reach.x.window
    return torch.nn.functional.pad(values, (x, x, y, y))


@dataclass(frozen=True, eq=False)
class Combs:
    """The combs of a layer, one after another.

    Attributes:
        reach: geometry.
        backward: products.
    """

    reach: ProbedField
    backward: Backward

    @property
    def parting(self) -> object:
        """What the parts of the picture depend on."""
        return self.reach.y, self.reach.x

    def tables(self) -> Iterator[tuple[Area, JacobianTable]]:
        """Pixels of the picture and the table of them; together they cover it, none twice."""
        for oy in range(self.reach.y.period):
            for ox in range(self.reach.x.period):
                yield from self._comb(oy, ox)

    def _comb(self, oy: int, ox: int) -> Iterator[tuple[Area, JacobianTable]]:
        """The pixels ``oy, oy + period, ...`` of the columns ``ox, ox + period, ...``, some rows at a time."""
        reach, (height, width) = self.reach, (self.reach.y.pixels, self.reach.x.pixels)
        y, x = torch.arange(oy, height, reach.y.period), torch.arange(ox, width, reach.x.period)
        at = reach.grid.layer.weight
        combs = torch.zeros(reach.colours, reach.colours, height, width, dtype=at.dtype, device=at.device)
        for c in range(reach.colours):
            combs[c, c, y[:, None], x] = 1
        arrived = _padded(reach.grid.of_output(self.backward(combs)), reach)
        layer = reach.grid.layer
        channels = max(arrived.shape[1], layer.inputs if layer.kind == "linear" else 0)
        # A row of pixels takes so many numbers of the table, and of the terms of all neurons.
        row = reach.colours * len(x) * max(channels * reach.y.window * reach.x.window, layer.neurons)
        size = max(1, COMB_VALUES // row)
        columns, across = reach.x.places(x).to(at.device), reach.x.sees(x)
        for first in range(0, len(y), size):
            some = y[first : first + size]
            seen = arrived[:, :, reach.y.places(some).to(at.device)][:, :, :, :, columns]
            own = reach.y.sees(some)[:, :, None, None] & across
            table = (seen * own.to(at.device)).permute(1, 2, 4, 0, 3, 5).contiguous()
            if layer.kind == "linear":
                table = torch.tensordot(layer.weight.T.to(table.dtype), table, dims=([1], [0]))
            area = slice(int(some[0]), int(some[-1]) + 1, reach.y.period), slice(ox, width, reach.x.period)
            yield area, JacobianTable(reach, table, some, x)


@runtime_checkable
class Tables(Protocol):
    """What makes a layer's table, some pixels after others."""

    @property
    def reach(self) -> ProbedField:
        """Geometry."""
        ...

    def tables(self) -> Iterator[tuple[Area, JacobianTable]]:
        """Pixels of the picture and the table of them; together they cover it, none twice."""
        ...


class TableTerms:
    """The signed terms of all neurons of a layer at the pixels of each table.

    Args:
        tables: of the layer.
        neurons: how many it has.
    """

    def __init__(self, tables: Tables, neurons: int) -> None:
        self.made, self.reach, self.neurons = tables, tables.reach, neurons
        y, x = self.reach.y, self.reach.x
        rows, columns = self.reach.grid.size
        held = neurons * (rows + 2 * y.window) * (columns + 2 * x.window) <= PLANE_VALUES
        self._planes = planes_of(self.reach, range(neurons)) if held else None

    def __iter__(self) -> Iterator[tuple[Area, Iterator[tuple[range, Tensor]]]]:
        """Pixels, and the terms there, some neurons at a time: indices and ``(n, colours, rows, columns)``."""
        for area, table in self.made.tables():
            yield area, self._terms(table)

    def _terms(self, table: JacobianTable) -> Iterator[tuple[range, Tensor]]:
        size = max(1, COMB_VALUES // (self.reach.colours * len(table.y) * len(table.x)))
        if self._planes is None:
            rows, columns = self.reach.grid.size
            size = min(size, max(1, COMB_VALUES // (rows * columns)))
        for first in range(0, self.neurons, size):
            some = range(first, min(self.neurons, first + size))
            planes = planes_of(self.reach, some) if self._planes is None else self._planes[some.start : some.stop]
            yield some, table.transport(planes, columns_of(self.reach, some))


def sees_enough(rest: Rest, reach: ProbedField, forward: Callable[[Tensor], Tensor], backward: Backward) -> bool:
    """Whether the probed window holds all that reaches a pixel: a comb's products both ways agree.

    Args:
        rest: the layer, and what follows it.
        reach: of the layer.
        forward: ``(n, *shape)`` to ``(n, colours, H, W)``, the Jacobian's products with terms.
        backward: its transpose's with pictures.
    """
    at = rest.recording[rest.operation.result]
    generator = torch.Generator(device="cpu").manual_seed(0)
    probe = torch.randn(1, reach.grid.layer.outputs, *reach.grid.size, generator=generator).to(at)
    wanted = forward(reach.grid.to_output(probe))[0]
    planes = _padded(probe[0], reach)
    for oy, ox in ((0, 0), (reach.y.period // 2, reach.x.period // 2)):
        signs = torch.zeros(1, reach.colours, *rest.picture.size, dtype=at.dtype, device=at.device)
        y, x = (
            torch.arange(o, n, p)
            for o, n, p in zip((oy, ox), rest.picture.size, (reach.y.period, reach.x.period), strict=True)
        )
        signs[0, :, y[:, None], x] = 1
        arrived = _padded(reach.grid.of_output(backward(signs)), reach)[0]
        product = arrived * planes
        rows, columns = reach.y.places(y).to(at.device), reach.x.places(x).to(at.device)
        seen = product[:, rows][:, :, :, columns]
        own = (reach.y.sees(y)[:, :, None, None] & reach.x.sees(x)).to(at.device)
        total = (seen * own).sum((0, 2, 4))
        if float((total - wanted.sum(0)[y[:, None], x]).abs().max()) > 1e-3 * max(float(wanted.abs().max()), 1e-12):
            return False
    return True


def build_table(reach: ProbedField, tables: Tables) -> JacobianTable:
    """The table of the whole picture."""
    whole: Tensor | None = None
    for (rows, columns), part in tables.tables():
        if whole is None:
            shape = (len(part.values), reach.y.pixels, reach.x.pixels, *part.values.shape[3:])
            whole = torch.empty(shape, dtype=part.values.dtype, device=part.values.device)
        whole[:, rows, columns] = part.values
    assert whole is not None  # a picture has pixels
    return JacobianTable(reach, whole, torch.arange(reach.y.pixels), torch.arange(reach.x.pixels))
