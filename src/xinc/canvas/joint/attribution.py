"""The first-order effect of every neuron on a number that is made of the picture.

For a scalar ``L(y)`` the effect of neuron ``k`` is ``<dL/dy, T_k>``: what ``L`` would lose, to first order, without the
neuron's term. Derivatives at a layer's output are paired with all of its neurons' terms at once, so one pass backwards
serves all neurons of all layers, those before the canvas too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from xinc.canvas.exact.sweep import Sweep
from xinc.canvas.network.linear_ops import LinearOperation
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
    with torch.enable_grad():
        picture = plan.output.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(_number(to, picture), picture)
    yield from Sweep.of(plan).pull(slope)


def attribute(plan: Plan, to: Scalar) -> pd.DataFrame:
    """The effects of all neurons as a table: layer, module, neuron, input, output, effect; see :func:`effects`."""
    import pandas as pd

    parts = ({**layer.labels(), "effect": effect.cpu().numpy()} for layer, effect in effects(plan, to))
    return pd.concat(map(pd.DataFrame, parts), ignore_index=True)


def _number(to: Scalar, picture: Tensor) -> Tensor:
    number = to(picture)
    if not isinstance(number, Tensor) or number.numel() != 1:
        shape = tuple(number.shape) if isinstance(number, Tensor) else type(number).__name__
        raise TraceError(f"to gave {shape}; give one number as a tensor, such as picture.mean()")
    if not number.requires_grad:
        raise TraceError("to gave a number that does not depend on the picture by torch's operations")
    return number.reshape(())
