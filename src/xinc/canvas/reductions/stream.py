"""Streams: a layer's maps made one after another and folded at once, never held.

A stream knows one layer and one method. It answers two questions: fold all maps into the reductions of one pass, or
give some maps over a window. :class:`ConvolutionStream` and :class:`LinearStream` run in compiled loops on the CPU;
:class:`DenseStream` does the same with tensors of a few neurons at a time, on any device and for any activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.kernels import GROUP, LINES, Fold, stream_convolution, stream_linear
from xinc.canvas.paper.box_filters import Floats, Path, Window, WindowPath
from xinc.canvas.paper.patch import LARGEST, patch_maps
from xinc.canvas.reductions.fold import Accumulators, Folded, Packing, Pass, dense_fold, flat

BAND_PIXELS = 1 << 15
"""Pixels of one band: its heat, limits and labels stay in the second-level cache while neurons pass by."""

CHUNK_PIXELS = 1 << 12
"""Pixels of a linear layer's map at a time: they stay in the first-level cache."""

CHUNK_VALUES = 1 << 24
"""Map values that a dense stream holds at once (64 MB in float32, a few times that in intermediate results)."""


@runtime_checkable
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
        cut = bands(self.size, self.path.phases[0])
        windows = [self.path.window(Window(y0, y1, 0, self.size[1])) for y0, y1 in cut]
        packing = Packing(tuple(cut), self.path.phases, self.size[1], tuple(window.stride for window in windows))
        shared = Accumulators(self.neurons, packing, wanted)
        cell_of = self.path.cell[:, 0] * self.path.phases[1] + self.path.cell[:, 1]

        def work(part: range, own: tuple[Fold, tuple[Floats, Floats]]) -> None:
            index = np.arange(part.start * self.outputs, part.stop * self.outputs)
            index = index[np.argsort(cell_of[index % self.outputs], kind="stable")]  # neurons of one cell together
            neurons = np.stack([index // self.outputs, index % self.outputs, index], 1)
            for origin, window in zip(packing.origins, windows, strict=False):
                stream_convolution(window.chain, neurons, *own[1], origin, own[0])

        size = max(1, 4 * GROUP // self.outputs)  # a few groups of neurons at least
        parts = [range(a, min(self.inputs, a + size)) for a in range(0, self.inputs, size)]
        states = in_threads(parts, work, lambda: (shared.worker(), buffers(windows)), progress)
        return shared.finish([fold for fold, _ in states])

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps over a window; only what the window sees of every earlier grid is computed."""
        asked = window or Window(0, self.size[0], 0, self.size[1])
        if window is not None and neurons == range(self.neurons) and window.pixels <= LARGEST:
            return patch_maps(self.path, window)
        path = self.path.window(asked)
        covered = path.covered
        packing = Packing(((covered.y0, covered.y1),), self.path.phases, covered.shape[1], (path.stride,))
        index = np.asarray(neurons, np.int64)
        out = np.empty((len(index), packing.origins[-1]), np.float32)
        jobs = np.stack([index // self.outputs, index % self.outputs, np.arange(len(index))], 1)

        def work(part: slice, own: tuple[Floats, Floats]) -> None:
            stream_convolution(path.chain, jobs[part], *own, 0, Accumulators.nothing(out))

        size = max(1, -(-len(index) // (4 * workers())))
        parts = [slice(a, a + size) for a in range(0, len(index), size)]
        in_threads(parts, work, lambda: buffers([path]), None)
        y, x = asked.y0 - covered.y0, asked.x0 - covered.x0
        natural = packing.unpack(out)[:, y : y + asked.shape[0], x : x + asked.shape[1]]
        return torch.from_numpy(np.ascontiguousarray(natural))


def buffers(windows: Sequence[WindowPath]) -> tuple[Floats, Floats]:
    """Scratch and line buffers that serve all of these windows."""
    scratch = np.max([window.scratch for window in windows], axis=0)
    return np.zeros(scratch, np.float32), np.zeros((LINES, max(window.line for window in windows)), np.float32)


@dataclass
class LinearStream:
    """Input features of a linear layer: ``scale_i z_i(p) + shift``, rectified where the published code does so.

    Attributes:
        values: ``(C_in, H * W)``.
        scale: ``(C_in,)``.
    """

    values: Floats
    scale: Floats
    shift: float
    rectify: bool
    size: tuple[int, int]
    signed: bool = True

    def __post_init__(self) -> None:
        self.neurons = int(self.values.shape[0])

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; threads share the features."""
        shared = Accumulators(self.neurons, flat(self.size), wanted)

        def work(part: range, own: tuple[Fold, Floats]) -> None:
            neurons = np.stack([np.array(part), np.array(part)], 1).astype(np.int64)
            stream_linear(
                self.values, self.scale, np.float32(self.shift), self.rectify, neurons, CHUNK_PIXELS, own[1], own[0]
            )

        parts = [range(a, min(self.neurons, a + 16)) for a in range(0, self.neurons, 16)]
        states = in_threads(parts, work, lambda: (shared.worker(), np.zeros(CHUNK_PIXELS, np.float32)), progress)
        return shared.finish([fold for fold, _ in states])

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps over a window."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        index = np.asarray(neurons, np.int64)
        planes = self.values.reshape(-1, *self.size)[index, w.y0 : w.y1, w.x0 : w.x1]
        chosen = planes * self.scale[index, None, None] + np.float32(self.shift)
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
