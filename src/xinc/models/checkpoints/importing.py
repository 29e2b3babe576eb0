"""Making a network of somebody else's weights: read, recognised, loaded strictly, settled by the fit to the signal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xinc import budget
from xinc.errors import CheckpointError, ModelError
from xinc.models.base import INR, Config
from xinc.models.checkpoints.architectures import (
    READERS,
    Reading,
    check_axes,
    decoder_shape,
    guess_family,
    kin,
    picture_size,
)
from xinc.models.checkpoints.choices import ranked, replaced, told
from xinc.models.checkpoints.coded import decode, is_coded
from xinc.models.checkpoints.files import read_file
from xinc.models.checkpoints.names import EMBEDDINGS, dequantise, is_quantised, listing, networks_in, plain, weights_in
from xinc.models.families import family
from xinc.models.parts import OUTPUTS
from xinc.options.tables import IMPORTS

ANY_SIZE = (128, 256)
"""``(H, W)`` at which a network that makes any size is looked at: the paper's."""

VIDEO = (144, 256)
"""``(H, W)`` with the aspect of most videos, for what a NeRV's weights leave open."""


@dataclass(frozen=True)
class Imported:
    """A network made of somebody else's weights.

    Attributes:
        model: the network, in evaluation mode.
        psnr: how well it shows the frame by which open settings were chosen, in dB.
        notes: what was found, converted, chosen and left out, one sentence each.
    """

    model: INR
    psnr: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoint:
    """The named weights of a file.

    Attributes:
        path: the file.
        weights: float32 tensors by name, without wrapper keys and leading prefixes.
        notes: how they were stored.
        config: the network, where the file describes it, as one of ours does.
    """

    path: Path
    weights: dict[str, Tensor]
    notes: tuple[str, ...]
    config: Config | None = None

    @property
    def family(self) -> str | None:
        """The family that the file says, or whose names the weights have; None if of none."""
        return self.config.FAMILY if self.config else guess_family(self.weights)

    @property
    def told_family(self) -> str:
        """The same, where somebody needs one.

        Raises:
            CheckpointError: neither tells.
        """
        if self.family is None:
            raise CheckpointError(f"{self.path} does not tell its family; say it by --as ffn, siren, nerv or hnerv")
        return self.family

    def check_finite(self) -> None:
        """Whether all weights are numbers.

        Raises:
            CheckpointError: some are not; no picture can be made of them.
        """
        bad = {name: int((~value.isfinite()).sum()) for name, value in self.weights.items()}
        bad = {name: count for name, count in bad.items() if count}
        if bad:
            told = listing(f"{name} ({count})" for name, count in bad.items())
            raise CheckpointError(
                f"{self.path} holds values that are no finite numbers: {told}; "
                "its training diverged, or the file is damaged: take an earlier checkpoint"
            )

    def picture_size(self, name: str, aspect: float) -> tuple[int, int] | None:
        """Size of the frames that the network makes; see :func:`xinc.models.checkpoints.architectures.picture_size`.

        Raises:
            CheckpointError: the weights are not of that family.
        """
        with _told_of(self, name):
            if self.config is None:
                return picture_size(name, self.weights, aspect)
            if name != self.config.FAMILY:
                raise CheckpointError("it says of itself what it is")
            return self.config.size

    def frame_size(
        self, name: str, signal: tuple[int, int], asked: tuple[int, int] | None = None
    ) -> tuple[int, int] | None:
        """The size in which to open the signal that the network represents; None for its own.

        Args:
            name: family.
            signal: ``(H, W)`` of the signal's frames.
            asked: ``(H, W)`` that somebody wants.

        Raises:
            CheckpointError: the weights are not of that family.
            ModelError: the network does not make frames of the size asked for.
        """
        made = self.picture_size(name, signal[0] / signal[1])
        if made and asked and made != tuple(asked):
            raise ModelError(f"the {name} makes frames of {made[0]}×{made[1]}, not {asked[0]}×{asked[1]}")
        if made or asked or name != "hnerv":
            return made or asked
        step = math.prod(decoder_shape(self.weights).strides)  # its encoder takes any multiple
        height, width = (max(step, side // step * step) for side in signal)
        return height, width


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read the weights of a file without running anything in it.

    Args:
        path: a safetensors or torch file, or a folder of one: plain, wrapped (``state_dict``, ``model``, ...),
            Lightning's, or HNeRV's 8-bit format.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no named weights.
    """
    path = Path(path)
    if is_coded(path):
        coded = decode(path.read_bytes(), path)
        return Checkpoint(path, coded.weights, (f"its weights were stored in {coded.bits} bits",), coded.config)
    content, skipped = read_file(path)
    stored = weights_in(content, path)
    notes = []
    if quantised := sum(is_quantised(value) for value in stored.values()):
        notes.append(f"{quantised} tensors were stored in 8 bits with minimum and scale")
    if skipped:
        notes.append(f"objects that are no tensors were left out, nothing was executed: {listing(skipped)}")
    held = sum(t.numel() for value in stored.values() for t in _tensors_of(value))
    budget.tensors(path, held, CheckpointError)
    weights, done = plain({name: dequantise(value) for name, value in stored.items()})
    if len(others := networks_in(content)) > 1:
        notes.append(f"it holds {len(others)} networks: {listing(others)}")
    return Checkpoint(path, weights, (*notes, *done))


def _tensors_of(value: Any) -> Iterator[Tensor]:
    """A tensor, or the three of one in 8 bits."""
    yield from (one for one in (value.values() if isinstance(value, Mapping) else (value,)) if isinstance(one, Tensor))


def import_network(
    checkpoint: Checkpoint, name: str, frames: Tensor, settings: Mapping[str, Any] | None = None
) -> Imported:
    """Make a network of a checkpoint.

    Shapes tell the architecture. What they leave open (activation, output function, coordinates, time encoding,
    SIREN's frequency factors) is chosen by which network shows one frame of the signal best, unless ``settings`` say.

    Args:
        checkpoint: what :func:`open_checkpoint` read.
        name: family.
        frames: ``(T, 3, H, W)`` that the network represents.
        settings: fields of the family's configuration that are known, such as ``{"activation": "relu"}``.

    Raises:
        CheckpointError: the weights are not of that family, or names and shapes differ from its network's.
        ModelError: unknown family or setting, or the frames have a size that the network does not make.
    """
    row = family(name)
    known = IMPORTS[name].check(settings or {})
    checkpoint.check_finite()
    with _told_of(checkpoint, name):
        reading = _reading(checkpoint, name, frames)
    configs = list(dict.fromkeys(replaced(config, **known) for config in reading.configs))
    outputs = list(OUTPUTS)
    if "output" in known or checkpoint.config:
        outputs = [configs[0].to_dict()["output"]]
    _check_names(row.model(configs[0]), reading, checkpoint.path, name)
    scores = ranked(row.model, reading.state, configs, outputs, frames)
    best, config = scores[0]
    model = row.model(config)
    model.load_state_dict(reading.state)
    note = f"one frame is shown with {best:.1f} dB"
    if checkpoint.config is None:
        note = told(scores, model, frames, tuple(IMPORTS[name]))
    return Imported(model.eval(), best, (*checkpoint.notes, *reading.notes, note))


@dataclass(frozen=True)
class Outline:
    """A network of a checkpoint's shapes, made without its signal.

    Attributes:
        model: the network with the checkpoint's weights; where shapes leave something open, the first choice.
        known: what the shapes tell, fields of the family's configuration.
        open: fields that they do not tell.
        notes: what was converted, assumed and left out, one sentence each.
    """

    model: INR
    known: dict[str, Any]
    open: tuple[str, ...]
    notes: tuple[str, ...]


def outline(checkpoint: Checkpoint, size: tuple[int, int] | None = None) -> Outline:
    """Read a network off a checkpoint's shapes alone.

    Args:
        checkpoint: what :func:`open_checkpoint` read.
        size: ``(H, W)`` of a frame, for networks that make any size; the paper's 128×256 if not given.

    Raises:
        CheckpointError: the weights are of no known family, or names and shapes differ from its network's.
        ModelError: the network does not make frames of that size.
    """
    name = checkpoint.family
    checkpoint.check_finite()
    if name is None:
        what = kin(checkpoint.weights)
        raise CheckpointError(
            (f"it is {what}" if what else f"it has names of no known family ({listing(checkpoint.weights)})")
            + "; its module can be inspected and traced itself: package.module:name"
        )
    with _told_of(checkpoint, name):
        pass  # what is counted below has as many axes as it must
    wanted = checkpoint.frame_size(name, size or VIDEO, size) or ANY_SIZE
    count = next((len(checkpoint.weights[n]) for n in EMBEDDINGS if n in checkpoint.weights), 1)
    count = checkpoint.config.frames if checkpoint.config else count
    budget.frames(checkpoint.path, 1, *wanted)
    with _told_of(checkpoint, name):
        reading = _reading(checkpoint, name, torch.zeros(1, 3, *wanted).expand(count, -1, -1, -1))
    model = family(name).model(reading.configs[0])
    _check_names(model, reading, checkpoint.path, name)
    model.load_state_dict(reading.state)
    fields = reading.configs[0].to_dict()
    left = [
        f
        for f in fields
        if (f == "output" and not checkpoint.config)
        or any(getattr(c, f) != getattr(reading.configs[0], f) for c in reading.configs)
    ]
    known = {f: value for f, value in fields.items() if f not in left}
    notes = (*checkpoint.notes, *reading.notes)
    if name == "nerv" and not checkpoint.config:
        notes += (f"frames are taken to be {wanted[0]}×{wanted[1]}: of a NeRV's frames the weights tell only the area",)
    return Outline(model.eval(), known, tuple(left), notes)


def _reading(checkpoint: Checkpoint, name: str, frames: Tensor) -> Reading:
    """What the file says of its network, or what the shapes of its weights tell."""
    config = checkpoint.config
    if config is None:
        return READERS[name](checkpoint.weights, frames)
    count, _, height, width = frames.shape
    if (count, height, width) != (config.frames, *config.size):
        raise ModelError(
            f"{checkpoint.path} makes {config.frames} frames of {config.size[0]}×{config.size[1]}, the signal has "
            f"{count} of {height}×{width}; choose them by every, start and count as for the fit"
        )
    return Reading(checkpoint.weights, (config,))


def _check_names(model: nn.Module, reading: Reading, path: Path, name: str) -> None:
    """Compare names and shapes before loading, so that one message can list all that differs."""
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in reading.state.items()}
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    shapes = [f"{k} {found[k]} instead of {wanted[k]}" for k in sorted(wanted.keys() & found) if wanted[k] != found[k]]
    parts = {"missing": missing, "unknown": unknown, "other shapes": shapes}
    if any(parts.values()):
        differing = "; ".join(f"{what}: {listing(items)}" for what, items in parts.items() if items)
        raise CheckpointError(f"{path} does not fit the {name} that its shapes describe: {differing}")


@contextmanager
def _told_of(checkpoint: Checkpoint, name: str) -> Iterator[None]:
    """Completes what a reader found wrong with the file's name and what the file looks like instead."""
    try:
        check_axes(checkpoint.weights)
        yield
    except CheckpointError as fault:
        found = checkpoint.family
        what = kin(checkpoint.weights)
        looks = f"it looks like {what}" if what else f"it has {', '.join(list(checkpoint.weights)[:3])}, ..."
        if found not in (None, name):
            looks = f"it looks like a {found}; try --as {found}"
        raise CheckpointError(f"{checkpoint.path} is not a {name} that can be read: {fault} ({looks})") from None
