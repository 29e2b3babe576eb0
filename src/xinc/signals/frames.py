"""Frames on their way into a clip: which ones are wanted, where they lie, and how they become one tensor."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from xinc import budget
from xinc.errors import SignalError
from xinc.notation import Size
from xinc.signals.pictures import SUFFIXES, Pixels
from xinc.signals.preprocess import Geometry
from xinc.signals.segments import is_label_name


@dataclass(frozen=True)
class Choice:
    """Which frames of a signal are wanted: ``count`` of them (all: None) from ``start``, ``every`` n-th.

    Raises:
        SignalError: a number is out of range.
    """

    start: int = 0
    every: int = 1
    count: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("start", 0), ("every", 1), ("count", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SignalError(f"{name} is {value}; give a whole number of at least {least}")

    @property
    def slice(self) -> slice:
        """The choice as a slice of all frames."""
        stop = None if self.count is None else self.start + self.every * (self.count - 1) + 1
        return slice(self.start, stop, self.every)


def spread(count: int, most: int) -> list[int]:
    """At most so many of ``count`` frames, in order, the first and the last among them, evenly apart."""
    return sorted({round(t) for t in np.linspace(0, count - 1, min(most, count)).tolist()})


@dataclass(frozen=True)
class FrameSource:
    """Named pictures in order, before they are cropped; read once.

    Attributes:
        pictures: name and pixels of each.
        fps: frames a second.
        count: how many there are; 0 where only reading tells.
    """

    pictures: Iterator[tuple[str, Pixels]]
    fps: float | None = None
    count: int = 0


def natural_order(path: Path) -> list[tuple[int, int | str]]:
    """A sorting key under which ``frame2`` comes before ``frame10``."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", path.name) if part]


def frame_files(folder: Path) -> list[Path]:
    """The pictures in a folder, in natural order, maybe none; hidden files and Cityscapes annotations are left out.

    Raises:
        SignalError: two files have one stem.
    """
    files = [
        p
        for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and not is_label_name(p.stem)
    ]
    files.sort(key=natural_order)
    for stem, times in Counter(p.stem for p in files).items():
        if times > 1:
            twins = " and ".join(p.name for p in files if p.stem == stem)
            raise SignalError(f"{folder} has {twins}: one frame twice? Keep label images in a folder of their own")
    return files


def collect(source: FrameSource, size: Size | None, path: Path) -> tuple[list[str], list[Tensor], Geometry]:
    """Names and frames (3, H, W) of a source, each cropped and resized as it comes; and how that was done.

    Raises:
        SignalError: the pictures are of mixed sizes, or do not fit in memory.
    """
    names: list[str] = []
    frames: list[Tensor] = []
    geometry = Geometry((1, 1), (1, 1), (0, 0, 1, 1))
    for name, picture in source.pictures:
        found = (picture.shape[0], picture.shape[1])
        if not frames:
            geometry = Geometry.of(found, size)
            budget.frames(path, max(1, source.count), *geometry.target)
        elif found != geometry.source:
            raise SignalError(
                f"{path} mixes sizes: {names[0]} is {geometry.source[0]}×{geometry.source[1]} (height × width), "
                f"{name} is {found[0]}×{found[1]}; choose frames of one size"
            )
        if len(frames) >= source.count:  # nobody said how many there would be
            budget.frames(path, len(frames) + 1, *geometry.target)
        frames.append(geometry.frame(picture))
        names.append(name)
    return names, frames, geometry
