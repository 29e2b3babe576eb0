"""The synthetic scene: its masks, flow and uncovered regions are the truth about its frames, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xinc.errors import SignalError
from xinc.signals.synthetic import Scene, scene


def targets(truth: Scene, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each pixel of frame t goes: y, x, and whether that lies in the frame."""
    height, width = truth.clip.size
    y, x = np.indices((height, width))
    x, y = x + truth.flow[t, 0].astype(int), y + truth.flow[t, 1].astype(int)
    return y, x, (y >= 0) & (y < height) & (x >= 0) & (x < width)


@pytest.fixture(scope="module")
def truth() -> Scene:
    return scene()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.integers(1, 9), st.sampled_from([(32, 32), (33, 70), (64, 48)]))
def test_flow_carries_every_point_that_is_still_seen(seed: int, frames: int, size: tuple[int, int]) -> None:
    """Frame t + 1 at p + flow equals frame t at p, but where p leaves the frame or something passes over it. And the
    other way round: what is not uncovered in frame t + 1 came from exactly one pixel of frame t."""
    made = scene(size, frames, seed)
    assert made.clip.frames.shape == (frames, 3, *size)
    assert made.flow.shape == (frames - 1, 2, *size)
    assert not made.uncovered[0].any()
    assert made.clip.segments is not None
    pictures = made.clip.frames.numpy()
    for t in range(frames - 1):
        owner, after = made.clip.segments.labels[t], made.clip.segments.labels[t + 1]
        y, x, inside = targets(made, t)
        seen = inside.copy()
        seen[inside] = after[y[inside], x[inside]] == owner[inside]
        assert np.array_equal(pictures[t + 1][:, y[seen], x[seen]], pictures[t][:, seen])
        arrived = np.zeros(size, int)
        np.add.at(arrived, (y[seen], x[seen]), 1)
        assert np.array_equal(arrived, (~made.uncovered[t + 1]).astype(int))


def test_masks_are_where_the_objects_are(truth: Scene) -> None:
    """Outside of all masks every frame shows the same photograph; inside, something else."""
    assert truth.clip.segments is not None
    pictures = truth.clip.frames.numpy()
    labels = np.stack(list(truth.clip.segments.labels.values()))
    background = np.ma.masked_array(pictures, np.repeat((labels > 0)[:, None], 3, axis=1))
    assert np.ma.max(np.ma.ptp(background, axis=0)) == 0
    photograph = background.mean(axis=0).filled(-1)
    covered = labels > 0
    assert np.mean(np.abs(pictures - photograph).sum(1)[covered] > 0.05) > 0.95


def test_who_is_in_the_scene(truth: Scene) -> None:
    assert truth.clip.segments is not None
    table = truth.clip.segments.table
    assert [s.category for s in table] == ["other", "square", "disc", "disc", "diamond"]
    assert [s.instance for s in table] == [-1, 1, 1, 2, 1]
    assert [s.kind for s in table] == ["other"] + ["thing"] * 4
    assert truth.clip.segments.frames == tuple(range(16))


def test_one_object_leaves_and_returns_one_stands_still_one_passes_over_it(truth: Scene) -> None:
    assert truth.clip.segments is not None
    labels = np.stack(list(truth.clip.segments.labels.values()))
    areas = {i: (labels == i).sum((1, 2)) for i in range(1, 5)}
    seen = areas[4] > 0
    assert seen[0]
    assert seen[-1]
    assert not seen[7:9].any()
    assert areas[1].min() < 0.8 * areas[1].max()
    flow = truth.flow.transpose(0, 2, 3, 1)
    assert not flow[labels[:-1] == 1].any()
    for moving in (2, 3):
        steps = flow[labels[:-1] == moving]
        assert np.abs(steps).max() > 1
    assert not flow[labels[:-1] == 0].any()


def test_objects_have_texture(truth: Scene) -> None:
    assert truth.clip.segments is not None
    for i in range(1, 5):
        inside = truth.clip.frames[0].numpy()[:, truth.clip.segments.labels[0] == i]
        assert inside.std(axis=1).max() > 0.08
    assert truth.clip.frames.min() >= 0
    assert truth.clip.frames.max() <= 1


def test_a_seed_means_one_scene(truth: Scene) -> None:
    again, other = scene(), scene(seed=1)
    assert torch.equal(again.clip.frames, truth.clip.frames)
    assert np.array_equal(again.flow, truth.flow)
    assert not torch.equal(other.clip.frames, truth.clip.frames)


def test_the_shuffled_control_keeps_everything_but_the_place(truth: Scene) -> None:
    control = truth.shuffled(3)
    assert torch.equal(control.clip.frames, truth.clip.frames)
    assert truth.clip.segments is not None
    assert control.clip.segments is not None
    assert control.clip.segments.table == truth.clip.segments.table
    for a, b in zip(control.clip.segments.labels.values(), truth.clip.segments.labels.values(), strict=True):
        assert np.array_equal(np.bincount(a.ravel()), np.bincount(b.ravel()))
        overlap = ((a > 0) & (b > 0)).sum() / (b > 0).sum()
        assert overlap < 0.5
    assert control.uncovered.sum() == truth.uncovered.sum()
    assert not np.array_equal(control.uncovered, truth.uncovered)
    # Truth stays consistent with itself: uncovered pixels border on the moved masks as they did before.
    moved = np.linalg.norm(control.flow, axis=1) > 0
    labels = np.stack(list(control.clip.segments.labels.values()))[:-1]
    assert not moved[labels == 0].any()
    assert np.array_equal(control.shuffled(0).flow, truth.shuffled(3).shuffled(0).flow)


@pytest.mark.parametrize(("size", "frames"), [((16, 64), 4), ((64, 31), 4), ((64, 64), 0)])
def test_a_scene_too_small_is_refused(size: tuple[int, int], frames: int) -> None:
    with pytest.raises(SignalError, match=r"at least one frame of at least 32×32 pixels, not \d+ of"):
        scene(size, frames)
