"""Which neurons to show, by rule instead of by taste."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xinc.canvas.methods import has_sign
from xinc.errors import FindingError
from xinc.findings.finding import Finding, LayerLike, as_labels, neuron_coords, numpy
from xinc.findings.section4.regions import Regions, grid_like
from xinc.notation import Array, Indices

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="gallery",
    question="What do neurons look at?",
    section="4.2",
    figure="Fig. 3",
    unit="contribution",
    direction="early FFN layers show Fourier patterns, last layers resemble the image; NeRV's kernels act like filters",
    null="all maps alike",
)


@dataclass(frozen=True)
class Candidates:
    """Neurons to choose from.

    Attributes:
        indices: ``(n,)`` neurons that are not dead.
        totals: ``(n,)`` sums of |C|.
        profiles: ``(n, G)`` share of each region in the mean contribution; rows sum to 1.
    """

    indices: Indices
    totals: NDArray[np.float64]
    profiles: NDArray[np.float64]


def profiles(sums: Array, areas: Array) -> NDArray[np.float64]:
    """Share of each region in a neuron's mean contribution: ``S_kg / |g|`` over its sum over regions, ``(K, G)``.

    NaN for empty regions (which take no part) and for neurons that are zero everywhere.
    """
    areas = np.asarray(areas, dtype=np.float64)
    means = np.asarray(sums, dtype=np.float64)[:, areas > 0] / areas[areas > 0]
    whole = means.sum(axis=1, keepdims=True)
    shares = np.full(np.asarray(sums).shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares[:, areas > 0] = np.where(whole > 0, means / whole, np.nan)
    return shares


def _strongest(candidates: Candidates, count: int, rng: np.random.Generator) -> Indices:
    return np.argsort(-candidates.totals, kind="stable")[:count]


def _typical(candidates: Candidates, count: int, rng: np.random.Generator) -> Indices:
    distance = np.linalg.norm(candidates.profiles - np.median(candidates.profiles, axis=0), axis=1)
    return np.argsort(distance, kind="stable")[:count]


def _different(candidates: Candidates, count: int, rng: np.random.Generator) -> Indices:
    # Faint neurons have wild profiles that nobody would miss: choose among those that matter.
    worthy = np.flatnonzero(candidates.totals >= 0.1 * np.median(candidates.totals))
    shapes = candidates.profiles[worthy]
    chosen = [int(np.argmax(candidates.totals[worthy]))]
    distance = np.linalg.norm(shapes - shapes[chosen[0]], axis=1)
    while len(chosen) < min(count, len(worthy)):
        chosen.append(int(np.argmax(np.where(np.isin(np.arange(len(worthy)), chosen), -1, distance))))
        distance = np.minimum(distance, np.linalg.norm(shapes - shapes[chosen[-1]], axis=1))
    return worthy[chosen]


def _random(candidates: Candidates, count: int, rng: np.random.Generator) -> Indices:
    return rng.choice(len(candidates.indices), min(count, len(candidates.indices)), replace=False)


RULES: Mapping[str, Callable[[Candidates, int, np.random.Generator], Indices]] = MappingProxyType(
    {"strongest": _strongest, "typical": _typical, "different": _different, "random": _random}
)
"""``strongest``: largest totals. ``typical``: nearest to the median profile over regions. ``different``: the strongest,
then always the one farthest from all chosen. ``random``: drawn by the seed."""


def choose(
    layer: LayerLike, rule: str = "different", count: int = 8, *, regions: Regions | None = None, seed: int = 0
) -> Indices:
    """Indices of the neurons to show for a layer, in the order of the rule (Fig. 3, Fig. 8); dead neurons never.

    Args:
        layer: the layer.
        rule: a key of :data:`RULES`.
        count: number of neurons; fewer where fewer are alive.
        regions: what "typical" and "different" compare: shares of these regions; 4x8 grid cells where None.
        seed: of the rule ``random``.

    Raises:
        FindingError: if there is no such rule.
    """
    if rule not in RULES:
        raise FindingError(f"no rule {rule!r} to choose neurons; the rules are {', '.join(RULES)}")
    _, height, width = layer.shape
    regions = regions or grid_like((height, width), 32)
    sums = numpy(layer.region_sums({regions.grouping: as_labels(regions.labels)})[regions.grouping])
    return choose_by(rule, numpy(layer.totals()), sums, regions.areas[: sums.shape[1]], count=count, seed=seed)


def choose_by(rule: str, totals: Array, sums: Array, areas: Array, *, count: int = 8, seed: int = 0) -> Indices:
    """:func:`choose` from reductions that are at hand: ``totals (K,)``, ``sums (K, G)``, ``areas (G,)``."""
    alive = np.flatnonzero(np.asarray(totals) > 0)
    if not len(alive):
        return np.empty(0, dtype=np.int64)
    shares = profiles(np.asarray(sums)[alive], areas)[:, np.asarray(areas) > 0]
    candidates = Candidates(alive, np.asarray(totals, dtype=np.float64)[alive], np.nan_to_num(shares))
    return alive[RULES[rule](candidates, count, np.random.default_rng(seed))]


def gallery(
    layer: LayerLike, rule: str = "different", count: int = 8, *, regions: Regions | None = None, seed: int = 0
) -> xr.Dataset:
    """Maps of chosen neurons (Fig. 3); the arguments are those of :func:`choose`.

    Returns:
        Dataset of ``map (neuron, y, x)`` in the order of the rule, with the sign that the method gives it, and
        ``total (neuron,)``, sum over pixels of |C|; coordinates ``neuron``, ``input``, ``output``. Where the method
        has them, ``signed (neuron, colour, y, x)``: the contributions to each colour.

    Raises:
        FindingError: if there is no such rule.
    """
    import xarray as xr

    chosen = choose(layer, rule, count, regions=regions, seed=seed)
    maps = numpy(layer.maps(chosen.tolist())) if len(chosen) else np.zeros((0, *layer.shape[1:]))
    coloured = {}
    if len(chosen) and has_sign(layer.method):
        values = numpy(layer.maps(chosen.tolist(), signed=True)).astype(np.float32)  # type: ignore[call-arg]
        coloured["signed"] = (("neuron", "colour", "y", "x"), values, {"units": "C"})
    return xr.Dataset(
        {
            **coloured,
            "map": (("neuron", "y", "x"), maps.astype(np.float32), {"units": "C"}),
            "total": ("neuron", numpy(layer.totals())[chosen], {"units": "sum of |C|"}),
        },
        coords={name: (dim, values[chosen]) for name, (dim, values) in neuron_coords(layer).items()},
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method, "rule": rule, "seed": seed},
    )
