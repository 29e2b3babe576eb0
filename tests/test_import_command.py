"""``xinc import``: other people's checkpoints become runs by one command, and what cannot gets one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import xinc as package
from careless import Touch
from click_free import one_line, xinc
from xinc import models
from xinc.models.base import INR
from xinc.models.checkpoints.convnext import ConvNeXt

SIZE, FRAMES = (16, 32), 4


@torch.no_grad()
def frames_of(model: INR) -> Tensor:
    return torch.stack([model.render(i) for i in range(model.config.frames)]).clamp(0, 1)


def contrasty(name: str, **options: Any) -> INR:
    """A network with pictures in which a wrong choice shows."""
    torch.manual_seed(3)
    model = models.build(name, SIZE, FRAMES if name.endswith("nerv") else 1, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model


def show(model: INR, folder: Path) -> Path:
    """The network's frames as a folder of pictures."""
    folder.mkdir()
    for i, frame in enumerate(frames_of(model)):
        Image.fromarray((frame * 255).round().byte().movedim(0, -1).numpy()).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def nerv() -> INR:
    return contrasty("nerv", fc_dim=6, activation="relu", output="sigmoid")


@pytest.fixture
def checkpoint(nerv: INR, tmp_path: Path) -> Path:
    torch.save({"state_dict": {f"module.{k}": v for k, v in nerv.state_dict().items()}}, tmp_path / "m.pth")
    return tmp_path / "m.pth"


@pytest.fixture
def frames(nerv: INR, tmp_path: Path) -> Path:
    return show(nerv, tmp_path / "frames")


def test_a_checkpoint_becomes_a_run(checkpoint: Path, frames: Path, nerv: INR, tmp_path: Path) -> None:
    ran = xinc("import", str(checkpoint), "--as", "nerv", "--signal", str(frames), "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran
    run = package.load(tmp_path / "run")
    assert (run.config.activation, run.config.output) == ("relu", "sigmoid")
    assert torch.equal(run.model.state_dict()["head_layer.weight"], nerv.state_dict()["head_layer.weight"])
    psnr = run.psnr()
    assert float(psnr.min()) > 45  # eight bits of the pictures are all that is lost
    assert f"PSNR of 4 frames: mean {float(psnr.mean()):.2f} dB, lowest {float(psnr.min()):.2f} dB" in ran.err
    assert all(note in " ".join(ran.err.split()) for note in run.settings["notes"])
    assert "activation relu" in run.settings["notes"][-1]
    assert run.settings["imported"] == str(checkpoint)
    assert package.trace(run.model, run.input(2)).layers == ["block1", "block2", "block3", "head"]


def test_some_frames_of_a_longer_clip_and_known_settings(checkpoint: Path, nerv: INR, tmp_path: Path) -> None:
    """The network was trained on every other frame, from the second."""
    whole = tmp_path / "whole"
    whole.mkdir()
    for i, frame in enumerate(frames_of(nerv)):
        Image.new("RGB", SIZE[::-1]).save(whole / f"{2 * i:02d}.png")
        Image.fromarray((frame * 255).round().byte().movedim(0, -1).numpy()).save(whole / f"{2 * i + 1:02d}.png")
    choice = ("--start", "1", "--every", "2", "--check", "2", "--set", "activation=relu", "--set", "output=sigmoid")
    ran = xinc("import", str(checkpoint), "--as", "nerv", "--signal", str(whole), "--out", str(tmp_path / "r"), *choice)
    assert ran.code == 0, ran
    run = package.load(tmp_path / "r")
    assert run.clip.names == ("01", "03", "05", "07")
    assert "PSNR of 2 frames" in ran.err
    assert "activation" not in run.settings["notes"][-1], "what is known is not chosen"


def quantised(value: Tensor) -> dict[str, Tensor]:
    low, high = value.min(), value.max()
    scale = (high - low) / 255
    return {"quant": ((value - low) / scale).round().to(torch.uint8), "min": low, "scale": scale}


@pytest.mark.parametrize("stored", ["8 bits", "encoder"])
def test_hnerv_with_embeddings_or_with_the_encoder_that_makes_them(stored: str, tmp_path: Path) -> None:
    model = contrasty("hnerv", fc_dim=12, strides=(4, 2), channels=4, kernels=(1, 3))
    state = model.state_dict()
    embedding = state.pop("embedding")
    if stored == "8 bits":
        content = {"embed": quantised(embedding), "model": {k: quantised(v) for k, v in state.items()}}
    else:
        encoder = ConvNeXt([6, 4], [4, 2], blocks=1)
        content = {"state_dict": {**state, **{f"encoder.{k}": v for k, v in encoder.state_dict().items()}}}
    torch.save(content, tmp_path / "m.pth")
    signal = show(model, tmp_path / "frames")
    if stored == "encoder":  # it takes any multiple of its strides: the signal is cropped to one
        for path in signal.iterdir():
            Image.open(path).resize((35, 20)).save(path)
    ran = xinc(
        "import", str(tmp_path / "m.pth"), "--as", "hnerv", "--signal", str(signal), "--out", str(tmp_path / "r")
    )
    assert ran.code == 0, ran
    run = package.load(tmp_path / "r")
    assert run.config.size == SIZE
    assert ("stored in 8 bits" if stored == "8 bits" else "file's own encoder") in run.settings["notes"][0]
    if stored == "8 bits":
        assert float(run.psnr().min()) > 30


def test_the_papers_ffn_at_the_papers_size(shared: Path, tmp_path: Path) -> None:
    with np.load(shared / "golden" / "ffn_0005.npz") as file:
        weights = {f"model.{k[7:]}": torch.from_numpy(file[k]) for k in file.files if k.startswith("weight.")}
        image = torch.from_numpy(file["image"]).clamp(0, 1)
    torch.save({"state_dict": weights, "epoch": 999}, tmp_path / "best_model.ckpt")
    Image.fromarray((image * 255).round().byte().movedim(0, -1).numpy()).save(tmp_path / "0005.png")
    ran = xinc(
        "import", str(tmp_path / "best_model.ckpt"), "--as", "ffn", "--signal", str(tmp_path / "0005.png"),
        "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert ran.code == 0, ran
    run = package.load(tmp_path / "run")
    assert run.clip.size == (128, 256)
    assert (run.config.layout, run.config.output) == ("longest_yx", "identity")
    assert float(run.psnr()[0]) > 50


def test_code_in_a_checkpoint_does_not_run(nerv: INR, frames: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    torch.save({"hook": Touch(marker), "state_dict": nerv.state_dict()}, tmp_path / "m.pth")
    torch.load(tmp_path / "m.pth", weights_only=False)
    assert marker.exists(), "the file does act when it is loaded carelessly"
    marker.unlink()
    arguments = ("import", str(tmp_path / "m.pth"), "--as", "nerv", "--signal", str(frames))
    ran = xinc(*arguments, "--out", str(tmp_path / "run"))
    assert ran.code == 0, ran
    assert not marker.exists()
    assert "nothing was executed" in ran.err
    assert float(package.load(tmp_path / "run").psnr().min()) > 45


def test_an_import_never_overwrites(checkpoint: Path, frames: Path, tmp_path: Path) -> None:
    arguments = ("import", str(checkpoint), "--as", "nerv", "--signal", str(frames), "--out", str(tmp_path / "run"))
    assert xinc(*arguments).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert "run exists and is not empty; an import never overwrites" in one_line(xinc(*arguments))
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    (tmp_path / "file").write_text("mine")
    assert "file is no folder; choose another" in one_line(xinc(*arguments[:-1], str(tmp_path / "file")))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"checkpoint": "/no/such.pth"}, "there is no checkpoint /no/such.pth"),
        ({"checkpoint": "{cut}"}, "cut.pth cannot be read as tensors"),
        ({"checkpoint": "{text}"}, "notes.pth cannot be read as tensors"),
        ({"checkpoint": "{less}"}, "missing: decoder.1.conv.upconv.0.bias"),
        ({"checkpoint": "{other}"}, "other shapes: head_layer.bias (5,) instead of (3,)"),
        ({"--as": "hnerv"}, "looks like a nerv; try --as nerv"),
        ({"--as": "ffn"}, "looks like a nerv; try --as nerv"),
        ({"--as": "transformer"}, "no family of networks is called 'transformer'"),
        ({"--signal": "/no/clip.mp4"}, "no file or folder /no/clip.mp4"),
        ({"--size": "32x32"}, "makes frames of 16×32, not 32×32"),
        ({"--size": "large"}, "--size large is not a size"),
        ({"--set": "width=3"}, "nerv has no option 'width'"),
        ({"--set": "activation=wavy"}, "the option activation cannot be 'wavy'"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    changes: dict[str, str], words: str, checkpoint: Path, frames: Path, nerv: INR, tmp_path: Path
) -> None:
    state = nerv.state_dict()
    torch.save({k: v for k, v in state.items() if k != "decoder.1.conv.upconv.0.bias"}, tmp_path / "less.pth")
    torch.save({**state, "head_layer.bias": torch.zeros(5)}, tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes(checkpoint.read_bytes()[:-2000])
    (tmp_path / "notes.pth").write_text("no tensors")
    names = {"cut": "cut", "text": "notes", "less": "less", "other": "other"}
    places = {name: str(tmp_path / f"{stem}.pth") for name, stem in names.items()}
    given = {"checkpoint": str(checkpoint), "--as": "nerv", "--signal": str(frames), "--out": str(tmp_path / "run")}
    given |= {key: value.format(**places) for key, value in changes.items()}
    options = [word for key, value in given.items() if key != "checkpoint" for word in (key, value)]
    ran = xinc("import", given["checkpoint"], *options)
    assert ran.code == 2, ran
    assert words in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert sum(line.startswith("xinc: ") for line in ran.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
