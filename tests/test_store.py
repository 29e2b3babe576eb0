"""One cache of reductions: what one command has made of a layer's maps, no other makes again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from tiny_runs import runs
from xinc.canvas.reductions.passes import Reducer
from xinc.canvas.reductions.store import Store
from xinc.findings.analyse import analyse
from xinc.findings.analyses import Settings
from xinc.findings.fidelity.compare import Verification, verify
from xinc.findings.section4 import regions
from xinc.run import Run, load
from xinc.workflow.tracing import Tracing, trace_run

BASELINE = "grouping_baseline/paper/head"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the passes over maps that were made."""
    made: list[str] = []
    fold = Reducer._fold

    def counted(self: Reducer, wanted: Any, name: str, progress: Any) -> Any:
        made.append(name)
        return fold(self, wanted, name, progress)

    monkeypatch.setattr(Reducer, "_fold", counted)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (source,) = (one.path for one in runs() if one.family == "nerv")
    assert source is not None
    shutil.copytree(source, tmp_path / "run", ignore=shutil.ignore_patterns("results.zarr", "reductions"))
    return load(tmp_path / "run")


def test_what_trace_has_made_analyse_does_not_make_again(run: Run, passes: list[str]) -> None:
    trace_run(run, Tracing(method="exact", frames=(1,)))
    assert passes
    passes.clear()
    assert run.path is not None
    again = load(run.path)
    findings = ("intensity", "pixels_per_neuron", "neurons_per_pixel")
    tree = analyse(again, methods=("exact",), frames=(1,), findings=findings)
    assert passes == []
    heat = tree["/intensity/exact/head"]["heatmap"].values[0]
    np.testing.assert_array_equal(heat, again.canvas(1, "exact")["head"].heatmap().numpy())


def test_what_analyse_has_made_verify_and_the_report_do_not(run: Run, passes: list[str]) -> None:
    analyse(run, methods=("paper", "exact"), frames=(1,), findings=("intensity", "grouping"))
    passes.clear()
    canvas = run.canvas(1, "paper")
    for name in canvas.layers:
        canvas[name].reduce(heatmap=True, totals=True)
    assert passes == []
    verify(run, Verification(methods=("paper", "exact"), layers=("head",), frames=(1,), neurons=2))
    assert passes == []


def test_clusters_of_a_frame_are_made_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(features: np.ndarray, clustering: regions.Clustering) -> np.ndarray:
        calls.append(clustering.clusters)
        return kmeans(features, clustering)

    kmeans = regions.kmeans
    monkeypatch.setattr(regions, "kmeans", counted)
    quick = Settings(clusters=3, restarts=1, shifts=1, shuffles=1, sample=2)
    how: dict[str, Any] = {"methods": ("paper",), "layers": ("head",), "frames": (0, 1), "settings": quick}
    first = analyse(run, findings=("grouping", "grouping_baseline"), **how)[BASELINE].to_dataset().load()
    assert calls == [3] * 4  # colours and textures of two frames
    calls.clear()
    assert run.path is not None
    shutil.rmtree(run.path / "results.zarr" / "grouping_baseline")
    again = analyse(load(run.path), findings=("grouping_baseline", "clusters"), **how)
    assert calls == []
    xr.testing.assert_equal(first, again[BASELINE].to_dataset().load())
    analyse(run, findings=("grouping",), **{**how, "settings": replace(quick, seed=1)})
    assert calls == [3] * 4


def test_another_network_method_or_frame_has_its_own(run: Run, passes: list[str]) -> None:
    first = run.canvas(1, "paper")["head"].totals()
    passes.clear()
    torch.testing.assert_close(run.canvas(1, "paper")["head"].totals(), first)
    assert passes == []
    for frame, method in ((0, "paper"), (1, "exact")):
        run.canvas(frame, method)["head"].totals()
        assert passes.pop()
    with torch.no_grad():
        next(iter(run.model.parameters())).mul_(1.1)
    assert not torch.equal(run.canvas(1, "paper")["head"].totals(), first)
    assert passes


def test_a_damaged_file_counts_for_nothing(run: Run, passes: list[str]) -> None:
    wanted = run.canvas(1, "paper")["head"].totals()
    assert run.path is not None
    (file,) = run.path.glob("reductions/paper/head-1.safetensors")
    for damage in (b"", b"{}", file.read_bytes()[:40], file.read_bytes()[:-9]):
        file.write_bytes(damage)
        passes.clear()
        torch.testing.assert_close(run.canvas(1, "paper")["head"].totals(), wanted)
        assert passes


def test_kinds_of_values_come_back_as_they_were(tmp_path: Path) -> None:
    values = {
        ("a", None, True): torch.arange(6.0).reshape(2, 3),
        ("b", 0.1, True): 0.25,
        ("c", None, 3): (torch.ones(2, dtype=torch.int32), torch.zeros(2)),
        ("d", None, True): np.arange(4),
    }
    labels = np.arange(6).reshape(2, 3)
    Store(tmp_path / "x", "k").put([*values.items(), (("e", "rgb", labels), torch.ones(3))])
    store = Store(tmp_path / "x", "k")
    for item, value in values.items():
        read = store.get(item)
        assert type(read) is type(value)
        np.testing.assert_equal(
            np.asarray(read[0] if isinstance(read, tuple) else read),
            np.asarray(value[0] if isinstance(value, tuple) else value),
        )
    assert store.get(("e", "rgb", labels)) is not None
    assert store.get(("e", "rgb", labels + 1)) is None
    assert store.get(("f", None, object())) is None
    assert Store(tmp_path / "x", "other").get(("b", 0.1, True)) is None
