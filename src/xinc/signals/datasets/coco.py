"""COCO panoptic: RGB images whose colours are segment ids, and a JSON file that says what each id is.

``annotations/panoptic_<split>.json``, ``annotations/panoptic_<split>/*.png`` and ``<split>/*.jpg``; every image is a
recording of one frame. The JSON's form is shared by the video data sets, which is why :func:`table` stands here.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xinc.errors import SignalError, XincWarning
from xinc.options.schema import shortened
from xinc.signals.datasets.recording import LabelledVideo, Reader, listed, load_json
from xinc.signals.labels import OTHER, Segment
from xinc.signals.segments import Encoding


def encoding_of(segments: Iterable[Segment]) -> Encoding:
    """The encoding in which a colour is the id of one of the given segments; other colours mean nothing."""
    known = {segment.id: segment for segment in segments}
    return Encoding(ids=lambda values: {v: v for v in values if v in known}, describe=known.__getitem__)


def table(annotations: Iterable[Mapping[str, Any]], categories: Iterable[Mapping[str, Any]]) -> tuple[Segment, ...]:
    """The segments of one video's annotations (or one image's) by their ``segments_info``, ``other`` first.

    Things are numbered from 1 within their category as they appear; a crowd counts as stuff, as it is no instance.

    Raises:
        SignalError: a segment has no id or a category that is not listed.
    """
    named = {category.get("id"): category for category in categories}
    found: dict[int, Segment] = {OTHER.id: OTHER}
    numbers: Counter[int] = Counter()
    try:
        for info in (info for annotation in annotations for info in annotation["segments_info"] or ()):
            if not isinstance(info, dict) or type(info["id"]) is not int or type(info["category_id"]) is not int:
                raise SignalError(
                    f"the panoptic JSON has a segment {shortened(info)}, whose id or category is no number"
                )
            if info["id"] in found:
                continue
            category = named[info["category_id"]]
            thing = bool(category.get("isthing")) and not info.get("iscrowd")
            numbers[category["id"]] += thing
            name = f"{category['name']} group" if category.get("isthing") and not thing else str(category["name"])
            found[info["id"]] = Segment(
                info["id"], name, "thing" if thing else "stuff", numbers[category["id"]] if thing else -1
            )
    except KeyError as absent:
        raise SignalError(f"the panoptic JSON is incomplete: {absent} is used but not given") from None
    return tuple(found.values())


def _json_files(root: Path) -> list[Path]:
    return sorted(p for p in (*root.glob("annotations/panoptic_*.json"), *root.glob("panoptic_*.json")))


def _recordings(root: Path) -> Iterator[LabelledVideo]:
    for path in _json_files(root):
        content = load_json(path, ("images", "annotations", "categories"))
        split = path.stem.removeprefix("panoptic_")
        pictures = [root / split, root / "images" / split, root / "images", root]
        annotations = {annotation.get("image_id"): annotation for annotation in listed(content, "annotations", path)}
        categories, absent = listed(content, "categories", path), 0
        for image in listed(content, "images", path):
            named = str(image.get("file_name"))
            file = next((p / named for p in pictures if (p / named).is_file()), None)
            if file is None:
                absent += 1
                continue
            yield _recording(file, annotations.get(image.get("id")), path.with_suffix(""), categories)
        if absent:
            warnings.warn(
                f"{absent} of {len(content['images'])} images of {path} are not on disk", XincWarning, stacklevel=2
            )


def _recording(
    file: Path, annotation: Mapping[str, Any] | None, masks: Path, categories: Iterable[Mapping[str, Any]]
) -> LabelledVideo:
    if annotation is None:
        return LabelledVideo(file.stem, (file,))
    label = masks / str(annotation.get("file_name"))
    if not label.is_file():
        return LabelledVideo(file.stem, (file,), missing=(label.name,))
    segments = table([annotation], categories)
    return LabelledVideo(file.stem, (file,), {0: label}, encoding_of(segments), table=segments)


READER = Reader(
    layout="COCO panoptic (annotations/panoptic_*.json with a folder of PNG files of that name, and the images)",
    recognises=lambda root: bool(_json_files(root)),
    recordings=_recordings,
)
