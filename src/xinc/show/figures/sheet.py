"""Pictures in rows, placed to the hundredth of an inch, with one colour bar for each scale that they use."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xinc.notation import Array
from xinc.notation import spoken as spoken
from xinc.show import style

if TYPE_CHECKING:
    import xarray as xr

Panels = Mapping[str, Mapping[str, "xr.Dataset"]]
"""Network's title to layer's name to the layer's Dataset, outermost layer first."""

LARGEST = 512
"""Pictures wider than this many pixels are averaged down: a cell is never shown wider."""

GAP, TITLE, LINE, CHARACTER = 0.09, 0.21, 0.15, 0.075
"""Inches: between pictures, above one with a title, a line of text, a character of it."""


@dataclass(frozen=True)
class Scale:
    """How numbers become colours.

    Attributes:
        colours: the colour map.
        low: value of the first colour.
        high: value of the last colour.
        label: quantity and unit, written below the colour bar.
        ends: words for the two ends of the bar, in place of numbers.
    """

    colours: style.Colours
    low: float
    high: float
    label: str
    ends: tuple[str, str] | None = None

    def norm(self) -> Normalize:
        """The scale as matplotlib takes it; a scale without extent still has one colour for its value."""
        return Normalize(self.low, self.high if self.high > self.low else self.low + 1)


@dataclass(frozen=True)
class Tile:
    """One picture.

    Attributes:
        image: ``(H, W)`` numbers for ``scale``, or ``(H, W, 3)`` colours in [0, 1].
        title: above it.
        scale: of numbers; of colours one that explains them, or None.
    """

    image: Array
    title: str = ""
    scale: Scale | None = None


@dataclass(frozen=True)
class Strip:
    """Pictures side by side; None leaves a place empty.

    Attributes:
        cells: from left to right.
        label: to the left of them; lines are broken by hand.
    """

    cells: Sequence[Tile | None]
    label: str = ""


def shrunk(image: Array, largest: int = LARGEST) -> Array:
    """A picture no wider and no higher than ``largest`` pixels, averaged over areas."""
    height, width = image.shape[:2]
    factor = max(height, width) / largest
    if factor <= 1:
        return image
    import cv2

    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(cv2.resize(np.ascontiguousarray(image, dtype=np.float32), size, interpolation=cv2.INTER_AREA))


def stretched(image: Array) -> Array:
    """Moved to [0, 1] from the least to the greatest value; zeros where all are equal."""
    image = np.asarray(image, dtype=np.float64)
    low, high = float(image.min()), float(image.max())
    return (image - low) / (high - low) if high > low else np.zeros_like(image)


def around_grey(image: Array) -> Array:
    """Signed colours ``(H, W, C)`` as a picture: grey is nothing, brighter adds, up to the greatest value."""
    colours = np.repeat(image, 3, 2) if image.shape[2] == 1 else image[..., :3]
    return np.asarray(0.5 + 0.5 * colours / max(float(np.abs(colours).max(initial=0)), 1e-30))


def signed(value: float, form: str = ".2f") -> str:
    """A number with a proper minus sign; a dash where it is undefined."""
    return format(value, form).replace("-", "\u2212") if np.isfinite(value) else "\u2013"


def picture(axes: Axes, cell: Tile, extent: tuple[float, float, float, float] | None = None) -> None:
    """Draw one picture, where it is said: left, right, bottom and top in the axes' own numbers; else in pixels."""
    image = shrunk(cell.image)
    if cell.scale is None or image.ndim == 3:
        axes.imshow(np.clip(image, 0, 1), extent=extent, interpolation="none", aspect="auto" if extent else "equal")
    else:
        axes.imshow(
            image,
            cmap=cell.scale.colours.name,
            norm=cell.scale.norm(),
            extent=extent,
            interpolation="none",
            aspect="auto" if extent else "equal",
        )


def sheet(rows: Sequence[Strip], *, widest: float = 2.6, tallest: float = 1.9, foot: float = 0.0) -> Figure:
    """Lay pictures of one aspect out in rows.

    Args:
        rows: the pictures.
        widest: largest width of a picture in inches.
        tallest: largest height of a picture in inches.
        foot: least height in inches that is left free below the pictures.

    Returns:
        A figure that is as wide as its pictures need, at most as the page. On a phone labels stand above their rows.
    """
    if style.is_phone():
        rows = [part for row in rows for part in _stacked(row)]
    cells = [cell for row in rows for cell in row.cells if cell]
    columns = max(len(row.cells) for row in rows)
    most = style.page_width()
    left = 0.12 + max((CHARACTER * len(line) for row in rows for line in row.label.split("\n")), default=0.0)
    left = 0.04 if style.is_phone() else left
    aspect = cells[0].image.shape[0] / cells[0].image.shape[1]
    width = min((most - left - GAP * columns) / columns, widest, tallest / aspect)
    height = width * aspect
    scales = list(dict.fromkeys(cell.scale for cell in cells if cell.scale))
    tops = [_title_height(row) for row in rows]
    across = max(left + columns * (width + GAP), min(most, left + 2.7 * len(scales)))
    labels = [textwrap.fill(scale.label, int((across - left) / len(scales) / CHARACTER) - 1) for scale in scales]
    legend = max((0.47 + LINE * (label.count("\n") + 1) for label in labels), default=0.0)
    down = sum(tops) + len(rows) * (height + GAP) + max(legend, foot)
    figure = style.new_figure(down, across)
    figure.set_layout_engine("none")
    # All pictures share one pair of axes that spans the page in inches: forty pairs would take seconds to draw.
    page = figure.add_axes((0, 0, 1, 1))
    page.set_axis_off()
    y = 0.0
    for row, top in zip(rows, tops, strict=True):
        y += top
        if style.is_phone():
            page.text(
                0.04,
                y - TITLE if any(cell and cell.title for cell in row.cells) else y - 0.04,
                row.label,
                weight="bold",
            )
        else:
            page.text(0.04, y + height / 2, row.label, ha="left", va="center", linespacing=1.35)
        for column, cell in enumerate(row.cells):
            if cell:
                x = left + column * (width + GAP)
                picture(page, cell, (x, x + width, y + height, y))
                page.text(x, y - 0.04, cell.title, ha="left", va="bottom", linespacing=1.15)
        y += height + GAP
    page.set(xlim=(0, across), ylim=(down, 0))
    step = (across - left) / max(len(scales), 1)
    for i, (scale, label) in enumerate(zip(scales, labels, strict=True)):
        box = (left + i * step + 0.05, down - y - 0.18, min(2.2, step - 0.35), 0.1)
        _bar(figure.add_axes((box[0] / across, box[1] / down, box[2] / across, box[3] / down)), scale, label)
    return figure


def _title_height(row: Strip) -> float:
    lines = max((cell.title.count("\n") + 1 for cell in row.cells if cell and cell.title), default=0)
    above = TITLE if style.is_phone() and row.label else 0.0
    return above + (TITLE + LINE * (lines - 1) if lines else 0.0)


def _stacked(row: Strip) -> list[Strip]:
    """A row in parts that a phone has room for, its label in one line above the first."""
    step, label = style.beside(len(row.cells)), " ".join(row.label.split())
    return [Strip(row.cells[i : i + step], "" if i else label) for i in range(0, len(row.cells), step)]


def _bar(axes: Axes, scale: Scale, label: str) -> None:
    norm = scale.norm()
    bar = axes.figure.colorbar(ScalarMappable(norm, scale.colours.name), cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_label(label, labelpad=1, linespacing=1.2)
    axes.xaxis.label.set(ha="left", x=0.0)
    if scale.ends:
        bar.set_ticks([float(norm.vmin or 0.0), float(norm.vmax or 0.0)], labels=list(scale.ends))
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
    else:
        bar.ax.locator_params(nbins=4)
