"""Cityscapes-VPS (Kim et al. 2020): videos of 30 frames of which every fifth is annotated.

In a split's folder, ``img_all/<city>_<sequence>_<number>_leftImg8bit.png`` are all frames, and ``panoptic_inst`` and
``panoptic_video`` hold ``<video>_<index>_<city>_<sequence>_<number>_final_mask.png`` (``_gtFine_color.png`` for the
frame that Cityscapes itself annotates). ``panoptic_inst`` has class and instance in its numbers and is read where it is
there; else the colours of ``panoptic_video`` are looked up in ``panoptic_gt_<split>_city_vps.json``. Without
``img_all`` the annotated frames of ``img`` are all that there is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from xinc.signals.clip import Segment
from xinc.signals.datasets import coco
from xinc.signals.datasets.recording import Reader, Recording, first_folder, folders, load_json
from xinc.signals.segments import ENCODINGS, Encoding

_NAME = re.compile(
    r"(?:(?P<video>\d{4})_\d{4}_)?(?P<place>[^_]+_\d+)_(?P<number>\d+)_(leftImg8bit|newImg8bit|final|gtFine)"
)
_MASKS = ("panoptic_inst", "panoptic_video")
_FRAMES_A_SECOND = 17.0
_USUAL_GAP = 5


@dataclass(frozen=True)
class _Place:
    """Where a frame stands: its city and sequence, and its number there."""

    sequence: str
    number: int


def _place(path: Path) -> tuple[str | None, _Place] | None:
    """The video (None in ``img_all``) and the place that a file's name tells."""
    match = _NAME.match(path.stem)
    return (match["video"], _Place(match["place"], int(match["number"]))) if match else None


def _splits(root: Path) -> list[Path]:
    return [folder for folder in (root, *folders(root)) if first_folder(folder, _MASKS)]


def _recordings(root: Path) -> Iterator[Recording]:
    for split in _splits(root):
        masks = first_folder(split, _MASKS)
        pictures = first_folder(split, ("img_all", "img")) or split
        frames = {found[1]: p for p in sorted(pictures.glob("*.*")) if (found := _place(p))}
        videos: dict[str, dict[_Place, Path]] = defaultdict(dict)
        for mask in sorted(masks.glob("*.png")) if masks else ():
            found = _place(mask)
            if found and found[0]:
                videos[found[0]][found[1]] = mask
        listed = _listed(split) if masks and masks.name == "panoptic_video" else {}
        for video, labels in sorted(videos.items()):
            name = video if split == root else f"{split.name}/{video}"
            yield _recording(name, labels, frames, pictures.name == "img_all", listed.get(video))


def _recording(
    name: str,
    labels: Mapping[_Place, Path],
    frames: Mapping[_Place, Path],
    dense: bool,
    table: tuple[Segment, ...] | None,
) -> Recording:
    expected = _expected(sorted(labels, key=lambda place: place.number), dense)
    present = [place for place in expected if place in frames]
    absent = [f"{place.sequence}_{place.number:06d}" for place in expected if place not in frames]
    return Recording(
        name=name,
        frames=tuple(frames[place] for place in present),
        labels={i: labels[place] for i, place in enumerate(present) if place in labels},
        encoding=_encoding(next(iter(labels.values())), table),
        fps=_FRAMES_A_SECOND if dense else None,
        table=table,
        missing=tuple(absent),
    )


def _expected(labelled: list[_Place], dense: bool) -> list[_Place]:
    """The places of a video's frames: the last frame of each group of five is annotated."""
    if not dense:
        return labelled
    numbers = [place.number for place in labelled]
    gap = min((b - a for a, b in pairwise(numbers)), default=_USUAL_GAP)
    return [_Place(labelled[0].sequence, n) for n in range(max(0, numbers[0] - gap + 1), numbers[-1] + 1)]


def _encoding(mask: Path, table: tuple[Segment, ...] | None) -> Encoding:
    if mask.parent.name == "panoptic_inst":
        return ENCODINGS["cityscapes-vps"]
    return coco.encoding_of(table) if table else ENCODINGS["coco"]


def _listed(split: Path) -> dict[str, tuple[Segment, ...]]:
    """The segments of each video by the split's JSON file; nothing where there is none."""
    name = f"panoptic_gt_{split.name}_city_vps.json"
    path = next((folder / name for folder in (split, split.parent) if (folder / name).is_file()), None)
    if path is None:
        return {}
    content = load_json(path, ("annotations", "categories"))
    videos: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        videos[str(annotation["image_id"])[:4]].append(annotation)
    return {video: coco.table(annotations, content["categories"]) for video, annotations in videos.items()}


READER = Reader(
    layout="Cityscapes-VPS (panoptic_inst or panoptic_video beside img_all or img, in a split's folder or above it)",
    recognises=lambda root: any(first_folder(s, ("img_all", "img")) for s in _splits(root)),
    recordings=_recordings,
)
