"""How files of ours are written: whole or not at all, by one process at a time, to places that were looked at before.

A file is made beside its place under a hidden name and moved there when it is complete; a folder is made in
``.partial`` beside it. Whatever a kill leaves of that is cleared away by the next command that writes there.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from xinc.errors import PlaceError

ASIDE = ".partial"
"""Folder in which folders are made before they take their place."""
LOCK = ".lock"
PARTED = ("figures", "reductions")
"""Folders of a run in which files are replaced one by one."""
PART = re.compile(r"\.(.+)\.(\d+)\.partial", re.DOTALL)
_numbers = itertools.count()
KEPT_NAME = 50
"""Characters of a file's name that its part repeats: a name may have 255 bytes, and the part's has more to say."""


def shown(text: object) -> str:
    """Text that any terminal and file can take: bytes of a path that are no UTF-8 become question marks in diamonds."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def has_utf8_name(path: Path) -> bool:
    """Whether libraries that know names as UTF-8 alone can open a path."""
    return shown(path) == str(path)


# Writing


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A file to write, which becomes ``path`` when it is complete; what was there stays until then.

    Args:
        path: where it goes; behind a link, to the file that the link names.
        durable: whether it must be on the disk before it takes its place, so that a power cut leaves one or the other.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    part = path.with_name(f".{path.name[:KEPT_NAME]}.{os.getpid()}.partial")
    _clear_parts(path.parent, path.name[:KEPT_NAME])
    try:
        yield part
        if durable:
            _flush(part)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        _flush(path.parent)


def write_bytes(path: Path, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Write a file whole or not at all."""
    with replacing(path, durable=durable) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a text file whole or not at all, as UTF-8."""
    write_bytes(path, shown(text).encode("utf-8"), durable=durable)


@contextmanager
def new_folder(parent: Path, lasting: str | None = None) -> Iterator[Path]:
    """An empty folder in ``.partial`` to fill and then to :func:`move` to its place in the parent; else it goes.

    Args:
        parent: where it goes.
        lasting: a name under which it is kept where it is not moved, with what it holds: work that is to go on.

    Raises:
        OSError: it cannot be made.
    """
    aside = parent / ASIDE
    aside.mkdir(exist_ok=True)
    made = aside / (f"{os.getpid()}-{next(_numbers)}" if lasting is None else f"{quote(lasting, safe='')}.going-on")
    if lasting is None:
        shutil.rmtree(made, ignore_errors=True)
    made.mkdir(exist_ok=lasting is not None)
    try:
        yield made
    finally:
        if lasting is None:
            shutil.rmtree(made, ignore_errors=True)
        with contextlib.suppress(OSError):
            aside.rmdir()


def move(made: Path, path: Path, aside: Path) -> None:
    """Move a finished folder to its place, whose parent is there.

    What was there is kept in ``aside`` between the two moves that this takes; :func:`tidy` brings it back.
    """
    old = aside / f"{quote(os.fsencode(os.path.relpath(path, aside.parent)), safe='')}.old"
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(made, path)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder; file systems that cannot say so are believed."""
    with contextlib.suppress(OSError):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def digest_of(path: Path) -> str:
    """A short name of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


# What a kill leaves


def tidy(folder: Path) -> None:
    """Clear what a killed command left: parts of files, folders on their way; one between two moves is put back."""
    aside = folder / ASIDE
    with contextlib.suppress(OSError):
        for left in sorted(aside.iterdir()):
            if left.suffix == ".old" and not os.path.lexists(place := folder / unquote(left.stem)):
                os.replace(left, place)
            elif left.suffix == ".old" or (re.match(r"\d+-", left.name) and not _lives(int(left.name.split("-")[0]))):
                _remove(left)
    with contextlib.suppress(OSError):
        aside.rmdir()
    _clear_parts(folder)
    for name in PARTED:
        for where, _, _ in os.walk(folder / name):
            _clear_parts(Path(where))


def _remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _clear_parts(folder: Path, name: str | None = None) -> None:
    """Unlink parts in a folder that nobody is writing, of one file or of all."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            known = PART.fullmatch(entry.name)
            if known and name in (None, known[1]) and not _lives(int(known[2])):
                Path(entry.path).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether another process of this number is there; our own has no parts from before."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


# One writer


_held: set[tuple[int, str]] = set()
"""Folders that this process holds: the main job fits, analyses and reports in one, and takes it once."""


@contextmanager
def locked(folder: Path | None, doing: str) -> Iterator[None]:
    """Be the only process that writes to a folder; tidies it first. The system lets go of the lock of a dead process.

    Args:
        folder: it is made where it is missing; None locks nothing.
        doing: what others are told that this process is about.

    Raises:
        PlaceError: another process writes there, or the folder cannot be written.
    """
    key = (os.getpid(), os.path.realpath(folder or ""))
    if folder is None or key in _held:
        yield
        return
    from filelock import FileLock, Timeout

    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise PlaceError(f"{folder} is being written by {_holder(path)}; wait for it, or stop it") from None
    _held.add(key)
    try:
        known = {"doing": doing, "process": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
            path.write_text(json.dumps(known), encoding="utf-8")
        tidy(folder)
        yield
    finally:
        _held.discard(key)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    """Who holds a lock, and for how long."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        age, process = max(0.0, time.time() - float(known["since"])), int(known["process"])
        long = f"{age:.0f} s" if age < 120 else f"{age / 60:.0f} min" if age < 7200 else f"{age / 3600:.0f} h"
        return f"{known['doing']!s:.60} (process {process} on {known['host']!s:.60}, for {long})"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"


# Places


def check_file(path: Path) -> Path:
    """Make sure that a file can be written, before the work whose result it is to hold. Returns the path.

    Raises:
        PlaceError: it is a folder, a device or a pipe, its name is too long, or its folder cannot be made or written.
    """
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise PlaceError(f"{path} is a folder; name a file, such as {path / path.name}")
    if mode is not None and not stat.S_ISREG(mode):
        raise PlaceError(f"{path} is a device, pipe or socket; name a file")
    _check_parents(path)
    return path


def check_folder(path: Path) -> Path:
    """Make sure that a folder is there and can be written, or can be made. Returns the path.

    Raises:
        PlaceError: it is a file or lies below one, its name is too long, or it cannot be made or written.
    """
    mode = _mode(path)
    if mode is None:
        _check_parents(path)
    elif not stat.S_ISDIR(mode):
        raise PlaceError(f"{path} is no folder; choose another")
    elif not os.access(path, os.W_OK | os.X_OK):
        raise PlaceError(
            f"{path} may only be read; give another folder with --out where the command has it, or copy it"
        )
    return path


def _mode(path: Path) -> int | None:
    """What kind of thing a path is; None where there is nothing yet."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as fault:
        raise PlaceError(f"{path} cannot be written: {reason(fault)}") from None


def _check_parents(path: Path) -> None:
    """The first folder above that is there must take what is to be made in it."""
    for parent in path.absolute().parents:
        mode = _mode(parent)
        if mode is None:
            continue
        if not stat.S_ISDIR(mode):
            raise PlaceError(f"{path} cannot be made: {parent} is no folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PlaceError(f"{path} cannot be made: {parent} may only be read; choose another place")
        return


def reason(fault: BaseException) -> str:
    """An error of the system in a few words."""
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror[:1].lower() + fault.strerror[1:]
    return (str(fault).splitlines() or [type(fault).__name__])[0].strip()
