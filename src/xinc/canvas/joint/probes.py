"""Energies of all neurons of all layers at once, by random signs.

For a picture ``r`` of random signs one pass backwards gives ``<r, T_k>`` for every neuron of every layer, and the mean
of its square over several is the energy ``sum_{p, c} T_k(p, c)^2`` (Hutchinson 1989), for any network that can be
differentiated. With the signs of a region alone it is the energy there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from xinc.canvas.exact.sweep import sweep_of
from xinc.canvas.joint.attribution import effects
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan
from xinc.errors import TraceError

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
    parts = []
    for name, inside in (regions or {"picture": torch.ones(plan.size)}).items():
        if tuple(inside.shape) != plan.size:
            raise TraceError(f"region {name!r} has shape {tuple(inside.shape)}, the picture {plan.size}")
        for layer, energy in _probed(plan, inside.to(plan.output), probes, seed):
            inputs, outputs = (part.numpy() for part in layer.pairs())
            known = {"layer": layer.name, "module": layer.module, "neuron": range(layer.neurons)}
            sides = {"input": inputs, "output": outputs, "region": name}
            parts.append(pd.DataFrame({**known, **sides, "energy": energy.numpy(), "error": (2 / probes) ** 0.5}))
    return pd.concat(parts, ignore_index=True)


def _probed(plan: Plan, inside: Tensor, probes: int, seed: int) -> list[tuple[LinearOperation, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    sweep = sweep_of(plan)
    found: dict[str, tuple[LinearOperation, Tensor]] = {}
    for _ in range(probes):
        signs = torch.randint(0, 2, tuple(plan.output.shape), generator=generator).to(plan.output) * 2 - 1
        probe = signs * inside
        paired = sweep.pull(probe) if sweep else effects(plan, lambda y, probe=probe: (y * probe).sum())  # type: ignore[misc]
        for layer, effect in paired:
            square = effect.double().square().cpu() / probes
            found[layer.name] = (layer, square + found[layer.name][1] if layer.name in found else square)
    return list(found.values())
