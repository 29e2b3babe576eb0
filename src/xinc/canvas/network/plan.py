"""A network as it ran once: its linear operations in order, with the values that reached each of them.

Everything after this file works on a :class:`Plan` and never looks at the module again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from xinc.canvas.network.linear_ops import LinearOperation, shuffle
from xinc.canvas.network.output import Picture
from xinc.canvas.network.stems import Weight
from xinc.canvas.recording.recording import Recording, Tail, same
from xinc.errors import TraceError


@dataclass(frozen=True, eq=False)
class Rest:
    """A layer that is not on the plain chain, and everything that the network makes of it.

    Attributes:
        operation: the layer.
        recording: of the whole network.
        picture: the output.
        stem: whether it lies before or beside the canvas, with no places of its own.
    """

    operation: LinearOperation
    recording: Recording
    picture: Picture
    stem: bool = False

    @cached_property
    def repeats(self) -> bool:
        """Whether a replay from the layer's own output gives the picture again: what draws numbers does not."""
        with torch.no_grad():
            again = self.tail()(self.output)
        return same(self.recording[self.picture.value], again, self.recording.tolerance)

    @property
    def output(self) -> Tensor:
        """The layer's recorded output, ``(*shape)``."""
        return self.recording[self.operation.result]

    def tail(self, **substitutes: Callable[..., Any]) -> Tail:
        """The picture's tensor as a function of the layer's output; see :meth:`Recording.tail`."""
        return self.recording.tail(self.operation.result, self.picture.value, substitutes)


@dataclass(frozen=True)
class Plan:
    """A chain of layers that ends in the output, and the layers that are not on it.

    Attributes:
        stages: the chain, in the order of the forward pass; the last one makes the output.
        size: ``(H, W)`` of the output.
        output: ``(C, H, W)``, what the network returned.
        others: layers outside the chain with what follows them, in the order of the forward pass.
        order: names of all layers in the order of the forward pass; those of the chain where empty.
        stems: layers before and beside the canvas: their neurons are features without places, or the entries of an
            embedding.
        weights: the network's trained parameters, and the layer that each belongs to.
    """

    stages: tuple[LinearOperation, ...]
    size: tuple[int, int]
    output: Tensor
    others: tuple[Rest, ...] = ()
    order: tuple[str, ...] = ()
    stems: tuple[Rest, ...] = ()
    weights: tuple[Weight, ...] = ()

    @property
    def layers(self) -> tuple[LinearOperation, ...]:
        """The layers of the canvas in the order of the forward pass; :attr:`stems` lie before and beside them."""
        named = {layer.name: layer for layer in (*(rest.operation for rest in self.others), *self.stages)}
        return tuple(named[name] for name in self.order or tuple(named))

    def layer(self, name: str) -> LinearOperation:
        """The layer of a name.

        Raises:
            TraceError: There is none.
        """
        every = [*self.layers, *(rest.operation for rest in self.stems)]
        for layer in every:
            if layer.name == name:
                return layer
        raise TraceError(f"no layer is called {name!r}; this network has {', '.join(one.name for one in every)}")

    def place(self, name: str) -> int | Rest:
        """Where a layer lies: its position in the chain, or what follows it off the chain."""
        for position, stage in enumerate(self.stages):
            if stage.name == name:
                return position
        return next(rest for rest in (*self.others, *self.stems) if rest.operation.name == name)

    @property
    def pixelwise(self) -> bool:
        """Whether the network, or its plain end, is an MLP that sees one pixel at a time."""
        return all(layer.kind == "linear" for layer in self.stages or self.layers)

    def residual(self, name: str) -> Tensor:
        """What a layer's neurons and its bias, added up one by one, leave of the traced values behind it.

        On the chain the sum goes through shuffle and activation (section 3.2 of the paper) and is taken from the next
        layer's input, or from the output. Zero but for rounding, for every layer that was read correctly.

        Returns:
            On the chain ``(C, H, W)`` of the next layer's input, ``(N, C)`` for a linear layer, ``(colours, H, W)`` for
            the last one; off it the shape of the layer's output.
        """
        place = self.place(name)
        if isinstance(place, Rest):
            return place.output - place.operation.summed()
        layer, last = self.stages[place], place == len(self.stages) - 1
        traced = self.output if last else self.stages[place + 1].input
        if layer.kind == "linear":
            values = layer.activation(layer.rows(layer.summed()))
            return traced - (values.T.reshape(self.output.shape) if last else values)
        return traced - layer.activation(shuffle(layer.summed().reshape(-1, *layer.shape[-2:]), layer.upscale))
