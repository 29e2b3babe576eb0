"""Parts of a cell that are not what they were written as: found by their sizes, or by reading them; then dropped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from xinc.errors import RunError, SignalError
from xinc.findings.results import FOLDER
from xinc.run import load

FIT = ("model.safetensors", "config.json", "history.csv", "signal/")
"""What a fit leaves; a trailing slash stands for all files of a folder."""
DOCUMENT = "zarr.json"


def recorded(sizes: Mapping[str, int]) -> dict[str, int]:
    """Of all files of a cell those that nothing makes again by itself: its fit and its results."""
    return {name: size for name, size in sizes.items() if name.startswith((*FIT, f"{FOLDER}/"))}


def differing(sizes: Mapping[str, int], record: Mapping[str, int]) -> list[str]:
    """Files of a record that are gone or have another size."""
    return sorted(name for name, size in record.items() if sizes.get(name) != size)


def drop(work: Path, files: Iterable[str]) -> None:
    """Remove what files that are damaged belong to: a finding of a layer, or all where the fit is concerned."""
    known = list(files)
    if any(not name.startswith(f"{FOLDER}/") for name in known):
        empty(work)
        return
    for group in {_group_of(work / name, work / FOLDER) for name in known}:
        _remove(group)


def mend(work: Path) -> None:
    """Read everything that a cell was left with, and remove what cannot be read."""
    try:
        if (work / "config.json").exists():
            clip = load(work).clip
            for t in range(len(clip)):
                clip.frame(t)
    except (RunError, SignalError):
        empty(work)
        return
    for group in sorted(set(_unreadable(work / FOLDER))):
        _remove(group)


def empty(folder: Path) -> None:
    """Remove everything in a folder."""
    for path in list(folder.iterdir()):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _group_of(file: Path, results: Path) -> Path:
    """The group that a file of an array, or of the group itself, belongs to."""
    folder = file.parent
    while folder != results and not (folder / DOCUMENT).exists():
        folder = folder.parent
    is_group = folder == results or any(folder.glob(f"*/{DOCUMENT}"))
    return folder if is_group else folder.parent


def _unreadable(results: Path) -> Iterator[Path]:
    import zarr

    for document in results.rglob(DOCUMENT):
        try:
            kind = json.loads(document.read_text("utf-8"))["node_type"]
            if kind == "array":
                zarr.open_array(document.parent, mode="r")[...]
        except Exception:  # every codec raises errors of its own
            yield _group_of(document, results)
