"""The families of networks that this package can fit, as a table, and how to make one of a given size."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from xinc.errors import ModelError
from xinc.models.base import INR, Config, bits_per_pixel, count_parameters
from xinc.models.networks.ffn import FFN, FFNConfig
from xinc.models.networks.hnerv import HNeRV, HNeRVConfig
from xinc.models.networks.nerv import NeRV, NeRVConfig
from xinc.models.networks.siren import Siren, SirenConfig
from xinc.models.parts import choice
from xinc.models.recipe import Recipe
from xinc.options.tables import NETWORKS


@dataclass(frozen=True)
class Family:
    """One row of the table.

    Attributes:
        name: what users type.
        title: how people write it.
        model: makes the network of a configuration.
        config: the configuration's class; its ``make`` holds the family's options and their defaults.
        recipe: how to fit it by default.
        plain: how its paper fits it (the FFN's and NeRV's: the XINC paper).
        still: whether it represents one frame.
    """

    name: str
    title: str
    model: Callable[[Any], INR]
    config: type[Config]
    recipe: Recipe
    plain: Recipe
    still: bool = False

    def options(self) -> dict[str, Any]:
        """Names and defaults of the options that :func:`build` takes for this family."""
        parameters = inspect.signature(self.config.make).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


FAMILIES: dict[str, Family] = {
    row.name: row
    for row in (
        Family(
            "ffn",
            "FFN",
            FFN,
            FFNConfig,
            Recipe(epochs=150, learning_rate=1e-2, parts=16, schedule="cosine", betas=(0.9, 0.99)),
            plain=Recipe(epochs=1000, learning_rate=9e-4),
            still=True,
        ),
        Family(
            "siren",
            "SIREN",
            Siren,
            SirenConfig,
            Recipe(epochs=150, learning_rate=2e-3, parts=16, schedule="cosine", betas=(0.9, 0.99)),
            plain=Recipe(epochs=1000, learning_rate=1e-4),
            still=True,
        ),
        Family(
            "nerv",
            "NeRV",
            NeRV,
            NeRVConfig,
            Recipe(epochs=150, learning_rate=1e-3, batch=1, schedule="cosine", betas=(0.9, 0.99)),
            plain=Recipe(epochs=1000, learning_rate=1e-3, batch=2, schedule="cosine_0.1"),
        ),
        Family(
            "hnerv",
            "HNeRV",
            HNeRV,
            HNeRVConfig,
            Recipe(epochs=150, learning_rate=5e-3, batch=1, schedule="cosine", betas=(0.9, 0.95)),
            plain=Recipe(epochs=300, learning_rate=1e-3, batch=1, schedule="cosine_0.1"),
        ),
    )
}
"""The families. A ``recipe`` reaches what ``plain``, the papers' own, reaches in a fraction of the time: smaller
batches, an Adam that forgets old gradients sooner and, but for the NeRV, a higher learning rate;
``benchmarks/fit_recipe.py`` runs both side by side. The NeRV keeps its paper's rate: with five times as much it draws
its clip better still, but by terms so large that first-order maps predict ablation less well
(``benchmarks/fidelity.py``)."""


def family(name: str) -> Family:
    """The row of the table.

    Raises:
        ModelError: there is no such family.
    """
    return choice(FAMILIES, name, "family of networks")


def title_of(name: str) -> str:
    """How people write a family; the name itself where there is no such family."""
    return FAMILIES[name].title if name in FAMILIES else name


def configure(
    name: str,
    size: tuple[int, int],
    frames: int = 1,
    *,
    params: float | None = None,
    bpp: float | None = None,
    **options: Any,
) -> Config:
    """A configuration for a signal, of a given size if asked.

    Args:
        name: family, a key of :data:`FAMILIES`.
        size: ``(H, W)`` of a frame.
        frames: number of frames.
        params: wanted number of parameters; the family's width is chosen to come nearest.
        bpp: wanted bits a pixel at eight bits a parameter (:func:`xinc.models.base.bits_per_pixel`), instead.
        **options: the family's own options, :meth:`Family.options`.

    Raises:
        ModelError: an unknown family or option, a size that the family cannot make, or a target out of reach.
    """
    row = family(name)
    targets = {key: value for key, value in {"params": params, "bpp": bpp}.items() if value is not None}
    options = NETWORKS[name].check({**options, **targets})
    params, bpp = options.pop("params", None), options.pop("bpp", None)
    if params is None and bpp is None:
        return row.config.make(size, frames, **options)
    scaled = row.config.SCALED_BY
    if (params is not None and bpp is not None) or scaled in options:
        raise ModelError(f"give one of params, bpp and {scaled}: each of them decides the size of the {name}")
    pixels = frames * size[0] * size[1]
    target = params if params is not None else float(bpp or 0) / bits_per_pixel(1, pixels)
    return _nearest(row, target, lambda width: row.config.make(size, frames, **options, **{scaled: width}))


def _nearest(row: Family, target: float, make: Callable[[int], Config]) -> Config:
    """The configuration whose network has the number of parameters nearest to ``target``; grows with the width."""

    def size_of(width: int) -> int:
        with torch.device("meta"):
            return count_parameters(row.model(make(width)))

    low, high = 1, 2
    widest = int(NETWORKS[row.name].options[row.config.SCALED_BY].high)
    if target < 0.9 * size_of(low):
        raise ModelError(f"a {row.name} for this signal has at least {size_of(low):,} parameters, not {target:,.0f}")
    if target > 1.1 * size_of(widest):
        raise ModelError(f"a {row.name} for this signal has at most {size_of(widest):,} parameters, not {target:,.0f}")
    while high < widest and size_of(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size_of(middle) < target else (low, middle)
    return make(min((low, high), key=lambda width: abs(size_of(width) - target)))


def build(
    name: str,
    size: tuple[int, int],
    frames: int = 1,
    *,
    params: float | None = None,
    bpp: float | None = None,
    **options: Any,
) -> INR:
    """A new network for a signal, initialised from torch's random state. Arguments and errors: :func:`configure`."""
    return family(name).model(configure(name, size, frames, params=params, bpp=bpp, **options))
