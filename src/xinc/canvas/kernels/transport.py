"""First-order transport: kernels' planes against the Jacobian of what follows, folded row by row."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from xinc.canvas.kernels.course import (
    _FOUR,
    _L1,
    _L2,
    _L3,
    _L4,
    _L5,
    _L6,
    _L7,
    _L8,
    _L9,
    _L10,
    _L11,
    _ONE,
    _THREE,
    _TWO,
    _U,
    coefficients_of,
    run_length,
)  # fmt: skip
from xinc.canvas.kernels.folds import close_call, close_neuron, fold_chunk, needs_zeros
from xinc.canvas.kernels.options import OPTIONS


@numba.njit(**OPTIONS)
def _two(z: Any, a: Any, b: Any, t: Any, k: Any, n: Any, out: Any, to: Any) -> None:
    for x in range(n):
        p, q, i = z[a + x], z[b + x], k + x
        out[to + x] = (
            abs(p * t[i] + q * t[i + _L3]) + abs(p * t[i + _L1] + q * t[i + _L4]) + abs(p * t[i + _L2] + q * t[i + _L5])
        )


@numba.njit(**OPTIONS)
def _four(z: Any, a: Any, down: Any, right: Any, t: Any, k: Any, n: Any, out: Any, to: Any) -> None:
    b, c, d = a + right, a + down, a + down + right
    for x in range(n):
        p, q, r, s, i = z[a + x], z[b + x], z[c + x], z[d + x], k + x
        red = (p * t[i] + q * t[i + _L3]) + (r * t[i + _L6] + s * t[i + _L9])
        green = (p * t[i + _L1] + q * t[i + _L4]) + (r * t[i + _L7] + s * t[i + _L10])
        blue = (p * t[i + _L2] + q * t[i + _L5]) + (r * t[i + _L8] + s * t[i + _L11])
        out[to + x] = abs(red) + abs(green) + abs(blue)


@numba.njit(**OPTIONS)
def _add(z: Any, a: Any, t: Any, k: Any, n: Any, sums: Any) -> None:
    for x in range(n):
        p, i = z[a + x], k + x
        sums[x] += p * t[i]
        sums[_L1 + x] += p * t[i + _L1]
        sums[_L2 + x] += p * t[i + _L2]


@numba.njit(**OPTIONS)
def _add_three(z: Any, a: Any, right: Any, t: Any, k: Any, n: Any, sums: Any) -> None:
    b, c = a + right, a + right + right
    for x in range(n):
        p, q, r, i = z[a + x], z[b + x], z[c + x], k + x
        sums[x] += p * t[i] + q * t[i + _L3] + r * t[i + _L6]
        sums[_L1 + x] += p * t[i + _L1] + q * t[i + _L4] + r * t[i + _L7]
        sums[_L2 + x] += p * t[i + _L2] + q * t[i + _L5] + r * t[i + _L8]


@numba.njit(**OPTIONS)
def _many(
    z: Any, a: Any, down: Any, right: Any, ny: Any, nx: Any, t: Any, k: Any, n: Any, sums: Any, out: Any, to: Any
) -> None:
    """Any number of taps."""
    sums[:] = 0
    for u in range(ny):
        if nx == _THREE:
            _add_three(z, a + u * down, right, t, k + u * _L9, n, sums)
        else:
            for v in range(nx):
                _add(z, a + u * down + v * right, t, k + (u * nx + v) * _L3, n, sums)
    for x in range(n):
        out[to + x] = abs(sums[x]) + abs(sums[_L1 + x]) + abs(sums[_L2 + x])


@numba.njit(**OPTIONS)
def _run(
    z: Any, a: Any, down: Any, right: Any, ny: Any, nx: Any, t: Any, k: Any, n: Any, sums: Any, out: Any, to: Any
) -> None:
    """``out[to + x] = sum_c | sum_uv t[u, v, c, x] z[a + x + u down + v right] |`` for the n values of a run.

    ``t`` begins at ``k`` and lies in blocks, see :func:`~xinc.canvas.kernels.course.coefficients_of`.
    """
    taps = ny * nx
    if taps == _ONE:
        for x in range(n):
            out[to + x] = abs(z[a + x]) * t[k + x]
        return
    first = _U(0)
    while first < n:
        part = min(_L1, n - first)
        here, block, made = a + first, k + first * _THREE * taps, to + first
        if taps == _TWO:
            _two(z, here, here + (right if nx == _TWO else down), t, block, part, out, made)
        elif ny == _TWO and nx == _TWO:
            _four(z, here, down, right, t, block, part, out, made)
        else:
            _many(z, here, down, right, ny, nx, t, block, part, sums, out, made)
        first += _L1


@numba.njit(**OPTIONS)
def _plane(c: Any, i: int, o: int, plane: Any) -> None:
    """The neuron's plane ``W_oi * v_i`` over the rows that the band meets; what lies outside the grid stays zero.

    Input and plane have rows of the same length, so that all rows are one loop; what it writes between is zeroed again.
    """
    height, width = c.slope.shape[1:]
    kh, kw = c.weight.shape[2:]
    lo, hi = max(0, c.grid[0]), min(height, c.grid[1])
    if hi <= lo:
        return
    pitch, n = _U(c.pitch), _U((hi - lo - 1) * c.pitch + width)
    to = _U((lo - c.grid[0]) * c.pitch + c.left)
    source = _U((i * (height + kh - 1) + lo) * c.pitch)
    v, w = c.values, c.weight[i, o]
    if kh == 3 and kw == 3:
        w0, w1, w2, w3, w4 = w[0, 0], w[0, 1], w[0, 2], w[1, 0], w[1, 1]
        w5, w6, w7, w8 = w[1, 2], w[2, 0], w[2, 1], w[2, 2]
        middle, below = source + pitch, source + pitch + pitch
        for x in range(n):
            s, t, u = source + x, middle + x, below + x
            plane[to + x] = (
                (w0 * v[s] + w1 * v[s + _ONE] + w2 * v[s + _TWO])
                + (w3 * v[t] + w4 * v[t + _ONE] + w5 * v[t + _TWO])
                + (w6 * v[u] + w7 * v[u + _ONE] + w8 * v[u + _TWO])
            )
    else:
        for x in range(n):
            plane[to + x] = 0
        for ky in range(kh):
            line = source + _U(ky) * pitch
            if kw == 5:
                w0, w1, w2, w3, w4 = w[ky, 0], w[ky, 1], w[ky, 2], w[ky, 3], w[ky, 4]
                for x in range(n):
                    s = line + x
                    plane[to + x] += (
                        w0 * v[s] + w1 * v[s + _ONE] + w2 * v[s + _TWO] + w3 * v[s + _THREE] + w4 * v[s + _FOUR]
                    )
            else:
                for kx in range(kw):
                    w0, s = w[ky, kx], line + _U(kx)
                    for x in range(n):
                        plane[to + x] += w0 * v[s + x]
    for q in range(lo - c.grid[0], hi - c.grid[0] - 1):
        for x in range(q * c.pitch + c.left + width, (q + 1) * c.pitch + c.left):
            plane[x] = 0


@numba.njit(**OPTIONS)
def _tile(c: Any, plane: Any, cells: Any, phases: int, tiles: Any) -> None:
    """For each cell that a tap reads first, what a phase reads, ``phases`` times side by side.

    ``cells``: first row, rows, first column and columns of the cells.
    """
    width = c.slope.shape[2]
    y0, ny, x0, nx = cells
    to = 0
    for y in range(y0, y0 + ny):
        for x in range(x0, x0 + nx):
            for _ in range(phases):
                for j in range(c.phase_rows):
                    target, source = _U(to), _U((y + j - c.grid[0]) * c.pitch + c.left + x)
                    for i in range(_U(width)):
                        tiles[target + i] = plane[source + i]
                    to += width


@numba.njit(**OPTIONS)
def _read(c: Any, a: int, b: int) -> tuple[int, int, int, int]:
    """Cells of the grid at which the taps of a sub-pixel begin: first row, rows, first column, columns."""
    y0, y1, x0, x1 = 1 << 30, -(1 << 30), 1 << 30, -(1 << 30)
    for p in range(c.taps_y.shape[1]):
        _, ny, q = c.taps_y[a, p]
        if ny:
            y0, y1 = min(y0, q), max(y1, q + ny)
    for run in range(c.runs.shape[1]):
        _, _, nx, q = c.runs[b, run]
        if nx:
            x0, x1 = min(x0, q), max(x1, q + nx)
    return y0, max(0, y1 - y0), x0, max(0, x1 - x0)


@numba.njit(**OPTIONS)
def stream_transport(
    c: Any, o: int, inputs: Any, keys: Any, coefficients: Any, plane: Any, tiles: Any, lines: Any, f: Any
) -> None:
    """Compute and fold the maps of the kernels of one output channel over a band.

    Args:
        c: see :class:`Course`.
        o: output channel.
        inputs: input channels ``(n,)``; ``keys``: the neurons' indices into the reductions ``(n,)``.
        keys: see inputs.
        coefficients: scratch for :func:`~xinc.canvas.kernels.course.coefficients_of`.
        plane: scratch ``(rows of the grid * pitch + LANES,)``.
        tiles: scratch.
        lines: scratch ``(2, values)``, at least ``3 * LANES``.
        f: of the band; see :class:`Fold`.
    """
    coefficients_of(c, o, coefficients)
    _stream_inputs(c, o, inputs, keys, coefficients, plane, tiles, lines, f)
    close_call(0, _packed(c), f)


@numba.njit(**OPTIONS)
def stream_transport_pair(
    c: Any, before: Any, o: int, inputs: Any, keys: Any, coefficients: Any, plane: Any, tiles: Any, lines: Any, f: Any,
    earlier: Any,
) -> None:  # fmt: skip
    """:func:`stream_transport` together with the same kernels' maps on another frame, one kernel after the other.

    Args:
        c: see :class:`Course`.
        before: the other frame's, of the same geometry.
        o: output channel.
        inputs: see :func:`stream_transport`.
        keys: see there.
        coefficients: scratch for both frames, one after the other ``(2 n,)``.
        plane: see :func:`stream_transport`.
        tiles: see there.
        lines: see there.
        f: with an array :attr:`~xinc.canvas.kernels.folds.Fold.earlier`.
        earlier: a fold whose ``dense`` is that array.
    """
    half = coefficients.size // 2
    now, then = coefficients[:half], coefficients[half:]
    coefficients_of(c, o, now)
    coefficients_of(before, o, then)
    first = np.zeros(1, np.int64)
    for index in range(inputs.size):
        part = slice(index, index + 1)
        _stream_inputs(before, o, inputs[part], first, then, plane, tiles, lines, earlier)
        _stream_inputs(c, o, inputs[part], keys[part], now, plane, tiles, lines, f)
    close_call(0, _packed(c), f)


@numba.njit(**OPTIONS)
def _packed(c: Any) -> int:
    """Values of a packed plane of the band."""
    across = 0
    for run in range(c.runs.shape[1]):
        across += c.runs[0, run, 1]
    packed: int = c.taps_y.shape[1] * across * c.phase_rows * c.stride
    return packed


@numba.njit(**OPTIONS)
def _stream_inputs(
    c: Any, o: int, inputs: Any, keys: Any, coefficients: Any, plane: Any, tiles: Any, lines: Any, f: Any
) -> None:
    """Compute and fold the maps of kernels whose coefficients are made; see :func:`stream_transport`."""
    ry, rx = c.upscale
    a, b = (o % (ry * rx)) // rx, o % rx
    cells = _read(c, a, b)
    plane[:] = 0
    width = c.slope.shape[2]
    most = across = 0
    for run in range(c.runs.shape[1]):
        most = max(most, c.runs[b, run, 1])
        across += c.runs[b, run, 1]
    area, length = c.phase_rows * c.stride, most * c.phase_rows * width
    down, right, top, left = c.pitch, 1, c.grid[0], -c.left
    if c.tiled:
        down, right, top, left = cells[3] * length, length, cells[0], cells[2]
    source = tiles if c.tiled else plane
    out, sums = lines[0], lines[1]
    every_zero = needs_zeros(f)
    for index in range(inputs.size):
        i, k = inputs[index], keys[index]
        _plane(c, i, o, plane)
        if c.tiled:
            _tile(c, plane, cells, most, tiles)
        base = 0
        for p in range(c.taps_y.shape[1]):
            _, ny, qy = c.taps_y[a, p]
            if ny == 0 and not every_zero:
                continue  # no tap meets these rows
            for run in range(c.runs.shape[1]):
                first, phases, nx, qx = c.runs[b, run]
                n, taps = phases * area, ny * nx
                if taps == 0:
                    out[first * area : first * area + n] = 0
                    continue
                begin = (qy - top) * down + (qx - left) * right
                _run(
                    source, _U(begin), _U(down), _U(right), _U(ny), _U(nx), coefficients, _U(base), _U(n), sums,
                    out, _U(first * area),
                )  # fmt: skip
                base += run_length(n, taps)
            fold_chunk(out, across * c.phase_rows, c.stride, width, p * across * area, 0, k, f)
        close_neuron(k, f)
