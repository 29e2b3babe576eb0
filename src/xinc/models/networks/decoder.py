"""The convolutional decoder that NeRV and HNeRV share, in the naming of the HNeRV code.

A 1×1 convolution widens a frame's embedding (``decoder.0.conv.downconv``); blocks of convolution, pixel shuffle and
activation enlarge it (``decoder.<i>.conv.upconv.0``); a convolution makes the colours (``head_layer``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from xinc.errors import ModelError
from xinc.models.base import INR, Config, Items
from xinc.models.parts import ACTIVATIONS, OUTPUTS, choice, read_inputs
from xinc.options.tables import DEFAULTS


@dataclass(frozen=True)
class DecoderConfig(Config):
    """Description of a decoder.

    Attributes:
        widths: channels before the first block (``fc_dim``), then after each block.
        strides: enlargement of each block.
        kernels: kernel size of each block, odd.
        grid: ``(fc_h, fc_w)``, how many cells the 1×1 convolution makes of one embedding position.
        embedding: ``(channels, height, width)`` of a frame's embedding.
        head_kernel: kernel size of the last convolution, odd.
        activation: name of the hidden activation.
        output: name of the output function.
    """

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    grid: tuple[int, int]
    embedding: tuple[int, int, int]
    head_kernel: int = 3
    activation: str = "gelu"
    output: str = "tanh_unit"

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks = len(self.strides)
        if blocks < 1 or len(self.kernels) != blocks or len(self.widths) != blocks + 1:
            raise ModelError(
                f"a decoder of {blocks} blocks needs {blocks} kernels and {blocks + 1} widths, "
                f"not kernels={self.kernels} and widths={self.widths}"
            )
        if even := [k for k in (*self.kernels, self.head_kernel) if k % 2 == 0]:
            raise ModelError(f"kernel size {even[0]} would shift the picture; use odd sizes such as 1, 3, 5")
        made = tuple(g * e * math.prod(self.strides) for g, e in zip(self.grid, self.embedding[1:], strict=True))
        if made != self.size:
            raise ModelError(
                f"this decoder makes frames of {made[0]}×{made[1]} "
                f"(strides {','.join(map(str, self.strides))}), the clip has {self.size[0]}×{self.size[1]}"
            )


def block_widths(fc_dim: int, blocks: int, reduction: float = 1.2, floor: int = 6) -> tuple[int, ...]:
    """Channels before the first block and after each: divided by ``reduction`` each time, at least ``floor``."""
    widths = [fc_dim]
    for _ in range(blocks):
        widths.append(max(round(widths[-1] / reduction), floor))
    return tuple(widths)


def divide_size(size: tuple[int, int], step: tuple[int, int], strides: tuple[int, ...]) -> tuple[int, int]:
    """``size / step``, the cells that the decoder starts from.

    Raises:
        ModelError: the frame is not a multiple of ``step``; the message proposes the nearest size that is.
    """
    if any(s % p for s, p in zip(size, step, strict=True)):
        near = tuple(max(p, round(s / p) * p) for s, p in zip(size, step, strict=True))
        all_make = for_all(size)
        also = "" if near == all_make else f" ({all_make[0]}×{all_make[1]} suits {' and '.join(DECODERS)} as they come)"
        raise ModelError(
            f"frames of {size[0]}×{size[1]} cannot be made by strides {','.join(map(str, strides))}: sides must be "
            f"multiples of {step[0]} and {step[1]}; resize the clip, e.g. to {near[0]}×{near[1]}{also}, or change "
            "strides"
        )
    return size[0] // step[0], size[1] // step[1]


DECODERS = {name: math.prod(options["strides"]) for name, options in DEFAULTS.items() if "strides" in options}
"""How much each family's default network enlarges its first grid: sides of its frames are multiples of that."""


def for_all(size: tuple[int, int]) -> tuple[int, int]:
    """The size nearest to ``(H, W)`` that the default networks of all families make, so that they can be compared."""
    step = math.lcm(*DECODERS.values())
    height, width = (max(step, round(side / step) * step) for side in size)
    return height, width


class DownConv(nn.Module):
    """The 1×1 convolution that widens the embedding."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.downconv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, h, w)``."""
        return self.downconv(x)  # type: ignore[no-any-return]


class UpConv(nn.Module):
    """Convolution and pixel shuffle."""

    def __init__(self, inputs: int, outputs: int, stride: int, kernel: int) -> None:
        super().__init__()
        self.upconv = nn.Sequential(
            nn.Conv2d(inputs, outputs * stride**2, kernel, padding=kernel // 2),
            nn.PixelShuffle(stride) if stride > 1 else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, stride * h, stride * w)``."""
        return self.upconv(x)  # type: ignore[no-any-return]


class Block(nn.Module):
    """A convolution with its activation."""

    def __init__(self, conv: nn.Module, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv = conv
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """What the convolution makes of ``(B, inputs, h, w)``, activated."""
        return self.act(self.conv(x))  # type: ignore[no-any-return]


class Decoder(INR):
    """An embedding ``(B, C, h, w)`` to frames ``(B, 3, H, W)``."""

    config: DecoderConfig
    embedding: Tensor
    """What goes in for each frame, ``(T, C, h, w)``."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        activation = choice(ACTIVATIONS, config.activation, "activation")
        stem = DownConv(self._stem_inputs(), config.widths[0] * math.prod(config.grid))
        steps = zip(config.widths[:-1], config.widths[1:], config.strides, config.kernels, strict=True)
        self.decoder = nn.ModuleList([Block(stem, activation), *(Block(UpConv(*step), activation) for step in steps)])
        kernel = config.head_kernel
        self.head_layer = nn.Conv2d(config.widths[-1], 3, kernel, padding=kernel // 2)
        self.output = choice(OUTPUTS, config.output, "output function")

    def _stem_inputs(self) -> int:
        """Channels that reach the first 1×1 convolution."""
        return self.config.embedding[0]

    def forward(self, embedding: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, 3, H, W)``."""
        x = self.decoder[0](embedding)
        rows, columns = self.config.grid
        batch, _, height, width = x.shape
        x = x.reshape(batch, -1, rows, columns, height, width).permute(0, 1, 4, 2, 5, 3)
        x = x.reshape(batch, -1, rows * height, columns * width)
        for block in list(self.decoder)[1:]:
            x = block(x)
        return self.output(self.head_layer(x))

    def narrower(self) -> Self:
        """This network without channels that no kernel reads, from the last layer to the first."""
        state, widths = dict(self.state_dict()), list(self.config.widths)
        cells = (math.prod(self.config.grid), *(stride**2 for stride in self.config.strides))
        names = ("decoder.0.conv.downconv", *(f"decoder.{i}.conv.upconv.0" for i in range(1, len(widths))))
        for at in reversed(range(len(widths))):
            reader = "head_layer" if at + 1 == len(widths) else names[at + 1]
            kept = read_inputs(state[f"{reader}.weight"])
            state[f"{reader}.weight"] = state[f"{reader}.weight"][:, kept]
            rows = (kept[:, None] * cells[at] + torch.arange(cells[at], device=kept.device)).flatten()
            for name in ("weight", "bias"):
                state[f"{names[at]}.{name}"] = state[f"{names[at]}.{name}"][rows]
            widths[at] = len(kept)
        config = replace(self.config, widths=tuple(widths))
        return self if config == self.config else self.like(config, state)

    def frame_input(self, index: int) -> Tensor:
        """The embedding of one frame, ``(1, C, h, w)``."""
        index = self.check_frame(index)
        return self.embedding[index : index + 1].detach()

    def items(self, frames: Tensor) -> Items:
        """The frames; gradients reach embeddings that are learnt."""
        return Items(frames, lambda chosen: self(self.embedding[chosen]))

    def to_image(self, output: Tensor) -> Tensor:
        """``(1, 3, H, W)`` to ``(3, H, W)``."""
        return output[0]
