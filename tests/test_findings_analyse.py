from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import xinc
from xinc.errors import FindingError, RunError, TraceError
from xinc.findings.analyse import analyse, default_frames
from xinc.findings.analyses import ANALYSES, Settings
from xinc.findings.motion import Flow
from xinc.findings.results import Results, digest, fingerprint
from xinc.run import Run
from xinc.signals.clip import OTHER, Clip, Segment, Segments

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
        assert list(tree[name]["paper"].children) == layers
        found = tree[f"{name}/paper/head"].ds
        assert found.frame.values.tolist() == ([1] if analysis.once else [1, 3])
        assert found.attrs["question"] == analysis.finding.question
        assert [key for key, variable in found.data_vars.items() if "units" not in variable.attrs] == []
    assert tree["objects/paper/head"].ds.share.dims == ("frame", "neuron", "region")
    assert tree["grouping/paper/head"].ds.grouping.values.tolist() == [
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
    from xinc.findings.intensity import intensity

    tree = analyse(fitted, frames=[2], layers=["block1"], findings=["intensity"], settings=QUICK)
    layer = xinc.trace(fitted.model, fitted.input(2), size=SIZE)["block1"]
    alone = intensity(layer, fitted.clip.frames[2])
    xr.testing.assert_allclose(tree["intensity/paper/block1"].ds.isel(frame=0, drop=True), alone)


def test_kept_results_are_read_back_and_not_made_again(fitted: Run, tmp_path: Path):
    run = replace(fitted, path=fitted.save(tmp_path / "run"))
    ask = {"frames": [1], "layers": ["head"], "findings": ["grouping", "motion"], "settings": QUICK}
    steps: list[int] = []
    first = analyse(run, **ask, progress=lambda *step: steps.append(step[2])).load()
    group = tmp_path / "run/results.zarr/grouping/paper/head/zarr.json"
    written = group.stat().st_mtime_ns
    again = analyse(run, **ask, progress=lambda *step: steps.append(step[2])).load()
    assert steps[-1] == 0
    assert group.stat().st_mtime_ns == written
    assert first.identical(again)
    assert first["grouping/paper/head"].ds.region.dtype.kind == "U"
    in_memory = analyse(fitted, **ask)
    xr.testing.assert_allclose(in_memory["motion/paper/head"].ds, again["motion/paper/head"].ds)

    analyse(run, **{**ask, "settings": replace(QUICK, seed=1)}, progress=lambda *step: steps.append(step[2]))
    assert steps[-1] == 1
    assert group.stat().st_mtime_ns != written
    assert json.loads(json.loads(group.read_text())["attributes"]["made_with"])["settings"]["seed"] == 1


def test_results_depend_on_weights_frames_segments_and_known_flow(fitted: Run):
    from xinc.findings.analyse import _Task

    def key(run: Run = fitted, frames: tuple[int, ...] = (1,), flows=None) -> str:
        return _Task(run, frames, QUICK, flows or {}).job("motion", "paper", "head").key

    model = xinc.fit("nerv", clip(), epochs=1, fc_dim=6, strides=(2,), seed=1).model
    flow = Flow(np.zeros((2, *SIZE), np.float32), np.zeros(SIZE, bool), "truth")
    keys = [
        key(),
        key(frames=(1, 2)),
        key(replace(fitted, model=model)),
        key(replace(fitted, clip=clip(annotated=()))),
        key(replace(fitted, clip=replace(fitted.clip, frames=fitted.clip.frames * 0.5))),
        key(flows={1: flow}),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_an_unfinished_group_is_made_again(tmp_path: Path):
    results = Results(tmp_path / "results.zarr")
    data = xr.Dataset({"a": ("x", [1.0])}, coords={"x": ["é"]}, attrs={"digest": "k"})
    results.put("one", data)
    assert results.holds("one", "k")
    document = tmp_path / "results.zarr/one/zarr.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), "attributes": {}}))
    assert not results.holds("one", "k")
    document.write_text("{")
    with pytest.raises(RunError, match="damaged"):
        results.holds("one", "k")


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
        ({"rul": "random"}, "no setting 'rul' of the findings; the settings are clusters, restarts, seed"),
        ({"rule": "best"}, "no rule 'best' to choose neurons; the rules are strongest, typical, different, random"),
        ({"clusters": "many"}, "the setting clusters is 'many'; give a whole number"),
        ({"clusters": 2.5}, "the setting clusters is 2.5; give a whole number"),
        ({"clusters": 0}, "the setting clusters is 0; give at least 1"),
        ({"areas": (0.1, "x")}, "the setting areas is .*; give numbers such as"),
        ({"areas": (0.1, 1.5)}, "give shares between 0 and 1"),
        ({"rule": 3}, "the setting rule is 3; give a word"),
    ],
)
def test_wrong_settings_are_said(options: dict[str, object], words: str):
    with pytest.raises(FindingError, match=words):
        Settings().change(options)


def test_the_rule_decides_what_a_gallery_shows(still: Run):
    layer = xinc.trace(still.model, still.input(0), size=SIZE)["layer2"]
    for rule in ("strongest", "random"):
        settings = QUICK.change({"rule": rule, "count": 2})
        found = analyse(still, findings=["gallery"], layers=["layer2"], settings=settings)["gallery/paper/layer2"].ds
        totals = layer.totals().numpy()
        assert found.attrs["rule"] == rule
        assert found["neuron"].size == 2
        if rule == "strongest":
            assert found["neuron"].values.tolist() == np.argsort(-totals, kind="stable")[:2].tolist()


def test_an_embedding_is_made_when_named(still: Run):
    tree = analyse(still, findings=["embedding"], layers=["layer2"], settings=replace(QUICK, embedded=6))
    found = tree["embedding/paper/layer2"].ds
    assert found.position.shape == (1, 6, 2)
    assert found.attrs["neighbours"] == 5
    assert found["index"].values.tolist() == sorted(found["index"].values.tolist())
