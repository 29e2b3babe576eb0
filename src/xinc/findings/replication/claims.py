"""What the paper concludes, as a table: each row a claim, the statistic that decides it, and where the paper puts it.

A claim holds where the whole confidence interval lies in the paper's range, fails where none of it does, and is
undecided in between. Ranges that the paper gives in words are put into numbers here, once, for everyone to see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite

from xinc.findings.replication import evidence as by
from xinc.findings.replication.evidence import Evidence, Measure, Measured
from xinc.findings.statistics import Interval

Where = Callable[[Evidence, str], bool]


@dataclass(frozen=True)
class Range:
    """Where the paper puts a statistic; both ends belong to it."""

    low: float = -inf
    high: float = inf

    def __str__(self) -> str:
        if isfinite(self.low) and isfinite(self.high):
            return f"{self.low:g} to {self.high:g}"
        return f"> {self.low:g}" if isfinite(self.low) else f"< {self.high:g}"

    def verdict(self, found: Interval) -> str:
        """``"holds"``, ``"fails"``, ``"undecided"``, or ``"no data"`` where there is no number."""
        if not isfinite(found.value):
            return "no data"
        low, high = (found.low, found.high) if isfinite(found.low) else (found.value, found.value)
        if self.low <= low and high <= self.high:
            return "holds"
        return "fails" if high < self.low or low > self.high else "undecided"


@dataclass(frozen=True)
class Claim:
    """A conclusion of the paper.

    Attributes:
        text: the claim.
        figure: where the paper shows it.
        statistic: what is measured, and its unit.
        paper: where the paper puts it.
        measure: from a run's evidence and a layer to the statistic.
        where: whether the claim is about this network and layer.
        needs: analyses that it is measured on.
    """

    text: str
    figure: str
    statistic: str
    paper: Range
    measure: Measure
    where: Where
    needs: tuple[str, ...]


def everywhere(evidence: Evidence, layer: str) -> bool:
    """Every layer of every network."""
    return True


def decoder(evidence: Evidence, layer: str) -> bool:
    """Every layer of a convolutional network."""
    return not evidence.pixelwise


def mlp_at(*depths: int) -> Where:
    """Layers of an MLP by their distance from the output."""
    return lambda evidence, layer: evidence.pixelwise and evidence.depth(layer) in depths


def decoder_at(*depths: int) -> Where:
    """Layers of a convolutional network by their distance from the output."""
    return lambda evidence, layer: not evidence.pixelwise and evidence.depth(layer) in depths


def minus_inner(measure: Measure) -> Measure:
    """A statistic of a layer minus that of the layer before it."""

    def difference(evidence: Evidence, layer: str) -> Measured | None:
        inner = evidence.inner(layer)
        outer, before = measure(evidence, layer), measure(evidence, inner) if inner else None
        return outer - before if outer and before else None

    return difference


def inner_minus(measure: Measure) -> Measure:
    """A statistic of the layer before minus that of a layer."""
    forward = minus_inner(measure)

    def difference(evidence: Evidence, layer: str) -> Measured | None:
        found = forward(evidence, layer)
        return found and Measured(-found.value, -found.draws, found.neurons)

    return difference


def _groupings() -> tuple[Claim, ...]:
    spoken = {"rgb": "RGB clusters", "gabor": "Gabor clusters", "instances": "instances"}
    rows = []
    for name, words in spoken.items():
        grid = "grid_matched" if name == "instances" else "grid"
        rows += [
            Claim(
                f"grid cells explain contributions less than {words} do",
                "Fig. 4",
                f"score of {words} - score of as many grid cells, median over neurons",
                Range(low=0),
                by.score_over_grid(name, grid),
                everywhere,
                ("grouping",),
            ),
            Claim(
                f"{words} explain contributions beyond what their sizes and shapes do",
                "Fig. 4",
                f"score of {words} / score of the same regions shifted, median over neurons",
                Range(low=1),
                by.score_over_shifted(name),
                everywhere,
                ("grouping_baseline",),
            ),
        ]
    return tuple(rows)


CLAIMS: tuple[Claim, ...] = (
    *_groupings(),
    Claim(
        "NeRV's last block follows grid cells more than its head does",
        "Fig. 4",
        "grid score of the last block - that of the head, medians over neurons",
        Range(low=0),
        inner_minus(by.score_of_grid),
        decoder_at(0),
        ("grouping",),
    ),
    Claim(
        "heatmaps follow intensity",
        "Fig. 5",
        "correlation of heatmap and intensity over pixels",
        Range(low=0),
        by.heatmap_with("intensity"),
        everywhere,
        ("moments",),
    ),
    Claim(
        "heatmaps follow edges beyond intensity",
        "Fig. 5",
        "partial correlation of heatmap and edges, intensity taken out",
        Range(low=0),
        by.heatmap_with("edges", ["intensity"]),
        everywhere,
        ("moments",),
    ),
    Claim(
        "FFN's last layer follows intensity more closely than the one before",
        "Fig. 5",
        "correlation with intensity, last layer - layer before",
        Range(low=0),
        minus_inner(by.heatmap_with("intensity")),
        mlp_at(0),
        ("moments",),
    ),
    Claim(
        "outer layers have more pixels per neuron",
        "Fig. 6",
        "share of pixels above an even share, median over neurons, this layer - the one before",
        Range(low=0),
        minus_inner(by.pixel_share),
        everywhere,
        ("pixels_per_neuron",),
    ),
    Claim(
        "nearly half of FFN's neurons before the last layer have almost no contribution",
        "Fig. 6",
        "share of neurons with under 1 % of the pixels above an even share",
        Range(0.4, 0.6),
        by.faint_share,
        mlp_at(1),
        ("pixels_per_neuron",),
    ),
    Claim(
        "FFN's layer before the last has dead neurons",
        "Fig. 6",
        "share of neurons whose map is zero everywhere",
        Range(low=0.01),
        by.dead_share,
        mlp_at(1),
        ("pixels_per_neuron",),
    ),
    Claim(
        "NeRV's neurons are biased to edges",
        "Fig. 7",
        "neurons per pixel at 50 %: strongest tenth of edges / elsewhere",
        Range(low=1.1),
        by.edges_over_rest(0.5),
        decoder,
        ("moments",),
    ),
    Claim(
        "FFN's neurons are not biased to edges",
        "Fig. 7",
        "neurons per pixel at 50 %: strongest tenth of edges / elsewhere",
        Range(0.9, 1.1),
        by.edges_over_rest(0.5),
        mlp_at(0, 1),
        ("moments",),
    ),
    Claim(
        "instances of one category are not grouped together",
        "Fig. 8",
        "gap between shares within a category / between categories, median over neurons",
        Range(low=0.9),
        by.category_ratio,
        everywhere,
        ("objects",),
    ),
    Claim(
        "instances of one category are not grouped together",
        "Fig. 8",
        "share of random categories that group instances at least as well (p)",
        Range(low=0.05),
        by.category_p,
        everywhere,
        ("objects",),
    ),
    Claim(
        "a neuron's share for an instance is stable over time",
        "Fig. 8",
        "part of the shares' variance between instances rather than over time, median over neurons",
        Range(low=0.5),
        by.share_stability,
        decoder,
        ("objects",),
    ),
    Claim(
        "shares change more where instances move",
        "Fig. 8",
        "rank correlation over instances of change and speed",
        Range(low=0),
        by.change_with_speed,
        decoder,
        ("objects",),
    ),
    Claim(
        "fluctuation is concentrated where things move",
        "Fig. 9",
        "mean fluctuation on moving pixels / on what stays",
        Range(low=1),
        by.fluctuation_ratio("moving", "still"),
        decoder,
        ("moments_motion",),
    ),
    Claim(
        "fluctuation follows speed beyond intensity and edges",
        "Fig. 9",
        "partial correlation of fluctuation and speed, intensity and edges taken out",
        Range(low=0),
        by.fluctuation_with_speed,
        decoder,
        ("moments_motion",),
    ),
    Claim(
        "fluctuation is concentrated on uncovered background",
        "Fig. 9",
        "mean fluctuation on uncovered pixels / on what stays",
        Range(low=1),
        by.fluctuation_ratio("uncovered", "still"),
        decoder,
        ("moments_motion",),
    ),
    Claim(
        "uncovered background matters as much as what moves",
        "Fig. 9",
        "mean fluctuation on uncovered pixels / on moving pixels",
        Range(0.5, 2),
        by.fluctuation_ratio("uncovered", "moving"),
        decoder,
        ("moments_motion",),
    ),
)
"""Claims about single networks; that networks of other seeds have the same kinds of neurons is :data:`MIXING`."""

OWN = (
    Claim(
        "a layer works like far fewer neurons than it has",
        "ours",
        "effective dimension of the signed maps / number of neurons",
        Range(high=0.2),
        by.together(lambda found: found["participation"] / found.sizes["neuron"]),
        everywhere,
        (),
    ),
    Claim(
        "neurons share their work: fewer independent pictures than their energies alone give",
        "ours",
        "effective dimension / that of maps with nothing in common",
        Range(high=0.8),
        by.together(lambda found: found["participation"] / found["participation_apart"]),
        everywhere,
        (),
    ),
    Claim(
        "most of a heatmap cancels",
        "ours",
        "share of the heatmap that neurons undo in each other",
        Range(low=0.5),
        by.together(lambda found: found["cancelled"]),
        everywhere,
        (),
    ),
)
"""Our own claims, of the finding ``together``: measured where the results of a run hold it, not asked for."""

MIXING = Claim(
    "neurons of different seeds are alike",
    "Fig. 10",
    "entropy of seeds among a neuron's neighbours by Gabor vector / that of seeds dealt at random",
    Range(low=0.8),
    lambda evidence, layer: None,
    everywhere,
    ("clusters",),
)
"""The claim of Fig. 10: measured on all runs of a signal together (:func:`~.replicate.mixing_of`)."""
