"""Memory that a step may hold: whose word counts, and that refusals come before anything is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import xinc as package
from click_free import one_line, xinc
from xinc import budget
from xinc.budget import Bound, afford, bound, in_bytes, limit_to
from xinc.cli.app import in_front
from xinc.errors import ModelError, RunError, SignalError, TraceError
from xinc.signals.clip import Clip


@pytest.fixture(autouse=True)
def _unlimited() -> object:
    yield
    limit_to(None)


@pytest.mark.parametrize(
    ("text", "value"), [("64MB", 2**26), ("1.5 GiB", 1.5 * 2**30), ("800m", 800 * 2**20), ("100000000", 10**8)]
)
def test_amounts_of_memory(text: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_to(text)
    assert bound() == Bound(int(value), "--memory allows")
    limit_to(None)
    assert "memory" not in bound().whose


@pytest.mark.parametrize("text", ["", "many", "1 MB", "-1GB", "1e9", "63MB", "9" * 40, "²GB", "2000 TB"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(RunError, match="at least 64 MB"):
        limit_to(text)


def test_the_least_bound_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("70000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(budget, "_CONTAINER", (str(tmp_path / "absent"), str(tmp_path / "limit")))
    assert bound() == Bound(70_000_000, "this container has")
    monkeypatch.setattr(budget, "_CONTAINER", (str(tmp_path / "none"),))
    assert bound().whose != "this container has"


def test_a_refusal_has_the_number_and_the_remedy() -> None:
    limit_to("64MB")
    afford(2**26, "it", "do less", SignalError)
    with pytest.raises(SignalError, match=r"^it would take 1 GB of memory, --memory allows 67.1 MB; do less$"):
        afford(1e9, "it", "do less", SignalError)
    assert in_bytes(3e20) == "3.0e+08 TB"


def test_memory_stands_anywhere() -> None:
    assert in_front(["fit", "x", "--memory", "1GB", "--out", "o"], "--memory") == [
        "--memory", "1GB", "fit", "x", "--out", "o",
    ]  # fmt: skip
    assert in_front(["fit", "--memory=1GB", "x"], "--memory") == ["--memory=1GB", "fit", "x"]
    assert in_front(["fit", "--", "--memory"], "--memory") == ["fit", "--", "--memory"]


def test_steps_are_refused_before_they_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip(torch.rand(1, 3, 16, 16), ("a",))
    run = package.fit("ffn", clip, epochs=1, width=8, out=tmp_path / "run")
    layer = run.canvas()["layer2"]
    regions = torch.arange(256).reshape(16, 16).numpy() * 10**7
    with pytest.raises(TraceError, match="what is collected of 8 neurons would take"):
        layer.region_sums(regions)
    limit_to("64MB")
    with pytest.raises(ModelError, match=r"to fit a ffn .* would take .*smaller width"):
        package.fit("ffn", clip, epochs=1, width=4000)
    for words, told in (
        (("fit", "astronaut", "--model", "ffn", "--out", str(tmp_path / "o"), "--size", "9000x9000"), "9,000×9,000"),
        (("inspect", "torch.nn:Identity", "--input-shape", "1x3x9000x9000"), "inputs of shape"),
    ):
        assert told in one_line(xinc(*words, "--memory", "64MB"))
    assert not (tmp_path / "o").exists()
