"""Segments from label images: what their numbers mean, and which frame an image belongs to.

Encodings (``ENCODINGS``):

``cityscapes``
    ``instanceIds``: a value below 1000 is a class (stuff, or a group of things), else class · 1000 + instance.
``vipseg``
    raw ``panomasks``: a value below 125 is a stuff class, else class · 100 + instance.
``coco``
    RGB images, id = R + 256 G + 65536 B: one id a segment (COCO panoptic; the categories stand in a JSON file apart).
``objects``
    palette and grey images: one number an object (DAVIS, VIPSeg's palette); 255 is void beside other numbers.

In all of them 0 is what no segment covers. Ids are kept as they are, so that an instance keeps its identity over time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xinc.errors import SignalError
from xinc.signals.classes import CITYSCAPES, CITYSCAPES_THINGS, CITYSCAPES_VOID, VIPSEG, VIPSEG_THINGS
from xinc.signals.clip import LabelMap, Segment, Segments
from xinc.signals.pictures import SUFFIXES, read_ids
from xinc.signals.preprocess import Geometry, fit_labels


@dataclass(frozen=True)
class Encoding:
    """What the numbers of a label image mean.

    Attributes:
        describe: a number to its segment.
        void: numbers that mean "no segment" beside 0.
        fits: whether a set of numbers can have been written in this encoding.
    """

    describe: Callable[[int], Segment]
    void: frozenset[int]
    fits: Callable[[frozenset[int]], bool]


def _cityscapes(value: int) -> Segment:
    class_id, instance = (value, -1) if value < 1000 else divmod(value, 1000)
    name = CITYSCAPES.get(class_id, f"class {class_id}")
    if instance >= 0:
        return Segment(value, name, "thing", instance)
    return Segment(value, f"{name} group" if class_id in CITYSCAPES_THINGS else name, "stuff")


def _vipseg(value: int) -> Segment:
    if value <= len(VIPSEG):
        return Segment(value, VIPSEG.get(value, f"class {value}"), "stuff")
    class_id, instance = divmod(value, 100)
    return Segment(value, VIPSEG.get(class_id, f"class {class_id}"), "thing", instance)


def _object(value: int) -> Segment:
    return Segment(value, "object", "thing", value)


def _fits_cityscapes(values: frozenset[int]) -> bool:
    things = {value // 1000 for value in values if value >= 1000}
    rest = {value for value in values if value < 1000}
    return bool(things) and things <= CITYSCAPES_THINGS and all(value <= max(CITYSCAPES) for value in rest)


def _fits_vipseg(values: frozenset[int]) -> bool:
    things = {value // 100 for value in values if value > len(VIPSEG)}
    return bool(things) and things <= VIPSEG_THINGS


ENCODINGS: Mapping[str, Encoding] = {
    "cityscapes": Encoding(_cityscapes, frozenset(range(1, CITYSCAPES_VOID + 1)), _fits_cityscapes),
    "vipseg": Encoding(_vipseg, frozenset(), _fits_vipseg),
    "coco": Encoding(_object, frozenset(), lambda values: False),
    "objects": Encoding(_object, frozenset({255}), lambda values: True),
}

_ENDING = re.compile(r"_(leftImg8bit|newImg8bit|final_mask|panoptic|gt(Fine|Coarse)(_\w+)?)$")
_LABEL_ENDING = re.compile(r"_gt(Fine|Coarse)_\w+$")
_PREFERRED = ("_instanceIds", "_panoptic", "_labelIds")
_REJECTED = ("_color", "_labelTrainIds", "_instanceTrainIds")


def is_label_name(stem: str) -> bool:
    """Whether a file's name says that it is a Cityscapes annotation and no picture."""
    return _LABEL_ENDING.search(stem) is not None


def common_stem(stem: str) -> str:
    """What a frame and its label image share: Cityscapes' endings are cut, plain numbers lose leading zeros."""
    base = _ENDING.sub("", stem)
    return str(int(base)) if base.isdecimal() else base


def read_segments(path: Path, names: Sequence[str], geometry: Geometry, encoding: str = "auto") -> Segments:
    """Label maps for frames, from one label image or a folder of them, cropped and resized as the frames were.

    Args:
        path: an image file or a folder of them; an image belongs to the frame of the same stem.
        names: the frames' names, in order. One image and one frame belong together whatever their names.
        geometry: how the frames were cropped and resized.
        encoding: a key of :data:`ENCODINGS`, or ``"auto"``: found from the layout and the values of all images.

    Raises:
        SignalError: the path is missing or empty, no image belongs to a frame, an image is unreadable or of another
            size than its frame, or the encoding is not known.
    """
    if encoding != "auto" and encoding not in ENCODINGS:
        raise SignalError(f"there is no label encoding {encoding!r}; choose one of auto, {', '.join(ENCODINGS)}")
    return decode(_matched(path, names), geometry, encoding)


def decode(files: Mapping[int, Path], geometry: Geometry, encoding: str) -> Segments:
    """Segments from the label image of each annotated frame (frame index to file)."""
    raw = {path: read_ids(path) for path in sorted(set(files.values()))}
    chosen = ENCODINGS[_detected(raw.values(), files.values()) if encoding == "auto" else encoding]
    planes = {path: without_void(ids, chosen.void) for path, (ids, _) in raw.items()}
    planes = fit_labels(planes, geometry.source)
    return Segments.of({i: geometry.labels(planes[path]) for i, path in files.items()}, chosen.describe)


def without_void(ids: LabelMap, void: Iterable[int]) -> LabelMap:
    """The label map with the void numbers set to 0, unless nothing else is there (a 0 and 255 foreground mask)."""
    unwanted = np.isin(ids, list(void))
    return ids if np.all(unwanted | (ids == 0)) and 255 in void else np.where(unwanted, np.int32(0), ids)


def _matched(path: Path, names: Sequence[str]) -> dict[int, Path]:
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES and not p.stem.endswith(_REJECTED)]
    else:
        raise SignalError(f"there is no label image or folder {path}")
    if not files:
        raise SignalError(f"{path} holds no label image")
    labels = [p for p in files if is_label_name(p.stem)] or files
    if len(labels) == len(names) == 1:
        return {0: labels[0]}
    by_stem: dict[str, Path] = {}
    for file in sorted(labels, key=_preference, reverse=True):
        by_stem[common_stem(file.stem)] = file
    matched = {i: by_stem[common_stem(n)] for i, n in enumerate(names) if common_stem(n) in by_stem}
    if not matched:
        raise SignalError(
            f"no label image in {path} has the stem of a frame: label images such as {labels[0].name}, "
            f"frames such as {names[0]}; rename the label images after their frames"
        )
    return matched


def _preference(path: Path) -> int:
    return next((i for i, ending in enumerate(_PREFERRED) if path.stem.endswith(ending)), len(_PREFERRED))


def _detected(raw: Iterable[tuple[LabelMap, str]], paths: Iterable[Path]) -> str:
    images = list(raw)
    layouts = {layout for _, layout in images}
    if len(layouts) > 1:
        raise SignalError(f"the label images are of several kinds ({', '.join(sorted(layouts))}); name the encoding")
    if layouts == {"rgb"}:
        return "coco"
    if layouts == {"palette"}:
        return "objects"
    if all(is_label_name(path.stem) for path in paths):
        return "cityscapes"
    values = frozenset(int(v) for ids, _ in images for v in np.unique(ids))
    return next(name for name, encoding in ENCODINGS.items() if encoding.fits(values))
