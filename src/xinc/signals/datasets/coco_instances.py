"""Segments from a JSON file of objects: COCO instances, YouTube-VIS tracks, COCO panoptic.

Objects are polygons or run lengths (RLE, down the columns, plain or compressed). In a file of images each belongs to
the frame of its image's stem, and keeps its ``track_id`` or ``instance_id`` over frames where it has one; in a file of
videos an annotation is one object with a shape a frame. A panoptic file stands beside its label images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xinc.errors import SignalError
from xinc.notation import Mask
from xinc.options.schema import shortened
from xinc.signals.datasets.coco import encoding_of, table
from xinc.signals.datasets.recording import listed, load_json
from xinc.signals.labels import Segment, Segments
from xinc.signals.preprocess import Geometry
from xinc.signals.segments import common_stem, decode

FARTHEST = 1e6
"""Pixels from its corner at which a frame can have a corner of a polygon."""
TRACKS = ("track_id", "instance_id")
"""Keys under which an object keeps its number over the images of a clip."""


class Shape(NamedTuple):
    """One object in one frame.

    Attributes:
        frame: index.
        key: of the object, the same in all its frames.
        info: its annotation.
        outline: polygons or run lengths.
    """

    frame: int
    key: tuple[str, Any]
    info: Mapping[str, Any]
    outline: Any


def read_objects(path: Path, names: Sequence[str], geometry: Geometry) -> Segments:
    """Segments of a clip from a JSON file.

    Args:
        path: the file.
        names: the frames' names, in order.
        geometry: how the frames were cropped and resized.

    Raises:
        SignalError: the file is of none of the forms, names no frame of the clip, or an outline is damaged.
    """
    content = load_json(path, ("annotations", "categories"))
    annotations = listed(content, "annotations", path)
    if any("segments_info" in annotation for annotation in annotations):
        return _panoptic(path, content, names, geometry)
    frames = {common_stem(name): i for i, name in enumerate(names)}
    shapes = list(_of_videos(content, path, frames) if "videos" in content else _of_images(content, path, frames))
    if not shapes:
        raise SignalError(f"{path} names no frame of the clip, whose frames are called such as {names[0]}")
    segments = _described(shapes, {c.get("id"): c for c in listed(content, "categories", path)}, path)
    planes = {frame: np.zeros(geometry.source, np.int32) for frame in sorted({shape.frame for shape in shapes})}
    drawn = [(mask_of(shape.outline, geometry.source, path), shape) for shape in shapes]
    for mask, shape in sorted(drawn, key=lambda one: -int(one[0].sum())):  # small things lie on large ones
        planes[shape.frame][mask] = segments[shape.key].id
    known = {segment.id: segment for segment in segments.values()}
    return Segments.of({i: geometry.labels(plane) for i, plane in planes.items()}, known.__getitem__)


def _of_images(content: Mapping[str, Any], path: Path, frames: Mapping[str, int]) -> Iterator[Shape]:
    images = {image.get("id"): image for image in listed(content, "images", path)}
    frame_of = {key: frames.get(_stem(image.get("file_name"))) for key, image in images.items()}
    if len(images) == len(frames) == 1:  # one image and one frame belong together whatever their names
        frame_of = dict.fromkeys(images, 0)
    for number, annotation in enumerate(listed(content, "annotations", path)):
        frame = frame_of.get(annotation.get("image_id"))
        track = next((key for key in TRACKS if annotation.get(key) is not None), None)
        if frame is not None and annotation.get("segmentation"):
            key = (track, annotation[track]) if track else ("id", annotation.get("id", number))
            yield Shape(frame, key, annotation, annotation["segmentation"])


def _of_videos(content: Mapping[str, Any], path: Path, frames: Mapping[str, int]) -> Iterator[Shape]:
    """The video of the file that has most of the frames."""
    stems = {
        video.get("id"): [_stem(name) for name in video.get("file_names") or ()]
        for video in listed(content, "videos", path)
    }
    chosen = max(stems, key=lambda key: len(frames.keys() & set(stems[key])), default=None)
    for number, annotation in enumerate(listed(content, "annotations", path)):
        if chosen is None or annotation.get("video_id") != chosen:
            continue
        for stem, outline in zip(stems[chosen], annotation.get("segmentations") or (), strict=False):
            if outline and stem in frames:
                yield Shape(frames[stem], ("id", annotation.get("id", number)), annotation, outline)


def _stem(name: Any) -> str:
    return common_stem(Path(str(name)).stem)


def _described(
    shapes: Iterable[Shape], categories: Mapping[Any, Mapping[str, Any]], path: Path
) -> dict[tuple[str, Any], Segment]:
    """A segment for each object, numbered from 1 as they appear, and within its category; a crowd is no thing."""
    found: dict[tuple[str, Any], Segment] = {}
    numbers: Counter[str] = Counter()
    for shape in shapes:
        if shape.key in found:
            continue
        category = categories.get(shape.info.get("category_id"))
        if category is None:
            raise SignalError(f"{path} lists no category {shape.info.get('category_id')!r}, which an object has")
        name, crowd = str(category.get("name", f"class {category.get('id')}")), bool(shape.info.get("iscrowd"))
        numbers[name] += not crowd
        kind = ("stuff", -1) if crowd else ("thing", numbers[name])
        found[shape.key] = Segment(len(found) + 1, f"{name} group" if crowd else name, *kind)  # type: ignore[arg-type]
    return found


def _panoptic(path: Path, content: Mapping[str, Any], names: Sequence[str], geometry: Geometry) -> Segments:
    """Label images beside a panoptic file: in a folder of its name, of masks, or its own."""
    index = {common_stem(name): i for i, name in enumerate(names)}
    folders = [path.with_suffix(""), path.parent / "masks", path.parent]
    files, used = {}, []
    for annotation in listed(content, "annotations", path):
        own = str(annotation.get("file_name"))
        file = next((folder / own for folder in folders if own and (folder / own).is_file()), None)
        frame = index.get(_stem(own))
        if file is not None and frame is not None:
            files[frame] = file
            used.append(annotation)
    if not files:
        raise SignalError(f"{path} has no label image of a frame beside it, in {', '.join(map(str, folders))}")
    known = table(used, listed(content, "categories", path))
    return decode(files, geometry, encoding_of(known))


def mask_of(outline: Any, size: tuple[int, int], path: Path) -> Mask:
    """The pixels of an outline, ``(H, W)``.

    Args:
        outline: polygons, each a list of x, y, x, y ... in pixels; or ``{"size": [H, W], "counts": ...}``, run lengths
            that begin with what lies outside: a list, or compressed to a string.
        size: of the frames.
        path: of the file, for messages.

    Raises:
        SignalError: the outline is damaged or of another size.
    """
    if isinstance(outline, dict):
        if outline.get("size") != [*size]:
            raise SignalError(
                f"{path} has run lengths of size {shortened(outline.get('size'))}, the frames are {size[0]}×{size[1]}"
            )
        return _filled(outline.get("counts"), size, path)
    from skimage.draw import polygon

    mask = np.zeros(size, bool)
    for corners in outline if isinstance(outline, list) else (None,):
        try:
            flat = np.asarray(corners, np.float64)
            points = flat.reshape(-1, 2) if flat.ndim == 1 else np.full((1, 2), np.nan)
        except (TypeError, ValueError, OverflowError):
            points = np.full((1, 2), np.nan)
        if not (np.abs(points) < FARTHEST).all():
            raise SignalError(f"{path} has a polygon that is no list of x, y, x, y ... in pixels")
        rows, columns = polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, size)  # type: ignore[no-untyped-call]
        mask[rows, columns] = True
    return mask


def _filled(counts: Any, size: tuple[int, int], path: Path) -> Mask:
    pixels = size[0] * size[1]
    try:
        runs = np.asarray(_unpacked(counts) if isinstance(counts, str | bytes) else counts, np.int64)
        whole = runs.ndim == 1 and bool((runs >= 0).all()) and bool((runs <= pixels).all()) and runs.sum() == pixels
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise SignalError(f"{path} has run lengths that do not fill a frame of {size[0]}×{size[1]}; they are damaged")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[::-1]).T


def _unpacked(text: str | bytes) -> list[int]:
    """Run lengths from COCO's string: five bits a character from 48, the sixth goes on; from the third, differences."""
    data = text.encode("ascii") if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for character in data:
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("no run is so long")
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
