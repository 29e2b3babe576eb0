"""What a sweep will take before it starts: core-hours, memory and bytes, from rates that were measured.

The rates below come from an earlier version on two cores of a server (``benchmarks/sweep.py`` prints them for another
machine); once cells of a study are finished, their own times correct the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from xinc.findings.analyse import default_frames
from xinc.models.base import Config
from xinc.models.families import configure, family
from xinc.signals.clip import Clip
from xinc.sweep.cells import Cell
from xinc.workflow.job import step_of

FIT_RATE: Mapping[str, float] = {"ffn": 5.5e9, "siren": 5.0e9, "nerv": 1.1e10, "hnerv": 1.0e10}
"""Floating-point operations a second and core while fitting, backward pass and optimiser counted as two forwards."""
MAP_RATE: Mapping[str, float] = {"paper": 1.2e8, "official": 1.2e8, "exact": 5.0e7, "ablation": 1.0e6}
"""Map values a second and core while analysing, with every reduction that the claims read."""
CLUSTER_SECONDS = 4.0
"""Of k-means and texture filters, for a frame of 128 × 256 pixels."""
BASE_MEMORY = 600 << 20
"""Of a worker that has the libraries loaded."""


@dataclass(frozen=True)
class Cost:
    """What a cell takes.

    Attributes:
        seconds: on one core.
        memory: bytes, at most.
        disk: bytes of its folder.
    """

    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Parts:
    """What a cell's cost is made of.

    Attributes:
        flops: floating-point operations of the forward passes of its fit.
        values: of all maps that are made, by method.
        planes: frames that are cut into clusters, of 128 × 256 pixels.
        memory: bytes.
        disk: bytes.
    """

    flops: float
    values: Mapping[str, float]
    planes: float
    memory: int
    disk: int


def parts_of(cell: Cell) -> Parts:
    """What there is to do, from the signal's size and the network's shape; neither is allocated.

    Raises:
        SignalError, ModelError: the signal cannot be opened, or the network cannot be made of that size.
    """
    from torch.utils.flop_counter import FlopCounterMode

    row = family(cell.model.family)
    clip, frames, config = _described(cell)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):
        model = row.model(config)
        with torch.no_grad(), counter:
            model(torch.empty_like(model.frame_input(0), device="meta"))
    parameters = sum(p.numel() for p in model.parameters())
    recipe = row.recipe.change(epochs=cell.signal.options.get("epochs"))
    pixels = clip.size[0] * clip.size[1]
    analysed = min(frames, len(cell.signal.options.get("frames") or default_frames(clip)))
    values = _neurons(model) * pixels * analysed
    held = BASE_MEMORY + 12 * frames * pixels * 3 + 16 * parameters * 4 + 64 * pixels * 4
    kept = 4 * parameters + 2 * frames * pixels * 3 + analysed * 40 * pixels * 4
    return Parts(
        counter.get_total_flops() * frames * recipe.epochs,
        {method: float(values) for method in cell.signal.options["methods"]},
        analysed * pixels / (128 * 256),
        int(held),
        int(kept),
    )


def layers_of(cell: Cell) -> list[str]:
    """Names of the layers that a cell's network will have; errors as :func:`parts_of`."""
    from xinc.canvas.trace import trace

    clip, _, config = _described(cell)
    model = family(cell.model.family).model(config).eval()
    return trace(model, model.frame_input(0), size=clip.size).layers


def _described(cell: Cell) -> tuple[Clip, int, Config]:
    """The signal, how many frames the network has, and its description."""
    row = family(cell.model.family)
    clip = cell.source.open(step_of(row.name))
    frames = 1 if row.still else len(clip)
    return clip, frames, configure(row.name, clip.size, frames, **cell.model.options)


def cost_of(cell: Cell) -> Cost:
    """An estimate of what a cell takes; errors as :func:`parts_of`."""
    parts = parts_of(cell)
    fit = parts.flops / FIT_RATE.get(cell.model.family, min(FIT_RATE.values()))
    maps = sum(values / MAP_RATE.get(method, min(MAP_RATE.values())) for method, values in parts.values.items())
    return Cost(fit + maps + CLUSTER_SECONDS * parts.planes, parts.memory, parts.disk)


def _neurons(model: torch.nn.Module) -> int:
    """Kernels and input features of all layers: convolutions of more than one position, linear layers over pixels."""
    count = 0
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and max(module.kernel_size) > 1:
            count += module.in_channels * module.out_channels
        elif isinstance(module, torch.nn.Linear):
            count += module.in_features
    return count


def correction(costs: Mapping[str, Cost], documents: Mapping[str, dict[str, Any]]) -> float:
    """How much longer cells took than was estimated: the median over finished cells, 1 where there is none."""
    ratios = [
        sum(documents[name]["seconds"].values()) / cost.seconds
        for name, cost in costs.items()
        if documents.get(name, {}).get("seconds") and cost.seconds > 0
    ]
    return median(ratios) if ratios else 1.0


def total(costs: Sequence[Cost], factor: float = 1.0) -> tuple[float, int, int]:
    """Core-hours, the largest memory of a cell, and bytes of all."""
    hours = factor * sum(cost.seconds for cost in costs) / 3600
    return hours, max((cost.memory for cost in costs), default=0), sum(cost.disk for cost in costs)
