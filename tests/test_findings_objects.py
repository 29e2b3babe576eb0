from __future__ import annotations

import numpy as np
import pytest
import torch

from fake_layer import FakeLayer
from xinc.errors import FindingError
from xinc.findings.section4.objects import (
    category_grouping,
    category_ratio,
    change,
    change_with_motion,
    objects,
    stability,
)
from xinc.signals.labels import OTHER, Segment, Segments

RNG = np.random.default_rng(0)
TABLE = (OTHER, Segment(1, "car", "thing", 0), Segment(2, "car", "thing", 1), Segment(3, "sky", "stuff"))


def segments() -> Segments:
    plane = np.zeros((4, 8), dtype=np.int32)
    plane[0], plane[1, :4], plane[2] = 3, 1, 0
    other = plane.copy()
    other[1, :4] = 2
    return Segments({0: plane, 4: other}, TABLE)


def test_shares_are_of_means_and_sum_to_one_over_what_is_seen():
    maps = np.ones((3, 4, 8))
    maps[1, 0] = 4.0
    maps[2] = 0
    frame = torch.full((3, 4, 8), 0.5)
    found = objects(FakeLayer(maps), segments(), 0, frame)
    assert found.region.values.tolist() == ["other", "car 0", "car 1", "sky"]
    np.testing.assert_allclose(found.share.values[0], [1 / 3, 1 / 3, np.nan, 1 / 3])
    np.testing.assert_allclose(found.share.values[1], [1 / 6, 1 / 6, np.nan, 4 / 6], rtol=1e-6)
    assert np.isnan(found.share.values[2]).all()
    np.testing.assert_allclose(found.sum_share.values[0], [20 / 32, 4 / 32, np.nan, 8 / 32])
    np.testing.assert_allclose(found.brightness.values, [1.5, 1.5, np.nan, 1.5])
    assert found.category.values.tolist() == ["other", "car", "car", "sky"]
    assert found.chosen.sel(rule="strongest").values.tolist() == [1, 0, -1]


def test_frames_concatenate_with_every_instance_in_its_place():
    import xarray as xr

    layer, frame = FakeLayer(RNG.random((3, 4, 8))), torch.rand(3, 4, 8)
    both = xr.concat([objects(layer, segments(), t, frame) for t in (0, 4)], dim="frame", join="outer")
    assert both.share.dims == ("frame", "neuron", "region")
    assert np.isnan(both.share.sel(region="car 1").values[0]).all()
    assert np.isnan(both.share.sel(region="car 0").values[1]).all()


def test_a_frame_without_annotation_is_refused():
    with pytest.raises(FindingError, match="annotated frames are 0, 4"):
        objects(FakeLayer(np.ones((2, 4, 8))), segments(), 1, torch.zeros(3, 4, 8))


def test_category_ratio_is_zero_for_perfect_groups_and_one_for_none():
    categories = ["car", "car", "person", "person"]
    np.testing.assert_allclose(category_ratio(np.array([[0.1, 0.1, 0.4, 0.4]]), categories), [0])
    # gaps: alike 0.1 and 0.1, different .1 .2 0 .1: mean .1
    np.testing.assert_allclose(category_ratio(np.array([[0.2, 0.3, 0.3, 0.4]]), categories), [1])
    assert np.isnan(category_ratio(np.array([[0.5, 0.5]]), ["car", "sky"])).all()
    assert np.isnan(category_ratio(np.array([[0.5, 0.5]]), ["car", "car"])).all()


def test_category_grouping_tells_groups_from_chance():
    categories = ["car"] * 4 + ["person"] * 4 + ["unseen"]
    unseen = np.full((30, 1), np.nan)
    grouped = np.where(np.arange(8) < 4, 0.2, 0.05) + 0.005 * RNG.normal(size=(30, 8))
    value, p = category_grouping(np.hstack([grouped, unseen]), categories)
    assert value < 0.2
    assert p < 0.1
    chance = RNG.random((30, 8))
    value, p = category_grouping(np.hstack([chance, unseen]), categories)
    assert value == pytest.approx(1, abs=0.2)
    assert p > 0.05
    assert np.isnan(category_grouping(np.full((3, 2), 0.5), ["car", "sky"])).all()


def test_stability_is_one_for_constant_shares_and_about_zero_for_noise():
    constant = np.broadcast_to(RNG.random((1, 5, 6)), (4, 5, 6))
    np.testing.assert_allclose(stability(constant), 1)
    noise = RNG.random((6, 400, 8))
    assert np.median(stability(noise)) < 0.1
    known = 2 + np.sqrt(0.03) * RNG.normal(size=(1, 500, 80)) + np.sqrt(0.01) * RNG.normal(size=(6, 500, 80))
    assert stability(known).mean() == pytest.approx(0.75, abs=0.02)


def test_stability_handles_instances_that_leave_dead_neurons_and_single_instances():
    share = np.broadcast_to(RNG.random((1, 3, 4)), (5, 3, 4)).copy()
    share[2:4, :, 1] = np.nan  # leaves and returns; the others' shares grow meanwhile
    share[2:4] *= 1.3
    share[:, 2] = np.nan  # dead
    found = stability(share)
    np.testing.assert_allclose(found[:2], 1)
    assert np.isnan(found[2])
    assert np.isnan(stability(share[:, :, :1])).all()
    assert np.isnan(stability(share[:1])).all()


def test_change_is_relative_to_the_share_of_what_is_seen_in_both_frames():
    share = np.array([[[0.2, 0.8, np.nan]], [[0.3, 0.7, np.nan]], [[0.15, 0.35, 0.5]], [[np.nan, 0.5, 0.5]]])
    found = change(share)
    np.testing.assert_allclose(found[0], [0.1 / 0.25, 0.1 / 0.75, np.nan])
    np.testing.assert_allclose(found[1], [0, 0, np.nan], atol=1e-12)
    assert np.isnan(found[2, 0])
    before = 0.35 / 0.85
    np.testing.assert_allclose(found[2, 1], (0.5 - before) / ((0.5 + before) / 2))


def test_change_with_motion_ranks_instances_by_speed():
    steps = RNG.choice([-1, 1], size=(5, 20, 6)) * np.linspace(0.01, 0.1, 6)
    share = 0.5 + np.cumsum(steps, axis=0) * 0.2
    speed = np.broadcast_to(np.arange(6.0), (5, 6))
    assert change_with_motion(share, speed) > 0.9
    assert change_with_motion(share, -speed) < -0.9
    assert np.isnan(change_with_motion(share[:1], speed[:1]))
