"""SIREN: a coordinate network with sine activations (Sitzmann et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from xinc.errors import ModelError
from xinc.models.base import Config, Pixelwise
from xinc.models.parts import OUTPUTS, Sine, check_widths, choice, coordinates, cut_features


@dataclass(frozen=True)
class SirenConfig(Config):
    """Description of a SIREN.

    Attributes:
        width: features of the hidden layers.
        layers: linear layers, the first and the last included.
        w0_first: frequency factor of the first sine.
        w0: frequency factor of the others.
        output: name of the output function.
        layout: how pixels become coordinates, see :func:`xinc.models.parts.coordinates`.
        final: what the last layer is: ``"linear"``, or a ``"sine"`` as the others.
        widths: features of each hidden layer where they differ.
    """

    width: int = 128
    layers: int = 4
    w0_first: float = 30.0
    w0: float = 30.0
    output: str = "identity"
    layout: str = "axes_yx"
    final: str = "linear"
    widths: tuple[int, ...] = ()

    FAMILY: ClassVar[str] = "siren"
    SCALED_BY: ClassVar[str] = "width"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames != 1:
            raise ModelError(f"a siren represents one frame, not {self.frames}; choose one with frame=, or fit a nerv")
        check_widths(self.widths, self.layers)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Features of each hidden layer."""
        return self.widths or (self.width,) * (self.layers - 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without what runs of version 0.1 know nothing else of."""
        known = {"final": "linear", "widths": ()}
        return {name: value for name, value in super().to_dict().items() if value != known.get(name, self)}

    @classmethod
    def make(
        cls,
        size: tuple[int, int],
        frames: int = 1,
        *,
        width: int = 128,
        layers: int = 4,
        w0_first: float = 30.0,
        w0: float = 30.0,
    ) -> SirenConfig:
        """Two hidden layers of width 128 by default: 33,795 parameters, the bits a pixel of the paper's FFN."""
        return cls(size, frames, width, layers, w0_first, w0)


class SirenLayer(nn.Module):
    """A linear layer and its sine, initialised as section 3.2 and appendix 1.5 of the SIREN paper say.

    The first layer's weights are uniform in ±1/inputs, the others' in ±sqrt(6/inputs)/w0.
    """

    def __init__(self, inputs: int, outputs: int, *, w0: float, first: bool, linear: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.activation: nn.Module = nn.Identity() if linear else Sine(w0)
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / w0
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` to ``(..., outputs)``."""
        return self.activation(self.linear(x))  # type: ignore[no-any-return]


class Siren(Pixelwise):
    """Coordinates ``(..., 2)`` to colours ``(..., 3)``; the state dict reads ``net.<layer>.linear.weight``."""

    config: SirenConfig

    def __init__(self, config: SirenConfig) -> None:
        super().__init__()
        self.config = config
        widths = [2, *config.hidden, 3]
        last = config.layers - 1
        factors = [config.w0_first, *[config.w0] * last]
        linear = [False] * last + [config.final == "linear"]
        self.net = nn.Sequential(
            *(
                SirenLayer(i, o, w0=factors[k], first=k == 0, linear=linear[k])
                for k, (i, o) in enumerate(pairwise(widths))
            )
        )
        self.output = choice(OUTPUTS, config.output, "output function")
        self.register_buffer("grid", coordinates(config.size, config.layout), persistent=False)

    def narrower(self) -> Self:
        """This network without features that no weight reads."""
        state = dict(self.state_dict())
        widths = cut_features(state, self.config.layers)
        return self if widths == self.config.hidden else self.like(replace(self.config, widths=widths), state)
