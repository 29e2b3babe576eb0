"""What follows a layer, as a function of a change of its pre-activation, as far as a window of the picture sees it.

A change is carried on by itself: linear operations act on the change alone, and an activation turns a change ``d`` of
its argument ``a`` into ``φ'(a) d`` (tangent) or ``φ(a + d) - φ(a)`` (secant). The first gives exact first-order
transport, the second ablation; no whole pictures are subtracted, so small changes keep their digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.kernels import CODES
from xinc.canvas.kernels.activate import secant_rows
from xinc.canvas.network.activations import Activation
from xinc.canvas.network.linear_ops import LinearOperation, shuffle
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Window, crop, windows_behind
from xinc.canvas.reductions.fold import Folded, Pass, dense_fold
from xinc.canvas.reductions.stream import in_threads, workers
from xinc.notation import ColouredMaps, Maps

Order = Literal["tangent", "secant"]


def derivative(activation: Activation, at: Tensor) -> Tensor:
    """``φ'`` at each value, for any elementwise function that torch can differentiate. Shape of ``at``."""
    if activation.name == "identity":
        return torch.ones_like(at)
    with torch.enable_grad():
        x = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(x).sum(), x)
    return slope


Passed = Callable[[Tensor, slice], Tensor]
"""A change of some channels of an activation's argument, as a change of its values."""


def _passed(activation: Activation, at: Tensor, order: Order) -> Passed:
    if order == "tangent":
        slope = derivative(activation, at)
        return lambda change, channels: change * slope[channels]
    if activation.name == "identity":
        return lambda change, channels: change
    if at.dtype == torch.float32 and at.device.type == "cpu" and activation.name in CODES:
        return _compiled(activation, at)
    at = at.double()  # a small change is the difference of two like values, whose digits single precision would lose
    value = activation(at)
    return lambda change, channels: (activation(at[channels] + change) - value[channels]).to(change.dtype)


def _compiled(activation: Activation, at: Tensor) -> Passed:
    """``φ(at + change) - φ(at)`` in compiled loops, a thread for some changes each."""
    terms = change_terms(activation, at.flatten()).reshape(4, *at.shape).numpy()
    parameter = np.array((*activation.parameters, 0.0, 0.0, 0.0)[:3], np.float32)
    arguments = at.contiguous().numpy()

    def passed(change: Tensor, channels: slice) -> Tensor:
        here, held = arguments[channels].reshape(-1), np.ascontiguousarray(terms[:, channels]).reshape(4, -1)
        changes = change.contiguous().reshape(len(change), -1).numpy()
        out = np.empty_like(changes)

        def work(part: slice, _: None) -> None:
            secant_rows(here, held, changes[part], CODES[activation.name], parameter, out[part])

        size = max(1, -(-len(changes) // workers()))
        in_threads([slice(a, a + size) for a in range(0, len(changes), size)], work, lambda: None, None)
        return torch.from_numpy(out).reshape(change.shape)

    return passed


def change_terms(activation: Activation, at: Tensor) -> Tensor:
    """``φ``, ``φ'``, ``φ''/2`` and ``φ'''/6`` at each value ``(n,)``, made in double precision, ``(4, n)`` float32.

    Where torch cannot differentiate again, a derivative is zero, as that of a piecewise linear function.
    """
    with torch.enable_grad():
        x = at.detach().double().requires_grad_()
        found = [activation(x)]
        for order in (1, 2, 3):
            if not found[-1].requires_grad:
                found.append(torch.zeros_like(x))
                continue
            (slope,) = torch.autograd.grad(found[-1].sum(), x, create_graph=True)
            found.append(slope / order)
    return torch.stack([part.detach().float() for part in found])


def pixels_of(values: Tensor, size: tuple[int, int], w: Window) -> Tensor:
    """Rows ``(N, C)`` of the pixels of a window, of values ``(H * W, C)``."""
    return values.reshape(*size, -1)[w.y0 : w.y1, w.x0 : w.x1].flatten(0, 1)


def planes(stage: LinearOperation, neurons: Tensor, window: Window) -> Tensor:
    """What kernels add to the convolution's output over a window of its grid: ``W_oi * v_i``, ``(n, h, w)``."""
    i, o = neurons // stage.outputs, neurons % stage.outputs
    height, width = stage.input.shape[1:]
    values = crop(stage.input, Window(0, height, 0, width), window.widened(stage.padding))[i]
    rows, columns = window.shape
    total = values.new_zeros(len(neurons), rows, columns)
    for y in range(stage.weight.shape[2]):
        for x in range(stage.weight.shape[3]):
            tap = stage.weight[o, i, y, x][:, None, None]
            total.addcmul_(values[:, y : y + rows, x : x + columns], tap)
    return total


@dataclass(frozen=True, eq=False)
class ConvolutionTail:
    """From a change of some output channels of a convolution to the change of the picture over a window.

    Attributes:
        plan: the network.
        position: the convolution's place in it.
        window: of the picture.
        order: how a change passes an activation.
    """

    plan: Plan
    position: int
    window: Window
    order: Order

    @cached_property
    def _seen(self) -> list[tuple[Window, Window]]:
        return windows_behind(self.plan, self.position, self.window)

    @cached_property
    def _preactivations(self) -> list[Tensor]:
        found = []
        for stage, (_, fine) in zip(self.plan.stages[self.position :], self._seen, strict=True):
            whole = stage.preactivation()
            found.append(crop(whole, Window(0, whole.shape[1], 0, whole.shape[2]), fine))
        return found

    @cached_property
    def _activations(self) -> list[Passed]:
        stages = self.plan.stages[self.position :]
        return [_passed(s.activation, at, self.order) for s, at in zip(stages, self._preactivations, strict=True)]

    @property
    def coarse(self) -> Window:
        """The window of the convolution's grid that the picture's window sees."""
        return self._seen[0][0]

    def _reach(self, step: int, change: Tensor, channels: slice) -> Tensor:
        """A change of some channels of a stage's input, as a change of its pre-activation."""
        stage = self.plan.stages[self.position + step]
        coarse, fine = self._seen[step]
        before = self._seen[step - 1][1]
        made = F.conv2d(crop(change, before, coarse.widened(stage.padding)), stage.weight[:, channels])
        return self._shuffled(made, stage, coarse, fine)

    @staticmethod
    def _shuffled(made: Tensor, stage: LinearOperation, coarse: Window, fine: Window) -> Tensor:
        rh, rw = stage.upscale
        whole = Window(rh * coarse.y0, rh * coarse.y1, rw * coarse.x0, rw * coarse.x1)
        n, channels, height, width = made.shape
        upscaled = shuffle(made.reshape(n * channels, height, width), stage.upscale)
        return crop(upscaled.reshape(n, channels // (rh * rw), rh * height, rw * width), whole, fine)

    def __call__(self, change: Tensor, channel: int) -> Tensor:
        """The picture's change.

        Args:
            change: of one output channel of the convolution, over :attr:`coarse`, ``(n, h, w)``.
            channel: which.

        Returns:
            ``(n, colours, H, W)`` of the window.
        """
        stage = self.plan.stages[self.position]
        rh, rw = stage.upscale
        coarse, fine = self._seen[0]
        shuffled, cell = divmod(channel, rh * rw)
        placed = change.new_zeros(len(change), rh * rw, *coarse.shape)
        placed[:, cell] = change
        channels = slice(shuffled, shuffled + 1)
        moved = self._activations[0](self._shuffled(placed, stage, coarse, fine), channels)
        if self.position == len(self.plan.stages) - 1:
            picture = moved.new_zeros(len(moved), stage.outputs // (rh * rw), *self.window.shape)
            picture[:, channels] = moved
            return picture
        return self._later(moved, 1, channels)

    @property
    def values(self) -> int:
        """Values that the largest intermediate result of one neuron holds, and its copies."""
        plan, areas = self.plan, [fine.shape[0] * fine.shape[1] for _, fine in self._seen]
        widths = [stage.outputs // (stage.upscale[0] * stage.upscale[1]) for stage in plan.stages[self.position :]]
        return (
            3 * max(area * width for area, width in zip(areas[1:], widths[1:], strict=True))
            if areas[1:]
            else 8 * areas[0]
        )

    def whole(self, change: Tensor) -> Tensor:
        """The picture's change by a change of all output channels of the convolution, ``(n, C_out, h, w)``."""
        stage = self.plan.stages[self.position]
        moved = self._activations[0](self._shuffled(change, stage, *self._seen[0]), slice(None))
        return self._later(moved, 1, slice(None))

    def _later(self, moved: Tensor, first: int, channels: slice) -> Tensor:
        for step in range(first, len(self.plan.stages) - self.position):
            moved = self._activations[step](self._reach(step, moved, channels), slice(None))
            channels = slice(None)
        return moved

    def neurons(self, neurons: Sequence[int]) -> Tensor:
        """The picture's change by the terms of kernels, ``(n, colours, H, W)``; secant: what their removal takes."""
        stage = self.plan.stages[self.position]
        index = torch.as_tensor(list(neurons), device=stage.input.device)
        sign = 1 if self.order == "tangent" else -1
        colours = self.plan.output.shape[0]
        result = stage.input.new_empty(len(index), colours, *self.window.shape)
        outputs = index % stage.outputs
        for channel in sorted(set(outputs.tolist())):
            own = outputs == channel
            result[own] = sign * self(sign * planes(stage, index[own], self.coarse), channel)
        return result


@dataclass(frozen=True, eq=False)
class LinearTail:
    """From a change of a linear layer's output to the change of the picture over a window, pixel by pixel."""

    plan: Plan
    position: int
    window: Window
    order: Order

    @property
    def values(self) -> int:
        """Values that the largest intermediate result of one neuron holds, and its copies."""
        rows, columns = self.window.shape
        return 3 * rows * columns * max(stage.outputs for stage in self.plan.stages[self.position :])

    @cached_property
    def _steps(self) -> list[tuple[LinearOperation, Passed]]:
        steps = []
        for stage in self.plan.stages[self.position :]:
            at = F.linear(pixels_of(stage.input, self.plan.size, self.window), stage.weight, stage.bias)
            steps.append((stage, _passed(stage.activation, at, self.order)))
        return steps

    def __call__(self, change: Tensor) -> Tensor:
        """The picture's change ``(n, colours, H, W)`` by a change ``(n, N, C_out)`` of the layer's output."""
        moved = self._steps[0][1](change, slice(None))
        for stage, activation in self._steps[1:]:
            moved = activation(F.linear(moved, stage.weight), slice(None))
        return moved.transpose(1, 2).reshape(len(moved), -1, *self.window.shape)

    def neurons(self, neurons: Sequence[int]) -> Tensor:
        """The picture's change by the terms of features, ``(n, colours, H, W)``; secant: what their removal takes."""
        stage = self.plan.stages[self.position]
        index = torch.as_tensor(list(neurons), device=stage.input.device)
        sign = 1 if self.order == "tangent" else -1
        values = pixels_of(stage.input, self.plan.size, self.window)[:, index].T
        return sign * self(values[:, :, None] * (sign * stage.weight[:, index].T)[:, None])


ChainTail = ConvolutionTail | LinearTail

HELD_VALUES = 1 << 25
"""Values that the intermediate results of one chunk of neurons may hold (128 MB in float32)."""


def tail_of(plan: Plan, position: int, window: Window | None = None, order: Order = "tangent") -> ChainTail:
    """What follows a stage, over a window of the picture or all of it."""
    kind = LinearTail if plan.stages[position].kind == "linear" else ConvolutionTail
    return kind(plan, position, window or Window(0, plan.size[0], 0, plan.size[1]), order)


def bands(plan: Plan, position: int, window: Window | None = None) -> list[Window]:
    """A window of the picture, or all of it, in bands whose intermediate results keep to :data:`HELD_VALUES`.

    Pixels of a linear layer do not see each other, so that bands of rows cost nothing; convolutions take it whole.
    """
    w = window or Window(0, plan.size[0], 0, plan.size[1])
    if plan.stages[position].kind != "linear":
        return [w]
    row = LinearTail(plan, position, Window(w.y0, w.y0 + 1, w.x0, w.x1), "tangent").values
    rows = max(1, HELD_VALUES // row)
    return [Window(y, min(w.y1, y + rows), w.x0, w.x1) for y in range(w.y0, w.y1, rows)]


@dataclass
class TailStream:
    """Maps by running the network's rest for a few neurons at a time: any device, any activation.

    A whole canvas this way costs one pass through the rest of the network for each neuron.
    """

    plan: Plan
    position: int
    order: Order
    neurons: int = field(init=False)
    size: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.neurons, self.size = self.plan.stages[self.position].neurons, self.plan.size

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed change of each colour, ``(n, colours, h, w)``."""
        return torch.cat([self._band(neurons, band) for band in bands(self.plan, self.position, window)], 2)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Sum over colours of the absolute change, ``(n, h, w)``."""
        parts = [self._band(neurons, band, flat=True) for band in bands(self.plan, self.position, window)]
        return torch.cat(parts, 1)

    def _band(self, neurons: Sequence[int], band: Window, *, flat: bool = False) -> Tensor:
        """Changes over a band, a few neurons at a time; their absolute values summed over colours if flat."""
        tail = tail_of(self.plan, self.position, band, self.order)
        parts = (tail.neurons(chunk) for chunk in _chunks(neurons, tail))
        found = [part.abs().sum(1) if flat else part for part in parts]
        shape = band.shape if flat else (len(self.plan.output), *band.shape)
        return torch.cat(found) if found else self.plan.output.new_empty(0, *shape)

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; kernels of the same output channel share the tensors that lead away from it."""
        stage = self.plan.stages[self.position]
        outputs = 1 if stage.kind == "linear" else stage.outputs
        tail = tail_of(self.plan, self.position, None, self.order)
        whole = len(bands(self.plan, self.position)) == 1
        folded = Folded.empty(self.neurons, self.size, wanted)
        for output in range(outputs):
            for chunk in _chunks(range(output, self.neurons, outputs), tail):
                dense_fold(tail.neurons(chunk) if whole else self.coloured(chunk), chunk, wanted, folded)
                if progress is not None:
                    progress(len(chunk) / self.neurons)
        return folded


def _chunks(neurons: Sequence[int], tail: ChainTail) -> list[Sequence[int]]:
    """Neurons in chunks that keep to :data:`HELD_VALUES`."""
    size = max(1, HELD_VALUES // tail.values)
    return [neurons[first : first + size] for first in range(0, len(neurons), size)]
