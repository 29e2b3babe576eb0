"""How well maps predict ablation: correlations and ranks by method, and pictures that lose neurons by rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from xinc.findings.fidelity.compare import RANDOM
from xinc.findings.fidelity.deletion import CEILING, ORDERS
from xinc.show import style
from xinc.show.figures.curves import beside, box
from xinc.show.figures.pruning import LOOKS
from xinc.show.figures.sheet import Panels, spoken

if TYPE_CHECKING:
    import xarray as xr

OTHER: Mapping[str, Any] = {"color": style.OCHRE.light, "marker": "X"}
"""How a method is drawn that is no score of pruning."""
DIRECTIONS: Mapping[str, Any] = {ORDERS[0]: (0, (3, 1.5)), ORDERS[1]: "-"}
RIM: Mapping[str, Any] = {"markeredgecolor": style.PAPER.light, "markeredgewidth": 0.8}
WIDTHS = (2.6, 2.0, 1.4)
"""Of lines that may coincide, from the one below to the one on top."""
COLUMNS = 4


@style.styled
def agreement(panels: Panels) -> Figure:
    """Correlation of single maps with ablation maps as boxes (quartiles; 5 to 95 %), and rank agreement of the totals.

    Args:
        panels: Datasets of :attr:`xinc.findings.fidelity.compare.Fidelity.compared`.
    """
    series = [(f"{network}\n{spoken(name)}", data) for network, own in panels.items() for name, data in own.items()]
    methods = _names([data for _, data in series], "method")
    figure = style.new_figure(5.4 if style.is_phone() else 4.7)
    maps, ranks = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    width = 0.8 / len(methods)
    for x, (_, data) in enumerate(series):
        for m, method in enumerate(methods):
            if method in data["method"].values:
                _judged(maps, ranks, data.sel({"method": method}), x - 0.4 + (m + 0.5) * width, width)
    ranks.set_xticks(range(len(series)), [title for title, _ in series])
    ranks.set_xlim(-0.55, len(series) - 0.45)
    maps.set_ylabel("correlation of a neuron’s map\nwith its ablation map")
    ranks.set_ylabel("rank agreement\nof totals")
    for axes in (maps, ranks):
        axes.axhline(0, color=style.MUTED.light, lw=0.7)
        axes.set_ylim(min(-0.05, axes.get_ylim()[0]), 1.05)
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
    handles: list[Artist] = [Patch(facecolor=_look(method)["color"], label=method) for method in methods]
    beside(maps, handles=handles, title="method", alignment="left")
    return figure


def _judged(maps: Axes, ranks: Axes, own: xr.Dataset, x: float, width: float) -> None:
    """One method of one layer: the box of its correlations, the share that has none, the rank of its totals."""
    look = _look(str(own["method"].values))
    values = own["correlation"].values
    values = values[np.isfinite(values)]
    if values.size:
        box(maps, values, x, width, look["color"])
        # A box that is thinner than a line still has its median to show.
        maps.plot([x], [np.median(values)], look["marker"], color=look["color"], markersize=5, zorder=4, **RIM)
    if values.size and float(own["undefined"]) >= 0.01:
        share = f"{100 * float(own['undefined']):.0f} % no map"
        at: Any = {
            "xycoords": ("data", "axes fraction"),
            "rotation": 90,
            "fontsize": 6.5,
            "ha": "center",
            "va": "bottom",
        }
        maps.annotate(share, (x, 0.1), color=style.MUTED.light, **at)
    ranks.plot([x], [float(own["totals_rank"])], look["marker"], color=look["color"], markersize=5)


@style.styled
def deletion(panels: Panels) -> Figure:
    """PSNR to the full picture without shares of a layer's neurons, ranked by totals or at random, an axes a layer.

    Args:
        panels: Datasets of :attr:`xinc.findings.fidelity.compare.Fidelity.deleted`.
    """
    series = [(f"{network} {spoken(name)}", data) for network, own in panels.items() for name, data in own.items()]
    rankings = _names([data for _, data in series], "ranking")
    columns = min(2 if style.is_phone() else COLUMNS, len(series))
    rows = -(-len(series) // columns)
    figure = style.new_figure(2.1 * rows + 0.75)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (title, data) in zip(grid.flat, series, strict=False):
        _curves(axes, data)
        axes.set(title=title, xlim=(0, 100), ylim=(0, CEILING))
        axes.grid()
    for axes in grid.flat[len(series) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("PSNR to the\nfull picture (dB)")
    for column in range(columns):
        last = max(row for row in range(rows) if row * columns + column < len(series))
        grid[last][column].set_xlabel("neurons removed (%)")
        grid[last][column].tick_params(labelbottom=True)
    handles: list[Artist] = [Line2D([], [], color=_look(name)["color"], label=name) for name in rankings]
    words = {ORDERS[1]: "least first", ORDERS[0]: "greatest first"}
    handles += [Line2D([], [], color=style.INK.light, linestyle=DIRECTIONS[o], label=w) for o, w in words.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if style.is_phone() else len(handles))
    return figure


def _curves(axes: Axes, data: xr.Dataset) -> None:
    psnr = data["psnr"].clip(max=CEILING).mean("frame")
    for i, name in enumerate(psnr["ranking"].values.tolist()):
        own, look = psnr.sel({"ranking": name}), {"color": _look(name)["color"], "linewidth": WIDTHS[min(i, 2)]}
        if name == RANDOM:  # both of its directions are draws of the same kind
            axes.plot(100 * own["share"], own.mean("order"), **look)
            continue
        for order, dash in DIRECTIONS.items():
            axes.plot(100 * own["share"], own.sel({"order": order}), linestyle=dash, **look)


def _look(name: str) -> Mapping[str, Any]:
    look: Mapping[str, Any] = LOOKS.get(name, OTHER)
    return look


def _names(data: Sequence[xr.Dataset], axis: str) -> list[str]:
    """All names along an axis, in the order in which they come up."""
    return list(dict.fromkeys(str(name) for one in data for name in one[axis].values))
