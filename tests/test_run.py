"""Runs: one folder that is read back to the bit, and says in one line what is wrong with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import xinc
from test_fit import scene
from xinc import models
from xinc.errors import ModelError, RunError, SignalError
from xinc.models.fitting.fit import CHECKPOINT
from xinc.run import Run
from xinc.signals.clip import Clip


@pytest.fixture(scope="module")
def clip() -> Clip:
    return Clip(scene(3), ("a", "b", "c"), fps=25.0, source="a disc")


@pytest.fixture(scope="module")
def finished(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "nerv"
    xinc.fit("nerv", clip, epochs=4, fc_dim=6, out=folder)
    return folder


def test_a_saved_run_is_read_back_to_the_bit(clip: Clip, finished: Path) -> None:
    run, fresh = xinc.load(finished), xinc.fit("nerv", clip, epochs=4, fc_dim=6)
    assert torch.equal(run.clip.frames, clip.frames)
    assert run.clip.names == clip.names
    assert run.config == fresh.config
    assert run.path == finished
    for i in range(3):
        assert torch.equal(run.input(i), fresh.input(i))
        assert torch.equal(run.render(i), fresh.render(i))
    assert [row[:4] for row in run.epochs] == [row[:4] for row in fresh.epochs]
    assert list(run.history.columns) == ["epoch", "psnr", "loss", "learning_rate", "seconds"]
    assert run.history.psnr.iloc[-1] == fresh.epochs[-1].psnr
    assert not run.model.training
    assert not (finished / CHECKPOINT).exists()


def test_numbers_of_a_run(clip: Clip, finished: Path) -> None:
    run = xinc.load(finished)
    by_hand = [-10 * math.log10(float((run.render(i) - clip.frames[i]).double().square().mean())) for i in range(3)]
    assert run.psnr().tolist() == pytest.approx(by_hand)
    assert run.parameters == sum(p.numel() for p in run.model.parameters())
    assert run.bits_per_pixel() == pytest.approx(8 * run.parameters / (3 * 32 * 32))
    assert run.bits_per_pixel(bits=32) == pytest.approx(4 * run.bits_per_pixel())
    described = json.loads((finished / "config.json").read_text())
    assert described["parameters"] == run.parameters
    assert described["settings"]["recipe.epochs"] == 4


def test_networks_of_one_frame_take_the_frame_asked_for(clip: Clip, tmp_path: Path) -> None:
    run = xinc.fit("ffn", clip, epochs=2, width=8, frame=2, out=tmp_path / "ffn")
    assert run.clip.names == ("c",)
    assert torch.equal(xinc.load(tmp_path / "ffn").clip.frames, clip.frames[2:])
    assert xinc.fit("ffn", clip, epochs=2, width=8).clip.names == ("a",)
    with pytest.raises(SignalError, match="frame 3 does not exist: the clip has frames 0 to 2"):
        xinc.fit("ffn", clip, frame=3)


def test_a_finished_fit_is_read_not_repeated(clip: Clip, finished: Path) -> None:
    written = (finished / "model.safetensors").stat().st_mtime_ns
    assert xinc.fit("nerv", clip, epochs=4, fc_dim=6, out=finished).path == finished
    assert (finished / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(RunError, match=re.escape("finished run with recipe.epochs 4 instead of 5; choose another")):
        xinc.fit("nerv", clip, epochs=5, fc_dim=6, out=finished)
    with pytest.raises(RunError, match="other frames"):
        xinc.fit("nerv", Clip(clip.frames.flip(0), clip.names), epochs=4, fc_dim=6, out=finished)


def test_a_killed_fit_says_how_to_go_on_and_ends_alike(clip: Clip, finished: Path, tmp_path: Path) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            xinc.fit("nerv", clip, epochs=4, fc_dim=6, out=tmp_path / "run", checkpoint_every=0)
    with pytest.raises(RunError, match="unfinished fit: give the same xinc fit again"):
        xinc.load(tmp_path / "run")
    xinc.fit("nerv", clip, epochs=4, fc_dim=6, out=tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_saving_keeps_what_others_added(finished: Path) -> None:
    (finished / "report.html").write_text("a report")
    xinc.load(finished).save(finished)
    assert (finished / "report.html").read_text() == "a report"
    assert not list(finished.glob("*.partial"))


def test_a_fit_is_watched_when_asked(clip: Clip, capsys: pytest.CaptureFixture[str]) -> None:
    xinc.fit("nerv", clip, epochs=2, fc_dim=6)
    assert capsys.readouterr() == ("", "")
    xinc.fit("nerv", clip, epochs=2, fc_dim=6, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"Fitting nerv \d+×\d+: 2 of 2 epochs, [\d.]+ dB, \d+ s\n", shown.err)


def test_a_run_must_fit_its_clip(clip: Clip) -> None:
    model = models.build("nerv", (32, 32), 4, fc_dim=6)
    with pytest.raises(RunError, match="makes 4 frames of 32×32, the clip has 3 of 32×32"):
        Run("nerv", model, clip)
    with pytest.raises(ModelError, match="frame 9 does not exist"):
        Run("nerv", models.build("nerv", (32, 32), 3, fc_dim=6), clip).input(9)


def _edit(folder: Path, **changes: object) -> None:
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | changes))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no run (no config.json)"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is damaged"),
        (lambda f: (f / "config.json").write_text("[]"), "does not describe a run"),
        (lambda f: _edit(f, format=99), "format 99; this version reads 1"),
        (lambda f: _edit(f, family="nerf"), "no family of networks is called 'nerf'"),
        (lambda f: _edit(f, config={"size": [32, 32]}), "lacks embedding, frames"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 50), "model.safetensors is damaged"),
        (lambda f: (f / "signal" / "clip.json").unlink(), "signal is damaged"),
        (lambda f: (f / "history.csv").write_text("epoch\nseven"), "history.csv is damaged"),
    ],
)
def test_damaged_runs_are_named(damage: Callable[[Path], object], told: str, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    xinc.load(finished).save(folder)
    damage(folder)
    with pytest.raises(RunError, match=re.escape(told)):
        xinc.load(folder)


def test_a_run_prints_itself_in_a_line() -> None:
    from tiny_runs import runs

    run = runs()[1]
    assert repr(run) == f"Run('ffn', clip={run.clip!r}, parameters={run.parameters:,}, path={str(run.path)!r})"


@pytest.mark.usefixtures("page_alone")
def test_a_run_analyses_and_reports_itself(tmp_path: Path) -> None:
    import shutil

    from tiny_runs import ANALYSING, runs

    shutil.copytree(runs()[0].path or "", tmp_path / "run")
    run = xinc.load(tmp_path / "run")
    tree = run.analyse(frames=(0,), layers=["head"], findings=["pixels_per_neuron"], settings=ANALYSING.settings)
    pixels = tree["pixels_per_neuron/exact/head"].to_dataset()["pixels"].values[0]
    assert pixels.tolist() == run.canvas(0, "exact")["head"].pixels_per_neuron().tolist()
    page = run.report(embed=False)
    assert page == tmp_path / "run" / "report.html"
    assert "<!doctype html>" in page.read_text()[:100].lower()
