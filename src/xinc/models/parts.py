"""What networks are put together from by name: activations, output functions, layouts of coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from xinc.errors import ModelError
from xinc.options.schema import closest

T = TypeVar("T")


class Sine(nn.Module):
    """``sin(w0 x)``."""

    def __init__(self, w0: float = 1.0) -> None:
        super().__init__()
        self.w0 = w0

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return torch.sin(self.w0 * x)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"w0={self.w0}"


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
    "leaky_relu_0.1": partial(nn.LeakyReLU, 0.1),
    "leaky_relu_0.2": partial(nn.LeakyReLU, 0.2),
    "relu6": nn.ReLU6,
    "softplus": nn.Softplus,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sin": Sine,
    "elu": nn.ELU,
    "mish": nn.Mish,
}
"""Hidden activations by name: those that the code of NeRV, HNeRV and their descendants offers (``leaky`` has slope
0.01, ``leaky01`` 0.1; ``swish`` is ``silu``), and a few that others use."""

OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh_unit": lambda x: torch.tanh(x) * 0.5 + 0.5,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
    "shifted": lambda x: x + 0.5,
    "half": lambda x: x * 0.5 + 0.5,
}
"""What turns the last linear layer's values into colours in [0, 1]: the head variants of published code."""


def _by(side: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Both axes divided by one number of steps, scaled to [-1, 1] where an axis has as many."""
    rows, columns = torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    steps = max(side - 1, 1)
    return (rows / steps - 0.5) * 2, (columns / steps - 0.5) * 2


def _centres(height: int, width: int) -> tuple[Tensor, Tensor]:
    rows, columns = torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    return (rows + 0.5) / height * 2 - 1, (columns + 0.5) / width * 2 - 1


AXES: dict[str, Callable[[int, int], tuple[Tensor, Tensor]]] = {
    "longest": lambda h, w: _by(max(h, w), h, w),
    "axes": lambda h, w: (torch.linspace(-1, 1, h), torch.linspace(-1, 1, w)),
    "centres": _centres,
    "unit": lambda h, w: (torch.linspace(0, 1, h), torch.linspace(0, 1, w)),
    "height": lambda h, w: _by(h, h, w),
    "width": lambda h, w: _by(w, h, w),
}
"""Coordinates of rows and of columns for a height and width."""

LAYOUTS: dict[str, tuple[str, str]] = {f"{axes}_{order}": (axes, order) for axes in AXES for order in ("yx", "xy")}
"""Layouts of coordinates: how the axes are numbered, and which comes first."""


def choice(table: Mapping[str, T], name: str, what: str) -> T:
    """Look up a name in a table.

    Raises:
        ModelError: the table has no such name; the message lists those it has.
    """
    try:
        return table[name]
    except KeyError:
        near = closest(name, table)
        hint = f"did you mean {near}? " if near else ""
        raise ModelError(f"no {what} is called {name!r}; {hint}choose from {', '.join(table)}") from None


def coordinates(size: tuple[int, int], layout: str = "longest_yx") -> Tensor:
    """Pixel coordinates as coordinate networks take them, computed in float32.

    Args:
        size: ``(H, W)``.
        layout: ``"longest_yx"`` divides both axes by ``max(H, W) - 1`` and scales to [-1, 1] (published FFN, appendix
            code); ``"axes_yx"`` spans [-1, 1] on each axis (SIREN), ``"centres_yx"`` the same by the pixels' centres,
            ``"unit_yx"`` [0, 1]; ``"height_yx"`` divides both axes by ``H - 1`` (COIN, whatever the picture's aspect),
            ``"width_yx"`` by ``W - 1``; ``..._xy`` have the horizontal axis first.

    Returns:
        ``(H, W, 2)``.
    """
    axes, order = choice(LAYOUTS, layout, "coordinate layout")
    rows, columns = AXES[axes](*size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([y, x] if order == "yx" else [x, y], dim=-1)


def check_widths(widths: tuple[int, ...], layers: int) -> None:
    """Refuse widths that are not those of all hidden layers.

    Raises:
        ModelError: there are more or fewer, but some.
    """
    if widths and len(widths) != layers - 1:
        raise ModelError(f"{layers} linear layers have {layers - 1} widths between them, not {len(widths)}")


def read_inputs(weight: Tensor) -> Tensor:
    """Which inputs of a layer any of its weights reads, ascending; the first where none does.

    Args:
        weight: ``(O, I)`` of a linear layer, or ``(O, I, kh, kw)`` of a convolution.
    """
    found = (weight.detach() != 0).flatten(2).any(-1).any(0) if weight.dim() > 2 else (weight.detach() != 0).any(0)
    return found.nonzero()[:, 0] if found.any() else torch.zeros(1, dtype=torch.long, device=weight.device)


def cut_features(state: MutableMapping[str, Tensor], layers: int) -> tuple[int, ...]:
    """Cut the hidden features that no weight reads out of ``net.<k>.linear``; returns how many each layer keeps."""
    widths = []
    for k in range(layers - 1, 0, -1):
        kept = read_inputs(state[f"net.{k}.linear.weight"])
        state[f"net.{k}.linear.weight"] = state[f"net.{k}.linear.weight"][:, kept]
        for name in ("weight", "bias"):
            state[f"net.{k - 1}.linear.{name}"] = state[f"net.{k - 1}.linear.{name}"][kept]
        widths.append(len(kept))
    return tuple(reversed(widths))
