"""Methods whose body lies further down: what shows things is imported when it is asked to show them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def below(module: str, name: str) -> Callable[..., Any]:
    """A function of a part that stands below its caller in the list of docs/architecture.md.

    Args:
        module: without ``xinc.``, such as ``"show.plots"``.
        name: of the function.
    """
    found: Callable[..., Any] = getattr(import_module(f"xinc.{module}"), name)
    return found
