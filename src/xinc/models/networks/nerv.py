"""NeRV: a frame's time to the whole frame (Chen et al. 2021), in the form that the paper trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from xinc.models.networks.decoder import Decoder, DecoderConfig, block_widths, divide_size
from xinc.models.parts import ACTIVATIONS, choice


@dataclass(frozen=True)
class NeRVConfig(DecoderConfig):
    """Description of a NeRV.

    Attributes:
        base: frequency ratio of the time embedding's levels.
        levels: number of levels; the embedding has twice as many values.
        encoding: how the embedding is computed, a name of :data:`ENCODINGS`.
        stem: widths of hidden 1×1 layers before the widening one (the original NeRV has one of 512 or 1024).
    """

    base: float = 1.25
    levels: int = 80
    encoding: str = "float64"
    stem: tuple[int, ...] = ()

    FAMILY: ClassVar[str] = "nerv"
    SCALED_BY: ClassVar[str] = "fc_dim"

    @classmethod
    def make(
        cls,
        size: tuple[int, int],
        frames: int,
        *,
        fc_dim: int = 37,
        strides: tuple[int, ...] = (4, 2, 2),
        kernels: tuple[int, ...] | None = None,
        reduction: float = 1.2,
        floor: int = 6,
        activation: str = "gelu",
        output: str = "tanh_unit",
        base: float = 1.25,
        levels: int = 80,
        encoding: str = "float64",
    ) -> NeRVConfig:
        """The paper's network by default: ``pe_1.25_80``, strides 4 2 2, kernels 3, widths 37 31 26 22.

        Raises:
            ModelError: the frame is not a multiple of the product of the strides.
        """
        enlargement = math.prod(strides)
        return cls(
            size,
            frames,
            widths=block_widths(fc_dim, len(strides), reduction, floor),
            strides=tuple(strides),
            kernels=tuple(kernels) if kernels is not None else (3,) * len(strides),
            grid=divide_size(size, (enlargement, enlargement), strides),
            embedding=(2 * levels, 1, 1),
            activation=activation,
            output=output,
            base=base,
            levels=levels,
            encoding=encoding,
        )


def _levels(time: Tensor, base: float, levels: int) -> Tensor:
    """Angles of the HNeRV code: float32 frequencies times the time in its own precision."""
    return time * (base ** torch.arange(levels) * math.pi)


def _concatenated(time: Tensor, base: float, levels: int) -> Tensor:
    angles = _levels(time, base, levels)
    return torch.cat([torch.sin(angles), torch.cos(angles)]).float()


def _interleaved(time: Tensor, base: float, levels: int) -> Tensor:
    angles = torch.stack([time * base**i * math.pi for i in range(levels)])
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=1).flatten().float()


ENCODINGS: dict[str, Callable[[float, float, int], Tensor]] = {
    "float64": lambda t, base, levels: _concatenated(torch.tensor([t], dtype=torch.float64), base, levels),
    "float32": lambda t, base, levels: _concatenated(torch.tensor([t], dtype=torch.float32), base, levels),
    "interleaved": lambda t, base, levels: _interleaved(torch.tensor(t, dtype=torch.float32), base, levels),
}
"""Time embeddings of published code. The last levels turn by 10^8 radians, so each precision is another embedding:
``float64`` is the HNeRV code's (sines, then cosines), ``float32`` the same of a single-precision time, ``interleaved``
the original NeRV code's (sine, cosine, sine, ...)."""


class NeRV(Decoder):
    """A time embedding ``(B, 2 * levels, 1, 1)`` to frames ``(B, 3, H, W)``; frame ``i`` is at time ``i / frames``."""

    config: NeRVConfig

    def __init__(self, config: NeRVConfig) -> None:
        self.config = config
        super().__init__(config)
        encode = choice(ENCODINGS, config.encoding, "time encoding")
        times = [encode(i / config.frames, config.base, config.levels) for i in range(config.frames)]
        self.register_buffer("embedding", torch.stack(times)[..., None, None], persistent=False)
        activation = choice(ACTIVATIONS, config.activation, "activation")
        layers: list[nn.Module] = []
        for inputs, outputs in zip((config.embedding[0], *config.stem), config.stem, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 1), activation()]
        if layers:
            self.stem = nn.Sequential(*layers)

    def _stem_inputs(self) -> int:
        return self.config.stem[-1] if self.config.stem else self.config.embedding[0]

    def forward(self, embedding: Tensor) -> Tensor:
        """``(B, 2 * levels, 1, 1)`` to ``(B, 3, H, W)``."""
        return super().forward(self.stem(embedding) if self.config.stem else embedding)
