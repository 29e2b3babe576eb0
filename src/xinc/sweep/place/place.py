"""What a sweep asks of the place that keeps its runs, whether that is a folder or an address.

A cell is made in a work folder on this machine and published whole. ``cell.json`` goes last, so a folder that has one
is complete, whatever was killed in between.
"""

from __future__ import annotations

import errno
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

CELL = "cell.json"
WORK = ".work"
FULL = {getattr(errno, name, errno.ENOSPC) for name in ("ENOSPC", "EDQUOT", "EROFS")}
"""Errors that every other cell would meet too."""


class Place(ABC):
    """A sweep's folder; names in it are relative, with slashes.

    Attributes:
        address: as it was given, for people.
    """

    address: str

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A file of the sweep; None where there is none."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file whole: a reader sees the old one or the new one.

        Raises:
            StudyError: it cannot be written.
        """

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one already, of several callers one; False where there was one.

        Raises:
            StudyError: it cannot be written.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is such a file or folder."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""

    @abstractmethod
    def cells(self) -> list[str]:
        """Names of the finished cells, ``signal/model-seed``."""

    @abstractmethod
    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of each file of a folder, by its name in there."""

    @abstractmethod
    def folder(self, name: str) -> AbstractContextManager[Path]:
        """A folder of the sweep on this machine, to read; empty or absent where there is none."""

    @abstractmethod
    def begin(self, name: str, clean: Callable[[Path], None] = lambda copy: None) -> Path:
        """The work folder of a cell, with what an earlier attempt, or the finished cell, left there.

        Args:
            name: of the cell.
            clean: takes out of a copy of the finished cell what is damaged.
        """

    @abstractmethod
    def keep(self, name: str, work: Path) -> None:
        """Keep what is done so far, where the work folder is lost with its machine."""

    @abstractmethod
    def publish(self, name: str, work: Path, document: Mapping[str, Any]) -> None:
        """Make a work folder the cell's; ``document`` becomes its ``cell.json``."""

    @abstractmethod
    def is_full(self) -> bool:
        """Whether hardly anything more fits."""

    def document(self, name: str) -> dict[str, Any]:
        """A JSON file; empty where there is none, or where it is damaged: what it says is made again."""
        try:
            value = json.loads(self.read(name) or b"{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def hindrance(self, fault: BaseException) -> str:
        """Why no cell can be written any more, where a fault says so; empty where it may concern one cell alone.

        Libraries wrap what the system said, and some swallow it: then the room that is left tells.
        """
        seen: BaseException | None = fault
        while seen is not None:
            if isinstance(seen, OSError) and seen.errno in FULL:
                return f"{self.address} cannot be written: {seen.strerror}"
            if "No space left on device" in str(seen):
                return f"{self.address} cannot be written: No space left on device"
            seen = seen.__cause__ or seen.__context__
        return f"{self.address} cannot be written: No space left on device" if self.is_full() else ""
