"""What an exhibit needs of the networks' results, brought into the form that figures take."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xinc.errors import FindingError, XincWarning
from xinc.findings.results import fingerprint
from xinc.findings.section4.clusters import likeness
from xinc.findings.section4.layouts import Layout, of_layer, of_layers, of_networks
from xinc.notation import Array
from xinc.show.figures.sheet import Panels
from xinc.show.subjects import Subject, panels

if TYPE_CHECKING:
    import xarray as xr

NamedFrames = Mapping[str, Array]
"""Panel's title to the frame ``(H, W, 3)`` that it shows."""
Gathered = tuple[Panels, NamedFrames]


def shown(found: Sequence[Subject], finding: str) -> Gathered:
    """Every network at the frame that the report shows."""
    return panels(found, finding), {s.title: s.image for s in found}


def with_baseline(found: Sequence[Subject], finding: str) -> Gathered:
    """Grouping scores, with the median score of the same regions moved elsewhere where that was computed."""
    layers, frames = shown(found, finding)
    moved = panels(found, "grouping_baseline")
    joined = {
        network: {name: _joined(data, moved.get(network, {}).get(name)) for name, data in own.items()}
        for network, own in layers.items()
    }
    return joined, frames


def _joined(data: xr.Dataset, baseline: xr.Dataset | None) -> xr.Dataset:
    if baseline is None:
        return data
    place = baseline["score_shifted"].median(("neuron", "shift"))
    return data.assign(shifted=place, p_value=baseline["p_value"])


def moving(found: Sequence[Subject], finding: str, most: int = 2) -> Gathered:
    """Up to two steps of each network, a row each."""
    layers: dict[str, dict[str, xr.Dataset]] = {}
    frames: dict[str, Array] = {}
    for subject in found:
        first = next((d for name in subject.layers if (d := subject.dataset(finding, name)) is not None), None)
        for t in [] if first is None else [int(t) for t in first["frame"].values][:most]:
            title = f"{subject.title}\n{t - 1} to {t}"
            layers[title], frames[title] = subject.panels(finding, t), subject.picture(t)
    return layers, frames


def whole(found: Sequence[Subject], finding: str) -> Gathered:
    """Every network with all its frames."""
    layers = {s.title: {n: d for n in s.layers if (d := s.dataset(finding, n)) is not None} for s in found}
    return {title: own for title, own in layers.items() if own}, {s.title: s.image for s in found}


def embedded(found: Sequence[Subject], finding: str, count: int = 8) -> Gathered:
    """The outermost layer's neurons in two dimensions, with maps of a few that are far apart and of their neighbours.

    Networks whose vectors are over the same regions of the same frame (seeds of one network, say) share one picture.
    """
    layers = {}
    for name, together in comparable(found):
        first, titles = together[0], {s.title: s for s in together}
        vectors, order = {s.title: s.panels("clusters")[name] for s in together}, first.canvas(0).layers
        alone = len(together) == 1
        data = laid_out(first, of_layer(vectors[first.title], order) if alone else of_networks(vectors, order))
        if data is None:
            continue
        maps, chosen = [], pairs(data["position"].values, count // 2)
        for i in chosen:
            subject = titles.get(str(data["member"].values[i]), first)
            layer = subject.canvas(int(vectors[subject.title]["frame"]))[name]
            maps.append(layer.maps([int(data["index"].values[i])])[0].cpu().numpy())
        data = data.assign(_likeness(vectors[first.title])) if alone else data
        title = first.title if alone else f"{len(together)} networks,"
        layers[title] = {name: data.assign(map=(("shown", "y", "x"), np.stack(maps)), pick=("shown", chosen))}
    return layers, {s.title: s.image for s in found}


def _likeness(vectors: xr.Dataset) -> dict[str, float]:
    """What a layer's neurons share with the one most like them, by the names of :func:`.sentences.findings.alike`."""
    known = likeness(vectors)
    if known is None:
        return {}
    told = {"likeness": known.near, "likeness_random": known.random}
    for way, (share, chance) in known.shared.items():
        told |= {f"same_{way}": share, f"same_{way}_random": chance}
    return told


def over_layers(found: Sequence[Subject], finding: str) -> Gathered:
    """The neurons of all layers of each network in two dimensions, at the frame of the outermost layer's vectors."""
    layers = {}
    for subject in found:
        known = subject.panels("clusters")
        frames = {name: int(data["frame"]) for name, data in known.items()}
        vectors = {name: known[name] for name in reversed(known) if frames[name] == next(iter(frames.values()))}
        data = laid_out(subject, of_layers(vectors)) if len(vectors) > 1 else None
        if data is not None and "mixing" in data:  # maps of all layers but one may be constant
            layers[subject.title] = {"all layers": data}
    return layers, {s.title: s.image for s in found}


def laid_out(subject: Subject, layout: Layout) -> xr.Dataset | None:
    """Neurons in two dimensions, as the results hold them for the same vectors; else made now, and kept.

    Returns:
        One frame; None where the report makes none, or, with a warning, where there are too few neurons.
    """
    found = subject.group(layout.group)
    if found is None or not layout.fits(found.attrs):
        if not subject.embed:
            return None
        try:
            found = layout.make()
        except FindingError as reason:
            warnings.warn(
                f"{subject.title} has no picture of neurons that are alike: {reason}", XincWarning, stacklevel=2
            )
            return None
        subject.keep(layout.group, found)
    return found.isel(frame=0)


def comparable(found: Sequence[Subject]) -> list[tuple[str, list[Subject]]]:
    """Layers to lay out, and the networks that have their vectors over the same texture clusters of one frame.

    Of each network one layer: the outermost that was laid out already, else the outermost with vectors.
    """
    groups: dict[tuple[str, str], list[Subject]] = {}
    for subject in found:
        known, done = subject.panels("clusters"), subject.panels("embedding")
        for name in ([name for name in known if name in done] or list(known))[:1]:
            vectors = known[name]
            cut = fingerprint([subject.picture(int(vectors["frame"])), vectors["area"].values])
            groups.setdefault((name, cut), []).append(subject)
    return [(name, together) for (name, _), together in groups.items()]


def pairs(positions: Array, count: int) -> list[int]:
    """Indices of points far apart, each followed by its nearest neighbour that is not there yet."""
    chosen: list[int] = []
    for first in spread(positions, count):
        nearest = np.argsort(np.linalg.norm(positions - positions[first], axis=1), kind="stable")
        chosen += [int(i) for i in nearest if int(i) not in chosen][:2]
    return chosen


def spread(positions: Array, count: int) -> list[int]:
    """Indices of points far apart: the first is the one nearest to the middle, each next the farthest from all."""
    chosen = [int(np.argmin(np.linalg.norm(positions - positions.mean(axis=0), axis=1)))]
    while len(chosen) < min(count, len(positions)):
        gaps = np.linalg.norm(positions[:, None] - positions[chosen], axis=2).min(axis=1)
        chosen.append(int(np.argmax(gaps)))
    return chosen


def first_frame(layers: Panels) -> Panels:
    """Every layer at the first frame that it has."""
    return {title: {n: d.isel(frame=0) for n, d in own.items()} for title, own in layers.items()}


def over_time(layers: Panels) -> Panels:
    """The two outermost layers of networks with several annotated frames, as in the paper."""
    several = {t: {n: d for n, d in list(own.items())[:2] if d.sizes["frame"] > 1} for t, own in layers.items()}
    return {title: own for title, own in several.items() if own}
