"""What a canvas would hold, before any map is made: layers, neurons, memory, and the methods that reach each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xinc.canvas.methods import METHODS
from xinc.canvas.network.plan import Plan
from xinc.canvas.recording.recording import map_tree
from xinc.errors import TraceError
from xinc.models.passes import values_of_a_pass

VALUE_BYTES = 4
"""A map's values are float32."""


@dataclass(frozen=True)
class LayerSurvey:
    """What is known of a layer from one forward pass.

    Attributes:
        layer: its name.
        module: qualified name of the module in the traced network.
        kind: ``"convolution"``, ``"transposed"`` (convolution) or ``"linear"``.
        neurons: kernels, or input features.
        map_bytes: what all maps of the layer would take at the picture's size; reductions never hold them.
        refusals: for each method why it cannot trace the layer, naming the operation in its way; None where it can.
    """

    layer: str
    module: str
    kind: str
    neurons: int
    map_bytes: int
    refusals: dict[str, str | None]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that can trace the layer."""
        return tuple(name for name, reason in self.refusals.items() if reason is None)


def survey(plan: Plan) -> tuple[LayerSurvey, ...]:
    """All layers of a network in the order of the forward pass, ``canvas.survey()``; no map is computed."""
    pixels = plan.size[0] * plan.size[1]
    return tuple(
        LayerSurvey(
            layer.name,
            layer.module,
            layer.kind,
            layer.neurons,
            VALUE_BYTES * layer.neurons * pixels,
            {method: _refusal(plan, layer.name, method) for method in METHODS},
        )
        for layer in plan.layers
    )


def _refusal(plan: Plan, layer: str, method: str) -> str | None:
    try:
        METHODS[method].stream(plan, layer)
    except TraceError as reason:
        return str(reason)
    return None


def recording_bytes(module: nn.Module, *inputs: Any, **keywords: Any) -> int | None:
    """About what :func:`~xinc.canvas.recording.recorder.record` would hold: all values of a pass that is not computed.

    None where the network cannot be run without numbers, because its way depends on them.
    """
    arguments, named = map_tree((inputs, keywords), torch.Tensor, lambda t: t.to("meta"))
    return values_of_a_pass(module, *arguments, **named)
