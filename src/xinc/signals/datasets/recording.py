"""One video of a data set, as files: what every reader of this folder makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xinc.documents import read_any_json
from xinc.errors import SignalError
from xinc.options.schema import shortened
from xinc.signals.labels import Segment
from xinc.signals.segments import Encoding, common_stem


@dataclass(frozen=True)
class LabelledVideo:
    """A video, or a single image, with the label images of its annotated frames; nothing of it has been read yet.

    Attributes:
        name: its name in the data set.
        frames: the frames' files in order.
        labels: frame index to label image; frames that nobody annotated are absent.
        encoding: what the label images' numbers mean; None has it found from them.
        fps: frames a second, None where the data set does not say.
        table: its segments, where a JSON file lists them.
        missing: names of frames and label images that belong to it but are not there.
    """

    name: str
    frames: tuple[Path, ...]
    labels: Mapping[int, Path] = field(default_factory=dict)
    encoding: Encoding | None = None
    fps: float | None = None
    table: tuple[Segment, ...] | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reader:
    """How one data set lies on disk.

    Attributes:
        layout: what a folder of it looks like, for people.
        recognises: whether a folder looks so; it only looks at names.
        recordings: the folder's videos in order.
    """

    layout: str
    recognises: Callable[[Path], bool]
    recordings: Callable[[Path], Iterator[LabelledVideo]]


def by_stem(frames: tuple[Path, ...], labels: list[Path]) -> tuple[dict[int, Path], tuple[str, ...]]:
    """Label images by the index of the frame with the same stem, and the names of those without one.

    Endings that frames and label images of a data set have of their own are left out of the comparison.
    """
    index = {common_stem(frame.stem): i for i, frame in enumerate(frames)}
    stems = {label: common_stem(label.stem) for label in labels}
    matched = {index[stem]: label for label, stem in stems.items() if stem in index}
    return dict(sorted(matched.items())), tuple(label.name for label, stem in stems.items() if stem not in index)


def first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the named folders that exists in ``root``."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def folders(root: Path) -> list[Path]:
    """The folders in ``root``, by name; hidden ones are left out."""
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def load_json(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object that has the given keys.

    Raises:
        SignalError: the file is no JSON, or a key is missing.
    """
    content = json_in(path)
    absent = [key for key in keys if key not in content]
    if absent:
        raise SignalError(f"{path} is not in COCO's format: it has no {', '.join(absent)}")
    return content


NUMBERS = ("id", "image_id", "category_id", "video_id", "track_id", "instance_id")
"""Keys of COCO's whose values name something."""
LISTS = ("file_names", "segments_info", "segmentations")


def listed(content: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """The objects of a list as COCO writes it.

    Raises:
        SignalError: it is no list of them, or one has a value that cannot be.
    """
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise SignalError(f"{path} is no list of objects as COCO writes it: its {key} are none")
    for item in found:
        wrong = next((name for name in NUMBERS if not isinstance(item.get(name), int | str | None)), None)
        wrong = wrong or next((name for name in LISTS if not isinstance(item.get(name), list | None)), None)
        if wrong is not None:
            raise SignalError(f"{path} has {key} with {wrong} {shortened(item[wrong])}, as COCO writes none")
    return found


def json_in(path: Path) -> dict[str, Any]:
    """The JSON object of a file; an empty one where it holds something else.

    Raises:
        SignalError: the file is no JSON.
    """
    content = read_any_json(path, SignalError)
    return content if isinstance(content, dict) else {}
