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
from torch import Tensor

from xinc.canvas.network.contractions import Contraction
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.output import Picture
from xinc.canvas.recording.recording import Recording, Value

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
    """The layers before and beside the canvas, in the order of the forward pass.

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
    stems = [layer for layer in stems if recording.agree(layer.recomputed(), recording[layer.result])]
    first = next((layer for layer in linear_ops if any(layer.result == stem.result for stem in stems)), canvas[0])
    embedding = _embedding(recording, first, picture)
    stems = [embedding, *stems] if embedding else stems
    names = set(taken)
    return [replace(layer, name=f"{layer.name}#stem") if layer.name in names else layer for layer in stems]


def _leads_to(recording: Recording, layer: LinearOperation, first: LinearOperation) -> bool:
    """Whether a layer widens the very grid that the canvas begins with, as HNeRV's first convolution does."""
    same = layer.kind == "convolution" and layer.values.shape[-2:] == first.values.shape[-2:]
    return same and first.reads.index in recording.reached_from([layer.result])


def as_features(layer: LinearOperation) -> LinearOperation:
    """A 1x1 convolution of a single place as the linear layer that it is; others as they are."""
    plain = layer.kind == "convolution" and tuple(layer.weight.shape[2:]) == (1, 1) and layer.groups == 1
    if not plain or len(layer.values) != 1:
        return layer
    letters = "poyx"[-len(layer.shape) :]
    contraction = Contraction("i", "oi", letters, (("i", layer.inputs), *zip(letters, layer.shape, strict=True)))
    values, weight = layer.values.reshape(1, -1), layer.weight.reshape(layer.outputs, layer.inputs)
    return replace(layer, kind="linear", values=values, weight=weight, contraction=contraction, call={})


@dataclass(frozen=True, eq=False)
class Entries(LinearOperation):
    """The entries of a grid as neurons: each adds itself, at its place. Its weight would be the identity; none is held.

    Attributes are those of any linear layer; ``weight`` is empty.
    """

    @property
    def outputs(self) -> int:
        """Number of entries."""
        return self.inputs

    def recomputed(self) -> Tensor:
        """The grid, ``(*shape)``."""
        return self.values.reshape(self.shape)

    def summed(self) -> Tensor:
        """The same: no entry shares a place with another."""
        return self.recomputed()

    def terms(self, neurons: Sequence[int] | Tensor) -> Tensor:
        """Each entry at its place, zeros elsewhere, ``(n, *shape)``."""
        index = torch.as_tensor(neurons, device=self.values.device)
        rows = self.values.new_zeros(len(index), self.inputs)
        rows[torch.arange(len(index), device=index.device), index] = self.values[0, index]
        return rows.reshape(len(index), *self.shape)

    def pull(self, cotangents: Tensor) -> Tensor:
        """Cotangent times entry, ``(m, *shape)`` to ``(m, K)``, real."""
        return (cotangents.reshape(len(cotangents), -1).conj() * self.values).real


def _embedding(recording: Recording, first: LinearOperation, picture: Picture) -> LinearOperation | None:
    """The entries of the grid that the first convolution reads, where that is much smaller than the picture."""
    values = recording[first.reads]
    places = values.shape[-2] * values.shape[-1] if values.ndim > 2 else 0
    height, width = picture.size
    if first.kind != "convolution" or not 1 < places <= height * width // 4 or not 1 < values.numel() <= ENTRIES:
        return None
    return Entries(
        name=EMBEDDING,
        module="",
        kind="linear",
        node=first.node,
        reads=first.reads,
        weight_value=first.weight_value,
        result=first.reads,
        values=values.reshape(1, -1),
        weight=values.new_empty(0),
        bias=None,
        shape=tuple(values.shape),
    )


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
    fed = {recording[value].untyped_storage().data_ptr() for value in recording.inputs}
    given = [name for name, weight in recording.weights.items() if weight.place in fed]
    for layer in layers:
        for value in _own_values(recording, layer):
            for index in recording.needed_for(value) & recording.names.keys():
                owner.setdefault(recording.names[index], layer.name)
        if layer.positions == 1:  # its neurons are what it reads
            for name in given:
                owner.setdefault(name, layer.name)
    used = {recording.names[index] for index in recording.needed_for(end) & recording.names.keys()}
    return tuple(
        Weight(name, weight.values, owner.get(name), name in used or name in owner)
        for name, weight in recording.weights.items()
    )


def _own_values(recording: Recording, layer: LinearOperation) -> list[Value]:
    """What a layer multiplies and adds: its weight, its bias, also one that is added afterwards; or its entries."""
    if isinstance(layer, Entries):
        return [layer.reads]
    values = [operand for operand in layer.node.operands if operand != layer.reads]
    last = recording.producer(layer.result)
    if last is not None and last is not layer.node:
        values += [operand for operand in last.operands if operand not in layer.node.results]
    return values
