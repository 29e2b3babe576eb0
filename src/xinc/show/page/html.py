"""The report as a page: what stands on it, and the one file that it becomes."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xinc.show import style
from xinc.show.figures.sheet import shrunk

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup
    from matplotlib.figure import Figure

LARGEST = 1280
"""Width in pixels above which a picture is averaged down before it is embedded."""


@dataclass(frozen=True)
class EmbeddedPicture:
    """An embedded picture.

    Attributes:
        key: its id in the page.
        data: ``data:`` address.
        alt: what a person who does not see it should know.
        width: in pixels.
        height: in pixels.
        caption: below it.
    """

    key: str
    data: str
    alt: str
    width: int
    height: int
    caption: str = ""

    @classmethod
    def of(
        cls, key: str, image: NDArray[Any], alt: str, caption: str = "", colours: style.Colours | None = None
    ) -> EmbeddedPicture:
        """Encode ``(H, W, 3)`` colours in [0, 1], or ``(H, W)`` numbers from zero to their maximum by a colour map."""
        from PIL import Image

        image = shrunk(np.asarray(image), LARGEST)
        if colours is not None:
            import matplotlib as mpl

            peak = float(image.max()) or 1.0
            image = mpl.colormaps[colours.name](np.clip(image / peak, 0, 1))[..., :3]
        out = io.BytesIO()
        Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)).save(out, "PNG", optimize=True)
        data = "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
        return cls(key, data, alt, image.shape[1], image.shape[0], caption)


@dataclass(frozen=True)
class View:
    """One choice of the viewer on the first screen: the frame against another picture of it."""

    group: str
    name: str
    tag: str
    caption: str
    left: EmbeddedPicture
    right: EmbeddedPicture


@dataclass(frozen=True)
class Drawing:
    """A figure, as an SVG file too, with how to read it.

    Attributes:
        name: unique in the page; of the files too.
        figure: drawn.
        svg: the same as text.
        title: text alternative.
        caption: how to read it.
        method: definition of the maps that it shows; empty where only one could be meant.
        phone: the same laid out for a phone; empty where it cannot be, or is as narrow anyway.
        others: the same figure by other definitions, to switch to.
    """

    name: str
    figure: Figure
    svg: str
    title: str
    caption: str
    method: str = ""
    others: tuple[Drawing, ...] = ()
    phone: str = ""

    @classmethod
    def of(cls, draw: Callable[[], Figure], name: str, title: str, caption: str) -> Drawing:
        """Draw a figure, and again for a phone; ``name`` is unique in the page, ``title`` is the text alternative."""
        figure = draw()
        with style.phone():
            small = draw()
            fits = small.get_figwidth() <= style.PHONE + 0.01
            phone = style.svg(small, f"{name}-phone") if fits and figure.get_figwidth() > style.PHONE else ""
        return cls(name, figure, style.svg(figure, name), title, caption, phone=phone)

    @property
    def variants(self) -> tuple[Drawing, ...]:
        """The figure by each definition of the maps, the leading one first."""
        return (self, *self.others)

    @property
    def markup(self) -> str:
        """The drawing as a part of the page."""
        wide = style.inline(self.svg, self.name, self.title)
        if not self.phone:
            return wide
        small = style.inline(self.phone, f"{self.name}-phone", self.title)
        return f'<div class="for-wide">{wide}</div><div class="for-phone">{small}</div>'


@dataclass(frozen=True)
class PageTable:
    """Numbers that fold away.

    Attributes:
        summary: what is seen while it is folded.
        caption: what the columns mean.
        columns: headings.
        rows: already written out, as a person reads them.
        text: headings of columns that hold words.
        csv: all digits, base64, to download; empty for none.
        filename: of the download.
        open: whether it is unfolded at first.
    """

    summary: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: Sequence[str] = ()
    csv: str = ""
    filename: str = "numbers.csv"
    open: bool = False

    @classmethod
    def of(cls, frame: pd.DataFrame, summary: str, caption: str, name: str, *, open: bool = False) -> PageTable:
        """A DataFrame's rows with the digits that matter; all digits in the download."""
        words = [c for c in frame.columns if not _numeric(frame[c])]
        rows = [[written(value) for value in row] for row in frame.itertuples(index=False)]
        csv = base64.b64encode(frame.to_csv(index=False).encode()).decode()
        return cls(summary, caption, list(frame.columns), rows, words, csv, f"{name}.csv", open)


def _numeric(column: pd.Series[Any]) -> bool:
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(column))


def written(value: Any) -> str:
    """A number as a table shows it: three digits that matter, thousands apart, a dash for what is undefined."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{int(value):,}".replace(",", "\u2009")
    if isinstance(value, float | np.floating):
        return _decimal(float(value))
    return "–" if value is None else str(value)


def _decimal(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3 if abs(value) < 1 else 2
    text = f"{value:,.{digits}f}" if abs(value) >= 5e-4 or value == 0 else f"{value:.2g}"
    return text.replace(",", "\u2009").replace("-", "−")


@dataclass(frozen=True)
class Fit:
    """One network: its facts and its pictures."""

    title: str
    facts: Sequence[tuple[str, str]]
    pictures: Sequence[EmbeddedPicture]


@dataclass(frozen=True)
class Exhibit:
    """One finding: figure, what its numbers say, the numbers.

    Attributes:
        key: its id in the page.
        short: its name in the contents.
        source: where the paper has it.
        title: the question.
        says: sentences computed from the numbers.
        drawings: its figures.
        tables: its numbers.
        paper: what the paper concludes.
    """

    key: str
    short: str
    source: str
    title: str
    says: Sequence[str]
    drawings: Sequence[Drawing]
    tables: Sequence[PageTable] = ()
    paper: str = ""


@dataclass(frozen=True)
class Page:
    """Everything on the page, from the top."""

    eyebrow: str
    title: str
    answer: Sequence[str]
    views: Sequence[View]
    introduction: Sequence[str]
    fits: Sequence[Fit]
    fit_drawings: Sequence[Drawing]
    fit_says: Sequence[str]
    exhibits: Sequence[Exhibit]
    settings: Sequence[PageTable]
    footer: str
    version: str
    first_view: int = 0
    explore: str = ""
    store: Sequence[EmbeddedPicture] = field(default_factory=tuple)


def themed(css: str) -> str:
    """A page's styles behind those of all our pages, with the colours of both themes filled in."""
    css = files("xinc.show.page").joinpath("theme.css").read_text("utf-8") + css
    for theme in ("light", "dark"):
        css = css.replace(theme.upper(), style.css_variables(theme))
    return css


def told(sentence: str) -> Markup:
    """A sentence as HTML: what stands between backticks, such as a command, is code; numbers stay with their units."""
    from markupsafe import Markup, escape

    whole = re.sub(r"(?<=[\d)]) (?=%|dB\b)|(?<=\br) (?== )|(?<=\br =) ", "\u00a0", str(escape(sentence)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", whole))


def render(page: Page) -> str:
    """One HTML file that needs nothing but itself: styles, script, pictures and drawings are inside it."""
    from jinja2 import Environment, StrictUndefined

    folder = files("xinc.show.page")
    css = themed(folder.joinpath("report.css").read_text("utf-8"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False, lstrip_blocks=False)
    environment.filters["told"] = told
    template = environment.from_string(folder.joinpath("report.html.j2").read_text("utf-8"))
    from markupsafe import Markup

    js = folder.joinpath("report.js").read_text("utf-8")
    text = template.render(page=page, css=Markup(css), js=Markup(js)) + "\n"
    return shared_pictures(text)


PICTURE = re.compile(r'<image xlink:href="(data:image/png;base64,[^"]+)"[^>]*/>')


def shared_pictures(text: str) -> str:
    """A page whose drawings hold each picture once: what stands in several of them, or twice in one, is referred to."""
    seen: dict[str, list[int]] = {}
    for found in PICTURE.finditer(text):
        seen.setdefault(found[1], []).append(found.start())
    names = {data: f"picture-{i}" for i, data in enumerate(d for d, places in seen.items() if len(places) > 1)}

    def refer(found: re.Match[str]) -> str:
        if found[1] not in names:
            return found[0]
        own = dict(re.findall(r'\b(x|y|width|height|transform)="([^"]*)"', found[0]))
        corner = f"translate({own.get('x', 0)} {own.get('y', 0)})"
        place = f"{corner} scale({own['width']} {own['height']})"
        return f'<use href="#{names[found[1]]}" transform="{own.get("transform", "")} {place}"/>'

    text = PICTURE.sub(refer, text)
    held = "".join(
        f'<image id="{name}" width="1" height="1" preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{data}"/>'
        for data, name in names.items()
    )
    defined = f'<svg width="0" height="0" aria-hidden="true" style="position:absolute"><defs>{held}</defs></svg>'
    return text.replace("<main ", f"{defined}\n<main ", 1) if held else text
