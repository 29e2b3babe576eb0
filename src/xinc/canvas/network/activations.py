"""Elementwise functions by name, and their recognition by value, however they were written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """An elementwise function with the name by which fast kernels know it.

    Attributes:
        name: ``"identity"``, ``"relu"``, ``"gelu"``, ``"gelu_tanh"``, ``"silu"``, ``"tanh"``, ``"sigmoid"``, ``"sin"``,
            ``"leaky_relu"``, ... or ``"custom"`` for a function that only torch can evaluate.
        function: the function itself, tensor to tensor of the same shape.
        parameters: numbers that complete the name, e.g. ``(30.0,)`` for ``sin(30 x)``; an ``"affine"`` suffix such as
            ``tanh(x) / 2 + 1/2`` is a name of its own (``"tanh_unit"``).
    """

    name: str
    function: Callable[[Tensor], Tensor]
    parameters: tuple[float, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it to every value."""
        return self.function(x)


IDENTITY = Activation("identity", lambda x: x)

_KNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
    "tanh_unit": lambda x: torch.tanh(x) / 2 + 1 / 2,
    "sigmoid": torch.sigmoid,
    "relu6": F.relu6,
    "softplus": F.softplus,
    "elu": F.elu,
    "hardswish": F.hardswish,
    "mish": F.mish,
    "cos": torch.cos,
}
"""Functions without a parameter. ``tanh_unit`` is the output of NeRV and HNeRV, tanh(x)/2 + 1/2."""

_PROBES = torch.cat((torch.linspace(-9, 9, 73, dtype=torch.float64), torch.tensor([0.0, 0.013, -0.37, 1.9, 4.4])))
_TOLERANCE = 2e-5
"""Float32 functions of two spellings differ by rounding only, also where they are evaluated through float32."""


def named(name: str, *parameters: float) -> Activation:
    """The activation of a name.

    Args:
        name: a key of the table, ``"sin"`` (parameter ω, for sin(ωx)), ``"leaky_relu"`` (slope), ``"affine"``
            (scale, shift).
        parameters: as the name asks for.

    Raises:
        KeyError: The name is not known.
    """
    if name == "sin":
        return Activation(name, lambda x: torch.sin(parameters[0] * x), parameters)
    if name == "leaky_relu":
        return Activation(name, lambda x: F.leaky_relu(x, parameters[0]), parameters)
    if name == "affine":
        return Activation(name, lambda x: parameters[0] * x + parameters[1], parameters)
    return Activation(name, _KNOWN[name])


def recognise(function: Callable[[Tensor], Tensor]) -> Activation:
    """The named activation that an elementwise function equals on probes; ``"custom"`` where none does."""
    probes = _PROBES.to(torch.float32)
    seen = function(probes.clone()).to(torch.float64)
    for name, known in _KNOWN.items():
        if _same(seen, known(_PROBES)):
            return Activation(name, function if name != "identity" else known)
    for candidate in _fitted(seen):
        if _same(seen, candidate(_PROBES)):
            return Activation(candidate.name, function, candidate.parameters)
    return Activation("custom", function)


def _fitted(seen: Tensor) -> list[Activation]:
    """Candidates whose parameter can be read off the probed values."""
    zero = int((_PROBES == 0).nonzero()[0])
    small = int((_PROBES - 0.013).abs().argmin())
    one = int((_PROBES - 1.0).abs().argmin())
    minus = int((_PROBES + 1.0).abs().argmin())
    candidates = [
        named("leaky_relu", -float(seen[minus])),
        named("affine", float(seen[one] - seen[zero]), float(seen[zero])),
    ]
    rate = float(seen[small])
    if abs(rate) <= 1:
        candidates.append(named("sin", round(float(torch.asin(torch.tensor(rate, dtype=torch.float64))) / 0.013, 3)))
    return candidates


def _same(seen: Tensor, wanted: Tensor) -> bool:
    return bool(torch.isfinite(seen).all()) and torch.allclose(seen, wanted, atol=_TOLERANCE, rtol=_TOLERANCE)
