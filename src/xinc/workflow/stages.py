"""How long steps tell what they are doing, whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from xinc.waiting import Progress

Stage = Callable[[str], AbstractContextManager[Progress]]
"""Shows one long step: entered with its name, it yields what the step calls."""


@contextmanager
def silent(name: str) -> Iterator[Progress]:
    """A stage that shows nothing."""
    yield lambda what, done, total: None
