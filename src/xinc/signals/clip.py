"""What an implicit neural representation represents: a clip, maybe with segments."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xinc.below import below
from xinc.errors import SignalError
from xinc.notation import Image
from xinc.signals.labels import Segments
from xinc.signals.storage import Stored, read, write


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

    def _repr_html_(self) -> str:
        text: str = below("show.notebook", "of_clip")(self)
        return text

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.frames.shape[2]), int(self.frames.shape[3])

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, index: int) -> Image:
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

    def transposed(self) -> Clip:
        """The clip with rows and columns exchanged, label maps too."""
        known, segments = self.segments, None
        if known is not None:
            labels = {index: np.ascontiguousarray(plane.T) for index, plane in known.labels.items()}
            segments = Segments(labels, known.table)
        return Clip(self.frames.transpose(2, 3).contiguous(), self.names, self.fps, segments, self.source)

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
        """Write the clip to a folder, exactly; see :func:`xinc.signals.storage.write`."""
        return write(Path(folder), self.frames.cpu(), self.names, self.fps, self.segments, self.source)

    @staticmethod
    def load(folder: str | Path) -> Clip:
        """Read a clip that :meth:`save` wrote; its frames are read when they are asked for.

        Raises:
            SignalError: the folder does not hold a clip, or a part of it is missing or damaged.
        """
        return StoredClip(read(Path(folder)))


class StoredClip(Clip):
    """A clip in a folder: a frame is read when it is asked for, so that a long clip costs no memory.

    Args:
        parts: what :func:`xinc.signals.storage.read` gives.
    """

    _parts: Stored

    def __init__(self, parts: Stored) -> None:
        known = {name: getattr(parts, name) for name in ("names", "fps", "segments", "source")}
        for name, value in {"_parts": parts, **known}.items():
            object.__setattr__(self, name, value)
        self._check((len(parts.names), 3, *parts.size))

    @cached_property
    def frames(self) -> Tensor:
        """All frames, ``(T, 3, H, W)``, kept from then on."""
        return torch.stack([self.frame(i) for i in range(len(self))])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self._parts.size

    def frame(self, index: int) -> Image:
        """One frame, ``(3, H, W)``."""
        return self._parts.frame(range(len(self))[index])
