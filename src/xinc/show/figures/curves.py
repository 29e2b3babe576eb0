"""Figures of lines and boxes: groupings (Fig. 4), pixels per neuron (Fig. 6), sorted contributions (Fig. 18), fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from xinc.notation import Array
from xinc.show import style
from xinc.show.figures.sheet import Panels, spoken

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

GROUPING_NAMES = {
    "instances": "instances",
    "rgb": "colour (RGB)",
    "gabor": "texture (Gabor)",
    "grid": "grid cells",
    "grid_matched": "as many grid cells\nas instances",
}
SHIFTED: Any = {
    "color": style.INK.light,
    "markersize": 3.6,
    "markeredgecolor": style.PAPER.light,
    "markeredgewidth": 0.6,
}
Line = Any


@dataclass(frozen=True)
class Look:
    """How a layer is drawn in every figure of lines: colour by depth from the output, dashes by network."""

    title: str
    colour: str
    dash: Line
    marker: str


def looks(panels: Panels) -> Iterator[tuple[Look, xr.Dataset]]:
    """Each layer's look and Dataset, network by network, outermost layer first."""
    for n, (network, layers) in enumerate(panels.items()):
        for i, (name, data) in enumerate(layers.items()):
            hue = style.CATEGORICAL[i % len(style.CATEGORICAL)]
            dash = style.DASHES[n % len(style.DASHES)]
            yield Look(f"{network} {spoken(name)}", hue.light, dash, style.MARKERS[n % len(style.MARKERS)]), data


def beside(axes: Axes, **settings: Any) -> None:
    """Put the legend to the right of the axes, where it covers nothing; on a phone below them."""
    if style.is_phone():
        known = {"handles": axes.get_legend_handles_labels()[0], **settings}
        labels = [handle.get_label() for handle in known["handles"]]
        axes.figure.legend(labels=labels, loc="outside lower left", ncols=2, **known)
        return
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0, **settings)


@style.styled
def groupings(panels: Panels) -> Figure:
    """Scores of all neurons for each grouping and layer (Fig. 4): boxes span quartiles, whiskers 5 to 95 %.

    Args:
        panels: what :func:`xinc.findings.section4.grouping.grouping` returns; where it has ``shifted (grouping,)``,
            the median score of the same regions at other places, that is marked too.
    """
    figure = style.new_figure(4.2 if style.is_phone() else 3.3)
    axes = figure.subplots()
    series = list(looks(panels))
    kinds = [k for k in style.GROUPING_HUES if any(k in d["grouping"].values for _, d in series)]
    width = 0.8 / len(kinds)
    top = 0.0
    for x, (_, data) in enumerate(series):
        for i, kind in enumerate(kinds):
            if kind not in data["grouping"].values:
                continue
            values = data["score"].sel(grouping=kind).values
            values = values[np.isfinite(values)]
            if values.size:
                reach = box(axes, values, x - 0.4 + (i + 0.5) * width, width, style.GROUPING_HUES[kind].light)
                top = max(top, reach)
                if "shifted" in data:
                    place = float(data["shifted"].sel(grouping=kind))
                    axes.plot(x - 0.4 + (i + 0.5) * width, place, "D", **SHIFTED)
    axes.set_xticks(range(len(series)), [look.title.replace(" ", "\n", 1) for look, _ in series])
    axes.set_ylabel("score: spread of relative deviations\nfrom the expected contribution")
    axes.set_xlim(-0.55, len(series) - 0.45)
    axes.set_ylim(0, 1.06 * top if top else 1)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    handles: list[Artist] = [
        Patch(facecolor=style.GROUPING_HUES[k].light, label=GROUPING_NAMES.get(k, k)) for k in kinds
    ]
    if any("shifted" in data for _, data in series):
        handles.append(Line2D([], [], linestyle="", marker="D", label="same regions,\nmoved elsewhere", **SHIFTED))
    beside(axes, handles=handles, title="regions", alignment="left")
    return figure


def box(axes: Axes, values: Array, x: float, width: float, colour: str) -> float:
    """Draw a box and return the height of its upper whisker."""
    drawn = axes.boxplot(
        [values],
        positions=[x],
        widths=0.78 * width,
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.85},
        medianprops={"color": style.PAPER.light, "linewidth": 1.4},
        whiskerprops={"color": colour},
        capprops={"color": colour},
    )
    return float(max(np.max(line.get_ydata()) for line in drawn["whiskers"]))


@style.styled
def pixels_per_neuron(panels: Panels) -> Figure:
    """Share of the frame that each neuron represents, neurons sorted layer by layer (Fig. 6).

    Args:
        panels: what :func:`xinc.findings.section4.distribution.pixels_per_neuron` returns.
    """
    figure = style.new_figure(3.9 if style.is_phone() else 3.1)
    axes = figure.subplots()
    for look, data in looks(panels):
        x, y = 100 * data["position"].values, 100 * data["sorted_share"].values
        axes.plot(x, y, color=look.colour, linestyle=look.dash, label=look.title)
    axes.set_xlabel("neurons of the layer, sorted (%)")
    axes.set_ylabel("pixels above an even share, 1 / K (%)")
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.grid()
    beside(axes)
    return figure


@style.styled
def sorted_contributions(panels: Panels) -> Figure:
    """All contributions of a layer in descending order, relative to the largest (Fig. 18).

    Args:
        panels: what :func:`xinc.findings.section4.distribution.neurons_per_pixel` returns.
    """
    figure = style.new_figure(3.9 if style.is_phone() else 3.1)
    axes = figure.subplots()
    for look, data in looks(panels):
        curve = data["curve"].values
        peak = max(float(curve.max(initial=0.0)), np.finfo(float).tiny)
        axes.plot(100 * data["position"].values, curve / peak, color=look.colour, linestyle=look.dash, label=look.title)
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    broken = "\n" if style.is_phone() else " "
    axes.set_xlabel(f"contributions of all neurons to all pixels,{broken}in descending order (%)")
    axes.set_ylabel("|contribution|,\nshare of the largest")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 1.2)
    axes.grid()
    beside(axes)
    return figure


@style.styled
def training(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """PSNR against epochs and against time.

    Args:
        histories: network's title to its history with the columns ``epoch``, ``psnr`` (dB) and ``seconds``.
    """
    stacked = style.is_phone()
    figure = style.new_figure(4.2 if stacked else 2.5)
    by_epoch, by_time = figure.subplots(*((2, 1) if stacked else (1, 2)), sharey=True)
    for i, (network, history) in enumerate(histories.items()):
        look = {"color": style.CATEGORICAL[i].light, "linestyle": style.DASHES[i % len(style.DASHES)], "label": network}
        by_epoch.plot(history["epoch"], history["psnr"], **look)
        by_time.plot(history["seconds"], history["psnr"], **look)
    by_epoch.set(xlabel="epoch", ylabel="PSNR (dB)")
    by_time.set(xlabel="time (s)")
    for axes in (by_epoch, by_time):
        axes.grid()
        axes.set_xlim(left=0)
    if len(histories) > 1:
        beside(by_time)
    return figure


@style.styled
def psnr_by_frame(values: Mapping[str, Sequence[float]]) -> Figure:
    """PSNR of every frame.

    Args:
        values: network's title to one PSNR (dB) a frame.
    """
    figure = style.new_figure(2.2)
    axes = figure.subplots()
    for i, (network, psnr) in enumerate(values.items()):
        axes.plot(range(len(psnr)), psnr, color=style.CATEGORICAL[i].light, marker=".", label=network)
    axes.set(xlabel="frame", ylabel="PSNR (dB)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid()
    if len(values) > 1:
        beside(axes)
    return figure
