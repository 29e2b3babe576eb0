"""Derivatives of the picture at the outputs of all layers together: one replay, then one pass backwards a picture.

What is asked of all layers at once (effects on a number, energies by random signs) costs one pass, whatever lies
between the layers and however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.exact.products import DIFFERENTIABLE
from xinc.canvas.network.linear_ops import LinearOperation, shuffle
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.recording.recording import Value, apply
from xinc.notation import Image


@dataclass(frozen=True, eq=False)
class Sweep:
    """All layers of a network, with what derivatives need between them and the picture.

    Attributes:
        layers: those before the canvas, then those of it in the order of the forward pass.
        outputs: what each of them makes, of any shape with the values of ``layer.shape`` in order.
        image: the picture ``(C, H, W)`` that is made of them.
    """

    layers: Sequence[LinearOperation]
    outputs: Sequence[Tensor]
    image: Tensor

    @classmethod
    def of(cls, plan: Plan) -> Sweep:
        """Replay a network once, its recording or its chain; layers before it that do not repeat are left out."""
        stems = [rest for rest in plan.stems if rest.repeats]
        rests = (*plan.others, *stems)
        with torch.inference_mode(False), torch.enable_grad():
            return _recorded(plan, stems, rests[0]) if rests else _chain(plan)

    def pull(self, cotangent: Image) -> Iterator[tuple[LinearOperation, Tensor]]:
        """Each layer with ``<g, T_k>`` of its neurons, ``(K,)``.

        Args:
            cotangent: ``g``, a picture ``(C, H, W)``.
        """
        for layer, slope in zip(self.layers, self.slopes(cotangent), strict=True):
            yield layer, layer.pull(slope.reshape(1, *layer.shape))[0].detach()

    def slopes(self, cotangent: Image) -> list[Tensor]:
        """``<g, picture>`` differentiated by what each layer makes, of the shapes of :attr:`outputs`."""
        outputs = list(self.outputs)
        found = torch.autograd.grad(self.image, outputs, cotangent.to(self.image), retain_graph=True, allow_unused=True)
        return [torch.zeros_like(o) if slope is None else slope for o, slope in zip(outputs, found, strict=True)]


def _recorded(plan: Plan, stems: Sequence[Rest], held: Rest) -> Sweep:
    """The sweep of a network with layers off the chain or before it; ``held`` is one of them, with the recording."""
    recording, picture = held.recording, held.picture
    layers = [*(stem.operation for stem in stems), *plan.layers]
    starts = {layer.result.index for layer in layers}
    values: dict[int, Tensor] = {}

    def value_of(value: Value) -> Tensor:
        """A value of the replay: what a layer makes is what is differentiated by."""
        tensor = values.get(value.index)
        if tensor is None:
            tensor = recording[value]
            if value.index in starts:
                tensor = values[value.index] = tensor.detach().clone().requires_grad_()
        return tensor

    for operation in recording.between([layer.result for layer in layers], picture.value):
        values.update(apply(operation, value_of, DIFFERENTIABLE))
    outputs = [value_of(layer.result) for layer in layers]
    return Sweep(layers, outputs, picture.images(value_of(picture.value)[None])[0])


def _chain(plan: Plan) -> Sweep:
    """The sweep of a plain chain, stage by stage: no recording of it is held."""
    outputs: list[Tensor] = []
    values = plan.stages[0].input.detach()
    for stage in plan.stages:
        weight, bias = stage.weight.detach(), None if stage.bias is None else stage.bias.detach()
        if stage.kind == "linear":
            output = F.linear(values, weight, bias)
        else:
            output = F.conv2d(values[None], weight, bias, padding=stage.padding)[0]
        outputs.append(output if output.requires_grad else output.requires_grad_())
        values = stage.activation(outputs[-1] if stage.kind == "linear" else shuffle(outputs[-1], stage.upscale))
    return Sweep(
        plan.stages, outputs, values.T.reshape(plan.output.shape) if plan.stages[-1].kind == "linear" else values
    )
