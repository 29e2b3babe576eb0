"""The first-order effect of every neuron on a number that is made of the picture.

For a scalar ``L(y)`` the effect of neuron ``k`` is ``<dL/dy, T_k>``: what ``L`` would lose, to first order, without the
neuron's term. Derivatives at a layer's output are paired with all of its neurons' terms at once, so one pass backwards
serves all neurons of all layers, those before the canvas too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.exact.sweep import sweep_of
from xinc.canvas.network.linear_ops import LinearOperation, shuffle
from xinc.canvas.network.plan import Plan
from xinc.errors import TraceError

if TYPE_CHECKING:
    import pandas as pd

Scalar = Callable[[Tensor], Tensor]
"""From the picture ``(C, H, W)`` to one number."""


def effects(plan: Plan, to: Scalar) -> Iterator[tuple[LinearOperation, Tensor]]:
    """Every layer with the effects of its neurons, ``(K,)``: those before the canvas first, then the forward order.

    Raises:
        TraceError: ``to`` gives no single number, or one that does not depend on the picture.
    """
    sweep = sweep_of(plan)
    if sweep is None:
        yield from _chain_effects(plan, to)
        return
    picture = plan.output.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(_number(to, picture), picture)
    yield from sweep.pull(slope)


def attribute(plan: Plan, to: Scalar) -> pd.DataFrame:
    """The effects of all neurons as a table: layer, module, neuron, input, output, effect; see :func:`effects`."""
    import pandas as pd

    parts = []
    for layer, effect in effects(plan, to):
        inputs, outputs = (part.numpy() for part in layer.pairs())
        known = {"layer": layer.name, "module": layer.module, "neuron": range(layer.neurons)}
        parts.append(pd.DataFrame({**known, "input": inputs, "output": outputs, "effect": effect.cpu().numpy()}))
    return pd.concat(parts, ignore_index=True)


def _number(to: Scalar, picture: Tensor) -> Tensor:
    number = to(picture)
    if not isinstance(number, Tensor) or number.numel() != 1:
        shape = tuple(number.shape) if isinstance(number, Tensor) else type(number).__name__
        raise TraceError(f"to gave {shape}; give one number as a tensor, such as picture.mean()")
    if not number.requires_grad:
        raise TraceError("to gave a number that does not depend on the picture by torch's operations")
    return number.reshape(())


def _chain_effects(plan: Plan, to: Scalar) -> Iterator[tuple[LinearOperation, Tensor]]:
    """The chain is run again once, with its layers' outputs as what is differentiated by."""
    outputs: list[Tensor] = []
    with torch.enable_grad():
        values = plan.stages[0].input.detach()
        for stage in plan.stages:
            if stage.kind == "linear":
                output = F.linear(values, stage.weight.detach(), _fixed(stage.bias))
            else:
                output = F.conv2d(values[None], stage.weight.detach(), _fixed(stage.bias), padding=stage.padding)[0]
            output = output if output.requires_grad else output.requires_grad_()
            outputs.append(output)
            values = stage.activation(output if stage.kind == "linear" else shuffle(output, stage.upscale))
        picture = values.T.reshape(plan.output.shape) if plan.stages[-1].kind == "linear" else values
        slopes = torch.autograd.grad(_number(to, picture), outputs)
    for stage, slope in zip(plan.stages, slopes, strict=True):
        shaped = slope if stage.contraction is None else stage.contraction.to_output(slope[None])[0]
        yield stage, stage.pull(shaped.reshape(1, *stage.shape))[0].detach()


def _fixed(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()
