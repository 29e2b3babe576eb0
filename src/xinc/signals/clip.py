"""What an implicit neural representation represents: a clip, maybe with segments."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.errors import SignalError

if TYPE_CHECKING:
    import pandas as pd

LabelMap = NDArray[np.int32]
Kind = Literal["thing", "stuff", "other"]


@dataclass(frozen=True)
class Segment:
    """One region that keeps its identity over time.

    Attributes:
        id: its value in the label maps; the id of the data set where that has one, 0 for ``other``.
        category: name of its class, e.g. ``"car"``.
        kind: ``"thing"`` (countable), ``"stuff"`` (a material or surface) or ``"other"`` (what no segment covers).
        instance: number of a thing within its category, as its data set counts; -1 for stuff and other.
    """

    id: int
    category: str
    kind: Kind
    instance: int = -1


OTHER = Segment(0, "other", "other")


@dataclass(frozen=True, eq=False)
class Segments:
    """Label maps of the annotated frames, and what each label means.

    Attributes:
        labels: frame index to label map (H, W), int32; frames that nobody annotated are absent.
        table: every segment that occurs, in the order of ids; its first row is always ``other`` (id 0).
    """

    labels: Mapping[int, LabelMap]
    table: tuple[Segment, ...]

    @classmethod
    def of(cls, labels: Mapping[int, LabelMap], describe: Callable[[int], Segment]) -> Segments:
        """Segments whose table lists the ids that really occur, each as ``describe`` puts it.

        Args:
            labels: frame index to label map (H, W), int32, 0 where no segment is.
            describe: id to segment; asked once for each id but 0.
        """
        ids = sorted({int(i) for plane in labels.values() for i in np.unique(plane)} - {0})
        return cls(dict(sorted(labels.items())), (OTHER, *(describe(i) for i in ids)))

    @property
    def frames(self) -> tuple[int, ...]:
        """Indices of the annotated frames, ascending."""
        return tuple(self.labels)

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame: id, category, kind, instance, ``frames`` (annotated frames in which the segment is
        seen) and ``area`` (its mean share of the pixels of those frames, 0 to 1)."""  # noqa: D205, D209
        import pandas as pd

        seen: dict[int, list[float]] = {segment.id: [] for segment in self.table}
        for plane in self.labels.values():
            for i, pixels in zip(*np.unique(plane, return_counts=True), strict=True):
                seen[int(i)].append(int(pixels) / plane.size)
        rows = [
            {**asdict(s), "frames": len(seen[s.id]), "area": float(np.mean(seen[s.id])) if seen[s.id] else 0.0}
            for s in self.table
        ]
        return pd.DataFrame(rows, columns=["id", "category", "kind", "instance", "frames", "area"])

    def pick(self, frames: Iterable[int]) -> Segments | None:
        """Segments of the given frames, renumbered in their order; None where none of them is annotated."""
        labels = {new: self.labels[old] for new, old in enumerate(frames) if old in self.labels}
        if not labels:
            return None
        known = {segment.id: segment for segment in self.table}
        return Segments.of(labels, known.__getitem__)


@dataclass(frozen=True, eq=False)
class Clip:
    """A signal: frames with names, a rate and maybe segments. An image is a clip of one frame.

    Attributes:
        frames: (T, 3, H, W), float32, RGB in [0, 1].
        names: T names: the files' stems, or the numbers of a video's frames.
        fps: frames a second after choosing every n-th, None where unknown.
        segments: label maps of some or all frames, or None.
        source: where the frames came from, for people.

    Raises:
        SignalError: the frames are not (T, 3, H, W) with T ≥ 1, names do not match them, or a label map has
            another size.
    """

    frames: Tensor
    names: tuple[str, ...]
    fps: float | None = None
    segments: Segments | None = None
    source: str = ""

    def __post_init__(self) -> None:
        self._check(tuple(self.frames.shape))

    def _check(self, shape: tuple[int, ...]) -> None:
        """Whether names and label maps belong to frames of a shape."""
        if len(shape) != 4 or shape[1] != 3 or 0 in shape:
            raise SignalError(f"a clip's frames are (T, 3, H, W) with at least one pixel, not {shape}")
        if len(self.names) != shape[0]:
            raise SignalError(f"{shape[0]} frames have {len(self.names)} names; give one name a frame")
        for index, plane in (self.segments.labels if self.segments else {}).items():
            if not 0 <= index < shape[0] or plane.shape != shape[2:]:
                raise SignalError(
                    f"label map {index} of size {plane.shape} does not belong to {shape[0]} frames of size {shape[2:]}"
                )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.frames.shape[2]), int(self.frames.shape[3])

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, index: int) -> Tensor:
        """One frame, ``(3, H, W)``; of a clip in a folder only that file is read.

        Raises:
            IndexError: there is no such frame.
        """
        return self.frames[range(len(self))[index]]

    def __getitem__(self, index: int | slice | Iterable[int]) -> Clip:
        """A sub-clip: ``clip[3]`` (one frame), ``clip[2:8]``, ``clip[::5]``, ``clip[[0, 3]]``; segments follow.

        Raises:
            IndexError: an index lies outside the clip, or the choice is empty.
        """
        chosen = self._chosen(index)
        if not chosen:
            raise IndexError(f"{index!r} chooses no frame of a clip of {len(self)}")
        step = index.step if isinstance(index, slice) and index.step else 1
        return Clip(
            frames=torch.stack([self.frame(i) for i in chosen]),
            names=tuple(self.names[i] for i in chosen),
            fps=self.fps / abs(step) if self.fps else None,
            segments=self.segments.pick(chosen) if self.segments else None,
            source=self.source,
        )

    def _chosen(self, index: int | slice | Iterable[int]) -> list[int]:
        if isinstance(index, slice):
            return list(range(len(self)))[index]
        numbers = index if isinstance(index, Iterable) else [index]
        return [range(len(self))[operator.index(i)] for i in numbers]

    def __repr__(self) -> str:
        height, width = self.size
        rate = f", {self.fps:g} frames/s" if self.fps else ""
        marked = f", segments on {len(self.segments.frames)}" if self.segments else ""
        return f"Clip({self.source!r}, {len(self)} frames of {height}×{width}{rate}{marked})"

    def save(self, folder: str | Path) -> Path:
        """Write the clip to a folder, exactly; see :func:`xinc.signals.storage.save`."""
        from xinc.signals import storage

        return storage.save(self, Path(folder))

    @staticmethod
    def load(folder: str | Path) -> Clip:
        """Read a clip that :meth:`save` wrote; its frames are read when they are asked for.

        Raises:
            SignalError: the folder does not hold a clip, or a part of it is missing or damaged.
        """
        from xinc.signals import storage

        return storage.load(Path(folder))
