"""Heat and totals alone: some neurons at once, and no row of a map is ever stored."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from xinc.canvas.kernels.grids import BLOCK, block, plane_before_last, used, weighted_sum
from xinc.canvas.kernels.options import OPTIONS

GROUP = 4
"""Neurons whose maps are summed at once: the picture's heat, which only the second-level cache holds, moves once."""

LINES = 5 + GROUP
"""Buffers of a row or a block of rows."""


def _summing(count: int) -> Any:
    """A loop over :data:`GROUP` rows at once: each weighed with ``count`` taps; heat is read and written once."""

    @numba.njit(**OPTIONS)
    def sum_rows(lines: Any, first: int, taps: Any, n: int, inside: Any, heat: Any, totals: Any) -> None:
        a0, a1, a2, a3 = lines[0, first:], lines[1, first:], lines[2, first:], lines[3, first:]
        b0, b1, b2, b3 = a0[1:], a1[1:], a2[1:], a3[1:]
        c0, c1, c2, c3 = a0[2:], a1[2:], a2[2:], a3[2:]
        w0, w1, w2 = taps[0], taps[min(1, count - 1)], taps[count - 1]
        t0, t1, t2, t3 = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for x in range(n):
            v0, v1, v2, v3 = w0 * a0[x], w0 * a1[x], w0 * a2[x], w0 * a3[x]
            if count > 1:
                v0, v1, v2, v3 = v0 + w1 * b0[x], v1 + w1 * b1[x], v2 + w1 * b2[x], v3 + w1 * b3[x]
            if count > 2:
                v0, v1, v2, v3 = v0 + w2 * c0[x], v1 + w2 * c1[x], v2 + w2 * c2[x], v3 + w2 * c3[x]
            m = inside[x]
            v0, v1, v2, v3 = abs(v0) * m, abs(v1) * m, abs(v2) * m, abs(v3) * m
            heat[x] += (v0 + v1) + (v2 + v3)
            t0, t1, t2, t3 = t0 + v0, t1 + v1, t2 + v2, t3 + v3
        totals[0] += t0
        totals[1] += t1
        totals[2] += t2
        totals[3] += t3

    return sum_rows


_sum_1, _sum_2, _sum_3 = _summing(1), _summing(2), _summing(3)


@numba.njit(**OPTIONS)
def _sum_last(c: Any, py: int, px: int, grids: Any, lines: Any, totals: Any, heat: Any) -> None:
    """The last step of :data:`GROUP` neurons folded into heat and totals ``(GROUP,)``: no row of a map is ever stored.

    ``lines[4]`` is 1 inside rows and 0 in their padding.
    """
    last = c.steps.shape[0] - 1
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, _, _ = c.steps[last]
    sy, sx, stride = c.start[last]
    most = block(cy1 - cy0, stride)
    whole = (cy1 - cy0) * stride
    one = np.ones(1, np.float32)
    for y0 in range(cy0, cy1, most):
        n = min(most, cy1 - y0) * stride
        for p in range(ry):
            taps = c.taps_y[last, py, p, :ty]
            top, bottom = used(taps)
            if bottom == 0:
                continue
            first = (y0 + oy + sy + top) * stride + cx0 + ox + sx
            for g in range(GROUP):
                weighted_sum(grids[g, first:], stride, taps, top, bottom, n + tx, lines[g])
            for q in range(rx):
                across = c.taps_x[last, px, q, :tx]
                left, right = used(across)
                own = heat[(p * rx + q) * whole + (y0 - cy0) * stride :]
                if right - left == 1:
                    _sum_1(lines, left, across[left:], n, lines[4], own, totals)
                elif right - left == 2:
                    _sum_2(lines, left, across[left:], n, lines[4], own, totals)
                elif right - left == 3:
                    _sum_3(lines, left, across[left:], n, lines[4], own, totals)
                elif right > 0:
                    for g in range(GROUP):
                        weighted_sum(lines[g, left:], 1, across, left, right, n, lines[5 + g])
                    _sum_1(lines[5:], 0, one, n, lines[4], own, totals)


@numba.njit(**OPTIONS)
def stream_sums(c: Any, neurons: Any, scratch: Any, lines: Any, f: Any) -> None:
    """Heat and totals of some neurons, a group of one cell at a time."""
    last = c.steps.shape[0] - 1
    wide, stride = c.steps[last, 9] - c.steps[last, 8], c.start[last, 2]
    for x in range(max(1, BLOCK // stride) * stride):
        lines[4, x] = x % stride < wide
    scratch[:] = 0
    grids = scratch[last:]
    totals = np.zeros(GROUP, np.float32)
    begin = 0
    while begin < neurons.shape[0]:
        py, px = c.cell[neurons[begin, 1]]
        end = begin
        while end < min(begin + GROUP, neurons.shape[0]):
            i, o, _ = neurons[end]
            if last == 0 and (c.cell[o, 0] != py or c.cell[o, 1] != px):
                break
            plane_before_last(c, i, o, scratch, grids[end - begin], lines)
            end += 1
        for g in range(end - begin, GROUP):  # a group that is not full
            grids[g] = 0
        if last > 0:
            py, px = 0, 0
        totals[:] = 0
        _sum_last(c, py, px, grids, lines, totals, f.heat)
        for g in range(end - begin):
            f.totals[neurons[begin + g, 2]] += totals[g]
        begin = end
