"""Figures of pictures: contribution maps (Fig. 3), heatmaps against intensity (Fig. 5), neurons per pixel (Fig. 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xinc.notation import Array, neuron_name
from xinc.show import style
from xinc.show.figures.sheet import Panels, Scale, Strip, Tile, around_grey, sheet, signed, spoken, stretched

if TYPE_CHECKING:
    import xarray as xr

MAP = Scale(style.CONTRIBUTION, 0.0, 1.0, "|contribution|, from the least to the greatest of each map")
SIGNED = Scale(
    style.LIGHTNESS, -1.0, 1.0, "contribution to each colour, up to the greatest of each map", ("takes away", "adds")
)
HEATMAP = Scale(
    style.CONTRIBUTION, 0.0, 1.0, "sum of |contribution| over neurons, from the layer's least to its greatest"
)
AGAINST = Scale(
    style.DIFFERENCE, -1.0, 1.0, "heatmap − intensity, both 0 to 1", ("intensity higher", "contribution higher")
)
GREY = Scale(style.LIGHTNESS, 0.0, 1.0, "intensity (R + G + B) and Sobel edges, least to greatest")
COLUMNS = 5
SHOWN = 6
"""Maps in a row of a gallery: more would be too small to see."""


@style.styled
def gallery(panels: Panels, frames: Mapping[str, Array]) -> Figure:
    """Representative contribution maps of each layer (Fig. 3).

    Args:
        panels: what :func:`xinc.findings.section4.choose.gallery` returns.
        frames: each network's frame, ``(H, W, 3)`` in [0, 1].
    """
    rows: list[Strip] = []
    for frame in distinct(frames[network] for network in panels):
        rows.append(Strip([Tile(frame, "frame")]))
    for network, layers in panels.items():
        for name, data in layers.items():
            maps, label = _maps(data), f"{network}\n{spoken(name)}"
            step = style.beside(SHOWN)
            rows += [Strip(maps[i : i + step], "" if i else label) for i in range(0, len(maps), step)]
    return sheet(rows)


def distinct(images: Iterable[Array]) -> list[Array]:
    """Images without those seen before."""
    found: list[Array] = []
    for image in images:
        if not any(np.array_equal(image, other) for other in found):
            found.append(np.asarray(image))
    return found


def _maps(data: xr.Dataset) -> list[Tile]:
    """In signed colour where the method has it."""
    kernels = zip(data["neuron"].values, data["input"].values, data["output"].values, strict=True)
    names = [neuron_name(int(k), (int(i), int(o))) for k, i, o in kernels]
    if "signed" in data:
        coloured = data["signed"].transpose("neuron", "y", "x", "colour").values
        return [Tile(around_grey(own), name, SIGNED) for own, name in zip(coloured, names, strict=True)]
    return [Tile(stretched(np.abs(own)), name, MAP) for own, name in zip(data["map"].values, names, strict=True)]


@style.styled
def intensity(panels: Panels, frames: Mapping[str, Array]) -> Figure:
    """Each layer's heatmap, and its difference to the frame's intensity, beside a Sobel edge map (Fig. 5).

    Args:
        panels: what :func:`xinc.findings.section4.intensity.intensity` returns.
        frames: each network's frame, ``(H, W, 3)`` in [0, 1].
    """
    rows: list[Strip] = []
    shown: list[Array] = []
    for network, layers in panels.items():
        frame = np.asarray(frames[network])
        if not any(np.array_equal(frame, other) for other in shown):
            rows.append(_beside_frame(frame, next(iter(layers.values()))))
            shown.append(frame)
        for start in range(0, len(layers), style.beside(COLUMNS)):
            part = list(layers.items())[start : start + style.beside(COLUMNS)]
            above = [
                Tile(
                    stretched(d["heatmap"].values),
                    f"{spoken(n)} · r = {signed(float(d['correlation_intensity']))}",
                    HEATMAP,
                )
                for n, d in part
            ]
            under = [Tile(d["difference"].values, "", AGAINST) for _, d in part]
            rows += [Strip(above, f"{network}\ncontribution"), Strip(under, "minus\nintensity")]
    return sheet(rows)


def _beside_frame(frame: Array, data: xr.Dataset) -> Strip:
    light = Tile(stretched(data["intensity"].values), "intensity", GREY)
    return Strip([Tile(frame, "frame"), light, Tile(stretched(data["edges"].values), "edges (Sobel)", GREY)])


@style.styled
def neurons_per_pixel(panels: Panels) -> Figure:
    """Which share of a layer's neurons represents each pixel, at each threshold (Fig. 7).

    Args:
        panels: what :func:`xinc.findings.section4.distribution.neurons_per_pixel` returns.
    """
    datasets = [data for layers in panels.values() for data in layers.values()]
    areas = [float(a) for a in datasets[0]["area"].values]
    peaks = {a: max(float(d["share"].sel(area=a).max()) for d in datasets) for a in areas}
    scales = {
        a: Scale(style.SHARE, 0.0, 100 * peaks[a], f"% of the layer's neurons, threshold {100 * a:.0f} %")
        for a in areas
    }
    rows = []
    for network, layers in panels.items():
        for start in range(0, len(layers), style.beside(COLUMNS)):
            part = list(layers.items())[start : start + style.beside(COLUMNS)]
            for i, a in enumerate(areas):
                cells = [
                    Tile(100 * d["share"].sel(area=a).values, spoken(n) if i == 0 else "", scales[a]) for n, d in part
                ]
                rows.append(Strip(cells, f"{network}\nthreshold {100 * a:.0f} %"))
    return sheet(rows)


def error_picture(frame: NDArray[Any], reconstruction: NDArray[Any]) -> NDArray[np.float64]:
    """Mean absolute error over colours, ``(H, W)``."""
    return np.asarray(np.abs(frame - np.clip(reconstruction, 0, 1)).mean(axis=2), dtype=np.float64)
