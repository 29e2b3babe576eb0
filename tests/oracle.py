"""The paper's method, literally and slowly: the plain twin that every fast path is compared with.

One neuron at a time, dense planes, the operations in the order of section 3.2 of the paper. Nothing here is shared with
the fast engine but the plan.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan


def reference_maps(plan: Plan, layer: str, neurons: Iterable[int], method: str = "paper") -> Tensor:
    """Contribution maps of some neurons of a layer, one by one.

    Args:
        plan: the network.
        layer: name of a stage.
        neurons: indices; of a convolution ``input * C_out + output``.
        method: ``"paper"`` (section 3 of the text) or ``"official"`` (the published code).

    Returns:
        Float tensor ``(len(neurons), H, W)``, signed as the method gives it.

    Raises:
        KeyError: No stage has that name.
        ValueError: The method is neither of the two.
    """
    if method not in ("paper", "official"):
        raise ValueError(f"the reference computes 'paper' and 'official', not {method!r}")
    position = {stage.name: index for index, stage in enumerate(plan.stages)}[layer]
    compute = _linear_map if plan.pixelwise else _convolution_map
    maps = [compute(plan, position, neuron, official=method == "official") for neuron in neurons]
    return torch.stack(maps) if maps else torch.empty(0, *plan.size)


def _linear_map(plan: Plan, position: int, neuron: int, *, official: bool) -> Tensor:
    """Section 3.1: ``C_i(p) = sum_j z_i(p) W_ji``; the published code adds the mean bias and a ReLU."""
    stage = plan.stages[position]
    contribution = torch.zeros(stage.input.shape[0], dtype=stage.input.dtype)
    for j in range(stage.outputs):
        contribution = contribution + stage.input[:, neuron] * stage.weight[j, neuron]
    if official:
        contribution = contribution + stage.bias_or_zero.sum() / stage.inputs
        if position < len(plan.stages) - 1:
            contribution = F.relu(contribution)
    return contribution.reshape(plan.size)


def _convolution_map(plan: Plan, position: int, neuron: int, *, official: bool) -> Tensor:
    """Section 3.2: kernel's plane, placement, activation, then the later blocks as box filters and up-sampling."""
    stage = plan.stages[position]
    i, o = divmod(neuron, stage.outputs)
    plane = F.conv2d(stage.input[None, i : i + 1], stage.weight[o : o + 1, i : i + 1], padding=stage.padding)[0, 0]
    plane = plane + stage.bias_or_zero[o] / stage.inputs
    placed = _place(plane, o, stage)
    is_head = position == len(plan.stages) - 1
    if is_head:
        return placed if official else stage.activation(placed)
    u = stage.activation(placed)
    for later in plan.stages[position + 1 :]:
        u = _box(u, later)
        if later is not plan.stages[-1]:
            u = u.repeat_interleave(later.upscale[0], 0).repeat_interleave(later.upscale[1], 1)
            u = later.activation(u)
    return u


def _place(plane: Tensor, o: int, stage: LinearOperation) -> Tensor:
    """The plane at its sub-pixel of every r x r cell, zeros elsewhere (repeat, rearrange and mask of Fig. 2)."""
    rh, rw = stage.upscale
    a, b = divmod(o % (rh * rw), rw)
    placed = torch.zeros(plane.shape[0] * rh, plane.shape[1] * rw, dtype=plane.dtype)
    placed[a::rh, b::rw] = plane
    return placed


def _box(u: Tensor, later: LinearOperation) -> Tensor:
    """Proximity correction, section 3.2.3: the mean over the later kernel's window, zeros outside the image."""
    kernel = later.weight.shape[2:]
    weight = torch.full((1, 1, *kernel), 1 / (kernel[0] * kernel[1]), dtype=u.dtype)
    return F.conv2d(u[None, None], weight, padding=later.padding)[0, 0]
