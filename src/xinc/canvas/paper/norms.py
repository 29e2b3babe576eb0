"""Norms as they acted in a recorded pass: a scale, and a shift."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xinc.canvas.recording.recording import Operation, Recording, Value, map_tree

_ARGUMENTS = {
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "rms_norm": ("input", "normalized_shape", "weight", "eps"),
}


def frozen(recording: Recording, operation: Operation) -> tuple[Tensor, Tensor]:
    """A norm as ``scale * x + shift`` with the statistics of the recorded pass, both of the shape of x."""
    given: dict[str, Any] = {"weight": None, "eps": None, "running_var": None}
    given.update(zip(_ARGUMENTS[operation.name], operation.arguments, strict=False))
    given.update(operation.keywords)
    given = map_tree(given, Value, lambda value: recording[value])
    x, y = given["input"], recording[operation.results[0]]
    scale = torch.rsqrt(_variance(operation.name, given, x) + _epsilon(operation.name, given, x)) * torch.ones_like(x)
    if given["weight"] is not None:
        weight = given["weight"]
        by_place = operation.name in ("layer_norm", "rms_norm")
        scale = scale * (weight if by_place else weight.reshape(-1, *[1] * (x.ndim - 2)))
    return scale, y - scale * x


def _epsilon(name: str, given: dict[str, Any], x: Tensor) -> float:
    default = torch.finfo(x.dtype).eps if name == "rms_norm" else 1e-5
    return default if given["eps"] is None else float(given["eps"])


def _variance(name: str, given: dict[str, Any], x: Tensor) -> Tensor:
    """The variance that was divided by, in a shape that fits x."""
    running: Tensor | None = given["running_var"]
    own = bool(given.get("use_input_stats" if name == "instance_norm" else "training", name == "instance_norm"))
    if running is not None and not own:
        return running.reshape(1, -1, *[1] * (x.ndim - 2))
    places = tuple(range(2, x.ndim))
    if name == "batch_norm":
        return x.var((0, *places), unbiased=False, keepdim=True)
    if name == "instance_norm":
        return x.var(places, unbiased=False, keepdim=True)
    if name == "group_norm":
        groups = int(given["num_groups"])
        grouped = x.reshape(len(x), groups, -1).var(2, unbiased=False)
        return grouped.repeat_interleave(x.shape[1] // groups, 1).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    last = tuple(range(x.ndim - len(tuple(given["normalized_shape"])), x.ndim))
    if name == "rms_norm":
        return x.square().mean(last, keepdim=True)
    return x.var(last, unbiased=False, keepdim=True)
