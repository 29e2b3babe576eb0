"""PSNR against the share of a layer that was removed, by several scores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xinc.show import style
from xinc.show.figures.sheet import Panels, spoken

if TYPE_CHECKING:
    import xarray as xr

LOOKS: Mapping[str, Any] = MappingProxyType(
    {
        by: {"color": hue.light, "linestyle": dash, "marker": marker, "markersize": 3.2}
        for by, hue, dash, marker in zip(
            ("exact", "paper", "official", "magnitude", "random", "joint"),
            (style.BLUE, style.GREEN, style.VIOLET, style.RUST, style.GREY, style.OCHRE),
            style.DASHES,
            style.MARKERS,
            strict=False,
        )
    }
)
"""How each score is drawn in every figure."""
SIDES = (
    ("psnr_unpruned", "PSNR to the unpruned\npicture (dB)"),
    ("psnr_signal", "PSNR to the signal (dB)"),
)


@style.styled
def pruning(panels: Panels) -> Figure:
    """What the picture keeps of the unpruned one, and of the signal, a row a layer.

    Args:
        panels: what :func:`xinc.findings.pruning.compare` returns.
    """
    series = [(network, data) for network, layers in panels.items() for data in layers.values()]
    figure = style.new_figure(2.35 * len(series) + 0.45, style.WIDTH)
    grid = figure.subplots(len(series), 2, sharex=True, squeeze=False)
    for row, (network, data) in zip(grid, series, strict=True):
        for axes, (name, label) in zip(row, SIDES, strict=True):
            _curves(axes, data, name)
            axes.set_ylabel(label)
        where = f"{network} {spoken(data.attrs['layer'])}".strip()
        row[0].set_title(f"{where}: {data.attrs['count']:,} {data.attrs['called']}")
    for axes in grid[-1]:
        axes.set_xlabel("removed, least first (%)")
    drawn = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=len(drawn))
    return figure


def _curves(axes: Axes, data: xr.Dataset, name: str) -> None:
    """One line a score, mean over frames; where nothing changes there is no number to draw."""
    mean = data[name].mean("frame")
    for by in data["by"].values.tolist():
        values, removed = mean.sel(by=by).values, 100 * data["units"].sel(by=by).values / data.attrs["count"]
        known = np.isfinite(values)
        axes.plot(removed[known], values[known], label=by, **LOOKS[by])
    axes.set_xlim(0, 100)
    axes.grid()
