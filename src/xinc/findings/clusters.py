"""Fig. 10: neurons as vectors over texture clusters, and which of them are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xinc.errors import FindingError
from xinc.findings.finding import Array, Finding, LayerLike, as_labels, neuron_coords, numpy
from xinc.findings.regions import Regions
from xinc.findings.statistics import permutation_p

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="clusters",
    question="Which neurons are alike in the textures they serve, and do networks of other seeds have the same kinds?",
    section="4.6",
    figure="Fig. 10",
    unit="mean of the min-max normalised map over a texture cluster",
    direction="there are many types of neurons, and neurons of different seeds mix",
    null="mixing 1: a neuron's neighbours come from all seeds as if dealt at random",
)
NEIGHBOURS = (5, 25, 75, 150)
"""UMAP's ``n_neighbors`` for the layer at the output and the ones before it (head, block 3, 2, 1)."""


@dataclass(frozen=True)
class Embedding:
    """Settings of UMAP, the paper's by default."""

    neighbours: int = 5
    min_dist: float = 0.1
    seed: int = 42


def clusters(layer: LayerLike, regions: Regions) -> xr.Dataset:
    """Neurons of a layer as vectors: each map's absolute values min-max normalised and averaged over each region.

    No map is needed: the mean of ``(|C| - min) / (max - min)`` over a region is ``(S_kg / |g| - min) / (max - min)``.

    Args:
        layer: the layer.
        regions: the Gabor clusters of the frame.

    Returns:
        Dataset of ``vector (neuron, region)``, 0 to 1, NaN for empty regions. Neurons whose map is the same everywhere
        (dead ones too) have no normalised map: they are left out and counted in ``constant``.
    """
    import xarray as xr

    sums = numpy(layer.region_sums({regions.grouping: as_labels(regions.labels)})[regions.grouping]).astype(np.float64)
    sums = np.pad(sums, ((0, 0), (0, regions.count - sums.shape[1])))
    low, high = numpy(layer.reduce(extremes=True).extremes).astype(np.float64).T[:, :, None]
    keep = np.flatnonzero((high > low).ravel())
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors = ((sums / regions.areas - low) / (high - low))[keep].clip(0, 1)
    return xr.Dataset(
        {
            "vector": (("neuron", "region"), vectors.astype(np.float32), {"units": FINDING.unit}),
            "constant": ((), len(sums) - len(keep), {"units": "neurons left out"}),
        },
        coords={
            **{name: (dim, values[keep]) for name, (dim, values) in neuron_coords(layer).items()},
            "region": ("region", np.asarray(regions.names)),
            "area": ("region", regions.areas),
        },
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method, "grouping": regions.grouping},
    )


def neighbours_of(layers: Sequence[str], layer: str, *, pixelwise: bool) -> int:
    """UMAP's ``n_neighbors`` of the paper for a layer: by its distance from the output; 5 for all layers of an MLP."""
    depth = len(layers) - 1 - list(layers).index(layer)
    return NEIGHBOURS[0] if pixelwise else NEIGHBOURS[min(depth, len(NEIGHBOURS) - 1)]


def stack(members: Sequence[xr.Dataset], names: Sequence[str]) -> xr.Dataset:
    """Vectors of several layers, seeds or runs after one another, each neuron with the ``member`` it came from.

    Raises:
        FindingError: if there are no vectors, or their regions are not those of one frame.
    """
    import xarray as xr

    if not members:
        raise FindingError("no neuron vectors to stack: give at least one layer's")
    first = members[0]
    for member, name in zip(members, names, strict=True):
        if (
            member.region.values.tolist() != first.region.values.tolist()
            or (member.area.values != first.area.values).any()
        ):
            raise FindingError(
                f"the vectors of {name} are over other regions than those of {names[0]}; "
                "compare networks of the same frame with the same Gabor clusters"
            )
    parts = [
        m[["vector"]]
        .reset_coords(drop=True)
        .assign_coords(
            member=("neuron", np.full(m.sizes["neuron"], name)),
            index=("neuron", m.neuron.values),
        )
        .drop_vars("neuron", errors="ignore")
        for m, name in zip(members, names, strict=True)
    ]
    return xr.concat(parts, dim="neuron").assign_attrs(first.attrs)


def embed(vectors: xr.Dataset, settings: Embedding = Embedding()) -> xr.Dataset:
    """Neuron vectors in two dimensions by UMAP.

    Args:
        vectors: from :func:`clusters` or :func:`stack`.
        settings: neighbours (fewer where there are fewer neurons), minimal distance, seed.

    Returns:
        The Dataset with ``position (neuron, dimension)``, two dimensions without unit.

    Raises:
        FindingError: if fewer than four neurons have vectors.
    """
    from umap import UMAP

    values = filled(vectors["vector"].values)
    if len(values) < 4:
        raise FindingError(f"an embedding needs at least 4 neurons with a map that varies; there are {len(values)}")
    neighbours = min(settings.neighbours, len(values) - 1)
    # Spectral layouts need more points than dimensions with room to spare.
    init = "spectral" if len(values) > 2 * (neighbours + 2) else "random"
    model = UMAP(n_neighbors=neighbours, min_dist=settings.min_dist, random_state=settings.seed, n_jobs=1, init=init)
    position = np.asarray(model.fit_transform(values), dtype=np.float32)
    return vectors.assign(position=(("neuron", "dimension"), position, {"units": "none"})).assign_attrs(
        neighbours=neighbours, min_dist=settings.min_dist, seed=settings.seed
    )


def filled(vectors: Array) -> NDArray[np.float32]:
    """Vectors without the columns of empty regions."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors[:, np.isfinite(vectors).all(axis=0)]


def mixing(
    vectors: Array, members: Sequence[str] | Array, *, neighbours: int = 10, permutations: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Do the neighbours of a neuron come from all members?

    The entropy of the members among each neuron's nearest neighbours in the vectors' own space, averaged over neurons,
    over its mean when members are dealt at random.

    Args:
        vectors: ``(n, G)``.
        members: n names of seeds or runs.
        neighbours: neighbours of each neuron, fewer where there are fewer neurons.
        permutations: random deals.
        seed: of the deals.

    Returns:
        The ratio: about 1 where members mix fully, 0 where each keeps to itself; and its one-sided p-value: how often a
        random deal mixes at most as well. NaN where there is only one member.
    """
    from sklearn.neighbors import NearestNeighbors

    values, (_, codes) = filled(vectors), np.unique(np.asarray(members), return_inverse=True)
    if codes.size < 3 or codes.max() == 0:
        return float("nan"), float("nan")
    nearest = (
        NearestNeighbors(n_neighbors=min(neighbours, len(values) - 1)).fit(values).kneighbors(return_distance=False)
    )
    rng = np.random.default_rng(seed)
    found = neighbour_entropy(codes, nearest).mean()
    null = np.array([neighbour_entropy(rng.permutation(codes), nearest).mean() for _ in range(permutations)])
    return float(found / null.mean()), permutation_p(-found, -null)


def neighbour_entropy(codes: Array, nearest: Array) -> NDArray[np.float64]:
    """Entropy in nats of the members among each neuron's neighbours. ``codes (n,)``, ``nearest (n, k)``; ``(n,)``."""
    labels = np.asarray(codes)[nearest]
    counts = np.stack([(labels == code).sum(axis=1) for code in range(int(np.max(codes)) + 1)], axis=1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(-np.where(shares > 0, shares * np.log(shares), 0.0).sum(axis=1))
