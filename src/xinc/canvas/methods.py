"""The definitions of a contribution map: each is a row of a table, and a stream that computes it.

Sections refer to Padmanabhan et al., "Explaining the Implicit Neural Canvas", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.ablation import ablation
from xinc.canvas.exact.exact import exact
from xinc.canvas.exact.replay import AblationStream, ExactStream
from xinc.canvas.kernels import CODES
from xinc.canvas.network.plan import Branch, Plan, shuffle
from xinc.canvas.paper.box_filters import Window, path_of
from xinc.canvas.paper.rules import rule_stream
from xinc.canvas.reductions.stream import ConvolutionStream, DenseStream, LinearStream, Stream
from xinc.errors import TraceError


@dataclass(frozen=True)
class Method:
    """A definition of the contribution map.

    Attributes:
        name: as in ``trace(..., method=name)``.
        summary: one line: what the map says.
        stream: a layer's maps, from a plan and the position of a stage in it.
        branch: the same for a layer that is not on the plan's chain.
    """

    name: str
    summary: str
    stream: Callable[[Plan, int], Stream]
    branch: Callable[[Branch], Stream]

    def layer(self, plan: Plan, name: str) -> Stream:
        """The maps of the layer of a name.

        Raises:
            TraceError: The method has no rule for what follows the layer.
        """
        for position, stage in enumerate(plan.stages):
            if stage.name == name:
                return self.stream(plan, position)
        return self.branch(next(branch for branch in plan.branches if branch.name == name))


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
    compute = _DenseHeuristic(plan, position, official)
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


@dataclass(frozen=True)
class _DenseHeuristic:
    """The same maps with dense tensors, a few neurons at a time: other devices, activations that only torch knows."""

    plan: Plan
    position: int
    official: bool

    def __call__(self, neurons: Sequence[int], window: Window) -> Tensor:
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


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "paper",
            "the text of section 3: a mean filter stands in for later convolutions",
            paper,
            partial(rule_stream, official=False),
        ),
        Method("official", "what the published code computes", official, partial(rule_stream, official=True)),
        Method(
            "exact",
            "the neuron's term through the true rest of the network, linearised; signed colours",
            exact,
            ExactStream,
        ),
        Method(
            "ablation",
            "what the picture loses without the neuron: the truth, one forward pass a neuron",
            ablation,
            AblationStream,
        ),
    )
}


def method_named(name: str) -> Method:
    """The method of a name.

    Raises:
        TraceError: There is none.
    """
    if name not in METHODS:
        raise TraceError(f"no method is called {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name]
