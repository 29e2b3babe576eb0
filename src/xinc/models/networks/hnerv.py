"""HNeRV's decoder with its frames' embeddings (Chen et al. 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from xinc.models.networks.decoder import Decoder, DecoderConfig, block_widths, divide_size

SPREAD = 2.7
"""Standard deviation of new embeddings: that of the published ones. Near zero they hardly tell frames apart, and a fit
stays for long at the frames' mean."""


@dataclass(frozen=True)
class HNeRVConfig(DecoderConfig):
    """Description of an HNeRV decoder; ``embedding`` is ``(channels, height, width)`` of one frame's stored values."""

    FAMILY: ClassVar[str] = "hnerv"
    SCALED_BY: ClassVar[str] = "fc_dim"

    @classmethod
    def make(
        cls,
        size: tuple[int, int],
        frames: int,
        *,
        fc_dim: int = 37,
        strides: tuple[int, ...] = (4, 4, 2, 2),
        kernels: tuple[int, ...] | None = None,
        channels: int = 16,
        reduction: float = 1.2,
        floor: int = 12,
        activation: str = "gelu",
        output: str = "tanh_unit",
    ) -> HNeRVConfig:
        """A decoder for a frame's size, with kernels 1, 3, 5, 5, ... as HNeRV has them unless said.

        Raises:
            ModelError: the frame is not a multiple of the product of the strides.
        """
        enlargement = math.prod(strides)
        height, width = divide_size(size, (enlargement, enlargement), strides)
        return cls(
            size,
            frames,
            widths=block_widths(fc_dim, len(strides), reduction, floor),
            strides=tuple(strides),
            kernels=tuple(kernels) if kernels is not None else tuple(min(1 + 2 * i, 5) for i in range(len(strides))),
            grid=(1, 1),
            embedding=(channels, height, width),
            activation=activation,
            output=output,
        )


class HNeRV(Decoder):
    """A frame's embedding ``(B, C, h, w)`` to frames ``(B, 3, H, W)``.

    The embeddings of all frames are the parameter ``embedding``, ``(T, C, h, w)``. HNeRV's encoder makes them during
    its own training; fitted here they are learnt directly, as an auto-decoder.
    """

    config: HNeRVConfig

    def __init__(self, config: HNeRVConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Parameter(torch.randn(config.frames, *config.embedding) * SPREAD)
