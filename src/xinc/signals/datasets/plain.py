"""A folder with ``frames`` and ``masks``, or a folder of such folders: the simplest thing to make by hand.

A COCO panoptic JSON file in the folder, or among the label images, says what their colours are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xinc.signals.datasets.coco import encoding_of, table
from xinc.signals.datasets.recording import LabelledVideo, Reader, by_stem, folders, json_in
from xinc.signals.frames import frame_files
from xinc.signals.labels import Segment


def _clips(root: Path) -> list[Path]:
    return [folder for folder in (root, *folders(root)) if (folder / "frames").is_dir() and (folder / "masks").is_dir()]


def _recordings(root: Path) -> Iterator[LabelledVideo]:
    for folder in _clips(root):
        frames = tuple(frame_files(folder / "frames"))
        labels, missing = by_stem(frames, sorted((folder / "masks").glob("*.png")))
        segments = _listed(folder, {label.name for label in labels.values()})
        encoding = encoding_of(segments) if segments else None
        yield LabelledVideo(folder.name, frames, labels, encoding, table=segments, missing=missing)


def _listed(folder: Path, files: set[str]) -> tuple[Segment, ...] | None:
    """What a panoptic JSON file beside the label images, or among them, says of their colours."""
    for path in sorted((*folder.glob("*.json"), *(folder / "masks").glob("*.json"))):
        content = json_in(path)
        annotations = content.get("annotations")
        if not isinstance(annotations, list):
            continue
        own = [a for a in annotations if isinstance(a, dict) and "segments_info" in a and a.get("file_name") in files]
        if own:
            return table(own, content.get("categories") or ())
    return None


READER = Reader(
    layout="plain (frames beside masks)",
    recognises=lambda root: bool(_clips(root)),
    recordings=_recordings,
)
