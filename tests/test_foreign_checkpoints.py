"""Other people's files: written in other ways, not weights at all, or made to harm. Right values from torch itself."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from click_free import one_line, xinc
from xinc.errors import CheckpointError
from xinc.models.checkpoints.files import read_file
from xinc.models.checkpoints.importing import open_checkpoint


def mlp(inputs: int = 2, outputs: int = 3, width: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(i, o) for i, o in ((inputs, width), (width, width), (width, outputs))))


def written(how: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A state dict in one of torch's writings, and the weights that torch uses for it."""
    net = mlp()
    for layer in net:
        if how == "pruned":
            prune.random_unstructured(layer, "weight", 0.5)
        elif how == "old weight norm":
            nn.utils.weight_norm(layer)  # type: ignore[no-untyped-call]
        elif how == "weight norm":
            parametrizations.weight_norm(layer)
        elif how == "weight norm as a whole":
            parametrizations.weight_norm(layer, dim=None)
        elif how == "old spectral norm":
            nn.utils.spectral_norm(layer)
        elif how == "spectral norm":
            parametrizations.spectral_norm(layer)
    if how == "old weight norm":
        with torch.no_grad():
            for name, value in net.named_parameters():
                value.mul_(1.5 if name.endswith("_g") else 1.0)
    net.eval()
    net(torch.zeros(1, 2))
    return dict(net.state_dict()), {f"{i}.weight": layer.weight.detach() for i, layer in enumerate(net)}


@pytest.mark.parametrize(
    "how",
    ["pruned", "old weight norm", "weight norm", "weight norm as a whole", "old spectral norm", "spectral norm"],
)
def test_weights_are_those_that_torch_computes(how: str, tmp_path: Path) -> None:
    state, used = written(how)
    assert "0.weight" not in state
    torch.save({"state_dict": {f"module.net.{k}": v for k, v in state.items()}}, tmp_path / "m.pth")
    checkpoint = open_checkpoint(tmp_path / "m.pth")
    assert sorted(checkpoint.weights) == sorted(f"net.{i}.{kind}" for i in range(3) for kind in ("bias", "weight"))
    for name, value in used.items():
        torch.testing.assert_close(checkpoint.weights[f"net.{name}"], value, rtol=1e-6, atol=1e-7)
    assert "(3 tensors)" in checkpoint.notes[-1]
    assert checkpoint.family == "siren"


def ema(kind: str) -> dict[str, Any]:
    """A trained network of ones beside an averaged copy of twos, as libraries write them."""
    live, averaged = ({k: torch.full_like(v, x) for k, v in mlp().state_dict().items()} for x in (1.0, 2.0))
    return {
        "torch": {"n_averaged": torch.tensor(7)} | {f"module.{k}": v for k, v in averaged.items()},
        "ema-pytorch": {"initted": torch.tensor(True), "step": torch.tensor(9)}
        | {f"online_model.{k}": v for k, v in live.items()}
        | {f"ema_model.{k}": v for k, v in averaged.items()},
        "lightning": {"state_dict": {f"model.{k}": v for k, v in live.items()}
        | {f"ema_model.module.{k}": v for k, v in averaged.items()} | {"ema_model.n_averaged": torch.tensor(3)}},
        "litema": {f"model.{k}": v for k, v in live.items()}
        | {f"model_ema.{k.replace('.', '')}": v for k, v in averaged.items()}
        | {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(3)},
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["torch", "ema-pytorch", "lightning", "litema"])
def test_of_two_copies_the_averaged_one_is_taken(kind: str, tmp_path: Path) -> None:
    torch.save(ema(kind), tmp_path / "m.pth")
    checkpoint = open_checkpoint(tmp_path / "m.pth")
    assert sorted(checkpoint.weights) == sorted(mlp().state_dict())
    assert all((value == 2).all() for value in checkpoint.weights.values())
    assert kind == "torch" or any("averaged copy" in note for note in checkpoint.notes)


def test_records_and_coordinates_are_left_out_and_said(tmp_path: Path) -> None:
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 5), torch.linspace(-1, 1, 6), indexing="ij"), -1)
    extra = {
        "val_psnr.sum_squared_error": torch.tensor(0.1), "val_psnr.total": torch.tensor(4), "grid": grid,
        "lpips.net.lin0.weight": torch.ones(1, 8, 1, 1), "positions": grid.reshape(-1, 2),
        "train_loss": torch.tensor(0.2), "layers.0.total_ops": torch.zeros(1),
    }  # fmt: skip
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in {**mlp().state_dict(), **extra}.items()}}, tmp_path / "m.ckpt"
    )
    checkpoint = open_checkpoint(tmp_path / "m.ckpt")
    assert sorted(checkpoint.weights) == sorted(mlp().state_dict())
    assert "left out, as no part of the network: val_psnr.sum_squared_error" in checkpoint.notes[-1]
    torch.save({**mlp().state_dict(), "gate.weight": torch.ones(4, 4)}, tmp_path / "more.pth")
    assert "gate.weight" in open_checkpoint(tmp_path / "more.pth").weights, "a layer is never left out"


def test_a_file_with_two_networks_shows_both(tmp_path: Path) -> None:
    parts = {"coarse_state_dict": mlp(3, 4).state_dict(), "fine_state_dict": mlp(3, 4).state_dict()}
    torch.save(
        {**parts, "loss": torch.tensor(0.1), "optimizer": {"state": {0: {"exp_avg": torch.ones(4)}}}},
        tmp_path / "m.pth",
    )
    checkpoint = open_checkpoint(tmp_path / "m.pth")
    assert len(checkpoint.weights) == 12
    assert {name.split(".")[0] for name in checkpoint.weights} == {"coarse", "fine"}
    assert checkpoint.notes == ("it holds 2 networks: coarse_state_dict, fine_state_dict",)


def wire() -> dict[str, Tensor]:
    state = {
        f"net.{i}.linear.weight": torch.randn(*shape, dtype=torch.complex64)
        for i, shape in enumerate(((8, 2), (8, 8), (3, 8)))
    }
    return state | {"net.0.omega_0": torch.tensor([10.0]), "net.0.scale_0": torch.tensor([40.0])}


def finer() -> dict[str, Tensor]:
    state = {f"net.{i}.linear.{k}": v for i, layer in enumerate(mlp()) for k, v in layer.state_dict().items()}
    return state | {"net.0.linear.bias": torch.linspace(-20, 20, 8)}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (wire, "it is a WIRE: its layers are Gabor wavelets"),
        (finer, "it is perhaps a FINER, whose names are a SIREN's: its first biases reach 20.0"),
        (lambda: mlp(3, 1).state_dict(), "a chain of 3 linear layers from 3 values to 1 value"),
        (lambda: {"net.0.weight": torch.full((8, 2), torch.nan), "net.1.weight": torch.ones(3, 8)},
         "holds values that are no finite numbers: net.0.weight (16)"),
    ],
)  # fmt: skip
def test_inspect_says_what_it_is_instead(state: Callable[[], dict[str, Tensor]], told: str, tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "m.pth")
    ran = xinc("inspect", str(tmp_path / "m.pth"), columns=400)
    assert ran.code == 0, ran
    assert told in ran.out
    assert "finite" in told or "siren" not in ran.out.split("no layers")[0]


def test_weights_that_are_no_numbers_are_not_imported(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
    state = mlp().state_dict() | {"1.bias": torch.tensor([0.0, torch.nan, torch.inf, 0, 0, 0, 0, 0])}
    torch.save(state, tmp_path / "m.pth")
    arguments = ("--as", "siren", "--signal", str(tmp_path / "p.png"), "--out", str(tmp_path / "run"))
    ran = xinc("import", str(tmp_path / "m.pth"), *arguments)
    assert ran.code == 2
    assert "holds values that are no finite numbers: 1.bias (2)" in ran.err
    assert "nan dB" not in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("m.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "is a Git LFS pointer"),
        ("m.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "fetch it with git lfs pull"),
        ("m.pth", b"<!DOCTYPE html><html>", "is a web page"),
        ("kodim14.cool", b"\0\x10\1\0", "is a Cool-Chic bitstream"),
        ("m.h5", b"\x89HDF\r\n", "is an HDF5 file"),
        ("m.npy", b"\x93NUMPY", "is a NumPy array"),
        ("m.pth.gz", b"\x1f\x8b\x08", "is a compressed file: unpack it first"),
        ("m.pth", b"", "is an empty file"),
    ],
)
def test_what_is_no_checkpoint_is_named(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert told in one_line(xinc("inspect", str(tmp_path / name)))


SENTENCES = {
    "bacon_lego_nerf.pth": "it is a multiplicative filter network, such as BACON: 3 values enter its filters, 9 out",
    "coinpp_output_0.pt": "holds one tensor of shape 1×46×90 without a name: values such as latents, not a",
    "coolchic_kodim14.cool": "is a Cool-Chic bitstream by its name",
    "nerf_lego_lowres.ckpt": "it is 2 radiance fields (model_coarse, model_fine), such as NeRF's",
    "siren_diffudf_model_best.pth": "it is a chain of 9 linear layers from 3 values to 1 value; a picture's leads",
    "xinc_ffn_0005_best_model.ckpt": "family: ffn, by the names",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_inspect_says_a_true_sentence_on_every_public_file(name: str, shared: Path) -> None:
    folder = shared / "data" / "weights"
    assert {path.name for path in folder.iterdir()} == set(SENTENCES)
    ran = xinc("inspect", str(folder / name), columns=400)
    told = ran.out + ran.err + str(ran.error or "")
    assert SENTENCES[name] in told
    assert "Traceback" not in told
    if name.startswith("nerf"):
        assert "tensors: 32 with 169,096 values" in ran.out
    if name.startswith("xinc"):
        assert "width 104" in ran.out


# Old files, and files that are made to harm


def test_files_from_before_the_archives_are_read(tmp_path: Path) -> None:
    net = mlp().double()
    shared_rows = torch.arange(12.0).reshape(3, 4)
    content = {"state_dict": net.state_dict(), "half": torch.ones(3).half(), "rows": shared_rows[1:], "epoch": 3}
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(tmp_path / "old.pth")
    read, skipped = read_file(tmp_path / "old.pth")
    expected = torch.load(tmp_path / "old.pth", weights_only=True)
    assert skipped == []
    assert read["epoch"] == 3
    assert all(torch.equal(read["state_dict"][k], v) for k, v in expected["state_dict"].items())
    assert torch.equal(read["rows"], shared_rows[1:])
    assert torch.equal(read["half"], expected["half"])


def archive(path: Path, code: bytes, data: dict[str, bytes] | None = None, compress: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("archive/data.pkl", code)
        for key, content in (data or {"0": b"\0" * 16}).items():
            file.writestr(f"archive/data/{key}", content)
        file.writestr("archive/version", "3")


STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\00X\3\0\0\0cpuK\4tQ"


def tensor(size: bytes, stride: bytes) -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\0" + size + stride + b"\x89NtR"


def colliding(count: int) -> bytes:
    """A dictionary whose keys all have one hash: multiples of 2^61 - 1."""
    numbers = (pickle.dumps((2**61 - 1) * i, 2)[2:-1] + b"N" for i in range(1, count))
    return b"\x80\2}(" + b"".join(numbers) + b"u."


def laughs() -> bytes:
    """Ten lists, each holding the one before ten times: 10^10 ways to walk."""
    code = b"\x80\2]q\0"
    for level in range(1, 30):
        code += b"]q" + bytes([level]) + b"(" + b"h" + bytes([level - 1]) + (b"h" + bytes([level - 1])) * 9 + b"e"
    return code + b"."


def nested_mappings() -> bytes:
    """Mappings, each holding the one before ten times under ten names."""
    code = b"\x80\2}q\0"
    for level in range(1, 30):
        names = b"".join(b"X\1\0\0\0" + bytes([97 + i]) + b"h" + bytes([level - 1]) for i in range(10))
        code += b"}q" + bytes([level]) + b"(" + names + b"u"
    return code + b"."


NAMED = b"\x80\2}X\1\0\0\0w"
SELF = b"\x80\2}q\0(X\n\0\0\0state_dicth\0X\5\0\0\0modelh\0u."
BOMBS: dict[str, Callable[[Path], None]] = {
    "expanded strides": lambda p: archive(p, NAMED + tensor(b"J\0\0\0\x40J\0\0\0\x40\x86", b"K\0K\0\x86") + b"s."),
    "negative sizes": lambda p: archive(p, NAMED + tensor(b"J\xff\xff\xff\xffK\1\x86", b"K\0K\0\x86") + b"s."),
    "compressed zeros": lambda p: archive(p, SELF, {"0": b"\0" * 2**28}, zipfile.ZIP_DEFLATED),
    "a pickle of zeros": lambda p: archive(p, b"\x80\2" + b"N0" * 2**24 + b"N.", compress=zipfile.ZIP_DEFLATED),
    "deep nesting": lambda p: archive(p, b"\x80\2" + b"]" * 2**20 + b"a" * (2**20 - 1) + b"."),
    "deep keys": lambda p: archive(p, b"\x80\2}" + b")" + b"\x85" * 2**20 + b"Ns."),
    "self-reference": lambda p: archive(p, SELF),
    "equal hashes": lambda p: archive(p, colliding(100_000)),
    "equal hashes in a set": lambda p: archive(p, b"\x80\4\x8f" + colliding(10**5)[3:-2].replace(b"N", b"") + b"\x90."),
    "many ways to walk": lambda p: archive(p, laughs()),
    "many ways to walk by name": lambda p: archive(p, nested_mappings()),
    "memory by a number": lambda p: archive(p, b"\x80\5\x96" + struct.pack("<Q", 2**40) + b"."),
    "text by a number": lambda p: archive(p, b"\x80\4\x8d" + struct.pack("<Q", 2**40) + b"."),
    "a far memo": lambda p: archive(p, b"\x80\2]r\xff\xff\xff\xff."),
    "a lying old file": lambda p: p.write_bytes(
        b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
        + b"\x80\2}X\1\0\0\0w" + tensor(b"K\4\x85", b"K\1\x85").replace(b"K\4tQ", b"\x8a\6\0\0\0\0\0\1NtQ") + b"s."
    ),
    "a lying header": lambda p: p.write_bytes(struct.pack("<Q", 2**40) + b"{}"),
    "an endless number": lambda p: archive(p, b"\x80\2\x8b\xff\xff\xff\x7f."),
    "overlapping entries": lambda p: overlapping(p),
}  # fmt: skip


def overlapping(path: Path) -> None:
    """Two thousand entries of the directory that all mean the same megabyte."""
    archive(path, b"\x80\2}.", {"0": b"\0" * 2**20})
    with zipfile.ZipFile(path, "a") as file:
        info = file.getinfo("archive/data/0")
        for i in range(2000):
            twin = zipfile.ZipInfo(f"archive/data/{i + 1}")
            twin.header_offset, twin.file_size, twin.compress_size, twin.CRC = (
                info.header_offset, info.file_size, info.compress_size, info.CRC,
            )  # fmt: skip
            file.filelist.append(twin)
        file._didModify = True  # type: ignore[attr-defined]


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_end_at_once_in_one_line(bomb: str, tmp_path: Path) -> None:
    """Refused or found empty in under five seconds; the process has no gigabyte more than before."""
    path = tmp_path / ("m.safetensors" if bomb == "a lying header" else "m.pth")
    BOMBS[bomb](path)
    tracer = sys.gettrace()
    sys.settrace(None)  # coverage counts every line: the promise is about a run without it
    try:
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        line = one_line(xinc("inspect", str(path)))
        assert time.process_time() - begun < 5
    finally:
        sys.settrace(tracer)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # in kilobytes
    assert str(path) in line


def test_the_reader_of_pickles_calls_nothing_of_a_file(tmp_path: Path) -> None:
    """Every name of a few hundred of Python's and torch's comes out inert; builders keep no state."""
    import builtins
    import os
    import subprocess

    for module in (builtins, os, subprocess, torch, np, pickle, io):
        for name in dir(module)[:: 10 if module in (torch, np) else 1]:
            if name.startswith("_") or isinstance(getattr(module, name), torch.dtype) or name.endswith("Storage"):
                continue
            archive(tmp_path / "m.pth", f"\x80\2c{module.__name__}\n{name}\n".encode("latin1") + b"(X\1\0\0\0xtR.")
            if (module.__name__, name) != ("torch", "Size"):
                content, _ = read_file(tmp_path / "m.pth")
                assert type(content).__name__ == "Inert", (module, name)


def test_ordered_dictionaries_and_shared_storages_survive(tmp_path: Path) -> None:
    rows = torch.arange(6.0).reshape(2, 3)
    torch.save(OrderedDict(w=rows, row=rows[1], t=rows.T, e=torch.empty(0), i=torch.tensor(3)), tmp_path / "m.pth")
    content, _ = read_file(tmp_path / "m.pth")
    assert [*content] == ["w", "row", "t", "e", "i"]
    assert torch.equal(content["t"], rows.T)
    assert torch.equal(content["row"], rows[1])
    archive(tmp_path / "z.pth", SELF, {"0": b"\0" * 2**26}, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="would unpack to"):
        read_file(tmp_path / "z.pth")
