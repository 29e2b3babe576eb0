"""Figures of single neurons: shares of instances (Fig. 8) and vectors in two dimensions (Fig. 10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from matplotlib.ticker import FixedLocator, MaxNLocator

from xinc.notation import Array, neuron_name
from xinc.show import style
from xinc.show.figures.maps import MAP
from xinc.show.figures.sheet import Panels, Tile, picture, spoken, stretched

if TYPE_CHECKING:
    import xarray as xr

SHARES = (0, 1, 5, 10, 20, 40, 60, 80, 100)
"""Marks of an axis of shares, in per cent."""


@dataclass(frozen=True)
class Mark:
    """How a category is drawn."""

    colour: str
    filled: bool = True

    @property
    def face(self) -> str:
        """Colour inside a marker."""
        return self.colour if self.filled else style.PAPER.light


REST = Mark(style.GREY.light)
"""Categories for which no colour is left."""


def category_marks(categories: Sequence[str], areas: Array) -> dict[str, Mark]:
    """A colour a category, filled or open: first those of several instances, then by area; the rest is grey."""
    counts, size = Counter(categories), dict.fromkeys(categories, 0.0)
    for category, area in zip(categories, areas, strict=True):
        size[category] += float(area)
    hues = [h.light for h in style.CATEGORICAL if h is not style.GREY]
    marks = [Mark(hue, filled) for filled in (True, False) for hue in hues]
    ordered = sorted((c for c in size if size[c] > 0), key=lambda c: (counts[c] < 2, -size[c], c))
    return {c: marks[i] if i < len(marks) else REST for i, c in enumerate(ordered)}


def _share_axes(together: Sequence[Axes]) -> None:
    """Shares of none to all in even steps of their square root: one large share does not hide the small ones."""
    values = [np.asarray(line.get_ydata(), dtype=float) for axes in together for line in axes.lines]
    top = max((float(y[np.isfinite(y)].max(initial=0)) for y in values), default=0) or 100.0
    for axes in together:
        axes.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
        axes.yaxis.set_major_locator(FixedLocator(SHARES))
        axes.set_ylim(0, 1.1 * top)
        axes.grid(axis="y")


@style.styled
def instances(panels: Panels) -> Figure:
    """What sampled neurons of each layer give to the instances of one frame (Fig. 8, left).

    Args:
        panels: what :func:`xinc.findings.section4.objects.objects` returns; of each rule one neuron is drawn.
    """
    series = [(network, name, data) for network, layers in panels.items() for name, data in layers.items()]
    columns = 1 if style.is_phone() else min(len(series), 4)
    rows = -(-len(series) // columns)
    figure = style.new_figure(3.2 * rows if rows < 2 else 2.6 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    first = series[0][2]
    marks = category_marks([str(c) for c in first["category"].values], first["area"].values)
    for axes, (network, name, data) in zip(grid.flat, series, strict=False):
        picks = _picks(data)
        for x, (_, neuron) in enumerate(picks):
            _dots(axes, data, data["share"].sel(neuron=neuron).values, x, marks)
        axes.set_title(f"{network} {spoken(name)}")
        axes.set_xticks(range(len(picks)), [f"{rule}\n{_named(data, neuron)}" for rule, neuron in picks])
        axes.set_xlim(-0.5, len(picks) - 0.5)
        axes.tick_params(axis="x", labelsize=6.6)
    _share_axes(list(grid.flat[: len(series)]))
    for axes in grid.flat[len(series) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("share of the mean\ncontribution (%)")
    _category_legend(figure, marks)
    return figure


def _picks(data: xr.Dataset) -> list[tuple[str, int]]:
    """A neuron a rule, another one for each; not the first of "different", which is the strongest."""
    chosen = data["chosen"].isel(frame=0) if "frame" in data["chosen"].dims else data["chosen"]
    picks: dict[str, int] = {}
    for rule, row in zip(data["rule"].values, chosen.values, strict=True):
        own = [int(k) for k in row if k >= 0]
        fresh = [k for k in own[rule == "different" :] if k not in picks.values()] or own
        if fresh:
            picks[str(rule)] = fresh[0]
    return list(picks.items())


def _named(data: xr.Dataset, neuron: int) -> str:
    row = data.sel(neuron=neuron)
    return neuron_name(neuron, (int(row["input"]), int(row["output"])))


def _markers(data: xr.Dataset, marks: Mapping[str, Mark]) -> Iterator[tuple[int, Mark, str]]:
    """Region, look and shape of each instance: the instances of a category share the look and differ in shape."""
    counts: Counter[str] = Counter()
    for region, category in enumerate(str(c) for c in data["category"].values):
        yield region, marks.get(category, REST), style.MARKERS[counts[category] % len(style.MARKERS)]
        counts[category] += 1


def _dots(axes: Axes, data: xr.Dataset, shares: Array, x: float, marks: Mapping[str, Mark]) -> None:
    offsets = np.linspace(-0.3, 0.3, max(len(shares), 2))
    for region, mark, shape in _markers(data, marks):
        if np.isfinite(shares[region]):
            look: dict[str, Any] = {"mec": mark.colour, "mfc": mark.face, "mew": 0.9, "ms": 4.2, "alpha": 0.9}
            axes.plot(x + offsets[region], 100 * shares[region], shape, **look)


def _category_legend(figure: Figure, marks: Mapping[str, Mark]) -> None:
    named = {c: mark for c, mark in marks.items() if mark != REST}
    if len(named) < len(marks):
        named[f"{len(marks) - len(named)} others"] = REST
    handles = [Line2D([], [], ls="", marker="o", mec=m.colour, mfc=m.face, label=c) for c, m in named.items()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 3 if style.is_phone() else 6),
        handletextpad=0.2,
    )


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
    marks = category_marks([str(c) for c in first["category"].values], area.mean(axis=0) if area.ndim > 1 else area)
    for row, (title, data) in zip(grid, series, strict=True):
        for axes, (rule, neuron) in zip(row, _picks(data)[:2], strict=False):
            shares = 100 * data["share"].sel(neuron=neuron).transpose("frame", "region").values
            for region, mark, shape in _markers(data, marks):
                look: dict[str, Any] = {"color": mark.colour, "mfc": mark.face, "ms": 3.5, "lw": 1.1}
                axes.plot(data["frame"].values, shares[:, region], marker=shape, **look)
            broken = "\n" if style.is_phone() else " "
            axes.set_title(f"{title},{broken}{rule} neuron {_named(data, neuron)}")
            _share_axes([axes])
            axes.grid(axis="x")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        row[0].set_ylabel("share of the mean\ncontribution (%)")
    for axes in grid[-1]:
        axes.set_xlabel("frame")
    _category_legend(figure, marks)
    return figure


@style.styled
def umap(data: xr.Dataset, maps: Mapping[tuple[str, int], Array], title: str = "") -> Figure:
    """Neurons as points, like ones near each other, with the maps of some of them (Fig. 10).

    Args:
        data: what :func:`xinc.findings.section4.clusters.embed` returns, with ``member`` and ``index`` of each neuron.
        maps: ``(member, index)`` to ``(H, W)``, for the neurons whose maps are shown: at most ten, an even number.
        title: above the points.
    """
    figure = style.new_figure(4.6, style.WIDTH)
    figure.set_layout_engine("none")
    centre = figure.add_axes((0.26, 0.1, 0.48, 0.82))
    members = list(dict.fromkeys(data["member"].values.astype(str).tolist()))
    _points(centre, data, members, size=9)
    centre.set(xlabel="the two dimensions of UMAP have no unit", title=title)
    centre.spines["left"].set_visible(False)
    if len(members) > 1:
        centre.legend(loc="lower center", bbox_to_anchor=(0.5, 1.04), ncols=min(4, len(members)), handletextpad=0.1)
    _thumbnails(figure, centre, data, maps)
    return figure


def _points(axes: Axes, data: xr.Dataset, members: Sequence[str], size: float) -> None:
    """A colour and a shape a member, in the order of ``members``; those with few neurons lie on top."""
    names, position = data["member"].values.astype(str), data["position"].values
    for i, member in enumerate(members):
        own = names == member
        look: dict[str, Any] = {"color": style.CATEGORICAL[i % len(style.CATEGORICAL)].light, "zorder": 3 - own.mean()}
        look |= {"marker": style.MARKERS[i % len(style.MARKERS)], "label": member, "alpha": 0.75, "linewidths": 0}
        axes.scatter(position[own, 0], position[own, 1], s=size, **look)
    axes.set_xticks([])
    axes.set_yticks([])


@style.styled
def umap_layers(panels: Panels) -> Figure:
    """Neurons of all layers of each network as points, coloured by layer (Fig. 10, over layers).

    Args:
        panels: network to the one Dataset of its layers, as :meth:`xinc.findings.section4.layouts.Layout.make` returns
            it, at one frame.
    """
    columns = 1 if style.is_phone() else min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = style.new_figure(4.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (network, layers) in zip(grid.flat, panels.items(), strict=False):
        (data,) = layers.values()
        names = data["member"].values.astype(str)
        outermost_first = list(dict.fromkeys(names[::-1].tolist()))
        _points(axes, data, outermost_first, size=6)
        axes.set(xlabel="UMAP 1", ylabel="UMAP 2", title=f"{network}, {len(names)} neurons")
        handles, _ = axes.get_legend_handles_labels()
        labels = [f"{spoken(name)} ({(names == name).sum()})" for name in outermost_first]
        axes.legend(
            handles,
            labels,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.07),
            ncols=min(4, len(labels)),
            handletextpad=0.1,
            markerscale=2,
        )
    return figure


def _thumbnails(figure: Figure, centre: Axes, data: xr.Dataset, maps: Mapping[tuple[str, int], Array]) -> None:
    """Maps in two columns beside the points, each joined to its point; sorted so that the lines do not cross."""
    members, indices = data["member"].values.astype(str), data["index"].values
    alone, found = len(set(members.tolist())) == 1, []
    for (member, index), image in maps.items():
        where = np.flatnonzero((members == member) & (indices == index))
        if where.size:
            kernel = (int(data["input"].values[where[0]]), int(data["output"].values[where[0]]))
            name = neuron_name(index, kernel)
            found.append((data["position"].values[where[0]], name if alone else f"{spoken(member)} {name}", image))
    found.sort(key=lambda item: float(item[0][0]))
    half = len(found) // 2
    for side, column in ((0, found[:half]), (1, found[half:])):
        column.sort(key=lambda item: -float(item[0][1]))
        height = 0.92 / max(len(column), 1)
        for i, (point, name, image) in enumerate(column):
            box = (0.01 if side == 0 else 0.77, 0.96 - (i + 1) * height, 0.22, height * 0.8)
            axes = figure.add_axes(box, anchor="E" if side == 0 else "W")
            picture(axes, Tile(stretched(np.abs(image)), "", MAP))
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
