"""A clip as a folder: ``clip.json``, the frames, and one label image for each annotated frame.

Frames whose values are whole 255ths become PNG images that anybody can look at; others (after a bicubic resize) become
``frames.safetensors``, so that what was fitted is what is read back, bit for bit. Label maps are RGB-encoded PNG files
in the way of COCO panoptic: id = R + 256 G + 65536 B.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor

from xinc.documents import read_json
from xinc.errors import SignalError
from xinc.files import has_utf8_name, write_text
from xinc.options.tables import CLIP, SEGMENT
from xinc.signals.labels import LabelMap, Segment, Segments
from xinc.signals.pictures import read_ids, read_rgb

FORMAT = 1
DOCUMENT, FRAMES = "clip.json", "frames.safetensors"


@dataclass(frozen=True)
class Stored:
    """What lies in a clip's folder; a frame is read when it is asked for.

    Attributes:
        frame: gives one frame ``(3, H, W)``.
        size: ``(H, W)``.
        names: of the frames; ``fps``, ``segments`` and ``source`` as of every clip.
    """

    frame: Callable[[int], Tensor]
    size: tuple[int, int]
    names: tuple[str, ...]
    fps: float | None
    segments: Segments | None
    source: str


def save_tensors(tensors: dict[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, readable by whom the user's umask says: the library's own files are not."""
    if not has_utf8_name(path):
        path.write_bytes(save(tensors, about))
        return
    try:
        save_file(tensors, path, about)
    except SafetensorError as fault:  # a full disk, say: the library has its own error for all
        raise OSError(0, str(fault), str(path)) from None
    new = path.with_name(f"{path.name}.{os.getpid()}.mode")
    new.touch()
    path.chmod(stat.S_IMODE(new.stat().st_mode))
    new.unlink()


def write(
    folder: Path, frames: Tensor, names: tuple[str, ...], fps: float | None, segments: Segments | None, source: str
) -> Path:
    """Write a clip; whatever clip was in the folder before is replaced. Returns the folder."""
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    for stale in _parts(folder):
        stale.unlink(missing_ok=True)

    as_png = all(torch.equal(_bytes(frame).float() / 255, frame) for frame in frames)
    if as_png:
        for i, frame in enumerate(frames):
            # Clips can be long, and the strongest compression takes ten times as long as the quickest.
            Image.fromarray(_bytes(frame).permute(1, 2, 0).numpy()).save(
                folder / f"frames/{i:05d}.png", compress_level=1
            )
    else:
        save_tensors({"frames": frames.contiguous()}, folder / FRAMES)
    for i, plane in (segments.labels if segments else {}).items():
        _rgb_encoded(plane).save(folder / f"labels/{i:05d}.png")
    description = {
        "format": FORMAT,
        "source": source,
        "size": tuple(frames.shape[2:]),
        "fps": fps,
        "names": names,
        "frames": "png" if as_png else "safetensors",
        "annotated": segments.frames if segments else None,
        "segments": [asdict(segment) for segment in segments.table] if segments else None,
    }
    write_text(folder / DOCUMENT, json.dumps(description, indent=1))
    return folder


def read(folder: Path) -> Stored:
    """Read a clip that :func:`write` wrote.

    Raises:
        SignalError: the folder does not hold a clip, or a part of it is missing or damaged.
    """
    try:
        description = CLIP.check_all(read_json(folder / DOCUMENT))
        if description["format"] != FORMAT:
            raise SignalError(f"{folder} holds a clip of format {description['format']}; this version reads {FORMAT}")
        segments = None
        if description["segments"] is not None:
            table = tuple(Segment(**SEGMENT.check_all(row)) for row in description["segments"])
            labels = {i: read_ids(folder / f"labels/{i:05d}.png")[0] for i in description["annotated"] or ()}
            segments = Segments(labels, table)
        height, width = description["size"]
        names = tuple(description["names"])
        frame = _reader(folder, description["frames"], len(names))
        return Stored(frame, (height, width), names, description["fps"], segments, description["source"])
    except FileNotFoundError as missing:
        raise SignalError(f"{folder} does not hold a saved clip: {Path(missing.filename).name} is missing") from None
    except (KeyError, TypeError, ValueError) as damage:
        raise SignalError(f"{folder / 'clip.json'} is damaged ({type(damage).__name__}: {damage})") from None


def _bytes(frame: Tensor) -> Tensor:
    return (frame * 255).round().to(torch.uint8)


def _parts(folder: Path) -> list[Path]:
    """Everything that a clip in the folder consists of, its description first: half a clip must not look whole."""
    fixed = [folder / DOCUMENT, folder / FRAMES]
    return [*fixed, *folder.glob("frames/*.png"), *folder.glob("labels/*.png")]


def _reader(folder: Path, stored: str, count: int) -> Callable[[int], Tensor]:
    """What gives one frame of those that are stored."""
    if stored == "png":
        paths = [folder / f"frames/{i:05d}.png" for i in range(count)]
        for path in paths:
            path.stat()
        return lambda i: torch.from_numpy(np.array(read_rgb(paths[i]))).permute(2, 0, 1).float() / 255
    path = folder / FRAMES
    path.stat()
    try:
        frames: Any = (
            safe_open(path, "pt").get_slice("frames")  # type: ignore[no-untyped-call]
            if has_utf8_name(path)
            else load(path.read_bytes())["frames"]
        )
    except Exception as damage:  # safetensors raises its own error type from Rust
        raise SignalError(f"{path} is damaged ({damage})") from None

    def frame(i: int) -> Tensor:
        found: Tensor = frames[i : i + 1][0]
        return found

    return frame


def _rgb_encoded(plane: LabelMap) -> Image.Image:
    return Image.fromarray(np.stack([plane & 255, plane >> 8 & 255, plane >> 16 & 255], axis=-1).astype(np.uint8))
