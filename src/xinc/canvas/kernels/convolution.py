"""Maps of a convolution's kernels: plane, placement, separable box filters with up-sampling."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from xinc.canvas.kernels.activate import activate
from xinc.canvas.kernels.folds import close_call, close_neuron, fold_chunk
from xinc.canvas.kernels.options import OPTIONS


class Chain(NamedTuple):
    """How a neuron's plane becomes its map: the convolution, then separable box filters with up-sampling.

    Attributes:
        values: input channels, zero-padded ``(C_in, h + 2 py, w + 2 px)``.
        weight: ``(C_in, C_out, kh, kw)``.
        shift: what each output channel's planes get added, the spread bias ``(C_out,)``.
        cell: sub-pixel of the shuffle at which each output channel is placed ``(C_out, 2)``.
        code, parameter: activation of the stage; two parameters and its value at 0 ``(3,)``.
        window: rows and columns of the plane that are needed ``(4,)``.
        start: where row and column 0 of each step's input grid lie in its scratch buffer, and the length of a row there
            ``(steps, 3)``.
        steps: per step: up-sampling y x, taps y x, offset y x, cells y0 y1 x0 x1 to expand, activation ``(steps, 11)``.
        parameters: of the steps' activations ``(steps, 3)``.
        taps_y, taps_x: weights ``(steps, cell, phase, tap)``.
        base_y, base_x: separable plane to add after the first step where the activation of 0 is not 0.
        has_base: whether it is to be added.
    """

    values: Any
    weight: Any
    shift: Any
    cell: Any
    code: int
    parameter: Any
    window: Any
    start: Any
    steps: Any
    parameters: Any
    taps_y: Any
    taps_x: Any
    base_y: Any
    base_x: Any
    has_base: bool


@numba.njit(**OPTIONS)
def _convolve_row(values: Any, weight: Any, y: int, x0: int, n: int, shift: Any, row: Any) -> None:
    """One output row of a single-channel convolution with zero padding already in ``values``."""
    kh, kw = weight.shape
    if kh == 3 and kw == 3:
        a, b, c = values[y, x0:], values[y + 1, x0:], values[y + 2, x0:]
        a0, a1, a2 = weight[0, 0], weight[0, 1], weight[0, 2]
        b0, b1, b2 = weight[1, 0], weight[1, 1], weight[1, 2]
        c0, c1, c2 = weight[2, 0], weight[2, 1], weight[2, 2]
        for x in range(n):
            row[x] = (
                (shift + a0 * a[x] + a1 * a[x + 1] + a2 * a[x + 2])
                + (b0 * b[x] + b1 * b[x + 1] + b2 * b[x + 2])
                + (c0 * c[x] + c1 * c[x + 1] + c2 * c[x + 2])
            )
        return
    for x in range(n):
        row[x] = shift
    for ky in range(kh):
        source = values[y + ky, x0:]
        if kw == 1:
            w0 = weight[ky, 0]
            for x in range(n):
                row[x] += w0 * source[x]
        elif kw == 5:
            w0, w1, w2, w3, w4 = weight[ky, 0], weight[ky, 1], weight[ky, 2], weight[ky, 3], weight[ky, 4]
            for x in range(n):
                row[x] += (
                    w0 * source[x] + w1 * source[x + 1] + w2 * source[x + 2] + w3 * source[x + 3] + w4 * source[x + 4]
                )
        else:
            for kx in range(kw):
                w0 = weight[ky, kx]
                for x in range(n):
                    row[x] += w0 * source[x + kx]


@numba.njit(**OPTIONS)
def _filter(source: Any, first: int, stride: int, taps_y: Any, taps_x: Any, n: int, line: Any, out: Any) -> bool:
    """``out[i] = sum_tu taps_y[t] taps_x[u] source[first + i + t stride + u]``; False, and nothing, where all are zero.

    Rows may follow each other: n may span many of them. ``line`` holds the vertical pass of a wide filter.
    """
    top, bottom = _used(taps_y)
    left, right = _used(taps_x)
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
    _weigh(a, stride, taps_y, top, bottom, n + right - left - 1, line)
    _weigh(line, 1, taps_x, left, right, n, out)
    return True


@numba.njit(**OPTIONS)
def _used(taps: Any) -> tuple[int, int]:
    """First non-zero tap, and one behind the last; (n, 0) where there is none."""
    lo, hi = taps.size, 0
    for t in range(taps.size):
        if taps[t] != 0:
            lo = min(lo, t)
            hi = t + 1
    return lo, hi


@numba.njit(**OPTIONS)
def _weigh(source: Any, stride: int, taps: Any, lo: int, hi: int, n: int, out: Any) -> None:
    """``out[x] = sum_t taps[lo + t] source[x + t stride]`` over the taps from lo to hi."""
    if hi - lo == 1:
        w0 = taps[lo]
        for x in range(n):
            out[x] = w0 * source[x]
    elif hi - lo == 2:
        b, w0, w1 = source[stride:], taps[lo], taps[lo + 1]
        for x in range(n):
            out[x] = w0 * source[x] + w1 * b[x]
    elif hi - lo == 3:
        b, c, w0, w1, w2 = source[stride:], source[2 * stride :], taps[lo], taps[lo + 1], taps[lo + 2]
        for x in range(n):
            out[x] = w0 * source[x] + w1 * b[x] + w2 * c[x]
    else:
        w0 = taps[lo]
        for x in range(n):
            out[x] = w0 * source[x]
        for t in range(lo + 1, hi):
            b, w0 = source[(t - lo) * stride :], taps[t]
            for x in range(n):
                out[x] += w0 * b[x]


@numba.njit(**OPTIONS)
def _interleave(phases: Any, r: int, n: int, out: Any) -> None:
    """Phase-major to natural order: ``out[r x + q] = phases[q n + x]``."""
    if r == 1:
        for x in range(n):
            out[x] = phases[x]
    elif r == 2:
        odd = phases[n:]
        for x in range(n):
            out[2 * x] = phases[x]
            out[2 * x + 1] = odd[x]
    else:
        for q in range(r):
            line = phases[q * n :]
            for x in range(n):
                out[r * x + q] = line[x]


@numba.njit(**OPTIONS)
def _plane(c: Any, i: int, o: int, scratch: Any, line: Any) -> None:
    """The neuron's plane ``φ(W_oi * v_i + b_o / C_in)``, less φ(0), into the first scratch buffer."""
    m0, m1, n0, n1 = c.window
    sy, sx, stride = c.start[0]
    for y in range(m0, m1):
        row = scratch[0, (y + sy) * stride + n0 + sx :]
        _convolve_row(c.values[i], c.weight[i, o], y, n0, n1 - n0, c.shift[o], row)
        activate(row, n1 - n0, c.code, c.parameter, line)
        if c.has_base:
            for x in range(n1 - n0):
                row[x] -= c.parameter[2]


@numba.njit(**OPTIONS)
def _advance(c: Any, s: int, py: int, px: int, scratch: Any, lines: Any) -> None:
    """Step s that is not the last: box filter behind the up-sampling, activation, into the next scratch buffer."""
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, code = c.steps[s]
    wide = cx1 - cx0
    sy, sx, stride = c.start[s]
    ny, nx, pitch = c.start[s + 1]
    phases = lines[1]
    for cy in range(cy0, cy1):
        first = (cy + oy + sy) * stride + cx0 + ox + sx
        for p in range(ry):
            some = False
            for q in range(rx):
                phase = phases[q * wide :]
                if _filter(
                    scratch[s], first, stride, c.taps_y[s, py, p, :ty], c.taps_x[s, px, q, :tx], wide, lines[0], phase
                ):
                    some = True
                else:
                    for x in range(wide):
                        phase[x] = 0
            out = scratch[s + 1, (ry * cy + p + ny) * pitch + rx * cx0 + nx :]
            if some:
                _interleave(phases, rx, wide, out)
            else:
                for x in range(rx * wide):
                    out[x] = 0
            if c.has_base and s == 0:
                for x in range(rx * wide):
                    out[x] += c.base_y[ry * (cy - cy0) + p] * c.base_x[x]
            if some or c.has_base or c.parameters[s, 2] != 0:
                activate(out, rx * wide, code, c.parameters[s], lines[2])


@numba.njit(**OPTIONS)
def stream_convolution(chain: Any, neurons: Any, scratch: Any, lines: Any, origin: int, f: Any) -> None:
    """Compute and fold the maps of some neurons of a convolution over the chain's window.

    Args:
        chain: see :class:`Chain`.
        neurons: ``(n, 3)``: input channel, output channel, index into the reductions.
        scratch: ``(steps, values)``, any content.
        lines: ``(4, values)``, any content.
        origin: where the window's band begins in packed planes.
        f: see :class:`Fold`.
    """
    c = chain
    scratch[:] = 0
    last = c.steps.shape[0] - 1
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, _ = c.steps[last]
    sy, sx, stride = c.start[last]
    rows, wide = cy1 - cy0, cx1 - cx0
    n = rows * stride
    first = (cy0 + oy + sy) * stride + cx0 + ox + sx
    out = lines[3]
    every_zero = f.extremes.size > 0 or f.counts.size > 0 or f.dense.size > 0 or f.top.size > 0
    for index in range(neurons.shape[0]):
        i, o, k = neurons[index]
        py, px = c.cell[o]
        _plane(c, i, o, scratch, lines[2])
        for s in range(last):
            if s == 0:
                _advance(c, s, py, px, scratch, lines)
            else:
                _advance(c, s, 0, 0, scratch, lines)
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
    close_call(origin, ry * rx * n, f)
