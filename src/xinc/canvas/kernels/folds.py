"""Folding packed chunks of a map into reductions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from xinc.canvas.kernels.options import OPTIONS

FINE_BITS = 16
"""A first histogram has a bin for each value of a float's upper bits, a second one for each of these lower bits."""


class Fold(NamedTuple):
    """What packed chunks of maps are folded into; an empty array (size 0) is a reduction that was not asked for.

    Planes are packed ``(P,)``; K neurons.

    Attributes:
        heat: sum over neurons of |C| in float32, of this call; added to ``heatmap`` (float64) at its end.
        heatmap: ``(P,)``.
        totals: sum over pixels of |C| ``(K,)``.
        extremes: least and greatest |C| ``(K, 2)``.
        atoms: joint label maps, several groupings in one ``(J, P)``.
        bins: scratch of a neuron's sums per atom, four sets ``(J, 4, A)``.
        columns: for each joint map and grouping the column of each atom in ``sums``, or -1 ``(J, M, A)``; -2: none.
        sums: ``(K, G)``.
        histogram: sum of the values in each bin of their upper float bits.
        counts: number of values likewise.
        refined: the bins that are looked at more closely ``(T,)``; ``fine``: their sums by lower bits ``(T, 2**16)``.
        limit: heatmap / K ``(P,)``; ``above``: number of pixels over it ``(K,)``.
        thresholds: ``(T,)``; ``over``: number of neurons over each ``(T, P)``.
        top, leaders: the greatest values of each pixel, descending, and their neurons ``(P, n)``.
        dense: the packed maps themselves ``(neurons of this call, P)``.
    """

    heat: Any
    heatmap: Any
    totals: Any
    extremes: Any
    atoms: Any
    bins: Any
    columns: Any
    sums: Any
    histogram: Any
    counts: Any
    refined: Any
    fine: Any
    limit: Any
    above: Any
    thresholds: Any
    over: Any
    top: Any
    leaders: Any
    dense: Any


@numba.njit(**OPTIONS)
def sums_alone(f: Any) -> bool:
    """Whether heat and totals are all that was asked for."""
    others = f.dense.size + f.extremes.size + f.atoms.shape[0] + f.histogram.size + f.refined.size + f.limit.size
    alone: bool = f.heat.size > 0 and others + f.thresholds.size + f.top.size == 0
    return alone


@numba.njit(**OPTIONS, inline="always")
def fold_chunk(v: Any, rows: int, stride: int, width: int, at: int, origin: int, k: int, f: Any) -> None:
    """Fold a packed chunk of neuron k's map into every reduction that was asked for.

    Args:
        v: ``rows`` rows of ``stride`` values; those from ``width`` on are padding and zero.
        rows: see v.
        stride: see v.
        width: see v.
        at: where the chunk begins in packed planes.
        origin: where this call's band begins in them.
        k: index of the neuron.
        f: see :class:`Fold`.
    """
    n = rows * stride
    if f.dense.size:
        out = f.dense[k, at - origin :]
        for x in range(n):
            out[x] = v[x]
    if f.heat.size:
        heat = f.heat[at - origin :]
        total = np.float32(0.0)
        for x in range(n):
            a = abs(v[x])
            heat[x] += a
            total += a
        f.totals[k] += total
    if f.extremes.size:
        least, greatest = f.extremes[k, 0], f.extremes[k, 1]
        for y in range(rows):
            row = v[y * stride :]
            for x in range(width):
                a = abs(row[x])
                least = min(least, a)
                greatest = max(greatest, a)
        f.extremes[k, 0], f.extremes[k, 1] = least, greatest
    for j in range(f.atoms.shape[0]):
        _scatter(v, n, f.atoms[j, at:], f.bins[j])
    if f.histogram.size:
        bits = v.view(np.int32)
        if f.counts.size:
            for x in range(n):
                b = (bits[x] & 0x7FFFFFFF) >> FINE_BITS
                f.histogram[b] += abs(v[x])
                f.counts[b] += 1
            f.counts[0] -= rows * (stride - width)
        else:
            for x in range(n):
                f.histogram[(bits[x] & 0x7FFFFFFF) >> FINE_BITS] += abs(v[x])
    for t in range(f.refined.size):
        bits = v.view(np.int32)
        wanted = f.refined[t]
        fine = f.fine[t]
        for x in range(n):
            b = bits[x] & 0x7FFFFFFF
            if (b >> FINE_BITS) == wanted:
                fine[b & ((1 << FINE_BITS) - 1)] += abs(v[x])
    if f.limit.size:
        limit = f.limit[at:]
        number = np.int32(0)
        for x in range(n):
            number += np.int32(abs(v[x]) > limit[x])
        f.above[k] += number
    for t in range(f.thresholds.size):
        threshold = f.thresholds[t]
        over = f.over[t, at:]
        for x in range(n):
            over[x] += np.int32(abs(v[x]) > threshold)
    if f.top.size:
        _lead(v, n, at, k, f.top, f.leaders)


@numba.njit(**OPTIONS)
def _scatter(v: Any, n: int, atoms: Any, bins: Any) -> None:
    """Add |v| to the bins of its atoms; four sets of bins, since neighbours often share theirs and would wait."""
    b0, b1, b2, b3 = bins[0], bins[1], bins[2], bins[3]
    whole = n - n % 4
    for x in range(0, whole, 4):
        b0[atoms[x]] += abs(v[x])
        b1[atoms[x + 1]] += abs(v[x + 1])
        b2[atoms[x + 2]] += abs(v[x + 2])
        b3[atoms[x + 3]] += abs(v[x + 3])
    for x in range(whole, n):
        b0[atoms[x]] += abs(v[x])


@numba.njit(**OPTIONS)
def _lead(v: Any, n: int, at: int, k: int, top: Any, leaders: Any) -> None:
    """Keep the greatest values of each pixel, in descending order, with their neurons."""
    last = top.shape[1] - 1
    for x in range(n):
        a = abs(v[x])
        if a > top[at + x, last]:
            place = last
            while place > 0 and top[at + x, place - 1] < a:
                top[at + x, place] = top[at + x, place - 1]
                leaders[at + x, place] = leaders[at + x, place - 1]
                place -= 1
            top[at + x, place] = a
            leaders[at + x, place] = k


@numba.njit(**OPTIONS)
def close_neuron(k: int, f: Any) -> None:
    """Distribute a neuron's sums over atoms to the regions of every grouping."""
    for j in range(f.atoms.shape[0]):
        bins = f.bins[j]
        sums = bins[0]
        for a in range(sums.size):
            sums[a] = (bins[0, a] + bins[1, a]) + (bins[2, a] + bins[3, a])
        for m in range(f.columns.shape[1]):
            columns = f.columns[j, m]
            if columns[0] == -2:  # this joint map holds fewer groupings than another
                continue
            for a in range(sums.size):
                if columns[a] >= 0:
                    f.sums[k, columns[a]] += sums[a]
        for b in range(4):
            for a in range(sums.size):
                bins[b, a] = 0


@numba.njit(**OPTIONS)
def close_call(origin: int, n: int, f: Any) -> None:
    """Move this call's float32 heat into the float64 plane, so that long sums keep their digits."""
    if f.heat.size:
        heatmap = f.heatmap[origin:]
        for x in range(n):
            heatmap[x] += f.heat[x]
            f.heat[x] = 0
