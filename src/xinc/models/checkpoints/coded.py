"""A network in few bits: weights quantised as published codes do, entropy-coded by ``constriction``, in one file.

Each weight is stored in ``bits`` bits between its least and greatest value, of the whole tensor or of each channel of
one axis (then in float16), whichever is nearer: the rule of HNeRV's code, in which an axis may have so many channels
that their ends cost 2 % of the values. What was stored is then range-coded with the tensor's own histogram, where that
saves more than the histogram takes. What is no trained value (fixed frequencies) is kept as it is.

::

    XINCNET1            8 bytes
    crc, head, side     three numbers of 32 bits: checksum of all that follows, lengths of the next two parts
    head                zlib: JSON with family, configuration, bits, and an axis and model for each tensor
    side                zlib: for each tensor, in the order of the state dict: kept values; or ends of its channels and
                        its histogram in 8 bits
    words               range-coded values of all tensors, 32-bit little-endian words
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc import budget
from xinc.errors import CheckpointError, ModelError
from xinc.models.base import INR, Config
from xinc.models.families import family
from xinc.options.tables import CODES

MAGIC = b"XINCNET1"
VERSION = 1
"""Of the format, and of how weights are quantised."""
LENGTHS = struct.Struct("<III")
LARGEST_HEAD = 2**20
PER_BYTE, FREE = 64, 2**20
"""A file says how large its network is: it may have so many values a byte, beyond those that are always believed."""
OF_CHANNELS = 0.02
"""How many channels an axis may have, as a share of the values, to be quantised one by one."""
DAMAGE = (ValueError, TypeError, KeyError, AssertionError, RecursionError, struct.error, zlib.error)
"""What reading a damaged or forged file may end in: JSON, zlib and the decoder of constriction each have their own."""
WHOLE = -1
"""The axis of a tensor that is quantised as a whole."""
Levels = NDArray[np.int32]


@dataclass(frozen=True)
class Quantised:
    """A tensor in few bits: ``low + step * values``.

    Attributes:
        values: from 0 to ``2 ** bits - 1``, in the tensor's shape.
        axis: whose channels have ends of their own; :data:`WHOLE` for none.
        low: value of 0, one a channel.
        step: between neighbouring values, one a channel; 0 where a channel is constant.
    """

    values: Tensor
    axis: int
    low: Tensor
    step: Tensor

    @property
    def tensor(self) -> Tensor:
        """What was quantised, as it is read back."""
        shape = [-1 if d == self.axis else 1 for d in range(self.values.ndim)]
        return self.low.float().reshape(shape) + self.step.float().reshape(shape) * self.values


def quantise(tensor: Tensor, bits: int) -> Quantised:
    """Quantise a tensor as a whole or by channels of an axis, whichever has the least squared error."""
    axes = [a for a in range(tensor.ndim) if tensor.ndim > 1 and tensor.shape[a] <= OF_CHANNELS * tensor.numel()]
    found = [q for axis in (WHOLE, *axes) if (q := _quantised(tensor, bits, axis)) is not None]
    return min(found, key=lambda q: float((q.tensor - tensor).double().square().sum()))


def _quantised(tensor: Tensor, bits: int, axis: int) -> Quantised | None:
    """By channels of an axis; None where their ends are too large for float16."""
    rows = tensor.flatten()[None] if axis == WHOLE else tensor.movedim(axis, 0).flatten(1)
    kind = torch.float32 if axis == WHOLE else torch.float16
    low = rows.amin(1).to(kind)
    step = ((rows.amax(1) - low.float()) / (2**bits - 1)).clamp_min(0).to(kind)
    if not bool((low.isfinite() & step.isfinite()).all()):
        return None
    shape = [-1 if d == axis else 1 for d in range(tensor.ndim)]
    per = step.float().reshape(shape)
    values = ((tensor - low.float().reshape(shape)) / torch.where(per > 0, per, 1.0)).round().clamp(0, 2**bits - 1)
    return Quantised(torch.where(per > 0, values, 0.0).int(), axis, low, step)


def encode(model: INR, bits: int = 8) -> bytes:
    """A network as a file's bytes; :func:`decode` reads them.

    Args:
        model: a network of our families.
        bits: of a weight before entropy coding, 2 to 8.

    Raises:
        ModelError: ``bits`` is out of range, or a weight is no finite number.
    """
    from constriction import stream

    bits = CODES.check({"bits": bits})["bits"]
    trained = {name for name, _ in model.named_parameters()}
    tensors: list[tuple[int, bool] | None] = []
    side, encoder = [], stream.queue.RangeEncoder()
    for name, value in model.state_dict().items():
        value = value.detach().cpu().float()
        if not bool(value.isfinite().all()):
            raise ModelError(f"{name} holds values that are no finite numbers: a network that diverged is not exported")
        if name not in trained:
            tensors.append(None)
            side.append(value.numpy().astype("<f4").tobytes())
            continue
        found = quantise(value, bits)
        values: Levels = found.values.flatten().numpy()
        histogram = _histogram(values, bits)
        own = histogram is not None
        tensors.append((found.axis, own))
        kind = "<f4" if found.axis == WHOLE else "<f2"
        side += [ends.numpy().astype(kind).tobytes() for ends in (found.low, found.step)]
        if histogram is not None:
            side.append(histogram.tobytes())
        encoder.encode(values, _model(histogram, bits))
    head = {"family": model.config.FAMILY, "bits": bits, "config": model.config.to_dict(), "tensors": tensors}
    parts = [zlib.compress(json.dumps(head, separators=(",", ":")).encode(), 9), zlib.compress(b"".join(side), 9)]
    rest = b"".join([*parts, encoder.get_compressed().astype("<u4").tobytes()])
    return MAGIC + LENGTHS.pack(zlib.crc32(rest), *map(len, parts)) + rest


def write(model: INR, path: str | Path, bits: int = 8) -> Path:
    """Write :func:`encode`'s bytes into a file, in folders that are made for it; the file's path."""
    path, data = Path(path), encode(model, bits)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".partial")
    part.write_bytes(data)
    os.replace(part, path)
    return path


def _histogram(values: Levels, bits: int) -> NDArray[np.uint8] | None:
    """How often each value comes, the most frequent 255 times; None where knowing that saves less than it takes."""
    counts = np.bincount(values, minlength=2**bits)
    small = np.where(counts, np.maximum(1, np.rint(255 * counts / counts.max())), 0).astype(np.uint8)
    used = counts > 0
    spent = -(counts[used] * np.log2(small[used] / small.sum(dtype=np.float64))).sum() / 8
    return small if spent + len(zlib.compress(small.tobytes(), 9)) < values.size * bits / 8 else None


def _model(histogram: NDArray[np.uint8] | None, bits: int) -> Any:
    """What the entropy coder expects of a tensor's values."""
    from constriction import stream

    if histogram is None:
        return stream.model.Uniform(2**bits)
    return stream.model.Categorical(
        histogram.astype(np.float32) / np.float32(histogram.sum(dtype=np.int64)), perfect=False
    )


@dataclass(frozen=True)
class Coded:
    """A network as a coded file holds it.

    Attributes:
        config: its description.
        weights: by name, as they are read back.
        bits: of a weight before entropy coding.
    """

    config: Config
    weights: dict[str, Tensor]
    bits: int

    def model(self) -> INR:
        """The network, in evaluation mode."""
        made = family(self.config.FAMILY).model(self.config)
        made.load_state_dict(self.weights)
        return made.eval()


def is_coded(path: Path) -> bool:
    """Whether a file begins as :func:`encode` writes it."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def decode(data: bytes, what: str | Path) -> Coded:
    """Read what :func:`encode` wrote. Nothing in it is run, and memory is bounded by its own length.

    Args:
        data: a file's bytes.
        what: its name, for messages.

    Raises:
        CheckpointError: it is damaged, cut short, or describes a network that cannot be.
    """
    try:
        return _decoded(data)
    except CheckpointError as fault:
        raise CheckpointError(f"{what} {fault}") from None
    except (ModelError, *DAMAGE) as fault:
        reason = (str(fault).splitlines() or [type(fault).__name__])[0]
        raise CheckpointError(f"{what} is damaged ({reason:.120}); export the network again") from None


def _decoded(data: bytes) -> Coded:
    from constriction import stream

    start = len(MAGIC) + LENGTHS.size
    crc, *lengths = LENGTHS.unpack_from(data, len(MAGIC))
    rest = data[start:]
    if not data.startswith(MAGIC) or zlib.crc32(rest) != crc or sum(lengths) > len(rest):
        raise ValueError("its checksum differs")
    head = json.loads(_unpacked(rest[: lengths[0]], LARGEST_HEAD))
    bits = CODES.check({"bits": head["bits"]})["bits"]
    config = family(head["family"]).config.from_dict(head["config"])
    plans = list(_plans(config, head["tensors"], len(data)))
    side = _unpacked(rest[lengths[0] : sum(lengths)], sum(plan.side(bits) for plan in plans))
    if len(side) != sum(plan.side(bits) for plan in plans):
        raise ValueError("parts are missing")
    words = rest[sum(lengths) :]
    if len(words) % 4:
        raise ValueError("it ends amid a word")
    decoder, at, weights = stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32)), 0, {}
    for plan in plans:
        own = side[at : at + plan.side(bits)]
        weights[plan.name] = plan.read(own, bits, decoder)
        at += len(own)
    return Coded(config, weights, bits)


def _unpacked(packed: bytes, most: int) -> bytes:
    """What zlib packed, if it is no more than that."""
    stream = zlib.decompressobj()
    found = stream.decompress(packed, most + 1)
    if len(found) > most or not stream.eof:
        raise ValueError("a part is longer than it can be")
    return found


@dataclass(frozen=True)
class _Plan:
    """How one tensor lies in a file: ``axis`` is None where it is kept as it is."""

    name: str
    shape: tuple[int, ...]
    axis: int | None
    own: bool

    @property
    def channels(self) -> int:
        return 1 if self.axis in (None, WHOLE) else self.shape[self.axis or 0]

    def side(self, bits: int) -> int:
        """Bytes beside the coded values."""
        if self.axis is None:
            return 4 * math.prod(self.shape)
        return 2 * self.channels * (4 if self.axis == WHOLE else 2) + (2**bits if self.own else 0)

    def read(self, side: bytes, bits: int, decoder: Any) -> Tensor:
        if self.axis is None:
            return torch.from_numpy(np.frombuffer(side, "<f4").astype(np.float32).reshape(self.shape))
        ends = side[: len(side) - 2**bits] if self.own else side
        histogram = np.frombuffer(side[len(ends) :], np.uint8) if self.own else None
        low, step = np.frombuffer(ends, "<f4" if self.axis == WHOLE else "<f2").reshape(2, -1).astype(np.float32)
        if not np.isfinite([low, step]).all() or (histogram is not None and not histogram.any()):
            raise ValueError(f"{self.name} is stored by numbers that are not finite")
        values = decoder.decode(_model(histogram, bits), math.prod(self.shape)).reshape(self.shape)
        return Quantised(
            torch.from_numpy(values), self.axis, torch.from_numpy(low), torch.from_numpy(step)
        ).tensor.contiguous()


def _plans(config: Config, tensors: Any, length: int) -> Iterator[_Plan]:
    """How each tensor of the described network is stored, after a look at whether such a network can be in the file."""
    pixels = config.frames * math.prod(config.size)
    told = f"describes {config.frames:,} frames of {config.size[0]:,}×{config.size[1]:,} pixels, which"
    budget.afford(
        36.0 * pixels, told, "it may be forged", CheckpointError
    )  # as for the clip that they are compared with
    with torch.device("meta"):
        model = family(config.FAMILY).model(config)
    state, trained = model.state_dict(), {name for name, _ in model.named_parameters()}
    values = sum(value.numel() for value in state.values())
    if values > FREE + PER_BYTE * length:
        raise CheckpointError(f"describes a network of {values:,} values, which {length:,} bytes cannot hold")
    for (name, value), how in zip(state.items(), tensors, strict=True):
        axis, own = how if how is not None else (None, False)
        known = axis in (*range(value.ndim), WHOLE) if axis is not None else True
        if (axis is None) == (name in trained) or type(own) is not bool or not known:
            raise ValueError(f"{name} is stored in no known way")
        yield _Plan(name, tuple(value.shape), axis, own)
