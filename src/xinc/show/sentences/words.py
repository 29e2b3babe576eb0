"""Numbers in words: what every sentence is put together from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xinc.notation import spoken
from xinc.show.figures.sheet import Panels, signed

if TYPE_CHECKING:
    import xarray as xr

Numbers = Mapping[str, float]
"""Layer as it is spoken ("NeRV block 3") to a number."""

STRENGTHS = ((0.5, "strongly"), (0.3, "moderately"), (0.1, "weakly"), (0.0, "hardly"))
"""Least absolute correlation and its word, after Cohen (1988)."""


def numbers(panels: Panels, value: Callable[[xr.Dataset], float]) -> dict[str, float]:
    """A number a layer, layers without it left out."""
    found = {
        f"{network} {spoken(name)}": value(data) for network, layers in panels.items() for name, data in layers.items()
    }
    return {layer: x for layer, x in found.items() if np.isfinite(x)}


def listing(words: Iterable[str]) -> str:
    """``"a, b and c"``."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def span(values: Iterable[float], form: str = ".2f") -> str:
    """``"0.52 to 0.93"``, or one number where both are written alike."""
    values = list(values)
    low, high = (signed(x, form) for x in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def percent(share: float) -> str:
    """A share as per cent with the digits that matter."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %" if value >= 0.095 else f"{value:.2g} %"


def strength(correlation: float) -> str:
    """How strong a correlation is, in a word."""
    return next(word for least, word in STRENGTHS if abs(correlation) >= least)


def parts(count: int, whole: int) -> str:
    """``"all 4 layers"``, ``"most layers (3 of 4)"``, ``"none of the 4 layers"``: a word before the numbers."""
    if whole == 1:
        return "the layer" if count else "no layer"
    if count in (0, whole):
        return f"all {whole} layers" if count else f"none of the {whole} layers"
    word = "half of the" if 2 * count == whole else "most" if 2 * count > whole else "some" if count > 1 else "one"
    return f"{word} layer{'s' * (word != 'one')} ({count} of {whole})"


FRACTIONS = (
    (0.97, "nearly all"), (0.8, "most"), (0.6, "about two thirds"), (0.42, "about half"), (0.29, "about a third"),
    (0.22, "about a quarter"), (0.16, "about a fifth"), (0.07, "about a tenth"), (0.02, "a few in a hundred"),
    (0.0, "hardly any"),
)  # fmt: skip
"""Least share and its words."""


def fraction(share: float) -> str:
    """A share in words: ``"about a third"``, to stand before ``"of the pixels"``."""
    return next((words for least, words in FRACTIONS if share >= least), FRACTIONS[-1][1])


def fractions(shares: Iterable[float]) -> str:
    """``"about a third to about half"``, or one where both are written alike."""
    ends = list(shares)
    low, high = fraction(min(ends)), fraction(max(ends))
    return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Extremes:
    """The layers with the greatest and the least of a number."""

    high: str
    most: float
    low: str
    least: float

    @classmethod
    def of(cls, values: Numbers) -> Extremes:
        """From at least one layer's number."""
        high, low = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
        return cls(high, values[high], low, values[low])


def magnitude(count: int) -> str:
    """A count as people say it: ``"0.98 million"``, ``"33 thousand"``."""
    for unit, name in ((1e6, "million"), (1e3, "thousand")):
        if count >= 0.8 * unit:
            value = count / unit
            return f"{value:.2f} {name}" if value < 10 and unit == 1e6 else f"{value:.0f} {name}"
    return str(count)
