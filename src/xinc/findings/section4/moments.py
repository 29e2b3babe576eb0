"""How far a layer's pictures would differ with other neurons: moments of the pictures of random groups of neurons.

Correlations and ratios of a heatmap are no means over neurons, so neurons cannot simply be resampled. But they can be
dealt at random into groups, and groups resampled: a resample's picture is a weighted sum of the groups' pictures, and
everything that is asked of it follows from their products with one another and with reference pictures. So a layer's
maps are passed over once, and any number of resamples costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.findings.finding import Finding, LayerLike
from xinc.findings.section4.distribution import edge_mask
from xinc.findings.section4.intensity import edges_of, intensity_of
from xinc.findings.section4.motion import MOVING, Flow
from xinc.notation import Array, Values

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="moments",
    question="How far would a layer's pictures differ with other neurons?",
    section="4",
    figure="none",
    unit="products over pixels",
    direction="none",
    null="none",
)
STEP = 0.1
"""How far resampled weights are moved from 1; see :class:`Resampled`."""


def groups_of(neurons: int, pixels: int, seed: int) -> NDArray[np.int64]:
    """A group for each neuron, dealt at random: one each for up to 128 neurons, else 64 (fewer for large frames)."""
    count = neurons if neurons <= 128 else 64
    count = min(count, max(16, (1 << 25) // pixels))
    return np.random.default_rng(seed).permutation(neurons) % min(count, neurons)


def references(image: Tensor | Array, flow: Flow | None) -> dict[str, Values]:
    """Pictures that a layer's pictures are compared with, ``(H, W)`` each; masks are 0 and 1."""
    light, edges = intensity_of(image), edges_of(image)
    strong = edge_mask(edges)
    found: dict[str, Array] = {"one": np.ones_like(light), "intensity": light, "edges": edges}
    found |= {"strong_edges": strong, "weak_edges": ~strong}
    if flow is not None:
        moving = (flow.speed > MOVING) & ~flow.uncovered
        found |= {"speed": flow.speed, "moving": moving, "uncovered": flow.uncovered}
        found |= {"still": ~moving & ~flow.uncovered}
    return {name: np.asarray(plane, dtype=np.float64) for name, plane in found.items()}


def moments(
    layer: LayerLike,
    image: Tensor | Array,
    *,
    areas: Sequence[float] = (0.1, 0.5),
    before: LayerLike | None = None,
    flow: Flow | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Products of the pictures of random groups of neurons with one another and with reference pictures.

    Args:
        layer: the layer.
        image: ``(3, H, W)`` in [0, 1].
        areas: thresholds of Fig. 7 whose counts become pictures.
        before: the layer at the frame before; with ``flow`` it adds the fluctuation of Fig. 9.
        flow: what moved in between.
        seed: of the deal.

    Returns:
        Dataset of ``gram (plane, group, other)``, sums over pixels of products of groups' pictures; ``dots (plane,
        group, reference)``, those with the references; ``norms (reference, against)``, those of the references. Planes:
        ``heatmap``, ``above_0.1`` (neurons above the threshold), ``fluctuation``.
    """
    import xarray as xr

    count, height, width = layer.shape
    dealt = groups_of(count, height * width, seed)
    planes = layer.group_pictures(dealt, areas, before if flow is not None else None)
    if "change" in planes:
        planes["fluctuation"] = planes.pop("change")
    refs = references(image, flow)
    against = np.stack([plane.ravel() for plane in refs.values()], axis=1)
    flat = [plane.flatten(1).double().numpy() for plane in planes.values()]
    return xr.Dataset(
        {
            "gram": (("plane", "group", "other"), np.stack([p @ p.T for p in flat]), {"units": "product over pixels"}),
            "dots": (("plane", "group", "reference"), np.stack([p @ against for p in flat]), {"units": "product"}),
            "norms": (("reference", "against"), against.T @ against, {"units": "product over pixels"}),
        },
        coords={"plane": list(planes), "reference": list(refs), "against": list(refs)},
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method, "seed": seed, "neurons": count},
    )


@dataclass(frozen=True)
class Resampled:
    """Statistics of a layer's pictures for all neurons (first) and for resampled groups of them (the others).

    A bootstrap resample repeats half of the neurons, so its heatmap is noisier than any that as many different neurons
    make, and its correlations are too low and spread too far. So weights go only a tenth of the way from 1 to their
    bootstrap values, and what that changes counts ten times (the infinitesimal jackknife: Jaeckel, 1972).

    Attributes:
        dataset: from :func:`moments`, at one frame.
        weights: ``(draws + 1, group)`` around 1; the first row is 1.
    """

    dataset: xr.Dataset
    weights: Values

    @classmethod
    def of(cls, dataset: xr.Dataset, draws: int, seed: int) -> Resampled:
        """Weights for the groups of a Dataset; the first row takes each group once."""
        groups = dataset.sizes["group"]
        drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
        return cls(dataset, 1 + STEP * np.concatenate([np.zeros((1, groups)), drawn - 1.0]))

    def correlation(self, plane: str, reference: str) -> Values:
        """Pearson correlation over pixels with a reference, ``(draws + 1,)``."""
        return self.partial(plane, reference, [])

    def partial(self, plane: str, reference: str, given: Sequence[str]) -> Values:
        """The same with a linear fit of other references taken from both."""
        names = [reference, *given]
        products = np.empty((len(self.weights), len(names) + 1, len(names) + 1))
        means = np.empty((len(self.weights), len(names) + 1))
        pixels = float(self.dataset["norms"].sel(reference="one", against="one"))
        gram = self.dataset["gram"].sel(plane=plane).values
        products[:, 0, 0] = np.einsum("bg,gh,bh->b", self.weights, gram, self.weights)
        means[:, 0] = self._dot(plane, "one") / pixels
        for i, name in enumerate(names, 1):
            products[:, 0, i] = products[:, i, 0] = self._dot(plane, name)
            means[:, i] = float(self.dataset["norms"].sel(reference=name, against="one")) / pixels
            for j, other in enumerate(names, 1):
                products[:, i, j] = float(self.dataset["norms"].sel(reference=name, against=other))
        return _extrapolated(_partial(products / pixels - means[:, :, None] * means[:, None, :])).clip(-1, 1)

    def ratio(self, plane: str, here: str, there: str) -> Values:
        """Mean of a plane over one mask over its mean over another; NaN where a mask is empty."""
        one = self.dataset["norms"].sel(against="one")
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [self._dot(plane, mask) / float(one.sel(reference=mask)) for mask in (here, there)]
            return _extrapolated(means[0] / means[1])

    def _dot(self, plane: str, reference: str) -> Values:
        return np.asarray(self.weights @ self.dataset["dots"].sel(plane=plane, reference=reference).values)


def _extrapolated(values: Values) -> Values:
    """Values at the small step of the weights, carried on to the whole step."""
    return np.asarray(values[0] + (values - values[0]) / STEP)


def _partial(covariance: Values) -> Values:
    """Partial correlation of the first two variables given the others, from covariances ``(n, v, v)``."""
    spread = np.sqrt(np.maximum(np.einsum("nii->ni", covariance), 0.0))
    result = np.full(len(covariance), np.nan)
    usable = (spread > 0).all(axis=1)
    correlation = covariance[usable] / (spread[usable, :, None] * spread[usable, None, :])
    first, given = correlation[:, :2], correlation[:, 2:, 2:]
    left = first[:, :, :2]
    if given.shape[1]:
        left = left - first[:, :, 2:] @ np.linalg.pinv(given) @ first[:, :, 2:].transpose(0, 2, 1)
    remaining = left[:, 0, 0] * left[:, 1, 1]
    # What others explain to the last digit has no correlation left.
    with np.errstate(invalid="ignore", divide="ignore"):
        result[usable] = np.where(
            np.minimum(left[:, 0, 0], left[:, 1, 1]) > 1e-9, left[:, 0, 1] / np.sqrt(remaining), np.nan
        )
    return result
