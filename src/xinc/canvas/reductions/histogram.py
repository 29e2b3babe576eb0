"""What the histogram of a layer's values tells: thresholds and the sorted curve, without a sort.

A bin holds the values that share the upper bits of their floats, so bins are in the order of the values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from xinc.canvas.kernels import FINE_BITS
from xinc.canvas.reductions.dense import COARSE_BINS, FINE_BINS


def bin_of(histogram: Float64[np.ndarray, "bin"], area: float) -> int:
    """The bin in which the descending running sum reaches 1 - area of the total."""
    descending = np.cumsum(histogram[::-1])
    return COARSE_BINS - 1 - min(int(np.searchsorted(descending, (1 - area) * descending[-1])), COARSE_BINS - 1)


def threshold_of(
    histogram: Float64[np.ndarray, "bin"], fine: Float64[np.ndarray, "fine"], bin_: int, area: float
) -> float:
    """The exact value: the same running sum, continued over the single floats ``fine`` of that bin."""
    above = float(histogram[bin_ + 1 :].sum())
    goal = (1 - area) * float(histogram.sum()) - above
    running = np.cumsum(fine[::-1])
    low = FINE_BINS - 1 - min(int(np.searchsorted(running, goal)), FINE_BINS - 1)
    occupied = np.flatnonzero(fine)
    if occupied.size and fine[low] == 0:  # rounding carried the goal past the last value of the bin
        low = int(occupied[0])
    return float(np.array([(bin_ << FINE_BITS) | low], np.uint32).view(np.float32)[0])


def curve_of(counted: NDArray[np.int64], points: int) -> NDArray[Any]:
    """|C| against rank ``(2, points)``: exact ranks, values linear inside a bin (1/128 of their size wide)."""
    counts = counted[::-1].astype(np.float64)
    ranks = np.concatenate([[0.0], np.cumsum(counts)])
    with np.errstate(invalid="ignore"):  # bit patterns above infinity belong to no value
        edges = (np.arange(COARSE_BINS + 1, dtype=np.uint32) << FINE_BITS).view(np.float32)[::-1].astype(np.float64)
    occupied = np.flatnonzero(counts)
    known = np.unique(np.concatenate([occupied, occupied + 1]))
    share = np.linspace(0, 1, points)
    values = np.interp(share * ranks[-1], ranks[known], np.nan_to_num(edges[known], posinf=0.0, nan=0.0))
    return np.stack([share, values]).astype(np.float32)
