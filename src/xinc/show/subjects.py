"""What a report is about: runs with their results, and how they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xinc.canvas.methods import DEFAULT, METHODS
from xinc.canvas.trace import Canvas
from xinc.errors import PlaceError, RunError
from xinc.findings.analyses import ANALYSES
from xinc.findings.results import FOLDER, Results
from xinc.models.families import title_of
from xinc.run import Run
from xinc.show.figures.sheet import Panels
from xinc.signals.segments import common_stem

if TYPE_CHECKING:
    import xarray as xr

SAMPLES = {"bunny": "Big Buck Bunny", "bikes": "the bikes clip", "carphone": "the carphone clip"}
LEADING = (DEFAULT, *(name for name in METHODS if name != DEFAULT))
"""Definitions of the maps in the order in which they are shown."""
PLAIN_FOLDERS = {"frames", "images", "img", "rgb", "video", "clip", "data"}


def signal_name(source: str) -> str:
    """The name of a signal for people: of the sample, the file, the folder, or its parent if that says nothing."""
    if source in SAMPLES:
        return SAMPLES[source]
    folder, _, video = source.rpartition(":")
    if len(folder) > 1:  # a single letter is a drive
        root = Path(folder).name
        return video if video == root else f"{video} of {root}"
    path = Path(source)
    name = common_stem(path.stem) if path.suffix else path.name
    return path.parent.name if name.lower() in PLAIN_FOLDERS and path.parent.name else name or "a signal"


@dataclass(frozen=True, eq=False)
class Subject:
    """A run with its results.

    Attributes:
        title: unique in the report.
        run: the run.
        tree: its results.
        method: definition of the maps that are shown.
        canvases: those that were traced, by frame and method.
        embed: whether neurons that nobody laid out yet are laid out for the report, which takes UMAP some seconds.
    """

    title: str
    run: Run
    tree: xr.DataTree
    method: str
    embed: bool = True
    canvases: dict[tuple[int, str], Canvas] = field(default_factory=dict, repr=False)

    @cached_property
    def layers(self) -> list[str]:
        """Names of the layers with results, outermost first."""
        known = {node.name for node in self.tree.subtree if f"/{self.method}/" in node.path}
        return [name for name in reversed(self.canvas(0).layers) if name in known]

    def canvas(self, frame: int) -> Canvas:
        """The canvas of a frame, traced once."""
        if (frame, self.method) not in self.canvases:
            self.canvases[frame, self.method] = self.run.canvas(frame, self.method)
        return self.canvases[frame, self.method]

    @cached_property
    def paths(self) -> set[str]:
        """Paths of all groups, without the leading slash."""
        return {node.path.strip("/") for node in self.tree.subtree}

    def dataset(self, finding: str, layer: str) -> xr.Dataset | None:
        """Results of a finding for a layer, all its frames; None where there are none."""
        return self.group(f"{finding}/{self.method}/{layer}")

    def group(self, path: str) -> xr.Dataset | None:
        """A group of the results; None where there is none."""
        return self.tree[path].to_dataset() if path in self.paths else None

    def keep(self, path: str, data: xr.Dataset) -> None:
        """Write a group into the run's results, where there is a place for it."""
        # A run that may only be read is reported on all the same; the group is then made again the next time.
        with suppress(PlaceError):
            if self.run.path is not None:
                Results(self.run.path / FOLDER).put(path, data)

    @cached_property
    def frame(self) -> int:
        """The frame that pictures of one frame show: the first that was analysed."""
        for finding in ("grouping", "intensity", "gallery"):
            for layer in self.layers:
                data = self.dataset(finding, layer)
                if data is not None and "frame" in data.coords:
                    return int(data["frame"].values[0])
        return 0

    @cached_property
    def image(self) -> NDArray[np.float32]:
        """That frame of the clip, ``(H, W, 3)`` in [0, 1]."""
        return self.picture(self.frame)

    def picture(self, frame: int) -> NDArray[np.float32]:
        """A frame of the clip, ``(H, W, 3)`` in [0, 1]."""
        return np.asarray(self.run.clip.frame(frame).permute(1, 2, 0).numpy())

    def panels(self, finding: str, frame: int | None = None) -> dict[str, xr.Dataset]:
        """Results of a finding at one frame, a layer each; layers without are left out."""
        found = {}
        for layer in self.layers:
            data = self.dataset(finding, layer)
            if data is not None:
                found[layer] = at_frame(data, self.frame if frame is None else frame)
        return found


def at_frame(data: xr.Dataset, frame: int) -> xr.Dataset:
    """One frame of a result; its first where it lacks that frame."""
    if "frame" not in data.dims:
        return data
    known = [int(t) for t in data["frame"].values]
    return data.isel(frame=known.index(frame) if frame in known else 0)


def subjects(runs: Sequence[Run], method: str | None = None, *, embed: bool = True) -> list[Subject]:
    """Runs with their results, under titles that tell them apart.

    Args:
        runs: with results.
        method: definition of the maps; where None, the first of :data:`LEADING` by which all were analysed.
        embed: see :class:`Subject`.

    Raises:
        RunError: a run has no results of that method.
    """
    trees = [Results(run.path / FOLDER if run.path is not None else None).tree() for run in runs]
    held = [analysed_methods(tree) for tree in trees]
    chosen = method or next((name for name in LEADING if all(name in own for own in held)), DEFAULT)
    for run, own in zip(runs, held, strict=True):
        if chosen not in own:
            where = run.path or "this run"
            raise RunError(f"{where} has no results of method {chosen!r}; run `xinc analyse {where} --method {chosen}`")
    return _told_apart(
        [Subject(title_of(run.family), run, tree, chosen, embed) for run, tree in zip(runs, trees, strict=True)]
    )


def analysed_methods(tree: xr.DataTree) -> set[str]:
    """The definitions of the maps by which a run was analysed: the second parts of its groups' names."""
    parts = (node.path.strip("/").split("/") for node in tree.subtree)
    return {part[1] for part in parts if len(part) == 3 and part[0] in ANALYSES}


def other_methods(found: Sequence[Subject]) -> list[str]:
    """The definitions by which all subjects were analysed, but for the one that leads."""
    held = [analysed_methods(subject.tree) for subject in found]
    return [name for name in LEADING if name != found[0].method and all(name in own for own in held)]


def _told_apart(found: list[Subject]) -> list[Subject]:
    """Titles made unique: by the signal's name, then the folder's, then a number."""
    ways = (
        lambda s, i: s.title,
        lambda s, i: f"{s.title} · {signal_name(s.run.clip.source)}",
        lambda s, i: f"{s.title} · {s.run.path.name if s.run.path else i + 1}",
        lambda s, i: f"{s.title} {i + 1}",
    )
    for way in ways:
        titles = [way(s, i) for i, s in enumerate(found)]
        if max(Counter(titles).values(), default=1) == 1:
            return [replace(s, title=title) for s, title in zip(found, titles, strict=True)]
    raise AssertionError("numbers are unique")


def panels(found: Sequence[Subject], finding: str) -> Panels:
    """Results of a finding for all subjects that have it, each at the frame that it shows."""
    all_ = {s.title: s.panels(finding) for s in found}
    return {title: layers for title, layers in all_.items() if layers}
