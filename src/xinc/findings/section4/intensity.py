"""Fig. 5: is a layer's contribution only the image's intensity?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.findings.finding import Finding, LayerLike, as_image, numpy
from xinc.findings.statistics import minmax, partial_correlation, pearson
from xinc.notation import Array

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="intensity",
    question="Does a layer's total contribution follow intensity, and does it follow edges beyond that?",
    section="4.3",
    figure="Fig. 5",
    unit="Pearson correlation over pixels",
    direction="heatmaps follow intensity, and edges beyond it; FFN layer 3 follows intensity more closely than layer 2",
    null="0: no linear relation over pixels",
)


def intensity_of(frame: Tensor | Array) -> NDArray[np.float64]:
    """Sum of the colour channels, ``(H, W)``, 0 to 3. ``frame``: ``(3, H, W)`` in [0, 1]."""
    return np.asarray(as_image(frame).sum(axis=2), dtype=np.float64)


def edges_of(frame: Tensor | Array) -> NDArray[np.float64]:
    """Sobel magnitude of the intensity, ``(H, W)``. ``frame``: ``(3, H, W)`` in [0, 1]."""
    from skimage.filters import sobel

    return np.asarray(sobel(intensity_of(frame)), dtype=np.float64)  # type: ignore[no-untyped-call]


def intensity(layer: LayerLike, frame: Tensor | Array) -> xr.Dataset:
    """A layer's heatmap beside the frame's intensity and edges.

    Args:
        layer: the layer.
        frame: ``(3, H, W)`` in [0, 1], of the layer's size.

    Returns:
        Dataset of

        - ``heatmap (y, x)``: sum over neurons of |C|; ``intensity (y, x)``: sum of RGB; ``edges (y, x)``: its Sobel
          magnitude;
        - ``difference (y, x)``: min-max normalised heatmap minus min-max normalised intensity, -1 to 1: positive where
          the layer contributes more than intensity says;
        - ``correlation_intensity``, ``correlation_edges``: Pearson over pixels;
        - ``partial_edges``: with edges, intensity taken out of both; ``partial_intensity``: the other way round.
    """
    import xarray as xr

    heatmap = numpy(layer.heatmap()).astype(np.float64)
    light, edges = intensity_of(frame), edges_of(frame)
    plane = ("y", "x")
    return xr.Dataset(
        {
            "heatmap": (plane, heatmap.astype(np.float32), {"units": "sum of |C| over neurons"}),
            "intensity": (plane, light.astype(np.float32), {"units": "sum of R, G and B, 0 to 3"}),
            "edges": (plane, edges.astype(np.float32), {"units": "Sobel magnitude of the intensity"}),
            "difference": (
                plane,
                (minmax(heatmap) - minmax(light)).astype(np.float32),
                {"units": "share of the range"},
            ),
            **{name: ((), value, {"units": FINDING.unit}) for name, value in relations(heatmap, light, edges).items()},
        },
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method},
    )


def relations(plane: Array, light: Array, edges: Array) -> dict[str, float]:
    """Correlations of a plane with intensity and edges, plain and partial."""
    return {
        "correlation_intensity": pearson(plane, light),
        "correlation_edges": pearson(plane, edges),
        "partial_edges": partial_correlation(plane, edges, [light]),
        "partial_intensity": partial_correlation(plane, light, [edges]),
    }
