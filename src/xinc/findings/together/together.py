"""What neurons do together: how many independent pictures a layer paints, who shares a job, and what cancels.

To first order contributions add, so all of it lies in the Gram matrix of the signed maps, ``G_kl = sum T_k T_l`` over
pixels and colours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from numpy.typing import NDArray

from xinc.canvas.layer import Layer
from xinc.findings.finding import Finding, numpy
from xinc.notation import Values

if TYPE_CHECKING:
    import xarray as xr


SquareMatrix = Float64[np.ndarray, "neuron neuron"]
NumberPerNeuron = Float64[np.ndarray, "neuron"]

FINDING = Finding(
    name="together",
    question="How many independent pictures does a layer paint, and how much of what its neurons add do others undo?",
    section="4",
    figure="none",
    unit="number of independent contributions",
    direction="contributions are distributed over many neurons",
    null="as many as the energies alone give: no two maps have anything in common (participation_apart)",
)
COMPONENTS = 6
"""Principal contributions that are kept as pictures."""
PAIRS = 8
"""Pairs that cancel most, and that are most alike."""
GROUPS = 12
"""Groups of neurons that share a job, at most."""
RIDGE = 1e-6
"""Added to the diagonal, as a share of its mean, before an inverse is taken."""


def dimensions(gram: SquareMatrix) -> tuple[dict[str, float], NumberPerNeuron, SquareMatrix]:
    """Effective dimensions of a Gram matrix, its eigenvalues (descending) and eigenvectors ``(K, K)``.

    Returns:
        ``participation``: ``(sum l)^2 / sum l^2``; ``components_95`` and ``components_999``: how many eigenvectors hold
        95 % and 99.9 % of the energy; ``participation_apart``: the participation that the energies alone would have.
    """
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total, diagonal = values.sum(), np.diag(gram)
    if total <= 0:
        nothing = dict.fromkeys(("participation", "components_95", "components_999", "participation_apart"), 0.0)
        return nothing, values, vectors
    running = np.cumsum(values) / total
    found = {
        "participation": float(total**2 / np.square(values).sum()),
        "components_95": float(np.searchsorted(running, 0.95) + 1),
        "components_999": float(np.searchsorted(running, 0.999) + 1),
        "participation_apart": float(diagonal.sum() ** 2 / np.square(diagonal).sum()),
    }
    return found, values, vectors


def unique_parts(gram: SquareMatrix) -> NumberPerNeuron:
    """``1 / (G^-1)_kk``: what is left of each neuron's map after regression on all others, ``(K,)``."""
    ridge = RIDGE * float(np.diag(gram).mean()) or 1.0
    inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    return np.asarray(np.minimum(1 / np.diag(inverse), np.diag(gram)), np.float64)


def cosines(gram: SquareMatrix) -> SquareMatrix:
    """``G_kl / sqrt(G_kk G_ll)``, 0 where a map is zero and on the diagonal."""
    root = np.sqrt(np.maximum(np.diag(gram), 0))
    scale = np.outer(root, root)
    found = _ratio(gram, scale)
    np.fill_diagonal(found, 0)
    return found


def _ratio(values: Values, scale: Values) -> Values:
    """Values over a scale, 0 where that is 0."""
    return np.asarray(np.divide(values, scale, out=np.zeros_like(values), where=scale > 0), np.float64)


def groups_of(cosine: SquareMatrix, alive: Bool[np.ndarray, "neuron"]) -> Int[np.ndarray, "neuron"]:
    """Groups of neurons whose maps are alike (average linkage of 1 - cosine), ``(K,)``; -1 for those without a map."""
    from sklearn.cluster import AgglomerativeClustering

    found = np.full(len(cosine), -1, np.int64)
    chosen = np.flatnonzero(alive)
    if len(chosen) < 2:
        found[chosen] = 0
        return found
    apart = 1 - cosine[np.ix_(chosen, chosen)]
    np.fill_diagonal(apart, 0)
    count = min(GROUPS, len(chosen))
    found[chosen] = AgglomerativeClustering(count, metric="precomputed", linkage="average").fit_predict(apart)
    return found


def together(layer: Layer, control: Layer | None = None) -> xr.Dataset:
    """What a layer's neurons do together, on one frame.

    Args:
        layer: with signed maps, of at most :data:`xinc.canvas.joint.gram.LARGEST` neurons.
        control: the same layer of a network with random weights (:func:`~.control.random_network`).

    Returns:
        Dataset of

        - ``participation``, ``components_95``, ``components_999``, ``participation_apart``: see :func:`dimensions`;
          ``participation_random`` and ``cancelled_random``: of the control;
        - ``cancelled``: share of the heatmap that neurons undo in each other, ``1 - sum |sum_k T_k| / sum |T_k|``;
        - ``kept (y, x)``: ``|sum_k T_k|`` over the heatmap, summed over colours;
        - ``held (rank)``: share of the energy in the first eigenvectors;
        - ``principal (component, colour, y, x)``: ``sum_k u_kr T_k``, signed;
        - ``energy``, ``unique``, ``group`` ``(neuron)``;
        - ``cancelling``, ``alike`` ``(pair, side)``: neurons, with ``cancelling_cosine``, ``alike_cosine`` ``(pair)``,
          among the half of the neurons with the most energy.

    Raises:
        TraceError: the method has no signed maps, or there are too many neurons.
    """
    import xarray as xr

    gram = layer.gram().numpy()
    known, values, vectors = dimensions(gram)
    count = min(COMPONENTS, len(gram))
    weights = np.concatenate([vectors[:, :count], np.ones((len(gram), 1))], 1)
    mixed = numpy(layer.mixtures(torch.from_numpy(weights)))
    heatmap = numpy(layer.heatmap()).astype(np.float64)
    kept = np.abs(mixed[-1]).sum(0).astype(np.float64)
    cosine, diagonal = cosines(gram), np.diag(gram)
    strong = diagonal >= np.median(diagonal)
    pairs = {name: _pairs(sign * cosine, strong) for name, sign in (("alike", 1), ("cancelling", -1))}
    total = float(heatmap.sum())
    running = np.cumsum(values) / max(float(values.sum()), 1e-30)
    ranks = np.unique(np.geomspace(1, len(running), min(len(running), 200)).round().astype(int))
    return xr.Dataset(
        {
            **{name: ((), value, {"units": FINDING.unit}) for name, value in known.items()},
            **(_of_control(control) if control is not None else {}),
            "cancelled": ((), 1 - float(kept.sum()) / total if total else np.nan, {"units": "share of the heatmap"}),
            "kept": (("y", "x"), _ratio(kept, heatmap).astype(np.float32)),
            "held": ("rank", running[ranks - 1], {"units": "share of the energy"}),
            "principal": (("component", "colour", "y", "x"), mixed[:count].astype(np.float32), {"units": "signed"}),
            "energy": ("neuron", diagonal, {"units": "sum of squares over pixels and colours"}),
            "unique": ("neuron", unique_parts(gram), {"units": "sum of squares that no others make up for"}),
            "group": ("neuron", groups_of(cosine, diagonal > 0)),
            **{name: (("pair", "side"), own) for name, own in pairs.items()},
            **{f"{name}_cosine": ("pair", cosine[own[:, 0], own[:, 1]]) for name, own in pairs.items()},
        },
        coords={"neuron": np.arange(len(gram)), "rank": ranks, "component": np.arange(count)},
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method},
    )


def _of_control(layer: Layer) -> dict[str, tuple[tuple[()], float, dict[str, str]]]:
    """How many independent pictures a layer of a random network paints, and how much of its heatmap cancels."""
    known = dimensions(layer.gram().numpy())[0]["participation"]
    sums = layer.sum(range(layer.shape[0]))
    total = float(layer.heatmap().double().sum())
    cancelled = 1 - float(sums.abs().double().sum()) / total if total else float("nan")
    return {
        "participation_random": ((), known, {"units": FINDING.unit}),
        "cancelled_random": ((), cancelled, {"units": "share of the heatmap"}),
    }


OVER_FRAMES = ("participation", "components_95", "components_999", "participation_apart", "cancelled")
"""What gets an interval over frames."""


def over_frames(found: xr.Dataset) -> xr.Dataset:
    """With ``NAME_mean``, ``NAME_low`` and ``NAME_high`` of each of :data:`OVER_FRAMES`: Student's 95 % interval.

    Of a single frame both ends are NaN.
    """
    from scipy.stats import t

    made: dict[str, float] = {}
    for name in OVER_FRAMES:
        values = found[name].values.astype(np.float64)
        count, mean = len(values), float(values.mean())
        half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)) if count > 1 else np.nan
        made |= {f"{name}_mean": mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    return found.assign(made)


def _pairs(likeness: Values, strong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The pairs of strong neurons with the greatest likeness, ``(PAIRS, 2)``; fewer where there are not so many."""
    chosen = np.flatnonzero(strong)
    inside = np.triu(likeness[np.ix_(chosen, chosen)], 1)
    order = np.argsort(-inside, axis=None)[: min(PAIRS, len(chosen) * (len(chosen) - 1) // 2)]
    rows, columns = np.unravel_index(order, inside.shape)
    return np.stack([chosen[rows], chosen[columns]], 1)
