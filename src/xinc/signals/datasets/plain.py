"""A folder with ``frames`` and ``masks``, or a folder of such folders: the simplest thing to make by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xinc.signals.datasets.recording import LabelledVideo, Reader, by_stem, folders
from xinc.signals.frames import frame_files


def _clips(root: Path) -> list[Path]:
    return [folder for folder in (root, *folders(root)) if (folder / "frames").is_dir() and (folder / "masks").is_dir()]


def _recordings(root: Path) -> Iterator[LabelledVideo]:
    for folder in _clips(root):
        frames = tuple(frame_files(folder / "frames"))
        labels, missing = by_stem(frames, sorted((folder / "masks").glob("*.png")))
        yield LabelledVideo(folder.name, frames, labels, missing=missing)


READER = Reader(
    layout="plain (frames beside masks)",
    recognises=lambda root: bool(_clips(root)),
    recordings=_recordings,
)
