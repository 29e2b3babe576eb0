"""Where a sweep keeps its runs: a folder, or an address that fsspec knows (``s3://bucket/study``).

A cell is made in a work folder on this machine and published whole. ``cell.json`` goes last, so a folder that has one
is complete, whatever was killed in between. On a disk, publishing is a rename; object stores have none, and there the
parts of a cell that is not finished are kept under ``.work`` after each step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from xinc.errors import StudyError

CELL = "cell.json"
WORK = ".work"


@dataclass(frozen=True)
class Place:
    """A sweep's folder.

    Attributes:
        address: a path, or what fsspec takes.
    """

    address: str

    def __reduce__(self) -> tuple[type[Place], tuple[str]]:
        return Place, (self.address,)  # workers open it anew

    @cached_property
    def root(self) -> Path | None:
        """The folder on this machine's disks, None where it is an address elsewhere."""
        if "://" not in self.address:
            return Path(self.address)
        return Path(self.address.removeprefix("file://")) if self.address.startswith("file://") else None

    @cached_property
    def _remote(self) -> tuple[Any, str]:
        import fsspec

        try:
            filesystem, path = fsspec.core.url_to_fs(self.address)
        except (ImportError, ValueError) as fault:
            raise StudyError(f"{self.address} cannot be opened: {fault}") from None
        return filesystem, str(path)

    def read(self, name: str) -> bytes | None:
        """A file of the sweep; None where there is none."""
        try:
            if self.root is not None:
                return (self.root / name).read_bytes()
            filesystem, path = self._remote
            data: bytes = filesystem.cat_file(f"{path}/{name}")
            return data
        except (FileNotFoundError, NotADirectoryError):
            return None

    def document(self, name: str) -> dict[str, Any]:
        """A JSON file; empty where there is none, or where it is damaged: what it says is made again."""
        try:
            value = json.loads(self.read(name) or b"{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole: a reader sees the old one or the new one."""
        if self.root is None:
            filesystem, root = self._remote
            filesystem.pipe_file(f"{root}/{name}", data)
            return
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        if self.root is not None:
            return (self.root / name).exists()
        filesystem, path = self._remote
        return bool(filesystem.exists(f"{path}/{name}"))

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""
        if self.root is not None:
            gone = self.root / name
            if gone.is_dir() and not gone.is_symlink():
                shutil.rmtree(gone, ignore_errors=True)
            else:
                gone.unlink(missing_ok=True)
            return
        filesystem, path = self._remote
        if filesystem.exists(f"{path}/{name}"):
            filesystem.rm(f"{path}/{name}", recursive=True)

    def cells(self) -> list[str]:
        """Names of the finished cells, ``signal/model-seed``."""
        if self.root is not None:
            return sorted(
                "/".join(p.parent.relative_to(self.root).parts)
                for p in self.root.glob(f"*/*/{CELL}")
                if not p.parent.parent.name.startswith(".")
            )
        filesystem, path = self._remote
        names = [str(p)[len(path) :].strip("/") for p in filesystem.glob(f"{path}/*/*/{CELL}")]
        return sorted(name.removesuffix(f"/{CELL}") for name in names if not name.startswith("."))

    # A cell on its way

    def begin(self, name: str) -> Path:
        """The work folder of a cell, with what an earlier attempt, or the finished cell, left there."""
        if self.root is not None:
            work, final = self.root / WORK / name, self.root / name
            self._mend(name)
            if not work.exists() and final.exists():  # finished with other settings: what still holds is kept
                part = work.with_name(f"{work.name}.{uuid.uuid4().hex[:8]}")
                shutil.copytree(final, part)
                os.replace(part, work)
            work.mkdir(parents=True, exist_ok=True)
            return work
        scratch = hashlib.blake2b(self.address.encode(), digest_size=8).hexdigest()
        work = (
            Path(tempfile.gettempdir()) / f"xinc-sweep-{os.getuid() if hasattr(os, 'getuid') else 0}" / scratch / name
        )
        if not work.exists():
            filesystem, path = self._remote
            for source in (f"{path}/{WORK}/{name}", f"{path}/{name}"):
                if filesystem.exists(source):
                    work.parent.mkdir(parents=True, exist_ok=True)
                    filesystem.get(f"{source}/", f"{work}/", recursive=True)
                    break
        work.mkdir(parents=True, exist_ok=True)
        return work

    def keep(self, name: str, work: Path) -> None:
        """Keep what is done so far, where the work folder is lost with its machine."""
        if self.root is None:
            filesystem, path = self._remote
            filesystem.put(f"{work}/", f"{path}/{WORK}/{name}/", recursive=True)

    def publish(self, name: str, work: Path, document: dict[str, Any]) -> None:
        """Make a work folder the cell's."""
        text = json.dumps(document, indent=1).encode()
        if self.root is None:
            filesystem, path = self._remote
            self.remove(f"{name}/{CELL}")
            (work / CELL).unlink(missing_ok=True)
            filesystem.put(f"{work}/", f"{path}/{name}/", recursive=True)
            self.write(f"{name}/{CELL}", text)
            self.remove(f"{WORK}/{name}")
            shutil.rmtree(work, ignore_errors=True)
            return
        (work / CELL).write_bytes(text)
        final, old = self.root / name, self.root / WORK / f"{name}.old"
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(final, old)
        os.replace(work, final)
        shutil.rmtree(old, ignore_errors=True)

    def _mend(self, name: str) -> None:
        """After a kill between the two renames of :meth:`publish` the old cell is put back."""
        assert self.root is not None
        old, final = self.root / WORK / f"{name}.old", self.root / name
        if old.exists() and not final.exists():
            final.parent.mkdir(parents=True, exist_ok=True)
            os.replace(old, final)
