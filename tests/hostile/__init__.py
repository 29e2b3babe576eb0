"""Bad and hostile input: values and files, made by these modules, and a process that watches what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Wanted = Literal["refused", "works", "either"]


def nothing(folder: Path) -> None:
    """No file."""


@dataclass(frozen=True)
class Case:
    """A command that meets something hostile.

    Attributes:
        name: for people.
        words: of the command; ``{at}`` is a folder of its own, ``{base}`` one with harmless things (see ``base.py``).
        make: writes the files of the case into its folder.
        wanted: how it should end.
    """

    name: str
    words: tuple[str, ...]
    make: Callable[[Path], object] = nothing
    wanted: Wanted = "refused"


def put(name: str, content: bytes) -> Callable[[Path], object]:
    """Writes one file."""
    return lambda folder: (folder / name).write_bytes(content)
