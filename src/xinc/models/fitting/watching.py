"""How a fit is watched: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from xinc.models.fitting.fit import Epoch, Watcher
from xinc.waiting import Spoken


@contextmanager
def watching(show: bool, title: str, epochs: int) -> Iterator[Watcher | None]:
    """A progress bar with the PSNR and the time left, if one is wanted; lines where nobody sees a bar."""
    if not show:
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        say = partial(print, file=sys.stderr, flush=True)
        spoken, rows = Spoken(f"Fitting {title}", say), list[Epoch]()

        def tell(row: Epoch) -> None:
            rows[:] = [row]
            spoken(f"{row.psnr:.2f} dB", row.epoch, epochs)

        yield tell
        if rows:
            say(f"Fitting {title}: {rows[0].epoch} of {epochs} epochs, {rows[0].psnr:.2f} dB, {rows[0].seconds:.0f} s")
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[psnr]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        job = bar.add_task(f"Fitting {title}", total=epochs, psnr="")
        yield lambda row: bar.update(job, completed=row.epoch, psnr=f"{row.psnr:.2f} dB")
