"""Statistics of a run with their bootstrap draws: what claims are measured by.

A measurement is one number for all neurons and one for each bootstrap resample of them, so that several signals can be
combined and the whole uncertainty carried along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from xinc.findings.section4 import objects
from xinc.findings.section4.moments import Resampled
from xinc.findings.statistics import nanmean
from xinc.notation import Array, Values

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Measured:
    """A statistic of one run.

    Attributes:
        value: for all neurons.
        draws: ``(draws,)``, for resampled neurons; a single NaN where neurons are not what is resampled, none where a
            run has one number, which can differ between runs only.
        neurons: number of neurons that it rests on.
    """

    value: float
    draws: Values
    neurons: int

    def __sub__(self, other: Measured) -> Measured:
        return Measured(self.value - other.value, self.draws - other.draws, self.neurons + other.neurons)


Statistic = Callable[[Values], Values]
"""From values with neurons on the last axis to a number for each row of them."""


def medians(values: Values) -> Values:
    """Median of the finite values of each row; NaN, in silence, where there are none."""
    if np.isfinite(values).all():
        return np.asarray(np.median(values, axis=-1))
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), axis=-1)
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    middle = [np.take_along_axis(ordered, np.maximum(at, 0), axis=-1) for at in ((count - 1) // 2, count // 2)]
    return np.where(count > 0, (middle[0] + middle[1]) / 2, np.nan)[..., 0]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The results of one run under one method.

    Attributes:
        tree: what :func:`xinc.findings.analyse.analyse` returned.
        method: the method.
        layers: the analysed layers, in the order of the forward pass.
        all_layers: all of the network's, analysed or not.
        pixelwise: whether the network is an MLP over pixels.
        draws: number of resamples.
        seed: of all resamples.
    """

    tree: xr.DataTree
    method: str
    layers: tuple[str, ...]
    all_layers: tuple[str, ...]
    pixelwise: bool
    draws: int = 200
    seed: int = 0
    read: dict[str, xr.Dataset] = field(default_factory=dict, repr=False)

    @cached_property
    def groups(self) -> frozenset[str]:
        """Paths of all results."""
        return frozenset(self.tree.groups)

    def dataset(self, finding: str, layer: str) -> xr.Dataset | None:
        """A finding of a layer, read once; None where it was not made."""
        path = f"/{finding}/{self.method}/{layer}"
        if path not in self.groups:
            return None
        if path not in self.read:
            self.read[path] = self.tree[path].to_dataset().load()
        return self.read[path]

    def depth(self, layer: str) -> int:
        """Layers between a layer and the output: 0 for the last one."""
        return len(self.all_layers) - 1 - self.all_layers.index(layer)

    def inner(self, layer: str) -> str | None:
        """The layer before, where it was analysed too."""
        position = self.all_layers.index(layer) - 1
        return self.all_layers[position] if position >= 0 and self.all_layers[position] in self.layers else None

    def over_neurons(self, values: Array, statistic: Statistic = medians) -> Measured:
        """A statistic of values by neuron, ``(frame, neuron)``: computed for each frame, averaged over frames."""
        values = np.atleast_2d(np.asarray(values, dtype=np.float64))
        count = values.shape[1]
        samples = np.random.default_rng(self.seed).integers(count, size=(self.draws, count))
        drawn = np.stack([statistic(row[samples]) for row in values])
        return Measured(float(nanmean(statistic(values), axis=0)), nanmean(drawn, axis=0), count)

    def over_pictures(self, finding: str, layer: str, statistic: Callable[[Resampled], Values]) -> Measured | None:
        """A statistic of a layer's pictures, averaged over frames; None where its moments were not made."""
        dataset = self.dataset(finding, layer)
        if dataset is None:
            return None
        frames = [
            statistic(Resampled.of(dataset.isel(frame=i), self.draws, self.seed)) for i in range(dataset.sizes["frame"])
        ]
        values = nanmean(np.stack(frames), axis=0)
        return Measured(float(values[0]), values[1:], int(dataset.attrs["neurons"]))


Measure = Callable[[Evidence, str], Measured | None]
"""From a run's evidence and a layer to a number; None where the run cannot say."""


def together(statistic: Callable[[xr.Dataset], xr.DataArray]) -> Measure:
    """A number of what neurons do together, mean over frames; drawn anew are the frames, as there is one a frame."""

    def measure(evidence: Evidence, layer: str) -> Measured | None:
        found = evidence.dataset("together", layer)
        if found is None:
            return None
        values = np.asarray(statistic(found).values, np.float64).reshape(-1)
        if len(values) < 2:
            return Measured(float(values.mean()), np.empty(0), found.sizes["neuron"])
        chosen = np.random.default_rng(evidence.seed).integers(len(values), size=(evidence.draws, len(values)))
        return Measured(float(values.mean()), values[chosen].mean(1), found.sizes["neuron"])

    return measure


def score_over_grid(grouping: str, grid: str) -> Measure:
    """Median over neurons of a grouping's score minus that of as many grid cells (Eq. 2, Fig. 4)."""

    def measure(evidence: Evidence, layer: str) -> Measured | None:
        found = evidence.dataset("grouping", layer)
        if found is None or not {grouping, grid} <= set(found["grouping"].values):
            return None
        return evidence.over_neurons((found["score"].sel(grouping=grouping) - found["score"].sel(grouping=grid)).values)

    return measure


def score_over_shifted(grouping: str) -> Measure:
    """Median over neurons of a grouping's score over that of the same regions elsewhere.

    The value is over the mean of all shifts. Each draw takes one of the shifts beside its neurons: the interval holds 1
    unless the regions explain more where they are than at nearly all other places.
    """

    def measure(evidence: Evidence, layer: str) -> Measured | None:
        found = evidence.dataset("grouping_baseline", layer)
        if found is None or grouping not in found["grouping"].values:
            return None
        value = evidence.over_neurons(found["excess"].sel(grouping=grouping).values)
        own, moved = found["score"].sel(grouping=grouping).values, found["score_shifted"].sel(grouping=grouping).values
        rng = np.random.default_rng(evidence.seed)
        neurons = rng.integers(own.shape[1], size=(evidence.draws, own.shape[1]))
        shifts = rng.integers(moved.shape[2], size=(evidence.draws, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = [medians(o[neurons] / m[neurons, shifts]) for o, m in zip(own, moved, strict=True)]
        return Measured(value.value, nanmean(np.stack(drawn), axis=0), value.neurons)

    return measure


def score_of_grid(evidence: Evidence, layer: str) -> Measured | None:
    """Median over neurons of the score of grid cells."""
    found = evidence.dataset("grouping", layer)
    return None if found is None else evidence.over_neurons(found["score"].sel(grouping="grid").values)


def pixel_share(evidence: Evidence, layer: str) -> Measured | None:
    """Median over neurons of the share of pixels that a neuron gives more than an even share (Fig. 6)."""
    shares = _pixel_shares(evidence, layer)
    return None if shares is None else evidence.over_neurons(shares)


def faint_share(evidence: Evidence, layer: str) -> Measured | None:
    """Share of neurons that give less than 1 % of the pixels more than an even share (Fig. 6)."""
    shares = _pixel_shares(evidence, layer)
    return None if shares is None else evidence.over_neurons(shares < 0.01, _plain_mean)


def dead_share(evidence: Evidence, layer: str) -> Measured | None:
    """Share of neurons whose map is zero everywhere."""
    found = evidence.dataset("pixels_per_neuron", layer)
    return None if found is None else evidence.over_neurons(found["total"].values == 0, _plain_mean)


def _plain_mean(values: Values) -> Values:
    return np.asarray(values.mean(axis=-1))


def _pixel_shares(evidence: Evidence, layer: str) -> Values | None:
    found = evidence.dataset("pixels_per_neuron", layer)
    return None if found is None else np.asarray(found["pixels"].values / found.attrs["all_pixels"], dtype=np.float64)


def heatmap_with(reference: str, given: Sequence[str] = ()) -> Measure:
    """Correlation of a layer's heatmap with intensity or edges, others taken out of both (Fig. 5)."""
    return lambda e, layer: e.over_pictures("moments", layer, lambda r: r.partial("heatmap", reference, given))


def edges_over_rest(area: float) -> Measure:
    """Mean share of neurons on the strongest tenth of edges over the mean elsewhere (Fig. 7)."""
    plane = f"above_{area:g}"
    return lambda e, layer: e.over_pictures("moments", layer, lambda r: r.ratio(plane, "strong_edges", "weak_edges"))


def fluctuation_ratio(here: str, there: str) -> Measure:
    """Mean fluctuation over one mask over the mean over another (Fig. 9)."""
    return lambda e, layer: e.over_pictures("moments_motion", layer, lambda r: r.ratio("fluctuation", here, there))


def fluctuation_with_speed(evidence: Evidence, layer: str) -> Measured | None:
    """Partial correlation of fluctuation and speed, intensity and edges taken out (Fig. 9)."""
    given = ["intensity", "edges"]
    return evidence.over_pictures("moments_motion", layer, lambda r: r.partial("fluctuation", "speed", given))


def category_ratio(evidence: Evidence, layer: str) -> Measured | None:
    """How much nearer a neuron's shares of instances of one category are than of different ones (Fig. 8)."""
    found = evidence.dataset("objects", layer)
    if found is None:
        return None
    share, categories = _things(found)
    ratios = np.stack([objects.category_ratio(frame, categories) for frame in share])
    return evidence.over_neurons(ratios) if np.isfinite(ratios).any() else None


def category_p(evidence: Evidence, layer: str) -> Measured | None:
    """How often categories dealt at random group instances at least as well; of the frame with most instances."""
    found = evidence.dataset("objects", layer)
    if found is None:
        return None
    share, categories = _things(found)
    fullest = int(np.argmax(np.isfinite(share).any(axis=1).sum(axis=1)))
    _, p_value = objects.category_grouping(share[fullest], categories, seed=evidence.seed)
    return Measured(p_value, np.array([np.nan]), share.shape[1]) if np.isfinite(p_value) else None


def _things(found: xr.Dataset) -> tuple[Values, Array]:
    """Shares and categories of all segments but ``other``, which is no category."""
    named = found["kind"].values != "other"
    return found["share"].values[:, :, named].astype(np.float64), found["category"].values[named]


def share_stability(evidence: Evidence, layer: str) -> Measured | None:
    """Median over neurons of the part of the spread of shares that lies between instances, not over time (Fig. 8)."""
    found = evidence.dataset("objects", layer)
    if found is None:
        return None
    values = objects.stability(found["share"].values)
    return evidence.over_neurons(values) if np.isfinite(values).any() else None


def change_with_speed(evidence: Evidence, layer: str) -> Measured | None:
    """Rank correlation over instances and steps of the change of shares with the instances' speed (Fig. 8)."""
    found = evidence.dataset("objects", layer)
    if found is None:
        return None
    share, speed = found["share"].values.astype(np.float64), found["speed"].values
    value = objects.change_with_motion(share, speed)
    if not np.isfinite(value):
        return None
    rng, count = np.random.default_rng(evidence.seed), share.shape[1]
    samples = (rng.integers(count, size=count) for _ in range(evidence.draws))
    drawn = [objects.change_with_motion(share[:, sample], speed) for sample in samples]
    return Measured(value, np.array(drawn), count)
