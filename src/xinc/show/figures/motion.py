"""Fluctuation of contributions beside optical flow, with the flow's colour wheel (Fig. 9)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xinc.notation import Array
from xinc.show import style
from xinc.show.figures.sheet import Panels, Scale, Strip, Tile, sheet, signed, spoken, stretched

FLUCTUATION = Scale(style.CONTRIBUTION, 0.0, 1.0, "change of |contribution| since the frame before, least to greatest")
WHEEL = 0.62
"""Diameter of the colour wheel in inches."""


def flow_colours(velocity: Array, fastest: float) -> NDArray[np.float64]:
    """Flow as colours: hue is the direction, saturation the speed, white stands still.

    Args:
        velocity: ``(2, H, W)``, x to the right and y downwards, in pixels a frame.
        fastest: speed of full saturation.

    Returns:
        ``(H, W, 3)`` in [0, 1].
    """
    x, y = np.asarray(velocity, dtype=np.float64)
    hue = (np.arctan2(-y, x) / (2 * np.pi)) % 1.0
    saturation = np.clip(np.hypot(x, y) / (fastest or 1.0), 0, 1)
    return np.asarray(hsv_to_rgb(np.stack([hue, saturation, np.ones_like(hue)], axis=-1)))


def colour_wheel(pixels: int = 96) -> NDArray[np.float64]:
    """The legend of :func:`flow_colours`, ``(pixels, pixels, 4)``: the colour of each direction and speed in a disc."""
    y, x = np.mgrid[-1 : 1 : pixels * 1j, -1 : 1 : pixels * 1j]
    colours = flow_colours(np.stack([x, y]), 1.0)
    return np.dstack([colours, np.clip((1 - np.hypot(x, y)) * pixels / 2, 0, 1)])


@style.styled
def motion(panels: Panels, frames: Mapping[str, Array]) -> Figure:
    """Optical flow and where each layer's contributions change (Fig. 9).

    Args:
        panels: a row's title to what :func:`xinc.findings.section4.motion.motion` returns for each layer.
        frames: the later frame of each row, ``(H, W, 3)`` in [0, 1].
    """
    first = [next(iter(layers.values())) for layers in panels.values()]
    fastest = float(np.quantile(np.concatenate([d["speed"].values.ravel() for d in first]), 0.995)) or 1.0
    rows = []
    for title, layers in panels.items():
        data = next(iter(layers.values()))
        flow = Tile(flow_colours(data["velocity"].values, fastest), f"flow · {data.attrs['flow']}")
        changes = [
            Tile(
                stretched(d["fluctuation"].values), f"{spoken(n)} · r = {signed(float(d['correlation']))}", FLUCTUATION
            )
            for n, d in layers.items()
        ]
        rows.append(Strip([Tile(np.asarray(frames[title]), "frame"), flow, *changes], title))
    figure = sheet(rows, foot=WHEEL + (1.0 if style.is_phone() else 0.1))  # below the bar, or beside it
    _legend(figure, fastest)
    return figure


def _legend(figure: Figure, fastest: float) -> None:
    """The wheel in the lower right corner, with the speed of its rim."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1 - (WHEEL + 1.35) / width, 0.02 / height, WHEEL / width, WHEEL / height))
    axes.imshow(colour_wheel(), interpolation="none")
    axes.set_axis_off()
    figure.text(
        1 - 1.27 / width,
        (0.02 + WHEEL / 2) / height,
        f"flow: direction;\nrim: {fastest:.1f} pixels\na frame or more",
        va="center",
        linespacing=1.3,
    )
