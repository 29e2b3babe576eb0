"""What the paths of a study file mean: patterns, videos of data sets, samples, addresses; annotations beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from string import Formatter

from xinc.errors import StudyError
from xinc.sweep.place.remote import fetched, is_remote, open_remote, said, split_video

SIGNS = "*?["
"""Of a pattern."""


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
    try:
        found = sorted(str(p.resolve()) for p in Path(anchor or folder).glob(str(Path(pattern).relative_to(anchor))))
    except (OSError, ValueError, NotImplementedError) as fault:
        raise StudyError(f"{pattern!r} cannot be searched for: {fault}") from None
    if not found:
        raise StudyError(f"nothing matches {pattern!r} in {folder}")
    return found


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
