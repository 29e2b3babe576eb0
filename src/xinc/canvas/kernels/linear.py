"""Maps of a linear layer's input features."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from xinc.canvas.kernels.folds import close_call, close_neuron, fold_chunk
from xinc.canvas.kernels.options import OPTIONS


@numba.njit(**OPTIONS)
def stream_linear(
    values: Any, scale: Any, shift: Any, rectify: bool, neurons: Any, chunk: int, line: Any, f: Any
) -> None:
    """Compute and fold the maps ``scale_k z_k + shift`` of some input features of a linear layer (section 3.1).

    Args:
        values: ``(C_in, N)``.
        scale: ``(C_in,)``.
        shift: one number.
        rectify: whether the published code's ReLU applies.
        neurons: ``(n, 2)``: input feature, index into the reductions.
        chunk: pixels at a time.
        line: ``(chunk,)``, any content.
        f: see :class:`Fold`.
    """
    pixels = values.shape[1]
    for index in range(neurons.shape[0]):
        i, k = neurons[index]
        for first in range(0, pixels, chunk):
            n = min(chunk, pixels - first)
            _scaled(values[i, first:], scale[i], shift, rectify, n, line)
            fold_chunk(line, 1, n, n, first, 0, k, f)
        close_neuron(k, f)
    close_call(0, pixels, f)


@numba.njit(**OPTIONS)
def stream_linear_pair(
    values: Any, before: Any, scale: Any, shift: Any, rectify: bool, neurons: Any, chunk: int, line: Any, f: Any
) -> None:
    """:func:`stream_linear` together with the same features' maps on another frame, ``before (C_in, N)``."""
    pixels = values.shape[1]
    for index in range(neurons.shape[0]):
        i, k = neurons[index]
        _scaled(before[i], scale[i], shift, rectify, pixels, f.earlier)
        for first in range(0, pixels, chunk):
            n = min(chunk, pixels - first)
            _scaled(values[i, first:], scale[i], shift, rectify, n, line)
            fold_chunk(line, 1, n, n, first, 0, k, f)
        close_neuron(k, f)
    close_call(0, pixels, f)


@numba.njit(**OPTIONS)
def _scaled(source: Any, scale: Any, shift: Any, rectify: bool, n: int, out: Any) -> None:
    for x in range(n):
        out[x] = source[x] * scale + shift
    if rectify:
        for x in range(n):
            out[x] = max(out[x], np.float32(0.0))
