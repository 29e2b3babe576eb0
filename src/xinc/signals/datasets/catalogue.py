"""Data sets with panoptic labels, read in one way: what is in a copy of one, and a video of it as a clip.

One module a data set; ``READERS`` is the table of them. A folder is recognised by its layout. ``FOLDER:VIDEO`` names a
video of a data set wherever a signal is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xinc.errors import SignalError, XincWarning
from xinc.notation import Size
from xinc.signals.clip import Clip
from xinc.signals.datasets import cityscapes, cityscapes_vps, coco, davis, plain, vipseg
from xinc.signals.datasets.recording import LabelledVideo, Reader
from xinc.signals.frames import Choice, FrameSource, collect
from xinc.signals.pictures import SUFFIXES, picture_size, read_rgb
from xinc.signals.segments import decode, read_planes

READERS: Mapping[str, Reader] = {
    "Cityscapes-VPS": cityscapes_vps.READER,
    "VIPSeg": vipseg.READER,
    "DAVIS": davis.READER,
    "COCO panoptic": coco.READER,
    "plain": plain.READER,
    "Cityscapes": cityscapes.READER,
}
"""Data set to reader, the most particular layout first."""


@dataclass(frozen=True)
class VideoRow:
    """One video of a data set.

    Attributes:
        dataset: a key of :data:`READERS`.
        video: its name, for :func:`open`.
        frames: how many frames it has.
        height: of its first frame, in pixels; None where it has no frame.
        width: likewise.
        labelled: how many of its frames are annotated.
        segments: how many segments occur in all, without ``other``; None where they were not counted.
        things: how many of these are instances of things.
        stuff: how many are not.
        missing: how many frames and label images should be there but are not.
    """

    dataset: str
    video: str
    frames: int
    height: int | None
    width: int | None
    labelled: int
    segments: int | None
    things: int | None
    stuff: int | None
    missing: int


@dataclass(frozen=True)
class Summary:
    """A data set as a row of the paper's Table 1.

    Attributes:
        dataset: its name.
        videos: how many.
        instances: fewest and most things in a video; None where they were not counted.
        frames: fewest and most frames of a video.
        labelled: share of all frames that are annotated, 0 to 1.
    """

    dataset: str
    videos: int
    instances: tuple[int, int] | None
    frames: tuple[int, int]
    labelled: float


def recognise(path: str | Path) -> str:
    """Which data set lies in a folder: a key of :data:`READERS`.

    Raises:
        SignalError: there is no such folder, or it is laid out like none that is known.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise SignalError(f"there is no folder {path}")
    for name, reader in READERS.items():
        if reader.recognises(root):
            return name
    layouts = "; ".join(reader.layout for reader in READERS.values())
    raise SignalError(f"{path} is not laid out like a data set that is known: {layouts}")


def recordings(path: str | Path) -> list[LabelledVideo]:
    """The videos of a data set as files, in order.

    Raises:
        SignalError: as :func:`recognise`; or a JSON file of the data set is damaged, or nothing is in it.
    """
    found = list(READERS[recognise(path)].recordings(Path(path).expanduser()))
    if not found:
        raise SignalError(f"{path} is laid out like {recognise(path)}, but holds no video of it")
    return found


def listing(
    path: str | Path, count: bool = True, progress: Callable[[str, int, int], None] = lambda video, done, total: None
) -> list[VideoRow]:
    """What is in a copy of a data set: a row for each video.

    Args:
        path: the data set's folder.
        count: whether to count segments. Unless a JSON file lists them, every label image is read for that: some
            10 ms a megapixel.
        progress: told of each video: its name, how many are done, how many there are.

    Raises:
        SignalError: as :func:`recordings`; or a label image or the first frame of a video is unreadable.
    """
    name, found = recognise(path), recordings(path)
    rows = []
    for done, recording in enumerate(found):
        progress(recording.name, done, len(found))
        kinds = _kinds(recording) if count else None
        height, width = picture_size(recording.frames[0]) if recording.frames else (None, None)
        rows.append(
            VideoRow(
                dataset=name,
                video=recording.name,
                frames=len(recording.frames),
                height=height,
                width=width,
                labelled=len(recording.labels),
                segments=None if kinds is None else len(kinds),
                things=None if kinds is None else kinds.count("thing"),
                stuff=None if kinds is None else kinds.count("stuff"),
                missing=len(recording.missing),
            )
        )
    return rows


def summary(rows: Iterable[VideoRow]) -> Summary:
    """The rows of one data set as one row of the paper's Table 1.

    Raises:
        ValueError: there is no row.
    """
    rows = list(rows)
    things = [row.things for row in rows if row.things is not None]
    frames = [row.frames for row in rows]
    return Summary(
        dataset=rows[0].dataset if rows else "",
        videos=len(rows),
        instances=(min(things), max(things)) if things else None,
        frames=(min(frames), max(frames)),
        labelled=sum(row.labelled for row in rows) / max(1, sum(frames)),
    )


def open(
    path: str | Path,
    video: str | None = None,
    size: Size | None = None,
    every: int = 1,
    start: int = 0,
    count: int | None = None,
) -> Clip:
    """A video of a data set as a clip with segments; crop and resize are those of :func:`xinc.open`.

    What is not as it should be is said in one warning each: frames or label images that are missing, label images of
    another size, no annotation at all.

    Args:
        path: the data set's folder.
        video: a name of :func:`listing`, or its last part (``"0005"`` for ``"val/0005"``); None if there is only one.
        size: (H, W) in pixels; None keeps the frames as they are.
        every: take every n-th frame.
        start: first frame, from 0.
        count: number of frames; None takes all.

    Returns:
        A clip: frames (T, 3, H, W), float32 in [0, 1]; segments of the annotated frames, None if there are none.

    Raises:
        SignalError: as :func:`recordings`; or the video is not there, or a file of it is unreadable.
    """
    return open_recording(_chosen(recordings(path), video, path), path, size, Choice(start, every, count))


def find(signal: str | Path) -> tuple[Path, LabelledVideo] | None:
    """The data set's folder and the video that a signal's address means; None where it is an address of no data set.

    Args:
        signal: ``FOLDER:VIDEO``; or ``FOLDER`` alone where it holds no picture itself and is laid out like a data set.

    Raises:
        SignalError: the data set has no such video, or several and none is named; or a JSON file of it is damaged.
    """
    root = Path(signal).expanduser()
    if root.exists():
        return (root, _chosen(recordings(root), None, root)) if _is_bare(root) else None
    folder, _, video = str(signal).rpartition(":")
    root = Path(folder).expanduser()
    return (root, _chosen(recordings(root), video, root)) if folder and video and root.is_dir() else None


def _is_bare(folder: Path) -> bool:
    """Whether a path is a folder without pictures of its own that is laid out like a data set."""
    if not folder.is_dir() or any(p.suffix.lower() in SUFFIXES for p in folder.iterdir()):
        return False
    return any(reader.recognises(folder) for reader in READERS.values())


def open_recording(recording: LabelledVideo, root: str | Path, size: Size | None, choice: Choice) -> Clip:
    """A video that was found as a clip; see :func:`open`."""
    _say_what_is_amiss(recording)
    chosen = list(range(len(recording.frames)))[choice.slice]
    files = [recording.frames[i] for i in chosen]
    source = FrameSource((file.stem, read_rgb(file)) for file in files)
    names, frames, geometry = collect(source, size, Path(root) / recording.name)
    if not frames:
        raise SignalError(
            f"{recording.name} of {root} has no frame {choice.start}: it has {len(recording.frames)} frames"
        )
    labels = {new: recording.labels[old] for new, old in enumerate(chosen) if old in recording.labels}
    return Clip(
        frames=torch.stack(frames),
        names=tuple(names),
        fps=recording.fps / choice.every if recording.fps else None,
        segments=decode(labels, geometry, recording.encoding) if labels else None,
        source=f"{root}:{recording.name}",
    )


def _chosen(found: list[LabelledVideo], video: str | None, path: str | Path) -> LabelledVideo:
    wanted = [r for r in found if video in (None, r.name, r.name.rsplit("/", 1)[-1])]
    if len(wanted) == 1:
        return wanted[0]
    some = wanted or found
    names = ", ".join(r.name for r in some[:6]) + (", ..." if len(some) > 6 else "")
    problem = f"name one of its videos, as {path}:{some[0].name}" if wanted else f"there is no video {video!r}"
    raise SignalError(f"{path}: {problem}; there are {len(some)}: {names}")


def _say_what_is_amiss(recording: LabelledVideo) -> None:
    if recording.missing:
        warnings.warn(
            f"{len(recording.missing)} files of {recording.name} are missing (first: {recording.missing[0]}); "
            "the clip goes on without them",
            XincWarning,
            stacklevel=3,
        )
    if not recording.labels:
        warnings.warn(f"no frame of {recording.name} is annotated; the clip has no segments", XincWarning, stacklevel=3)


def _kinds(recording: LabelledVideo) -> list[str]:
    """The kind of each segment of a video, without ``other``."""
    if recording.table is not None:
        return [segment.kind for segment in recording.table[1:]]
    if not recording.labels:
        return []
    planes, encoding = read_planes(list(recording.labels.values()), recording.encoding)
    ids = {int(i) for plane in planes.values() for i in np.unique(plane)} - {0}
    return [encoding.describe(i).kind for i in sorted(ids)]
