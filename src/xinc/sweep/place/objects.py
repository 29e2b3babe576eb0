"""A sweep at an address that fsspec knows. Stores of objects rename nothing, and workers may share no disk.

A cell is made on the worker's own disk. After each step what changed is copied to ``.work`` at the address, documents
after what they describe, so that a copy that breaks off is never taken for more than it holds; a mark that both sides
carry says whether a worker's own copy is the newest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from xinc.errors import StudyError
from xinc.sweep.place.disk import ROOM, sizes_of
from xinc.sweep.place.place import CELL, WORK, Place
from xinc.sweep.place.remote import download, listing, open_remote, said, scratch

MARK = "steps.json"
"""In a work folder: how many steps were kept, and a number drawn then."""
LAST = ("config.json", MARK)
"""Documents that say that something is whole, in the order in which they follow all else."""


@dataclass(frozen=True)
class Objects(Place):
    """An address.

    Attributes:
        address: what fsspec takes.
    """

    address: str

    def __reduce__(self) -> tuple[type[Objects], tuple[str]]:
        return Objects, (self.address,)  # workers open it anew

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_remote(self.address)

    @cached_property
    def _sent(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Size and time of what this process copied, by cell and file."""
        return {}

    def read(self, name: str) -> bytes | None:
        """See :meth:`Place.read`."""
        filesystem, path = self._opened
        try:
            with said(self.address):
                data: bytes = filesystem.cat_file(f"{path}/{name}")
                return data
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """See :meth:`Place.write`."""
        filesystem, path = self._opened
        with self._writing():
            filesystem.pipe_file(f"{path}/{name}", data)

    def create(self, name: str, data: bytes) -> bool:
        """See :meth:`Place.create`."""
        filesystem, path = self._opened
        try:
            with self._writing():
                filesystem.pipe_file(f"{path}/{name}", data, mode="create")
        except FileExistsError:
            return False
        return True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with said(self.address):
                yield
        except FileNotFoundError as fault:
            raise StudyError(f"{self.address} cannot be used: {str(fault).splitlines()[0]}") from None

    def has(self, name: str) -> bool:
        """See :meth:`Place.has`."""
        filesystem, path = self._opened
        with said(self.address):
            return bool(filesystem.exists(f"{path}/{name}"))

    def remove(self, name: str) -> None:
        """See :meth:`Place.remove`."""
        filesystem, path = self._opened
        with said(self.address):
            if filesystem.exists(f"{path}/{name}"):
                filesystem.rm(f"{path}/{name}", recursive=True)

    def cells(self) -> list[str]:
        """See :meth:`Place.cells`."""
        filesystem, path = self._opened
        with said(self.address):
            found = [str(p)[len(path) :].strip("/") for p in filesystem.glob(f"{path}/*/*/{CELL}")]
        return sorted(name.removesuffix(f"/{CELL}") for name in found if not name.startswith("."))

    def sizes(self, name: str) -> dict[str, int]:
        """See :meth:`Place.sizes`."""
        filesystem, path = self._opened
        with said(self.address):
            return {file: int(about["size"]) for file, about in listing(filesystem, f"{path}/{name}").items()}

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """See :meth:`Place.folder`."""
        with tempfile.TemporaryDirectory(dir=scratch()) as here:
            target = Path(here) / PurePosixPath(name).name
            self._download(name, target)
            yield target

    def is_full(self) -> bool:
        """See :meth:`Place.is_full`; it is the worker's own disk that may be."""
        return shutil.disk_usage(scratch()).free < ROOM

    # A cell on its way

    def begin(self, name: str, clean: Callable[[Path], None] = lambda copy: None) -> Path:
        """See :meth:`Place.begin`."""
        own = hashlib.blake2b(self.address.encode(), digest_size=8).hexdigest()
        work = scratch() / own / name
        mark = self.document(f"{WORK}/{name}/{MARK}")
        if mark and work.is_dir() and _mark_of(work) == mark:
            return work
        shutil.rmtree(work, ignore_errors=True)
        work.parent.mkdir(parents=True, exist_ok=True)
        if mark.get("steps"):
            self._download(f"{WORK}/{name}", work)
            self._sent[name] = {file: _state(work / file) for file in sizes_of(work)}
        else:
            self._download(name, work)
            clean(work)
        self._marked(name, work, int(mark.get("steps", 0)))
        return work

    def keep(self, name: str, work: Path) -> None:
        """See :meth:`Place.keep`."""
        self._upload(work, f"{WORK}/{name}", self._sent.setdefault(name, {}))
        self._marked(name, work, int(_mark_of(work).get("steps", 0)) + 1)

    def publish(self, name: str, work: Path, document: Mapping[str, Any]) -> None:
        """See :meth:`Place.publish`."""
        filesystem, path = self._opened
        for own in (MARK, CELL):
            (work / own).unlink(missing_ok=True)
        self.remove(f"{name}/{CELL}")
        self._upload(work, name, {})
        with said(self.address):
            if stale := sorted(listing(filesystem, f"{path}/{name}").keys() - sizes_of(work).keys()):
                filesystem.rm([f"{path}/{name}/{file}" for file in stale])
        self.write(f"{name}/{CELL}", json.dumps(document, indent=1).encode())
        self.remove(f"{WORK}/{name}")
        shutil.rmtree(work, ignore_errors=True)
        self._sent.pop(name, None)

    def _marked(self, name: str, work: Path, steps: int) -> None:
        text = json.dumps({"steps": steps, "drawn": uuid.uuid4().hex})
        self.write(f"{WORK}/{name}/{MARK}", text.encode())
        (work / MARK).write_text(text, "utf-8")

    def _download(self, name: str, folder: Path) -> None:
        filesystem, path = self._opened
        with said(self.address):
            download(filesystem, f"{path}/{name}", list(listing(filesystem, f"{path}/{name}")), folder)

    def _upload(self, work: Path, name: str, sent: dict[str, tuple[int, int]]) -> None:
        """Copy what is not in ``sent`` as it is now, documents last, and note it there."""
        filesystem, path = self._opened
        known = {file: _state(work / file) for file in sizes_of(work) if file != MARK}
        for part in _in_order([file for file, state in known.items() if sent.get(file) != state]):
            with self._writing():
                filesystem.put([str(work / file) for file in part], [f"{path}/{name}/{file}" for file in part])
            sent.update({file: known[file] for file in part})


def _mark_of(work: Path) -> dict[str, Any]:
    try:
        known = json.loads((work / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _state(path: Path) -> tuple[int, int]:
    known = path.stat()
    return known.st_size, known.st_mtime_ns


def _in_order(files: Sequence[str]) -> list[list[str]]:
    """Files in parts that are copied one after another: a group's document after its arrays', these after the data."""

    def rank(file: str) -> int:
        if file in LAST:
            return 2000 + LAST.index(file)
        return 1000 - file.count("/") if file.endswith("/zarr.json") else 0

    ranks = sorted({rank(file) for file in files})
    return [[file for file in files if rank(file) == one] for one in ranks]
