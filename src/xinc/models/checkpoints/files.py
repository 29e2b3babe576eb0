"""Reading a weights file, or saying what a file is that holds none. Nothing that is in a file is run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xinc import budget
from xinc.errors import CheckpointError
from xinc.models.checkpoints.pickles import read_legacy, read_zip

IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", "model_best.pth", "model_latest.pth", "best_model.ckpt")
"""Weights files of the folders that training code writes: accelerate's, (H)NeRV's, the paper's, our runs."""

HEADER_BYTES = 2**24
"""The largest header of safetensors that is read: names and shapes of a hundred thousand tensors."""

SIGNS: tuple[tuple[str, Callable[[bytes, str], bool]], ...] = (
    (
        "a Git LFS pointer, a few lines in place of the file itself: fetch it with git lfs pull",
        lambda head, _: head.startswith(b"version https://git-lfs"),
    ),
    (
        "a web page, not the file that was meant: fetch it again",
        lambda head, _: head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")),
    ),
    (
        "a Cool-Chic bitstream by its name: its weights and latents are entropy-coded, and only Cool-Chic's own "
        "decoder reads them. Decode it there, and trace the decoder's module with xinc.trace",
        lambda _, name: name.endswith(".cool"),
    ),
    (
        "a bitstream of a neural codec by its name: only the codec's own decoder reads it. Decode it there, and trace "
        "the decoder's module with xinc.trace",
        lambda _, name: name.endswith((".c3", ".nvc", ".bits", ".bitstream", ".ncf")),
    ),
    ("an ONNX graph: trace the torch module that it was made of", lambda _, name: name.endswith(".onnx")),
    ("an HDF5 file, as Keras writes them: no weights of torch", lambda head, _: head.startswith(b"\x89HDF")),
    ("a NumPy array: save named tensors with safetensors", lambda head, _: head.startswith(b"\x93NUMPY")),
    ("a GGUF file of a language model", lambda head, _: head.startswith(b"GGUF")),
    (
        "a picture or video, no weights: give it as the signal",
        lambda head, _: head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or head[4:8] == b"ftyp",
    ),
    (
        "a compressed file: unpack it first",
        lambda head, _: head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ")),
    ),
    ("a tar archive: unpack it first", lambda head, _: head[257:262] == b"ustar"),
)  # fmt: skip
"""What files that are no weights begin with, or are called."""


def read_file(path: Path) -> tuple[Any, list[str]]:
    """What a weights file holds: tensors in plain containers.

    Args:
        path: a safetensors or torch file, or a folder that holds one under a usual name.

    Returns:
        The content, and names of objects in it that were left out.

    Raises:
        CheckpointError: the file is missing, damaged, or of a format that cannot be read without running its code.
    """
    if path.is_dir():
        path = next((path / name for name in IN_FOLDERS if (path / name).is_file()), path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise CheckpointError(f"{path} is an empty file")
    if told := next((told for told, fits in SIGNS if fits(head, path.name.lower())), None):
        raise CheckpointError(f"{path} is {told}")
    try:
        if path.suffix == ".safetensors" or head[8:9] == b"{":
            from safetensors.torch import load_file

            if int.from_bytes(head[:8], "little") > HEADER_BYTES:
                raise CheckpointError(f"{path} has a header of more than {HEADER_BYTES // 2**20} MB; it is damaged")
            budget.tensors(path, path.stat().st_size // 4, CheckpointError)
            return load_file(path), []
        if not zipfile.is_zipfile(path):
            return read_legacy(path)
        if program := _program_in(path):
            raise CheckpointError(f"{path} is {program}")
        return read_zip(path)
    except CheckpointError:
        raise
    except Exception as damage:  # a damaged file can break any step of reading it
        reason = (str(damage).splitlines() or [""])[0]
        raise CheckpointError(
            f"{path} cannot be read as tensors ({type(damage).__name__}: {reason:.120}); "
            "it may be damaged, or of a format that needs its own code"
        ) from None


def _program_in(path: Path) -> str | None:
    """What an archive is that holds no plain tensors."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    kind = None
    if any(name.endswith("constants.pkl") for name in names):
        kind = "a TorchScript program"
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        kind = "a program of torch.export"
    if kind:
        return (
            f"{kind}: loading it can run what is in it, so it is never loaded here; if you trust it, load "
            "it in Python and save its state_dict(), or trace the module with xinc.trace"
        )
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays: save named tensors with safetensors"
    return None
