"""What a band of a layer's kernels meets: the Jacobian's table, and its part for one output channel in loop order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

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
def run_length(n: int, taps: int) -> int:
    """Coefficients of a run of n values: blocks of :data:`LANES`, a line for each tap and colour; one for one tap."""
    return (n + LANES - 1) // LANES * LANES * (1 if taps == 1 else 3 * taps)


@numba.njit(**OPTIONS)
def coefficients_of(c: Any, o: int, out: Any) -> None:
    """The table of one output channel, slope included, in the order of the loops.

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
            size = run_length(phases * c.phase_rows * c.stride, taps)
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
