"""What the server keeps between questions, in bounded memory: canvases of the last frames, and the last maps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

from torch import Tensor

from xinc.canvas.trace import Canvas
from xinc.explore.chain import RunnableChain
from xinc.run import Run

HELD_BYTES = 600_000_000
"""What the kept canvases may take together: a frame's, its neighbours', another method's; one is kept however large."""
MAP_BYTES = 40_000_000
"""What the maps that were made last may take: four of 640×1280."""


class Held(NamedTuple):
    """A frame's canvas, the same network as a chain if it is one, and the bytes of its recorded values."""

    canvas: Canvas
    chain: RunnableChain | None
    bytes: int

    @classmethod
    def of(cls, canvas: Canvas) -> Held:
        """The canvas with its chain; derivatives behind each layer take about as much as its values."""
        values = sum(stage.input.numel() * stage.upscale[0] * stage.upscale[1] for stage in canvas.plan.stages)
        return cls(canvas, RunnableChain.of(canvas.plan), 14 * values)


@dataclass(eq=False)
class Canvases:
    """Canvases by run, frame and method; the last few are kept, :data:`HELD_BYTES` of them."""

    _held: OrderedDict[tuple[str, int, str], Held] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: tuple[str, int, str], run: Run) -> Held:
        """The canvas of a run's frame by a method.

        Args:
            key: name of the run, frame, method.
            run: the run.

        Raises:
            TraceError: there is no such method.
            ModelError: there is no such frame.
        """
        with self._lock:
            if key not in self._held:
                like = max((held.bytes for (name, *_), held in self._held.items() if name == key[0]), default=0)
                while self._held and like + sum(held.bytes for held in self._held.values()) > HELD_BYTES:
                    self._held.popitem(last=False)  # before the next is made: two large ones never lie side by side
                self._held[key] = Held.of(run.canvas(*key[1:]))
            self._held.move_to_end(key)
            return self._held[key]


@dataclass(eq=False)
class LatestMaps:
    """Maps by what they show, the last used last; :data:`MAP_BYTES` of them."""

    _held: OrderedDict[Hashable, Tensor] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, key: Hashable) -> Tensor | None:
        """The map that is kept under a key."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Hashable, value: Tensor) -> None:
        """Keep a map, unless it is too large for itself."""
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            while self._held and sum(one.nbytes for one in self._held.values()) > MAP_BYTES:
                self._held.popitem(last=False)
