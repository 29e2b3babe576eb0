"""Ways to cut a frame into regions: colour, Gabor texture, grid cells, instances; and the same regions misplaced.

Fig. 4 asks which cut explains a neuron's contributions best. A cut into many small regions spreads more by itself, so
groupings are compared at like numbers of regions (:func:`grid_like`) and beside the same regions rolled to another
place (:func:`shifted`) or torn into pixels (:func:`shuffled`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.errors import FindingError
from xinc.findings.finding import as_image
from xinc.notation import Array, Indices
from xinc.signals.labels import Segments

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
ORIENTATIONS = (0.0, pi / 4, pi / 2, 3 * pi / 4)
FREQUENCIES = (0.05, 0.25, 0.5)
SIGMAS = (1.0, 3.0)
SUBSAMPLE = 4096


@dataclass(frozen=True)
class Regions:
    """A label map of a frame.

    Attributes:
        grouping: kind of the regions, e.g. ``"rgb"``.
        labels: ``(H, W)`` int64, 0 .. G-1; negative where a pixel belongs to no region.
        names: one name a region, unique and the same for the same thing in every frame.
        settings: what is needed to make them again.
    """

    grouping: str
    labels: Indices
    names: tuple[str, ...]
    settings: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of regions, empty ones included."""
        return len(self.names)

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each region, ``(G,)``."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.count).astype(np.int64)


@dataclass(frozen=True)
class Clustering:
    """Settings of k-means: clusters, restarts and the seed of both the restarts and the subsample."""

    clusters: int = 32
    restarts: int = 10
    seed: int = 0


def _numbered(grouping: str, labels: Indices, count: int, settings: Mapping[str, str | int | float]) -> Regions:
    return Regions(grouping, labels, tuple(map(str, range(count))), dict(settings))


def kmeans(features: Array, clustering: Clustering = Clustering()) -> Indices:
    """Cluster pixels by k-means.

    The restarts run on at most 4096 pixels drawn by the seed; the best of them is then refined on all pixels. On
    128x256 frames this ends at the inertia of restarts on all pixels (within 1 %) in a fifth of the time.

    Args:
        features: ``(H, W, F)``.
        clustering: number of clusters, restarts, seed.

    Returns:
        ``(H, W)`` labels, ordered by the size of the cluster, largest first. Fewer clusters than asked where the frame
        has fewer distinct pixels.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    flat = np.ascontiguousarray(features.reshape(-1, features.shape[-1]), dtype=np.float32)
    clusters = min(clustering.clusters, len(np.unique(flat, axis=0)))
    rng = np.random.default_rng(clustering.seed)
    chosen = flat if len(flat) <= SUBSAMPLE else flat[rng.choice(len(flat), SUBSAMPLE, replace=False)]
    clusters = min(clusters, len(np.unique(chosen, axis=0)))
    # One thread: the same labels on every machine, and no slower where cores are shared.
    with threadpool_limits(1):
        model = KMeans(clusters, n_init=clustering.restarts, random_state=clustering.seed).fit(chosen)
        if len(chosen) < len(flat):
            model = KMeans(clusters, init=model.cluster_centers_, n_init=1).fit(flat)
    used, labels, counts = np.unique(model.labels_, return_inverse=True, return_counts=True)
    position = np.empty(len(used), dtype=np.int64)
    position[np.argsort(-counts, kind="stable")] = np.arange(len(used))
    return position[labels].reshape(features.shape[:2])


def _kmeans_settings(clustering: Clustering) -> dict[str, int]:
    return {"k": clustering.clusters, "n_init": clustering.restarts, "seed": clustering.seed, "subsample": SUBSAMPLE}


def rgb(frame: Tensor | Array, clustering: Clustering = Clustering()) -> Regions:
    """Clusters of like colour (Fig. 4, "RGB"): k-means of RGB values. ``frame``: ``(3, H, W)`` in [0, 1]."""
    return _numbered("rgb", kmeans(as_image(frame), clustering), clustering.clusters, _kmeans_settings(clustering))


def gabor_kernels(orientations: tuple[float, ...] = ORIENTATIONS) -> list[NDArray[np.float64]]:
    """Real Gabor kernels of the paper's bank: each orientation with sigmas 1 and 3 and frequencies .05, .25 and .5."""
    from skimage.filters import gabor_kernel

    return [
        np.real(
            gabor_kernel(frequency, theta=theta, sigma_x=sigma, sigma_y=sigma)  # type: ignore[no-untyped-call]
        ).astype(np.float64)
        for theta in orientations
        for sigma in SIGMAS
        for frequency in FREQUENCIES
    ]


def gabor_features(frame: Tensor | Array, variant: Literal["paper", "official"] = "paper") -> NDArray[np.float32]:
    """Responses of a Gabor bank on the grey frame.

    Args:
        frame: ``(3, H, W)`` in [0, 1].
        variant: ``"paper"``: 24 kernels of four orientations, floats, reflecting border. ``"official"``: what the
            published code computes: it leaves its loop after the first orientation (6 kernels), filters 8-bit integers
            (so that a response wraps at 256) and wraps around the border.

    Returns:
        ``(H, W, 24)`` or ``(H, W, 6)`` float32.
    """
    grey = as_image(frame) @ LUMA
    if variant == "official":
        from scipy.ndimage import convolve

        bytes_ = np.rint(grey * 255).clip(0, 255).astype(np.uint8)
        return np.stack([convolve(bytes_, k, mode="wrap") for k in gabor_kernels((0.0,))], axis=-1).astype(np.float32)
    import cv2

    # filter2D correlates; real Gabor kernels are even, so this is the convolution.
    responses = [cv2.filter2D(grey, cv2.CV_32F, k, borderType=cv2.BORDER_REFLECT) for k in gabor_kernels()]
    return np.stack(responses, axis=-1)


def gabor(
    frame: Tensor | Array,
    clustering: Clustering = Clustering(),
    variant: Literal["paper", "official"] = "paper",
) -> Regions:
    """Clusters of like texture (Fig. 4, "Gabor"): k-means of Gabor responses. ``frame``: ``(3, H, W)`` in [0, 1]."""
    labels = kmeans(gabor_features(frame, variant), clustering)
    return _numbered("gabor", labels, clustering.clusters, {**_kmeans_settings(clustering), "bank": variant})


def grid(size: tuple[int, int], rows: int, columns: int) -> Regions:
    """Equal rectangular cells (Fig. 4, "grid cells"); cells differ by at most one pixel a side where ``size`` is odd.

    Args:
        size: ``(H, W)``.
        rows: cells from top to bottom.
        columns: cells from left to right.

    Raises:
        FindingError: if there are more rows or columns than pixels.
    """
    height, width = size
    if not (0 < rows <= height and 0 < columns <= width):
        raise FindingError(
            f"a grid of {rows}x{columns} cells does not fit {height}x{width} pixels; ask for fewer cells"
        )
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    labels = (y[:, None] * columns + x[None, :]).astype(np.int64)
    return _numbered("grid", labels, rows * columns, {"rows": rows, "columns": columns})


def grid_like(size: tuple[int, int], regions: int) -> Regions:
    """The grid whose number of cells is nearest to ``regions``; among those, the one with the squarest cells."""
    height, width = size
    candidates = [
        (abs(rows * columns - regions), abs(np.log((height / rows) / (width / columns))), rows, columns)
        for rows in range(1, min(height, regions) + 1)
        for columns in {max(1, min(width, regions // rows)), max(1, min(width, -(-regions // rows)))}
    ]
    # Cells of 4:1 are no longer "regular": a grid one cell off beats a strip.
    regular = [c for c in candidates if c[1] <= np.log(2.0) + 1e-9]
    _, _, rows, columns = min(regular or candidates)
    return grid(size, rows, columns)


def instances(segments: Segments, frame: int) -> Regions:
    """Instances of an annotated frame (Fig. 4): every segment of the clip, in the order of its table.

    A segment that this frame does not show stays as an empty region, so that it keeps its place over time; ``other``
    (what no segment covers) is a region of its own.

    Raises:
        FindingError: if nobody annotated this frame.
    """
    if frame not in segments.labels:
        known = ", ".join(map(str, segments.frames)) or "none"
        raise FindingError(f"frame {frame} has no segments; the annotated frames are {known}")
    plane = segments.labels[frame]
    ids = np.array([segment.id for segment in segments.table])
    order = np.argsort(ids)
    labels = order[np.searchsorted(ids[order], plane)].astype(np.int64)
    return Regions("instances", labels, segment_names(segments), {"segments": len(ids)})


def segment_names(segments: Segments) -> tuple[str, ...]:
    """One unique name a segment of the table: ``"car 3"``, ``"sky"``; the id is added where two would be alike."""
    plain = [s.category if s.instance < 0 else f"{s.category} {s.instance}" for s in segments.table]
    return tuple(
        name if plain.count(name) == 1 else f"{name} (id {segment.id})"
        for name, segment in zip(plain, segments.table, strict=True)
    )


def shifted(regions: Regions, seed: int) -> Regions:
    """The same regions rolled around both borders by a random offset of at least an eighth of each side."""
    height, width = regions.labels.shape
    rng = np.random.default_rng(seed)
    dy, dx = (int(rng.integers(max(1, n // 8), max(1, n - n // 8) + 1)) % n if n > 1 else 0 for n in (height, width))
    labels = np.roll(regions.labels, (dy, dx), axis=(0, 1))
    settings = {**regions.settings, "shift_y": dy, "shift_x": dx, "shift_seed": seed}
    return Regions(f"{regions.grouping}_shifted", labels, regions.names, settings)


def shuffled(regions: Regions, seed: int) -> Regions:
    """The same numbers of pixels a region, each pixel at a random place."""
    labels = np.random.default_rng(seed).permutation(regions.labels.ravel()).reshape(regions.labels.shape)
    settings = {**regions.settings, "shuffle_seed": seed}
    return Regions(f"{regions.grouping}_shuffled", labels, regions.names, settings)
