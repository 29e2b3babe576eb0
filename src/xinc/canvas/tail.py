"""What follows a layer, as a function of a change of its pre-activation, for the part of the network that a window sees.

A change is carried on by itself: its linear operations act on the change alone, and an activation turns a change ``d`` of its
argument ``a`` into ``φ'(a) d`` (tangent) or ``φ(a + d) - φ(a)`` (secant). The first gives exact first-order transport, the
second ablation; neither subtracts two whole pictures, so small changes keep their digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.geometry import Window
from xinc.canvas.plan import Activation, Plan, Stage, shuffle

Order = Literal["tangent", "secant"]


def derivative(activation: Activation, at: Tensor) -> Tensor:
    """``φ'`` at each value, for any elementwise function that torch can differentiate. Shape of ``at``."""
    if activation.name == "identity":
        return torch.ones_like(at)
    with torch.enable_grad():
        x = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(x).sum(), x)
    return slope


def seen_by(plan: Plan, position: int, window: Window) -> list[tuple[Window, Window]]:
    """What a window of the picture sees of each stage from ``position`` on.

    Returns:
        For each stage the window of its convolution's grid, and the window of its grid behind the shuffle.
    """
    seen: list[tuple[Window, Window]] = []
    fine = window
    for stage in reversed(plan.stages[position:]):
        (rh, rw), (py, px) = stage.upscale, stage.padding
        coarse = Window(fine.y0 // rh, -(-fine.y1 // rh), fine.x0 // rw, -(-fine.x1 // rw))
        seen.insert(0, (coarse, fine))
        height, width = stage.input.shape[1:]
        fine = Window(
            max(0, coarse.y0 - py), min(height, coarse.y1 + py), max(0, coarse.x0 - px), min(width, coarse.x1 + px)
        )
    return seen


def crop(values: Tensor, have: Window, want: Window) -> Tensor:
    """Values ``(..., h, w)`` over one window as those over another; zeros where there are none."""
    left, right, top, bottom = want.x0 - have.x0, have.x1 - want.x1, want.y0 - have.y0, have.y1 - want.y1
    return values if not any((left, right, top, bottom)) else F.pad(values, (-left, -right, -top, -bottom))


def widened(window: Window, stage: Stage) -> Window:
    """The window of a stage's input that its convolution reads for a window of its output, padding included."""
    py, px = stage.padding
    return Window(window.y0 - py, window.y1 + py, window.x0 - px, window.x1 + px)


def planes(stage: Stage, neurons: Tensor, window: Window) -> Tensor:
    """What kernels add to the convolution's output over a window of its grid: ``W_oi * v_i``, without bias ``(n, h, w)``."""
    i, o = neurons // stage.outputs, neurons % stage.outputs
    height, width = stage.input.shape[1:]
    values = crop(stage.input, Window(0, height, 0, width), widened(window, stage))[i]
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
        return seen_by(self.plan, self.position, self.window)

    @cached_property
    def _preactivations(self) -> list[Tensor]:
        found = []
        for stage, (_, fine) in zip(self.plan.stages[self.position :], self._seen, strict=True):
            whole = stage.preactivation()
            found.append(crop(whole, Window(0, whole.shape[1], 0, whole.shape[2]), fine))
        return found

    @cached_property
    def _slopes(self) -> list[Tensor]:
        stages = self.plan.stages[self.position :]
        return [derivative(stage.activation, at) for stage, at in zip(stages, self._preactivations, strict=True)]

    @cached_property
    def _values(self) -> list[Tensor]:
        stages = self.plan.stages[self.position :]
        return [stage.activation(at) for stage, at in zip(stages, self._preactivations, strict=True)]

    @property
    def coarse(self) -> Window:
        """The window of the convolution's grid that the picture's window sees."""
        return self._seen[0][0]

    def _pass(self, step: int, change: Tensor, channels: slice) -> Tensor:
        """A change of some channels of a stage's pre-activation, behind its activation."""
        if self.order == "tangent":
            return change * self._slopes[step][channels]
        stage = self.plan.stages[self.position + step]
        return stage.activation(self._preactivations[step][channels] + change) - self._values[step][channels]

    def _reach(self, step: int, change: Tensor, channels: slice) -> Tensor:
        """A change of some channels of a stage's input, as a change of its pre-activation."""
        stage = self.plan.stages[self.position + step]
        coarse, fine = self._seen[step]
        before = self._seen[step - 1][1]
        made = F.conv2d(crop(change, before, widened(coarse, stage)), stage.weight[:, channels])
        return self._shuffled(made, stage, coarse, fine)

    @staticmethod
    def _shuffled(made: Tensor, stage: Stage, coarse: Window, fine: Window) -> Tensor:
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
        moved = self._pass(0, self._shuffled(placed, stage, coarse, fine), channels)
        if self.position == len(self.plan.stages) - 1:
            picture = moved.new_zeros(len(moved), stage.outputs // (rh * rw), *self.window.shape)
            picture[:, channels] = moved
            return picture
        return self._later(moved, 1, channels)

    def whole(self, change: Tensor) -> Tensor:
        """The picture's change by a change of all output channels of the convolution, ``(n, C_out, h, w)``."""
        stage = self.plan.stages[self.position]
        moved = self._pass(0, self._shuffled(change, stage, *self._seen[0]), slice(None))
        return self._later(moved, 1, slice(None))

    def _later(self, moved: Tensor, first: int, channels: slice) -> Tensor:
        for step in range(first, len(self.plan.stages) - self.position):
            moved = self._pass(step, self._reach(step, moved, channels), slice(None))
            channels = slice(None)
        return moved

    def neurons(self, neurons: Sequence[int]) -> Tensor:
        """The picture's change by the terms of some kernels (secant: by their removal, sign turned), ``(n, colours, H, W)``."""
        stage = self.plan.stages[self.position]
        index = torch.as_tensor(list(neurons), device=stage.input.device)
        sign = 1 if self.order == "tangent" else -1
        colours = self.plan.output.shape[0]
        result = stage.input.new_empty(len(index), colours, *self.window.shape)
        outputs = index % stage.outputs
        for channel in outputs.unique().tolist():
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

    def pixels(self, values: Tensor) -> Tensor:
        """Rows ``(N, C)`` of the window's pixels."""
        w = self.window
        return values.reshape(*self.plan.size, -1)[w.y0 : w.y1, w.x0 : w.x1].flatten(0, 1)

    @cached_property
    def _steps(self) -> list[tuple[Stage, Callable[[Tensor], Tensor]]]:
        steps = []
        for stage in self.plan.stages[self.position :]:
            at = F.linear(self.pixels(stage.input), stage.weight, stage.bias)
            steps.append((stage, _tangent(stage.activation, at) if self.order == "tangent" else _secant(stage.activation, at)))
        return steps

    def __call__(self, change: Tensor) -> Tensor:
        """The picture's change ``(n, colours, H, W)`` by a change ``(n, N, C_out)`` of the layer's output."""
        moved = self._steps[0][1](change)
        for stage, activation in self._steps[1:]:
            moved = activation(F.linear(moved, stage.weight))
        return moved.transpose(1, 2).reshape(len(moved), -1, *self.window.shape)

    def neurons(self, neurons: Sequence[int]) -> Tensor:
        """The picture's change by the terms of some features (secant: by their removal, sign turned), ``(n, colours, H, W)``."""
        stage = self.plan.stages[self.position]
        index = torch.as_tensor(list(neurons), device=stage.input.device)
        sign = 1 if self.order == "tangent" else -1
        terms = self.pixels(stage.input)[:, index].T[:, :, None] * stage.weight[:, index].T[:, None]
        return sign * self(sign * terms)


def _tangent(activation: Activation, at: Tensor) -> Callable[[Tensor], Tensor]:
    slope = derivative(activation, at)
    return lambda change: change * slope


def _secant(activation: Activation, at: Tensor) -> Callable[[Tensor], Tensor]:
    value = activation(at)
    return lambda change: activation(at + change) - value


Tail = ConvolutionTail | LinearTail


def tail_of(plan: Plan, position: int, window: Window | None = None, order: Order = "tangent") -> Tail:
    """What follows a stage, over a window of the picture or all of it."""
    kind = LinearTail if plan.stages[position].kind == "linear" else ConvolutionTail
    return kind(plan, position, window or Window(0, plan.size[0], 0, plan.size[1]), order)
