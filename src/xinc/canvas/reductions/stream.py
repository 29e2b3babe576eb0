"""Streams: a layer's maps made one after another and folded at once, never held.

A stream knows one layer and one method. It answers two questions: fold all maps into the reductions of one pass, or
give some maps over a window. :class:`ConvolutionStream` and :class:`LinearStream` run in compiled loops on the CPU;
:class:`DenseStream` does the same with tensors of a few neurons at a time, on any device and for any activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from xinc.canvas.network.receptive_field import Window
from xinc.canvas.reductions.fold import Folded, Pass, Stream, dense_fold
from xinc.errors import TraceError
from xinc.notation import ColouredMaps, Maps

CHUNK_VALUES = 1 << 24
"""Map values that a dense stream holds at once (64 MB in float32, a few times that in intermediate results)."""


@dataclass
class HeldMaps:
    """Maps of all neurons over a part of the picture that are there already."""

    values: Tensor
    neurons: int
    size: tuple[int, int]

    @classmethod
    def of(cls, terms: Iterable[tuple[range, Tensor]]) -> HeldMaps:
        """Make them from signed terms, some neurons at a time ``(n, colours, h, w)``."""
        values = torch.cat([part.abs().sum(1) for _, part in terms])
        return cls(values, len(values), (values.shape[1], values.shape[2]))

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold them."""
        folded = Folded.empty(self.neurons, self.size, wanted)
        dense_fold(self.values, range(self.neurons), wanted, folded)
        return folded

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Maps of some neurons, ``(n, h, w)``."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        return self.values[list(neurons), w.y0 : w.y1, w.x0 : w.x1]


def area_size(area: tuple[slice, slice], size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a part of a picture."""
    return len(range(*area[0].indices(size[0]))), len(range(*area[1].indices(size[1])))


Own = TypeVar("Own")


def same_kind(stream: Own, other: Stream | None) -> Own | None:
    """The other frame's stream, which the same loops serve.

    Raises:
        TraceError: It is of another kind.
    """
    if other is not None and not isinstance(other, type(stream)):
        raise TraceError("two frames can be compared if they are traced on one device and in one precision only")
    return other


def workers() -> int:
    """Threads that share a pass: as many as torch uses."""
    return max(1, torch.get_num_threads())


def in_threads(
    tasks: Sequence[Any],
    work: Callable[[Any, Any], None],
    state: Callable[[], Any],
    progress: Callable[[float], None] | None,
) -> list[Any]:
    """Run tasks in threads, each thread with a state of its own; returns the states. The first error is raised."""
    remaining = list(reversed(tasks))
    states = [state() for _ in range(min(workers(), max(1, len(tasks))))]

    def run(own: Any) -> None:
        while remaining:
            try:
                task = remaining.pop()
            except IndexError:  # another thread took the last one
                return
            work(task, own)
            if progress is not None:
                progress(1 / len(tasks))

    if len(states) == 1:
        run(states[0])
        return states
    with ThreadPoolExecutor(len(states)) as pool:
        futures = [pool.submit(run, own) for own in states]
        try:
            for future in futures:
                future.result()
        except BaseException:
            remaining.clear()
            raise
    return states


@dataclass
class DenseStream:
    """Maps from a function of a few neurons at a time: any device, any activation, any method.

    Attributes:
        compute: gives the maps of some neurons over a window, ``(n, h, w)`` or, with colours, ``(n, 3, h, w)``.
        cost: map values that computing one map holds, in units of a map; bounds how many are computed at once.
    """

    compute: Callable[[Sequence[int], Window], Tensor]
    neurons: int
    size: tuple[int, int]
    cost: float = 4.0

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps, a chunk of neurons after the other."""
        pixels = self.size[0] * self.size[1]
        chunk = max(1, int(CHUNK_VALUES / (pixels * self.cost)))
        whole = Window(0, self.size[0], 0, self.size[1])
        folded = Folded.empty(self.neurons, self.size, wanted)
        for first in range(0, self.neurons, chunk):
            some = range(first, min(self.neurons, first + chunk))
            dense_fold(self.compute(some, whole), some, wanted, folded)
            if progress is not None:
                progress(len(some) / self.neurons)
        return folded

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps | ColouredMaps:
        """Maps over a window, computed in chunks; with the function's colours, where it gives them."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        chunk = max(1, int(CHUNK_VALUES / (self.size[0] * self.size[1] * self.cost)))
        parts = [self.compute(neurons[a : a + chunk], w) for a in range(0, len(neurons), chunk)]
        return torch.cat(parts) if parts else torch.empty(0, *w.shape)
