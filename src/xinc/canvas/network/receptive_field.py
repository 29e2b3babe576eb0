"""Receptive fields: what a window of one grid reads of an earlier one. The arithmetic of up-sampling and padding, once.

Two steps make every receptive field of a chain: a fine range is covered by whole cells of the coarse grid (shuffle or
up-sampling by ``r``), and a filter that reaches ``half`` values to each side reads that much more, as far as the grid
goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.network.plan import Plan

Integers = NDArray[np.int64]
Range = tuple[int, int]
"""Indices ``[first, end)`` along one axis."""


def cells(fine: Range, upscale: int) -> Range:
    """The coarse cells that cover a fine range."""
    return fine[0] // upscale, -(-fine[1] // upscale)


def filtered_from(made: Range, half: int, size: int) -> Range:
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
        """How many there are."""
        return (self.y1 - self.y0) * (self.x1 - self.x0)

    @property
    def rows(self) -> Range:
        """``[y0, y1)``."""
        return self.y0, self.y1

    @property
    def columns(self) -> Range:
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

    start: Integers
    extent: Integers
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
