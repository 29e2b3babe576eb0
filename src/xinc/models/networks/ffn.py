"""Fourier feature network: fixed random sinusoids of the coordinates, then a small ReLU network (Tancik et al. 2020).

The defaults and the names in the state dict are those of the paper's published checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from xinc.errors import ModelError
from xinc.models.base import Config, Pixelwise
from xinc.models.parts import OUTPUTS, check_widths, choice, coordinates, cut_features, read_inputs


@dataclass(frozen=True)
class FFNConfig(Config):
    """Description of a Fourier feature network.

    Attributes:
        frequencies: number of random frequencies; the first layer sees twice as many features.
        width: features of the hidden layers.
        layers: linear layers, at least two.
        scale: standard deviation of the random frequencies.
        output: name of the output function.
        layout: how pixels become coordinates, see :func:`xinc.models.parts.coordinates`.
        widths: features of each hidden layer where they differ.
    """

    frequencies: int = 104
    width: int = 104
    layers: int = 3
    scale: float = 10.0
    output: str = "identity"
    layout: str = "longest_yx"
    widths: tuple[int, ...] = ()

    FAMILY: ClassVar[str] = "ffn"
    SCALED_BY: ClassVar[str] = "width"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames != 1:
            raise ModelError(f"an ffn represents one frame, not {self.frames}; choose one with frame=, or fit a nerv")
        check_widths(self.widths, self.layers)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Features of each hidden layer."""
        return self.widths or (self.width,) * (self.layers - 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without widths that do not differ: runs of version 0.1 know none."""
        return {name: value for name, value in super().to_dict().items() if name != "widths" or value}

    @classmethod
    def make(
        cls,
        size: tuple[int, int],
        frames: int = 1,
        *,
        width: int = 104,
        frequencies: int | None = None,
        layers: int = 3,
        scale: float = 10.0,
    ) -> FFNConfig:
        """The paper's network by default; as many frequencies as the layers are wide unless said."""
        return cls(size, frames, width if frequencies is None else frequencies, width, layers, scale)


class FourierFeatures(nn.Module):
    """``(..., 2)`` coordinates to ``(..., 2 * frequencies)`` features: sines, then cosines, of ``2 pi B x``."""

    B: Tensor

    def __init__(self, frequencies: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("B", torch.randn(frequencies, 2) * scale)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., 2)`` to ``(..., 2 * frequencies)``."""
        angles = 2 * math.pi * x @ self.B.T
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)


class FFNLayer(nn.Module):
    """A linear layer with what follows it."""

    def __init__(self, inputs: int, outputs: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` to ``(..., outputs)``."""
        return self.activation(self.linear(x))  # type: ignore[no-any-return]


class FFN(Pixelwise):
    """Coordinates ``(..., 2)`` to colours ``(..., 3)``."""

    config: FFNConfig

    def __init__(self, config: FFNConfig) -> None:
        super().__init__()
        self.config = config
        self.positional_encoding = FourierFeatures(config.frequencies, config.scale)
        widths = [2 * config.frequencies, *config.hidden, 3]
        last = config.layers - 1
        self.net = nn.Sequential(
            *(FFNLayer(i, o, nn.Identity() if k == last else nn.ReLU()) for k, (i, o) in enumerate(pairwise(widths)))
        )
        self.output = choice(OUTPUTS, config.output, "output function")
        self.register_buffer("grid", coordinates(config.size, config.layout), persistent=False)

    def narrower(self) -> Self:
        """This network without features that no weight reads, and frequencies of which neither sine nor cosine is."""
        state, frequencies = dict(self.state_dict()), self.config.frequencies
        widths = cut_features(state, self.config.layers)
        first = state["net.0.linear.weight"]
        kept = torch.unique(read_inputs(first) % frequencies)
        state["positional_encoding.B"] = state["positional_encoding.B"][kept]
        state["net.0.linear.weight"] = first[:, torch.cat([kept, kept + frequencies])]
        if widths == self.config.hidden and len(kept) == frequencies:
            return self
        return self.like(replace(self.config, widths=widths, frequencies=len(kept)), state)

    @property
    def feature_count(self) -> int:
        """Sines and cosines."""
        return 2 * self.config.frequencies

    def features(self, x: Tensor) -> Tensor:
        """The Fourier features, ``(..., 2 * frequencies)``."""
        return self.positional_encoding(x)  # type: ignore[no-any-return]
