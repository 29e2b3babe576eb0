"""A sweep's folder on a disk that this machine, or all machines of a cluster, can see; publishing is a rename."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xinc.errors import StudyError
from xinc.sweep.place.place import CELL, WORK, Place

ROOM = 1 << 16
"""Bytes that are left on a disk that is full: some of the last ones are never given out."""


@dataclass(frozen=True)
class Disk(Place):
    """A folder.

    Attributes:
        address: as it was given.
        root: absolute: workers start elsewhere.
    """

    address: str
    root: Path

    def read(self, name: str) -> bytes | None:
        """See :meth:`Place.read`."""
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        """See :meth:`Place.write`."""
        path = self.root / name
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with self._said():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _synced(part, data)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)

    def create(self, name: str, data: bytes) -> bool:
        """See :meth:`Place.create`."""
        path = self.root / name
        with self._said():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _synced(path, data, "xb")
            except FileExistsError:
                return False
            except OSError:
                path.unlink(missing_ok=True)
                raise
        return True

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise StudyError(f"{self.address} cannot be written: {fault.strerror or fault}") from None

    def has(self, name: str) -> bool:
        """See :meth:`Place.has`."""
        return (self.root / name).exists()

    def remove(self, name: str) -> None:
        """See :meth:`Place.remove`."""
        gone = self.root / name
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone, ignore_errors=True)
            return
        with self._said():
            gone.unlink(missing_ok=True)

    def cells(self) -> list[str]:
        """See :meth:`Place.cells`."""
        return sorted(
            "/".join(p.parent.relative_to(self.root).parts)
            for p in self.root.glob(f"*/*/{CELL}")
            if not p.parent.parent.name.startswith(".")
        )

    def sizes(self, name: str) -> dict[str, int]:
        """See :meth:`Place.sizes`."""
        return sizes_of(self.root / name)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """See :meth:`Place.folder`."""
        yield self.root / name

    def is_full(self) -> bool:
        """See :meth:`Place.is_full`."""
        try:
            return shutil.disk_usage(self.root).free < ROOM
        except OSError:
            return False

    # A cell on its way

    def begin(self, name: str, clean: Callable[[Path], None] = lambda copy: None) -> Path:
        """See :meth:`Place.begin`."""
        work, final = self.root / WORK / name, self.root / name
        self._mend(name)
        if not work.exists() and final.exists():  # finished with other settings: what still holds is kept
            part = work.with_name(f"{work.name}.{uuid.uuid4().hex[:8]}")
            shutil.copytree(final, part)
            clean(part)
            os.replace(part, work)
        work.mkdir(parents=True, exist_ok=True)
        return work

    def keep(self, name: str, work: Path) -> None:
        """Nothing: the work folder lies where the sweep does."""

    def publish(self, name: str, work: Path, document: Mapping[str, Any]) -> None:
        """See :meth:`Place.publish`."""
        _synced(work / CELL, json.dumps(document, indent=1).encode())
        final, old = self.root / name, self.root / WORK / f"{name}.old"
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(final, old)
        os.replace(work, final)
        shutil.rmtree(old, ignore_errors=True)

    def _mend(self, name: str) -> None:
        """After a kill between the two renames of :meth:`publish` the old cell is put back."""
        old, final = self.root / WORK / f"{name}.old", self.root / name
        if old.exists() and not final.exists():
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(old, final)


def sizes_of(folder: Path) -> dict[str, int]:
    """Bytes of each file of a folder, by its name in there, with slashes."""
    sizes: dict[str, int] = {}
    waiting = [(folder, "")]
    while waiting:
        here, before = waiting.pop()
        try:
            entries = list(os.scandir(here))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), f"{before}{entry.name}/"))
            elif entry.is_file():
                sizes[f"{before}{entry.name}"] = entry.stat().st_size
    return sizes


def _synced(path: Path, data: bytes, mode: str = "wb") -> None:
    with path.open(mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
