"""What lies before the picture-like grids: stems, latents and modulators as layers, and the share of all parameters.

A stem turns a time code or a latent into a small grid, a modulator scales or shifts whole channels: linear operations
with a single place, whose neurons are the features that they read. Where the first grid is given, not made (the
embedding of an HNeRV), its entries are neurons of a layer of their own. What they add can be transported, removed and
differentiated like anything else; weights and mean filters give it no place, so the paper's method has no map of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from xinc.canvas.network.contractions import Contraction
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.output import Picture
from xinc.canvas.network.recording import Recording, Value, check_repeats
from xinc.errors import TraceError

EMBEDDING = "embedding"
"""Name of the layer whose neurons are the entries of the first grid."""
ENTRIES = 1 << 13
"""A grid of more entries is no embedding but a picture that the network works on."""


def stems_of(
    recording: Recording,
    linear_ops: Sequence[LinearOperation],
    canvas: Sequence[LinearOperation],
    picture: Picture,
    taken: Iterable[str],
) -> list[LinearOperation]:
    """The layers before and beside the canvas, in the order of the forward pass; none where they cannot be repeated.

    Args:
        recording: of the network.
        linear_ops: all that the picture depends on.
        canvas: those that are layers of the canvas, as they were read.
        picture: the output.
        taken: names of the canvas's layers.
    """
    if picture.size == (1, 1) or not canvas:
        return []
    before = linear_ops[: [id(layer) for layer in linear_ops].index(id(canvas[0]))]
    skipped = [layer for layer in before if layer.positions == 1 or _leads_to(recording, layer, canvas[0])]
    beside = [layer for layer in linear_ops[len(before) :] if layer.positions == 1]
    stems = [as_features(layer) if layer.positions == 1 else layer for layer in (*skipped, *beside)]
    stems = [layer for layer in stems if _read(recording, layer)]
    first = next((layer for layer in linear_ops if any(layer.result == stem.result for stem in stems)), canvas[0])
    embedding = _embedding(recording, first, picture)
    stems = [*([embedding] if embedding else []), *stems]
    names = set(taken)
    stems = [replace(layer, name=f"{layer.name}#stem") if layer.name in names else layer for layer in stems]
    try:
        check_repeats(recording, [layer.result for layer in stems], picture.value)
    except TraceError:  # a chain is read without repeating what lies before it
        return []
    return stems


def _leads_to(recording: Recording, layer: LinearOperation, first: LinearOperation) -> bool:
    """Whether a layer widens the very grid that the canvas begins with, as HNeRV's first convolution does."""
    same = layer.kind == "convolution" and layer.values.shape[-2:] == first.values.shape[-2:]
    return same and bool(recording.between(layer.result, first.reads) or layer.result == first.reads)


def _read(recording: Recording, layer: LinearOperation) -> bool:
    """Whether its terms and bias sum to what was recorded."""
    wanted = recording[layer.result]
    off = (layer.recomputed() - wanted).abs().max()
    return bool(off <= 10 * recording.tolerance * max(float(wanted.abs().max()), 1e-6))


def as_features(layer: LinearOperation) -> LinearOperation:
    """A 1x1 convolution of a single place as the linear layer that it is; others as they are."""
    plain = layer.kind == "convolution" and tuple(layer.weight.shape[2:]) == (1, 1) and layer.groups == 1
    if not plain or len(layer.values) != 1:
        return layer
    batch = "p" if len(layer.shape) == 4 else ""
    sizes = {"p": 1, "y": 1, "x": 1, "i": layer.inputs, "o": layer.outputs}
    contraction = Contraction(f"{batch}iyx", "oi", f"{batch}oyx", tuple(sizes.items()))
    values, weight = layer.values.reshape(1, -1), layer.weight.reshape(layer.outputs, layer.inputs)
    return replace(layer, kind="linear", values=values, weight=weight, contraction=contraction, call={})


def _embedding(recording: Recording, first: LinearOperation, picture: Picture) -> LinearOperation | None:
    """The entries of the grid that the first convolution reads, where that is much smaller than the picture."""
    values = recording[first.reads]
    places = values.shape[-2] * values.shape[-1] if values.ndim > 2 else 0
    height, width = picture.size
    if first.kind != "convolution" or not 1 < places <= height * width // 4 or not 1 < values.numel() <= ENTRIES:
        return None
    letters = "abcdefgh"[: values.ndim]
    contraction = Contraction("pi", f"{letters}i", f"p{letters}", (("p", 1), *zip(letters, values.shape, strict=True)))
    return replace(
        first,
        name=EMBEDDING,
        module="",
        kind="linear",
        result=first.reads,
        values=values.reshape(1, -1),
        weight=torch.eye(values.numel(), dtype=values.dtype, device=values.device),
        bias=None,
        shape=tuple(values.shape),
        call={},
        contraction=_Unbatched.of(contraction),
    )


class _Unbatched(Contraction):
    """A contraction whose single position is no axis of the output."""

    @classmethod
    def of(cls, contraction: Contraction) -> _Unbatched:
        """The same letters."""
        return cls(contraction.input, contraction.weight, contraction.output, contraction.sizes)

    def to_rows(self, output: torch.Tensor) -> torch.Tensor:
        """Outputs ``(n, *shape)`` as ``(n, 1, C_out)``."""
        return output.reshape(len(output), 1, -1)

    def to_output(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows ``(n, 1, C_out)`` as outputs ``(n, *shape)``."""
        return rows.reshape(len(rows), *(size for _, size in self.sizes[1:]))


@dataclass(frozen=True)
class Weight:
    """A parameter of the traced network.

    Attributes:
        name: qualified.
        values: how many numbers it holds.
        layer: of the canvas or before it that it belongs to, as weight, bias or what is read; None for none.
        used: whether the picture depends on it.
    """

    name: str
    values: int
    layer: str | None
    used: bool


def weights_of(recording: Recording, layers: Sequence[LinearOperation], end: Value) -> tuple[Weight, ...]:
    """Every trained parameter of a network with the layer that it belongs to.

    Args:
        recording: of the network.
        layers: of the canvas, and those before it.
        end: the picture's tensor.
    """
    owner: dict[str, str] = {}

    def belongs(value: Value, layer: str) -> None:
        for index in recording.needed_for(value) & recording.names.keys():
            owner.setdefault(recording.names[index], layer)

    fed = {recording[value].untyped_storage().data_ptr() for value in recording.inputs}
    for layer in layers:
        entries = layer.reads == layer.result
        if not entries:
            for operand in layer.node.operands:
                if operand != layer.reads:
                    belongs(operand, layer.name)
            last = recording.producer(layer.result)
            if last is not None and last is not layer.node:  # a bias that was added afterwards
                for operand in last.operands:
                    if operand not in layer.node.results:
                        belongs(operand, layer.name)
        if entries or layer.positions == 1:  # its neurons are what it reads
            belongs_to_fed = {name: layer.name for name, weight in recording.weights.items() if weight.place in fed}
            owner = {**belongs_to_fed, **owner}
            if entries:
                belongs(layer.reads, layer.name)
    used = {recording.names[index] for index in recording.needed_for(end) & recording.names.keys()}
    return tuple(
        Weight(name, weight.values, owner.get(name), name in used or name in owner)
        for name, weight in recording.weights.items()
    )
