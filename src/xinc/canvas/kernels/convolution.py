"""Maps of a convolution's kernels, made and folded one after the other."""

from __future__ import annotations

from typing import Any

import numba

from xinc.canvas.kernels.folds import close_call, close_neuron, fold_chunk, needs_zeros, sums_alone
from xinc.canvas.kernels.grids import plane_before_last, used, weighted_sum
from xinc.canvas.kernels.options import OPTIONS
from xinc.canvas.kernels.sums import stream_sums


@numba.njit(**OPTIONS)
def _filter(source: Any, first: int, stride: int, taps_y: Any, taps_x: Any, n: int, line: Any, out: Any) -> bool:
    """``out[i] = sum_tu taps_y[t] taps_x[u] source[first + i + t stride + u]``; False, and nothing, where all are zero.

    Rows may follow each other: n may span many of them. ``line`` holds the vertical pass of a wide filter.
    """
    top, bottom = used(taps_y)
    left, right = used(taps_x)
    if bottom == 0 or right == 0:
        return False
    a = source[first + top * stride + left :]
    if bottom - top <= 2 and right - left <= 2:
        b = source[first + (bottom - 1) * stride + left :]
        a0, a1 = taps_y[top] * taps_x[left], taps_y[top] * taps_x[right - 1]
        b0, b1 = taps_y[bottom - 1] * taps_x[left], taps_y[bottom - 1] * taps_x[right - 1]
        if bottom - top == 2 and right - left == 2:
            for x in range(n):
                out[x] = (a0 * a[x] + a1 * a[x + 1]) + (b0 * b[x] + b1 * b[x + 1])
        elif bottom - top == 2:
            for x in range(n):
                out[x] = a0 * a[x] + b0 * b[x]
        elif right - left == 2:
            for x in range(n):
                out[x] = a0 * a[x] + a1 * a[x + 1]
        else:
            for x in range(n):
                out[x] = a0 * a[x]
        return True
    weighted_sum(a, stride, taps_y, top, bottom, n + right - left - 1, line)
    weighted_sum(line, 1, taps_x, left, right, n, out)
    return True


@numba.njit(**OPTIONS)
def _stream_folds(c: Any, neurons: Any, scratch: Any, lines: Any, origin: int, f: Any) -> None:
    """Any reductions of some neurons: the map's phases one after another, each folded as a whole."""
    last = c.steps.shape[0] - 1
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, _ = c.steps[last]
    sy, sx, stride = c.start[last]
    rows, wide = cy1 - cy0, cx1 - cx0
    n = rows * stride
    first = (cy0 + oy + sy) * stride + cx0 + ox + sx
    out = lines[3]
    scratch[: last + 1] = 0
    every_zero = needs_zeros(f)
    for index in range(neurons.shape[0]):
        i, o, k = neurons[index]
        plane_before_last(c, i, o, scratch, scratch[last], lines)
        py, px = c.cell[o]
        if last > 0:
            py, px = 0, 0
        for p in range(ry):
            for q in range(rx):
                some = _filter(
                    scratch[last],
                    first,
                    stride,
                    c.taps_y[last, py, p, :ty],
                    c.taps_x[last, px, q, :tx],
                    n,
                    lines[0],
                    out,
                )
                if not some:
                    if not (every_zero or c.has_base):
                        continue  # a phase that no tap meets adds nothing
                    for x in range(n):
                        out[x] = 0
                if c.has_base and last == 0:
                    for y in range(rows):
                        for x in range(wide):
                            out[y * stride + x] += c.base_y[ry * y + p] * c.base_x[rx * x + q]
                for y in range(rows):
                    for x in range(wide, stride):
                        out[y * stride + x] = 0
                fold_chunk(out, rows, stride, wide, origin + (p * rx + q) * n, origin, k, f)
        close_neuron(k, f)


@numba.njit(**OPTIONS)
def stream_convolution(chain: Any, neurons: Any, scratch: Any, lines: Any, origin: int, f: Any) -> None:
    """Compute and fold the maps of some neurons of a convolution over the chain's window.

    Args:
        chain: see :class:`Chain`.
        neurons: ``(n, 3)``: input channel, output channel, index into the reductions; quickest where output channels of
            one cell follow each other.
        scratch: ``(steps - 1 + GROUP, values)``, any content.
        lines: ``(LINES, values)``, any content.
        origin: where the window's band begins in packed planes.
        f: see :class:`Fold`.
    """
    last = chain.steps.shape[0] - 1
    if sums_alone(f) and not (chain.has_base and last == 0):
        stream_sums(chain, neurons, scratch, lines, f)
    else:
        _stream_folds(chain, neurons, scratch, lines, origin, f)
    ry, rx, _, _, _, _, cy0, cy1, _, _, _ = chain.steps[last]
    close_call(origin, ry * rx * (cy1 - cy0) * chain.start[last, 2], f)


@numba.njit(**OPTIONS)
def stream_convolution_pair(
    chain: Any, before: Any, neurons: Any, scratch: Any, lines: Any, origin: int, f: Any, earlier: Any
) -> None:
    """Compute and fold the maps of some neurons together with those of another frame, one neuron after the other.

    Args:
        chain: see :class:`Chain`.
        before: the other frame's, of the same geometry.
        neurons: see :func:`stream_convolution`.
        scratch: see there.
        lines: see there.
        origin: see there.
        f: with an array :attr:`~xinc.canvas.kernels.folds.Fold.earlier`.
        earlier: a fold whose ``dense`` is that array.
    """
    first = neurons[:1].copy()
    for index in range(neurons.shape[0]):
        first[0, :2] = neurons[index, :2]
        first[0, 2] = 0
        _stream_folds(before, first, scratch, lines, origin, earlier)
        _stream_folds(chain, neurons[index : index + 1], scratch, lines, origin, f)
    last = chain.steps.shape[0] - 1
    ry, rx, _, _, _, _, cy0, cy1, _, _, _ = chain.steps[last]
    close_call(origin, ry * rx * (cy1 - cy0) * chain.start[last, 2], f)
