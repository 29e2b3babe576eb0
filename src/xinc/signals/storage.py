"""A clip as a folder: ``clip.json``, the frames, and one label image for each annotated frame.

Frames whose values are whole 255ths become PNG images that anybody can look at; others (after a bicubic resize) become
``frames.safetensors``, so that what was fitted is what is read back, bit for bit. Label maps are RGB-encoded PNG files
in the way of COCO panoptic: id = R + 256 G + 65536 B.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from xinc.errors import SignalError
from xinc.signals.clip import Clip, LabelMap, Segment, Segments
from xinc.signals.pictures import read_ids, read_rgb

FORMAT = 1


def save(clip: Clip, folder: Path) -> Path:
    """Write a clip; whatever clip was in the folder before is replaced. Returns the folder."""
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    for stale in _parts(folder):
        stale.unlink(missing_ok=True)

    bytes_ = (clip.frames * 255).round().to(torch.uint8).cpu()
    as_png = torch.equal(bytes_.float() / 255, clip.frames.cpu())
    if as_png:
        for i, frame in enumerate(bytes_):
            Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"frames/{i:05d}.png")
    else:
        save_file({"frames": clip.frames.cpu().contiguous()}, folder / "frames.safetensors")
    segments = clip.segments
    for i, plane in (segments.labels if segments else {}).items():
        _rgb_encoded(plane).save(folder / f"labels/{i:05d}.png")
    description = {
        "format": FORMAT,
        "source": clip.source,
        "size": clip.size,
        "fps": clip.fps,
        "names": clip.names,
        "frames": "png" if as_png else "safetensors",
        "annotated": segments.frames if segments else None,
        "segments": [asdict(segment) for segment in segments.table] if segments else None,
    }
    (folder / "clip.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
    return folder


def load(folder: Path) -> Clip:
    """Read a clip that :func:`save` wrote.

    Raises:
        SignalError: the folder does not hold a clip, or a part of it is missing or damaged.
    """
    try:
        description = json.loads((folder / "clip.json").read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise SignalError(f"{folder} holds a clip of format {description['format']}; this version reads {FORMAT}")
        segments = None
        if description["segments"] is not None:
            table = tuple(Segment(**row) for row in description["segments"])
            labels = {i: read_ids(folder / f"labels/{i:05d}.png")[0] for i in description["annotated"]}
            segments = Segments(labels, table)
        return Clip(
            frames=_frames(folder, description["frames"], len(description["names"])),
            names=tuple(description["names"]),
            fps=description["fps"],
            segments=segments,
            source=description["source"],
        )
    except FileNotFoundError as missing:
        raise SignalError(f"{folder} does not hold a saved clip: {Path(missing.filename).name} is missing") from None
    except (KeyError, TypeError, ValueError) as damage:
        raise SignalError(f"{folder / 'clip.json'} is damaged ({type(damage).__name__}: {damage})") from None


def _parts(folder: Path) -> list[Path]:
    """Everything that a clip in the folder consists of, its description first: half a clip must not look whole."""
    fixed = [folder / "clip.json", folder / "frames.safetensors"]
    return [*fixed, *folder.glob("frames/*.png"), *folder.glob("labels/*.png")]


def _frames(folder: Path, stored: str, count: int) -> Tensor:
    if stored == "png":
        return torch.stack(
            [
                torch.from_numpy(np.array(read_rgb(folder / f"frames/{i:05d}.png"))).permute(2, 0, 1).float() / 255
                for i in range(count)
            ]
        )
    try:
        return load_file(folder / "frames.safetensors")["frames"]
    except FileNotFoundError:
        raise SignalError(f"{folder} does not hold a saved clip: frames.safetensors is missing") from None
    except Exception as damage:  # safetensors raises its own error type from Rust
        raise SignalError(f"{folder / 'frames.safetensors'} is damaged ({damage})") from None


def _rgb_encoded(plane: LabelMap) -> Image.Image:
    return Image.fromarray(np.stack([plane & 255, plane >> 8 & 255, plane >> 16 & 255], axis=-1).astype(np.uint8))
