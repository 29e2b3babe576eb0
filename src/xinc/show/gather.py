"""What an exhibit needs of the networks' results, brought into the form that figures take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xinc.findings import clusters
from xinc.findings.results import fingerprint
from xinc.show.figures.sheet import Array, Panels
from xinc.show.subjects import Subject, panels

if TYPE_CHECKING:
    import xarray as xr

Frames = Mapping[str, Array]
"""Panel's title to the frame ``(H, W, 3)`` that it shows."""
Gathered = tuple[Panels, Frames]


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
    for name, together in comparable(found, finding):
        titles = {s.title: s for s in together}
        data = together[0].panels(finding)[name] if len(together) == 1 else _laid_out(together, name)
        maps, chosen = [], pairs(data["position"].values, count // 2)
        for i in chosen:
            subject = titles.get(str(data["member"].values[i]), together[0])
            layer = subject.canvas(subject.frame)[name]
            maps.append(layer.maps([int(data["index"].values[i])])[0].cpu().numpy())
        title = together[0].title if len(together) == 1 else f"{len(together)} networks,"
        layers[title] = {name: data.assign(map=(("shown", "y", "x"), np.stack(maps)), pick=("shown", chosen))}
    return layers, {s.title: s.image for s in found}


def comparable(found: Sequence[Subject], finding: str) -> list[tuple[str, list[Subject]]]:
    """Outermost layers with a finding, and the networks that have it, over the same texture clusters of one frame."""
    groups: dict[tuple[str, str], list[Subject]] = {}
    for subject in found:
        for name in list(subject.panels(finding))[:1]:
            vectors = subject.panels("clusters").get(name)
            cut = subject.title if vectors is None else fingerprint([subject.image, vectors["area"].values])
            groups.setdefault((name, cut), []).append(subject)
    return [(name, together) for (name, _), together in groups.items()]


def _laid_out(together: Sequence[Subject], name: str) -> xr.Dataset:
    vectors = clusters.stack({s.title: s.panels("clusters")[name] for s in together})
    neighbours = int(together[0].panels("embedding")[name].attrs["neighbours"])
    return clusters.embed(vectors, clusters.Embedding(neighbours))


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
