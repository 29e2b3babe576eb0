"""Fig. 4: does a cut of the frame into regions explain where a neuron contributes?

A neuron that cares for a grouping gives some regions much more than their area's share and others much less, so its
relative deviations spread widely (Eq. 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xinc.findings.finding import Finding, LayerLike, as_labels, neuron_coords, numpy
from xinc.findings.section4.regions import Regions, shifted, shuffled
from xinc.findings.section4.sums import sums_of_cuts
from xinc.findings.statistics import permutation_p
from xinc.notation import Array

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="grouping",
    question="Which cut of the frame explains best where neurons contribute: instances, colour, texture or place?",
    section="4.2",
    figure="Fig. 4",
    unit="standard deviation over regions of the relative deviation from the expected contribution",
    direction="grid cells explain less than instances, RGB and Gabor clusters do; NeRV block 3 is the exception",
    null="the score of the same regions moved elsewhere (shifted) or torn into pixels (shuffled)",
)

CHUNK = 2**24
"""Map values that a baseline holds at once."""


def deviation(sums: Array, areas: Array, totals: Array) -> NDArray[np.float64]:
    """Relative deviation of region sums from what the area would give: ``(E - S) / E``, ``E = area / N * total``.

    ``N`` is the number of labelled pixels and the total is that over labelled pixels too, so that pixels without a
    label take part in neither.

    Args:
        sums: ``(K, G)``, S of Eq. 2.
        areas: ``(G,)`` pixels.
        totals: ``(K,)`` sum of |C| over the labelled pixels.

    Returns:
        ``(K, G)``; 1 where a neuron gives a region nothing, negative where it gives more than expected; NaN for empty
        regions and for neurons whose total is zero.
    """
    areas = np.asarray(areas, dtype=np.float64)
    expected = np.asarray(totals, dtype=np.float64)[:, None] * (areas / max(areas.sum(), 1.0))[None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - np.asarray(sums, dtype=np.float64) / expected, np.nan)


def score(delta: Array, *, official: bool = False, signed: bool = True) -> NDArray[np.float64]:
    """Standard deviation of a neuron's deviations over regions, ``(K,)``; NaN where fewer than two regions count.

    Args:
        delta: ``(K, G)`` from :func:`deviation`.
        official: with ``G - 1`` in place of ``G``, as the published code.
        signed: of the deviations themselves as the text says; else of their absolute values, which the published code
            takes for every grouping but the grid.
    """
    values = np.asarray(delta, dtype=np.float64) if signed else np.abs(delta)
    known = np.isfinite(values)
    count = known.sum(axis=1)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    squares = np.where(known, (filled - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return np.where(count >= 2, np.sqrt(squares / np.maximum(count - int(official), 1)), np.nan)


def _sums(layer: LayerLike, regions: Sequence[Regions]) -> dict[str, Array]:
    """Region sums of all groupings in one pass, cut to the columns that a grouping has (its last ones may be empty)."""
    sums = layer.region_sums({r.grouping: as_labels(r.labels) for r in regions})
    padded = {}
    for r in regions:
        values = numpy(sums[r.grouping])
        padded[r.grouping] = np.pad(values, ((0, 0), (0, r.count - values.shape[1])))
    return padded


def grouping(layer: LayerLike, regions: Sequence[Regions]) -> xr.Dataset:
    """Deviations and scores of every neuron of a layer under several groupings.

    Args:
        layer: the layer; one pass over its maps serves all groupings.
        regions: groupings with different names.

    Returns:
        Dataset of

        - ``delta (neuron, region)``: (E - S) / E, signed; regions of all groupings after one another;
        - ``score (neuron, grouping)``: standard deviation over regions (divided by G), the number of Fig. 4;
        - ``score_official (neuron, grouping)``: as the published code has it: of |delta| for all but the grid, divided
          by G - 1;
        - ``total (neuron,)``: sum of |C| over pixels;
        - ``regions (grouping,)``: regions that are not empty; ``dead ()``: neurons whose total is zero (NaN above);
        - ``area (region,)`` pixels; coordinates ``region`` (``"rgb/3"``), ``region_grouping``, ``region_name``.
    """
    import xarray as xr

    sums = _sums(layer, regions)
    totals = numpy(layer.totals()).astype(np.float64)
    deltas = {r.grouping: deviation(sums[r.grouping], r.areas, sums[r.grouping].sum(axis=1)) for r in regions}
    kinds = np.concatenate([np.full(r.count, r.grouping) for r in regions])
    names = np.concatenate([np.asarray(r.names) for r in regions])
    scores = np.stack([score(deltas[r.grouping]) for r in regions], axis=1)
    officials = [score(deltas[r.grouping], official=True, signed=r.grouping.startswith("grid")) for r in regions]
    dataset = xr.Dataset(
        {
            "delta": (("neuron", "region"), np.concatenate(list(deltas.values()), axis=1).astype(np.float32)),
            "score": (("neuron", "grouping"), scores),
            "score_official": (("neuron", "grouping"), np.stack(officials, axis=1)),
            "total": ("neuron", totals),
            "regions": ("grouping", np.array([int((r.areas > 0).sum()) for r in regions]), {"units": "regions"}),
            "dead": ((), int((totals == 0).sum()), {"units": "neurons"}),
            "area": ("region", np.concatenate([r.areas for r in regions]), {"units": "pixels"}),
        },
        coords={
            **neuron_coords(layer),
            "grouping": ("grouping", np.asarray([r.grouping for r in regions])),
            "region": ("region", np.asarray([f"{k}/{n}" for k, n in zip(kinds, names, strict=True)])),
            "region_grouping": ("region", kinds),
            "region_name": ("region", names),
        },
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method},
    )
    dataset["delta"].attrs["units"] = "share of the expected contribution"
    dataset["score"].attrs["units"] = dataset["score_official"].attrs["units"] = FINDING.unit
    dataset["total"].attrs["units"] = "sum of |C|"
    return dataset


def baseline(
    layer: LayerLike,
    regions: Sequence[Regions],
    *,
    shifts: int = 20,
    shuffles: int = 5,
    neurons: int = 128,
    seed: int = 0,
) -> xr.Dataset:
    """Scores beside those of the same regions misplaced, on a sample of neurons.

    Size and shape of regions alone make deviations spread; what a grouping explains is what its score has over the same
    regions shifted elsewhere. Shuffled regions show the floor: how far the score gets by chance alone.

    Args:
        layer: the layer.
        regions: groupings with different names.
        shifts: random toroidal shifts of each grouping.
        shuffles: random permutations of each grouping's pixels.
        neurons: at most so many neurons, drawn by the seed.
        seed: seed of the sample and of all displacements.

    Returns:
        Dataset of

        - ``score (neuron, grouping)`` of the sampled neurons;
        - ``score_shifted (neuron, grouping, shift)``, ``score_shuffled (neuron, grouping, shuffle)``;
        - ``excess (neuron, grouping)``: score over the mean score of its shifts, 1 where place does not matter;
        - ``p_value (grouping,)``: one-sided, how often a shift's median over neurons reaches the true one.
    """
    import xarray as xr

    count, height, width = layer.shape
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(count, neurons, replace=False)) if count > neurons else np.arange(count)
    chunk = max(1, CHUNK // (height * width))
    parts = []
    for start in range(0, len(sample), chunk):
        pixels = (
            layer.maps(sample[start : start + chunk].tolist()).flatten(1).cpu().float().abs().T.contiguous().numpy()
        )
        parts.append(_displaced_scores(pixels, regions, shifts, shuffles, seed))
    true, by_shift, by_shuffle = (np.concatenate(part) for part in zip(*parts, strict=True))
    coords: Mapping[str, tuple[str, Array]] = {
        **{name: (dim, values[sample]) for name, (dim, values) in neuron_coords(layer).items()},
        "grouping": ("grouping", np.asarray([r.grouping for r in regions])),
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = true / by_shift.mean(axis=2)
    median, null = _median(true), _median(by_shift)
    p_values = [permutation_p(float(value), draws) for value, draws in zip(median, null, strict=True)]
    return xr.Dataset(
        {
            "score": (("neuron", "grouping"), true, {"units": FINDING.unit}),
            "score_shifted": (("neuron", "grouping", "shift"), by_shift, {"units": FINDING.unit}),
            "score_shuffled": (("neuron", "grouping", "shuffle"), by_shuffle, {"units": FINDING.unit}),
            "excess": (("neuron", "grouping"), excess, {"units": "score over the mean score of shifted regions"}),
            "p_value": ("grouping", np.array(p_values), {"units": "share of shifts"}),
        },
        coords=coords,
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method, "seed": seed},
    )


def _map_scores(pixels: Array, cuts: Sequence[Regions]) -> NDArray[np.float64]:
    """Scores ``(D, n)`` by cuts of like regions, from |C| with pixels first, ``(N, n)``."""
    labels = np.stack([cut.labels.ravel() for cut in cuts]).astype(np.int32)
    sums = sums_of_cuts(labels, pixels, cuts[0].count).astype(np.float64).transpose(0, 2, 1)
    return np.stack([score(deviation(s, cut.areas, s.sum(axis=1))) for s, cut in zip(sums, cuts, strict=True)])


def _displaced_scores(
    pixels: Array, regions: Sequence[Regions], shifts: int, shuffles: int, seed: int
) -> tuple[Array, Array, Array]:
    """Scores ``(n, grouping)``, ``(n, grouping, shift)`` and ``(n, grouping, shuffle)`` from |C| ``(N, n)``."""

    def moved(displace: Callable[[Regions, int], Regions], draws: int) -> Array:
        scores = [_map_scores(pixels, [displace(r, seed + draw) for draw in range(draws)]) for r in regions]
        return np.array(scores).reshape(len(regions), draws, pixels.shape[1]).transpose(2, 0, 1)

    true = np.concatenate([_map_scores(pixels, [r]) for r in regions]).T
    return true, moved(shifted, shifts), moved(shuffled, shuffles)


def _median(scores: Array) -> Array:
    """Median over neurons (the first axis), dead ones left out; NaN where all are dead."""
    alive = scores[np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)]
    return np.median(alive, axis=0) if len(alive) else np.full(scores.shape[1:], np.nan)
