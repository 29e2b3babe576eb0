"""What every implicit neural representation of this package has in common: a configuration, inputs, a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xinc.errors import ModelError
from xinc.notation import Image
from xinc.options.tables import CONFIGS


@dataclass(frozen=True)
class Config:
    """The part of a network's description that every family has.

    Attributes:
        size: ``(H, W)`` of a frame in pixels.
        frames: number of frames that the network represents.
    """

    size: tuple[int, int]
    frames: int

    FAMILY: ClassVar[str]
    """The family that it describes."""
    SCALED_BY: ClassVar[str]
    """The option of :meth:`make` that a parameter target changes."""

    @classmethod
    def make(cls, size: tuple[int, int], frames: int) -> Self:
        """Derive a configuration from a signal's size; the families add their options as keywords."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        for name, value in CONFIGS[self.FAMILY].check(self.to_dict()).items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a configuration from :meth:`to_dict`'s values.

        Raises:
            ModelError: a value is missing or unknown.
        """
        required = {
            field.name
            for field in dataclasses.fields(cls)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        checked = CONFIGS[cls.FAMILY].check(values)
        if missing := sorted(required - set(values)):
            raise ModelError(f"the description of a network ({cls.FAMILY}) lacks {', '.join(missing)}")
        return cls(**checked)


@dataclass(frozen=True)
class Items:
    """The pieces of a signal that a fit draws its batches from: frames of a clip, or pixels of an image.

    Attributes:
        targets: one row an item.
        predict: indices ``(B,)``, or a slice, to the network's ``B`` rows for them.
    """

    targets: Tensor
    predict: Callable[[Tensor | slice], Tensor]


class INR(nn.Module):
    """An implicit neural representation: a plain module that knows its signal's size and its own inputs.

    ``network(network.frame_input(i))`` is the network's own output for frame ``i``; :meth:`render` gives the same as a
    picture, whatever shape the family returns.
    """

    config: Config

    def frame_input(self, index: int) -> Tensor:
        """What :meth:`forward` takes for one frame, on the network's device.

        Args:
            index: frame number, 0 to ``config.frames - 1``.

        Raises:
            ModelError: the network has no such frame.
        """
        raise NotImplementedError

    def to_image(self, output: Tensor) -> Tensor:
        """The network's output for one frame as a picture ``(3, H, W)``."""
        raise NotImplementedError

    def items(self, frames: Tensor) -> Items:
        """What a fit to ``frames`` ``(T, 3, H, W)`` draws its batches from."""
        raise NotImplementedError

    def render(self, index: int) -> Image:
        """Frame ``index`` as the network sees it. Shape ``(3, H, W)``; values are not clamped to [0, 1]."""
        return self.to_image(self(self.frame_input(index)))

    def narrower(self) -> Self:
        """This network without channels and features that no weight reads: the same pictures, smaller tensors.

        Itself where every one is read.
        """
        return self

    def like(self, config: Config, state: Mapping[str, Tensor]) -> Self:
        """A network of this family with another configuration and its weights, where and as precise as this one."""
        made = type(self)(config).to(next(self.parameters()))
        made.load_state_dict(state)
        return made.train(self.training)

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.parameters()).device

    def check_frame(self, index: int) -> int:
        """Return ``index`` if the network has that frame.

        Raises:
            ModelError: it has not.
        """
        if not 0 <= index < self.config.frames:
            raise ModelError(f"frame {index} does not exist: the network has frames 0 to {self.config.frames - 1}")
        return index


def count_parameters(model: nn.Module) -> int:
    """Number of trained values of a network (buffers, such as fixed Fourier frequencies, do not count)."""
    return sum(p.numel() for p in model.parameters())


def bits_per_pixel(parameters: int, pixels: int, bits: int = 8) -> float:
    """Size of a network relative to its signal: ``bits * parameters / pixels``.

    Eight bits a parameter is how the paper's models are of like size: 8.05 for the FFN of one 128×256 frame (32,971
    parameters) and 7.96 for the NeRV of 30 such frames (978,557 parameters).

    Args:
        parameters: number of trained values.
        pixels: frames × height × width.
        bits: stored bits of a parameter (32 as trained, 8 as the NeRV papers quantise them).
    """
    return bits * parameters / pixels


KEPT_FEATURES = 2**28
"""Values of precomputed features that a fit holds at most (a gigabyte)."""

BAND = 2**18
"""Pixels that a coordinate network shows at a time."""


class Pixelwise(INR):
    """A network that maps the coordinates of one pixel to its colour: ``(..., 2)`` to ``(..., 3)``."""

    grid: Tensor
    net: nn.Module
    output: Callable[[Tensor], Tensor]

    def frame_input(self, index: int) -> Tensor:
        """Coordinates of all pixels, ``(H, W, 2)``; there is one frame."""
        self.check_frame(index)
        return self.grid

    @property
    def feature_count(self) -> int:
        """Values that the first trained layer sees of a pixel."""
        return 2

    def features(self, x: Tensor) -> Tensor:
        """Coordinates ``(..., 2)`` to what the first trained layer sees, ``(..., feature_count)``: never trained."""
        return x

    def from_features(self, features: Tensor) -> Tensor:
        """``(..., feature_count)`` to colours ``(..., 3)``."""
        return self.output(self.net(features))

    def forward(self, x: Tensor) -> Tensor:
        """Coordinates ``(..., 2)`` to colours ``(..., 3)``."""
        return self.from_features(self.features(x))

    def items(self, frames: Tensor) -> Items:
        """The pixels of the first frame; their features are computed once where they fit in a gigabyte."""
        targets = frames[0].flatten(1).T.contiguous()
        if len(targets) * self.feature_count > KEPT_FEATURES:
            pixels = self.grid.flatten(0, 1)
            return Items(targets, lambda chosen: self(pixels[chosen]))
        features = self.features(self.grid.flatten(0, 1))
        return Items(targets, lambda chosen: self.from_features(features[chosen]))

    def render(self, index: int) -> Image:
        """The picture, ``(3, H, W)``, in bands of rows that keep hidden values small; not clamped to [0, 1]."""
        rows = max(1, BAND // self.config.size[1])
        bands = self.frame_input(index).split(rows)  # type: ignore[no-untyped-call]
        return torch.cat([self.to_image(self(band)) for band in bands], dim=1)

    def to_image(self, output: Tensor) -> Tensor:
        """``(H, W, 3)`` to ``(3, H, W)``."""
        return output.movedim(-1, 0)


def decibels(error: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Peak signal-to-noise ratio in dB of mean squared errors of values in [0, 1]; at most 100."""
    return -10 * error.clamp_min(1e-10).log10()


def apart(picture: Image, whole: Image) -> float:
    """:func:`decibels` of one picture against another; infinite where they are equal."""
    error = (picture - whole).detach().double().square().mean()
    return float(decibels(error)) if error > 0 else float("inf")
