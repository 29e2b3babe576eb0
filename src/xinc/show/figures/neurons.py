"""Figures of single neurons: shares of instances (Fig. 8) and vectors in two dimensions (Fig. 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch

from xinc.show import style
from xinc.show.figures.maps import MAP
from xinc.show.figures.sheet import Array, Cell, Panels, picture, spoken, stretched

if TYPE_CHECKING:
    import xarray as xr

NAMED = 9
"""Categories with a colour or marker of their own; the rest is grey."""


def category_looks(categories: Sequence[str], areas: Array) -> dict[str, str]:
    """A colour a category, the largest categories first; grey for those beyond the palette."""
    size: dict[str, float] = {}
    for category, area in zip(categories, areas, strict=True):
        size[category] = size.get(category, 0.0) + float(area)
    hues = [h.light for h in style.CATEGORICAL if h is not style.GREY]
    ordered = sorted(size, key=lambda c: (-size[c], c))
    return {c: hues[i] if i < len(hues) else style.GREY.light for i, c in enumerate(ordered)}


@style.styled
def instances(panels: Panels) -> Figure:
    """What sampled neurons of each layer give to the instances of one frame (Fig. 8, left).

    Args:
        panels: what :func:`xinc.findings.objects.objects` returns; of each rule the first neuron is drawn.
    """
    series = [(network, name, data) for network, layers in panels.items() for name, data in layers.items()]
    figure = style.new_figure(3.2 if len(series) <= 4 else 5.4)
    columns = min(len(series), 4)
    grid = figure.subplots(-(-len(series) // columns), columns, sharey=True, squeeze=False)
    first = series[0][2]
    looks = category_looks([str(c) for c in first["category"].values], first["area"].values)
    for axes, (network, name, data) in zip(grid.flat, series, strict=False):
        picks = _picks(data)
        for x, (_, neuron) in enumerate(picks):
            _dots(axes, data, data["share"].sel(neuron=neuron).values, x, looks)
        axes.set_title(f"{network} {spoken(name)}")
        axes.set_xticks(range(len(picks)), [f"{rule}\n#{neuron}" for rule, neuron in picks])
        axes.set_xlim(-0.5, len(picks) - 0.5)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
    for axes in grid.flat[len(series) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("share of the mean\ncontribution (%)")
    _category_legend(figure, looks)
    return figure


def _picks(data: xr.Dataset) -> list[tuple[str, int]]:
    """A neuron a rule; the second of "different", whose first is the strongest."""
    chosen = data["chosen"].isel(frame=0) if "frame" in data["chosen"].dims else data["chosen"]
    picks = [
        (str(rule), [int(k) for k in row if k >= 0]) for rule, row in zip(data["rule"].values, chosen, strict=True)
    ]
    return [(rule, own[min(rule == "different", len(own) - 1)]) for rule, own in picks if own]


def _dots(axes: Axes, data: xr.Dataset, shares: Array, x: float, looks: Mapping[str, str]) -> None:
    counts: dict[str, int] = {}
    categories = [str(c) for c in data["category"].values]
    offsets = np.linspace(-0.28, 0.28, max(len(categories), 2))
    for i, (category, share) in enumerate(zip(categories, shares, strict=True)):
        marker = style.MARKERS[counts.get(category, 0) % len(style.MARKERS)]
        counts[category] = counts.get(category, 0) + 1
        if np.isfinite(share):
            axes.plot(x + offsets[i], 100 * share, marker, color=looks[category], markersize=4.2, alpha=0.9)


def _category_legend(figure: Figure, looks: Mapping[str, str]) -> None:
    named = [c for c, colour in looks.items() if colour != style.GREY.light]
    handles = [Line2D([], [], linestyle="", marker="o", color=looks[c], label=c) for c in named]
    if len(named) < len(looks):
        label = f"{len(looks) - len(named)} others"
        handles.append(Line2D([], [], linestyle="", marker="o", color=style.GREY.light, label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), handletextpad=0.2)


@style.styled
def instances_over_time(panels: Panels) -> Figure:
    """What two sampled neurons of each layer give to the instances, frame by annotated frame (Fig. 8, right).

    Args:
        panels: Datasets with ``share (frame, neuron, region)`` and the coordinates ``category`` and ``area``.
    """
    series = [(f"{n} {spoken(k)}", d) for n, layers in panels.items() for k, d in layers.items()]
    figure = style.new_figure(2.4 * len(series) + 0.5)
    grid = figure.subplots(len(series), 2, sharex=True, squeeze=False)
    first = series[0][1]
    area = first["area"].values
    looks = category_looks([str(c) for c in first["category"].values], area.mean(axis=0) if area.ndim > 1 else area)
    for row, (title, data) in zip(grid, series, strict=True):
        for axes, (rule, neuron) in zip(row, _picks(data)[:2], strict=False):
            counts: dict[str, int] = {}
            for region, category in enumerate(str(c) for c in data["category"].values):
                marker = style.MARKERS[counts.get(category, 0) % len(style.MARKERS)]
                counts[category] = counts.get(category, 0) + 1
                values = 100 * data["share"].sel(neuron=neuron).isel(region=region).values
                axes.plot(data["frame"].values, values, marker=marker, markersize=3.5, lw=1.1, color=looks[category])
            axes.set_title(f"{title}, {rule} neuron #{neuron}")
            axes.set_ylim(bottom=0)
            axes.grid()
        row[0].set_ylabel("share of the mean\ncontribution (%)")
    for axes in grid[-1]:
        axes.set_xlabel("frame")
    _category_legend(figure, looks)
    return figure


@style.styled
def umap(data: xr.Dataset, maps: Mapping[tuple[str, int], Array], title: str = "") -> Figure:
    """Neurons as points, like ones near each other, with the maps of some of them (Fig. 10).

    Args:
        data: what :func:`xinc.findings.clusters.embed` returns, with ``member`` and ``index`` of each neuron.
        maps: ``(member, index)`` to ``(H, W)``, for the neurons whose maps are shown: at most ten, an even number.
        title: above the points.
    """
    figure = style.new_figure(4.6)
    figure.set_layout_engine("none")
    centre = figure.add_axes((0.26, 0.1, 0.48, 0.82))
    members = list(dict.fromkeys(str(m) for m in data["member"].values))
    position = data["position"].values
    for i, member in enumerate(members):
        own = data["member"].values.astype(str) == member
        look: dict[str, Any] = {"color": style.CATEGORICAL[i % len(style.CATEGORICAL)].light, "label": member}
        centre.scatter(
            position[own, 0], position[own, 1], s=9, alpha=0.75, linewidths=0, marker=style.MARKERS[i % 10], **look
        )
    centre.set(xlabel="UMAP 1 (no unit)", ylabel="UMAP 2 (no unit)", title=title)
    centre.set_xticks([])
    centre.set_yticks([])
    if len(members) > 1:
        centre.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=min(4, len(members)), handletextpad=0.1)
    _thumbnails(figure, centre, data, maps)
    return figure


def _thumbnails(figure: Figure, centre: Axes, data: xr.Dataset, maps: Mapping[tuple[str, int], Array]) -> None:
    """Maps in two columns beside the points, each joined to its point; sorted so that the lines do not cross."""
    members, indices = data["member"].values.astype(str), data["index"].values
    found = []
    for (member, index), image in maps.items():
        where = np.flatnonzero((members == member) & (indices == index))
        if where.size:
            found.append((data["position"].values[where[0]], f"{member} #{index}", image))
    found.sort(key=lambda item: float(item[0][0]))
    half = len(found) // 2
    for side, column in ((0, found[:half]), (1, found[half:])):
        column.sort(key=lambda item: -float(item[0][1]))
        height = 0.92 / max(len(column), 1)
        for i, (point, name, image) in enumerate(column):
            box = (0.01 if side == 0 else 0.77, 0.96 - (i + 1) * height, 0.22, height * 0.8)
            axes = figure.add_axes(box, anchor="E" if side == 0 else "W")
            picture(axes, Cell(stretched(np.abs(image)), "", MAP))
            axes.set_axis_off()
            axes.set_title(name, pad=2, fontsize=7.5)
            end = (image.shape[1] - 0.5 if side == 0 else -0.5, image.shape[0] / 2)
            line = ConnectionPatch(
                xyA=end,
                coordsA=axes.transData,
                xyB=tuple(point),
                coordsB=centre.transData,
                color=style.MUTED.light,
                lw=0.6,
            )
            figure.add_artist(line)
            centre.plot(*point, "o", mfc="none", mec=style.INK.light, ms=6, mew=0.9)
