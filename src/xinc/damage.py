"""What is said of a run with a damaged part: which one it is, and what can be saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from xinc.errors import RunError
from xinc.files import ASIDE, LOCK, PART, digest_of, reason

T = TypeVar("T")
RESCUES = MappingProxyType(
    {
        "config.json": "its weights may be saved by xinc import {run}/model.safetensors --as FAMILY --signal PATH",
        "model.safetensors": "its frames may be fitted again: xinc fit {run}/signal/frames",
        "signal": "its network may be saved by xinc import {run}/model.safetensors --as FAMILY --signal PATH",
        "history.csv": "delete that file, and the run is read without its history",
    }
)
"""What can be saved of a run, by the part that is damaged."""
UNFINISHED = {LOCK, ASIDE, "signal", "history.csv", "model.safetensors"}
"""What is in a folder while a new run is written to it: its description comes last."""


def part_of(run: Path, name: str, read: Callable[[], T]) -> T:
    """Read a part of a run, or say in one line which part is at fault, and what can be saved.

    Raises:
        RunError: the part is missing or damaged.
    """
    try:
        if (run / name).exists() and not (run / name).is_file() and not (run / name).is_dir():
            raise ValueError("it is no file")  # a pipe would never end
        return read()
    except Exception as fault:  # readers of damaged files raise whatever they meet
        what = "is missing" if isinstance(fault, FileNotFoundError) else f"is damaged ({reason(fault)})"
        rescue = RESCUES.get(name.partition("/")[0], "").format(run=run)
        if name == "model.safetensors" and (run / "signal/frames.safetensors").exists():
            rescue = f'its frames may be fitted again, in Python: xinc.fit(FAMILY, Clip.load("{run}/signal"))'
        raise RunError(f"{run / name} {what}; the run in {run} is not complete; {rescue}".rstrip("; ")) from None


def check_content(path: Path, digest: str) -> None:
    """Refuse a file that does not hold what was saved; one that is missing passes.

    Raises:
        ValueError: it holds something else.
    """
    if path.exists() and digest_of(path) != digest:
        raise ValueError("it is not what was saved")


def is_free(folder: Path) -> bool:
    """Whether a new run may be written to a folder: it is not there, or empty but for what a killed command left."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not PART.fullmatch(path.name)}
    return not names or (LOCK in names and names <= UNFINISHED)
