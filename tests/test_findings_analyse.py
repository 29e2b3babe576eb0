from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

import xinc
from xinc.errors import FindingError, TraceError
from xinc.findings.analyse import analyse, default_frames
from xinc.findings.analyses import ANALYSES, Settings
from xinc.findings.results import Results, digest, fingerprint
from xinc.findings.section4.clusters import stack
from xinc.findings.section4.layouts import LAYOUTS, READS, drawn, of_layer, of_layers
from xinc.findings.section4.motion import Flow
from xinc.run import Run
from xinc.signals.clip import Clip
from xinc.signals.labels import OTHER, Segment, Segments

SIZE = (16, 32)
QUICK = Settings(clusters=4, restarts=2, shifts=2, shuffles=2, sample=6, count=3)
TABLE = (OTHER, Segment(1, "car", "thing", 0), Segment(2, "car", "thing", 1))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors here are tiny: threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clip(frames: int = 4, annotated: tuple[int, ...] = (1, 3)) -> Clip:
    pixels = torch.rand(frames, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    labels = {}
    for t in annotated:
        plane = np.zeros(SIZE, dtype=np.int32)
        plane[:8, 2 * t : 2 * t + 8], plane[10:, :6] = 1, 2 if t == 1 else 0
        labels[t] = plane
    segments = Segments(labels, TABLE) if annotated else None
    return Clip(pixels, tuple(map(str, range(frames))), segments=segments)


@pytest.fixture(scope="module")
def fitted() -> Run:
    return xinc.fit("nerv", clip(), epochs=1, fc_dim=6, strides=(2,))


@pytest.fixture(scope="module")
def still() -> Run:
    return xinc.fit("ffn", clip(1, ()), epochs=1, width=8)


def test_every_finding_of_a_video_is_there_with_its_axes(fitted: Run):
    seen: list[tuple[str, int, int]] = []
    tree = analyse(fitted, settings=QUICK, progress=lambda text, done, total: seen.append((text, done, total)))
    layers = ["block1", "head"]
    papers = {name: analysis for name, analysis in ANALYSES.items() if analysis.default}
    assert sorted({node.path.split("/")[1] for node in tree.leaves}) == sorted([*papers, "regions"])
    for name, analysis in papers.items():
        assert list(tree[name]["exact"].children) == layers
        found = tree[f"{name}/exact/head"].ds
        assert found.frame.values.tolist() == ([1] if analysis.once else [1, 3])
        assert found.attrs["question"] == analysis.finding.question
        assert [key for key, variable in found.data_vars.items() if "units" not in variable.attrs] == []
    assert tree["objects/exact/head"].ds.share.dims == ("frame", "neuron", "region")
    assert tree["grouping/exact/head"].ds.grouping.values.tolist() == [
        "instances",
        "rgb",
        "gabor",
        "grid",
        "grid_matched",
    ]
    assert tree["regions"].ds.labels.dims == ("frame", "grouping", "y", "x")
    assert seen[0][1:] == (0, 2)
    assert seen[-1][1:] == (2, 2)


def test_findings_without_data_are_left_out(still: Run):
    tree = analyse(still, settings=QUICK, methods=("paper", "official"))
    present = {node.path.split("/")[1] for node in tree.leaves}
    assert {"objects", "motion"}.isdisjoint(present)
    assert {"grouping", "intensity", "clusters"} <= present
    assert list(tree["intensity"].children) == ["official", "paper"]
    assert tree["grouping/paper/layer1"].ds.attrs["method"] == "paper"


def test_numbers_equal_those_of_the_finding_itself(fitted: Run):
    from xinc.findings.section4.intensity import intensity

    tree = analyse(fitted, frames=[2], layers=["block1"], findings=["intensity"], settings=QUICK)
    layer = xinc.trace(fitted.model, fitted.input(2), size=SIZE)["block1"]
    alone = intensity(layer, fitted.clip.frames[2])
    xr.testing.assert_allclose(tree["intensity/exact/block1"].ds.isel(frame=0, drop=True), alone)


def test_kept_results_are_read_back_and_not_made_again(fitted: Run, tmp_path: Path):
    run = replace(fitted, path=fitted.save(tmp_path / "run"))
    ask = {"frames": [1], "layers": ["head"], "findings": ["grouping", "motion"], "settings": QUICK}
    steps: list[int] = []
    first = analyse(run, **ask, progress=lambda *step: steps.append(step[2])).load()
    group = tmp_path / "run/results.zarr/grouping/exact/head/zarr.json"
    written = group.stat().st_mtime_ns
    again = analyse(run, **ask, progress=lambda *step: steps.append(step[2])).load()
    assert steps[-1] == 0
    assert group.stat().st_mtime_ns == written
    assert first.identical(again)
    assert first["grouping/exact/head"].ds.region.dtype.kind == "U"
    in_memory = analyse(fitted, **ask)
    xr.testing.assert_allclose(in_memory["motion/exact/head"].ds, again["motion/exact/head"].ds)

    analyse(run, **{**ask, "settings": replace(QUICK, seed=1)}, progress=lambda *step: steps.append(step[2]))
    assert steps[-1] == 1
    assert group.stat().st_mtime_ns != written
    assert json.loads(json.loads(group.read_text())["attributes"]["made_with"])["settings"]["seed"] == 1


def test_results_depend_on_weights_frames_segments_and_known_flow(fitted: Run):
    from xinc.findings.analyse import _Task

    def key(run: Run = fitted, frames: tuple[int, ...] = (1,), flows=None, name: str = "objects") -> str:
        return _Task(run, frames, QUICK, flows or {}).job(name, "exact", "head").key

    model = xinc.fit("nerv", clip(), epochs=1, fc_dim=6, strides=(2,), seed=1).model
    flow = Flow(np.zeros((2, *SIZE), np.float32), np.zeros(SIZE, bool), "truth")
    keys = [
        key(),
        key(frames=(1, 2)),
        key(replace(fitted, model=model)),
        key(replace(fitted, clip=clip(annotated=(1,)))),
        key(replace(fitted, clip=replace(fitted.clip, frames=fitted.clip.frames * 0.5))),
        key(flows={1: flow}),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    assert key(flows={1: flow}, name="clusters") == key(name="clusters")
    assert key(replace(fitted, clip=clip(annotated=())), name="clusters") == key(name="clusters")


FIELDS = [one.name for one in fields(Settings)]


@dataclass(frozen=True)
class WatchedSettings(Settings):
    """Settings that remember which of them were read."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in FIELDS:
            WatchedSettings.read.add(name)
        return super().__getattribute__(name)


@dataclass(frozen=True)
class WatchedClip(Clip):
    """A clip that remembers whether its segments were read."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        if name == "segments":
            WatchedClip.read.add(name)
        return super().__getattribute__(name)


class WatchedFlows(dict[int, Flow]):
    """Flows that remember whether they were asked for."""

    read: ClassVar[set[str]] = set()

    def get(self, *key: Any) -> Any:
        self.read.add("flows")
        return super().get(*key)


def watched(run: Run) -> tuple[Run, WatchedSettings]:
    """A run and settings that remember what was read of them."""
    same = {one.name: getattr(run.clip, one.name) for one in fields(Clip)}
    return replace(run, clip=WatchedClip(**same)), WatchedSettings(**asdict(QUICK))


def forgotten() -> list[set[str]]:
    """What was read so far, forgotten."""
    reads = [watch.read for watch in (WatchedSettings, WatchedClip, WatchedFlows)]
    for read in reads:
        read.clear()
    return reads


@pytest.mark.parametrize("name", ANALYSES)
def test_a_finding_reads_what_it_states_and_nothing_else(name: str, fitted: Run):
    """Its digest covers what it states: more would make it again for nothing, less would keep what is out of date."""
    from xinc.findings.analyse import _Task

    run, settings = watched(fitted)
    task = _Task(run, (1, 3), settings, WatchedFlows())
    job = task.job(name, "exact", "head")
    # Which frames are annotated decides which are analysed, and is in every digest by their numbers.
    task.layers, reads = task.layers, forgotten()
    for t in job.frames:
        assert len(list(task.at_frame([job], t))) == 1
    assert set().union(*reads) == set(ANALYSES[name].reads)
    assert set(job.described["settings"]) == set(ANALYSES[name].reads) & set(FIELDS)
    assert {"segments", "flows"} & set(job.described) == {"segments", "flows"} & set(ANALYSES[name].reads)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_reads_what_it_states_and_nothing_else(name: str, fitted: Run):
    _, settings = watched(fitted)
    tree = analyse(fitted, frames=[1], findings=["clusters"], settings=QUICK)
    vectors = {n: tree[f"clusters/exact/{n}"].ds.isel(frame=0) for n in ("block1", "head")}
    layout = of_layers(vectors) if name == "embedding_layers" else of_layer(vectors["head"], list(vectors))
    reads = forgotten()
    drawn(stack(layout.members), settings.embedded, settings.seed)
    layout.described(settings)
    assert set().union(*reads) == set(READS)


def test_a_setting_remakes_what_reads_it_and_leaves_the_rest(fitted: Run, tmp_path: Path):
    run = replace(fitted, path=fitted.save(tmp_path / "run"))
    ask = {"frames": [1], "layers": ["head"], "findings": ["clusters", "pixels_per_neuron"]}
    group = tmp_path / "run/results.zarr"

    def made() -> dict[str, int]:
        names = ("clusters/exact/head", "pixels_per_neuron/exact/head", "regions")
        return {name: (group / name / "zarr.json").stat().st_mtime_ns for name in names}

    analyse(run, **ask, settings=QUICK)
    before = made()
    tree = analyse(run, **ask, settings=replace(QUICK, points=7))
    assert [name for name, time in made().items() if time != before[name]] == ["pixels_per_neuron/exact/head"]
    assert tree["pixels_per_neuron/exact/head"].ds.sizes["position"] == 7
    assert "points" not in json.loads(tree["clusters/exact/head"].ds.attrs["made_with"])["settings"]
    before = made()
    analyse(run, **ask, settings=replace(QUICK, points=7, clusters=3))
    assert {name for name, time in made().items() if time != before[name]} == {"clusters/exact/head", "regions"}


def test_an_unfinished_group_is_made_again(tmp_path: Path):
    results = Results(tmp_path / "results.zarr")
    data = xr.Dataset({"a": ("x", [1.0])}, coords={"x": ["é"]}, attrs={"digest": "k"})
    results.put("one", data)
    assert results.holds("one", "k")
    document = tmp_path / "results.zarr/one/zarr.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), "attributes": {}}))
    assert not results.holds("one", "k")
    document.write_text("{")
    with pytest.warns(UserWarning, match="one is damaged"):
        assert not results.holds("one", "k")


def test_digests_tell_values_apart_and_ignore_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
    assert fingerprint([torch.zeros(2, 3)]) != fingerprint([torch.zeros(3, 2)])
    assert fingerprint([torch.zeros(2)]) != fingerprint([torch.zeros(2, dtype=torch.int32)])


def test_wrong_names_and_frames_are_said(fitted: Run):
    with pytest.raises(FindingError, match="no finding 'beauty'; the findings are gallery, grouping"):
        analyse(fitted, findings=["beauty"])
    with pytest.raises(FindingError, match=r"frames \[9\] cannot be analysed: the clip has frames 0 to 3"):
        analyse(fitted, frames=[0, 9])
    with pytest.raises(TraceError, match="block1, head"):
        analyse(fitted, layers=["block7"], findings=["intensity"])


def test_default_frames_prefer_annotated_ones():
    assert default_frames(clip()) == (1, 3)
    assert default_frames(clip(30, tuple(range(0, 30, 2))), count=3) == (0, 14, 28)
    assert default_frames(clip(9, ())) == (3, 6)
    assert default_frames(clip(1, ())) == (0,)
    assert default_frames(clip(2, ())) == (0, 1)
    assert default_frames(clip(9, (0,))) == (0, 3, 6)


def test_settings_are_changed_by_name():
    changed = Settings().change({"rule": "random", "count": 12, "areas": 0.2})
    assert changed == replace(Settings(), rule="random", count=12, areas=(0.2,))
    assert Settings().change({}) == Settings()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rul": "random"}, "an analysis has no option 'rul'; did you mean rule. it has clusters, restarts"),
        ({"rule": "best"}, "the option rule cannot be 'best'; give one of strongest, typical, different, random"),
        ({"clusters": "many"}, "the option clusters cannot be 'many'; give a whole number"),
        ({"clusters": 2.5}, "the option clusters cannot be 2.5; give a whole number"),
        ({"clusters": 0}, "the option clusters cannot be 0; give a whole number from 1"),
        ({"areas": (0.1, "x")}, "the option areas cannot be .*; give numbers above 0 and below 1"),
        ({"areas": (0.1, 1.5)}, "above 0 and below 1, separated by commas"),
        ({"rule": 3}, "the option rule cannot be 3; give one of"),
    ],
)
def test_wrong_settings_are_said(options: dict[str, object], words: str):
    with pytest.raises(FindingError, match=words):
        Settings().change(options)


def test_the_rule_decides_what_a_gallery_shows(still: Run):
    layer = xinc.trace(still.model, still.input(0), size=SIZE)["layer2"]
    for rule in ("strongest", "random"):
        settings = QUICK.change({"rule": rule, "count": 2})
        found = analyse(still, findings=["gallery"], layers=["layer2"], settings=settings)["gallery/exact/layer2"].ds
        totals = layer.totals().numpy()
        assert found.attrs["rule"] == rule
        assert found["neuron"].size == 2
        if rule == "strongest":
            assert found["neuron"].values.tolist() == np.argsort(-totals, kind="stable")[:2].tolist()


def test_an_embedding_is_made_when_named(still: Run):
    tree = analyse(still, findings=["embedding"], layers=["layer2"], settings=replace(QUICK, embedded=6))
    found = tree["embedding/exact/layer2"].ds
    assert found.position.shape == (1, 6, 2)
    assert found.attrs["neighbours"] == 5
    assert found["index"].values.tolist() == sorted(found["index"].values.tolist())
    assert "mixing" not in found


def test_layers_are_laid_out_together_from_kept_vectors(fitted: Run, tmp_path: Path, monkeypatch):
    run = replace(fitted, path=fitted.save(tmp_path / "run"))
    ask = {"frames": [1, 3], "settings": replace(QUICK, embedded=60)}
    kept = analyse(run, **ask, findings=["clusters"])
    monkeypatch.setattr("xinc.findings.analyse._Task.at_frame", None)  # no map is computed again
    tree = analyse(run, **ask, findings=["embedding_layers"])
    found = tree["embedding_layers/exact"].ds
    assert found.position.dims == ("frame", "neuron", "dimension")
    assert found.frame.values.tolist() == [1]
    counts = {name: int((found.layer == name).sum()) for name in ("block1", "head")}
    alive = {n: int(np.isfinite(kept[f"clusters/exact/{n}"].ds.vector[0]).any("region").sum()) for n in counts}
    assert sum(alive.values()) > 60
    assert counts == {name: min(30, count) for name, count in alive.items()}
    assert 0 <= found.mixing.item() < 1.2
    assert 0 < found.mixing_p.item() <= 1
    assert found.attrs["question"].startswith("Do the layers of a network have kinds")
    assert [key for key, variable in found.data_vars.items() if "units" not in variable.attrs] == []

    monkeypatch.setattr("xinc.findings.section4.layouts.Layout.make", None)  # nor is UMAP
    analyse(run, **ask, findings=["embedding_layers"])
    changed = {**ask, "settings": replace(ask["settings"], embedded=50)}
    with pytest.raises(TypeError, match="NoneType"):
        analyse(run, **changed, findings=["embedding_layers"])


def test_one_layer_is_not_laid_out_with_others(still: Run):
    with pytest.raises(FindingError, match="give at least two"):
        analyse(still, findings=["embedding_layers"], layers=["layer2"], settings=QUICK)
