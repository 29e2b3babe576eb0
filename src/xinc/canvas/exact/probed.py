"""The Jacobian of a local rest of a network as a table, made by combs of pixels far enough apart not to meet.

If a pixel of the picture sees only a window of a layer, one product backwards from many pixels at once keeps them
apart: what arrives at a place of the layer comes from the one pixel of the comb that sees it. The window is found by
probing, and the finished table is compared with a product forwards, so that a window probed too small is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xinc.canvas.network.plan import Rest
from xinc.canvas.network.receptive_field import ProbedField, Window

TABLE_VALUES = 1 << 27
"""Numbers that a table may hold (512 MB in float32)."""


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
) -> JacobianTable | None:
    """The table of a layer; None where it is too large, complex, or does not agree with a product forwards.

    Args:
        rest: the layer, and what follows it.
        reach: of the layer.
        forward: ``(n, *shape)`` to ``(n, colours, H, W)``, the Jacobian's products with terms.
        backward: ``(m, colours, H, W)`` to ``(m, *shape)``, its transpose's with pictures.
    """
    layer, at = rest.operation, rest.recording[rest.operation.result]
    if not fits(reach) or at.is_complex():
        return None
    height, width = rest.picture.size
    shape = (reach.colours, layer.outputs, reach.y.window, reach.x.window, height, width)
    table = JacobianTable(reach, torch.empty(shape, dtype=at.dtype, device=at.device))
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
    return JacobianTable(reach, by_feature.contiguous())


def _comb(table: JacobianTable, oy: int, ox: int, backward: Callable[[Tensor], Tensor]) -> None:
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
