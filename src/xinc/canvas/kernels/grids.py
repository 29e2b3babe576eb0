"""A kernel's plane on its way to the picture: convolution, placement, box filters with up-sampling, activations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from xinc.canvas.kernels.activate import activate
from xinc.canvas.kernels.options import OPTIONS

BLOCK = 4096
"""Values of a grid that are worked on at a time: with what is made of them they stay in the first-level cache."""


class Chain(NamedTuple):
    """How a neuron's plane becomes its map: the convolution, then separable box filters with up-sampling.

    Attributes:
        values: what the window reads of the input channels, zero-padded, rows as far apart as in the first scratch
            buffer ``(C_in, values)``.
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
def _convolve(values: Any, weight: Any, pitch: int, n: int, shift: Any, out: Any) -> None:
    """A single-channel convolution of rows that lie ``pitch`` apart, all in one: what falls between rows is no use."""
    kh, kw = weight.shape
    if kh == 3 and kw == 3:
        a, b, c = values, values[pitch:], values[2 * pitch :]
        a0, a1, a2 = weight[0, 0], weight[0, 1], weight[0, 2]
        b0, b1, b2 = weight[1, 0], weight[1, 1], weight[1, 2]
        c0, c1, c2 = weight[2, 0], weight[2, 1], weight[2, 2]
        for x in range(n):
            out[x] = (
                (shift + a0 * a[x] + a1 * a[x + 1] + a2 * a[x + 2])
                + (b0 * b[x] + b1 * b[x + 1] + b2 * b[x + 2])
                + (c0 * c[x] + c1 * c[x + 1] + c2 * c[x + 2])
            )
        return
    for first in range(0, n, BLOCK):
        count = min(BLOCK, n - first)
        piece = out[first:]
        for x in range(count):
            piece[x] = shift
        for ky in range(kh):
            _convolve_row(values[first + ky * pitch :], weight[ky], count, piece)


@numba.njit(**OPTIONS)
def _convolve_row(source: Any, weight: Any, n: int, out: Any) -> None:
    """Add a kernel's row."""
    kw = weight.size
    if kw == 1:
        w0 = weight[0]
        for x in range(n):
            out[x] += w0 * source[x]
    elif kw == 5:
        w0, w1, w2, w3, w4 = weight[0], weight[1], weight[2], weight[3], weight[4]
        for x in range(n):
            out[x] += w0 * source[x] + w1 * source[x + 1] + w2 * source[x + 2] + w3 * source[x + 3] + w4 * source[x + 4]
    else:
        for kx in range(kw):
            w0, shifted = weight[kx], source[kx:]
            for x in range(n):
                out[x] += w0 * shifted[x]


@numba.njit(**OPTIONS)
def used(taps: Any) -> tuple[int, int]:
    """First non-zero tap, and one behind the last; (n, 0) where there is none."""
    lo, hi = taps.size, 0
    for t in range(taps.size):
        if taps[t] != 0:
            lo = min(lo, t)
            hi = t + 1
    return lo, hi


@numba.njit(**OPTIONS)
def weighted_sum(source: Any, stride: int, taps: Any, lo: int, hi: int, n: int, out: Any) -> None:
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
def _interleave(phases: Any, apart: int, r: int, n: int, out: Any) -> None:
    """Phase-major to natural order: ``out[r x + q] = phases[q apart + x]``."""
    if r == 1:
        for x in range(n):
            out[x] = phases[x]
    elif r == 2:
        odd = phases[apart:]
        for x in range(n):
            out[2 * x] = phases[x]
            out[2 * x + 1] = odd[x]
    else:
        for q in range(r):
            line = phases[q * apart :]
            for x in range(n):
                out[r * x + q] = line[x]


@numba.njit(**OPTIONS)
def _plane(c: Any, i: int, o: int, grid: Any, line: Any) -> None:
    """The neuron's plane ``φ(W_oi * v_i + b_o / C_in)``, less φ(0), into the first grid."""
    m0, m1, n0, n1 = c.window
    sy, sx, pitch = c.start[0]
    rows, wide = m1 - m0, n1 - n0
    out = grid[(m0 + sy) * pitch + n0 + sx :]
    n = (rows - 1) * pitch + wide
    _convolve(c.values[i], c.weight[i, o], pitch, n, c.shift[o], out)
    activate(out, n, c.code, c.parameter, line)
    if c.has_base:
        for x in range(n):
            out[x] -= c.parameter[2]
    for y in range(rows - 1):
        for x in range(wide, pitch):
            out[y * pitch + x] = 0


@numba.njit(**OPTIONS)
def block(rows: int, stride: int) -> int:
    """Rows that are worked on at a time: as even a part as may be, of at most :data:`BLOCK` values."""
    most = max(1, BLOCK // stride)
    parts = -(-rows // most)
    return -(-rows // parts)


@numba.njit(**OPTIONS)
def _advance(c: Any, s: int, py: int, px: int, grid: Any, after: Any, lines: Any) -> None:
    """Step s that is not the last: box filter behind the up-sampling, activation, into the grid after it.

    Some rows of cells at a time and phase by phase, so that every loop is long; the phases meet at the end.
    """
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, code = c.steps[s]
    wide = cx1 - cx0
    sy, sx, stride = c.start[s]
    ny, nx, pitch = c.start[s + 1]
    has_base = c.has_base and s == 0
    most = block(cy1 - cy0, stride)
    if rx == 2 and tx == 3 and not has_base:
        _advance_pairs(c, s, py, px, grid, after, lines)
        return
    for y0 in range(cy0, cy1, most):
        rows = min(most, cy1 - y0)
        n = rows * stride
        for p in range(ry):
            taps = c.taps_y[s, py, p, :ty]
            top, bottom = used(taps)
            if bottom > 0:
                source = grid[(y0 + oy + sy + top) * stride + cx0 + ox + sx :]
                weighted_sum(source, stride, taps, top, bottom, n + tx, lines[0])
            for q in range(rx):
                phase = lines[1, q * n :]
                across = c.taps_x[s, px, q, :tx]
                left, right = used(across)
                if bottom > 0 and right > 0:
                    weighted_sum(lines[0, left:], 1, across, left, right, n, phase)
                else:  # a phase that no tap meets
                    value = np.float32(0.0) if has_base else c.parameters[s, 2]
                    for x in range(n):
                        phase[x] = value
                    if not has_base:
                        continue
                if has_base:
                    for y in range(rows):
                        for x in range(wide):
                            phase[y * stride + x] += c.base_y[ry * (y0 + y - cy0) + p] * c.base_x[rx * x + q]
                activate(phase, n, code, c.parameters[s], lines[2])
            for y in range(rows):
                row = after[(ry * (y0 + y) + p + ny) * pitch + rx * cx0 + nx :]
                _interleave(lines[1, y * stride :], n, rx, wide, row)


@numba.njit(**OPTIONS)
def _advance_pairs(c: Any, s: int, py: int, px: int, grid: Any, after: Any, lines: Any) -> None:
    """:func:`_advance` for three taps and two phases, the usual case: both are made at once, and never apart."""
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, code = c.steps[s]
    wide = cx1 - cx0
    sy, sx, stride = c.start[s]
    ny, nx, pitch = c.start[s + 1]
    most = block(cy1 - cy0, stride)
    even, odd = c.taps_x[s, px, 0], c.taps_x[s, px, 1]
    a0, a1, a2, b0, b1, b2 = even[0], even[1], even[2], odd[0], odd[1], odd[2]
    for y0 in range(cy0, cy1, most):
        rows = min(most, cy1 - y0)
        begin = (ry * y0 + ny) * pitch + rx * cx0 + nx
        for p in range(ry):
            taps = c.taps_y[s, py, p, :ty]
            top, bottom = used(taps)
            if bottom > 0:
                source = grid[(y0 + oy + sy + top) * stride + cx0 + ox + sx :]
                weighted_sum(source, stride, taps, top, bottom, rows * stride + tx, lines[0])
            else:
                lines[0, : rows * stride + tx] = 0
            for y in range(rows):
                line, row = lines[0, y * stride :], after[begin + (ry * y + p) * pitch :]
                for x in range(wide):
                    row[2 * x] = a0 * line[x] + a1 * line[x + 1] + a2 * line[x + 2]
                    row[2 * x + 1] = b0 * line[x] + b1 * line[x + 1] + b2 * line[x + 2]
        activate(after[begin:], (ry * rows - 1) * pitch + rx * wide, code, c.parameters[s], lines[2])
        if c.parameters[s, 2] != 0:
            for y in range(ry * rows - 1):
                for x in range(rx * wide, pitch):
                    after[begin + y * pitch + x] = 0


@numba.njit(**OPTIONS)
def plane_before_last(c: Any, i: int, o: int, scratch: Any, final: Any, lines: Any) -> None:
    """A neuron's plane through every step but the last, into ``final``, the grid in front of it."""
    last = c.steps.shape[0] - 1
    _plane(c, i, o, scratch[0] if last > 0 else final, lines[2])
    py, px = c.cell[o]
    for s in range(last):
        _advance(c, s, py, px, scratch[s], scratch[s + 1] if s + 1 < last else final, lines)
        py, px = 0, 0
