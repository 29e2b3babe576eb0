"""Neurons of several networks in one picture (Fig. 10): which networks share one, and whose maps are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny_runs import ANALYSING, clip
from xinc.errors import PlaceError
from xinc.findings.analyse import analyse
from xinc.findings.results import FOLDER, Results
from xinc.run import Run, fit
from xinc.show import figures
from xinc.show.panels.data import comparable, embedded, over_layers, pairs
from xinc.show.panels.findings import PANELS
from xinc.show.subjects import Subject, subjects


def subject(title: str, seed: int, frames: slice = slice(0, 3)) -> Subject:
    run = fit("nerv", clip()[frames], epochs=2, seed=seed, fc_dim=6, levels=4, strides=(4, 2))
    settings = replace(ANALYSING.settings, embedded=8)
    tree = analyse(run, frames=[1], layers=["head"], findings=["clusters", "embedding"], settings=settings)
    return Subject(title, run, tree, "exact")


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
    groups = comparable(seeds)
    assert [(name, [s.title for s in together]) for name, together in groups] == [
        ("head", ["first", "second"]),
        ("head", ["other frame"]),
    ]
    bare = [replace(s, tree=s.tree.filter(lambda node: False)) for s in seeds]
    assert comparable(bare) == []


def test_a_shared_picture_has_the_neurons_of_all_and_the_maps_of_their_owners(seeds: list[Subject]) -> None:
    panels, _ = embedded(seeds[:2], "embedding")
    ((title, layers),) = panels.items()
    data = layers["head"]
    assert title == "2 networks,"
    assert data["position"].dims == ("neuron", "dimension")
    vectors = [s.panels("clusters")["head"]["vector"].values for s in seeds[:2]]
    alive = [int(np.isfinite(v).any(axis=1).sum()) for v in vectors]
    assert [int((data["member"] == name).sum()) for name in ("first", "second")] == alive
    for i, shown in zip(data["pick"].values, data["map"].values, strict=True):
        owner = next(s for s in seeds if s.title == str(data["member"].values[i]))
        layer = owner.canvas(1)["head"]  # the frame of the vectors
        np.testing.assert_array_equal(shown, layer.maps([int(data["index"].values[i])])[0].numpy())
    (kind,) = [kind for kind in PANELS if kind.finding == "embedding"]
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


@pytest.fixture
def kept(tmp_path: Path) -> list[Run]:
    """Two seeds with the vectors of two layers in their results."""
    made = []
    for seed in (0, 1):
        run = fit("nerv", clip(), epochs=1, seed=seed, fc_dim=6, levels=4, strides=(4, 2), out=tmp_path / str(seed))
        analyse(run, frames=[1], layers=["block2", "head"], findings=["clusters"], settings=ANALYSING.settings)
        made.append(run)
    return made


def test_positions_of_several_networks_are_kept_with_the_first(kept: list[Run], monkeypatch) -> None:
    first, _ = embedded(subjects(kept), "embedding")
    group = Results(kept[0].path / FOLDER).get("embedding_networks/exact/head")
    assert group is not None
    assert group["position"].dims == ("frame", "neuron", "dimension")
    assert group["frame"].values.tolist() == [1]
    assert dict.fromkeys(group["member"].values.tolist()) == dict.fromkeys(s.title for s in subjects(kept))
    assert Results(kept[1].path / FOLDER).get("embedding_networks/exact/head") is None

    monkeypatch.setattr("xinc.findings.section4.layouts.Layout.make", None)
    again, _ = embedded(subjects(kept), "embedding")
    ((one,), (two,)) = ((own["head"] for own in panels.values()) for panels in (first, again))
    np.testing.assert_array_equal(one["position"].values, two["position"].values)
    assert float(one["mixing"]) == float(two["mixing"])


def test_other_vectors_are_laid_out_anew(kept: list[Run]) -> None:
    before = embedded(subjects(kept), "embedding")[0]["2 networks,"]["head"]
    for run in kept:
        analyse(
            run, frames=[1], layers=["head"], findings=["clusters"], settings=replace(ANALYSING.settings, clusters=6)
        )
    after = embedded(subjects(kept), "embedding")[0]["2 networks,"]["head"]
    assert before.attrs["digest"] != after.attrs["digest"]


def test_layers_are_shown_together(kept: list[Run], monkeypatch) -> None:
    panels, _ = over_layers(subjects(kept[:1]), "embedding_layers")
    data = panels["NeRV"]["all layers"]
    assert dict.fromkeys(data["layer"].values.tolist()) == {"block2": None, "head": None}
    (kind,) = [kind for kind in PANELS if kind.finding == "embedding_layers"]
    monkeypatch.setattr("xinc.findings.section4.layouts.Layout.make", None)
    exhibit = kind.exhibit(subjects(kept[:1]))
    assert exhibit is not None
    assert exhibit.says[0].startswith("In the NeRV, layers ")
    assert exhibit.tables[0].rows[0][:3] == ["NeRV", "all layers", str(data.sizes["neuron"])]


def test_a_report_that_lays_nothing_out_shows_what_is_there(kept: list[Run]) -> None:
    found = subjects(kept, embed=False)
    assert embedded(found, "embedding")[0] == {}
    assert over_layers(found, "embedding_layers")[0] == {}
    over_layers(subjects(kept[:1]), "embedding_layers")
    assert list(over_layers(subjects(kept, embed=False), "embedding_layers")[0]) == [found[0].title]


def test_a_run_that_may_only_be_read_is_shown_all_the_same(kept: list[Run], monkeypatch) -> None:
    def refused(*_: object) -> None:
        raise PlaceError("results.zarr may only be read")

    monkeypatch.setattr(Results, "put", refused)
    assert over_layers(subjects(kept[:1]), "embedding_layers")[0]


def thin_out(run: Run, **counts: int) -> None:
    """Leave a vector to the first neurons of each layer only, as where other maps are constant."""
    results = Results((run.path or Path()) / FOLDER)
    for name, count in counts.items():
        data = results.get(f"clusters/exact/{name}")
        assert data is not None
        few = data.load().where(data["neuron"] < count)
        results.put(f"clusters/exact/{name}", few.assign(area=data["area"]))


def test_too_few_neurons_are_said_and_left_out(kept: list[Run]) -> None:
    thin_out(kept[0], block2=1, head=1)
    with pytest.warns(
        UserWarning, match="NeRV has no picture of neurons that are alike: an embedding needs at least 4"
    ):
        assert over_layers(subjects(kept[:1]), "embedding_layers")[0] == {}


def test_a_layer_alone_does_not_mix(kept: list[Run]) -> None:
    thin_out(kept[0], block2=0)
    assert over_layers(subjects(kept[:1]), "embedding_layers")[0] == {}
