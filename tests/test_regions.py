from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from xinc.errors import FindingError
from xinc.findings.section4.regions import (
    Clustering,
    Regions,
    gabor,
    gabor_features,
    gabor_kernels,
    grid,
    grid_like,
    instances,
    kmeans,
    rgb,
    segment_names,
    shifted,
    shuffled,
)
from xinc.signals.labels import OTHER, Segment, Segments


def quadrants() -> torch.Tensor:
    """Four flat colours in the corners of an 8x12 frame."""
    frame = torch.zeros(3, 8, 12)
    frame[0, :4, :6] = 0.9
    frame[1, :4, 6:] = 0.8
    frame[2, 4:, :6] = 0.7
    return frame


def test_rgb_finds_the_flat_colours_and_asks_for_no_more_clusters_than_there_are():
    regions = rgb(quadrants(), Clustering(clusters=32))
    assert regions.count == 32
    corners = regions.labels[[0, 0, 7, 7], [0, 11, 0, 11]]
    assert sorted(corners) == [0, 1, 2, 3]
    assert (regions.labels[:4, :6] == corners[0]).all()
    assert regions.areas.tolist() == [24] * 4 + [0] * 28


def test_kmeans_of_a_constant_frame_is_one_region():
    assert (kmeans(np.full((5, 7, 3), 0.5)) == 0).all()


def test_kmeans_is_reproducible_and_orders_clusters_by_size():
    features = np.random.default_rng(0).random((20, 30, 3))
    labels = kmeans(features, Clustering(clusters=6, seed=3))
    assert (labels == kmeans(features, Clustering(clusters=6, seed=3))).all()
    sizes = np.bincount(labels.ravel())
    assert len(sizes) == 6
    assert (np.diff(sizes) <= 0).all()


def test_restarts_on_a_subsample_reach_the_inertia_of_restarts_on_all_pixels(shared: Path):
    from PIL import Image
    from sklearn.cluster import KMeans

    picture = Image.open(sorted((shared / "data/vipseg_1001/frames").iterdir())[0]).resize((192, 96))
    pixels = np.asarray(picture, dtype=np.float32) / 255
    labels = kmeans(pixels, Clustering(clusters=8))
    flat = pixels.reshape(-1, 3)
    ours = sum(((flat[labels.ravel() == g] - flat[labels.ravel() == g].mean(0)) ** 2).sum() for g in range(8))
    assert ours <= 1.01 * KMeans(8, n_init=10, random_state=0).fit(flat).inertia_


def test_the_bank_has_four_orientations_three_frequencies_and_two_sigmas():
    kernels = gabor_kernels()
    assert len(kernels) == 24
    # an even kernel: correlation and convolution are the same
    assert all(np.allclose(k, k[::-1, ::-1]) for k in kernels)
    # theta 0 varies along x only faster than along y; theta pi/2 is its transpose
    assert all(np.allclose(a, b.T) for a, b in zip(kernels[:6], kernels[12:18], strict=True))


def test_gabor_responses_tell_stripes_of_two_orientations_apart():
    y, x = np.mgrid[:32, :64]
    stripes = np.where(x < 32, x % 4 < 2, y % 4 < 2).astype(np.float32)
    frame = torch.from_numpy(np.stack([stripes] * 3))
    features = gabor_features(frame)
    assert features.shape == (32, 64, 24)
    upright, level = features[4:-4, 6:26].var((0, 1)), features[4:-4, 38:58].var((0, 1))
    # kernels 1 (theta 0, f .25) and 13 (theta pi/2, f .25): each moves with its own stripes only
    assert upright[1] > 10 * level[1]
    assert level[13] > 10 * upright[13]
    labels = gabor(frame, Clustering(clusters=8)).labels
    assert not set(np.unique(labels[4:-4, 6:26])) & set(np.unique(labels[4:-4, 38:58]))


def test_official_bank_is_one_orientation_in_wrapping_bytes():
    frame = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0))
    official = gabor_features(frame, "official")
    assert official.shape == (16, 24, 6)
    assert (official == np.rint(official)).all()
    assert official.min() >= 0
    assert official.max() <= 255
    # the border wraps: rolling the frame rolls the responses
    assert (gabor_features(torch.roll(frame, 5, dims=2), "official") == np.roll(official, 5, axis=1)).all()
    paper = gabor_features(frame)
    assert not np.allclose(gabor_features(torch.roll(frame, 5, dims=2)), np.roll(paper, 5, axis=1))


def test_gabor_responses_are_convolutions_with_a_reflecting_border():
    from scipy.ndimage import convolve

    frame = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(1))
    grey = np.einsum("c,chw->hw", [0.299, 0.587, 0.114], frame.numpy().astype(np.float64))
    expected = np.stack([convolve(grey, k, mode="reflect") for k in gabor_kernels()], axis=-1)
    assert np.abs(gabor_features(frame) - expected).max() < 1e-5 * np.abs(expected).max()


def test_grid_cells_are_equal_and_in_row_order():
    regions = grid((8, 12), 2, 3)
    assert regions.count == 6
    assert (regions.areas == 16).all()
    assert (regions.labels[0, [0, 4, 8]] == [0, 1, 2]).all()
    assert regions.labels[-1, -1] == 5


def test_grid_that_does_not_fit_is_refused():
    with pytest.raises(FindingError, match="9x1"):
        grid((8, 12), 9, 1)


@pytest.mark.parametrize(("wanted", "cells"), [(32, (4, 8)), (24, None), (20, None), (7, None), (1, (1, 1))])
def test_grid_like_has_nearly_as_many_cells_as_regions(wanted: int, cells: tuple[int, int] | None):
    regions = grid_like((128, 256), wanted)
    assert abs(regions.count - wanted) <= max(1, 0.1 * wanted)
    if cells:
        assert (regions.settings["rows"], regions.settings["columns"]) == cells


def test_instances_keep_their_place_in_every_frame():
    car, sky = Segment(26003, "car", "thing", 3), Segment(23, "sky", "stuff")
    first, second = np.zeros((2, 4, 6), dtype=np.int32)
    first[:2], first[2:, :3], second[:2] = 23, 26003, 23
    segments = Segments({0: first, 5: second}, (OTHER, sky, car))
    here, there = instances(segments, 0), instances(segments, 5)
    assert here.names == there.names == ("other", "sky", "car 3")
    assert here.areas.tolist() == [6, 12, 6]
    assert there.areas.tolist() == [12, 12, 0]
    assert (here.labels[:2] == 1).all()
    with pytest.raises(FindingError, match="frame 3 has no segments; the annotated frames are 0, 5"):
        instances(segments, 3)


def test_segment_names_are_unique():
    table = (OTHER, Segment(1, "car", "thing", 1), Segment(7, "car", "thing", 1), Segment(8, "car", "thing", 2))
    assert segment_names(Segments({}, table)) == ("other", "car 1 (id 1)", "car 1 (id 7)", "car 2")


@pytest.mark.parametrize("displace", [shifted, shuffled])
def test_displaced_regions_keep_their_sizes_but_not_their_places(displace):
    regions = grid((16, 32), 2, 4)
    moved = displace(regions, 1)
    assert (moved.areas == regions.areas).all()
    assert (moved.labels != regions.labels).mean() > 0.3
    assert (moved.labels == displace(regions, 1).labels).all()
    assert (moved.labels != displace(regions, 2).labels).any()


def test_shifted_regions_of_a_single_pixel_stay():
    assert shifted(Regions("one", np.zeros((1, 1), dtype=np.int64), ("0",)), 0).labels.shape == (1, 1)
