"""JSON files, ours and others': read within bounds, whatever is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xinc.budget import afford
from xinc.errors import XincError

OURS = 2**25
"""Bytes of the largest description that we write: one of a clip of a hundred thousand frames takes a tenth of it."""
UNPACKED = 12
"""How many bytes of Python a byte of JSON may become: ``[[],[],...`` does."""


def read_json(path: Path, most: int = OURS) -> Any:
    """What a JSON file says.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: it is missing or cannot be read.
        ValueError: it is no JSON, no UTF-8, nested too deeply or too large; one line says which.
    """
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"it has {size:,} bytes, where at most {most:,} are read")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_any_json(path: Path, error: type[XincError]) -> Any:
    """What somebody else's JSON file says, as large as it may be.

    Raises:
        XincError: it cannot be read, is no JSON, or would not fit in memory.
    """
    try:
        size = path.stat().st_size
        afford(UNPACKED * size, f"to read {path} of {size:,} bytes", "take those parts of it that are needed", error)
        return read_json(path, size)
    except (OSError, ValueError) as damage:
        told = (str(damage).splitlines() or [type(damage).__name__])[0]
        raise error(f"{path} cannot be read as JSON ({told:.160})") from None
