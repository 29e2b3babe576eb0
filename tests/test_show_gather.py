"""Neurons of several networks in one picture (Fig. 10): which networks share one, and whose maps are shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiny_runs import ANALYSING, clip
from xinc.findings.analyse import analyse
from xinc.run import fit
from xinc.show import figures
from xinc.show.exhibits import KINDS
from xinc.show.gather import comparable, embedded, pairs
from xinc.show.subjects import Subject


def subject(title: str, seed: int, frames: slice = slice(0, 3)) -> Subject:
    run = fit("nerv", clip()[frames], epochs=2, seed=seed, fc_dim=6, levels=4, strides=(4, 2))
    settings = replace(ANALYSING.settings, embedded=8)
    tree = analyse(run, frames=[1], layers=["head"], findings=["clusters", "embedding"], settings=settings)
    return Subject(title, run, tree, "paper")


@pytest.fixture(scope="module")
def seeds() -> list[Subject]:
    return [subject("first", 0), subject("second", 1), subject("other frame", 0, slice(1, 3))]


def test_each_point_far_from_the_others_brings_its_neighbour() -> None:
    positions = np.array([[0, 0], [9, 0], [0.1, 0], [9, 0.2], [0, 9], [0, 8.5], [3.1, 2.9]])
    chosen = pairs(positions, 3)
    assert len(chosen) == len(set(chosen)) == 6
    assert all({a, b} in ({1, 3}, {4, 5}, {6, 0}, {6, 2}) for a, b in zip(chosen[::2], chosen[1::2], strict=True))
    assert sorted(pairs(positions[:3], 4)) == [0, 1, 2]


def test_networks_of_one_frame_share_a_picture(seeds: list[Subject]) -> None:
    groups = comparable(seeds, "embedding")
    assert [(name, [s.title for s in together]) for name, together in groups] == [
        ("head", ["first", "second"]),
        ("head", ["other frame"]),
    ]
    assert comparable(seeds, "motion") == []


def test_a_shared_picture_has_the_neurons_of_all_and_the_maps_of_their_owners(seeds: list[Subject]) -> None:
    panels, _ = embedded(seeds[:2], "embedding")
    ((title, layers),) = panels.items()
    data = layers["head"]
    assert title == "2 networks,"
    vectors = [s.panels("clusters")["head"]["vector"].values for s in seeds[:2]]
    alive = [int(np.isfinite(v).any(axis=1).sum()) for v in vectors]
    assert [int((data["member"] == name).sum()) for name in ("first", "second")] == alive
    for i, shown in zip(data["pick"].values, data["map"].values, strict=True):
        owner = next(s for s in seeds if s.title == str(data["member"].values[i]))
        layer = owner.canvas(owner.frame)["head"]
        np.testing.assert_array_equal(shown, layer.maps([int(data["index"].values[i])])[0].numpy())
    (kind,) = [kind for kind in KINDS if kind.finding == "embedding"]
    exhibit = kind.exhibit(seeds)
    assert exhibit is not None
    assert len(exhibit.drawings) == 2
    assert "as mixed as neurons dealt at random (2 networks head)" in exhibit.says[0]


def test_a_network_alone_is_shown_as_it_was_laid_out(seeds: list[Subject]) -> None:
    panels, _ = embedded(seeds[2:], "embedding")
    data = panels["other frame"]["head"]
    kept = seeds[2].panels("embedding")["head"]
    np.testing.assert_array_equal(data["position"].values, kept["position"].values)
    assert figures.umap(data, {}).axes
