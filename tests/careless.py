"""A pickle that acts when it is loaded carelessly."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Touch:
    """Loading a pickle of this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))
