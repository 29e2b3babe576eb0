"""How a network is fitted: the settings, apart from the network itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from xinc.options.tables import RECIPE


def _constant(progress: float) -> float:
    return 1.0


def _warm_cosine(warmup: float, floor: float = 0.1) -> Callable[[float], float]:
    """Rises from ``floor`` over the share ``warmup`` of all steps, then falls to zero as half a cosine."""

    def factor(progress: float) -> float:
        if progress < warmup:
            return floor + (1 - floor) * progress / warmup
        return 0.5 * (math.cos(math.pi * (progress - warmup) / (1 - warmup)) + 1)

    return factor


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _warm_cosine(0.05),
    "cosine_0.1": _warm_cosine(0.1),
}
"""Factor of the learning rate by the share of steps done; ``cosine_0.1`` is the HNeRV code's ``cosine_0.1_1_0.1``."""


@dataclass(frozen=True)
class Recipe:
    """How to fit a network.

    Attributes:
        epochs: passes over the frames, or over the pixels of one frame.
        learning_rate: Adam's, before the schedule.
        batch: frames (or pixels, for networks of one frame) in a step; None for a share of all, see ``parts``.
        parts: steps of an epoch where ``batch`` is None; 1 sees everything in every step.
        schedule: a name of :data:`SCHEDULES`.
        betas: Adam's averaging factors.
    """

    epochs: int
    learning_rate: float
    batch: int | None = None
    parts: int = 1
    schedule: str = "constant"
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        for name, value in RECIPE.check(dataclasses.asdict(self)).items():
            object.__setattr__(self, name, value)

    def batch_of(self, count: int) -> int:
        """Items in a step, of ``count``."""
        return min(count, self.batch if self.batch is not None else math.ceil(count / self.parts))

    def change(self, **settings: Any) -> Self:
        """The same recipe with some settings replaced; those given as None stay."""
        return dataclasses.replace(self, **{k: v for k, v in settings.items() if v is not None})
