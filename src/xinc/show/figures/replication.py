"""The paper's claims as pictures: a sheet of verdicts, and every value with its interval beside the paper's range."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from xinc.findings.replication.claims import Claim
from xinc.findings.replication.verdicts import Case, by_claim
from xinc.models.families import title_of
from xinc.show import style
from xinc.show.figures.sheet import spoken

MARKS: Mapping[str, tuple[str, style.Hue]] = {
    "holds": ("o", style.GREEN),
    "fails": ("X", style.RUST),
    "undecided": ("_", style.MUTED),
    "no data": ("", style.FAINT),
}
"""Verdict to marker and colour: told apart by shape alone."""
COLUMNS, PANEL_TOP, ROW, PANEL_FOOT = 3, 0.5, 0.2, 0.56
"""Panels side by side; inches above a panel's rows, of a row, and below them."""


def name_of(case: Case) -> str:
    """A case's layer as it is spoken: ``"NeRV block 3"``."""
    return f"{title_of(case.model)} {spoken(case.layer)}"


def methods_of(found: Sequence[Case]) -> list[str]:
    """All methods of some cases, in order."""
    return list(dict.fromkeys(method for case in found for method in case.rows))


@style.styled
def verdicts(found: Sequence[Case]) -> Figure:
    """One line a claim, one column a layer, one mark a method."""
    groups, methods = list(by_claim(found)), methods_of(found)
    layers = list(dict.fromkeys(sorted((name_of(case) for case in found), key=lambda name: name.split(" ")[0])))
    words = [textwrap.wrap(_sentence(claim, groups), 58) for claim, _ in groups]
    heights = [0.13 + 0.145 * len(lines) for lines in words]
    figure = style.new_figure(0.85 + sum(heights), style.WIDTH)
    figure.set_layout_engine("none")
    left, top, down = 3.95, 0.45, 0.85 + sum(heights)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, style.WIDTH), ylim=(down, 0))
    step = (style.WIDTH - left) / len(layers)
    for i, name in enumerate(layers):
        axes.text(left + (i + 0.5) * step, top - 0.08, name.replace(" ", "\n", 1), ha="center", va="bottom")
    y = top
    for (_, cases), lines, height in zip(groups, words, heights, strict=True):
        axes.plot([0.05, style.WIDTH - 0.05], [y, y], color=style.FAINT.light, linewidth=0.7)
        axes.text(0.05, y + height / 2, "\n".join(lines), va="center", linespacing=1.2)
        for case in cases:
            middle = left + (layers.index(name_of(case)) + 0.5) * step
            for j, method in enumerate(methods):
                if method in case.rows:
                    marker, hue = MARKS[case.rows[method]["verdict"]]
                    x = middle + (j - (len(methods) - 1) / 2) * min(0.15, step / (len(methods) + 0.5))
                    axes.plot(x, y + height / 2, marker, color=hue.light, markersize=6, markeredgewidth=_edge(marker))
        y += height
    axes.plot([0.05, style.WIDTH - 0.05], [y, y], color=style.FAINT.light, linewidth=0.7)
    handles = [
        Line2D([], [], linestyle="", marker=m, color=hue.light, markersize=6, markeredgewidth=_edge(m), label=verdict)
        for verdict, (m, hue) in MARKS.items()
        if m
    ]
    order = f"marks of a layer, from left to right: {', '.join(methods)}"
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, (down - y) / down), ncols=3)
    axes.text(style.WIDTH - 0.05, y + 0.2, order, ha="right", va="center", color=style.MUTED.light)
    return figure


def _edge(marker: str) -> float:
    return 2.0 if marker == "_" else 0.0


def _sentence(claim: Claim, groups: Sequence[tuple[Claim, list[Case]]]) -> str:
    """The claim; with what is measured where two statistics decide the same claim."""
    alike = [other for other, _ in groups if other.text == claim.text]
    return claim.text if len(alike) == 1 else f"{claim.text} ({claim.statistic})"


@style.styled
def forest(found: Sequence[Case]) -> Figure:
    """One panel a claim: values by layer and method with their intervals; the paper's range is shaded."""
    groups, methods = list(by_claim(found)), methods_of(found)
    rows = [groups[i : i + COLUMNS] for i in range(0, len(groups), COLUMNS)]
    tall = [ROW * max(len(cases) for _, cases in row) for row in rows]
    down = 0.35 + sum(tall) + len(rows) * (PANEL_TOP + PANEL_FOOT)
    figure = style.new_figure(down, style.WIDTH)
    figure.set_layout_engine("none")
    width, label = style.WIDTH / COLUMNS, 0.88
    y = 0.35
    for row, height in zip(rows, tall, strict=True):
        y += PANEL_TOP
        for column, (claim, cases) in enumerate(row):
            own = ROW * len(cases)
            box = (column * width + label, down - y - own, width - label - 0.15, own)
            axes = figure.add_axes((box[0] / style.WIDTH, box[1] / down, box[2] / style.WIDTH, box[3] / down))
            _panel(axes, claim, cases, methods)
            x = (column * width + 0.05) / style.WIDTH
            title, measured = (
                textwrap.fill(words, width) for words, width in ((claim.text, 40), (claim.statistic, 52))
            )
            figure.text(x, 1 - (y - 0.07) / down, title, va="bottom", linespacing=1.2)
            small: Any = {"fontsize": 6.5, "color": style.MUTED.light, "linespacing": 1.2}
            figure.text(x, 1 - (y + own + 0.2) / down, measured, va="top", **small)
        y += height + PANEL_FOOT
    handles: list[Artist] = [
        Line2D([], [], linestyle="-", marker=style.MARKERS[i], color=hue.light, markersize=4, label=method)
        for i, (method, hue) in enumerate(zip(methods, style.CATEGORICAL, strict=False))
    ]
    handles.append(Patch(facecolor=style.FAINT.light, label="where the paper puts it"))
    figure.legend(handles=handles, loc="upper left", ncols=len(handles), borderaxespad=0.4)
    return figure


def _panel(axes: Axes, claim: Claim, cases: Sequence[Case], methods: Sequence[str]) -> None:
    low, high = _reach(claim, cases)
    shaded = (max(claim.paper.low, low), min(claim.paper.high, high))
    axes.axvspan(*shaded, color=style.FAINT.light, linewidth=0, zorder=0)
    for i, case in enumerate(cases):
        for j, (method, hue) in enumerate(zip(methods, style.CATEGORICAL, strict=False)):
            if method in case.rows:
                row, y = case.rows[method], i + (j - (len(methods) - 1) / 2) * 0.24
                look: Any = {"color": hue.light, "linewidth": 1.4}
                if row["low"] is not None:
                    axes.plot([row["low"], row["high"]], [y, y], **look)
                axes.plot(row["value"], y, style.MARKERS[j], color=hue.light, markersize=4)
    axes.set(xlim=(low, high), ylim=(len(cases) - 0.45, -0.55))
    axes.set_yticks(range(len(cases)), [name_of(case) for case in cases])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def _reach(claim: Claim, cases: Sequence[Case]) -> tuple[float, float]:
    """The ends of a panel's axis: all intervals, the ends of the paper's range, and a margin."""
    rows = [row for case in cases for row in case.rows.values()]
    ends = [row[key] for row in rows for key in ("value", "low", "high") if row[key] is not None]
    ends += [end for end in (claim.paper.low, claim.paper.high) if math.isfinite(end)]
    margin = 0.06 * (max(ends) - min(ends)) or 0.5
    return min(ends) - margin, max(ends) + margin
