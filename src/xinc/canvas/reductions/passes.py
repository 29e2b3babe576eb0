"""Reductions of a layer's maps, planned into the fewest passes.

The first pass gives sums; the second what needs them (a pixel's share needs its total, a threshold its histogram); the
third counts over thresholds. Nothing holds neurons x pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.kernels import FINE_BITS
from xinc.canvas.reductions.fold import COARSE_BINS, FINE_BINS, Folded, Pass
from xinc.canvas.reductions.stream import Stream
from xinc.errors import TraceError

Progress = Callable[[str, float], None]
"""Called with a pass's name and the share of it that was done since the last call."""

Regions = Mapping[str, NDArray[np.int64]]


@dataclass
class Reductions:
    """Statistics of a layer's maps C, K neurons on H x W pixels; None where it was not asked for.

    Attributes:
        heatmap: sum over neurons of |C| ``(H, W)`` float32 (Fig. 5).
        totals: sum over pixels of |C| ``(K,)`` float32.
        extremes: least and greatest |C| of each neuron ``(K, 2)`` float32.
        regions: per grouping, sums of |C| over each region ``(K, G)`` float32 (Fig. 4, 8, 10).
        pixels_per_neuron: number of pixels whose share exceeds 1/K ``(K,)`` int64 (Fig. 6).
        thresholds: per area, the |C| at which the sum of all greater ones reaches 1 - area of the total (Fig. 7).
        neurons_per_pixel: per area, share of the neurons above that threshold ``(H, W)`` float32 (Fig. 7).
        curve: ``(2, n)``: rank as a share of all values, and |C| at it, descending (Fig. 18).
        leaders: neurons with the greatest |C| of each pixel ``(H, W, n)`` int32; ``leading`` their values.
    """

    heatmap: Tensor | None = None
    totals: Tensor | None = None
    extremes: Tensor | None = None
    regions: dict[str, Tensor] = field(default_factory=dict)
    pixels_per_neuron: Tensor | None = None
    thresholds: dict[float, float] = field(default_factory=dict)
    neurons_per_pixel: dict[float, Tensor] = field(default_factory=dict)
    curve: Tensor | None = None
    leaders: Tensor | None = None
    leading: Tensor | None = None


@dataclass(frozen=True)
class Request:
    """Which reductions to compute; see :class:`Reductions`. ``labels`` are ``(H, W)`` integers, negative: no region."""

    heatmap: bool = False
    totals: bool = False
    extremes: bool = False
    regions: Regions = field(default_factory=dict)
    pixels_per_neuron: bool = False
    neurons_per_pixel: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    curve: int = 0
    top: int = 0


class Reducer:
    """Computes reductions of one stream and remembers them, with the histogram that thresholds start from."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.done = Reductions()
        self._histogram: NDArray[np.float64] | None = None
        self._counts: NDArray[np.int64] | None = None
        self._labels: dict[str, NDArray[np.int64]] = {}

    def reduce(self, request: Request, progress: Progress | None = None) -> Reductions:
        """Compute what is asked and not known yet.

        Raises:
            TraceError: An area is not between 0 and 1.
        """
        areas = tuple(dict.fromkeys((*request.neurons_per_pixel, *request.thresholds)))
        for area in areas:
            if not 0 < area < 1:
                raise TraceError(f"area {area} is not between 0 and 1; the paper uses 0.1 and 0.5")
        self._first(request, areas, progress)
        self._second(request, areas, progress)
        self._third(request, progress)
        return self.done

    def _run(self, wanted: Pass, name: str, progress: Progress | None) -> Folded:
        return self.stream.fold(wanted, None if progress is None else lambda share: progress(name, share))

    def _first(self, request: Request, areas: tuple[float, ...], progress: Progress | None) -> None:
        done = self.done
        regions = {name: labels for name, labels in request.regions.items() if self._is_new(name, labels)}
        open_areas = [area for area in areas if area not in done.thresholds]
        sums = (request.heatmap or request.totals or request.pixels_per_neuron) and done.heatmap is None
        curve = request.curve > 0 and (done.curve is None or done.curve.shape[1] != request.curve)
        wanted = Pass(
            heatmap=sums,
            totals=sums,
            extremes=request.extremes and done.extremes is None,
            regions=regions,
            histogram=bool(open_areas or curve) and self._histogram is None,
            counts=bool(curve) and self._counts is None,
            top=request.top if request.top and (done.leaders is None or done.leaders.shape[2] != request.top) else 0,
        )
        if wanted.counts and not wanted.histogram:
            wanted = Pass(**{**wanted.__dict__, "histogram": True})
        if not wanted.empty:
            self._keep(wanted, self._run(wanted, "sums", progress))
        if curve:
            done.curve = self._curve(request.curve)

    def _is_new(self, name: str, labels: NDArray[np.int64]) -> bool:
        known = self._labels.get(name)
        return known is None or not np.array_equal(known, labels)

    def _keep(self, wanted: Pass, folded: Folded) -> None:
        done = self.done
        if wanted.heatmap:
            done.heatmap = _tensor(folded.heatmap)
            done.totals = _tensor(folded.totals)
        if wanted.extremes:
            done.extremes = torch.from_numpy(folded.extremes)
        for name, sums in folded.sums.items():
            done.regions[name] = _tensor(sums)
            self._labels[name] = wanted.regions[name]
        if wanted.histogram:
            self._histogram = folded.histogram
            self._counts = folded.counts if folded.counts.any() else self._counts
        if wanted.top:
            done.leaders, done.leading = torch.from_numpy(folded.leaders), torch.from_numpy(folded.top)

    def _second(self, request: Request, areas: tuple[float, ...], progress: Progress | None) -> None:
        done = self.done
        open_areas = [area for area in areas if area not in done.thresholds]
        count = request.pixels_per_neuron and done.pixels_per_neuron is None
        bins = {area: self._bin(area) for area in open_areas}
        refined = tuple(dict.fromkeys(bins.values()))
        limit = None
        if count:
            assert done.heatmap is not None  # the first pass made it
            limit = (done.heatmap.double().numpy() / self.stream.neurons).astype(np.float32)
        wanted = Pass(limit=limit, refined=refined)
        if wanted.empty:
            return
        folded = self._run(wanted, "shares", progress)
        if count:
            done.pixels_per_neuron = torch.from_numpy(folded.above)
        for area in open_areas:
            done.thresholds[area] = self._threshold(area, bins[area], folded.fine[refined.index(bins[area])])

    def _third(self, request: Request, progress: Progress | None) -> None:
        areas = [area for area in request.neurons_per_pixel if area not in self.done.neurons_per_pixel]
        if not areas:
            return
        folded = self._run(Pass(thresholds=tuple(self.done.thresholds[area] for area in areas)), "counts", progress)
        for area, over in zip(areas, folded.over, strict=True):
            self.done.neurons_per_pixel[area] = torch.from_numpy((over / self.stream.neurons).astype(np.float32))

    def _bin(self, area: float) -> int:
        """The histogram bin in which the descending running sum reaches 1 - area of the total."""
        assert self._histogram is not None
        descending = np.cumsum(self._histogram[::-1])
        return COARSE_BINS - 1 - min(int(np.searchsorted(descending, (1 - area) * descending[-1])), COARSE_BINS - 1)

    def _threshold(self, area: float, bin_: int, fine: NDArray[np.float64]) -> float:
        """The exact value: the same running sum, continued over the single floats of that bin."""
        assert self._histogram is not None
        above = float(self._histogram[bin_ + 1 :].sum())
        goal = (1 - area) * float(self._histogram.sum()) - above
        running = np.cumsum(fine[::-1])
        low = FINE_BINS - 1 - min(int(np.searchsorted(running, goal)), FINE_BINS - 1)
        occupied = np.flatnonzero(fine)
        if occupied.size and fine[low] == 0:  # rounding carried the goal past the last value of the bin
            low = int(occupied[0])
        return float(np.array([(bin_ << FINE_BITS) | low], np.uint32).view(np.float32)[0])

    def _curve(self, points: int) -> Tensor:
        """|C| against rank, from the histogram: exact ranks, values linear inside a bin (1/128 of their size wide)."""
        assert self._counts is not None
        counts = self._counts[::-1].astype(np.float64)
        ranks = np.concatenate([[0.0], np.cumsum(counts)])
        with np.errstate(invalid="ignore"):  # bit patterns above infinity belong to no value
            edges = (np.arange(COARSE_BINS + 1, dtype=np.uint32) << FINE_BITS).view(np.float32)[::-1].astype(np.float64)
        occupied = np.flatnonzero(counts)
        known = np.unique(np.concatenate([occupied, occupied + 1]))
        share = np.linspace(0, 1, points)
        values = np.interp(share * ranks[-1], ranks[known], np.nan_to_num(edges[known], posinf=0.0, nan=0.0))
        return torch.from_numpy(np.stack([share, values]).astype(np.float32))


def _tensor(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
