"""DAVIS and data sets laid out like it (YouTube-VOS): palette images, one number an object, some or all frames.

``JPEGImages/[<resolution>/]<video>/*.jpg`` and ``Annotations/[<resolution>/]<video>/*.png``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xinc.signals.datasets.recording import LabelledVideo, Reader, by_stem, first_folder, folders
from xinc.signals.frames import frame_files
from xinc.signals.segments import ENCODINGS

_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")


def _recordings(root: Path) -> Iterator[LabelledVideo]:
    pictures = first_folder(root / "JPEGImages", _RESOLUTIONS) or root / "JPEGImages"
    masks = first_folder(root / "Annotations", (pictures.name,)) or root / "Annotations"
    for folder in folders(pictures):
        frames = tuple(frame_files(folder))
        labels, missing = by_stem(frames, sorted((masks / folder.name).glob("*.png")))
        yield LabelledVideo(folder.name, frames, labels, encoding=ENCODINGS["objects"], missing=missing)


READER = Reader(
    layout="DAVIS (JPEGImages beside Annotations)",
    recognises=lambda root: (root / "JPEGImages").is_dir() and (root / "Annotations").is_dir(),
    recordings=_recordings,
)
