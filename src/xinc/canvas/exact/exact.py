"""First-order transport: a neuron's term through the true rest of the network, linearised where the network was.

``T_k(p, c) = [D y](p, c) z_k`` is signed and has colours; the map is ``C_k(p) = sum_c |T_k(p, c)|``. Biases are no part
of a neuron's term: they are a row of their own, :func:`bias_row`, and with it the terms make :func:`linearisation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from xinc.canvas.exact.bands import Courses, fold_transport, maps_by_transport, terms_at
from xinc.canvas.exact.jacobian import pixel_jacobian
from xinc.canvas.exact.tail import HELD_VALUES, ConvolutionTail, TailStream, pixels_of, planes, seen_by, tail_of
from xinc.canvas.network.plan import Plan, Stage, shuffle
from xinc.canvas.paper.box_filters import Window
from xinc.canvas.reductions.fold import Folded, Pass
from xinc.canvas.reductions.stream import LinearStream, Stream
from xinc.errors import TraceError


def exact(plan: Plan, position: int) -> Stream:
    """Every neuron's term through the Jacobian of what follows.

    Convolutions on the CPU go through the Jacobian's table, whatever the activations; pixel-wise networks through a
    matrix product a pixel; on other devices and in other precisions the rest of the network is run for each neuron.
    """
    single = plan.output.dtype == torch.float32 and plan.output.device.type == "cpu"
    if plan.stages[position].kind == "linear":
        return PixelStream(plan, position) if single else TailStream(plan, position, "tangent")
    if single and len(plan.output) <= 3:
        return TransportStream(plan, position)
    return TailStream(plan, position, "tangent")


class TransportStream:
    """Kernels of a convolution by first-order transport, through the table of the Jacobian where it is cheaper."""

    signed = False

    def __init__(self, plan: Plan, position: int) -> None:
        self.plan, self.position = plan, position
        self.neurons, self.size = plan.stages[position].neurons, plan.size
        self.courses = Courses(plan, position)
        self.plain = TailStream(plan, position, "tangent")

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold the maps of all neurons."""
        return fold_transport(self.courses, wanted, progress)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps over a window, ``(n, h, w)``."""
        if self._plain_is_cheaper(len(neurons), window):
            return self.plain.maps(neurons, window)
        if window is None:
            return torch.from_numpy(maps_by_transport(self.courses, neurons))
        return torch.cat([part.abs().sum(1) for part in self._rows(neurons, window)], 1)

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Signed contribution to each colour, ``(n, colours, h, w)``."""
        if window is None or self._plain_is_cheaper(len(neurons), window):
            return self.plain.coloured(neurons, window)
        return torch.cat(list(self._rows(neurons, window)), 2)

    def _rows(self, neurons: Sequence[int], window: Window) -> Iterator[Tensor]:
        """Terms over a window, some rows at a time."""
        chosen = torch.as_tensor(list(neurons))
        columns = np.arange(window.x0, window.x1)
        size = max(1, HELD_VALUES // (self.neurons * 3 * len(columns)))
        for y in range(window.y0, window.y1, size):
            yield terms_at(self.courses, np.arange(y, min(window.y1, y + size)), columns)[chosen]

    def _plain_is_cheaper(self, count: int, window: Window | None) -> bool:
        """Whether running the rest of the network for each neuron takes less than making the table."""
        asked = window or Window(0, self.size[0], 0, self.size[1])
        stage, step = self.plan.stages[self.position], self.courses.step
        seen = seen_by(self.plan, self.position, asked)
        rest = zip(self.plan.stages[self.position + 1 :], seen[1:], strict=True)
        each = sum(later.weight.numel() * coarse.shape[0] * coarse.shape[1] for later, (coarse, _) in rest)
        rows, columns = asked.shape
        cells = (rows // step[0] + 2) * (columns // step[1] + 2) if window is not None else 0
        table = rows * columns * self.courses.jacobian.products() + CALL * (cells + 4)
        return count * each + CALL * min(count, stage.outputs) <= table


CALL = 1e7
"""Multiplications in the time that a few calls of torch take."""


class PixelStream:
    """Input features of a linear layer by first-order transport: ``T = z ⊙ (J W)``, a matrix product a colour."""

    signed = False

    def __init__(self, plan: Plan, position: int) -> None:
        self.plan, self.position = plan, position
        self.neurons, self.size = plan.stages[position].neurons, plan.size

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold the maps of all neurons."""
        values = np.concatenate([part.abs().sum(1).numpy() for part in self._bands()], 1)
        return LinearStream(values, np.ones(self.neurons, np.float32), 0.0, False, self.size).fold(wanted, progress)

    def _bands(self) -> Iterator[Tensor]:
        """Terms of all neurons, some rows of the picture at a time, ``(K, colours, pixels)``."""
        height, width = self.size
        stages = self.plan.stages[self.position :]
        wide = max(max(stage.inputs, stage.outputs) for stage in stages)
        rows = max(1, HELD_VALUES // (2 * len(self.plan.output) * wide * width))
        for y in range(0, height, rows):
            yield self.coloured(range(self.neurons), Window(y, min(height, y + rows), 0, width)).flatten(2)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Maps over a window, ``(n, h, w)``."""
        return self.coloured(neurons, window).abs().sum(1)

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Signed contribution to each colour, ``(n, colours, h, w)``."""
        asked = window or Window(0, self.size[0], 0, self.size[1])
        stage, index = self.plan.stages[self.position], torch.as_tensor(list(neurons))
        jacobian = pixel_jacobian(self.plan, self.position, asked) @ stage.weight[:, index]
        terms = jacobian * pixels_of(stage.input, self.size, asked)[:, index][:, None]
        return terms.permute(2, 1, 0).reshape(len(index), -1, *asked.shape)


def linearisation(plan: Plan, position: int) -> Tensor:
    """``D y`` applied to a stage's whole pre-activation, ``(colours, H, W)``: the sum of all terms and the bias row."""
    stage = plan.stages[position]
    if stage.kind == "linear":
        return _transported(plan, position, F.linear(stage.input, stage.weight, stage.bias))
    return _transported(plan, position, F.conv2d(stage.input[None], stage.weight, stage.bias, padding=stage.padding)[0])


def bias_row(plan: Plan, position: int) -> Tensor:
    """The signed contribution of a stage's bias, ``(colours, H, W)``: a row beside those of the neurons."""
    stage = plan.stages[position]
    bias = stage.bias_or_zero
    if stage.kind == "linear":
        return _transported(plan, position, bias.expand(len(stage.input), -1))
    return _transported(plan, position, bias[:, None, None].expand(-1, *stage.input.shape[1:]))


def _transported(plan: Plan, position: int, change: Tensor) -> Tensor:
    tail = tail_of(plan, position, None, "tangent")
    return (tail.whole(change[None]) if isinstance(tail, ConvolutionTail) else tail(change[None]))[0]


def residual(plan: Plan, position: int) -> Tensor:
    """What the contributions of a stage, summed, leave of the values that were traced behind it.

    The neurons' own terms ``W_oi * v_i`` (linear: ``z_i W_i``) are added up one by one with the bias, shuffled into
    place and passed through the activation (section 3.2 of the paper); the result is taken from the input of the next
    stage, or from the output for the last one. Zero but for rounding, for every network that was read correctly.

    Returns:
        ``(C, H, W)`` of the next stage's input; ``(N, C)`` for a linear layer; ``(colours, H, W)`` for the last stage.
    """
    stage, last = plan.stages[position], position == len(plan.stages) - 1
    if stage.kind == "linear":
        total = stage.bias_or_zero.expand(len(stage.input), -1).clone()
        for i in range(stage.inputs):
            total += stage.input[:, i, None] * stage.weight[:, i]
        made = stage.activation(total)
        traced = plan.output.flatten(1).T if last else plan.stages[position + 1].input
        left = traced - made
        return left.T.reshape(plan.output.shape) if last else left
    total = stage.bias_or_zero[:, None, None].expand(-1, *stage.input.shape[1:]).clone()
    height, width = stage.input.shape[1:]
    whole = Window(0, int(height), 0, int(width))
    for i in range(stage.inputs):
        total += planes(stage, i * stage.outputs + torch.arange(stage.outputs, device=total.device), whole)
    traced = plan.output if last else plan.stages[position + 1].input
    return traced - stage.activation(shuffle(total, stage.upscale))


def signed_region_sums(plan: Plan, position: int, labels: ArrayLike) -> Tensor:
    """``sum_{p in g} T_k(p, c)`` for all neurons of a stage, from one backward pass a region and colour.

    A region's sum of a colour is one number; its gradient by a stage's weights, times the weights, is what each weight
    adds to it to first order, and a neuron's share is the sum over its own weights.

    Args:
        plan: the network.
        position: of the stage.
        labels: ``(H, W)`` integers 0..G-1, negative is no region.

    Returns:
        ``(K, G, colours)``, signed.

    Raises:
        TraceError: Labels are not of the picture's size.
    """
    regions = torch.as_tensor(np.asarray(labels), device=plan.output.device)
    if tuple(regions.shape) != plan.size:
        raise TraceError(f"labels have shape {tuple(regions.shape)}, the picture {plan.size}; resize them (nearest)")
    stage = plan.stages[position]
    with torch.enable_grad():
        weight = stage.weight.detach().requires_grad_()
        picture = _forward(plan, position, weight)
        sums = []
        for region in range(int(regions.max()) + 1):
            inside = (regions == region).to(picture.dtype)
            for colour in picture:
                (gradient,) = torch.autograd.grad((colour * inside).sum(), weight, retain_graph=True)
                sums.append(_by_neuron(gradient * stage.weight, stage))
    return torch.stack(sums, 1).reshape(stage.neurons, -1, len(plan.output))


def _forward(plan: Plan, position: int, weight: Tensor) -> Tensor:
    """The picture as a function of one stage's weights."""
    values = plan.stages[position].input
    for stage in plan.stages[position:]:
        own = weight if stage is plan.stages[position] else stage.weight
        if stage.kind == "linear":
            values = stage.activation(F.linear(values, own, stage.bias))
        else:
            made = F.conv2d(values[None], own, stage.bias, padding=stage.padding)[0]
            values = stage.activation(shuffle(made, stage.upscale))
    return values.T.reshape(plan.output.shape) if plan.pixelwise else values


def _by_neuron(shares: Tensor, stage: Stage) -> Tensor:
    """Sums over each neuron's weights ``(K,)``, in the order of the neurons."""
    return shares.sum(0) if stage.kind == "linear" else shares.sum((2, 3)).T.reshape(-1)
