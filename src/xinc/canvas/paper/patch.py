"""Maps of all kernels over a few pixels: here the neurons are the long axis.

The compiled loops run along the rows of one map after the other; over a patch of a few pixels, calling them costs more
than what they compute. Here a step is a small matrix from the left and one from the right of all neurons' patches at
once. Same numbers, same taps (:mod:`xinc.canvas.paper.box_filters`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.network.receptive_field import Window, cells, filtered_from
from xinc.canvas.paper.box_filters import BoxAxis, Path
from xinc.notation import Maps

LARGEST = 256
"""Pixels of a patch up to which this is the faster way."""

HELD_VALUES = 1 << 22
"""Values of one grid that are held at once (16 MB)."""


def patch_maps(path: Path, window: Window) -> Maps:
    """Maps of all kernels over a window, ``(K, h, w)``; only what the window sees of every grid is computed."""
    inputs, outputs = path.weight.shape[:2]
    y = _spans([step.y for step in path.steps], [grid[0] for grid in path.coarse], window.y0, window.y1)
    x = _spans([step.x for step in path.steps], [grid[1] for grid in path.coarse], window.x0, window.x1)
    area = max((a.stop - a.start) * (b.stop - b.start) for a, b in zip(_grids(y), _grids(x), strict=True))
    chunk = max(1, HELD_VALUES // (area * outputs))
    maps = torch.empty(inputs, outputs, *window.shape)
    for first in range(0, inputs, chunk):
        some = slice(first, min(inputs, first + chunk))
        maps[some] = _of_inputs(path, some, y, x).permute(2, 3, 0, 1)
    return maps.flatten(0, 1)


@dataclass(frozen=True)
class _Span:
    """One step along one axis: what it reads of the coarse grid, what it makes of the fine one, and how.

    Attributes:
        coarse: indices that are read.
        fine: indices that are made.
        matrices: ``(cells, fine, coarse)``.
    """

    coarse: range
    fine: range
    matrices: NDArray[np.float32]


def _grids(spans: list[_Span]) -> list[range]:
    return [spans[0].coarse, *(span.fine for span in spans)]


def _spans(axes: list[BoxAxis], sizes: list[int], first: int, end: int) -> list[_Span]:
    """The steps' spans such that the picture's ``[first, end)`` comes out right."""
    spans: list[_Span] = []
    fine = range(first, end)
    for axis, size in zip(reversed(axes), reversed(sizes), strict=True):
        coarse = range(*filtered_from(cells((fine.start, fine.stop), axis.upscale), -axis.offset, size))
        matrices = np.zeros((len(axis.taps), len(fine), len(coarse)), np.float32)
        for row, f in enumerate(fine):
            cell, phase = divmod(f, axis.upscale)
            for column, c in enumerate(coarse):
                tap = c - cell - axis.offset
                if 0 <= tap < axis.taps.shape[2]:
                    matrices[:, row, column] = axis.taps[:, phase, tap]
        spans.insert(0, _Span(coarse, fine, matrices))
        fine = coarse
    return spans


def _of_inputs(path: Path, some: slice, y: list[_Span], x: list[_Span]) -> Tensor:
    """Maps of the kernels of some input channels ``(h, w, inputs, outputs)``."""
    zero = float(path.activation(torch.zeros(1))[0])
    u = path.activation(_planes(path, some, y[0].coarse, x[0].coarse)) - zero
    u = _placed(u, path, y[0], x[0])
    if zero:
        u += zero * _filtered(torch.ones(len(y[0].coarse), len(x[0].coarse), 1), *_sums(y[0], x[0]))[..., None]
    u = path.steps[0].activation(u)
    for step, own_y, own_x in zip(path.steps[1:], y[1:], x[1:], strict=True):
        made = _filtered(u.flatten(2), own_y.matrices[0], own_x.matrices[0])
        u = step.activation(made.reshape(*made.shape[:2], *u.shape[2:]))
    return u


def _planes(path: Path, some: slice, rows: range, columns: range) -> Tensor:
    """The convolution's terms with their share of the bias ``(h, w, inputs, outputs)``."""
    weight = torch.from_numpy(path.weight[some])  # inputs, outputs, ky, kx
    ky, kx = weight.shape[2:]
    values = torch.from_numpy(path.values[some, rows.start : rows.stop + ky - 1, columns.start : columns.stop + kx - 1])
    patches = torch.nn.functional.unfold(values[:, None], (ky, kx))  # inputs, ky * kx, cells
    terms = patches.transpose(1, 2) @ weight.flatten(2).transpose(1, 2) + torch.from_numpy(path.shift)
    return terms.transpose(0, 1).reshape(len(rows), len(columns), *terms.shape[::2])


def _placed(u: Tensor, path: Path, y: _Span, x: _Span) -> Tensor:
    """The first step: each output channel's planes lie at a sub-pixel of their own."""
    made = u.new_empty(len(y.fine), len(x.fine), *u.shape[2:])
    for sub in np.unique(path.cell, axis=0):
        own = torch.from_numpy(np.flatnonzero((path.cell == sub).all(1)))
        part = u[:, :, :, own]
        filtered = _filtered(part.flatten(2), y.matrices[sub[0]], x.matrices[sub[1]])
        made[:, :, :, own] = filtered.reshape(*filtered.shape[:2], *part.shape[2:])
    return made


def _sums(y: _Span, x: _Span) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices of a plane that is the same at every sub-pixel."""
    return y.matrices.sum(0), x.matrices.sum(0)


def _filtered(u: Tensor, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Tensor:
    """``rows u columns^T`` for each of the values behind ``(h, w)``."""
    made = (torch.from_numpy(rows) @ u.flatten(1)).reshape(len(rows), *u.shape[1:])
    return torch.from_numpy(columns) @ made
