"""First-order transport: kernels' planes against the Jacobian of what follows, folded row by row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from xinc.canvas.kernels.folds import close_call, close_neuron, fold_chunk
from xinc.canvas.kernels.options import OPTIONS

LANES = 272
"""Values of one coefficient side by side: then all coefficients of a value lie at constant distances in memory.

No power of two, so that the lines of a block do not compete for the same sets of the cache.
"""

# Unsigned, because Numba looks out for negative indices otherwise, and loops over `array[base + x]` stay scalar.
_U = np.uint64
_L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10, _L11 = (_U(LANES * line) for line in range(1, 12))
_ONE, _TWO, _THREE, _FOUR = _U(1), _U(2), _U(3), _U(4)


class Course(NamedTuple):
    """Where the planes of a layer's kernels meet the table of a band.

    A *phase* is a row and column of the picture modulo the layer's total up-sampling; in a phase, taps are fixed. A
    *run* is a number of neighbouring phases with the same taps, laid side by side in packed planes.

    Attributes:
        table: ``(window y, window x, channels, 3, rows, columns)``, flat, columns phase by phase.
        shape: its shape ``(6,)``.
        slope: of the layer's own activation, on the convolution's grid ``(C_out, h, w)``.
        values: input channels with zeros around them, rows of :attr:`pitch` ``(C_in, h + kh - 1, pitch)``, flat.
        weight: ``(C_in, C_out, kh, kw)``.
        upscale: of the layer's shuffle ``(2,)``.
        grid: first row of the convolution's grid that the band meets, and one behind the last ``(2,)``; may be outside.
        phase_rows: rows of the band in one phase.
        stride: length of a packed row; ``pitch`` that of a row of a neuron's plane, ``left`` its first column.
        tiled: whether runs of several phases need the plane copied side by side.
        taps_y: for each sub-pixel and phase: first window row, taps, first row of the grid ``(r, phases, 3)``.
        taps_x: for each sub-pixel and phase: first window column ``(r, phases)``.
        runs: for each sub-pixel: first phase, phases, taps, first column of the grid ``(r, runs, 4)``; 0 phases: none.
    """

    table: Any
    shape: Any
    slope: Any
    values: Any
    weight: Any
    upscale: Any
    grid: Any
    phase_rows: int
    stride: int
    pitch: int
    left: int
    tiled: bool
    taps_y: Any
    taps_x: Any
    runs: Any


@numba.njit(**OPTIONS)
def _length(n: int, taps: int) -> int:
    """Coefficients of a run of n values: blocks of :data:`LANES`, a line for each tap and colour; one for one tap."""
    return (n + LANES - 1) // LANES * LANES * (1 if taps == 1 else 3 * taps)


@numba.njit(**OPTIONS)
def _coefficients(c: Any, o: int, out: Any) -> None:
    """The table of one output channel, slope included, in the order in which :func:`_run` reads it.

    For each phase of y and run: blocks of :data:`LANES` values, in each block one line a tap and colour; of runs with a
    single tap one line, the sum over colours of the absolute values.
    """
    ry, rx = c.upscale
    channel, cell = o // (ry * rx), o % (ry * rx)
    a, b = cell // rx, cell % rx
    height, width = c.slope.shape[1:]
    _, across, channels, _, rows, columns = c.shape
    slope = c.slope[o].reshape(-1)
    base = 0
    for p in range(c.taps_y.shape[1]):
        dy0, ny, qy0 = c.taps_y[a, p]
        for run in range(c.runs.shape[1]):
            first, phases, nx, off0 = c.runs[b, run]
            taps = ny * nx
            if phases == 0 or taps == 0:
                continue
            size = _length(phases * c.phase_rows * c.stride, taps)
            out[base : base + size] = 0
            for t in range(ny):
                for u in range(nx):
                    begin, end = max(0, -(off0 + u)), min(width, width - (off0 + u))
                    for m in range(phases):
                        entry = ((dy0 + t * ry) * across + c.taps_x[b, first + m] + u * rx) * channels + channel
                        for j in range(c.phase_rows):
                            q = qy0 + t + j
                            if 0 <= q < height:
                                row = entry * 3 * rows + p + j * c.taps_y.shape[1]
                                _coefficient_row(
                                    c.table, row * columns + (first + m) * width, rows * columns,
                                    slope, q * width + off0 + u, begin, end, t * nx + u, taps,
                                    out, base, (m * c.phase_rows + j) * c.stride,
                                )  # fmt: skip
            base += size


@numba.njit(**OPTIONS)
def _coefficient_row(
    table: Any, first: int, colour: int, slope: Any, inner: int, begin: int, end: int, tap: int, taps: int,
    out: Any, base: int, at: int,
) -> None:  # fmt: skip
    """Values ``begin`` to ``end`` of a row of one tap in one phase, into their blocks: table times slope."""
    lines = 1 if taps == 1 else 3 * taps
    x = begin
    while x < end:
        block, lane = (at + x) // LANES, (at + x) % LANES
        n = min(LANES - lane, end - x)
        red, s = _U(first + x), _U(inner + x)
        green, blue = red + _U(colour), red + _U(2 * colour)
        to = _U(base + (block * lines + (0 if taps == 1 else 3 * tap)) * LANES + lane)
        if taps == 1:
            for i in range(_U(n)):
                out[to + i] = (abs(table[red + i]) + abs(table[green + i]) + abs(table[blue + i])) * abs(slope[s + i])
        else:
            for i in range(_U(n)):
                v = slope[s + i]
                out[to + i] = table[red + i] * v
                out[to + _L1 + i] = table[green + i] * v
                out[to + _L2 + i] = table[blue + i] * v
        x += n


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

    ``t`` begins at ``k`` and lies in blocks, see :func:`_coefficients`.
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
        coefficients: scratch for :func:`_coefficients`.
        plane: scratch ``(rows of the grid * pitch + LANES,)``.
        tiles: scratch.
        lines: scratch ``(2, values)``, at least ``3 * LANES``.
        f: of the band; see :class:`Fold`.
    """
    _coefficients(c, o, coefficients)
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
    every_zero = f.extremes.size > 0 or f.counts.size > 0 or f.dense.size > 0 or f.top.size > 0
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
                base += _length(n, taps)
            fold_chunk(out, across * c.phase_rows, c.stride, width, p * across * area, 0, k, f)
        close_neuron(k, f)
    close_call(0, c.taps_y.shape[1] * across * area, f)
