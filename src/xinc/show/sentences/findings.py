"""What the numbers say, in sentences: every conclusion is computed, none is written down beforehand."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xinc.notation import Array, spoken
from xinc.show.figures.curves import GROUPING_NAMES
from xinc.show.figures.sheet import Panels, signed
from xinc.show.sentences.words import (
    Extremes,
    Numbers,
    fraction,
    fractions,
    listing,
    numbers,
    parts,
    percent,
    span,
    strength,
)

if TYPE_CHECKING:
    import xarray as xr

CHOSEN = {
    "strongest": "the neurons that contribute most",
    "typical": "the neurons nearest to the median neuron of their layer",
    "different": "the strongest neuron of each layer, then those least like the ones before",
    "random": "neurons drawn at random, by seed {seed}",
}
"""Rule of a gallery to what it shows."""


def gallery(panels: Panels) -> list[str]:
    """Fig. 3: how far single neurons paint, and by which rule those that are shown were chosen."""
    attrs = [data.attrs for layers in panels.values() for data in layers.values()]
    rules = dict.fromkeys(CHOSEN[a["rule"]].format(seed=a["seed"]) for a in attrs)
    shown = f"Shown are {listing(rules)}."
    wide = numbers(panels, lambda data: _half(np.abs(data["map"].values)))
    if not wide:
        return [shown]
    ends = Extremes.of(wide)
    where = f"{fraction(ends.most)} of the pixels in {ends.high} ({percent(ends.most)})"
    if len(wide) > 1:
        where += f", and on {fraction(ends.least)} in {ends.low} ({percent(ends.least)})"
    verb = "spreads widely" if ends.most >= 0.25 else "paints a small part of the picture"
    differs = len(wide) > 1 and ends.most >= 2 * ends.least
    words = "How far a neuron paints depends on its layer" if differs else f"A single neuron {verb}"
    return [f"{words}: half of what the median neuron shown here gives lies on {where}.", shown]


def _half(maps: Array) -> float:
    """The least share of pixels that holds half of a map, median over maps; NaN where all are zero."""
    flat = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1].cumsum(axis=1)
    flat = flat[flat[:, -1] > 0] if flat.size else flat
    if not len(flat):
        return float("nan")
    return float(np.median((flat < flat[:, -1:] / 2).sum(axis=1) + 1) / flat.shape[1])


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
            f"In {where}, neurons go by {by_grouping(kind)} more than by anything else that was tried: "
            f"median score {span(scores[layer][kind] for layer in layers)}."
        )
    with_grid = {layer: found for layer, found in scores.items() if "grid" in found}
    if with_grid:
        last = [layer for layer, found in with_grid.items() if _least(found)]
        grids = span(found["grid"] for found in with_grid.values())
        sentence = f"Grid cells, which know only place, explain least in {parts(len(last), len(with_grid))}: {grids}"
        rest = [layer for layer in with_grid if layer not in last]
        sentences.append(sentence + (f"; not in {listing(rest)}." if last and len(rest) in (1, 2, 3) else "."))
    return sentences


def _least(scores: Numbers) -> bool:
    """Whether place explains least: less than clusters, and than instances where as many cells as instances are cut."""
    content = {kind: score for kind, score in scores.items() if not kind.startswith("grid")}
    grids = {"instances": scores.get("grid_matched", scores["grid"])}
    return all(score > grids.get(kind, scores["grid"]) for kind, score in content.items())


def by_grouping(kind: str) -> str:
    """What neurons go by, in a word."""
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
            f"Edges get more than their intensity explains in {parts(len(beyond), len(edges))}: "
            f"partial correlation {span(edges.values())} with intensity taken out."
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
        order = "it falls" if falls else "it does not fall steadily"
        tail = f"; {order} from the output inwards" if len(values) > 1 else ""
        sentences.append(
            f"The median neuron of the {network} represents {fractions(values)} of the pixels, by more than an even "
            f"share: {shares}{tail}."
        )
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
        said, every = [], []
        for area in areas:
            ratios = [float(d["edge_ratio"].sel(area=area)) for d in layers.values()]
            known = [r for r in ratios if np.isfinite(r)]
            if known:
                every += known
                said.append(f"{span(known, '.1f')} times as many at a threshold of {100 * area:.0f} %")
        if said:
            verdict = (
                "far more neurons represent edges than the rest"
                if min(every) >= 1.5
                else "more neurons represent edges than the rest"
                if min(every) >= 1.1
                else "about as many neurons represent edges as the rest"
                if max(every) < 1.1
                else "more neurons represent edges in some layers, not in all"
            )
            sentences.append(
                f"In the {network}, {verdict}: on the tenth of pixels with the strongest edges there are "
                f"{listing(said)} as on the other pixels."
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
    speed, moving, uncovered = (
        _over_steps(panels, name) for name in ("correlation", "moving_ratio", "uncovered_ratio")
    )
    sentences = []
    if moving:
        more = [layer for layer, ratios in moving.items() if np.mean(ratios) >= 1.1]
        every = [ratio for ratios in moving.values() for ratio in ratios]
        steps = max(len(ratios) for ratios in moving.values())
        over = f", over {steps} steps" if steps > 1 else ""
        sentences.append(
            f"Contributions change more where things move than elsewhere in {parts(len(more), len(moving))}: "
            f"{span(every, '.1f')} times as much{over}."
        )
    if uncovered:
        every = [ratio for ratios in uncovered.values() for ratio in ratios]
        sentences.append(f"On background that movement uncovers it is {span(every, '.1f')} times as much.")
    if speed:
        every = [r for rs in speed.values() for r in rs]
        how = f"from {strength(min(every, key=abs))} to {strength(max(every, key=abs))}".replace(
            "from hardly", "hardly"
        )
        how = strength(every[0]) if len({strength(r) for r in every}) == 1 else how
        sentences.append(f"That change goes with speed {how} (r = {span(every)}).")
    return sentences or ["Nothing moves between these frames."]


def _over_steps(panels: Panels, name: str) -> dict[str, list[float]]:
    """A number of each layer at each step: panels are a network at a step, under a title of two lines."""
    found: dict[str, list[float]] = {}
    for title, layers in panels.items():
        for layer, data in layers.items():
            if np.isfinite(value := float(data[name])):
                found.setdefault(f"{title.partition(chr(10))[0]} {spoken(layer)}", []).append(value)
    return found


def alike(panels: Panels) -> list[str]:
    """Fig. 10: what neurons that are alike have in common, and whether those of several networks mix."""
    sentences = []
    for network, layers in panels.items():
        for name, data in layers.items():
            where = f"{network} {spoken(name)}".replace(",", "")
            if "likeness" in data:
                sentences += _shared(data, where)
            if "mixing" in data:
                ratio = float(data["mixing"])
                verb = "mix" if ratio >= 0.8 else "overlap" if ratio >= 0.2 else "keep apart"
                sentences.append(
                    f"The networks {verb}: the neighbours of a neuron are {percent(ratio)} as mixed as neurons dealt "
                    f"at random ({where}); at 0 % each network would have kinds of its own."
                )
    return sentences


def _shared(data: xr.Dataset, where: str) -> list[str]:
    """What a neuron and the one most like it have in common."""
    near, random = float(data["likeness"]), float(data["likeness_random"])
    kind = (
        "nearly every neuron has a double"
        if near >= 0.95
        else "neurons have relatives"
        if near >= 0.7
        else ("neurons have little in common")
    )
    said = [
        f"In {where}, {kind}: what a neuron and the one most like it give to the textures correlates with "
        f"{signed(near)} (median), two at random with {signed(random)}."
    ]
    ways = {way: (float(data[f"same_{way}"]), float(data[f"same_{way}_random"])) for way in ("input", "output")}
    ways = {way: ends for way, ends in ways.items() if np.isfinite(ends[0])}
    if ways:
        told = [way for way, (share, chance) in ways.items() if share >= 1.5 * chance and share >= 0.1]
        words = {"input": "read the same channel", "output": "write to the same channel"}
        verdict = (
            f"Alike are above all neurons that {listing(words[w] for w in told)}"
            if told
            else ("Neurons of one channel are hardly more alike than others")
        )
        shares = listing(
            f"its {way} channel in {percent(share)} of cases ({percent(chance)} by chance)"
            for way, (share, chance) in ways.items()
        )
        said.append(f"{verdict}: a neuron shares with the one most like it {shares}.")
    return said


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
