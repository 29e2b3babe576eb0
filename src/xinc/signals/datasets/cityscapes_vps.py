"""Cityscapes-VPS (Kim et al. 2020): videos of 30 frames of which every fifth is annotated.

In a split's folder, ``img_all/<city>_<sequence>_<number>_leftImg8bit.png`` are all frames, and ``panoptic_inst`` and
``panoptic_video`` hold ``<video>_<index>_<city>_<sequence>_<number>_final_mask.png`` (``_gtFine_color.png`` for the
frame that Cityscapes itself annotates). ``panoptic_inst`` has class and instance in its numbers and is read where it is
there; else the colours of ``panoptic_video`` are looked up in ``panoptic_gt_<split>_city_vps.json``. Without
``img_all`` the annotated frames of ``img`` are all that there is.

The split ``test`` has pictures only: its videos are told by the names in ``img``, which are those of the label images
but for the ending. Without ``img`` a video is 30 numbers of a sequence, and called after the first of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from xinc.signals.datasets import coco
from xinc.signals.datasets.recording import LabelledVideo, Reader, first_folder, folders, listed, load_json
from xinc.signals.labels import Segment
from xinc.signals.segments import ENCODINGS, Encoding

_NAME = re.compile(
    r"(?:(?P<video>\d{4})_\d{4}_)?(?P<place>[^_]+_\d+)_(?P<number>\d{1,6})_(leftImg8bit|newImg8bit|final|gtFine)"
)
_MASKS = ("panoptic_inst", "panoptic_video")
_PICTURES = ("img_all", "img")
_FRAMES_A_SECOND = 17.0
_FRAMES, _USUAL_GAP = 30, 5


@dataclass(frozen=True)
class _Place:
    """Where a frame stands: its city and sequence, and its number there."""

    sequence: str
    number: int

    def __str__(self) -> str:
        return f"{self.sequence}_{self.number:06d}"


def _place(path: Path) -> tuple[str | None, _Place] | None:
    """The video (None in ``img_all``) and the place that a file's name tells."""
    match = _NAME.match(path.stem)
    return (match["video"], _Place(match["place"], int(match["number"]))) if match else None


def _splits(root: Path) -> list[Path]:
    return [folder for folder in (root, *folders(root)) if first_folder(folder, _MASKS) or _is_unlabelled(folder)]


def _is_unlabelled(folder: Path) -> bool:
    """Whether a folder without label images is a split all the same: by the names of its pictures."""
    pictures = first_folder(folder, _PICTURES)
    if pictures is None:
        return False
    # Plain Cityscapes may lie in a folder "img" too, but there no picture's name begins with a video's number.
    return any(found and (found[0] or pictures.name == "img_all") for found in map(_place, pictures.glob("*.*")))


def _recordings(root: Path) -> Iterator[LabelledVideo]:
    for split in _splits(root):
        masks = first_folder(split, _MASKS)
        pictures = first_folder(split, _PICTURES) or split
        frames = {found[1]: p for p in sorted(pictures.glob("*.*")) if (found := _place(p))}
        labels, annotated = _by_video(masks), _by_video(first_folder(split, ("img",)))
        listed = _listed(split) if masks and masks.name == "panoptic_video" else {}
        dense = pictures.name == "img_all"
        videos = {
            video: _expected({*labels.get(video, ()), *annotated.get(video, ())}, dense)
            for video in sorted({*labels, *annotated})
        }
        for video, expected in (videos or _windows(frames)).items():
            own = labels.get(video, {})
            unlabelled = [place for place in annotated.get(video, ()) if place not in own] if masks else []
            present = [place for place in expected if place in frames]
            yield LabelledVideo(
                name=video if split == root else f"{split.name}/{video}",
                frames=tuple(frames[place] for place in present),
                labels={i: own[place] for i, place in enumerate(present) if place in own},
                encoding=_encoding(next(iter(own.values())), listed.get(video)) if own else None,
                fps=_FRAMES_A_SECOND if dense else None,
                table=listed.get(video) if own else None,
                missing=(
                    *(str(place) for place in expected if place not in frames),
                    *(f"the label image of {place}" for place in unlabelled),
                ),
            )


def _by_video(folder: Path | None) -> dict[str, dict[_Place, Path]]:
    """The files of a folder whose names tell their video, by video and place."""
    videos: dict[str, dict[_Place, Path]] = defaultdict(dict)
    for path in sorted(folder.glob("*.png")) if folder else ():
        found = _place(path)
        if found and found[0]:
            videos[found[0]][found[1]] = path
    return videos


def _expected(annotated: Iterable[_Place], dense: bool) -> list[_Place]:
    """The places of a video's frames: the last frame of each group of five is annotated."""
    places = sorted(annotated, key=lambda place: place.number)
    if not dense:
        return places
    numbers = [place.number for place in places]
    # Where label images are missing in between, what is left is further apart.
    gap = min((_USUAL_GAP, *(b - a for a, b in pairwise(numbers))))
    return [_Place(places[0].sequence, n) for n in range(max(0, numbers[0] - gap + 1), numbers[-1] + 1)]


def _windows(frames: Iterable[_Place]) -> dict[str, list[_Place]]:
    """The places of videos that nothing names: each takes 30 numbers of a sequence from its first frame on."""
    last: dict[_Place, int] = {}
    first: _Place | None = None
    for place in sorted(frames, key=lambda place: (place.sequence, place.number)):
        if first is None or place.sequence != first.sequence or place.number >= first.number + _FRAMES:
            first = place
        last[first] = place.number
    return {str(a): [_Place(a.sequence, n) for n in range(a.number, end + 1)] for a, end in last.items()}


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
    for annotation in listed(content, "annotations", path):
        videos[str(annotation.get("image_id"))[:4]].append(annotation)
    categories = listed(content, "categories", path)
    return {video: coco.table(annotations, categories) for video, annotations in videos.items()}


READER = Reader(
    layout="Cityscapes-VPS (panoptic_inst or panoptic_video beside img_all or img, in a split's folder or above it; "
    "without labels, pictures of its names in img_all or img)",
    recognises=lambda root: any(first_folder(split, _PICTURES) for split in _splits(root)),
    recordings=_recordings,
)
