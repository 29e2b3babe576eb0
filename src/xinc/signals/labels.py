"""Label maps of annotated frames, and what each label means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LabelMap = NDArray[np.int32]
SegmentKind = Literal["thing", "stuff", "other"]


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
    kind: SegmentKind
    instance: int = -1


OTHER = Segment(0, "other", "other")
NAMED = 6
"""Segments that are named where all would be too many to read."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Label maps of the annotated frames, and what each label means.

    Attributes:
        labels: frame index to label map (H, W), int32; frames that nobody annotated are absent.
        table: every segment that occurs, in the order of ids; its first row is always ``other`` (id 0).
    """

    labels: Mapping[int, LabelMap]
    table: tuple[Segment, ...]

    def __repr__(self) -> str:
        named = [
            s.category if s.instance < 0 else f"{s.category} {s.instance}" for s in self.table if s.kind != "other"
        ]
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        return f"Segments(on {len(self.labels)} frames: {', '.join(named[:NAMED]) or 'none'}{more})"

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

    def pick(self, frames: Iterable[int]) -> Segments | None:
        """Segments of the given frames, renumbered in their order; None where none of them is annotated."""
        labels = {new: self.labels[old] for new, old in enumerate(frames) if old in self.labels}
        if not labels:
            return None
        known = {segment.id: segment for segment in self.table}
        return Segments.of(labels, known.__getitem__)
