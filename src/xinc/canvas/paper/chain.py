"""Section 3 of the paper on a plain chain: a neuron's plane, placed, and spread by mean filters up to the picture.

:class:`ConvolutionStream` and :class:`LinearStream` run in compiled loops on the CPU; :class:`DenseChain` is the same
with tensors, on any device and for any activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.kernels import (
    CODES,
    GROUP,
    LINES,
    Fold,
    stream_convolution,
    stream_convolution_pair,
    stream_linear,
    stream_linear_pair,
)  # fmt: skip
from xinc.canvas.network.linear_ops import shuffle
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.paper.box_filters import Path, WindowPath, path_of
from xinc.canvas.paper.patch import LARGEST, patch_maps
from xinc.canvas.reductions.fold import Accumulators, Folded, Pass, Stream
from xinc.canvas.reductions.packing import Packing, flat
from xinc.canvas.reductions.stream import DenseStream, in_threads, same_kind, workers
from xinc.notation import Floats, Maps

BAND_PIXELS = 1 << 15
"""Pixels of one band: its heat, limits and labels stay in the second-level cache while neurons pass by."""

CHUNK_PIXELS = 1 << 12
"""Pixels of a linear layer's map at a time: they stay in the first-level cache."""


def paper(plan: Plan, position: int) -> Stream:
    """Section 3 of the text.

    Linear layer: ``C_i(p) = z_i(p) sum_j W_ji``. Head: the kernel's plane with its share of the bias through the output
    activation. Block: plane, placement at its sub-pixel, activation, then for every later block the mean over its
    kernel's window, nearest-neighbour up-sampling and activation.
    """
    return _heuristic(plan, position, official=False)


def official(plan: Plan, position: int) -> Stream:
    """What the published code computes.

    As :func:`paper`, but maps of a linear layer are ``relu(z_i sum_j W_ji + mean_i b)`` for every layer but the last
    (no ReLU there), and the head's maps do not pass the output activation.
    """
    return _heuristic(plan, position, official=True)


def _heuristic(plan: Plan, position: int, *, official: bool) -> Stream:
    stage = plan.stages[position]
    if stage.kind == "linear":
        return _linear(plan, position, official=official)
    known = all(s.activation.name in CODES for s in plan.stages[position:])
    if stage.input.device.type == "cpu" and known:
        return ConvolutionStream(path_of(plan, position, official=official), plan.size)
    compute = DenseChain(plan, position, official)
    return DenseStream(compute, stage.neurons, plan.size, cost=4.0)


def _linear(plan: Plan, position: int, *, official: bool) -> Stream:
    stage = plan.stages[position]
    scale = stage.weight.sum(0)
    shift = float(stage.bias_or_zero.sum()) / stage.inputs if official else 0.0
    rectify = official and position < len(plan.stages) - 1
    if stage.input.device.type == "cpu":
        values = np.ascontiguousarray(stage.input.float().numpy().T)
        return LinearStream(values, scale.float().numpy(), shift, rectify, plan.size)

    def compute(neurons: Sequence[int], w: Window) -> Tensor:
        chosen = stage.input[:, list(neurons)].T.reshape(-1, *plan.size)[:, w.y0 : w.y1, w.x0 : w.x1]
        maps = chosen * scale[list(neurons), None, None] + shift
        return maps.relu() if rectify else maps

    return DenseStream(compute, stage.neurons, plan.size, cost=2.0)


@dataclass
class ConvolutionStream:
    """Kernels of a convolution by the paper's method, in compiled loops."""

    path: Path
    size: tuple[int, int]
    neurons: int = field(init=False)

    def __post_init__(self) -> None:
        self.inputs, self.outputs = self.path.weight.shape[:2]
        self.neurons = self.inputs * self.outputs

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; threads share the input channels."""
        cut = _bands(self.size, self.path.phases[0])
        windows = [self.path.window(Window(y0, y1, 0, self.size[1])) for y0, y1 in cut]
        packing = Packing(tuple(cut), self.path.phases, self.size[1], tuple(window.stride for window in windows))
        shared = Accumulators(self.neurons, packing, wanted)
        before = same_kind(self, wanted.before)
        then = [before.path.window(Window(y0, y1, 0, self.size[1])) for y0, y1 in cut] if before else windows
        cell_of = self.path.cell[:, 0] * self.path.phases[1] + self.path.cell[:, 1]

        def work(part: range, own: tuple[Fold, tuple[Floats, Floats]]) -> None:
            index = np.arange(part.start * self.outputs, part.stop * self.outputs)
            index = index[np.argsort(cell_of[index % self.outputs], kind="stable")]  # neurons of one cell together
            neurons = np.stack([index // self.outputs, index % self.outputs, index], 1)
            for origin, window, earlier in zip(packing.origins, windows, then, strict=False):
                if before is None:
                    stream_convolution(window.chain, neurons, *own[1], origin, own[0])
                    continue
                packed = Accumulators.nothing(own[0].earlier[None])
                stream_convolution_pair(window.chain, earlier.chain, neurons, *own[1], origin, own[0], packed)

        size = max(1, 4 * GROUP // self.outputs)  # a few groups of neurons at least
        parts = [range(a, min(self.inputs, a + size)) for a in range(0, self.inputs, size)]
        states = in_threads(parts, work, lambda: (shared.worker(), buffers(windows)), progress)
        return shared.finish([fold for fold, _ in states])

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
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


def _bands(size: tuple[int, int], multiple: int) -> list[tuple[int, int]]:
    """Rows of the picture in bands of about :data:`BAND_PIXELS`, cut at multiples of a cell's height."""
    height, width = size
    rows = max(multiple, BAND_PIXELS // width // multiple * multiple)
    return [(y, min(height, y + rows)) for y in range(0, height, rows)]


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

    def __post_init__(self) -> None:
        self.neurons = int(self.values.shape[0])

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; threads share the features."""
        shared = Accumulators(self.neurons, flat(self.size), wanted)
        before = same_kind(self, wanted.before)

        def work(part: range, own: tuple[Fold, Floats]) -> None:
            neurons = np.stack([np.array(part), np.array(part)], 1).astype(np.int64)
            how = (self.scale, np.float32(self.shift), self.rectify, neurons, CHUNK_PIXELS, own[1], own[0])
            if before is None:
                stream_linear(self.values, *how)
            else:
                stream_linear_pair(self.values, before.values, *how)

        parts = [range(a, min(self.neurons, a + 16)) for a in range(0, self.neurons, 16)]
        states = in_threads(parts, work, lambda: (shared.worker(), np.zeros(CHUNK_PIXELS, np.float32)), progress)
        return shared.finish([fold for fold, _ in states])

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Maps over a window."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        index = np.asarray(neurons, np.int64)
        planes = self.values.reshape(-1, *self.size)[index, w.y0 : w.y1, w.x0 : w.x1]
        chosen = planes * self.scale[index, None, None] + np.float32(self.shift)
        return torch.from_numpy(np.maximum(chosen, 0) if self.rectify else chosen)


@dataclass(frozen=True)
class DenseChain:
    """The same maps with dense tensors, a few neurons at a time: other devices, activations that only torch knows."""

    plan: Plan
    position: int
    official: bool

    def __call__(self, neurons: Sequence[int], window: Window) -> Tensor:
        """Maps of some neurons over a window, ``(n, h, w)``."""
        stage = self.plan.stages[self.position]
        index = torch.as_tensor(list(neurons), device=stage.input.device)
        i, o = index // stage.outputs, index % stage.outputs
        planes = F.conv2d(stage.input[i][None], stage.weight[o, i][:, None], padding=stage.padding, groups=len(index))[
            0
        ]
        planes = planes + (stage.bias_or_zero[o] / stage.inputs)[:, None, None]
        rh, rw = stage.upscale
        placed = planes.new_zeros(len(index), rh * rw, *planes.shape[1:])
        placed[torch.arange(len(index), device=index.device), o % (rh * rw)] = planes
        u = shuffle(placed.flatten(0, 1), stage.upscale)
        is_head = self.position == len(self.plan.stages) - 1
        if not (is_head and self.official):
            u = stage.activation(u)
        for later in self.plan.stages[self.position + 1 :]:
            kernel = tuple(later.weight.shape[2:])
            u = F.avg_pool2d(u[None], kernel, stride=1, padding=later.padding, count_include_pad=True)[0]
            if later is not self.plan.stages[-1]:
                u = u.repeat_interleave(later.upscale[0], 1).repeat_interleave(later.upscale[1], 2)
                u = later.activation(u)
        return u[:, window.y0 : window.y1, window.x0 : window.x1]
