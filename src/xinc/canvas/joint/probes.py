"""Energies of all neurons of all layers at once, by random signs.

For a picture ``r`` of random signs one pass backwards gives ``<r, T_k>`` for every neuron of every layer, and the mean
of its square over several is the energy ``sum_{p, c} T_k(p, c)^2`` (Hutchinson 1989), for any network that can be
differentiated. With the signs of a region alone it is the energy there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from xinc.canvas.exact.sweep import Sweep
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan
from xinc.errors import TraceError
from xinc.notation import Image

if TYPE_CHECKING:
    import pandas as pd

PROBES = 64
"""Random pictures: the relative standard error of each energy is ``sqrt(2 / 64)``, 18 %, at most."""


def energies(
    plan: Plan, regions: Mapping[str, Tensor] | None = None, probes: int = PROBES, seed: int = 0
) -> pd.DataFrame:
    """Energies of all neurons, over the whole picture or over regions of it.

    Args:
        plan: of the network.
        regions: planes ``(H, W)`` by name, true or 1 inside; the whole picture where None.
        probes: random pictures a region; each takes one pass backwards.
        seed: of the signs.

    Returns:
        One row a neuron and region: layer, module, neuron, input, output, region, energy, error (relative standard
        error of the estimate).

    Raises:
        TraceError: there is no probe, or a region has another size than the picture.
    """
    import pandas as pd

    if probes < 1:
        raise TraceError(f"{probes} probes estimate nothing; give at least 1")
    parts, sweep = [], Sweep.of(plan)
    for name, inside in (regions or {"picture": torch.ones(plan.size)}).items():
        if tuple(inside.shape) != plan.size:
            raise TraceError(f"region {name!r} has shape {tuple(inside.shape)}, the picture {plan.size}")
        for layer, energy in _probed(sweep, inside.to(plan.output), probes, seed):
            known = {**layer.labels(), "region": name, "energy": energy.numpy(), "error": standard_error(probes)}
            parts.append(pd.DataFrame(known))
    return pd.concat(parts, ignore_index=True)


def _probed(sweep: Sweep, inside: Tensor, probes: int, seed: int) -> Iterator[tuple[LinearOperation, Tensor]]:
    found = [torch.zeros(layer.neurons, dtype=torch.float64) for layer in sweep.layers]
    for signs in random_signs(inside.shape, probes, seed, sweep.image):
        for energy, (_, effect) in zip(found, sweep.pull(signs * inside), strict=True):
            energy += effect.double().square().cpu() / probes
    yield from zip(sweep.layers, found, strict=True)


def random_signs(size: Sequence[int], count: int, seed: int, like: Tensor) -> Iterator[Image]:
    """Pictures of 1 and -1 in equal numbers on average, the same for a seed on every machine.

    Args:
        size: ``(H, W)``.
        count: how many.
        seed: of all.
        like: a picture ``(C, ...)`` of as many colours, with the device and type that they get.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randint(0, 2, (len(like), *size), generator=generator).to(like) * 2 - 1


def standard_error(probes: int) -> float:
    """The relative standard error of an energy that is the mean of so many squares, at most."""
    return float((2 / probes) ** 0.5)
