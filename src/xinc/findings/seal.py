"""Whether a group of results is as it was written: its attributes keep a short name of all its files."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xinc.files import digest_of, reason

SEAL = "seal"
"""Attribute of a group; groups written before there were seals have none and are taken as they are."""
DOCUMENT = "zarr.json"
SMALL = 1 << 28
"""Bytes of a group up to which the seal covers what its files hold, not their sizes alone: whole maps are larger."""
LARGEST = 1 << 34
"""Bytes that the arrays of a group without a seal may say that they take: a damaged shape is not to be allocated."""


class DamageError(Exception):
    """A group is not as it was written; says how."""


def document(folder: Path) -> dict[str, Any]:
    """What a group or array says of itself.

    Raises:
        DamageError: it cannot be read.
    """
    path = folder / DOCUMENT
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise DamageError(f"{DOCUMENT} is no plain file")
        read = json.loads(path.read_bytes())
    except OSError as fault:
        raise DamageError(f"{DOCUMENT}: {reason(fault)}") from None
    except (ValueError, RecursionError) as fault:
        raise DamageError(f"{DOCUMENT} is not JSON: {reason(fault)}") from None
    if not isinstance(read, dict) or not isinstance(read.setdefault("attributes", {}), dict):
        raise DamageError(f"{DOCUMENT} describes no group")
    return read


def seal(group: Path) -> None:
    """Write the seal into a group that is complete."""
    read = document(group)
    read["attributes"][SEAL] = _digest(group, read)
    (group / DOCUMENT).write_text(json.dumps(read, indent=2), encoding="utf-8")


@dataclass(frozen=True)
class Intact:
    """A group that was looked at.

    Attributes:
        attributes: without the seal.
        sealed: whether its files are known to be those that were written.
        size: bytes that its arrays say they take, where they are not.
    """

    attributes: dict[str, Any]
    sealed: bool
    size: float


def check(group: Path) -> Intact:
    """Look at a group.

    Raises:
        DamageError: it is not as it was written.
    """
    read = document(group)
    attributes = {name: value for name, value in read["attributes"].items() if name != SEAL}
    if SEAL not in read["attributes"]:
        return Intact(attributes, False, _size(group))
    if read["attributes"][SEAL] != _digest(group, read):
        raise DamageError("its files are not those that were written")
    return Intact(attributes, True, 0)


def kind_of(folder: Path) -> str | None:
    """``"group"`` or ``"array"``, by what a folder says of itself; None where it says nothing that can be read."""
    try:
        return str(document(folder).get("node_type"))
    except DamageError:
        return None


def _digest(group: Path, read: dict[str, Any]) -> str:
    """A short name of a group: what it says but for the seal, and every file below it."""
    bare = {**read, "attributes": {k: v for k, v in read["attributes"].items() if k != SEAL}}
    state = hashlib.blake2b(json.dumps(bare, sort_keys=True).encode(), digest_size=12)
    try:
        files = {path: path.stat().st_size for path in _files(group) if path != group / DOCUMENT}
        for path, size in files.items():
            content = digest_of(path) if sum(files.values()) <= SMALL else str(size)
            state.update(f"{path.relative_to(group).as_posix()}\0{content}\0".encode())
    except OSError as fault:
        raise DamageError(f"{fault.filename}: {reason(fault)}") from None
    return state.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in one order everywhere; links are no part of a group."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if (path := Path(where, name)).is_symlink() or not path.is_file():
                raise DamageError(f"{path.relative_to(folder)} is no plain file")
            yield path
        if any(Path(where, name).is_symlink() for name in folders):
            raise DamageError(f"{where} holds a link to a folder")


def _size(group: Path) -> float:
    """Bytes that the arrays of a group say they take; refuses more than any finding does."""
    total = 0.0
    for path in _files(group):
        if path.name != DOCUMENT or path.parent == group:
            continue
        try:
            read = json.loads(path.read_bytes())
            total += 8.0 * math.prod(float(length) for length in read["shape"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as fault:
            raise DamageError(f"{path.relative_to(group)} describes no array ({type(fault).__name__})") from None
    if not total <= LARGEST:
        raise DamageError(f"its arrays say that they take {total:.1e} bytes")
    return total
