"""Loaded by Dask's workers before they work (``dask worker --preload``): they die where a test wants them to.

A file ``FAULTS/STEP`` kills one worker that comes to that step, and only one: the file goes first. While
``FAULTS/slow`` is there, an epoch takes half a second. What is finished is noted in ``FAULTS/finished``, a line each.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULTS = Path(os.environ.get("FAULTS", "faults"))
STEPS = ("fit", "trace", "write", "publish", "gather")
KILLED, SLOW = "killed", "slow"


def die_at(step: str) -> None:
    """Die, if this step is one to die at."""
    try:
        (FAULTS / step).rename(FAULTS / f"{KILLED}-{step}-{os.getpid()}")
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def finished(what: str) -> None:
    """Note a piece of work; one write of few bytes is not torn."""
    with (FAULTS / "finished").open("a") as file:
        file.write(f"{what}\n")


def wrapped(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Call ``around(real, ...)`` in place of a function."""
    real = getattr(owner, name)
    setattr(owner, name, functools.wraps(real)(lambda *given, **named: around(real, *given, **named)))


def dask_setup(worker: Any) -> None:
    """Called by Dask in each worker."""
    from xinc.canvas.layer import Layer
    from xinc.findings import results
    from xinc.models.fitting import fit
    from xinc.run import Run
    from xinc.sweep import sweep
    from xinc.sweep.place.disk import Disk

    def epoch(real: Any, task: Any, state: Any, items: Any, number: int) -> Any:
        if number > 0:
            die_at("fit")
        if (FAULTS / SLOW).exists():
            time.sleep(0.5)
        return real(task, state, items, number)

    def save(real: Any, run: Any, folder: Any) -> Any:
        done = real(run, folder)
        finished(f"fit of {folder}")
        return done

    def reduce(real: Any, *given: Any, **named: Any) -> Any:
        made = real(*given, **named)
        die_at("trace")
        return made

    def put(real: Any, kept: Any, group: str, dataset: Any) -> None:
        if (FAULTS / "write").exists():  # half of it
            results._portable(dataset.drop_attrs(deep=False)).to_zarr(
                kept.folder, group=group, mode="w", consolidated=False, zarr_format=3
            )
            die_at("write")
        real(kept, group, dataset)
        finished(f"{group} of {kept.folder}")

    def publish(real: Any, *given: Any) -> None:
        die_at("publish")
        real(*given)

    def batch(real: Any, *given: Any) -> Any:
        outcomes = real(*given)
        die_at("gather")
        return outcomes

    for owner, name, around in (
        (fit, "_run_epoch", epoch),
        (Run, "save", save),
        (Layer, "reduce", reduce),
        (results.Results, "put", put),
        (Disk, "publish", publish),
        (sweep, "make_batch", batch),
    ):
        wrapped(owner, name, around)
