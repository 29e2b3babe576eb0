"""What pixels owe to windows of a value: the derivatives that go backwards through a network, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Cone:
    """What some pixels owe to a window of a value each; to all else of it they owe nothing.

    Attributes:
        values: ``(rows, columns, colours, channels, window y, window x)``.
        y: where the windows of each row of pixels begin, ``(rows,)``; outside of the value's grid there are zeros.
        x: where those of each column begin, ``(columns,)``.
    """

    values: Tensor
    y: Tensor
    x: Tensor

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the windows."""
        return int(self.values.shape[-2]), int(self.values.shape[-1])

    def flat(self) -> Tensor:
        """The windows in a row, ``(n, channels, window y, window x)``."""
        return self.values.flatten(0, 2)

    def like(self, flat: Tensor, y: Tensor, x: Tensor) -> Cone:
        """Other windows of the same pixels, from ``(n, channels, window y, window x)``."""
        return Cone(flat.reshape(*self.values.shape[:3], *flat.shape[1:]), y, x)

    def placed(self, y: Tensor, x: Tensor, window: tuple[int, int]) -> Cone:
        """The same in windows that begin elsewhere; what lies outside of those must be zero."""
        shifts = [(int((own - new).min()), int((own - new).max())) for own, new in ((self.y, y), (self.x, x))]
        if window == self.window and shifts == [(0, 0), (0, 0)]:
            return self
        made = self.values.new_zeros(*self.values.shape[:4], *window)
        for dy in torch.unique(self.y - y).tolist():
            rows, (own_y, new_y) = self.y - y == dy, _overlap(dy, self.window[0], window[0])
            for dx in torch.unique(self.x - x).tolist():
                columns, (own_x, new_x) = self.x - x == dx, _overlap(dx, self.window[1], window[1])
                if bool(rows.all()) and bool(columns.all()):  # a view is cheaper than a choice
                    made[..., new_y, new_x] = self.values[..., own_y, own_x]
                    return Cone(made, y, x)
                at_y, at_x = rows.nonzero(), columns.nonzero()[:, 0]
                made[at_y, at_x, :, :, new_y, new_x] = self.values[at_y, at_x][..., own_y, own_x]
        return Cone(made, y, x)

    def aligned(self, step: tuple[int, int]) -> Cone:
        """The same in windows of whole cells of ``step`` values."""
        starts = [first.div(s, rounding_mode="floor") * s for first, s in zip((self.y, self.x), step, strict=True)]
        ends = [int((own - new).max()) + n for own, new, n in zip((self.y, self.x), starts, self.window, strict=True)]
        height, width = (-(-end // s) * s for end, s in zip(ends, step, strict=True))
        return self.placed(starts[0], starts[1], (height, width))

    def plus(self, other: Cone) -> Cone:
        """What the pixels owe by two ways."""
        firsts = [torch.minimum(a, b) for a, b in ((self.y, other.y), (self.x, other.x))]
        sizes = [
            max(int((one - first).max()) + n for one, n in ((a, m), (b, k)))
            for first, a, b, m, k in zip(
                firsts, (self.y, self.x), (other.y, other.x), self.window, other.window, strict=True
            )
        ]
        window = (sizes[0], sizes[1])
        one, two = (cone.placed(firsts[0], firsts[1], window) for cone in (self, other))
        return Cone(one.values + two.values, one.y, one.x)

    def inside(self, size: tuple[int, int]) -> Cone:
        """The same without what lies outside of a grid."""
        masks = []
        for first, n, end in zip((self.y, self.x), self.window, size, strict=True):
            at = first[:, None] + torch.arange(n, device=first.device)
            masks.append((at >= 0) & (at < end))
        if all(bool(mask.all()) for mask in masks):
            return self
        rows, columns = masks
        own = rows[:, None, :, None] & columns[None, :, None, :]
        return Cone(self.values * own[:, :, None, None].to(self.values.dtype), self.y, self.x)


def _overlap(shift: int, size: int, window: int) -> tuple[slice, slice]:
    """Which of ``size`` values lie in a window that begins ``shift`` before them, and where."""
    first, end = max(0, -shift), min(size, window - shift)
    return slice(first, max(first, end)), slice(first + shift, max(first, end) + shift)
