"""One visual style: few colours, each with a reason; figures that follow the page from light to dark.

A figure is drawn once, in the light colours. :func:`svg` then replaces every colour of the palette by a CSS variable
with that colour as its fallback, so that the same drawing turns dark with the page that holds it, and stays light on
paper.
"""

from __future__ import annotations

import functools
import html
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.figure import Figure

from xinc.files import write_bytes, write_text

P = ParamSpec("P")


@dataclass(frozen=True)
class Hue:
    """A colour in both themes.

    Attributes:
        variable: name of the CSS variable that carries it.
        light: ``#rrggbb`` on white paper.
        dark: ``#rrggbb`` on the dark page.
    """

    variable: str
    light: str
    dark: str


INK = Hue("ink", "#1d2129", "#e7e9ee")
MUTED = Hue("muted", "#5c6370", "#a3aab8")
FAINT = Hue("faint", "#dfe2e9", "#353b47")
PAPER = Hue("paper", "#ffffff", "#16181d")

# Chosen by search: contrast of at least 3 to 1 to the page in both themes, CIEDE2000 distances of at least 9 between
# any two as seen with protanopia, deuteranopia and tritanopia (tests/test_show_style.py measures both).
BLUE = Hue("blue", "#1a78d6", "#7cc4ff")
RUST = Hue("rust", "#b0361a", "#e8683a")
GREEN = Hue("green", "#0b6b57", "#4fae86")
VIOLET = Hue("violet", "#5d2a91", "#a873f2")
OCHRE = Hue("ochre", "#b98500", "#ffd166")
GREY = Hue("grey", "#8a8a94", "#868d9a")

CATEGORICAL = (BLUE, RUST, GREEN, VIOLET, OCHRE, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.4, 1.5)), (0, (3, 1)), (0, (8, 3)))
PALETTE = (INK, MUTED, FAINT, PAPER, *CATEGORICAL)

GROUPING_HUES: Mapping[str, Hue] = {
    "instances": RUST,
    "rgb": BLUE,
    "gabor": GREEN,
    "grid": GREY,
    "grid_matched": OCHRE,
}


@dataclass(frozen=True)
class Colours:
    """A colour map with the reason for it.

    Attributes:
        name: as matplotlib knows it.
        reason: why this map for this quantity, one sentence.
    """

    name: str
    reason: str


CONTRIBUTION = Colours("magma", "zero is black, more is brighter, in even steps of lightness, with any colour vision")
SHARE = Colours("cividis", "a count is another quantity than a contribution, so it looks different; safe for all")
DIFFERENCE = Colours("RdBu_r", "white at zero, red is more, blue is less: told apart with any colour vision")
LIGHTNESS = Colours("gray", "intensity and edge strength are shown as what they are")
ERROR = Colours("viridis", "an error is small almost everywhere: the map that separates small values best")

WIDTH = 9.0
"""Width of a full figure in inches: in the report's column of about 960 px, 8.5 pt reads like the page's own text."""

PHONE = 4.0
"""The same on a phone, where a figure is shown at four fifths of its size: text of about ten pixels."""
_ACROSS: ContextVar[float] = ContextVar("across", default=WIDTH)

_RC: Any = {
    "text.parse_math": False,  # a $ in the name of a file is a dollar
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "figure.facecolor": PAPER.light,
    "figure.titlesize": 10,
    "savefig.facecolor": PAPER.light,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED.light,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK.light,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "grid.color": FAINT.light,
    "grid.linewidth": 0.7,
    "text.color": INK.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "xtick.labelcolor": INK.light,
    "ytick.labelcolor": INK.light,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.6,
    "patch.linewidth": 0.7,
    "image.interpolation": "none",
    "image.composite_image": False,
    "svg.fonttype": "none",
    "svg.image_inline": True,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    "figure.constrained_layout.hspace": 0.02,
    "figure.constrained_layout.wspace": 0.02,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that makes a figure so that everything it creates has this style."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with drawing():
            return draw(*args, **kwargs)

    return inside


def drawing() -> AbstractContextManager[None]:
    """The style while something is drawn or measured: matplotlib looks its settings up then too."""
    return mpl.rc_context(_RC)


def new_figure(height: float, width: float | None = None) -> Figure:
    """Make an empty figure, laid out so that nothing is cut off; sizes in inches, the page's width where None."""
    return Figure(figsize=(_ACROSS.get() if width is None else width, height), layout="constrained")


@contextmanager
def phone() -> Iterator[None]:
    """Figures that are drawn meanwhile are for a phone, where their function can lay them out so."""
    token = _ACROSS.set(PHONE)
    try:
        yield
    finally:
        _ACROSS.reset(token)


def page_width() -> float:
    """Width of the page that is drawn for, in inches."""
    return _ACROSS.get()


def is_phone() -> bool:
    """Whether figures are drawn for a phone."""
    return _ACROSS.get() < WIDTH


def beside(most: int) -> int:
    """How many pictures stand side by side: ``most``, three on a phone."""
    return min(most, 3) if is_phone() else most


def png(figure: Figure, dpi: int = 160) -> bytes:
    """Render in the light theme as a PNG file's bytes, the same for the same figure; ``dpi`` in pixels per inch."""
    out = io.BytesIO()
    with drawing():
        figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def pdf(figure: Figure) -> bytes:
    """Render in the light theme as a PDF file's bytes, the same for the same figure; text stays text."""
    out = io.BytesIO()
    with mpl.rc_context({**_RC, "pdf.fonttype": 42}):
        figure.savefig(out, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return out.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Render in the light theme as an SVG file's text, the same for the same figure; ``name`` seeds its ids.

    The figure is laid out by then: whatever else is made of it looks alike, and takes half the time.
    """
    out = io.StringIO()
    with mpl.rc_context({**_RC, "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")
    return out.getvalue()


def keep_drawing(stem: Path, svg: str, png: bytes, pdf: bytes) -> None:
    """Write a figure as ``STEM.svg``, ``STEM.png`` and ``STEM.pdf``."""
    write_text(stem.with_name(f"{stem.name}.svg"), svg, durable=False)
    write_bytes(stem.with_name(f"{stem.name}.png"), png, durable=False)
    write_bytes(stem.with_name(f"{stem.name}.pdf"), pdf, durable=False)


def inline(text: str, name: str, title: str) -> str:
    """An SVG file as markup to place in a page: colours are CSS variables, text is in the page's own font.

    The text is narrower in any page font than in DejaVu Sans, in which the layout was computed, so nothing can collide.

    Args:
        text: what :func:`svg` returns.
        name: unique in the page; it prefixes every id, for several drawings share one document.
        title: the text alternative.
    """
    text = text[text.index("<svg") :]
    for part in (
        "<metadata>.*?</metadata>",
        r"<!--.*?-->\s*",
        "<style.*?</style>",
    ):  # a style would rule the whole page
        text = re.sub(part, "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="patch_1">.*?</g>', "", text, count=1, flags=re.DOTALL)  # the page shows through
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace('xlink:href="#', f'xlink:href="#{name}-').replace("url(#", f"url(#{name}-")
    text = text.replace("'DejaVu Sans'", "var(--sans, 'DejaVu Sans', sans-serif)")
    for hue in PALETTE:
        text = text.replace(hue.light, f"var(--{hue.variable}, {hue.light})")
    head = f'role="img" aria-label="{html.escape(title)}" class="drawing"'
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', lambda m: f'<svg viewBox="{m[1]}" {head}>', text, count=1)


def css_variables(theme: str) -> str:
    """List the palette as CSS declarations for ``"light"`` or ``"dark"``."""
    return " ".join(f"--{hue.variable}: {hue.dark if theme == 'dark' else hue.light};" for hue in PALETTE)
