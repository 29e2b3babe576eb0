"""What a long step says where nobody sees a bar: a line now and then, in a log, with the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many of how many steps are done."""

EVERY = 30.0
"""Seconds between lines; the first comes after a third of it."""


@dataclass
class Spoken:
    """Says how far a step is.

    Attributes:
        name: of the step.
        say: takes a line.
        clock: seconds that never go back.
    """

    name: str
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _begun: float = field(init=False)
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()
        self._next = self._begun + EVERY / 3

    def __call__(self, what: str, done: float, total: float) -> None:
        """Tell of a step of the work; most calls say nothing."""
        now = self.clock()
        if now < self._next:
            return
        self._next = now + EVERY
        share = done / total if total > 0 else 0.0
        left = f", about {spoken_time((now - self._begun) * (1 - share) / share)} left" if 0 < share < 1 else ""
        self.say(f"{self.name}: {100 * share:.0f} %{f' ({what})' if what else ''}{left}")


def spoken_time(seconds: float) -> str:
    """Seconds as people say them: ``"40 s"``, ``"3 min"``, ``"2 h 10 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def silent(text: str, done: int, total: int) -> None:
    """Progress that is told to nobody."""
