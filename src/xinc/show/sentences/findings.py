"""What the numbers say, in sentences: every conclusion is computed, none is written down beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xinc.notation import Array
from xinc.show.figures.curves import GROUPING_NAMES
from xinc.show.figures.sheet import Panels, signed, spoken
from xinc.signals.segments import common_stem

if TYPE_CHECKING:
    import xarray as xr

Numbers = Mapping[str, float]
"""Layer as it is spoken ("NeRV block 3") to a number."""

STRENGTHS = ((0.5, "strongly"), (0.3, "moderately"), (0.1, "weakly"), (0.0, "hardly"))
"""Least absolute correlation and its word, after Cohen (1988)."""


def numbers(panels: Panels, value: Callable[[xr.Dataset], float]) -> dict[str, float]:
    """A number a layer, layers without it left out."""
    found = {
        f"{network} {spoken(name)}": value(data) for network, layers in panels.items() for name, data in layers.items()
    }
    return {layer: x for layer, x in found.items() if np.isfinite(x)}


def listing(words: Iterable[str]) -> str:
    """``"a, b and c"``."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def span(values: Iterable[float], form: str = ".2f") -> str:
    """``"0.52 to 0.93"``, or one number where both are written alike."""
    values = list(values)
    low, high = (signed(x, form) for x in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def percent(share: float) -> str:
    """A share as per cent with the digits that matter."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %" if value >= 0.095 else f"{value:.2g} %"


def strength(correlation: float) -> str:
    """How strong a correlation is, in a word."""
    return next(word for least, word in STRENGTHS if abs(correlation) >= least)


def parts(count: int, whole: int) -> str:
    """``"all 4 layers"``, ``"3 of 4 layers"``, ``"none of the 4 layers"``."""
    if whole == 1:
        return "the layer" if count else "no layer"
    return (
        f"all {whole} layers"
        if count == whole
        else f"{count} of {whole} layers"
        if count
        else f"none of the {whole} layers"
    )


@dataclass(frozen=True)
class Extremes:
    """The layers with the greatest and the least of a number."""

    high: str
    most: float
    low: str
    least: float

    @classmethod
    def of(cls, values: Numbers) -> Extremes:
        """From at least one layer's number."""
        high, low = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
        return cls(high, values[high], low, values[low])


CHOSEN = {
    "strongest": "the neurons that contribute most",
    "typical": "the neurons nearest to the median neuron of their layer",
    "different": "the strongest neuron of each layer, then those least like the ones before",
    "random": "neurons drawn at random, by seed {seed}",
}
"""Rule of a gallery to what it shows."""


def gallery(panels: Panels) -> list[str]:
    """Fig. 3: by which rule its neurons were chosen."""
    attrs = [data.attrs for layers in panels.values() for data in layers.values()]
    rules = dict.fromkeys(CHOSEN[a["rule"]].format(seed=a["seed"]) for a in attrs)
    return [f"Shown are {listing(rules)}."]


def medians(data: xr.Dataset) -> dict[str, float]:
    """Median score over the neurons that are not dead, a grouping."""
    found = {}
    for kind in data["grouping"].values:
        scores: Array = data["score"].sel(grouping=kind).values
        if np.isfinite(scores).any():
            found[str(kind)] = float(np.nanmedian(scores))
    return found


def groupings(panels: Panels) -> list[str]:
    """Fig. 4: which regions explain contributions best, and where grid cells do not come last."""
    scores = {
        f"{network} {spoken(name)}": found
        for network, layers in panels.items()
        for name, data in layers.items()
        if len(found := medians(data)) > 1
    }
    if not scores:
        return []
    winners = [max(found, key=found.__getitem__) for found in scores.values()]
    sentences = []
    for kind in sorted(set(winners), key=lambda k: (-winners.count(k), k)):
        layers = [layer for layer, winner in zip(scores, winners, strict=True) if winner == kind]
        where = parts(len(layers), len(scores)) if len(layers) > 3 else listing(layers)
        sentences.append(
            f"Grouping pixels by {_by(kind)} explains contributions best in {where}: "
            f"median score {span(scores[layer][kind] for layer in layers)}."
        )
    with_grid = {layer: found for layer, found in scores.items() if "grid" in found}
    if with_grid:
        last = [layer for layer, found in with_grid.items() if _least(found)]
        grids = span(found["grid"] for found in with_grid.values())
        sentence = f"Grid cells, which know only place, explain least in {parts(len(last), len(with_grid))} ({grids})"
        rest = [layer for layer in with_grid if layer not in last]
        sentences.append(sentence + (f"; not in {listing(rest)}." if last and len(rest) in (1, 2, 3) else "."))
    return sentences


def _least(scores: Numbers) -> bool:
    """Whether place explains least: less than clusters, and than instances where as many cells as instances are cut."""
    content = {kind: score for kind, score in scores.items() if not kind.startswith("grid")}
    grids = {"instances": scores.get("grid_matched", scores["grid"])}
    return all(score > grids.get(kind, scores["grid"]) for kind, score in content.items())


def _by(kind: str) -> str:
    return {"instances": "instance", "rgb": "colour", "gabor": "texture", "grid": "grid cell"}.get(
        kind, GROUPING_NAMES.get(kind, kind)
    )


def intensity(panels: Panels) -> list[str]:
    """Fig. 5: how closely heatmaps follow intensity, and edges beyond it."""
    light = numbers(panels, lambda d: float(d["correlation_intensity"]))
    edges = numbers(panels, lambda d: float(d["partial_edges"]))
    if not light:
        return ["The frame or the heatmaps are flat, so there is nothing to correlate."]
    ends = Extremes.of(light)
    close = f"{ends.high} follows intensity most closely (r = {signed(ends.most)}, {strength(ends.most)})"
    verb = "runs against it" if ends.least <= -0.1 else "follows it least"
    far = f"; {ends.low} {verb} (r = {signed(ends.least)})" if len(light) > 1 else ""
    sentences = [f"{close}{far}."]
    if edges:
        beyond = [layer for layer, r in edges.items() if r >= 0.1]
        sentences.append(
            f"Edges get more than their intensity explains in {parts(len(beyond), len(edges))} "
            f"(partial correlation {span(edges.values())} with intensity taken out)."
        )
    return sentences


def pixels_per_neuron(panels: Panels) -> list[str]:
    """Fig. 6: how far neurons reach, whether reach falls with depth, and who is dead."""
    sentences = []
    for network, layers in panels.items():
        reach = {spoken(name): float(d["sorted_share"].median()) for name, d in layers.items()}
        values = list(reach.values())
        falls = all(a >= b for a, b in pairwise(values))
        shares = listing(f"{percent(value)} in {name}" for name, value in reach.items())
        order = "this falls" if falls else "this does not fall steadily"
        tail = f"; {order} from the output inwards" if len(values) > 1 else ""
        sentences.append(f"{network}: the median neuron has more than an even share of {shares} of the pixels{tail}.")
    silent = numbers(panels, lambda d: float(d["silent"]))
    dead = numbers(panels, lambda d: float(d["dead"]))
    ends = Extremes.of(silent)
    if ends.most >= 0.005:
        sentences.append(
            f"Neurons without a single such pixel are most frequent in {ends.high}: {percent(ends.most)} of them; "
            f"{percent(dead[ends.high])} have a map that is zero everywhere."
        )
    else:
        sentences.append("Hardly any neuron is without such a pixel.")
    return sentences


def neurons_per_pixel(panels: Panels) -> list[str]:
    """Fig. 7: whether edges have more neurons than the rest of the frame."""
    sentences = []
    for network, layers in panels.items():
        areas = [float(a) for a in next(iter(layers.values()))["area"].values]
        said = []
        for area in areas:
            ratios = [float(d["edge_ratio"].sel(area=area)) for d in layers.values()]
            known = [r for r in ratios if np.isfinite(r)]
            if known:
                said.append(f"{span(known, '.1f')} times as many at {100 * area:.0f} %")
        if said:
            sentences.append(
                f"{network}: on the tenth of pixels with the strongest edges there are {listing(said)} "
                "as on the other pixels; 1 would be no bias."
            )
    return sentences


def objects(panels: Panels) -> list[str]:
    """Fig. 8: whether instances of a category are treated alike, and whether shares stay over time."""
    from xinc.findings.section4.objects import category_ratio, stability
    from xinc.findings.statistics import median

    def ratio(data: xr.Dataset) -> float:
        return median(category_ratio(data["share"].values[0], [str(c) for c in data["category"].values]))

    def stable(data: xr.Dataset) -> float:
        return median(stability(data["share"].values)) if data.sizes["frame"] > 1 else float("nan")

    sentences = []
    if ratios := numbers(panels, ratio):
        near = [layer for layer, r in ratios.items() if r < 0.8]
        sentences.append(
            f"Instances of one category are treated more alike than others in {parts(len(near), len(ratios))}: "
            f"their shares differ {span(ratios.values())} times as much as those of different categories."
        )
    else:
        sentences.append(
            "No category has two instances here, so the frame cannot show whether neurons know categories."
        )
    if kept := numbers(panels, stable):
        sentences.append(
            f"Of the spread of a neuron’s shares, {span((100 * v for v in kept.values()), '.0f')} % lies between "
            "instances, the rest is change over time (median neuron)."
        )
    return sentences


def motion(panels: Panels) -> list[str]:
    """Fig. 9: whether contributions change where things move, and where movement uncovers background."""
    speed = numbers(panels, lambda d: float(d["correlation"]))
    moving = numbers(panels, lambda d: float(d["moving_ratio"]))
    uncovered = numbers(panels, lambda d: float(d["uncovered_ratio"]))
    sentences = []
    if moving:
        more = [layer for layer, r in moving.items() if r >= 1.1]
        sentences.append(
            f"Where things move, contributions change {span(moving.values(), '.1f')} times as much as elsewhere; "
            f"more there than elsewhere in {parts(len(more), len(moving))}."
        )
    if uncovered:
        sentences.append(f"On background that movement uncovers it is {span(uncovered.values(), '.1f')} times as much.")
    if speed:
        sentences.append(f"The correlation of that change with speed is {span(speed.values())}.")
    return sentences or ["Nothing moves between these frames."]


def alike(panels: Panels) -> list[str]:
    """Fig. 10: whether the neurons of several networks mix; nothing to say of a single one."""
    return [
        f"The neighbours of a neuron are {percent(float(data['mixing']))} as mixed as neurons dealt at random "
        f"({f'{network} {spoken(name)}'.replace(',', '')}); at 0 % each network would have kinds of its own."
        for network, layers in panels.items()
        for name, data in layers.items()
        if "mixing" in data
    ]


def mixing_by_layer(data: xr.Dataset) -> dict[str, float]:
    """How mixed over layers the neighbours of each layer's neurons are, as a share of layers dealt at random."""
    entropy, layers = data["entropy"].values.astype(np.float64), data["layer"].values.astype(str)
    null = entropy.mean() / float(data["mixing"]) if float(data["mixing"]) else 1.0
    return {name: float(entropy[layers == name].mean() / null) for name in dict.fromkeys(layers.tolist())}


def over_layers(panels: Panels) -> list[str]:
    """Fig. 10 over layers: whether layers have neurons of their own kinds, and which keeps to itself most."""
    sentences = []
    for network, layers in panels.items():
        for data in layers.values():
            ratio, p = float(data["mixing"]), float(data["mixing_p"])
            verb = "mix" if ratio >= 0.8 else "overlap" if ratio >= 0.2 else "keep apart"
            ends = Extremes.of(mixing_by_layer(data))
            least, most = (f"{spoken(ends.low)} ({percent(ends.least)})", f"{spoken(ends.high)} ({percent(ends.most)})")
            sentences.append(
                f"In the {network}, layers {verb}: the neighbours of a neuron are {percent(ratio)} as mixed over "
                f"layers as at random (p = {p:.2g}), least around neurons of {least}, most around those of {most}."
            )
    return sentences


@dataclass(frozen=True)
class FitToTell:
    """What the first sentence needs to know of a network."""

    network: str
    parameters: int
    signal: str
    frames: int
    frame: str
    size: tuple[int, int]
    psnr: float


def fits(found: Sequence[FitToTell]) -> str:
    """The first sentence: what was fitted, and how well."""
    clauses = []
    for i, fit in enumerate(found):
        known = next((f for f in found[:i] if (f.signal, f.size) == (fit.signal, fit.size)), None)
        if fit.frames > 1:
            what = f"{fit.frames} frames"
        elif known is None:
            alone = common_stem(fit.frame) == fit.signal.split(" of ")[0]
            what = "a picture" if alone else f"frame {fit.frame}"
        else:
            what = "the first frame" if known.frame == fit.frame and known.frames > 1 else f"frame {fit.frame}"
        where = "" if known else f" of {fit.signal} at {fit.size[0]}×{fit.size[1]}"
        size = f"{fit.network} of {magnitude(fit.parameters)} parameters"
        clauses.append(f"{size} draws {what}{where} with a PSNR of {fit.psnr:.1f} dB")
    sentence = f"{'; '.join(clauses)}."
    return sentence[0].upper() + sentence[1:]


def magnitude(count: int) -> str:
    """A count as people say it: ``"0.98 million"``, ``"33 thousand"``."""
    for unit, name in ((1e6, "million"), (1e3, "thousand")):
        if count >= 0.8 * unit:
            value = count / unit
            return f"{value:.2f} {name}" if value < 10 and unit == 1e6 else f"{value:.0f} {name}"
    return str(count)


def grouping_answer(panels: Panels) -> list[str]:
    """The second sentence: do neurons go by content or by place?"""
    scores = {
        f"{network} {spoken(name)}": medians(d) for network, layers in panels.items() for name, d in layers.items()
    }
    both = {layer: s for layer, s in scores.items() if "grid" in s and len(s) > 1}
    if not both:
        return []
    best = {layer: max((k for k in s if not k.startswith("grid")), key=s.__getitem__) for layer, s in both.items()}
    content = [layer for layer in both if both[layer][best[layer]] > both[layer]["grid"]]
    chosen = content or list(both)
    kinds = [best[layer] for layer in chosen]
    kind = max(set(kinds), key=lambda k: (kinds.count(k), k))
    those = [layer for layer in chosen if best[layer] == kind]
    example = max(those, key=lambda layer: both[layer][kind] - both[layer]["grid"])
    there, grid = both[example][kind], both[example]["grid"]
    example_said = (
        f"in {example} the median neuron’s contribution strays from an even spread by {percent(there)} "
        f"between {REGIONS.get(kind, kind)} and by {percent(grid)} between grid cells"
    )
    if not content:
        return [f"Its neurons go by place at least as much as by what is there: {example_said}."]
    where = parts(len(content), len(both))
    return [f"In {where} neurons go by {_by(kind)} more than by place: {example_said}."]


REGIONS = {"instances": "objects", "rgb": "clusters of colour", "gabor": "clusters of texture"}


def spread_answer(heat: Panels, reach: Panels) -> list[str]:
    """The third sentence: do heatmaps follow intensity, and over how many pixels does a neuron reach?"""
    light = numbers(heat, lambda d: float(d["correlation_intensity"]))
    said = []
    if light:
        follow = [layer for layer, r in light.items() if r >= 0.3]
        said.append(
            f"contributions gather where the picture is bright in {parts(len(follow), len(light))} "
            f"(correlation {span(light.values())})"
        )
    pixels = numbers(reach, lambda d: float(d["sorted_share"].median()))
    if pixels:
        ends = Extremes.of(pixels)
        least = f" down to {percent(ends.least)} in {ends.low}" if len(pixels) > 1 else ""
        said.append(f"the median neuron serves {percent(ends.most)} of the pixels in {ends.high}{least}")
    sentence = "; ".join(said)
    return [f"{sentence[0].upper()}{sentence[1:]}."] if sentence else []
