"""Cells: one network of one signal, what it depends on, and how it becomes a run."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinc.documents import read_json
from xinc.errors import RunError
from xinc.findings.analyses import Settings
from xinc.findings.results import digest
from xinc.run import load
from xinc.sweep.place import CELL, Place
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
        """Of its folder: ``signal/model-seed``."""
        return f"{self.signal.name}/{self.model.name}-{self.seed}"

    @property
    def source(self) -> Source:
        """The signal as ``xinc explain`` takes it."""
        o = self.signal.options
        return Source(
            self.signal.path,
            o.get("size"),
            o.get("every", 1),
            o.get("start", 0),
            o.get("count"),
            o.get("annotations"),
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
        """Of the findings."""
        return Settings().change(self.signal.options.get("findings", {}))

    @cached_property
    def key(self) -> str:
        """A short name of all that its results depend on, the content of its files included."""
        o = dict(self.signal.options)
        options = {k: v for k, v in o.items() if k not in ("models", "seeds", "category", "dataset")}
        return digest(
            {
                "xinc": version("xinc"),
                "signal": content(self.signal.path),
                "annotations": content(o["annotations"]) if o.get("annotations") else "",
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


def content(address: str) -> str:
    """A short name of what a file holds, or of all files of a folder; of the address itself where it is none."""
    path = Path(address)
    state = hashlib.blake2b(address.encode() if not path.exists() else b"", digest_size=12)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    for file in files:
        state.update(f"{file.relative_to(path)}".encode())
        with file.open("rb") as data:
            while block := data.read(1 << 20):
                state.update(block)
    return state.hexdigest()


def is_done(cell: Cell, place: Place) -> bool:
    """Whether the sweep's folder holds the cell as it is asked for."""
    return place.document(f"{cell.name}/{CELL}").get("key") == cell.key


def make(cell: Cell, place: Place, device: str | None = None) -> dict[str, Any]:
    """Make a cell, or go on where an earlier attempt stopped, and publish it.

    Args:
        cell: which.
        place: the sweep's folder.
        device: for the fit; None for CUDA where there is one.

    Returns:
        What ``cell.json`` says: key, seconds of each step, bytes, rows of the table.

    Raises:
        XincError, OSError: what hinders it; nothing of the finished steps is lost.
    """
    if is_done(cell, place):
        return place.document(f"{cell.name}/{CELL}")
    from xinc.findings.replication.replicate import Replication, witnesses

    work = place.begin(cell.name)
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        """A step that the next attempt need not make again."""
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
    for method, layer in product(o["methods"], layers):
        with step(f"{method} {layer}"):
            witnesses(run, Replication((method,), (layer,), o.get("frames"), cell.draws, settings))
    with step("statistics"):
        known = witnesses(run, Replication(o["methods"], layers, o.get("frames"), cell.draws, settings))
        rows = statistics(cell.labels, run, [one.evidence for one in known], seconds)
        rows.to_parquet(work / STATISTICS, index=False)
    size = sum(p.stat().st_size for p in work.rglob("*") if p.is_file())
    document = {"key": cell.key, "seconds": seconds, "bytes": size}
    place.publish(cell.name, work, document)
    return document


def _fitted(cell: Cell, work: Path, device: str | None) -> Run:
    """The fitted network; a fit with other settings than those of an earlier call is made anew."""
    mark = work / "fit.json"
    wanted = _fit_key(cell)
    if not mark.exists() or read_json(mark).get("key") != wanted:
        _empty(work)
    try:
        mark.write_text(json.dumps({"key": wanted}))
        return fit_signal(cell.source, cell.fitting(device), work)
    except RunError:  # a part of it is damaged
        _empty(work)
        mark.write_text(json.dumps({"key": wanted}))
        return fit_signal(cell.source, cell.fitting(device), work)


def _empty(folder: Path) -> None:
    for path in list(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _fit_key(cell: Cell) -> str:
    """What the fit depends on: not the findings' settings, methods, layers or analysed frames."""
    o: Mapping[str, Any] = cell.signal.options
    read = ("size", "every", "start", "count", "epochs", "learning_rate", "batch", "frame", "annotations", "encoding")
    return digest(
        {
            "signal": content(cell.signal.path),
            "options": {name: o.get(name) for name in read},
            "annotations": content(o["annotations"]) if o.get("annotations") else "",
            "family": cell.model.family,
            "model": dict(cell.model.options),
            "seed": cell.seed,
        }
    )
