"""``xinc.open``: an image, a video, a folder of frames or a sample becomes a clip."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from xinc.errors import SignalError
from xinc.signals import samples
from xinc.signals.clip import Clip
from xinc.signals.pictures import SUFFIXES, Pixels, is_picture, read_animation, read_rgb
from xinc.signals.preprocess import Geometry, Size
from xinc.signals.segments import is_label_name, read_segments
from xinc.signals.videos import Video


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


@dataclass(frozen=True)
class Source:
    """Named pictures in order, before they are cropped; read once."""

    pictures: Iterator[tuple[str, Pixels]]
    fps: float | None = None


def open(
    path: str | Path,
    size: Size | None = None,
    every: int = 1,
    start: int = 0,
    count: int | None = None,
    segments: str | Path | None = None,
    encoding: str = "auto",
) -> Clip:
    """Open a signal as a clip.

    Frames are cropped at the centre to the aspect of ``size`` and reduced by a bicubic filter, as in the paper (section
    4.1); see :mod:`xinc.signals.preprocess`. Grey, palette, transparent (on white), CMYK, 16-bit, 4:4:4, 10-bit and
    rotated inputs become RGB; see :mod:`xinc.signals.pictures`.

    Args:
        path: an image, a video, a folder of frames (natural order of names), a video of a data set as
            ``"FOLDER:VIDEO"`` (see :mod:`xinc.signals.datasets`; it brings its segments), or the name of a sample:
            ``"bunny"``, ``"bikes"``, ``"carphone"``, or one of scikit-image's photographs such as ``"astronaut"``.
        size: (H, W) in pixels; None keeps the frames as they are.
        every: take every n-th frame.
        start: first frame, from 0.
        count: number of frames; None takes all. A signal that ends before gives fewer, and a warning.
        segments: a label image, or a folder of them; each belongs to the frame of the same stem.
        encoding: what the label images' numbers mean, a key of
            :data:`xinc.signals.segments.ENCODINGS`; ``"auto"`` finds it.

    Returns:
        A clip: frames (T, 3, H, W), float32 in [0, 1].

    Raises:
        SignalError: the signal or its segments are missing, unreadable, empty, of mixed sizes, or do not fit in memory.
    """
    from xinc.signals.datasets import catalogue as datasets  # its readers are made of what is here

    choice = Choice(start, every, count)
    if video := datasets.find(path):
        if segments:
            raise SignalError(f"{path} brings the annotations of its data set; leave {segments} out")
        return datasets.open_recording(video[1], video[0], size, choice)
    found = locate(path)
    source = _source(found, choice)
    names, frames, geometry = collect(source, size, found)
    if not frames:
        raise SignalError(f"{found} has no frame {start}: start lies past its end")
    if count is not None and len(frames) < count:
        warnings.warn(f"{found} gives {len(frames)} frames, not the {count} asked for", stacklevel=2)
    return Clip(
        frames=torch.stack(frames),
        names=tuple(names),
        fps=source.fps / every if source.fps else None,
        segments=read_segments(Path(segments), names, geometry, encoding) if segments else None,
        source=str(path),
    )


def locate(path: str | Path) -> Path:
    """The file or folder that a path or the name of a sample means; an existing path wins over a sample's name.

    Raises:
        SignalError: there is neither.
    """
    found = Path(path).expanduser()
    if str(path) and found.exists():
        return found
    if str(path) in samples.NAMES:
        return samples.path(str(path))
    raise SignalError(f"there is no file or folder {path}, nor a sample of that name ({', '.join(samples.NAMES)})")


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


def _folder(folder: Path, choice: Choice) -> Source:
    files = frame_files(folder)
    if not files:
        inner = sorted(p.name for p in folder.iterdir() if p.is_dir())
        hint = f"; it has folders ({', '.join(inner[:5])}): name one of them" if inner else ""
        raise SignalError(f"the folder {folder} holds no image{hint}")
    return Source((p.stem, read_rgb(p)) for p in files[choice.slice])


def _source(path: Path, choice: Choice) -> Source:
    if path.is_dir():
        return _folder(path, choice)
    wanted = choice.slice
    if is_picture(path):
        return Source(islice(read_animation(path), wanted.start, wanted.stop, wanted.step))
    video = Video.open(path)
    numbered = islice(enumerate(video.frames()), wanted.start, wanted.stop, wanted.step)
    return Source(((f"{i:05d}", picture) for i, picture in numbered), video.fps)


def collect(source: Source, size: Size | None, path: Path) -> tuple[list[str], list[Tensor], Geometry]:
    """Names and frames (3, H, W) of a source, each cropped and resized as it comes; and how that was done.

    Raises:
        SignalError: the pictures are of mixed sizes, or do not fit in memory.
    """
    names: list[str] = []
    frames: list[Tensor] = []
    geometry = Geometry((1, 1), (1, 1), (0, 0, 1, 1))
    budget = memory() // 3  # the list, the stacked tensor, and room to work
    for name, picture in source.pictures:
        found = (picture.shape[0], picture.shape[1])
        if not frames:
            geometry = Geometry.of(found, size)
        elif found != geometry.source:
            raise SignalError(
                f"{path} mixes sizes: {names[0]} is {geometry.source[0]}×{geometry.source[1]} (height × width), "
                f"{name} is {found[0]}×{found[1]}; choose frames of one size"
            )
        frames.append(geometry.frame(picture))
        names.append(name)
        taken = len(frames) * frames[0].nbytes
        if taken > budget:
            raise SignalError(
                f"{path} does not fit in memory: {len(frames)} frames take {taken >> 20} MB so far; "
                "give a smaller size, or choose frames (every, start, count)"
            )
    return names, frames, geometry


def memory() -> int:
    """The machine's memory in bytes; very much where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 50
