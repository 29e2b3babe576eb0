"""What the picture keeps when neurons go by rank: deletion and insertion curves.

A ranking that knows what matters loses the picture at once when the greatest go first (deletion), and keeps it for long
when they go last (insertion, read from the right). All neurons of a share go at once, their terms taken from the
pre-activation, biases kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from xinc.canvas import ablation
from xinc.canvas.network.plan import Plan
from xinc.models.base import apart
from xinc.notation import Indices

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.0)
"""Shares of a layer's neurons that are removed."""
ORDERS = ("descending", "ascending")
"""Greatest scores first, least scores first."""
CEILING = 60.0
"""dB. A smaller difference is lost when colours are written with 8 bits (their rounding alone leaves 58.9 dB)."""


def curves(plan: Plan, layer: str, scores: Float64[np.ndarray, "neuron"]) -> Float64[np.ndarray, "order share"]:
    """PSNR against the full picture without each share of a layer's neurons.

    Args:
        plan: the network as it ran.
        layer: name of the layer.
        scores: ``(K,)``, by which its neurons are ranked; of equal ones the first counts as the least.

    Returns:
        ``(order, share)`` in dB, for :data:`ORDERS` and :data:`SHARES`; infinite where nothing changes.
    """
    remove = ablation.remover(plan, layer)
    ascending = np.argsort(scores, kind="stable")
    counts = [round(share * len(scores)) for share in SHARES]
    nothing = _psnr(plan, remove, ascending)
    return np.array(
        [
            [nothing if count == len(order) else _psnr(plan, remove, order[:count]) for count in counts]
            for order in (ascending[::-1], ascending)
        ]
    )


def area(psnr: Float64[np.ndarray, "*curve share"]) -> Float64[np.ndarray, "*curve"]:
    """Area under curves ``(..., share)``: PSNR in dB, at most :data:`CEILING`, averaged over the share removed."""
    return np.asarray(np.trapezoid(np.minimum(psnr, CEILING), SHARES, axis=-1), dtype=np.float64)


def _psnr(plan: Plan, remove: Callable[[Sequence[int]], Tensor], neurons: Sequence[int] | Indices) -> float:
    if not len(neurons):
        return float("inf")
    with torch.no_grad():
        return apart(remove([int(k) for k in neurons]), plan.output)
