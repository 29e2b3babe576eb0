"""``xinc.open``: an image, a video, a folder of frames or a sample becomes a clip."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from xinc.errors import SignalError, XincWarning
from xinc.notation import Size
from xinc.signals import samples
from xinc.signals.clip import Clip
from xinc.signals.datasets import catalogue as datasets
from xinc.signals.datasets.coco_instances import read_objects
from xinc.signals.frames import Choice, FrameSource, collect, frame_files
from xinc.signals.labels import Segments
from xinc.signals.pictures import is_picture, read_animation, read_rgb
from xinc.signals.preprocess import Geometry
from xinc.signals.segments import read_segments
from xinc.signals.videos import Video


def open(
    path: str | Path,
    size: Size | None = None,
    every: int = 1,
    start: int = 0,
    count: int | None = None,
    segments: str | Path | None = None,
    encoding: str = "auto",
    *,
    annotations: str | Path | None = None,
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
        segments: a label image, or a folder of them; each belongs to the frame of the same stem. Or a JSON file of
            objects: COCO instances, YouTube-VIS tracks, COCO panoptic.
        encoding: what the label images' numbers mean, a key of
            :data:`xinc.signals.segments.ENCODINGS`; ``"auto"`` finds it.
        annotations: the same as ``segments``, named as on the command line.

    Returns:
        A clip: frames (T, 3, H, W), float32 in [0, 1].

    Raises:
        SignalError: the signal or its segments are missing, unreadable, empty, of mixed sizes, or do not fit in memory.
    """
    if segments and annotations:
        raise SignalError("segments and annotations are two names of one thing; give one of them")
    segments = segments or annotations
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
        warnings.warn(f"{found} gives {len(frames)} frames, not the {count} asked for", XincWarning, stacklevel=2)
    return Clip(
        frames=torch.stack(frames),
        names=tuple(names),
        fps=source.fps / every if source.fps else None,
        segments=_segments(Path(segments), names, geometry, encoding) if segments else None,
        source=str(path),
    )


def locate(path: str | Path) -> Path:
    """The file or folder that a path or the name of a sample means; an existing path wins over a sample's name.

    Raises:
        SignalError: there is neither.
    """
    found = Path(path).expanduser()
    if str(path) and found.exists():
        if not found.is_dir() and not found.is_file():
            raise SignalError(f"{path} is a device, pipe or socket; name an image, a video or a folder of frames")
        return found
    if str(path) in samples.NAMES:
        return samples.path(str(path))
    raise SignalError(f"there is no file or folder {path}, nor a sample of that name ({', '.join(samples.NAMES)})")


def _segments(path: Path, names: Sequence[str], geometry: Geometry, encoding: str) -> Segments:
    if path.suffix.lower() == ".json" and path.is_file():
        return read_objects(path, names, geometry)
    return read_segments(path, names, geometry, encoding)


def _folder(folder: Path, choice: Choice) -> FrameSource:
    files = frame_files(folder)
    if not files:
        inner = sorted(p.name for p in folder.iterdir() if p.is_dir())
        hint = f"; it has folders ({', '.join(inner[:5])}): name one of them" if inner else ""
        raise SignalError(f"the folder {folder} holds no image{hint}")
    wanted = files[choice.slice]
    return FrameSource(((p.stem, read_rgb(p)) for p in wanted), count=len(wanted))


def _source(path: Path, choice: Choice) -> FrameSource:
    if path.is_dir():
        return _folder(path, choice)
    wanted = choice.slice
    if is_picture(path):
        return FrameSource(islice(read_animation(path), wanted.start, wanted.stop, wanted.step))
    video = Video.open(path)
    numbered = islice(enumerate(video.frames()), wanted.start, wanted.stop, wanted.step)
    return FrameSource(((f"{i:05d}", picture) for i, picture in numbered), video.fps)
