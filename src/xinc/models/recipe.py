"""How a network is fitted: the settings, apart from the network itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from xinc.errors import ModelError


def _constant(progress: float) -> float:
    return 1.0


def _cosine(progress: float, warmup: float = 0.1, floor: float = 0.1) -> float:
    if progress < warmup:
        return floor + (1 - floor) * progress / warmup
    return 0.5 * (math.cos(math.pi * (progress - warmup) / (1 - warmup)) + 1)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": _constant, "cosine": _cosine}
"""Factor of the learning rate by the share of steps done. ``cosine`` rises from a tenth over the first tenth, then
falls to zero (the HNeRV code's ``cosine_0.1_1_0.1``)."""


@dataclass(frozen=True)
class Recipe:
    """How to fit a network.

    Attributes:
        epochs: passes over the frames; one full-image step each for networks of one frame.
        learning_rate: Adam's, before the schedule.
        batch: frames (or pixels, for networks of one image) in a step; None for all at once.
        schedule: a name of :data:`SCHEDULES`.
        betas: Adam's averaging factors.
    """

    epochs: int
    learning_rate: float
    batch: int | None = None
    schedule: str = "constant"
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.batch is not None and self.batch < 1) or not self.learning_rate > 0:
            raise ModelError(
                f"a fit needs epochs and batch of at least 1 and a positive learning rate, not epochs={self.epochs}, "
                f"batch={self.batch}, learning_rate={self.learning_rate}"
            )
        if self.schedule not in SCHEDULES:
            raise ModelError(f"no schedule is called {self.schedule!r}; choose from {', '.join(SCHEDULES)}")

    def change(self, **settings: Any) -> Self:
        """The same recipe with some settings replaced; those given as None stay."""
        return dataclasses.replace(self, **{k: v for k, v in settings.items() if v is not None})
