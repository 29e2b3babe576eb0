"""The replication study's script, on networks and signals so small that it takes seconds."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import xinc
from tiny_runs import clip
from xinc.findings.analyses import Settings

TINY: dict[str, dict[str, Any]] = {
    "ffn": {"epochs": 1, "width": 6, "frequencies": 4},
    "nerv": {"epochs": 1, "fc_dim": 4, "levels": 4, "strides": (2,)},
}


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with one tiny signal and few of its layers."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "replication.py"
    spec = importlib.util.spec_from_file_location("study", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "study", module)
    spec.loader.exec_module(module)
    small = clip()
    monkeypatch.setattr(module, "SIGNALS", (module.Signal("toys", lambda _: small, "", module.BOTH, (1,)),))
    quick = Settings(clusters=4, restarts=1, shifts=1, shuffles=1, sample=4, count=2, points=8)
    monkeypatch.setattr(module, "Replication", partial(module.Replication, draws=10, settings=quick))
    passes = {"ffn": ((("exact",), ("layer3",)),), "nerv": ((("exact",), ("block1",)),)}
    monkeypatch.setattr(module, "PASSES", passes)
    monkeypatch.setattr(module, "CONTROL", passes)
    fit = xinc.fit
    monkeypatch.setattr(xinc, "fit", lambda family, *a, **k: partial(fit, family, **TINY[family])(*a, **k))
    return module


def test_a_study_is_made_said_with_its_times_and_gone_on_with(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- study -->\n<!-- end of study -->\nafter\n", "utf-8")
    command = ["replication.py", "--data", str(tmp_path), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path), "--docs", str(page)])
    study.main()
    said = capsys.readouterr().out
    for name in ("toys-ffn-0", "toys-nerv-0"):
        assert f" s  {name} in all\n" in said
    assert " s  exact maps of block1, frame 1\n" in said
    kept = json.loads((tmp_path / "replication.json").read_text("utf-8"))
    assert [run["run"] for run in kept["runs"]] == ["toys-ffn-0", "toys-nerv-0"]
    for part in ("rows", "control"):
        assert {(row["model"], row["layer"]) for row in kept[part]} == {("ffn", "layer3"), ("nerv", "block1")}
    assert "toys-nerv-0" in page.read_text("utf-8")
    study.main()
    again = capsys.readouterr().out
    assert "maps of" not in again
    assert json.loads((tmp_path / "replication.json").read_text("utf-8"))["rows"] == kept["rows"]
