"""A run that was damaged: findings are named and made again, or left out; a run is refused by the part at fault."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import xinc
from click_free import xinc as command
from tiny_runs import ANALYSING, runs
from xinc.errors import RunError
from xinc.findings.analyse import analyse
from xinc.findings.results import FOLDER, Results
from xinc.models.fitting.fit import CHECKPOINT, read_checkpoint, write_checkpoint

SETTINGS, FOUND = ANALYSING.settings, ("intensity", "grouping")
GROUP = f"{FOLDER}/intensity/exact/layer2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(str(runs()[1].path), tmp_path / "run"))


def made_again(folder: Path) -> list[str]:
    """What analyse says about a folder's damage."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        analyse(xinc.load(folder), layers=["layer2"], frames=(0,), findings=FOUND, settings=SETTINGS)
    return [str(warning.message) for warning in said if "damaged" in str(warning.message)]


def _shape(path: Path, shape: list[object]) -> None:
    document = json.loads((path / "heatmap/zarr.json").read_text())
    (path / "heatmap/zarr.json").write_text(json.dumps({**document, "shape": shape}))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


def _chunk(group: Path) -> Path:
    return next(path for path in sorted((group / "heatmap/c").rglob("*")) if path.is_file())


def _to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _to_loop(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "document cut": lambda g: (g / "zarr.json").write_text("{"),
    "document gone": lambda g: (g / "zarr.json").unlink(),
    "document a list": lambda g: (g / "zarr.json").write_text("[1]"),
    "document deep": lambda g: (g / "zarr.json").write_text("[" * 100_000),
    "document a pipe": lambda g: _to_pipe(g / "zarr.json"),
    "attribute changed": lambda g: (g / "zarr.json").write_text((g / "zarr.json").read_text().replace("layer2", "x")),
    "chunk flipped": lambda g: _flip(_chunk(g)),
    "chunk gone": lambda g: _chunk(g).unlink(),
    "chunk empty": lambda g: _chunk(g).write_bytes(b""),
    "array gone": lambda g: shutil.rmtree(g / "heatmap"),
    "absurd shape": lambda g: _shape(g, [1, 10**9, 10**9]),
    "shape of words": lambda g: _shape(g, ["a"]),
    "array a loop of links": lambda g: _to_loop(g / "heatmap"),
    "stray file": lambda g: (g / "heatmap/x.partial").write_bytes(b"x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_finding_is_named_once_and_made_again(damage: str, folder: Path) -> None:
    whole = Results(folder / FOLDER).get("intensity/exact/layer2")
    assert whole is not None
    wanted = whole.load()
    DAMAGES[damage](folder / GROUP)
    said = made_again(folder)
    assert len(said) == 1, said
    assert said[0].startswith(f"{folder / GROUP} is damaged (")
    assert made_again(folder) == []
    again = Results(folder / FOLDER).get("intensity/exact/layer2")
    assert again is not None
    assert again.identical(wanted)


def test_other_parts_of_results_are_mended_too(folder: Path) -> None:
    groups = Results(folder / FOLDER).groups()
    (folder / FOLDER / "zarr.json").write_text("{")
    (folder / FOLDER / "intensity/zarr.json").unlink()
    (folder / FOLDER / "loop").symlink_to(folder / FOLDER)
    assert made_again(folder) == []
    assert Results(folder / FOLDER).groups() == groups
    _flip(folder / FOLDER / "regions/zarr.json")
    assert len(made_again(folder)) == 1
    assert Results(folder / FOLDER).get("regions") is not None
    shutil.rmtree(folder / FOLDER)
    (folder / FOLDER).symlink_to(folder / FOLDER)
    with pytest.raises(RunError, match=r"results\.zarr is no folder of results; move it away"):
        analyse(xinc.load(folder), frames=(0,))


def test_results_without_seals_are_read(folder: Path) -> None:
    """Runs of earlier versions have none."""
    document = folder / GROUP / "zarr.json"
    read = json.loads(document.read_text())
    del read["attributes"]["seal"]
    document.write_text(json.dumps(read))
    assert made_again(folder) == []
    _chunk(folder / GROUP).write_bytes(b"\0")
    assert len(made_again(folder)) == 1
    assert json.loads(document.read_text())["attributes"]["seal"]


@pytest.mark.usefixtures("page_alone")
def test_a_report_leaves_damaged_findings_out_and_names_them(folder: Path) -> None:
    _flip(_chunk(folder / GROUP))
    done = command("report", str(folder))
    assert done.code == 0, done.err
    assert done.err.count(f"{GROUP.split('/', 1)[1]} is damaged") == 1
    assert (folder / "report.html").exists()


PARTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (lambda f: _flip(f / "model.safetensors"), 'xinc.fit(FAMILY, Clip.load("{run}/signal"))'),
    "weights a pipe": (lambda f: _to_pipe(f / "model.safetensors"), 'xinc.fit(FAMILY, Clip.load("{run}/signal"))'),
    "signal": (lambda f: _flip(f / "signal/clip.json"), "xinc import {run}/model.safetensors"),
    "signal gone": (lambda f: shutil.rmtree(f / "signal"), "xinc import {run}/model.safetensors"),
    "history": (lambda f: _flip(f / "history.csv"), "delete that file"),
    "description": (lambda f: (f / "config.json").write_text("[" * 100_000), "xinc import {run}/model.safetensors"),
    "description a pipe": (lambda f: _to_pipe(f / "config.json"), "xinc import {run}/model.safetensors"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_run_is_refused_by_its_part_with_what_can_be_saved(part: str, folder: Path) -> None:
    damage, rescue = PARTS[part]
    damage(folder)
    with pytest.raises(RunError) as refused:
        xinc.load(folder)
    assert rescue.format(run=folder) in str(refused.value)
    assert "the run in" in str(refused.value)


def test_a_run_without_its_history_is_read(folder: Path) -> None:
    (folder / "history.csv").unlink()
    assert xinc.load(folder).epochs == ()


def test_what_a_message_says_can_be_saved_can_be_saved(folder: Path, tmp_path: Path) -> None:
    run = xinc.load(folder)
    model, picture = run.model, run.clip.frame(0).permute(1, 2, 0).numpy()
    Image.fromarray((255 * picture).round().astype(np.uint8)).save(tmp_path / "frame.png")
    (folder / "config.json").write_text("{")
    with pytest.raises(RunError, match="xinc import"):
        xinc.load(folder)
    out = tmp_path / "saved"
    done = command("import", f"{folder}/model.safetensors", "--as", "ffn", "--signal", f"{tmp_path}/frame.png",
                   "--size", "32x64", "--out", str(out))  # fmt: skip
    assert done.code == 0, done.err
    saved = xinc.load(out).model
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), model.parameters(), strict=True))


def test_a_checkpoint_of_a_fit_with_one_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    state = {"format": 1, "task": {}, "model": {}, "optimiser": {}, "history": [], "best_loss": 0.5}
    write_checkpoint(path, {**state, "best": {"a": torch.arange(1000.0)}})
    assert read_checkpoint(path, {})["best"]["a"][500] == 500
    data = path.read_bytes()
    at = data.index(np.arange(500, 510, dtype=np.float32).tobytes())
    path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    with pytest.raises(RunError, match=r"fit\.ckpt is not a readable checkpoint .*; delete it to fit anew"):
        read_checkpoint(path, {})
