"""Fig. 6, 7 and 18: how many pixels a neuron represents, and how many neurons a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.findings.finding import Finding, LayerLike, neuron_coords, numpy
from xinc.findings.section4.intensity import edges_of, intensity_of, relations
from xinc.notation import Array

if TYPE_CHECKING:
    import xarray as xr

PIXELS_PER_NEURON = Finding(
    name="pixels_per_neuron",
    question="How many pixels does a neuron give more than an even share?",
    section="4.4",
    figure="Fig. 6",
    unit="share of pixels",
    direction="outer layers have more pixels per neuron; nearly half of FFN layer 2 is dead",
    null="all layers alike; no neuron without pixels",
)
NEURONS_PER_PIXEL = Finding(
    name="neurons_per_pixel",
    question="How many neurons represent a pixel, and is their number biased to edges?",
    section="4.4",
    figure="Fig. 7, Fig. 18",
    unit="share of neurons",
    direction="at 50 % NeRV is overwhelmingly biased to edges, FFN is not",
    null="ratio 1, correlation 0: as many neurons on edges as elsewhere",
)
AREAS = (0.1, 0.5)
EDGE_SHARE = 0.1


def resampled(values: Array, points: int = 256) -> NDArray[np.float64]:
    """Values sorted ascending and resampled to a common length by linear interpolation (Fig. 6), ``(points,)``."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(ordered)), ordered)


def pixels_per_neuron(layer: LayerLike, *, points: int = 256) -> xr.Dataset:
    """How many pixels each neuron represents (Fig. 6).

    Args:
        layer: the layer.
        points: common length to which layers are resampled.

    Returns:
        Dataset of

        - ``pixels (neuron,)``: pixels where a neuron has more than 1/K of the pixel's total;
        - ``sorted_share (position,)``: the same as share of all pixels, ascending, over the relative position 0 .. 1;
        - ``total (neuron,)``: sum of |C|;
        - ``dead``: share of neurons whose map is zero everywhere; ``silent``: share without a single such pixel.
    """
    import xarray as xr

    _, height, width = layer.shape
    pixels = numpy(layer.pixels_per_neuron()).astype(np.int64)
    totals = numpy(layer.totals()).astype(np.float64)
    return xr.Dataset(
        {
            "pixels": ("neuron", pixels, {"units": "pixels"}),
            "sorted_share": ("position", resampled(pixels, points) / (height * width), {"units": "share of pixels"}),
            "total": ("neuron", totals, {"units": "sum of |C|"}),
            "dead": ((), float((totals == 0).mean()), {"units": "share of neurons"}),
            "silent": ((), float((pixels == 0).mean()), {"units": "share of neurons"}),
        },
        coords={**neuron_coords(layer), "position": ("position", np.linspace(0, 1, points))},
        attrs={**PIXELS_PER_NEURON.attrs(), "layer": layer.name, "method": layer.method, "all_pixels": height * width},
    )


def edge_mask(edges: Array, share: float = EDGE_SHARE) -> NDArray[np.bool_]:
    """The ``share`` of pixels with the strongest edges; none where the frame has no edge at all."""
    edges = np.asarray(edges)
    return np.asarray((edges >= np.quantile(edges, 1 - share)) & (edges > 0))


def edge_ratio(plane: Array, edges: Array, share: float = EDGE_SHARE) -> float:
    """Mean of a plane on the strongest edges over its mean elsewhere; NaN where there are no edges or nothing else."""
    mask = edge_mask(edges, share)
    plane = np.asarray(plane, dtype=np.float64)
    if not mask.any() or mask.all():
        return float("nan")
    elsewhere = plane[~mask].mean()
    return float(plane[mask].mean() / elsewhere) if elsewhere > 0 else float("nan")


def neurons_per_pixel(
    layer: LayerLike, frame: Tensor | Array, *, areas: tuple[float, ...] = AREAS, points: int = 256
) -> xr.Dataset:
    """How many neurons represent each pixel (Fig. 7), and the sorted contributions behind the threshold (Fig. 18).

    Args:
        layer: the layer.
        frame: ``(3, H, W)`` in [0, 1], for the bias to edges.
        areas: shares of all contribution that lie below the threshold.
        points: samples of the sorted curve.

    Returns:
        Dataset of

        - ``share (area, y, x)``: share of neurons with |C| above the threshold of ``area``; ``threshold (area,)``;
        - ``curve (position,)``: all |C| in descending order at relative positions 0 .. 1;
        - ``edge_ratio (area,)``: mean share on the 10 % strongest edge pixels over the mean elsewhere;
        - ``correlation_edges``, ``correlation_intensity``, ``partial_edges``, ``partial_intensity (area,)``.
    """
    import xarray as xr

    light, edges = intensity_of(frame), edges_of(frame)
    shares = np.stack([numpy(layer.neurons_per_pixel(area)) for area in areas]).astype(np.float64)
    rank, curve = numpy(layer.sorted_curve(points)).astype(np.float64)
    related = [relations(share, light, edges) for share in shares]
    return xr.Dataset(
        {
            "share": (("area", "y", "x"), shares.astype(np.float32), {"units": "share of neurons"}),
            "threshold": ("area", np.array([layer.threshold(area) for area in areas]), {"units": "|C|"}),
            "curve": ("position", curve, {"units": "|C|"}),
            "edge_ratio": ("area", np.array([edge_ratio(share, edges) for share in shares]), {"units": "ratio"}),
            **{
                name: ("area", np.array([r[name] for r in related]), {"units": "Pearson correlation"})
                for name in related[0]
            },
        },
        coords={"area": ("area", np.array(areas)), "position": ("position", rank)},
        attrs={**NEURONS_PER_PIXEL.attrs(), "layer": layer.name, "method": layer.method},
    )
