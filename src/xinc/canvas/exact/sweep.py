"""Derivatives of the picture at the outputs of all layers together: one replay, then one pass backwards a picture.

What is asked of all layers at once (effects on a number, energies by random signs) costs one pass, whatever lies
between the layers and however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from xinc.canvas.exact.products import DIFFERENTIABLE
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.network.recording import Operation, Value, apply


class Sweep:
    """All layers of a network that has some off the chain, or before it, with what is between them and the picture.

    Args:
        plan: of the network.
        rest: any of its layers off the chain or before it: it holds the recording.
    """

    def __init__(self, plan: Plan, rest: Rest) -> None:
        self.picture, self._recording = rest.picture, rest.recording
        self.layers = [*(stem.operation for stem in plan.stems), *plan.layers]
        starts = {layer.result.index for layer in self.layers}
        operations = self._operations(starts)
        made = {result.index for operation in operations for result in operation.results}
        values = {index: self._recording.tensors[index].detach().clone().requires_grad_() for index in starts - made}
        self._outputs = dict(values)
        with torch.inference_mode(False), torch.enable_grad():
            for operation in operations:
                results = apply(operation, partial(self._value, values), DIFFERENTIABLE)
                for index, tensor in results.items():
                    if index in starts and not tensor.requires_grad:
                        tensor = tensor.detach().requires_grad_()
                    values[index] = tensor
                self._outputs.update((index, values[index]) for index in results.keys() & starts)
            end = values.get(self.picture.value.index, self._recording[self.picture.value])
            self.image = self.picture.images(end[None])[0]

    def _value(self, values: dict[int, Tensor], value: Value) -> Tensor:
        return values.get(value.index, self._recording.tensors[value.index])

    def _operations(self, starts: set[int]) -> list[Operation]:
        """Those between any layer's output and the picture, in order."""
        needed = self._recording.needed_for(self.picture.value)
        reached, found = set(starts), []
        for operation in self._recording.operations:
            results = {result.index for result in operation.results}
            if results & needed and any(operand.index in reached for operand in operation.operands):
                found.append(operation)
                reached |= results
        return found

    def pull(self, cotangent: Tensor) -> Iterator[tuple[LinearOperation, Tensor]]:
        """Each layer with ``<g, T_k>`` of its neurons, ``(K,)``.

        Args:
            cotangent: ``g``, a picture ``(C, H, W)``.
        """
        outputs = [self._outputs[layer.result.index] for layer in self.layers]
        slopes = torch.autograd.grad(
            self.image, outputs, cotangent.to(self.image), retain_graph=True, allow_unused=True
        )
        for layer, output, slope in zip(self.layers, outputs, slopes, strict=True):
            known = torch.zeros_like(output) if slope is None else slope
            yield layer, layer.pull(known.reshape(1, *layer.shape))[0].detach()


def sweep_of(plan: Plan) -> Sweep | None:
    """The sweep of a plan; None for a plain chain with nothing before it."""
    rests = (*plan.others, *plan.stems)
    return Sweep(plan, rests[0]) if rests else None
