"""Folding packed chunks of a map into reductions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from xinc.canvas.kernels.options import OPTIONS

FINE_BITS = 16
"""A first histogram has a bin for each value of a float's upper bits, a second one for each of these lower bits."""


class Fold(NamedTuple):
    """What packed chunks of maps are folded into; an empty array (size 0) is one that was not asked for.

    Which of them a reduction needs, and how they come together, says :mod:`xinc.canvas.reductions.table`; how many axes
    and which type each has, :data:`NOTHING`. Planes are packed ``(P,)``; K neurons.

    Attributes:
        dense: the packed maps themselves ``(neurons of this call, P)``.
        heat: sum over neurons of |C| in float32, of this call; added to ``heatmap`` (float64) at its end.
        heatmap: ``(P,)``.
        totals: sum over pixels of |C| ``(K,)``.
        least, greatest: |C| of each neuron ``(K,)``.
        atoms: joint label maps, several groupings in one ``(J, P)``.
        bins: scratch of a neuron's sums per atom, four sets ``(J, 4, A)``.
        columns: for each joint map and grouping the column of each atom in ``sums``, or -1 ``(J, M, A)``; -2: none.
        sums: ``(K, G)``.
        histogram: sum of the values in each bin of their upper float bits.
        counts: number of values likewise.
        refined: the bins that are looked at more closely ``(T,)``; ``fine``: their sums by lower bits ``(T, 2**16)``.
        limit: heatmap / K ``(P,)``; ``above``: number of pixels over it ``(K,)``.
        thresholds: ``(T,)``; ``over``: number of neurons over each ``(T, P)``.
        top, leaders: the greatest values of each pixel, descending, and their neurons ``(n, P)``.
        earlier: the neuron's map on another frame, over this call's band; overwritten with the absolute difference.
        moved: sum over neurons of that difference in float32, of this call; added to ``change`` ``(P,)`` at its end.
        group: the group of each neuron ``(K,)``.
        group_heat: ``heatmap`` of each group ``(G, P)``; ``group_change`` likewise.
        group_thresholds: ``(T,)``; ``group_over``: number of each group's neurons over them ``(T, G, P)``.
    """

    dense: Any
    heat: Any
    heatmap: Any
    totals: Any
    least: Any
    greatest: Any
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
    earlier: Any
    moved: Any
    change: Any
    group: Any
    group_heat: Any
    group_change: Any
    group_thresholds: Any
    group_over: Any


def _none(axes: int, dtype: type[np.generic]) -> Any:
    return np.zeros((0,) * axes, dtype)


NOTHING = Fold(
    dense=_none(2, np.float32),
    heat=_none(1, np.float32),
    heatmap=_none(1, np.float64),
    totals=_none(1, np.float64),
    least=_none(1, np.float32),
    greatest=_none(1, np.float32),
    atoms=_none(2, np.int32),
    bins=_none(3, np.float32),
    columns=_none(3, np.int32),
    sums=_none(2, np.float64),
    histogram=_none(1, np.float64),
    counts=_none(1, np.int64),
    refined=_none(1, np.int64),
    fine=_none(2, np.float64),
    limit=_none(1, np.float32),
    above=_none(1, np.int64),
    thresholds=_none(1, np.float32),
    over=_none(2, np.int32),
    top=_none(2, np.float32),
    leaders=_none(2, np.int32),
    earlier=_none(1, np.float32),
    moved=_none(1, np.float32),
    change=_none(1, np.float64),
    group=_none(1, np.int32),
    group_heat=_none(2, np.float32),
    group_change=_none(2, np.float32),
    group_thresholds=_none(1, np.float32),
    group_over=_none(3, np.float32),
)
"""A fold that collects nothing: what is asked for takes the place of its empty arrays."""


@numba.njit(**OPTIONS)
def sums_alone(f: Any) -> bool:
    """Whether heat and totals are all that was asked for."""
    others = f.dense.size + f.least.size + f.atoms.shape[0] + f.histogram.size + f.refined.size + f.limit.size
    others += f.thresholds.size + f.top.size + f.earlier.size + f.group.size
    alone: bool = f.heat.size > 0 and others == 0
    return alone


@numba.njit(**OPTIONS)
def needs_zeros(f: Any) -> bool:
    """Whether pixels that a map does not reach count too: they are values, of zero."""
    needed: bool = f.least.size + f.counts.size + f.dense.size + f.top.size + f.earlier.size > 0
    return needed


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
    if f.least.size:
        least, greatest = f.least[k], f.greatest[k]
        for y in range(rows):
            row = v[y * stride :]
            for x in range(width):
                a = abs(row[x])
                least = min(least, a)
                greatest = max(greatest, a)
        f.least[k], f.greatest[k] = least, greatest
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
    if f.earlier.size:
        _compare(v, n, f.earlier[at - origin :])
        if f.moved.size:
            moved, earlier = f.moved[at - origin :], f.earlier[at - origin :]
            for x in range(n):
                moved[x] += earlier[x]
    if f.group.size:
        _fold_group(v, n, at, origin, f.group[k], f)


@numba.njit(**OPTIONS)
def _compare(v: Any, n: int, earlier: Any) -> None:
    """The absolute difference of the sizes of two frames' values, in the place of the earlier ones."""
    for x in range(n):
        earlier[x] = abs(abs(v[x]) - abs(earlier[x]))


@numba.njit(**OPTIONS)
def _fold_group(v: Any, n: int, at: int, origin: int, group: int, f: Any) -> None:
    """Fold a chunk into the pictures of the neuron's group."""
    if f.group_heat.size:
        heat = f.group_heat[group, at:]
        for x in range(n):
            heat[x] += abs(v[x])
    for t in range(f.group_thresholds.size):
        threshold, over = f.group_thresholds[t], f.group_over[t, group, at:]
        for x in range(n):
            over[x] += np.float32(abs(v[x]) > threshold)
    if f.group_change.size:
        change, earlier = f.group_change[group, at:], f.earlier[at - origin :]
        for x in range(n):
            change[x] += earlier[x]


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
    last = top.shape[0] - 1
    for x in range(n):
        a = abs(v[x])
        if a > top[last, at + x]:
            place = last
            while place > 0 and top[place - 1, at + x] < a:
                top[place, at + x] = top[place - 1, at + x]
                leaders[place, at + x] = leaders[place - 1, at + x]
                place -= 1
            top[place, at + x] = a
            leaders[place, at + x] = k


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
    if f.moved.size:
        change = f.change[origin:]
        for x in range(n):
            change[x] += f.moved[x]
            f.moved[x] = 0
