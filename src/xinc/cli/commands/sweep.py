"""Many signals, models and seeds in one command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xinc.cli.app import EVIDENCE, app, console, done, say, say_plainly
from xinc.cli.options import within
from xinc.cli.tables import Json, keep, show
from xinc.options.schema import shortened
from xinc.options.tables import CHECKS

if TYPE_CHECKING:
    from xinc.sweep.study import Study
    from xinc.sweep.sweep import Schedule, SweepProgress


@app.command(rich_help_panel=EVIDENCE)
def sweep(
    study: Annotated[
        str, typer.Argument(metavar="STUDY.toml|status", help="Study file; or status, to see how far one is.")
    ],
    folder: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="With status: the sweep's folder.", show_default=False)
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the runs, or an address such as s3://bucket/study."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Dask scheduler, tcp://host:8786; this machine if not given."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes on this machine; as many as cores and memory allow if not given.",
            callback=within(CHECKS, "workers"),
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the cells, and what they will take.")] = False,
    json: Json = None,
) -> None:
    """Fit, trace and analyse many signals with many models and seeds; the same command goes on where it stopped.

    Each cell is an ordinary run, DIR/SIGNAL/MODEL-SEED; DIR/results.parquet grows by one row a cell and statistic.
    """
    from xinc.errors import StudyError
    from xinc.sweep.study import read_study
    from xinc.sweep.sweep import plan

    if study == "status":
        if folder is None:
            raise StudyError("name the sweep's folder: xinc sweep status DIR")
        _status(folder, json)
        return
    if scheduler is not None and not re.fullmatch(r"[a-z+]+://[^\s/]+:\d{1,5}", scheduler):
        raise StudyError(f"--scheduler {shortened(scheduler)} is no address; give one such as tcp://host:8786")
    if out is None:
        raise StudyError("a sweep needs a place for its runs: --out DIR")
    read = read_study(study)
    if dry_run:
        _show_plan(plan(read, out), json)
        return
    _run(read, out, scheduler, workers)


def _run(study: Study, out: str, scheduler: str | None, workers: int | None) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from xinc.errors import StudyError
    from xinc.sweep.sweep import sweep as run

    terminal = console()
    columns = (TextColumn("Cells"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[what]}"), console=terminal, disable=not terminal.is_terminal
    ) as bar:
        job = bar.add_task("Cells", total=None, what="")

        def report(now: SweepProgress) -> None:
            what = f"{len(now.failed)} failed" if now.failed else (now.running or [""])[0]
            bar.update(job, completed=now.done + len(now.failed), total=now.cells, what=what)
            if not terminal.is_terminal:
                say(f"{now.done} of {now.cells} cells, {len(now.failed)} failed")

        end = run(study, out, scheduler=scheduler, workers=workers, report=report)
    for name, reason in end.failed.items():
        say_plainly(f"failed: {name}: {reason}")
    if end.failed:
        raise StudyError(f"{len(end.failed)} of {end.cells} cells failed; the same command tries them again")
    done(Path(out) / "results.parquet" if "://" not in out else Path(out))


def _show_plan(known: Schedule, json: Path | None) -> None:
    from xinc.sweep.cost import total

    missing = {cell.name for cell in known.missing}
    rows = [
        {
            "cell": cell.name,
            "state": "missing" if cell.name in missing else "done",
            "seconds": round(known.factor * known.costs[cell.name].seconds, 1),
            "memory": known.costs[cell.name].memory,
            "bytes": known.costs[cell.name].disk,
        }
        for cell in known.cells
    ]
    show(rows, f"{len(known.cells)} cells, {len(missing)} missing")
    hours, memory, disk = total([known.costs[name] for name in sorted(missing)], known.factor)
    say(f"About {hours:.2f} core-hours, {memory / 2**30:.1f} GB for the largest cell, {disk / 2**20:,.0f} MB on disk.")
    if json is not None:
        keep(rows, json)


def _status(folder: str, json: Path | None) -> None:
    from xinc.sweep.sweep import status

    now = status(folder)
    show(now, f"{folder}: {sum(row['state'] == 'done' for row in now)} cells done")
    if json is not None:
        keep(now, json)
