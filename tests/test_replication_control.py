"""Claims on maps whose truth is known: each must hold where its effect was put in, and not where it was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
import xarray as xr

from fake_layer import FakeLayer
from known_flow import known_flow
from xinc.findings.finding import LayerLike
from xinc.findings.replication.claims import CLAIMS
from xinc.findings.replication.evidence import Evidence
from xinc.findings.replication.replicate import combine
from xinc.findings.section4.distribution import edge_mask, pixels_per_neuron
from xinc.findings.section4.grouping import baseline, grouping
from xinc.findings.section4.intensity import edges_of
from xinc.findings.section4.moments import moments
from xinc.findings.section4.motion import instance_speed
from xinc.findings.section4.objects import objects
from xinc.findings.section4.regions import gabor, grid_like, instances, rgb
from xinc.signals.synthetic import Scene, scene

SIZE, FRAME, FRAMES = (48, 96), 3, (2, 3, 4, 5)
Maps = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def truth() -> Scene:
    return scene(SIZE, frames=8)


def noise(count: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *SIZE))


def filtered(truth: Scene, frame: int = FRAME) -> np.ndarray:
    """Neurons of a network that represents the clip well: random filters of the frame."""
    filters = torch.randn(24, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.conv2d(truth.clip.frames[frame][None], filters, padding=1)[0].abs().numpy()


def placed(cells: np.ndarray, seed: int = 0) -> np.ndarray:
    """Neurons that know nothing but the cell that a pixel lies in."""
    gains = np.random.default_rng(seed).random((24, int(cells.max()) + 1)) ** 3
    return gains[:, cells] + 0.01 * noise()


def told(make: Mapping[str, Callable[[LayerLike], xr.Dataset]], layers: Maps, *, pixelwise: bool = False) -> Evidence:
    tree = {
        f"/{finding}/paper/{name}": compute(FakeLayer(maps, name=name)).expand_dims("frame")
        for finding, compute in make.items()
        for name, maps in layers.items()
    }
    return Evidence(xr.DataTree.from_dict(tree), "paper", tuple(layers), tuple(layers), pixelwise, draws=60)


def verdict(text: str, evidence: Evidence, layer: str, statistic: str = "") -> str:
    (claim,) = [c for c in CLAIMS if text in c.text and statistic in c.statistic]
    assert claim.where(evidence, layer)
    measured = claim.measure(evidence, layer)
    assert measured is not None
    return claim.paper.verdict(combine([measured], 200, 0))


@pytest.mark.parametrize("name", ["RGB", "Gabor", "instances"])
def test_groupings_beat_cells_and_their_own_copies_only_where_neurons_go_by_content(truth: Scene, name: str) -> None:
    image, segments = truth.clip.frames[FRAME], truth.clip.segments
    assert segments is not None
    regions = [rgb(image), gabor(image), grid_like(SIZE, 32), instances(segments, FRAME)]
    regions.append(grid_like(SIZE, regions[-1].count))
    object.__setattr__(regions[-1], "grouping", "grid_matched")
    make = {
        "grouping": lambda layer: grouping(layer, regions),
        "grouping_baseline": lambda layer: baseline(layer, regions, shifts=12, shuffles=1),
    }
    less = f"explain contributions less than {name}"
    if name == "instances":
        content = placed(regions[3].labels)
    else:
        content = filtered(truth) if name == "RGB" else placed(regions[1].labels)
    cells = grid_like(SIZE, 32 if name != "instances" else regions[3].count).labels
    here, there = told(make, {"head": content}), told(make, {"head": placed(cells)})
    elsewhere = told(make, {"head": np.roll(content, (17, 41), (1, 2))})
    assert verdict(less, here, "head") == "holds"
    assert verdict(less, there, "head") == "fails"
    assert verdict(f"{name} ", here, "head", "shifted") == "holds"
    assert verdict(f"{name} ", elsewhere, "head", "shifted") != "holds"


def test_the_last_block_follows_cells_more_than_the_head_only_where_it_does(truth: Scene) -> None:
    make = {"grouping": lambda layer: grouping(layer, [rgb(truth.clip.frames[FRAME]), grid_like(SIZE, 32)])}
    cells = placed(grid_like(SIZE, 32).labels)
    text = "follows grid cells more"
    assert verdict(text, told(make, {"block3": cells, "head": filtered(truth)}), "head") == "holds"
    assert verdict(text, told(make, {"block3": filtered(truth), "head": cells}), "head") == "fails"


def test_edges_draw_neurons_only_where_they_were_told_to(truth: Scene) -> None:
    image = truth.clip.frames[FRAME]
    make = {"moments": lambda layer: moments(layer, image)}
    drawn = noise() * (0.2 + edge_mask(edges_of(image)))
    biased, even = told(make, {"block1": noise(), "head": drawn}), told(make, {"block1": drawn, "head": noise()})
    assert verdict("NeRV's neurons are biased", biased, "head") == "holds"
    assert verdict("NeRV's neurons are biased", even, "head") == "fails"
    flat = told(make, {"layer1": drawn, "layer2": drawn, "layer3": noise()}, pixelwise=True)
    assert verdict("FFN's neurons are not biased", flat, "layer3") == "holds"
    assert verdict("FFN's neurons are not biased", flat, "layer2") == "fails"
    assert verdict("heatmaps follow edges", biased, "head") == "holds"
    assert verdict("heatmaps follow edges", even, "head") != "holds"


def test_reach_and_dead_neurons_are_counted_where_they_are() -> None:
    make = {"pixels_per_neuron": lambda layer: pixels_per_neuron(layer)}
    even = 1 + 0.1 * noise(40)
    narrow = 0.001 * noise(40)
    for k, row in enumerate(narrow):
        row[:, 2 * k : 2 * k + 4] += 1
    half = even.copy()
    half[:20] = 0
    assert verdict("outer layers have more", told(make, {"block1": narrow, "head": even}), "head") == "holds"
    assert verdict("outer layers have more", told(make, {"block1": even, "head": narrow}), "head") == "fails"
    dead = told(make, {"layer1": even, "layer2": half, "layer3": even}, pixelwise=True)
    alive = told(make, {"layer1": even, "layer2": even, "layer3": even}, pixelwise=True)
    for text in ("has dead neurons", "nearly half of FFN's"):
        assert verdict(text, alive, "layer2") == "fails"
    assert verdict("has dead neurons", dead, "layer2") == "holds"
    assert verdict("nearly half of FFN's", dead, "layer2") != "fails"


def shares_of(truth: Scene, maps: Callable[[int], np.ndarray]) -> Evidence:
    """Shares of instances at several frames, with the instances' true speeds."""
    parts = []
    segments = truth.clip.segments
    assert segments is not None
    for t in FRAMES:
        data = objects(FakeLayer(maps(t), name="head"), segments, t, truth.clip.frames[t])
        speed = instance_speed(known_flow(truth, t), instances(segments, t).labels, data.sizes["region"])
        parts.append(data.assign(speed=("region", speed)))
    tree = {"/objects/paper/head": xr.concat(parts, dim="frame", join="exact")}
    return Evidence(xr.DataTree.from_dict(tree), "paper", ("head",), ("head",), False, draws=60)


def test_categories_are_seen_only_where_neurons_know_them(truth: Scene) -> None:
    segments = truth.clip.segments
    assert segments is not None
    kinds = {s.id: i for i, s in enumerate(segments.table)}
    categories = np.array([["other", "square", "disc", "diamond"].index(s.category) for s in segments.table])
    order = np.vectorize(kinds.__getitem__)
    gains = np.random.default_rng(1).random((60, 8)) ** 2

    def knowing(t: int) -> np.ndarray:
        return gains[:, categories[order(segments.labels[t])]] + 0.001 * noise(60, t)

    def unknowing(t: int) -> np.ndarray:
        return gains[:, order(segments.labels[t])] + 0.001 * noise(60, t)

    text = "one category are not grouped"
    assert verdict(text, shares_of(truth, knowing), "head", "gap") == "fails"
    assert verdict(text, shares_of(truth, unknowing), "head", "gap") != "fails"


def test_shares_are_stable_only_where_neurons_keep_to_their_instances(truth: Scene) -> None:
    segments = truth.clip.segments
    assert segments is not None

    def maps(t: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random((24, 8))[:, segments.labels[t]] + 0.001 * noise(24, t)

    text = "stable over time"
    assert verdict(text, shares_of(truth, lambda t: maps(t, 0)), "head") == "holds"
    assert verdict(text, shares_of(truth, lambda t: maps(t, t)), "head") == "fails"


def test_change_follows_speed_only_where_moving_instances_change(truth: Scene) -> None:
    segments = truth.clip.segments
    assert segments is not None
    speeds = {
        t: instance_speed(known_flow(truth, t), instances(segments, t).labels, len(segments.table)) for t in FRAMES
    }
    base = 0.5 + np.random.default_rng(2).random((24, len(segments.table)))

    def maps(t: int, sign: float) -> np.ndarray:
        pace = np.nan_to_num(speeds[t])
        swing = 0.02 + 0.4 * (pace if sign > 0 else pace.max() - pace) / max(float(pace.max()), 1e-6)
        wave = np.random.default_rng(t).choice([-1.0, 1.0], size=base.shape)
        return (base * (1 + swing * wave))[:, segments.labels[t]]

    text = "shares change more where instances move"
    assert verdict(text, shares_of(truth, lambda t: maps(t, 1)), "head") == "holds"
    assert verdict(text, shares_of(truth, lambda t: maps(t, -1)), "head") == "fails"
