"""Runs on the page where one points at a pixel: from a server on this machine, or as one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from xinc.run import Run, load


def explore_folders(folders: Sequence[Path], *, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve the page of some runs until interrupted.

    Args:
        folders: of the runs.
        port: None for the usual one, or the next that is free.
        ready: called with the page's address.

    Raises:
        RunError: a folder holds no run, or the port is taken.
    """
    from xinc.explore.answers import Answers
    from xinc.explore.server import Served

    served = Served.of(Answers(keyed(folders)), port)
    ready(served.address)
    served.run()


def export_folders(folders: Sequence[Path], path: Path) -> Path:
    """Write the page of some runs as one file.

    Raises:
        RunError: a folder holds no run, or a network cannot run in a page.
    """
    from xinc.explore.html import export

    return export(keyed(folders), path)


def keyed(folders: Sequence[Path]) -> dict[str, Run]:
    """Runs by a short name each: of their folder, numbered where two are alike."""
    found: dict[str, Run] = {}
    for folder in folders:
        name, number = folder.resolve().name, 2
        key = name
        while key in found:
            key, number = f"{name}-{number}", number + 1
        found[key] = load(folder)
    return found
