"""Fig. 10: neurons as vectors over texture clusters, and which of them are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xinc.errors import FindingError
from xinc.findings.finding import Finding, LayerLike, as_labels, neuron_coords, numpy
from xinc.findings.section4.regions import Regions
from xinc.findings.statistics import permutation_p
from xinc.notation import Array

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
        Dataset of ``vector (neuron, region)``, 0 to 1, NaN for empty regions and for neurons whose map is the same
        everywhere (dead ones too): those have no normalised map, and are counted in ``constant``; ``area (region,)``.
    """
    import xarray as xr

    sums = numpy(layer.region_sums({regions.grouping: as_labels(regions.labels)})[regions.grouping]).astype(np.float64)
    sums = np.pad(sums, ((0, 0), (0, regions.count - sums.shape[1])))
    low, high = numpy(layer.reduce(extremes=True).extremes).astype(np.float64).T[:, :, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors = np.where(high > low, ((sums / regions.areas - low) / (high - low)).clip(0, 1), np.nan)
    return xr.Dataset(
        {
            "vector": (("neuron", "region"), vectors.astype(np.float32), {"units": FINDING.unit}),
            "constant": ((), int((high <= low).sum()), {"units": "neurons"}),
            "area": ("region", regions.areas, {"units": "pixels"}),
        },
        coords={
            **neuron_coords(layer),
            "region": ("region", np.asarray(regions.names)),
        },
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method, "grouping": regions.grouping},
    )


def neighbours_of(layers: Sequence[str], layer: str, *, pixelwise: bool) -> int:
    """UMAP's ``n_neighbors`` of the paper for a layer: by its distance from the output; 5 for all layers of an MLP."""
    depth = len(layers) - 1 - list(layers).index(layer)
    return NEIGHBOURS[0] if pixelwise else NEIGHBOURS[min(depth, len(NEIGHBOURS) - 1)]


def stack(members: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Vectors of several layers, seeds or runs after one another, ready to embed.

    Args:
        members: name to Dataset of :func:`clusters` at one frame.

    Returns:
        Dataset of ``vector (neuron, region)`` without empty regions and without neurons that have no vector;
        coordinates of each neuron: ``member`` (the name), ``index`` (its number within its layer), ``layer``,
        ``input``, ``output``.

    Raises:
        FindingError: if there are no vectors, or they are not over the same regions.
    """
    import xarray as xr

    if not members:
        raise FindingError("no neuron vectors to stack: give at least one layer's")
    first_name, first = next(iter(members.items()))
    parts = []
    for name, member in members.items():
        if not (member["region"].equals(first["region"]) and np.array_equal(member["area"], first["area"])):
            raise FindingError(
                f"the vectors of {name} are over other regions than those of {first_name}; "
                "compare networks of the same frame with the same Gabor clusters"
            )
        usable = member.isel(neuron=np.isfinite(member["vector"].values).any(axis=1), region=member["area"].values > 0)
        count = usable.sizes["neuron"]
        kept = {key: ("neuron", usable[key].values) for key in ("input", "output") if key in usable.coords}
        labels = {
            "member": ("neuron", np.full(count, name)),
            "layer": ("neuron", np.full(count, member.attrs["layer"])),
        }
        parts.append(
            xr.Dataset(
                {"vector": (("neuron", "region"), usable["vector"].values, {"units": FINDING.unit})},
                coords={
                    "index": ("neuron", usable["neuron"].values),
                    **labels,
                    **kept,
                    "region": usable["region"].values,
                },
            )
        )
    return xr.concat(parts, dim="neuron").assign_attrs(first.attrs)


def embed(vectors: xr.Dataset, settings: Embedding = Embedding()) -> xr.Dataset:
    """Neuron vectors in two dimensions by UMAP.

    Args:
        vectors: from :func:`stack`.
        settings: neighbours (fewer where there are fewer neurons), minimal distance, seed.

    Returns:
        The Dataset with ``position (neuron, dimension)``, two dimensions without unit.

    Raises:
        FindingError: if fewer than four neurons have vectors.
    """
    from umap import UMAP

    from xinc.canvas.kernels.cache import keep_loops

    keep_loops("umap", "pynndescent")
    values = vectors["vector"].values
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


@dataclass(frozen=True)
class Mixing:
    """Do the neighbours of a neuron come from all members?

    Attributes:
        entropy: ``(n,)`` nats, of the members among each neuron's nearest neighbours.
        null: ``(permutations,)`` its mean over neurons when members are dealt at random.
    """

    entropy: NDArray[np.float64]
    null: NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """Mean entropy over that of random deals: about 1 where members mix fully, 0 where each keeps to itself."""
        return float(self.entropy.mean() / self.null.mean())

    @property
    def p_value(self) -> float:
        """How often a random deal mixes at most as well."""
        return permutation_p(-float(self.entropy.mean()), -self.null)


def mixing(
    vectors: Array,
    members: Sequence[str] | Array,
    *,
    neighbours: int = 10,
    permutations: int = 200,
    seed: int = 0,
) -> Mixing | None:
    """How well members mix, by nearest neighbours in the vectors' own space.

    Args:
        vectors: ``(n, G)``.
        members: n names of seeds or runs.
        neighbours: of each neuron, fewer where there are fewer neurons.
        permutations: random deals.
        seed: of the deals.

    Returns:
        None for fewer than two members or three neurons.
    """
    from sklearn.neighbors import NearestNeighbors

    values, (_, codes) = np.asarray(vectors), np.unique(np.asarray(members), return_inverse=True)
    if codes.size < 3 or codes.max() == 0:
        return None
    search = NearestNeighbors(n_neighbors=min(neighbours, len(values) - 1)).fit(values)
    nearest = search.kneighbors(return_distance=False)
    rng = np.random.default_rng(seed)
    null = [neighbour_entropy(rng.permutation(codes), nearest).mean() for _ in range(permutations)]
    return Mixing(neighbour_entropy(codes, nearest), np.array(null))


def neighbour_entropy(codes: Array, nearest: Array) -> NDArray[np.float64]:
    """Entropy in nats of the members among each neuron's neighbours. ``codes (n,)``, ``nearest (n, k)``; ``(n,)``."""
    labels = np.asarray(codes)[nearest]
    counts = np.stack([(labels == code).sum(axis=1) for code in range(int(np.max(codes)) + 1)], axis=1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(-np.where(shares > 0, shares * np.log(shares), 0.0).sum(axis=1))


@dataclass(frozen=True)
class Likeness:
    """What neurons have in common with the one most like them.

    Attributes:
        near: median correlation of a neuron's vector with that of the neuron nearest to it.
        random: median correlation of two neurons at random.
        shared: channel (``input``, ``output``) to the share of neurons that have it in common with the nearest, and
            the share of pairs at random that have; NaN where neurons have no such channel, or all the same.
    """

    near: float
    random: float
    shared: Mapping[str, tuple[float, float]]


def likeness(vectors: xr.Dataset, *, most: int = 5000, seed: int = 0) -> Likeness | None:
    """How alike neurons of a layer are to their nearest neighbours, by vector.

    Args:
        vectors: what :func:`clusters` returns, at one frame.
        most: neurons that are looked at; more are drawn at random.
        seed: of that draw, and of pairs at random.

    Returns:
        None for fewer than three neurons with a vector.
    """
    from sklearn.neighbors import NearestNeighbors

    values = vectors["vector"].transpose("neuron", "region").values
    values = values[:, ~np.isnan(values).all(axis=0)]
    kept, rng = np.flatnonzero(np.isfinite(values).all(axis=1)), np.random.default_rng(seed)
    kept = np.sort(rng.permutation(kept)[:most])
    if len(kept) < 3 or values.shape[1] < 3:
        return None
    near = NearestNeighbors(n_neighbors=1).fit(values[kept]).kneighbors(return_distance=False)[:, 0]
    shared = {}
    for way in ("input", "output"):
        channels = vectors[way].values[kept]
        counts = np.unique(channels, return_counts=True)[1]
        chance = float((counts * (counts - 1)).sum() / (len(kept) * (len(kept) - 1)))
        told = len(counts) > 1 and chance > 0
        shared[way] = (float((channels == channels[near]).mean()), chance) if told else (float("nan"), float("nan"))
    return Likeness(_correlated(values[kept], near), _correlated(values[kept], rng.permutation(len(kept))), shared)


def _correlated(values: Array, others: Array) -> float:
    """Median correlation of vectors with those of other neurons; without those that are the same everywhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = values - values.mean(axis=1, keepdims=True)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        found = (centred * centred[others]).sum(axis=1)[others != np.arange(len(values))]
    return float(np.nanmedian(found)) if np.isfinite(found).any() else float("nan")
