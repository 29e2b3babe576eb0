"""Shapes and types of the package's signatures, checked at every call while its tests run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception
from jaxtyping import install_import_hook

SOURCE = Path(__file__).resolve().parents[1] / "src"
CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as everywhere in Python
ARRAYS = re.compile(r"\b(Tensor|NDArray|xinc\.notation)\b")


def checked(thing: Callable[..., Any]) -> Callable[..., Any]:
    """``thing`` with its arguments and result checked; methods that return ``Self`` are beyond the checker."""
    try:
        return CHECK(thing)
    except BeartypeDecorHintPep673Exception:
        return thing


def check_shapes() -> None:
    """Check every module that names tensors or arrays, but those with compiled kernels: numba takes plain functions.

    Others have types that mypy checks, and functions that are called millions of times.
    """
    texts = {path: path.read_text() for path in SOURCE.rglob("*.py") if path.stem != "__init__"}
    paths = [path for path, text in texts.items() if ARRAYS.search(text) and "njit" not in text]
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths]
    install_import_hook(names, "shapes.checked")
