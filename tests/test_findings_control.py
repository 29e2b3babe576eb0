"""The positive control: analyses must find what is known to be in a synthetic clip, and nothing where truth was moved.

The layer stands for a network that represents the clip well: its neurons are random 3x3 filters of the frames, so its
contributions follow colours and edges of whatever is seen, wherever it is.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from fake_layer import FakeLayer
from known_flow import known_flow
from xinc.findings.section4.grouping import baseline
from xinc.findings.section4.intensity import intensity
from xinc.findings.section4.motion import Flow, dis_flow, instance_speed, motion
from xinc.findings.section4.objects import change, objects, stability
from xinc.findings.section4.regions import instances
from xinc.signals.synthetic import Scene, scene

FRAMES = (2, 3, 4, 5)


@pytest.fixture(scope="module")
def truth() -> Scene:
    return scene((64, 128), frames=8)


@pytest.fixture(scope="module")
def control(truth: Scene) -> Scene:
    return truth.shuffled()


def canvas(scene: Scene, frame: int) -> FakeLayer:
    filters = torch.randn(24, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    maps = torch.nn.functional.conv2d(scene.clip.frames[frame][None], filters, padding=1)[0]
    return FakeLayer(maps.numpy(), name="head")


def moved(scene: Scene, frame: int, flow: Flow) -> xr.Dataset:
    frames = scene.clip.frames
    return motion(canvas(scene, frame), canvas(scene, frame - 1), frames[frame - 1], frames[frame], flow)


def test_instances_explain_contributions_only_where_they_are(truth: Scene, control: Scene):
    here = baseline(canvas(truth, 3), [instances(truth.clip.segments, 3)], shifts=19, shuffles=2)
    there = baseline(canvas(control, 3), [instances(control.clip.segments, 3)], shifts=19, shuffles=2)
    assert here.p_value.item() == pytest.approx(0.05)
    assert float(here.excess.median()) > 1.3
    assert there.p_value.item() > 0.05
    assert float(there.excess.median()) < float(here.excess.median()) - 0.2


def test_fluctuation_lies_on_what_moves_and_on_what_it_uncovers(truth: Scene, control: Scene):
    here = moved(truth, 3, known_flow(truth, 3))
    assert float(here.moving_ratio) > 3
    assert float(here.uncovered_ratio) > 3
    assert float(here.p_value) < 0.02
    assert float(here.partial) > 0.3
    there = moved(control, 3, known_flow(control, 3))
    assert float(there.moving_ratio) < 0.5 * float(here.moving_ratio)
    assert float(there.uncovered_ratio) < 0.5 * float(here.uncovered_ratio)
    assert float(there.p_value) > 0.05
    assert float(there.partial) < 0.1


def test_optical_flow_finds_what_is_known_to_move(truth: Scene):
    known, found = known_flow(truth, 3), dis_flow(truth.clip.frames[2], truth.clip.frames[3])
    seen = ~known.uncovered
    assert np.corrcoef(known.speed[seen], found.speed[seen])[0, 1] > 0.6
    assert found.uncovered[known.uncovered].mean() > 4 * found.uncovered[seen].mean()
    assert float(moved(truth, 3, found).moving_ratio) > 2


def test_known_flow_is_that_of_the_scene(truth: Scene):
    flow = known_flow(truth, 3)
    labels = truth.clip.segments.labels
    for segment in np.unique(labels[3]):
        here = labels[3] == segment
        assert len(np.unique(flow.velocity[:, here], axis=1).T) == 1
    assert (flow.velocity[:, labels[3] == 0] == 0).all()
    before, y, x = truth.clip.frames[2].numpy(), *np.nonzero((flow.speed > 0) & ~flow.uncovered)
    assert len(y) > 50
    dx, dy = flow.velocity[:, y, x].astype(int)
    np.testing.assert_array_equal(truth.clip.frames[3].numpy()[:, y, x], before[:, y - dy, x - dx])


def test_shares_stay_with_objects_and_change_where_they_move(truth: Scene, control: Scene):
    def shares(scene: Scene) -> xr.Dataset:
        clip = scene.clip
        parts = [objects(canvas(scene, t), clip.segments, t, clip.frames[t]) for t in FRAMES]
        return xr.concat(parts, dim="frame", join="exact")

    here, there = shares(truth).share.values, shares(control).share.values
    assert np.nanmedian(stability(here)) > 0.9
    assert np.nanmean(change(here)) < np.nanmean(change(there))
    speeds = np.stack(
        [instance_speed(known_flow(truth, t), instances(truth.clip.segments, t).labels, here.shape[2]) for t in FRAMES]
    )
    standing = np.nanmax(speeds, axis=0) == 0
    assert standing.any()
    assert not standing.all()
    assert np.nanmean(change(there)[:, ~standing]) > np.nanmean(change(here)[:, standing])


def test_heatmaps_follow_light_and_edges_of_the_frame_and_not_of_another(truth: Scene):
    frame = truth.clip.frames[3]
    here = intensity(canvas(truth, 3), frame)
    assert float(here.correlation_intensity) > 0.3
    there = intensity(canvas(truth, 3), torch.roll(frame, (23, 51), dims=(1, 2)))
    assert abs(float(there.correlation_intensity)) < 0.5 * float(here.correlation_intensity)
    assert abs(float(there.partial_edges)) < max(0.1, 0.5 * abs(float(here.partial_edges)))
