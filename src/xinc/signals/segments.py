"""Segments from label images: what their numbers mean, and which frame an image belongs to.

Encodings (``ENCODINGS``):

``cityscapes``
    ``instanceIds``: a value below 1000 is a class (stuff, or a group of things), else class · 1000 + instance.
``cityscapes-vps``
    ``panoptic_inst`` of Cityscapes-VPS: the same with training classes (0 road to 18 bicycle), 255 is void; the ids
    become those of ``cityscapes``.
``vipseg``
    raw ``panomasks``: a value below 125 is a stuff class, else class · 100 + instance; other values (200 and 255 occur)
    are void.
``coco``
    RGB images, id = R + 256 G + 65536 B: one id a segment (COCO panoptic; the categories stand in a JSON file apart).
``objects``
    palette and grey images: one number an object (DAVIS, VIPSeg's palette); 255 is void beside other numbers.
``instances``
    one number an object, counted from 0 (the running numbers of COCO-Stuff); 255 is void.
``classes``
    a class a number, from 0 (COCO-Stuff's labels, Cityscapes' training classes); 255 is void.
``sceneparsing``
    a class a number, from 1 (ADE20K's 150 scene-parsing classes); 0 is void.
``camvid``
    CamVid's eleven classes, 0 sky to 10 bicyclist; 11 is void.
``ade20k``
    RGB images of ADE20K: class = R / 10 · 256 + G, instance = B; class 0 is void.

What is void, or not said to be anything, gets id 0 (``other``). A thing has one id in all frames.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xinc import budget
from xinc.errors import SignalError, XincWarning
from xinc.signals.classes import (
    CAMVID,
    CITYSCAPES,
    CITYSCAPES_THINGS,
    CITYSCAPES_TRAIN,
    CITYSCAPES_VOID,
    SCENE_PARSING,
    VIPSEG,
    VIPSEG_THINGS,
)
from xinc.signals.labels import LabelMap, Segment, Segments
from xinc.signals.pictures import SUFFIXES, picture_size, read_ids
from xinc.signals.preprocess import Geometry, fit_labels

LabelValues = frozenset[int]


@dataclass(frozen=True)
class Encoding:
    """What the numbers of a label image mean.

    Attributes:
        ids: all numbers that occur to the segment id of each; a number that is left out means "no segment".
        describe: a segment id to its segment.
        fits: whether a set of numbers can have been written in this encoding.
    """

    ids: Callable[[LabelValues], Mapping[int, int]]
    describe: Callable[[int], Segment]
    fits: Callable[[LabelValues], bool] = lambda values: False


def _cityscapes(value: int) -> Segment:
    class_id, instance = (value, -1) if value < 1000 else divmod(value, 1000)
    name = CITYSCAPES.get(class_id, f"class {class_id}")
    if instance >= 0:
        return Segment(value, name, "thing", instance)
    return Segment(value, f"{name} group" if class_id in CITYSCAPES_THINGS else name, "stuff")


def _vipseg(value: int) -> Segment:
    if value <= len(VIPSEG):
        return Segment(value, VIPSEG[value], "stuff")
    class_id, instance = divmod(value, 100)
    return Segment(value, VIPSEG.get(class_id, f"class {class_id}"), "thing", instance)


def _object(value: int) -> Segment:
    return Segment(value, "object", "thing", value)


def _class(value: int) -> Segment:
    return Segment(value, f"class {value - 1}", "stuff")


def _scene_class(value: int) -> Segment:
    return Segment(value, SCENE_PARSING.get(value, f"class {value}"), "stuff")


def _instance(value: int) -> Segment:
    return Segment(value, "object", "thing", value - 1)


def _camvid(value: int) -> Segment:
    return Segment(value, CAMVID[value - 1], "stuff")


ADE_INSTANCES = 256
"""Instances of a class that an ADE20K id leaves room for."""


def _ade20k_id(value: int) -> int:
    """Red, green and blue of an ADE20K image, as :func:`read_ids` packs them, as class * 256 + instance."""
    red, green, blue = value & 255, value >> 8 & 255, value >> 16
    return (red // 10 * 256 + green) * ADE_INSTANCES + blue


def _ade20k(value: int) -> Segment:
    class_id, instance = divmod(value, ADE_INSTANCES)
    return Segment(value, f"class {class_id}", "thing" if instance else "stuff", instance or -1)


def _from_zero(values: LabelValues) -> dict[int, int]:
    """Numbers that count from 0, where 0 means something: ids are one more."""
    return {value: value + 1 for value in values if value != 255}


def _train_id(value: int) -> int:
    """A number of Cityscapes-VPS (training class, 1000 a class of things) in Cityscapes' own classes; 0 for void."""
    class_id, rest = (value, 0) if value < 1000 else divmod(value, 1000)
    if class_id >= len(CITYSCAPES_TRAIN):
        return 0
    return CITYSCAPES_TRAIN[class_id] * (1000 if value >= 1000 else 1) + rest


def _as_they_are(values: LabelValues) -> dict[int, int]:
    return {value: value for value in values}


def _things_in(values: LabelValues, base: int, classes: Container[int]) -> bool:
    """Whether numbers above ``base`` occur, and all of them are instances of the given classes."""
    found = {value // base for value in values if value >= base}
    return bool(found) and all(class_id in classes for class_id in found)


ENCODINGS: Mapping[str, Encoding] = {
    "cityscapes": Encoding(
        ids=lambda values: {v: v for v in values if v > CITYSCAPES_VOID},
        describe=_cityscapes,
        fits=lambda values: _things_in(values, 1000, CITYSCAPES_THINGS) and not any(33 < v < 1000 for v in values),
    ),
    "vipseg": Encoding(
        ids=lambda values: {v: v for v in values if v <= len(VIPSEG) or v // 100 in VIPSEG_THINGS},
        describe=_vipseg,
        fits=lambda values: _things_in(values - set(VIPSEG), 100, VIPSEG_THINGS),
    ),
    "cityscapes-vps": Encoding(
        ids=lambda values: {v: _train_id(v) for v in values},
        describe=_cityscapes,
        fits=lambda values: (
            _things_in(values, 1000, range(11, 19)) and not any(10 < v < 1000 and v != 255 for v in values)
        ),
    ),
    "coco": Encoding(ids=_as_they_are, describe=_object),
    "objects": Encoding(
        ids=lambda values: {v: v for v in values if v != 255 or values <= {0, 255}},
        describe=_object,
        fits=lambda values: True,
    ),
    "instances": Encoding(ids=_from_zero, describe=_instance),
    "classes": Encoding(ids=_from_zero, describe=_class),
    "sceneparsing": Encoding(ids=lambda values: {v: v for v in values if v != 255}, describe=_scene_class),
    "camvid": Encoding(ids=lambda values: _from_zero(values & {*range(len(CAMVID))}), describe=_camvid),
    "ade20k": Encoding(ids=lambda values: {v: _ade20k_id(v) for v in values}, describe=_ade20k),
}
"""What numbers of label images mean, by the names that ``encoding`` takes."""

NAMES = "classes.txt"
"""File of class names among label images, a line a number, from 0."""

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
        encoding: a key of :data:`ENCODINGS`, or ``"auto"``: found from the layout and the values of all images. A file
            ``classes.txt`` among the images names the classes of ``classes`` and ``sceneparsing``, a line each from 0.

    Raises:
        SignalError: the path is missing or empty, no image belongs to a frame, an image is unreadable or of another
            size than its frame, or the encoding is not known.
    """
    if encoding != "auto" and encoding not in ENCODINGS:
        raise SignalError(f"there is no label encoding {encoding!r}; choose one of auto, {', '.join(ENCODINGS)}")
    return _named(decode(_matched(path, names), geometry, ENCODINGS.get(encoding)), path, encoding)


def _named(segments: Segments, path: Path, encoding: str) -> Segments:
    """Segments under the names that a file ``classes.txt`` gives: its first line is class 0, and so on."""
    listed = path / NAMES
    if encoding not in ("classes", "sceneparsing") or not listed.is_file():
        return segments
    lines = [line.strip() for line in listed.read_text(encoding="utf-8", errors="replace").splitlines()]
    shift = 1 if encoding == "classes" else 0
    table = [
        replace(s, category=lines[s.id - shift]) if s.id and s.id - shift < len(lines) and lines[s.id - shift] else s
        for s in segments.table
    ]
    return Segments(segments.labels, tuple(table))


def decode(files: Mapping[int, Path], geometry: Geometry, encoding: Encoding | None) -> Segments:
    """Segments from the label image of each annotated frame.

    Args:
        files: frame index to label image.
        geometry: how the frames were cropped and resized.
        encoding: what the numbers mean; None finds it from the layout and the values of all images together.

    Raises:
        SignalError: an image is unreadable or of another size than its frame.
    """
    paths = sorted(set(files.values()))
    budget.label_images(paths[0], len(paths), *picture_size(paths[0]))
    planes, encoding = read_planes(paths, encoding)
    planes = fit_labels(planes, geometry.source)
    return Segments.of({i: geometry.labels(planes[path]) for i, path in files.items()}, encoding.describe)


def read_planes(paths: Sequence[Path], encoding: Encoding | None) -> tuple[dict[Path, LabelMap], Encoding]:
    """Label images as segment ids (H, W), each of the size that it has, and the encoding that was given or found."""
    raw = {path: read_ids(path) for path in paths}
    values = frozenset(int(v) for ids, _ in raw.values() for v in np.unique(ids))
    if encoding is None:
        layouts = {layout for _, layout in raw.values()}
        encoding = ENCODINGS[_detected(layouts, values, paths)]
        if encoding is ENCODINGS["objects"] and layouts == {"grey"} and _may_be_classes(values):
            held = f"hold numbers 0 to {max(values - {255})}" + ", and 255" * (255 in values)
            warnings.warn(
                f"the label images around {paths[0]} {held}, and are read as objects, 0 being none of them; say "
                "encoding classes, instances or camvid if 0 means something",
                XincWarning,
                stacklevel=2,
            )
        if encoding is ENCODINGS["coco"]:
            warnings.warn(
                f"the colours of the label images around {paths[0]} are taken for an object each; a panoptic JSON file"
                " says which are stuff: give it as annotations, or lay it beside them",
                XincWarning,
                stacklevel=2,
            )
    found = np.array(sorted(values), dtype=np.int32)
    meaning = encoding.ids(values)
    ids = np.array([meaning.get(int(v), 0) for v in found], dtype=np.int32)
    return {path: ids[np.searchsorted(found, plane)] for path, (plane, _) in raw.items()}, encoding


def _matched(path: Path, names: Sequence[str]) -> dict[int, Path]:
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = [p for p in sorted(path.iterdir()) if p.suffix.lower() in SUFFIXES and not p.stem.endswith(_REJECTED)]
    else:
        raise SignalError(f"there is no label image or folder {path}")
    if not files:
        raise SignalError(f"{path} holds no label image")
    named = {common_stem(p.stem) for p in files if is_label_name(p.stem)}
    labels = [p for p in files if is_label_name(p.stem) or common_stem(p.stem) not in named]
    if named:  # the frames themselves may lie beside their label images
        labels = [p for p in labels if not p.stem.endswith("_leftImg8bit")]
    if len(labels) == len(names) == 1:
        return {0: labels[0]}
    by_stem: dict[str, Path] = {}
    for file in sorted(labels, key=_preference, reverse=True):
        by_stem[common_stem(file.stem)] = file
    by_stem = _counted_from_zero(by_stem, names, path)
    matched = {i: by_stem[common_stem(n)] for i, n in enumerate(names) if common_stem(n) in by_stem}
    _name_strays(by_stem, names, path)
    if not matched:
        raise SignalError(
            f"no label image in {path} has the stem of a frame: label images such as {labels[0].name}, "
            f"frames such as {names[0]}; rename the label images, or choose annotated frames"
        )
    return matched


def _counted_from_zero(by_stem: dict[str, Path], names: Sequence[str], path: Path) -> dict[str, Path]:
    """Label images by the frames' own numbers: frames that count from 0 and label images that count from 1 are said."""
    frames, labels = ({int(n) for n in stems if n.isdecimal()} for stems in (map(common_stem, names), by_stem))
    if len(labels) < 2 or len(labels) != len(by_stem) or 0 not in frames or labels != {*range(1, len(labels) + 1)}:
        return by_stem
    warnings.warn(
        f"the label images in {path} are numbered from 1, the frames from 0: {by_stem['1'].name} is taken for frame 0; "
        "rename them from 0 if it belongs to frame 1",
        XincWarning,
        stacklevel=2,
    )
    return {str(int(stem) - 1): file for stem, file in by_stem.items()}


def _name_strays(by_stem: Mapping[str, Path], names: Sequence[str], path: Path) -> None:
    """Say which label images belong to no frame, where no other frames were left out on purpose."""
    stems = {common_stem(name) for name in names}
    numbers = sorted(int(stem) for stem in stems if stem.isdecimal())
    gaps = len(numbers) == len(stems) and numbers != [*range(numbers[0], numbers[0] + len(numbers))]
    last = numbers[-1] if len(numbers) == len(stems) else -1
    strays = [f.name for s, f in by_stem.items() if s not in stems and not (s.isdecimal() and (gaps or int(s) > last))]
    if strays and len(strays) < len(by_stem):
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        warnings.warn(
            f"{', '.join(sorted(strays)[:3])}{more} in {path} belong to no frame; left out", XincWarning, stacklevel=2
        )


def _preference(path: Path) -> int:
    return next((i for i, ending in enumerate(_PREFERRED) if path.stem.endswith(ending)), len(_PREFERRED))


PANOPTIC = ("cityscapes", "cityscapes-vps", "vipseg")
"""Encodings whose numbers are also stored as colours."""


def _of_cityscapes(values: LabelValues, paths: Sequence[Path]) -> bool:
    """Whether label images are called as Cityscapes' pictures, and hold nothing but its classes and instances."""
    named = all(path.stem.endswith("_leftImg8bit") for path in paths)
    return named and all((v if v < 1000 else v // 1000) <= max(CITYSCAPES) or v == 255 for v in values)


MANY_CLASSES = 6
"""Numbers in a row from which on grey label images may hold classes, or instances, that count from 0."""


def _may_be_classes(values: LabelValues) -> bool:
    """Whether 0 may mean something: numbers in a row from 0, or nothing has a number of its own, 255, beside it."""
    numbers = values - {255}
    in_a_row = len(numbers) >= MANY_CLASSES and numbers == {*range(max(numbers) + 1)}
    return in_a_row or (255 in values and 0 in values and len(numbers) > 1)


def _detected(layouts: set[str], values: LabelValues, paths: Sequence[Path]) -> str:
    if len(layouts) > 1:
        raise SignalError(
            f"the label images around {paths[0]} are of several kinds ({', '.join(sorted(layouts))}); keep one kind"
        )
    if layouts == {"rgb"}:  # panoptic images of driving and of VIPSeg keep their classes in the colours
        return next((name for name in PANOPTIC if ENCODINGS[name].fits(values)), "coco")
    if layouts == {"palette"}:
        return "objects"
    if all(is_label_name(path.stem) for path in paths) or _of_cityscapes(values, paths):
        return "cityscapes"
    return next(name for name, encoding in ENCODINGS.items() if encoding.fits(values))
