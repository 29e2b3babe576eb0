"""Where cells are made: a Dask cluster, this machine's or anyone's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from xinc.errors import StudyError

if TYPE_CHECKING:
    from distributed import Client

CONNECT = 30.0
"""Seconds in which a scheduler must answer."""
SHARE = 0.8
"""Of the machine's memory that the workers may take together."""


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def workers_here(memory: int) -> int:
    """How many workers this machine takes: one a GPU, else one a core, as far as memory goes.

    Args:
        memory: bytes that the largest cell takes.
    """
    if torch.cuda.device_count():
        return torch.cuda.device_count()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(SHARE * _memory() // max(1, memory))))


@contextmanager
def cluster(scheduler: str | None, workers: int | None, memory: int) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a cluster on this machine that ends with it.

    Args:
        scheduler: ``"tcp://host:8786"``; None for this machine.
        workers: processes on this machine; None for as many as fit.
        memory: bytes that the largest cell takes.

    Raises:
        StudyError: no scheduler answers, or Dask's ``distributed`` is not installed.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise StudyError("a sweep needs Dask's distributed: pip install 'xinc[sweep]'") from None
    settings = {
        # A worker that is killed for memory would only be killed again: the cell fails with its reason.
        "distributed.scheduler.allowed-failures": 2,
        # A clock that jumps would make all workers look dead; here processes are watched, not clocks.
        "distributed.scheduler.worker-ttl": None,
        "distributed.comm.timeouts.connect": f"{CONNECT}s",
    }
    with dask.config.set(settings):
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout=CONNECT)
            except (OSError, ValueError) as fault:
                raise StudyError(f"no Dask scheduler answers at {scheduler}: {fault}") from None
            with client:
                yield client
            return
        count = workers or workers_here(memory)
        limit = max(memory, int(SHARE * _memory() / count))
        with (
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                memory_limit=limit,
                dashboard_address=None,
                host="127.0.0.1",
                silence_logs="CRITICAL",
            ) as local,
            Client(local) as client,
        ):
            yield client


def device_here() -> str | None:
    """The device of the worker that runs: its own GPU where the machine has several."""
    count = torch.cuda.device_count()
    if not count:
        return None
    from distributed import get_worker

    name: Any = get_worker().name
    return f"cuda:{int(name) % count}" if str(name).isdecimal() else "cuda"
