"""The Jacobian of a local rest of a network as a table, made by combs of pixels far enough apart not to meet.

If a pixel of the picture sees only a window of a layer, one product backwards from many pixels at once keeps them
apart: what arrives at a place of the layer comes from the one pixel of the comb that sees it. The window is found by
probing, and the finished table is compared with a product forwards, so that a window probed too small is found out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Rest
from xinc.canvas.network.receptive_field import Window

TABLE_VALUES = 1 << 27
"""Numbers that a table may hold (512 MB in float32)."""


@dataclass(frozen=True)
class Grid:
    """The places of a linear operation's output as rows and columns."""

    layer: LinearOperation
    size: tuple[int, int]

    def of_output(self, outputs: Tensor) -> Tensor:
        """Outputs ``(n, *shape)`` as ``(n, C_out, h, w)``."""
        if self.layer.contraction is not None:
            rows = self.layer.contraction.to_rows(outputs)
            return rows.transpose(1, 2).reshape(len(outputs), self.layer.outputs, *self.size)
        return outputs.reshape(len(outputs), self.layer.outputs, *self.size)

    def to_output(self, values: Tensor) -> Tensor:
        """``(n, C_out, h, w)`` as outputs ``(n, *shape)``."""
        if self.layer.contraction is not None:
            return self.layer.contraction.to_output(values.flatten(2).transpose(1, 2))
        return values.reshape(len(values), *self.layer.shape)


def grid_of(rest: Rest) -> Grid | None:
    """The grid of a layer that divides the picture's; None where it has none (tokens in a row, a batch of planes)."""
    layer, (height, width) = rest.operation, rest.picture.size
    if layer.contraction is None:
        size = (layer.shape[-2], layer.shape[-1])
        return Grid(layer, size) if len(layer.values) == 1 and height % size[0] == width % size[1] == 0 else None
    ratio = math.isqrt(height * width // layer.positions)
    if ratio == 0 or height % ratio or width % ratio or layer.positions * ratio * ratio != height * width:
        return None
    return Grid(layer, (height // ratio, width // ratio))


@dataclass(frozen=True)
class ProbedAxis:
    """Which places of a layer a pixel sees along one axis.

    Attributes:
        scale: pixels a place.
        before: a place ``q`` reaches pixels from ``scale * q - before`` ...
        after: ... to ``scale * q + after``.
        pixels: number of pixels.
    """

    scale: int
    before: int
    after: int
    pixels: int

    @property
    def period(self) -> int:
        """Pixels this far apart see no common place."""
        return min(self.pixels, self.before + self.after + 1)

    @property
    def window(self) -> int:
        """Places that a pixel sees."""
        return (self.before + self.after) // self.scale + 1

    def first(self, pixels: Tensor) -> Tensor:
        """The first place that each pixel sees; may be negative at the border."""
        return -((self.after - pixels) // self.scale)

    def places(self, pixels: Tensor) -> Tensor:
        """The places that each pixel sees, counted in a layer padded by :attr:`window`, ``(pixels, window)``."""
        return self.first(pixels)[:, None] + torch.arange(self.window, device=pixels.device) + self.window

    def sees(self, pixels: Tensor) -> Tensor:
        """Which of :meth:`places` a pixel does see: at some there is one less than at others, ``(pixels, window)``."""
        start = self.scale * (self.places(pixels) - self.window) - self.before
        return (start <= pixels[:, None]) & (pixels[:, None] <= start + self.before + self.after)


@dataclass(frozen=True)
class ProbedField:
    """How far a layer reaches into the picture, along both axes."""

    grid: Grid
    y: ProbedAxis
    x: ProbedAxis
    colours: int

    @property
    def products(self) -> int:
        """Products backwards that a table takes."""
        return self.colours * self.y.period * self.x.period

    @property
    def summary(self) -> str:
        """For messages."""
        rows, columns = self.grid.size
        if self.y.window >= rows and self.x.window >= columns:
            return "a pixel sees all of the layer"
        return f"a pixel sees {self.y.window}x{self.x.window} of the layer's {rows}x{columns} places"

    @property
    def fits(self) -> bool:
        """Whether the table can be held."""
        pixels, layer = self.y.pixels * self.x.pixels, self.grid.layer
        columns = max(layer.outputs, layer.inputs if layer.kind == "linear" else 0)
        return self.colours * columns * self.y.window * self.x.window * pixels <= TABLE_VALUES


def probe_field(rest: Rest) -> ProbedField | None:
    """How far a layer reaches, by replaying the rest of the network with not-a-number at single places.

    None where it has no grid.
    """
    grid = grid_of(rest)
    if grid is None:
        return None
    (height, width), (rows, columns) = rest.picture.size, grid.size
    scales = height // rows, width // columns
    middle = rows // 2, columns // 2
    probes = {(0, 0), (rows - 1, columns - 1), middle, (min(middle[0] + 1, rows - 1), min(middle[1] + 1, columns - 1))}
    spans = [[0, 0], [0, 0]]
    for y, x in probes:
        reached = _reached(rest, grid, y, x)
        for axis, (place, scale, other) in enumerate(((y, scales[0], 1), (x, scales[1], 0))):
            seen = reached.any(other).nonzero()
            if len(seen):
                spans[axis][0] = max(spans[axis][0], scale * place - int(seen[0]))
                spans[axis][1] = max(spans[axis][1], int(seen[-1]) - scale * place)
    y_axis = ProbedAxis(scales[0], spans[0][0], spans[0][1], height)
    x_axis = ProbedAxis(scales[1], spans[1][0], spans[1][1], width)
    return ProbedField(grid, y_axis, x_axis, rest.picture.channels)


def _reached(rest: Rest, grid: Grid, y: int, x: int) -> Tensor:
    """The pixels that a place of the layer reaches, ``(H, W)``: those that become not-a-number, or change, with it."""
    at = rest.recording[rest.operation.result]
    whole = rest.picture.images(rest.recording[rest.picture.value][None])[0]
    reached = torch.zeros(rest.picture.size, dtype=torch.bool, device=at.device)
    for change in (float("nan"), float(at.abs().max()) + 1):
        probe = torch.zeros(1, rest.operation.outputs, *grid.size, dtype=at.dtype, device=at.device)
        probe[:, :, y, x] = change
        with torch.no_grad():
            image = rest.picture.images(rest.tail()(at + grid.to_output(probe)[0])[None])[0]
        reached |= (~(image - whole).abs().le(1e-4 * whole.abs().max())).any(0)
    return reached


@dataclass(frozen=True, eq=False)
class Table:
    """``J[p, c; q, j]``: what one unit at place q of column j (an output channel, or an input feature) does to pixel p.

    Attributes:
        reach: geometry.
        values: ``(colours, columns, window y, window x, H, W)``.
    """

    reach: ProbedField
    values: Tensor

    def maps(self, neurons: Sequence[int], window: Window) -> Tensor:
        """Signed contributions of some neurons over a window, ``(n, colours, h, w)``."""
        layer = self.reach.grid.layer
        inputs, outputs = layer.pairs()
        columns = (inputs if layer.kind == "linear" else outputs)[list(neurons)]
        planes = layer.planes(neurons).reshape(len(neurons), 1, *self.reach.grid.size)
        return self.transport(planes, columns.to(planes.device), window)

    def transport(self, planes: Tensor, columns: Tensor, window: Window) -> Tensor:
        """Planes ``(n, 1, h, w)`` of the given columns, carried to the picture."""
        reach = self.reach
        rows = reach.y.places(torch.arange(window.y0, window.y1, device=planes.device))
        across = reach.x.places(torch.arange(window.x0, window.x1, device=planes.device))
        padded = _padded(planes, reach)[:, 0]
        total = planes.new_zeros(reach.colours, len(planes), *window.shape)
        part = self.values[..., window.y0 : window.y1, window.x0 : window.x1]
        for dy in range(reach.y.window):
            for dx in range(reach.x.window):
                seen = padded[:, rows[:, dy]][:, :, across[:, dx]]
                total.addcmul_(part[:, columns, dy, dx], seen)
        return total.transpose(0, 1)


def _padded(values: Tensor, reach: ProbedField) -> Tensor:
    y, x = reach.y.window, reach.x.window
    return torch.nn.functional.pad(values, (x, x, y, y))


def build_table(
    rest: Rest,
    reach: ProbedField,
    forward: Callable[[Tensor], Tensor],
    backward: Callable[[Tensor], Tensor],
) -> Table | None:
    """The table of a layer; None where it is too large, complex, or does not agree with a product forwards.

    Args:
        rest: the layer, and what follows it.
        reach: of the layer.
        forward: ``(n, *shape)`` to ``(n, colours, H, W)``, the Jacobian's products with terms.
        backward: ``(m, colours, H, W)`` to ``(m, *shape)``, its transpose's with pictures.
    """
    layer, at = rest.operation, rest.recording[rest.operation.result]
    if not reach.fits or at.is_complex():
        return None
    height, width = rest.picture.size
    shape = (reach.colours, layer.outputs, reach.y.window, reach.x.window, height, width)
    table = Table(reach, torch.empty(shape, dtype=at.dtype, device=at.device))
    for oy in range(reach.y.period):
        for ox in range(reach.x.period):
            _comb(table, oy, ox, backward)
    generator = torch.Generator(device="cpu").manual_seed(0)
    probe = torch.randn(1, layer.outputs, *reach.grid.size, generator=generator).to(at)
    every = torch.arange(layer.outputs, device=at.device)
    whole = Window(0, height, 0, width)
    seen = table.transport(probe[0][:, None], every, whole).sum(0)
    wanted = forward(reach.grid.to_output(probe))[0]
    if float((seen - wanted).abs().max()) > 1e-3 * max(float(wanted.abs().max()), 1e-12):
        return None
    if layer.kind != "linear":
        return table
    by_feature = torch.tensordot(table.values, layer.weight.to(at.dtype), dims=([1], [0])).movedim(-1, 1)
    return Table(reach, by_feature.contiguous())


def _comb(table: Table, oy: int, ox: int, backward: Callable[[Tensor], Tensor]) -> None:
    """Fill in the pixels ``oy, oy + period, ...`` of the columns ``ox, ox + period, ...``."""
    reach, (height, width) = table.reach, table.values.shape[-2:]
    device = table.values.device
    y, x = torch.arange(oy, height, reach.y.period), torch.arange(ox, width, reach.x.period)
    combs = torch.zeros(reach.colours, reach.colours, height, width, dtype=table.values.dtype, device=device)
    for c in range(reach.colours):
        combs[c, c, y[:, None], x] = 1
    arrived = _padded(reach.grid.of_output(backward(combs)), reach)
    rows, columns = reach.y.places(y).to(device), reach.x.places(x).to(device)
    seen = arrived[:, :, rows][:, :, :, :, columns]  # colours, channels, pixels y, window y, pixels x, window x
    own = reach.y.sees(y)[:, :, None, None] & reach.x.sees(x)
    table.values[..., y[:, None].to(device), x.to(device)] = (seen * own.to(device)).permute(0, 1, 3, 5, 2, 4)
