from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from fake_layer import FakeLayer
from xinc.findings.finding import LayerLike
from xinc.findings.section4.distribution import edge_ratio, neurons_per_pixel, pixels_per_neuron, resampled
from xinc.findings.section4.grouping import baseline, deviation, grouping, score
from xinc.findings.section4.intensity import edges_of, intensity
from xinc.findings.section4.regions import Regions, grid
from xinc.findings.section4.sums import sums_of_cuts

RNG = np.random.default_rng(0)


def halves(size: tuple[int, int] = (4, 8), grouping: str = "halves") -> Regions:
    labels = np.zeros(size, dtype=np.int64)
    labels[:, size[1] // 2 :] = 1
    return Regions(grouping, labels, ("left", "right"))


def test_the_fake_is_a_layer():
    assert isinstance(FakeLayer(RNG.normal(size=(3, 4, 8))), LayerLike)


def test_deviation_is_equation_2():
    # 3 of 4 units in a region of a quarter of the area: expected 1, (1 - 3) / 1 = -2; the rest (3 - 1) / 3
    delta = deviation(np.array([[3.0, 1.0]]), np.array([8, 24]), np.array([4.0]))
    np.testing.assert_allclose(delta, [[-2, 2 / 3]])
    np.testing.assert_allclose(score(delta), [(2 + 2 / 3) / 2])
    np.testing.assert_allclose(score(delta, official=True), [(2 + 2 / 3) / np.sqrt(2)])
    np.testing.assert_allclose(score(delta, official=True, signed=False), [(2 - 2 / 3) / np.sqrt(2)])


def test_dead_neurons_and_empty_regions_are_nan_and_counted():
    maps = RNG.random((3, 4, 8)) + 0.1
    maps[1] = 0
    regions = Regions("three", halves().labels, ("left", "right", "nowhere"))
    found = grouping(FakeLayer(maps), [regions])
    assert int(found.dead) == 1
    assert found.regions.item() == 2
    assert np.isnan(found.delta.values[:, 2]).all()
    assert np.isnan(found.score.values[1]).all()
    assert np.isfinite(found.score.values[[0, 2]]).all()


def test_a_neuron_that_sees_one_half_scores_one_and_an_even_one_zero():
    maps = np.zeros((2, 4, 8))
    maps[0, :, 4:] = -2.0
    maps[1] = 3.0
    found = grouping(FakeLayer(maps), [halves(), grid((4, 8), 2, 1)])
    np.testing.assert_allclose(found.score.sel(grouping="halves"), [1, 0], atol=1e-6)
    np.testing.assert_allclose(found.score.sel(grouping="grid"), [0, 0], atol=1e-6)
    np.testing.assert_allclose(found.delta.sel(region="halves/right"), [-1, 0], atol=1e-6)
    assert found.area.values.tolist() == [16, 16, 16, 16]
    assert found.delta.dims == ("neuron", "region")


def test_unlabelled_pixels_take_no_part():
    labels = halves().labels.copy()
    labels[:2] = -1
    maps = np.zeros((1, 4, 8))
    maps[0, :2] = 100
    maps[0, 2:] = 1
    found = grouping(FakeLayer(maps), [Regions("half", labels, ("left", "right"))])
    np.testing.assert_allclose(found.delta.values, [[0, 0]], atol=1e-6)


def test_official_takes_absolute_deviations_of_all_but_the_grid():
    maps = np.zeros((1, 4, 8))
    maps[0, :, 4:] = 1
    found = grouping(FakeLayer(maps), [halves(), halves(grouping="grid")])
    np.testing.assert_allclose(found.score_official.values, [[0, np.sqrt(2)]], atol=1e-6)


def test_misplaced_regions_lose_what_true_regions_explain():
    labels = (RNG.random((16, 32)) < 0.5).astype(np.int64)
    labels[:8] = 0
    labels[8:] = 1
    maps = np.stack([np.where(labels == 1, 1.0, 0.1) * (1 + 0.1 * RNG.random((16, 32))) for _ in range(5)])
    found = baseline(FakeLayer(maps), [Regions("true", labels, ("a", "b"))], shifts=19, shuffles=3)
    assert found.p_value.item() <= 0.1
    assert (found.excess > 1).all()
    assert float(found.score_shuffled.max()) < 0.2 * float(found.score.min())


def test_sums_of_cuts_are_sums_over_the_regions_of_each():
    labels = RNG.integers(-1, 4, size=(3, 50)).astype(np.int32)
    pixels = RNG.random((50, 6)).astype(np.float32)
    found = sums_of_cuts(labels, pixels, 5)
    for d in range(3):
        for g in range(5):
            np.testing.assert_allclose(found[d, g], pixels[labels[d] == g].sum(axis=0), rtol=1e-5)


def test_baseline_finds_nothing_in_noise():
    maps = RNG.random((40, 16, 32))
    found = baseline(FakeLayer(maps), [grid((16, 32), 2, 4)], shifts=19, shuffles=3)
    np.testing.assert_allclose(found.excess.median(), 1, atol=0.15)
    assert found.p_value.item() > 0.05


def test_baseline_of_a_sample_in_chunks_is_that_of_the_same_neurons_at_once(monkeypatch: pytest.MonkeyPatch):
    layer = FakeLayer(RNG.normal(size=(9, 8, 16)))
    whole = baseline(layer, [halves((8, 16)), grid((8, 16), 2, 2)], shifts=3, shuffles=2, neurons=5)
    monkeypatch.setattr("xinc.findings.section4.grouping.CHUNK", 2 * 8 * 16)
    parts = baseline(layer, [halves((8, 16)), grid((8, 16), 2, 2)], shifts=3, shuffles=2, neurons=5)
    assert whole.sizes == {"neuron": 5, "grouping": 2, "shift": 3, "shuffle": 2}
    xr.testing.assert_allclose(whole, parts, rtol=1e-4)
    true = grouping(layer, [halves((8, 16)), grid((8, 16), 2, 2)]).score.values[whole.neuron.values]
    np.testing.assert_allclose(whole.score.values, true, rtol=1e-4)


def test_all_dead_layers_are_undefined_not_wrong():
    layer = FakeLayer(np.zeros((3, 4, 8)))
    assert np.isnan(baseline(layer, [halves()], shifts=2, shuffles=1).p_value.item())
    frame = torch.rand(3, 4, 8)
    assert np.isnan(float(intensity(layer, frame).correlation_intensity))
    assert float(pixels_per_neuron(layer).dead) == 1
    assert np.isnan(neurons_per_pixel(layer, frame).edge_ratio.values).all()


def test_a_heatmap_of_intensity_differs_nowhere_and_has_no_edges_beyond_it():
    frame = torch.rand(3, 12, 20, generator=torch.Generator().manual_seed(0))
    light = frame.sum(0).numpy()
    found = intensity(FakeLayer(np.stack([0.25 * light, -0.75 * light])), frame)
    np.testing.assert_allclose(found.difference, 0, atol=1e-6)
    np.testing.assert_allclose(found.correlation_intensity, 1, atol=1e-6)
    assert np.isnan(float(found.partial_edges)) or abs(float(found.partial_edges)) < 0.2
    np.testing.assert_allclose(found.partial_intensity, 1, atol=1e-5)


def test_edges_beyond_intensity_are_told_apart():
    frame = torch.rand(3, 24, 40, generator=torch.Generator().manual_seed(1))
    light, edges = frame.sum(0).numpy(), edges_of(frame)
    found = intensity(FakeLayer((light + 3 * edges)[None]), frame)
    np.testing.assert_allclose(found.partial_edges, 1, atol=1e-5)
    np.testing.assert_allclose(found.partial_intensity, 1, atol=1e-5)
    noise = np.random.default_rng(2).random((24, 40))
    nothing = intensity(FakeLayer(noise[None]), frame)
    assert abs(float(nothing.partial_edges)) < 0.15
    assert abs(float(nothing.correlation_intensity)) < 0.15


def test_resampling_keeps_ends_and_straight_lines():
    np.testing.assert_allclose(resampled(np.array([3, 1, 2]), points=5), [1, 1.5, 2, 2.5, 3])
    np.testing.assert_allclose(resampled(np.array([7]), points=4), 7)


def test_pixels_per_neuron_counts_dead_and_silent_neurons():
    maps = np.zeros((4, 2, 5))
    maps[0] = 1.0
    maps[1] = 0.2
    maps[2, 0, 0] = 9.0
    found = pixels_per_neuron(FakeLayer(maps), points=3)
    assert found.pixels.values.tolist() == [9, 0, 1, 0]
    assert float(found.dead) == 0.25
    assert float(found.silent) == 0.5
    np.testing.assert_allclose(found.sorted_share, [0, 0.05, 0.9])


def test_edge_ratio_is_the_mean_on_edges_over_the_mean_elsewhere():
    edges = np.zeros((10, 10))
    edges[3] = 1.0
    plane = np.full((10, 10), 2.0)
    plane[3] = 5.0
    assert edge_ratio(plane, edges) == pytest.approx(2.5)
    assert np.isnan(edge_ratio(plane, np.zeros((10, 10))))


def test_neurons_per_pixel_finds_the_bias_to_edges():
    frame = torch.zeros(3, 16, 32)
    frame[:, :, 16:] = 1.0
    edges = edges_of(frame)
    maps = np.random.default_rng(0).random((20, 16, 32)) * np.where(edges > 0, 5.0, 1.0)
    found = neurons_per_pixel(FakeLayer(maps), frame, points=64)
    assert found.share.dims == ("area", "y", "x")
    assert (found.share.sel(area=0.5) <= found.share.sel(area=0.1)).all()
    assert float(found.edge_ratio.sel(area=0.5)) > 2
    assert float(found.correlation_edges.sel(area=0.5)) > 0.8
    assert found.threshold.values[0] < found.threshold.values[1]
    assert (np.diff(found.curve) <= 0).all()
