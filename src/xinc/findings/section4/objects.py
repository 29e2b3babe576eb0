"""Fig. 8: what neurons give to instances, in an image and over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.findings.finding import Finding, LayerLike, as_labels, neuron_coords, numpy
from xinc.findings.section4.choose import RULES, choose_by, profiles
from xinc.findings.section4.intensity import intensity_of
from xinc.findings.section4.regions import instances
from xinc.findings.statistics import median, nanmean, permutation_p, spearman
from xinc.notation import Array
from xinc.signals.labels import Segments

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="objects",
    question="How do neurons share their contribution among instances, and does that stay the same over time?",
    section="4.5",
    figure="Fig. 8",
    unit="share of the mean contribution, over instances",
    direction="instances of a category are not grouped together; shares are stable over time, less where things move",
    null="category ratio 1; stability 0: an instance's share says nothing about its share later",
)
PICKS = 3


def objects(
    layer: LayerLike, segments: Segments, frame: int, image: Tensor | Array, *, picks: int = PICKS, seed: int = 0
) -> xr.Dataset:
    """What every neuron gives to each instance of an annotated frame.

    Args:
        layer: the layer, traced at this frame.
        segments: the clip's segments.
        frame: index of an annotated frame.
        image: ``(3, H, W)`` in [0, 1].
        picks: neurons chosen by each rule.
        seed: of the random rule.

    Returns:
        Dataset of

        - ``share (neuron, region)``, what Fig. 8 draws: mean |C| over the instance's pixels, over the sum of these
          means (0 to 1, sums to 1 over what is seen); NaN where the instance is not seen or the neuron is dead;
        - ``sum_share (neuron, region)``: the same of sums in place of means: large instances have more;
        - ``area (region,)`` pixels; ``brightness (region,)`` mean sum of RGB;
        - ``chosen (rule, pick)``: neurons by rule (-1 where there are not enough);
        - coordinates ``region`` (name), ``category``, ``kind`` (thing, stuff, other), ``instance``, ``segment`` (id).

    Raises:
        FindingError: if the frame is not annotated.
    """
    import xarray as xr

    regions = instances(segments, frame)
    areas = regions.areas
    sums = numpy(layer.region_sums({"instances": as_labels(regions.labels)})["instances"]).astype(np.float64)
    sums = np.pad(sums, ((0, 0), (0, regions.count - sums.shape[1])))
    light = np.bincount(regions.labels.ravel(), weights=intensity_of(image).ravel(), minlength=regions.count)
    totals = numpy(layer.totals()).astype(np.float64)
    chosen = np.full((len(RULES), picks), -1, dtype=np.int64)
    for row, rule in zip(chosen, RULES, strict=True):
        found = choose_by(rule, totals, sums, areas, count=picks, seed=seed)
        row[: len(found)] = found
    with np.errstate(invalid="ignore", divide="ignore"):
        sum_share = np.where(areas > 0, sums / sums.sum(axis=1, keepdims=True), np.nan)
        brightness = light / areas
    table = segments.table
    return xr.Dataset(
        {
            "share": (("neuron", "region"), profiles(sums, areas).astype(np.float32), {"units": FINDING.unit}),
            "sum_share": (
                ("neuron", "region"),
                sum_share.astype(np.float32),
                {"units": "share of the sum, over instances"},
            ),
            "area": ("region", areas, {"units": "pixels"}),
            "brightness": ("region", brightness, {"units": "sum of R, G and B, 0 to 3"}),
            "chosen": (("rule", "pick"), chosen, {"units": "neuron"}),
        },
        coords={
            **neuron_coords(layer),
            "region": ("region", np.asarray(regions.names)),
            "category": ("region", np.asarray([s.category for s in table])),
            "kind": ("region", np.asarray([s.kind for s in table])),
            "instance": ("region", np.asarray([s.instance for s in table])),
            "segment": ("region", np.asarray([s.id for s in table])),
            "rule": ("rule", np.asarray(list(RULES))),
        },
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method, "seed": seed},
    )


def category_ratio(share: Array, categories: Sequence[str] | Array) -> NDArray[np.float64]:
    """How far apart a neuron's shares of instances of one category are, over that of different categories.

    Args:
        share: ``(K, G)``; NaN where an instance is not seen.
        categories: G names.

    Returns:
        ``(K,)``: 0 where instances of a category share one value, 1 where category says nothing; NaN where no category
        has two instances, or all have the same.
    """
    return _ratios(np.asarray(share, dtype=np.float64), np.asarray(categories)[None])[:, 0]


def _ratios(share: Array, deals: Array) -> NDArray[np.float64]:
    """:func:`category_ratio` for several deals of the categories ``(n, G)``, which share the gaps; ``(K, n)``."""
    first, second = np.triu_indices(share.shape[1], 1)
    gaps = np.abs(share[:, first] - share[:, second])
    alike = deals[:, first] == deals[:, second]
    known, filled = np.isfinite(gaps).astype(np.float64), np.nan_to_num(gaps)
    with np.errstate(invalid="ignore", divide="ignore"):
        within, between = (filled @ mask.T / (known @ mask.T) for mask in (alike.astype(float), (~alike).astype(float)))
        return np.asarray(within / between)


def category_grouping(
    share: Array, categories: Sequence[str] | Array, *, permutations: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Median category ratio over neurons, with its p-value against permuted categories.

    Returns:
        The median of :func:`category_ratio`, and how often categories dealt at random group instances at least as well.
    """
    share = np.asarray(share, dtype=np.float64)
    seen = np.isfinite(share).any(axis=0)
    share, names = share[:, seen], np.asarray(categories)[seen]
    value = median(category_ratio(share, names))
    if not np.isfinite(value):
        return value, float("nan")
    rng = np.random.default_rng(seed)
    null = _ratios(share, np.stack([rng.permutation(names) for _ in range(permutations)]))
    return value, permutation_p(-value, -np.array([median(deal) for deal in null.T]))


def stability(share: Array) -> NDArray[np.float64]:
    """How much of the spread of a neuron's shares lies between instances rather than over time.

    ``between / (between + within)``: the variance of the instances' means over time, and the mean over instances of
    their variance over time (both unbiased, so that shares without any persistence give about 0). Only instances seen
    in every frame count, and shares are over those: otherwise all shares would move when one instance leaves.

    Args:
        share: ``(T, K, G)``; NaN where an instance is not seen.

    Returns:
        ``(K,)``: 1 where nothing changes, about 0 where an instance's share says nothing about its share later; NaN
        for one frame, or where fewer than two instances stay.
    """
    share = np.asarray(share, dtype=np.float64)
    frames, neurons, _ = share.shape
    share = share[:, :, np.isfinite(share).any(axis=1).all(axis=0)]
    count = share.shape[2]
    if frames < 2 or count < 2:
        return np.full(neurons, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = share / share.sum(axis=2, keepdims=True)
        within = share.var(axis=0, ddof=1).mean(axis=1)
        # The mean over T frames carries a T-th of the variance over time.
        between = np.maximum(share.mean(axis=0).var(axis=1, ddof=1) - within / frames, 0.0)
        return np.asarray(between / (between + within))


def change(share: Array) -> NDArray[np.float64]:
    """Relative change of shares from one annotated frame to the next, averaged over neurons.

    Args:
        share: ``(T, K, G)``; NaN where an instance is not seen.

    Returns:
        ``(T - 1, G)``: mean over neurons of |share - previous share|, over their mean share, both shares over what is
        seen in both frames; NaN where an instance is not.
    """
    share = np.asarray(share, dtype=np.float64)
    both = np.isfinite(share[1:]) & np.isfinite(share[:-1])
    pair = [np.where(both, part, np.nan) for part in (share[:-1], share[1:])]
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = (part / np.where(both, part, 0.0).sum(axis=2, keepdims=True) for part in pair)
        return nanmean(np.abs(after - before), axis=1) / nanmean((after + before) / 2, axis=1)


def change_with_motion(share: Array, speed: Array) -> float:
    """Rank correlation over instances and steps of the shares' change with the instances' speed.

    Args:
        share: ``(T, K, G)``.
        speed: ``(T, G)`` mean flow of the instance at each annotated frame, pixels a frame; a step takes the mean of
            its two ends.
    """
    speed = np.asarray(speed, dtype=np.float64)
    return spearman(change(share), (speed[1:] + speed[:-1]) / 2)
