from __future__ import annotations

import numpy as np
import pytest
import torch

from fake_layer import FakeLayer
from xinc.findings.section4.motion import Flow, _rolled, concentration, dis_flow, instance_speed, motion

RNG = np.random.default_rng(0)


def scene(offset: int) -> torch.Tensor:
    """A textured square on a textured ground; the square stands ``offset`` pixels to the right of x = 24."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(1)
    ground, square = (gaussian_filter(rng.random((64, 96)), 1.0) for _ in range(2))
    ground, square = ((v - v.min()) / (v.max() - v.min()) for v in (ground, square))
    ground[20:44, 24 + offset : 48 + offset] = square[20:44, 24:48]
    return torch.from_numpy(np.stack([ground] * 3)).float()


def square_mask(offset: int) -> np.ndarray:
    mask = np.zeros((64, 96), dtype=bool)
    mask[20:44, 24 + offset : 48 + offset] = True
    return mask


def true_flow() -> Flow:
    velocity = np.zeros((2, 64, 96), dtype=np.float32)
    velocity[0, square_mask(4)] = 4.0
    return Flow(velocity, square_mask(0) & ~square_mask(4), "truth")


def test_dis_finds_the_square_its_velocity_and_what_it_uncovers():
    flow = dis_flow(scene(0), scene(4))
    inside, truth = square_mask(4), true_flow()
    assert np.median(flow.velocity[0][inside]) == pytest.approx(4, abs=0.3)
    assert np.abs(np.median(flow.velocity[1][inside])) < 0.3
    assert np.median(flow.speed[~square_mask(0) & ~inside]) < 0.2
    assert flow.uncovered[truth.uncovered].mean() > 0.5
    assert flow.uncovered[~truth.uncovered].mean() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (11, 13)])
def test_dis_takes_frames_too_small_for_its_patches(size: tuple[int, int]):
    flow = dis_flow(torch.rand(3, *size), torch.rand(3, *size))
    assert flow.velocity.shape == (2, *size)
    assert np.isfinite(flow.velocity).all()


def test_fluctuation_on_flow_and_uncovered_ground_is_found():
    flow = true_flow()
    weight = 0.1 + 2.0 * (flow.speed > 0) + 1.0 * flow.uncovered
    before = np.abs(RNG.normal(size=(6, 64, 96))) + 3
    after = before + RNG.choice([-1, 1], size=before.shape) * weight
    found = motion(FakeLayer(after), FakeLayer(before), scene(0), scene(4), flow)
    np.testing.assert_allclose(found.fluctuation, 6 * weight, rtol=1e-5)
    assert float(found.moving_ratio) == pytest.approx(21, rel=1e-4)
    assert float(found.uncovered_ratio) == pytest.approx(11, rel=1e-4)
    assert float(found.correlation) > 0.9
    assert float(found.partial) > 0.9
    assert float(found.p_value) < 0.05
    assert found.attrs["flow"] == "truth"


def test_fluctuation_elsewhere_is_not_taken_for_motion():
    before = np.abs(RNG.normal(size=(6, 64, 96)))
    after = before + RNG.normal(size=before.shape)
    found = motion(FakeLayer(after), FakeLayer(before), scene(0), scene(4), true_flow())
    assert float(found.moving_ratio) == pytest.approx(1, abs=0.1)
    assert float(found.uncovered_ratio) == pytest.approx(1, abs=0.2)
    assert abs(float(found.correlation)) < 0.05
    assert float(found.p_value) > 0.05


def test_still_clips_have_no_ratios():
    still = Flow(np.zeros((2, 8, 8), np.float32), np.zeros((8, 8), bool), "truth")
    numbers = concentration(RNG.random((8, 8)), still, RNG.random((8, 8)), RNG.random((8, 8)))
    assert np.isnan(list(numbers.values())).all()


def test_instance_speed_averages_the_flow_of_each_instance():
    labels = np.where(square_mask(4), 1, 0)
    labels[:4] = -1
    np.testing.assert_allclose(instance_speed(true_flow(), labels, 3), [0, 4, np.nan])


def test_rolled_correlations_are_those_of_rolled_speeds():
    a, b = RNG.random((12, 20)), RNG.random((12, 20))
    every = [np.corrcoef(a.ravel(), np.roll(b, (dy, dx), (0, 1)).ravel())[0, 1] for dy in range(12) for dx in range(20)]
    found = _rolled(a, b, 300, 0)
    gap = np.abs(found[:, None] - np.array(every)).min(axis=1)
    assert gap.max() < 1e-9
