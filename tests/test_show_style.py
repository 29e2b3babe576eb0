"""Colours are measured: contrast on both pages, and apart for every kind of colour vision."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from xinc.show import style

# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
THEMES = ("light", "dark")


def linear(colour: str) -> NDArray[np.float64]:
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def seen(colour: str, vision: str) -> NDArray[np.float64]:
    c = np.clip(np.asarray(VISION[vision]) @ linear(colour), 0, 1)
    return np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)


def contrast(a: str, b: str) -> float:
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def apart(a: str, b: str, vision: str) -> float:
    lab = rgb2lab(np.stack([seen(a, vision), seen(b, vision)])[None])[0]
    return float(deltaE_ciede2000(lab[0], lab[1]))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("hue", style.CATEGORICAL, ids=lambda hue: hue.variable)
def test_every_colour_stands_out_from_the_page(hue: style.Hue, theme: str) -> None:
    assert contrast(getattr(hue, theme), getattr(style.PAPER, theme)) >= 3


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("hue", [style.INK, style.MUTED], ids=lambda hue: hue.variable)
def test_text_is_readable(hue: style.Hue, theme: str) -> None:
    assert contrast(getattr(hue, theme), getattr(style.PAPER, theme)) >= 4.5


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", THEMES)
def test_colours_are_told_apart_with_any_colour_vision(theme: str, vision: str) -> None:
    gaps = {
        f"{a.variable}, {b.variable}": apart(getattr(a, theme), getattr(b, theme), vision)
        for a, b in combinations(style.CATEGORICAL, 2)
    }
    closest = min(gaps, key=gaps.__getitem__)
    assert gaps[closest] >= 9, f"{closest} are {gaps[closest]:.1f} apart"


def test_the_measurement_finds_colours_that_are_too_close() -> None:
    assert apart("#d1571b", "#a67c00", "deuteranopia") < 9
    assert contrast("#e69f00", "#ffffff") < 3


COLOURMAPS = (style.CONTRIBUTION, style.SHARE, style.DIFFERENCE, style.LIGHTNESS, style.ERROR)


@pytest.mark.parametrize("colours", COLOURMAPS, ids=lambda colours: colours.name)
def test_colour_maps_are_even_in_lightness(colours: style.Colours) -> None:
    import matplotlib as mpl

    rgb = mpl.colormaps[colours.name](np.linspace(0, 1, 65))[:, :3]
    lightness = rgb2lab(rgb[None])[0, :, 0]
    halves = [lightness] if colours is not style.DIFFERENCE else [lightness[:33], lightness[32:][::-1]]
    for half in halves:
        assert (np.diff(half) > 0).all(), f"{colours.name} does not get steadily lighter"
    assert colours.reason


def test_palette_has_no_colour_twice() -> None:
    for theme in THEMES:
        colours = [getattr(hue, theme) for hue in style.PALETTE]
        assert len(set(colours)) == len(colours)
    assert len({hue.variable for hue in style.PALETTE}) == len(style.PALETTE)
