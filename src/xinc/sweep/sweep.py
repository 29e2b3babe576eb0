"""A sweep: cells that are missing are made on a cluster, the table grows, one failure stops nothing.

The same call goes on where an earlier one stopped, whoever was killed: a cell is either published whole or made again
from its last finished step.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xinc.errors import StudyError, XincError
from xinc.options.schema import closest
from xinc.sweep.cells import Cell, cells_of, is_done, make
from xinc.sweep.cluster import cluster, device_here
from xinc.sweep.cost import Cost, correction, cost_of, layers_of
from xinc.sweep.place.lock import Lock
from xinc.sweep.place.opening import open_place
from xinc.sweep.place.place import CELL, WORK, Place
from xinc.sweep.study import Study
from xinc.sweep.table import GrowingTable

if TYPE_CHECKING:
    from distributed import Client, Future

FAILURES = f"{WORK}/failures"
PLAN = f"{WORK}/plan.json"
"""Names of all cells of the last sweep."""
SMALL = 20.0
"""Cells that take fewer seconds are sent several at a time, until they last that long together."""


AHEAD = 64
"""Batches that wait at the scheduler, at least: clusters that grow look at what waits. More only fill its memory."""


@dataclass
class SweepProgress:
    """How far a sweep is.

    Attributes:
        cells: in all.
        done: published, those of earlier calls included.
        failed: name to reason.
        running: names.
    """

    cells: int
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)


Report = Callable[[SweepProgress], None]


@dataclass(frozen=True)
class Schedule:
    """A sweep before it starts.

    Attributes:
        cells: all.
        missing: those that are not done.
        costs: by name.
        factor: how much longer finished cells took than was estimated.
    """

    cells: tuple[Cell, ...]
    missing: tuple[Cell, ...]
    costs: dict[str, Cost]
    factor: float


def plan(study: Study, out: str) -> Schedule:
    """What a sweep will do: nothing is fitted and nothing written.

    Raises:
        StudyError: a signal or network of the study cannot be made; the message names its line.
    """
    place, cells = open_place(out), cells_of(study)
    costs: dict[str, Cost] = {}
    alike: dict[tuple[str, str], Cost] = {}  # seeds take the same
    for cell in cells:
        kind = (cell.signal.name, cell.model.name)
        try:
            if kind not in alike:
                alike[kind] = cost_of(cell)
            costs[cell.name] = alike[kind]
        except XincError as fault:
            raise StudyError(f"{study.path}, line {cell.signal.line}: {cell.name}: {fault}") from None
    _check_layers(study, cells)
    documents = {cell.name: place.document(f"{cell.name}/{CELL}") for cell in cells}
    missing = tuple(cell for cell in cells if not is_done(cell, place))
    return Schedule(tuple(cells), missing, costs, correction(costs, documents))


def _check_layers(study: Study, cells: Sequence[Cell]) -> None:
    """Refuse a layer that none of a signal's networks has; one that only some have is theirs."""
    known: dict[str, list[str]] = {}
    for signal in study.signals:
        own = {cell.model.name: cell for cell in cells if cell.signal is signal}
        for name in signal.options.get("layers", ()):
            known |= {model: layers_of(cell) for model, cell in own.items() if model not in known}
            there = dict.fromkeys(layer for model in own for layer in known[model])
            if name not in there:
                near = closest(name, there)
                hint = f"did you mean {near}?" if near else f"there are {', '.join(there)}"
                raise StudyError(f"{study.path}, line {signal.line}: no layer is called {name!r}; {hint}")


def sweep(
    study: Study,
    out: str,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    report: Report = lambda progress: None,
) -> SweepProgress:
    """Make every cell of a study that is missing.

    Args:
        study: what to make.
        out: folder, or an address that fsspec knows.
        scheduler: address of a Dask scheduler; None for this machine.
        workers: processes on this machine; None for as many as cores and memory allow.
        report: told after each change.

    Returns:
        What was done, and what failed with its reason.

    Raises:
        StudyError: the study cannot be made, another sweep writes to the folder, no scheduler answers, or the folder
            cannot be written.
    """
    place, known = open_place(out), plan(study, out)
    with Lock(place) as lock:
        progress, table = SweepProgress(len(known.cells)), GrowingTable(place)
        missing = {cell.name for cell in known.missing}
        for cell in known.cells:
            if cell.name not in missing and not table.add(cell.name):
                place.remove(f"{cell.name}/{CELL}")  # its rows are damaged: it is made again
                missing.add(cell.name)
        place.write(PLAN, json.dumps([cell.name for cell in known.cells]).encode())
        progress.done = len(known.cells) - len(missing)
        report(progress)
        todo = [cell for cell in known.cells if cell.name in missing]
        if todo:
            largest = max(known.costs[cell.name].memory for cell in todo)
            with cluster(scheduler, workers, largest) as client:
                _Work(client, place, lock, study.retries, progress, table, report).run(_batches(todo, known))
        table.write(now=True)
    return progress


def _batches(cells: Sequence[Cell], known: Schedule) -> Iterator[list[Cell]]:
    """Small cells several at a time."""
    batch: list[Cell] = []
    seconds = 0.0
    for cell in cells:
        batch.append(cell)
        seconds += known.factor * known.costs[cell.name].seconds
        if seconds >= SMALL or len(batch) >= max(1, len(cells) // 8):
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch


@dataclass(frozen=True)
class Outcome:
    """What became of a cell on a worker.

    Attributes:
        reason: why it failed; None where it is published.
        stops: whether no other cell can be published either.
    """

    reason: str | None = None
    stops: bool = False


@dataclass
class _Work:
    """Cells on their way through a cluster; few wait at a time, so the scheduler's memory does not grow."""

    client: Client
    place: Place
    lock: Lock
    retries: int
    progress: SweepProgress
    table: GrowingTable
    report: Report
    tries: dict[str, int] = field(default_factory=dict)

    def run(self, batches: Iterator[list[Cell]]) -> None:
        from distributed import as_completed

        sent: dict[Any, list[Cell]] = {}
        waiting = as_completed()

        def send(batch: list[Cell]) -> None:
            key = f"cells-{batch[0].name}-{time.monotonic_ns()}"
            future = self.client.submit(make_batch, batch, self.place, key=key, pure=False, retries=0)
            sent[future.key] = batch
            self.progress.running += [cell.name for cell in batch]
            waiting.add(future)

        def fill() -> None:
            while len(sent) < AHEAD or len(sent) < 2 * sum(self.client.nthreads().values()):
                batch = next(batches, None)
                if batch is None:
                    return
                send(batch)

        fill()
        self.report(self.progress)
        for future in waiting:
            self.lock.check()
            batch = sent.pop(future.key)
            for cell, reason in self._outcomes(future, batch):
                self.progress.running.remove(cell.name)
                if reason is None:
                    self._done(cell)
                elif self._tried(cell) <= self.retries:
                    send([cell])
                else:
                    self._failed(cell, reason)
            fill()
            self.table.write()
            self.report(self.progress)

    def _tried(self, cell: Cell) -> int:
        self.tries[cell.name] = self.tries.get(cell.name, 0) + 1
        return self.tries[cell.name]

    def _outcomes(self, future: Future[list[Outcome]], batch: list[Cell]) -> list[tuple[Cell, str | None]]:
        """For each cell why it failed, None where it did not."""
        from distributed import CancelledError
        from distributed.comm.core import CommClosedError

        try:
            outcomes = future.result()
        except (CancelledError, CommClosedError):
            raise StudyError("the Dask scheduler is gone; the same command goes on when it is back") from None
        except Exception as fault:  # the worker died: which cell it was is not known
            return [(cell, None if is_done(cell, self.place) else f"{type(fault).__name__}: {fault}") for cell in batch]
        for one in outcomes:
            if one.stops:
                raise StudyError(str(one.reason))
        return [(cell, one.reason) for cell, one in zip(batch, outcomes, strict=True)]

    def _done(self, cell: Cell) -> None:
        self.progress.done += 1
        self.progress.failed.pop(cell.name, None)
        self.place.remove(f"{FAILURES}/{cell.name}.json")
        self.table.add(cell.name)

    def _failed(self, cell: Cell, reason: str) -> None:
        first = reason.splitlines()[0]
        self.progress.failed[cell.name] = first
        document = {"cell": cell.name, "tries": self.tries[cell.name], "reason": first, "report": reason}
        self.place.write(f"{FAILURES}/{cell.name}.json", json.dumps(document, indent=1).encode())


def make_batch(cells: Sequence[Cell], place: Place) -> list[Outcome]:
    """Make some cells on a worker, one after another, until the sweep's folder cannot be written.

    Returns:
        One for each that was begun.
    """
    outcomes: list[Outcome] = []
    for cell in cells:
        outcomes.append(_attempt(cell, place))
        if outcomes[-1].stops:
            break
    return outcomes


def _attempt(cell: Cell, place: Place) -> Outcome:
    try:
        make(cell, place, device_here())
    except Exception as fault:  # one failure stops nothing; its report is kept
        if hindrance := place.hindrance(fault):
            return Outcome(hindrance, stops=True)
        if isinstance(fault, XincError):
            return Outcome(str(fault))
        return Outcome(f"{type(fault).__name__}: {fault}\n{traceback.format_exc()}")
    return Outcome()


def status(out: str) -> list[dict[str, Any]]:
    """How far the last sweep into a folder is; it may be running.

    Args:
        out: folder or address.

    Returns:
        One row a cell: cell, state (``"done"``, ``"failed"``, ``"begun"`` or ``"waiting"``), seconds, reason.

    Raises:
        StudyError: no sweep was started there.
    """
    place = open_place(out)
    try:
        names = json.loads(place.read(PLAN) or b"null")
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list):
        raise StudyError(f"{out} is no sweep's folder: it has no {PLAN}")
    rows = []
    for name in map(str, names):
        document, failure = place.document(f"{name}/{CELL}"), place.document(f"{FAILURES}/{name}.json")
        state = "done" if document else "failed" if failure else "begun" if place.has(f"{WORK}/{name}") else "waiting"
        seconds = round(sum(document.get("seconds", {}).values()), 1) if document else None
        rows.append({"cell": name, "state": state, "seconds": seconds, "reason": failure.get("reason", "")})
    return rows
