"""First-order transport: a neuron's term through the true rest of the network, linearised where the network was.

``T_k(p, c) = [D y](p, c) z_k`` is signed and has colours; the map is ``C_k(p) = sum_c |T_k(p, c)|``. Biases are no part
of a neuron's term: they are a row of their own, :func:`bias_row`, and with it the terms make :func:`linearisation`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from xinc.canvas.geometry import Window
from xinc.canvas.plan import Plan, Stage, shuffle
from xinc.canvas.tail import ConvolutionTail, TailStream, planes, tail_of
from xinc.errors import TraceError


def exact(plan: Plan, position: int) -> TailStream:
    """Every neuron's term through the Jacobian of what follows."""
    return TailStream(plan, position, "tangent")


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
