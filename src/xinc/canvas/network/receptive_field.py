"""Receptive fields: what a window of one grid reads of an earlier one. The arithmetic of up-sampling and padding, once.

Two steps make every receptive field of a chain: a fine range is covered by whole cells of the coarse grid (shuffle or
up-sampling by ``r``), and a filter that reaches ``half`` values to each side reads that much more, as far as the grid
goes. Off the chain, where nobody knows what follows, the receptive field is found by probing (:func:`probe_field`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan, Rest
from xinc.notation import Indices

Bounds = tuple[int, int]
"""Indices ``[first, end)`` along one axis."""


def cells(fine: Bounds, upscale: int) -> Bounds:
    """The coarse cells that cover a fine range."""
    return fine[0] // upscale, -(-fine[1] // upscale)


def filtered_from(made: Bounds, half: int, size: int) -> Bounds:
    """What a filter of ``2 * half + 1`` values reads for a range, inside a grid of ``size``."""
    return max(0, made[0] - half), min(size, made[1] + half)


@dataclass(frozen=True)
class Window:
    """Rows and columns ``[y0, y1) x [x0, x1)`` of a grid."""

    y0: int
    y1: int
    x0: int
    x1: int

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Self:
        """All of a grid ``(height, width)``."""
        return cls(0, size[0], 0, size[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def pixels(self) -> int:
        """Number of places."""
        return (self.y1 - self.y0) * (self.x1 - self.x0)

    @property
    def rows(self) -> Bounds:
        """``[y0, y1)``."""
        return self.y0, self.y1

    @property
    def columns(self) -> Bounds:
        """``[x0, x1)``."""
        return self.x0, self.x1

    def widened(self, by: tuple[int, int]) -> Window:
        """More on each side ``(y, x)``, outside of the grid too."""
        return Window(self.y0 - by[0], self.y1 + by[0], self.x0 - by[1], self.x1 + by[1])


def crop(values: Tensor, have: Window, want: Window) -> Tensor:
    """Values ``(..., h, w)`` over one window as those over another; zeros where there are none."""
    left, right, top, bottom = want.x0 - have.x0, have.x1 - want.x1, want.y0 - have.y0, have.y1 - want.y1
    return values if not any((left, right, top, bottom)) else F.pad(values, (-left, -right, -top, -bottom))


def windows_behind(plan: Plan, position: int, window: Window) -> list[tuple[Window, Window]]:
    """What a window of the picture sees of each layer of a chain of convolutions from ``position`` on.

    Returns:
        For each layer the window of its convolution's grid, and the window of its grid behind the shuffle.
    """
    seen: list[tuple[Window, Window]] = []
    fine = window
    for stage in reversed(plan.stages[position:]):
        (rh, rw), (py, px), (height, width) = stage.upscale, stage.padding, stage.input.shape[1:]
        coarse = Window(*cells(fine.rows, rh), *cells(fine.columns, rw))
        seen.insert(0, (coarse, fine))
        fine = Window(*filtered_from(coarse.rows, py, height), *filtered_from(coarse.columns, px, width))
    return seen


@dataclass(frozen=True)
class ReceptiveField:
    """Along one axis, the window that each pixel of the picture sees of the grid behind a layer, borders left out.

    Attributes:
        start: first index of each pixel's window, negative where it begins outside ``(pixels,)``.
        extent: how many follow ``(pixels,)``.
        upscale: of the layer's shuffle: ``index // upscale`` is the cell of its convolution's grid.
        size: of the grid behind the layer.
    """

    start: Indices
    extent: Indices
    upscale: int
    size: int

    @property
    def length(self) -> int:
        """Longest window."""
        return int(self.extent.max())

    @property
    def margin(self) -> int:
        """How far windows reach out of the grid at its beginning."""
        return max(0, -int(self.start.min()))

    @property
    def overhang(self) -> int:
        """How far windows, as long as the longest, reach out of the grid at its end."""
        return max(0, int(self.start.max()) + self.length - self.size)


def receptive_fields(plan: Plan, position: int, axis: int) -> list[ReceptiveField]:
    """Windows behind each layer of a chain from ``position`` to the last one, along y (0) or x (1)."""
    pixels = plan.size[axis]
    start, extent = np.arange(pixels), np.ones(pixels, np.int64)
    fields: list[ReceptiveField] = []
    for stage in reversed(plan.stages[position:]):
        upscale, half = stage.upscale[axis], stage.padding[axis]
        fields.insert(0, ReceptiveField(start, extent, upscale, int(stage.input.shape[1 + axis]) * upscale))
        first, end = start // upscale, -(-(start + extent) // upscale)
        start, extent = first - half, end - first + 2 * half
    return fields


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
    if rest.stem and layer.positions == 1:
        return None
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
