"""Other people's names and shapes: what a file's weights tell of a network, family by family."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor

from xinc.errors import CheckpointError
from xinc.models.base import Config
from xinc.models.checkpoints.convnext import encoder_from
from xinc.models.checkpoints.names import EMBEDDINGS, Weights, listing
from xinc.models.networks.ffn import FFNConfig
from xinc.models.networks.hnerv import HNeRVConfig
from xinc.models.networks.nerv import ENCODINGS, NeRVConfig
from xinc.models.networks.siren import SirenConfig
from xinc.models.parts import ACTIVATIONS, LAYOUTS, coordinates


@dataclass(frozen=True)
class Reading:
    """What a file's weights tell, and what they leave open.

    Attributes:
        state: the weights in this package's names.
        configs: the networks that they could belong to; all have the same shapes.
        notes: what was converted or left out, for people.
    """

    state: Weights
    configs: tuple[Config, ...]
    notes: tuple[str, ...] = ()


def layers_of(weights: Weights) -> list[tuple[str, str]]:
    """Names of (weight, bias) of the linear layers, in order; what is called ``last_layer`` comes last."""
    names = [n for n, w in weights.items() if n.rpartition(".")[2] == "weight" and w.ndim == 2]

    def order(name: str) -> tuple[bool, list[int]]:
        return "last_layer" in name, [int(number) for number in re.findall(r"\d+", name)]

    return [(name, name.removesuffix("weight") + "bias") for name in sorted(names, key=order)]


def _chain(weights: Weights, target: str) -> Weights:
    """A chain of linear layers under new names ``target % layer``; layers without bias get one of zeros."""
    state: Weights = {}
    for i, (weight, bias) in enumerate(layers_of(weights)):
        state[target % i + ".weight"] = weights[weight]
        state[target % i + ".bias"] = weights.get(bias, weights[weight].new_zeros(len(weights[weight])))
    return state


def _left_over(weights: Weights, used: Iterable[str]) -> None:
    if rest := sorted(set(weights) - set(used)):
        raise CheckpointError(f"nothing is known of {listing(rest)}")


def _read_mlp(weights: Weights, inputs: int, others: Iterable[str] = ()) -> list[int]:
    """Widths of a chain of linear layers from ``inputs`` values to 3 colours.

    Raises:
        CheckpointError: the layers do not follow on each other, or other weights are there.
    """
    layers = layers_of(weights)
    _left_over(weights, [*others, *(name for layer in layers for name in layer)])
    shapes = [tuple(weights[name].shape) for name, _ in layers]
    follows = all(a[0] == b[1] for a, b in pairwise(shapes))
    if len(shapes) < 2 or not follows or shapes[0][1] != inputs or shapes[-1][0] != 3:
        raise CheckpointError(f"linear layers of shapes {shapes} do not lead from {inputs} values to 3 colours")
    return [shape[0] for shape in shapes[:-1]]


def _different(widths: Sequence[int]) -> tuple[int, ...]:
    return tuple(widths) if len(set(widths)) > 1 else ()


def read_ffn(weights: Weights, frames: Tensor) -> Reading:
    """XINC's Fourier feature network: ``positional_encoding.B``, ``net.<i>.linear.weight``."""
    matrix = "positional_encoding.B"
    frequencies = len(_need(weights, matrix))
    if weights[matrix].shape[1] != 2:
        raise CheckpointError(f"{matrix} takes {weights[matrix].shape[1]} coordinates; pictures have 2")
    widths = _read_mlp(weights, 2 * frequencies, [matrix])
    size = (frames.shape[2], frames.shape[3])
    scale = float(weights[matrix].std()) if frequencies > 1 else 1.0
    layers = len(widths) + 1
    configs = tuple(
        FFNConfig(size, 1, frequencies, widths[0], layers, scale, layout=layout, widths=_different(widths))
        for layout in _layouts(size, "longest")
    )
    return Reading({matrix: weights[matrix], **_chain(weights, "net.%d.linear")}, configs)


FACTORS = tuple((first, others) for first in (30.0, 10.0, 20.0, 60.0) for others in dict.fromkeys((first, 1.0, 30.0)))
"""Frequency factors (first layer, others) of published SIRENs, those of the common packages first."""


def _layouts(size: tuple[int, int], usual: str) -> list[str]:
    """Layouts that give this size different coordinates, the usual axes first."""
    kept: dict[str, Tensor] = {}
    for name in sorted(LAYOUTS, key=lambda name: not name.startswith(usual)):
        points = coordinates(size, name)
        if not any(torch.allclose(points, other, atol=1e-6) for other in kept.values()):
            kept[name] = points
    return list(kept)


def read_siren(weights: Weights, frames: Tensor) -> Reading:
    """A chain of linear layers from 2 coordinates to 3 colours, whatever they are called.

    Known are ``net.net.<i>.0`` (the authors'), ``net.<i>.linear`` with ``net.<last>`` (their notebook's),
    ``layers.<i>``, ``net.layers.<i>`` or ``net.<i>`` with ``last_layer`` (siren-pytorch) and ``last_layer.linear``.
    """
    widths = _read_mlp(weights, 2)
    size = (frames.shape[2], frames.shape[3])
    configs = tuple(
        SirenConfig(
            size, 1, widths[0], len(widths) + 1, first, others, layout=layout, final=final, widths=_different(widths)
        )
        for final, (first, others), layout in product(("linear", "sine"), FACTORS, _layouts(size, "axes"))
    )
    return Reading(_chain(weights, "net.%d.linear"), configs)


def read_nerv(weights: Weights, frames: Tensor) -> Reading:
    """A NeRV in the names of the HNeRV code, or in its own."""
    state, notes = _from_original(weights) if "layers.0.conv.conv.weight" in weights else (dict(weights), [])
    shape = decoder_shape(state)
    embedded = next((n for n in state if n in EMBEDDINGS or n.startswith("encoder.")), None)
    if embedded:
        raise CheckpointError(f"it holds {embedded}, which a nerv has not: it is an hnerv")
    hidden = sorted((n for n in state if re.fullmatch(r"stem\.\d+\.weight", n)), key=lambda n: int(n.split(".")[1]))
    inputs = int((state[hidden[0]] if hidden else state[STEM]).shape[1])
    if inputs % 2:
        raise CheckpointError(f"its time embedding has {inputs} values, not pairs of sine and cosine")
    config = NeRVConfig(
        size=(frames.shape[2], frames.shape[3]),
        frames=len(frames),
        **shape.settings(shape.grid(frames.shape[2] / frames.shape[3])),
        embedding=(inputs, 1, 1),
        levels=inputs // 2,
        stem=tuple(len(state[name]) for name in hidden),
    )
    encodings = ["interleaved", "float32", "float64"] if notes else list(ENCODINGS)
    configs = (replace(config, encoding=e, activation=a) for e, a in product(encodings, ACTIVATIONS))
    return Reading(state, tuple(configs), tuple(notes))


def read_hnerv(weights: Weights, frames: Tensor) -> Reading:
    """An HNeRV decoder with stored embeddings, or with the ConvNeXt encoder that makes them of the clip."""
    state = {name: value for name, value in weights.items() if not name.startswith("encoder.")}
    encoder = {name.removeprefix("encoder."): v for name, v in weights.items() if name.startswith("encoder.")}
    stored = next((name for name in EMBEDDINGS if name in state), None)
    notes = []
    if stored:
        state["embedding"] = state.pop(stored)
        notes += ["the encoder was left out: the file holds the embeddings that it made"] if encoder else []
    elif encoder:
        notes.append("the frames' embeddings were made by the file's own encoder")
        with torch.no_grad():
            state["embedding"] = torch.cat([encoder_from(encoder)(frame[None]) for frame in frames])
    else:
        raise CheckpointError("it holds neither frames' embeddings nor an encoder; a network of time alone is a nerv")
    embedding, shape = state["embedding"], decoder_shape(state)
    if embedding.ndim != 4 or embedding.shape[1] != state[STEM].shape[1]:
        raise CheckpointError(f"embeddings of shape {tuple(embedding.shape)} do not enter {STEM}")
    if len(embedding) != len(frames):
        raise CheckpointError(
            f"it holds the embeddings of {len(embedding)} frames, the clip has {len(frames)}; "
            "give the clip that it was trained on, all of it"
        )
    config = HNeRVConfig(
        size=(frames.shape[2], frames.shape[3]),
        frames=len(frames),
        **shape.settings(shape.grid(1)),
        embedding=(int(embedding.shape[1]), int(embedding.shape[2]), int(embedding.shape[3])),
    )
    return Reading(state, tuple(replace(config, activation=a) for a in ACTIVATIONS), tuple(notes))


STEM = "decoder.0.conv.downconv.weight"
HEAD = "head_layer.weight"


@dataclass(frozen=True)
class DecoderShape:
    """What a decoder's weights tell: widths, strides, kernels, and the number of cells before the first block."""

    widths: tuple[int, ...]
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    cells: int
    head_kernel: int

    def grid(self, aspect: float) -> tuple[int, int]:
        """Rows and columns of the cells whose aspect (height / width) is nearest."""
        small = [r for r in range(1, math.isqrt(self.cells) + 1) if self.cells % r == 0]
        rows = [*small, *(self.cells // r for r in reversed(small))]
        best = min(rows, key=lambda r: abs(math.log(r * r / self.cells / aspect)))
        return best, self.cells // best

    def settings(self, grid: tuple[int, int]) -> dict[str, Any]:
        """The part of a configuration that the shapes decide."""
        return {
            "widths": self.widths,
            "strides": self.strides,
            "kernels": self.kernels,
            "grid": grid,
            "head_kernel": self.head_kernel,
        }


def decoder_shape(state: Weights) -> DecoderShape:
    """Read a decoder in the names of the HNeRV code; a block's stride squared is its outputs by the next one's inputs.

    Raises:
        CheckpointError: names or shapes are not such a decoder's.
    """
    blocks: list[Tensor] = []
    while (name := f"decoder.{len(blocks) + 1}.conv.upconv.0.weight") in state:
        blocks.append(state[name])
    if norms := sorted(name for name in state if ".norm." in name and not name.startswith("encoder.")):
        raise CheckpointError(f"it normalises ({norms[0]}), which this decoder does not; trace the module itself")
    stem, head = _need(state, STEM), _need(state, HEAD)
    if not blocks:
        raise CheckpointError("it has no block decoder.1.conv.upconv.0: other kinds of up-sampling are not supported")
    inputs = [*(int(block.shape[1]) for block in blocks), int(head.shape[1])]
    strides = [math.isqrt(len(block) // after) for block, after in zip(blocks, inputs[1:], strict=True)]
    for i, (block, after, stride) in enumerate(zip(blocks, inputs[1:], strides, strict=True), start=1):
        if stride * stride * after != len(block):
            raise CheckpointError(f"block {i} makes {len(block)} channels, the next takes {after}: no square shuffle")
    if len(stem) % inputs[0]:
        raise CheckpointError(f"{STEM} makes {len(stem)} channels, which are no multiple of {inputs[0]}")
    kernels = tuple(int(block.shape[2]) for block in blocks)
    return DecoderShape(tuple(inputs), tuple(strides), kernels, len(stem) // inputs[0], int(head.shape[2]))


def _from_original(weights: Weights) -> tuple[Weights, list[str]]:
    """The original NeRV's names: linear layers ``stem.<i>``, ``layers.<i>.conv.conv``, a head for each resolution."""
    stems = [name for name, _ in layers_of(weights) if name.startswith("stem.")]
    heads = sorted({int(n.split(".")[1]) for n in weights if n.startswith("head_layers.")})
    if not stems or not heads:
        raise CheckpointError("it has layers.0.conv.conv but no stem or no head_layers: not the original NeRV")
    last_stem, last_head = stems[-1].removesuffix(".weight"), f"head_layers.{heads[-1]}"
    state: Weights = {}
    for name, value in weights.items():
        layer, _, kind = name.rpartition(".")
        value = value[..., None, None] if layer.startswith("stem.") and value.ndim == 2 else value
        if layer == last_stem:
            state[f"decoder.0.conv.downconv.{kind}"] = value
        elif match := re.fullmatch(r"layers\.(\d+)\.conv\.conv", layer):
            state[f"decoder.{int(match[1]) + 1}.conv.upconv.0.{kind}"] = value
        elif layer == last_head:
            state[f"head_layer.{kind}"] = value
        elif not layer.startswith("head_layers."):
            state[name] = value
    notes = ["converted from the original NeRV's names"]
    if len(heads) > 1:
        notes.append(f"of its {len(heads)} heads the one of the full resolution was taken")
    return state, notes


AXES: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"decoder\.\d+\.conv\.(downconv|upconv\.0)\.weight"), 4),
    (re.compile(r"head_layers?(\.\d+)?\.weight|layers\.\d+\.conv\.conv\.weight"), 4),
    (re.compile("|".join(EMBEDDINGS)), 4),
    (re.compile(r"positional_encoding\.B"), 2),
)
"""How many axes weights of these names have."""


def check_axes(weights: Weights) -> None:
    """Whether weights that are known by their names have as many axes as they must.

    Raises:
        CheckpointError: one has not.
    """
    for name, value in weights.items():
        wanted = next((axes for pattern, axes in AXES if pattern.fullmatch(name)), value.ndim)
        if value.ndim != wanted:
            raise CheckpointError(f"{name} has {value.ndim} axes, not {wanted}")
        if value.is_complex():
            raise CheckpointError(f"{name} holds complex numbers")


def _need(weights: Weights, name: str) -> Tensor:
    if name not in weights:
        raise CheckpointError(f"it has no {name}")
    return weights[name]


READERS: dict[str, Callable[[Weights, Tensor], Reading]] = {
    "ffn": read_ffn,
    "siren": read_siren,
    "nerv": read_nerv,
    "hnerv": read_hnerv,
}
"""How the weights of each family are read; frames ``(T, 3, H, W)`` give the size and number of frames."""


def guess_family(weights: Weights) -> str | None:
    """The family whose names and shapes the weights have, None if of none."""
    names = set(weights)
    if "positional_encoding.B" in names:
        return "ffn"
    if STEM in names:
        embedded = any(n in EMBEDDINGS or n.startswith("encoder.") for n in names)
        return "hnerv" if embedded else "nerv"
    if "layers.0.conv.conv.weight" in names:
        return "nerv"
    if kin(weights) is not None:
        return None
    layers = layers_of(weights)
    return "siren" if layers and weights[layers[0][0]].shape[1] == 2 and len(weights[layers[-1][0]]) == 3 else None


def kin(weights: Weights) -> str | None:
    """What kind of network weights are that are of no family here, where names, types or shapes tell it."""
    names = " ".join(weights)
    if any(value.is_complex() for value in weights.values()) or re.search(r"\bscale_0\b|\bfreqs\.weight\b", names):
        return "a WIRE: its layers are Gabor wavelets, with complex weights or scales of their own"
    if re.search(r"\bfilters\.\d+\.(linear\.)?weight\b", names):
        heads = {name.split(".")[1] for name in weights if name.startswith("output_linear.")}
        outputs = f", {len(heads)} outputs" if heads else ""
        return (
            f"a multiplicative filter network, such as BACON: {_values(weights, 'filters.')} enter its filters{outputs}"
        )
    if re.search(r"\blayers_xyz\b|\bfc_alpha\b|\balpha_linear\b|\bpts_linears\b", names):
        parts = sorted({name.partition(".")[0] for name in weights if re.search("coarse|fine", name.partition(".")[0])})
        several = f"{len(parts)} radiance fields ({', '.join(parts)})" if len(parts) > 1 else "a radiance field"
        return f"{several}, such as NeRF's: points and directions in space become density and colour"
    layers = layers_of(weights)
    if not layers:
        return None
    first, last = (weights[layers[end][0]] for end in (0, -1))
    shapes = [tuple(weights[name].shape) for name, _ in layers]
    chained = len(layers) > 1 and all(a[0] == b[1] for a, b in pairwise(shapes))
    if chained and (first.shape[1], len(last)) != (2, 3):
        return (
            f"a chain of {len(layers)} linear layers from {_counted(first.shape[1], 'value')} to "
            f"{_counted(len(last), 'value')}; a picture's leads from 2 coordinates to 3 colours"
        )
    bias = weights.get(layers[0][1])
    if chained and bias is not None and float(bias.abs().max()) > FINER_BIAS:
        return (
            f"perhaps a FINER, whose names are a SIREN's: its first biases reach {float(bias.abs().max()):.1f}, "
            f"a SIREN's begin within {2**-0.5:.2f}"
        )
    return None


FINER_BIAS = 3.0
"""First biases beyond this are not a SIREN's, which begin within 0.71 and move little; FINER draws them from ±20."""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _values(weights: Weights, prefix: str) -> str:
    """How many values enter the first layer of that name."""
    first = next((v for name, v in weights.items() if name.startswith(prefix) and v.ndim == 2), None)
    return "values" if first is None else _counted(int(first.shape[1]), "value")


def picture_size(name: str, weights: Weights, aspect: float) -> tuple[int, int] | None:
    """Size of the frames that a decoder makes, ``(H, W)``; None for networks that make any size.

    Args:
        name: family.
        weights: the file's.
        aspect: height / width of the signal; what a NeRV's weights leave open is chosen to be near it.
    """
    if name not in ("nerv", "hnerv"):
        return None
    state = _from_original(weights)[0] if "layers.0.conv.conv.weight" in weights else weights
    shape = decoder_shape(state)
    rows, columns = shape.grid(1 if name == "hnerv" else aspect)
    enlargement = math.prod(shape.strides)
    stored = next((weights[n] for n in EMBEDDINGS if n in weights), None)
    if name == "hnerv" and stored is None:
        return None
    height, width = (int(stored.shape[2]), int(stored.shape[3])) if stored is not None else (1, 1)
    return rows * height * enlargement, columns * width * enlargement
