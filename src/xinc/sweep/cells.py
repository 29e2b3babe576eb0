"""Cells: one network of one signal, what it depends on, and how it becomes a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinc.documents import read_json
from xinc.errors import PlaceError, RunError
from xinc.files import write_text
from xinc.findings.analyses import Settings
from xinc.findings.results import digest
from xinc.run import load
from xinc.sweep.place.damage import differing, drop, empty, mend, recorded
from xinc.sweep.place.disk import sizes_of
from xinc.sweep.place.lock import WORKER_PATIENCE, Lock
from xinc.sweep.place.place import CELL, WORK, Place
from xinc.sweep.place.remote import fetched
from xinc.sweep.statistics import STATISTICS, statistics
from xinc.sweep.study import Model, Signal, Study
from xinc.workflow.job import Fitting, Source, fit_signal

if TYPE_CHECKING:
    from xinc.run import Run


@dataclass(frozen=True)
class Cell:
    """One network of a study.

    Attributes:
        signal: what it represents, with all options.
        model: its family and options.
        seed: of the fit.
        draws: resamples of each statistic.
    """

    signal: Signal
    model: Model
    seed: int
    draws: int

    @property
    def name(self) -> str:
        """Name of its folder: ``signal/model-seed``."""
        return f"{self.signal.name}/{self.model.name}-{self.seed}"

    @property
    def source(self) -> Source:
        """The signal as ``xinc explain`` takes it."""
        o = self.signal.options
        return Source(
            fetched(self.signal.path),
            o.get("size"),
            o.get("every", 1),
            o.get("start", 0),
            o.get("count"),
            fetched(o["annotations"]) if o.get("annotations") else None,
            o["encoding"],
        )

    def fitting(self, device: str | None = None) -> Fitting:
        """How it is fitted."""
        o = self.signal.options
        how: dict[str, Any] = {name: o.get(name) for name in ("epochs", "learning_rate", "batch", "frame")}
        return Fitting(self.model.family, self.seed, device=device, options=self.model.options, **how)

    @property
    def labels(self) -> dict[str, Any]:
        """What its signal and network are called, for tables."""
        o = self.signal.options
        return {
            "signal": self.signal.name,
            "dataset": o.get("dataset", ""),
            "category": o.get("category", ""),
            "model": self.model.name,
            "family": self.model.family,
            "seed": self.seed,
        }

    @property
    def settings(self) -> Settings:
        """Settings of the findings."""
        return Settings().change(self.signal.options.get("settings", {}))

    @cached_property
    def key(self) -> str:
        """A short name of all that its results depend on, the content of its files included."""
        o = dict(self.signal.options)
        options = {k: v for k, v in o.items() if k not in ("models", "seeds", "category", "dataset")}
        return digest(
            {
                "xinc": version("xinc"),
                "contents": self.signal.contents,
                "options": {**options, "annotations": bool(o.get("annotations"))},
                "family": self.model.family,
                "model": dict(self.model.options),
                "seed": self.seed,
                "draws": self.draws,
            }
        )


def cells_of(study: Study) -> list[Cell]:
    """All cells of a study, signal by signal."""
    return [
        Cell(signal, study.models[name], seed, study.draws)
        for signal in study.signals
        for name in signal.options["models"]
        for seed in signal.options["seeds"]
    ]


def is_done(cell: Cell, place: Place) -> bool:
    """Whether the sweep's folder holds the cell as it is asked for, with all its files as long as they were."""
    document = place.document(f"{cell.name}/{CELL}")
    return document.get("key") == cell.key and not _damaged(place, cell, document)


def _damaged(place: Place, cell: Cell, document: Mapping[str, Any]) -> list[str]:
    """Files of a finished cell that are cut off or gone."""
    record = document.get("files")
    return differing(place.sizes(cell.name), record) if record else []


def make(cell: Cell, place: Place, device: str | None = None) -> dict[str, Any]:
    """Make a cell, or go on where an earlier attempt stopped, and publish it.

    A worker that everyone believes dead may still be at it: whoever comes second waits for the first.

    Args:
        cell: which.
        place: the sweep's folder.
        device: for the fit; None for CUDA where there is one.

    Returns:
        What ``cell.json`` says: key, seconds of each step, bytes, and the size of each file.

    Raises:
        XincError, OSError: what hinders it; nothing of the finished steps is lost.
    """
    with Lock(place, f"{WORK}/{cell.name}.lock", wait=True, patience=WORKER_PATIENCE) as lock:
        if is_done(cell, place):
            return place.document(f"{cell.name}/{CELL}")
        finished = place.document(f"{cell.name}/{CELL}")
        work = place.begin(cell.name, lambda copy: drop(copy, differing(sizes_of(copy), finished.get("files", {}))))
        try:
            seconds = _steps(cell, place, work, lock, device)
        except Exception:
            if not lock.is_lost:  # what was left may be damaged: the next attempt shall not meet it again
                with suppress(OSError):
                    mend(work)
            raise
        lock.check()
        sizes = sizes_of(work)
        document = {"key": cell.key, "seconds": seconds, "bytes": sum(sizes.values()), "files": recorded(sizes)}
        place.publish(cell.name, work, document)
    return document


def _steps(cell: Cell, place: Place, work: Path, lock: Lock, device: str | None) -> dict[str, float]:
    """Fit, every layer by every method, statistics; each is kept, so that the next attempt need not make it again.

    Returns:
        Seconds that each took.
    """
    from xinc.findings.replication.replicate import Replication, evidence_of

    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        lock.check()
        begun = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - begun, 3)
        place.keep(cell.name, work)

    with step("fit"):
        run = _fitted(cell, work, device)
        if run.model.device.type != "cpu":  # fits gain by a GPU; whole layers are reduced by compiled loops
            run = load(work)
    o, settings = cell.signal.options, cell.settings
    layers = o.get("layers") or run.canvas(0).layers
    asked = Replication(o["methods"], layers, o.get("frames"), cell.draws, settings, also=o.get("findings", ()))
    for method, layer in product(o["methods"], layers):
        with step(f"{method} {layer}"):
            evidence_of(run, replace(asked, methods=(method,), layers=(layer,)))
    with step("statistics"):
        known = evidence_of(run, asked)
        rows = statistics(cell.labels, run, [one.evidence for one in known], seconds)
        rows.to_parquet(work / STATISTICS, index=False)
    return seconds


def _fitted(cell: Cell, work: Path, device: str | None) -> Run:
    """The fitted network; a fit with other settings than those of an earlier call is made anew."""
    mark = work / "fit.json"
    wanted = _fit_key(cell)
    if _key_of(mark) != wanted:
        empty(work)
    marked = json.dumps({"key": wanted})
    try:
        write_text(mark, marked)
        return fit_signal(cell.source, cell.fitting(device), work)
    except PlaceError:
        raise
    except RunError:  # a part of it is damaged
        empty(work)
        write_text(mark, marked)
        return fit_signal(cell.source, cell.fitting(device), work)


def _key_of(mark: Path) -> str | None:
    """The key that a file holds; None where it is missing, or cut off by a disk that was full."""
    try:
        return str(read_json(mark)["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fit_key(cell: Cell) -> str:
    """What the fit depends on: not the findings' settings, methods, layers or analysed frames."""
    o: Mapping[str, Any] = cell.signal.options
    read = ("size", "every", "start", "count", "epochs", "learning_rate", "batch", "frame", "annotations", "encoding")
    return digest(
        {
            "contents": cell.signal.contents,
            "options": {name: o.get(name) for name in read} | {"annotations": bool(o.get("annotations"))},
            "family": cell.model.family,
            "model": dict(cell.model.options),
            "seed": cell.seed,
        }
    )
