"""What the paths of a study file mean: patterns, videos of data sets, samples, addresses; annotations beside them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from itertools import count, groupby
from pathlib import Path
from string import Formatter

from xinc.errors import StudyError
from xinc.sweep.place.remote import fetched, is_remote, open_remote, said, split_video

SIGNS = "*?["
"""Of a pattern."""
LOOKED_AT = 100_000
"""Files and folders that a search for a pattern looks at, at most; a whole disk has more."""


def matches(pattern: str, folder: Path) -> list[str]:
    """Paths and addresses that a path means: a pattern's matches, the videos of ``FOLDER:*``, or the path itself.

    Args:
        pattern: as it stands in the file.
        folder: that relative ones start from, absolute.

    Raises:
        StudyError: nothing matches, or it cannot be searched for.
    """
    whole, video = split_video(pattern)
    if video == "*":
        return _videos(whole if is_remote(whole) else str((folder / whole).resolve()))
    if is_remote(pattern):
        return _remote_matches(pattern) if any(sign in pattern for sign in SIGNS) else [pattern.rstrip("/")]
    pattern = pattern.removeprefix("file://")
    if not any(sign in pattern for sign in SIGNS):
        here = folder / pattern
        # Samples have names, not files: "bunny".
        known = here.exists() or "/" in pattern or bool(video)
        return [str(here.resolve() if here.exists() else here)] if known else [pattern]
    anchor = Path(pattern).anchor
    parts = [part for part, _ in groupby(Path(pattern).relative_to(anchor).parts)]  # ** within ** finds nothing more
    try:
        found = sorted({str(p.resolve()) for p in _search(Path(anchor or folder), parts, count(1))})
    except (OSError, ValueError) as fault:
        raise StudyError(f"{pattern!r} cannot be searched for: {fault}") from None
    if not found:
        raise StudyError(f"nothing matches {pattern!r} in {folder}")
    return found


def _search(folder: Path, parts: list[str], looked: Iterator[int]) -> Iterator[Path]:
    """Paths below a folder that match the parts of a pattern; links to folders are not followed by ``**``."""
    if not parts:
        yield folder
        return
    first, rest = parts[0], parts[1:]
    if not any(sign in first for sign in SIGNS):
        if (folder / first).exists():
            yield from _search(folder / first, rest, looked)
        return
    if first == "**":
        yield from _search(folder, rest, looked)
    with suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if next(looked) > LOOKED_AT:
                raise ValueError(f"over {LOOKED_AT:,} files and folders lie there; begin with a folder further down")
            if first == "**":
                if entry.is_dir(follow_symlinks=False):
                    yield from _search(folder / entry.name, parts, looked)
            elif fnmatch(entry.name, first) and (entry.is_dir() or not rest):
                yield from _search(folder / entry.name, rest, looked)


def _remote_matches(pattern: str) -> list[str]:
    filesystem, path = open_remote(pattern)
    with said(pattern):
        found = sorted(str(filesystem.unstrip_protocol(name)) for name in filesystem.glob(path))
    if not found:
        raise StudyError(f"nothing matches {pattern!r}")
    return found


def _videos(folder: str) -> list[str]:
    from xinc.signals.datasets import catalogue as datasets

    return [f"{folder}:{recording.name}" for recording in datasets.recordings(Path(fetched(folder)))]


def beside(annotations: str, path: str, folder: Path) -> str:
    """The annotations of one signal: ``{stem}``, ``{name}`` and ``{parent}`` stand for its own and its folder's name.

    Raises:
        StudyError: there is another word in braces.
    """
    one = Path(path)
    known = {"stem": one.stem, "parent": one.parent.name, "name": one.name}
    try:
        fields = [part[1:] for part in Formatter().parse(annotations) if part[1] is not None]
        if any(name not in known or how or conversion for name, how, conversion in fields):  # {stem:>1000000000}
            raise ValueError
        own = annotations.format(**known)
    except ValueError:
        raise StudyError(f"annotations {annotations!r}: only {{stem}}, {{name}}, {{parent}} are known") from None
    return own if is_remote(own) else str(folder / own.removeprefix("file://"))


def name_of(path: str) -> str:
    """A folder's name for a signal: a folder called ``frames`` takes its parent's."""
    last = Path(path)
    stem = last.parent.name if last.name in ("frames", "images", "imgs") else last.stem
    return stem.replace(":", "-") or "signal"


def content(address: str) -> str:
    """A short name of what a file holds, or of all files of a folder; of the address itself where it is none."""
    path = Path(fetched(address))
    state = hashlib.blake2b(address.encode() if not path.exists() else b"", digest_size=12)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    for file in files:
        state.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as data:
            while block := data.read(1 << 20):
                state.update(block)
    return state.hexdigest()
