from __future__ import annotations

import numpy as np
import pytest
import torch

from fake_layer import FakeLayer
from xinc.findings.section4.distribution import neurons_per_pixel
from xinc.findings.section4.intensity import intensity
from xinc.findings.section4.moments import Resampled, groups_of, moments
from xinc.findings.section4.motion import Flow, motion

RNG = np.random.default_rng(0)
SIZE = (24, 40)
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
PREVIOUS = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))


def flow() -> Flow:
    velocity = RNG.normal(size=(2, *SIZE)).astype(np.float32)
    velocity[:, :, :20] = 0
    return Flow(velocity, RNG.random(SIZE) < 0.1, "truth")


FLOW = flow()
LAYER = FakeLayer(RNG.normal(size=(150, *SIZE)) * (1 + IMAGE.sum(0).numpy()))
BEFORE = FakeLayer(LAYER.dense + RNG.normal(size=LAYER.shape) * (0.1 + (FLOW.speed > 0.5)))


@pytest.fixture(scope="module")
def found() -> Resampled:
    return Resampled.of(moments(LAYER, IMAGE, before=BEFORE, flow=FLOW), draws=150, seed=0)


def test_groups_are_even_and_cover_all_neurons():
    dealt = groups_of(150, 960, 0)
    assert sorted(np.unique(dealt)) == list(range(64))
    assert set(np.bincount(dealt)) == {2, 3}
    assert sorted(groups_of(5, 960, 0)) == [0, 1, 2, 3, 4]
    assert groups_of(1000, 1 << 21, 0).max() == 15


def test_all_neurons_give_the_numbers_of_the_findings(found: Resampled):
    heat = intensity(LAYER, IMAGE)
    assert found.correlation("heatmap", "intensity")[0] == pytest.approx(float(heat.correlation_intensity), abs=1e-6)
    assert found.partial("heatmap", "edges", ["intensity"])[0] == pytest.approx(float(heat.partial_edges), abs=1e-6)
    counts = neurons_per_pixel(LAYER, IMAGE).sel(area=0.5)
    ratio = found.ratio("above_0.5", "strong_edges", "weak_edges")[0]
    assert ratio == pytest.approx(float(counts.edge_ratio), abs=1e-5)
    assert found.correlation("above_0.5", "edges")[0] == pytest.approx(float(counts.correlation_edges), abs=1e-5)
    moved = motion(LAYER, BEFORE, PREVIOUS, IMAGE, FLOW)
    for name, value in {
        "correlation": found.correlation("fluctuation", "speed"),
        "partial": found.partial("fluctuation", "speed", ["intensity", "edges"]),
        "moving_ratio": found.ratio("fluctuation", "moving", "still"),
        "uncovered_ratio": found.ratio("fluctuation", "uncovered", "still"),
    }.items():
        assert value[0] == pytest.approx(float(moved[name]), abs=1e-5), name


def test_draws_are_the_numbers_of_reweighted_neurons_carried_on(found: Resampled):
    weights = found.weights[1][groups_of(150, SIZE[0] * SIZE[1], 0)]
    assert weights.min() == pytest.approx(0.9)
    again = intensity(FakeLayer(LAYER.dense * weights[:, None, None]), IMAGE)
    for draws, changed in (
        (found.correlation("heatmap", "intensity"), float(again.correlation_intensity)),
        (found.partial("heatmap", "edges", ["intensity"]), float(again.partial_edges)),
    ):
        assert draws[1] == pytest.approx(draws[0] + (changed - draws[0]) / 0.1, abs=1e-4)


def test_draws_spread_as_independent_layers_do(found: Resampled):
    light = 1 + IMAGE.sum(0).numpy()
    layers = [FakeLayer(RNG.normal(size=(150, *SIZE)) * light) for _ in range(60)]
    spread = np.std([float(intensity(layer, IMAGE).correlation_intensity) for layer in layers])
    assert found.correlation("heatmap", "intensity")[1:].std() == pytest.approx(spread, rel=0.4)


def test_without_a_frame_before_there_is_no_fluctuation():
    alone = moments(LAYER, IMAGE)
    assert "fluctuation" not in alone.plane.values
    assert "speed" not in alone.reference.values


def test_flat_pictures_have_no_correlation():
    flat = Resampled.of(moments(FakeLayer(np.ones((4, *SIZE))), IMAGE), draws=3, seed=0)
    assert np.isnan(flat.correlation("heatmap", "intensity")).all()
    black = Resampled.of(moments(LAYER, torch.zeros(3, *SIZE)), draws=3, seed=0)
    assert np.isnan(black.correlation("heatmap", "intensity")).all()
    assert np.isnan(black.ratio("above_0.5", "strong_edges", "weak_edges")).all()
