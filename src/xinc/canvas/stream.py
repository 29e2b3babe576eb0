"""Streams: a layer's maps made one after another and folded at once, never held.

A stream knows one layer and one method. It answers two questions: fold all maps into the reductions of one pass, or give
some maps over a window. :class:`ConvolutionStream` and :class:`LinearStream` run in compiled loops on the CPU;
:class:`DenseStream` does the same with tensors of a few neurons at a time, on any device and for any activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.fold import Accumulators, Folded, Pass, dense_fold, phase_major
from xinc.canvas.geometry import Path, Window
from xinc.canvas.kernels import stream_convolution, stream_linear

BAND_PIXELS = 1 << 15
"""Pixels of one band: its heat, limits and labels stay in the second-level cache while neurons pass by."""

CHUNK_VALUES = 1 << 24
"""Map values that a dense stream holds at once (64 MB in float32, a few times that in intermediate results)."""


class Stream(Protocol):
    """A layer's maps under one method."""

    neurons: int
    size: tuple[int, int]
    signed: bool
    """Whether maps carry a sign."""

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold the maps of all neurons."""
        ...

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps of some neurons over a window, ``(n, h, w)``."""
        ...


def bands(size: tuple[int, int], multiple: int) -> list[tuple[int, int]]:
    """Rows of the picture in bands of about :data:`BAND_PIXELS`, cut at multiples of a cell's height."""
    height, width = size
    rows = max(multiple, BAND_PIXELS // width // multiple * multiple)
    return [(y, min(height, y + rows)) for y in range(0, height, rows)]


def _workers() -> int:
    return max(1, torch.get_num_threads())


def _in_threads(
    tasks: Sequence[Any],
    work: Callable[[Any, Any], None],
    state: Callable[[], Any],
    progress: Callable[[float], None] | None,
) -> list[Any]:
    """Run tasks in threads, each thread with a state of its own; returns the states. The first error is raised."""
    remaining = list(reversed(tasks))
    states = [state() for _ in range(min(_workers(), max(1, len(tasks))))]

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
class ConvolutionStream:
    """Kernels of a convolution by the paper's method, in compiled loops."""

    path: Path
    size: tuple[int, int]
    signed: bool = True
    neurons: int = field(init=False)

    def __post_init__(self) -> None:
        self.inputs, self.outputs = self.path.weight.shape[:2]
        self.neurons = self.inputs * self.outputs

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; threads share the input channels."""
        ry, rx = self.path.phases
        cut = bands(self.size, ry)
        windows = [self.path.window(Window(y0, y1, 0, self.size[1])) for y0, y1 in cut]
        shared = Accumulators(self.neurons, self.size, wanted, rx)
        scratch_shape = np.max([shape for _, shape, _ in windows], axis=0)
        every = np.arange(self.outputs)

        def state() -> tuple[Any, Any, Any]:
            rows = max(y1 - y0 for y0, y1 in cut)
            return shared.worker(rows), np.zeros(scratch_shape, np.float32), np.zeros((3, scratch_shape[2]), np.float32)

        def work(i: int, own: tuple[Any, Any, Any]) -> None:
            fold, scratch, lines = own
            neurons = np.stack([np.full(self.outputs, i), every, i * self.outputs + every], 1).astype(np.int64)
            for (y0, _), (chain, _, _) in zip(cut, windows, strict=True):
                stream_convolution(chain, neurons, scratch, lines, y0, fold)

        states = _in_threads(range(self.inputs), work, state, progress)
        return shared.finish([fold for fold, _, _ in states])

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps over a window; only what the window sees of every earlier grid is computed."""
        asked = window or Window(0, self.size[0], 0, self.size[1])
        chain, scratch_shape, covered = self.path.window(asked)
        rx = self.path.phases[1]
        index = np.asarray(neurons, np.int64)
        out = np.empty((len(index), *covered.shape), np.float32)
        jobs = np.stack([index // self.outputs, index % self.outputs, np.arange(len(index))], 1)

        def state() -> tuple[Any, Any]:
            return np.zeros(scratch_shape, np.float32), np.zeros((3, scratch_shape[2]), np.float32)

        def work(part: slice, own: tuple[Any, Any]) -> None:
            part_jobs = jobs[part].copy()
            part_jobs[:, 2] -= part.start
            empty = Accumulators.nothing(out[part])
            stream_convolution(chain, part_jobs, *own, 0, empty)

        size = max(1, -(-len(index) // (4 * _workers())))
        _in_threads([slice(a, min(a + size, len(index))) for a in range(0, len(index), size)], work, state, None)
        natural = out.reshape(len(index), covered.shape[0], rx, -1).swapaxes(2, 3).reshape(len(index), *covered.shape)
        y, x = asked.y0 - covered.y0, asked.x0 - covered.x0
        return torch.from_numpy(np.ascontiguousarray(natural[:, y : y + asked.shape[0], x : x + asked.shape[1]]))


@dataclass
class LinearStream:
    """Input features of a linear layer: ``scale_i z_i(p) + shift``, rectified where the published code does so."""

    values: NDArray[np.float32]  # (C_in, H, W), any strides
    scale: NDArray[np.float32]
    shift: float
    rectify: bool
    signed: bool = True

    def __post_init__(self) -> None:
        self.neurons = int(self.values.shape[0])
        self.size = (int(self.values.shape[1]), int(self.values.shape[2]))

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; threads share the features."""
        cut = bands(self.size, 1)
        shared = Accumulators(self.neurons, self.size, wanted, 1)

        def work(i: int, own: tuple[Any, Any]) -> None:
            fold, lines = own
            for y0, y1 in cut:
                stream_linear(
                    self.values, self.scale, np.float32(self.shift), self.rectify,
                    np.array([[i, i]], np.int64), y0, y1 - y0, lines, fold,
                )  # fmt: skip

        rows = max(y1 - y0 for y0, y1 in cut)
        states = _in_threads(
            range(self.neurons), work, lambda: (shared.worker(rows), np.zeros((1, self.size[1]), np.float32)), progress
        )
        return shared.finish([fold for fold, _ in states])

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps over a window."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        index = np.asarray(neurons, np.int64)
        chosen = self.values[index, w.y0 : w.y1, w.x0 : w.x1] * self.scale[index, None, None] + np.float32(self.shift)
        return torch.from_numpy(np.maximum(chosen, 0) if self.rectify else chosen)


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
    signed: bool = True
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

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps over a window, computed in chunks."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        chunk = max(1, int(CHUNK_VALUES / (self.size[0] * self.size[1] * self.cost)))
        parts = [self.compute(neurons[a : a + chunk], w) for a in range(0, len(neurons), chunk)]
        return torch.cat(parts) if parts else torch.empty(0, *w.shape)


__all__ = ["ConvolutionStream", "DenseStream", "LinearStream", "Stream", "phase_major"]
