"""What neurons do together: a layer's principal contributions, and how many hold its energy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from xinc.notation import Array
from xinc.show import style
from xinc.show.figures.curves import beside, looks
from xinc.show.figures.maps import distinct
from xinc.show.figures.sheet import Panels, Strip, Tile, around_grey, sheet, spoken


@style.styled
def principal(panels: Panels, frames: Mapping[str, Array]) -> Figure:
    """Each layer's principal contributions as signed colours: grey is nothing, each stretched to its greatest value.

    Args:
        panels: what :func:`xinc.findings.together.together.together` returns.
        frames: each network's frame, ``(H, W, 3)`` in [0, 1].
    """
    rows = [Strip([Tile(frame, "frame")]) for frame in distinct(frames[network] for network in panels)]
    for network, layers in panels.items():
        for name, data in layers.items():
            pictures = data["principal"].transpose("component", "y", "x", "colour").values
            held = np.interp(np.arange(1, len(pictures) + 1), data["rank"].values, data["held"].values)
            shares = np.diff(held, prepend=0)
            cells = [
                Tile(around_grey(image), f"{100 * share:.0f} % of the energy")
                for image, share in zip(pictures, shares, strict=True)
            ]
            rows.append(Strip(cells, f"{network}\n{spoken(name)}"))
    return sheet(rows)


@style.styled
def energy_held(panels: Panels) -> Figure:
    """Share of a layer's energy that its first principal contributions hold, against their number.

    Args:
        panels: as :func:`principal`.
    """
    figure = style.new_figure(3.6 if style.is_phone() else 2.8)
    axes = figure.subplots()
    for look, data in looks(panels):
        axes.plot(data["rank"].values, data["held"].values, color=look.colour, linestyle=look.dash, label=look.title)
        axes.plot(float(data["components_95"]), 0.95, "o", color=look.colour, markersize=4)
    axes.axhline(0.95, color=style.FAINT.light, linewidth=0.8)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="principal contributions", ylabel="share of the energy")
    axes.xaxis.set_major_formatter("{x:g}")  # powers of ten would be set as mathematics
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    beside(axes)
    return figure
