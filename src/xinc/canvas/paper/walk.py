"""How the paper's method moves planes through a network that is no plain chain, by one rule an operation.

On its way a plane lives in a tensor of the value's full shape, beside labels that say which entries are its own: 0
none; channels with the same label say the same, and channels with different labels hold planes to be summed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from xinc.canvas.network.linear_ops import LinearOperation, find_linear_operations
from xinc.canvas.network.plan import Rest
from xinc.canvas.recording.operations import KEEPING, POOLING, WEIGHTINGS
from xinc.canvas.recording.recording import Operation, Recording
from xinc.errors import TraceError
from xinc.notation import Maps


@dataclass(frozen=True, eq=False)
class State:
    """The planes of some neurons at one value of the recording.

    Attributes:
        planes: ``(n, *shape)``.
        labels: which entries are own, ``(n, *shape)``, whole numbers.
        origin: index of the value behind the last operation that was not elementwise.
        fresh: whether no later linear operation was passed yet.
    """

    planes: Tensor
    labels: Tensor
    origin: int
    fresh: bool


@dataclass(frozen=True, eq=False)
class Lost:
    """A value that depends on the neuron in a way that no rule describes; harmless unless it reaches the picture."""

    operation: Operation


Moved = dict[int, State] | None
"""The states of an operation's results, by index; None where the rule does not cover the call."""

Rule = Callable[[Any, Operation, dict[int, State]], Moved]
"""From a walk, an operation and the states of its operands."""


@dataclass(eq=False)
class Walk:
    """Moves the planes of some neurons of a layer to the picture.

    Attributes:
        rest: the layer, and what follows it.
        rules: rule by the name of the operation; ``"linear operation"`` is the one of later linear operations.
        official: whether the last layer's planes skip the output activation, as in the published code.
    """

    rest: Rest
    rules: Mapping[str, Rule]
    official: bool = False
    linear_ops: dict[int, LinearOperation] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found = find_linear_operations(self.rest.recording, self.rest.picture.value)
        self.linear_ops = {id(layer.node): layer for layer in found}

    def __call__(self, neurons: Sequence[int]) -> Tensor:
        """Maps of some neurons, ``(n, H, W)``.

        Raises:
            TraceError: An operation on the way has no rule.
        """
        picture = self.rest.picture
        states: dict[int, State | Lost] = {self.rest.operation.result.index: self._start(neurons)}
        for operation in self._operations:
            states.update(self._step(operation, states))
        end = states.get(picture.value.index)
        if not isinstance(end, State):
            raise TraceError(self._refusal(end))
        # The picture has one map, whichever heads made its colours.
        return combined(picture.images(end.planes), picture.images(end.labels).clamp(max=1), 1)[0]

    def activates(self, operation: Operation) -> bool:
        """Whether an elementwise operation acts on the maps: behind the last linear one only on that one's own."""
        return operation.results[0].index in self._before_linear or (self.last and not self.official)

    @cached_property
    def last(self) -> bool:
        """Whether no linear operation follows the layer."""
        return self.rest.operation.result.index not in self._before_linear

    def native(
        self, operation: Operation, tensors: Mapping[int, Tensor], zero: Collection[int] = ()
    ) -> dict[int, Tensor]:
        """The operation itself on tensors ``(n, ...)`` in place of some operands, and zeros in place of others."""
        once = partial(_applied, self.rest.recording, operation, tuple(tensors), tuple(zero))
        batches = tuple(tensors.values())
        try:
            parts = vmap(once)(*batches)
        except RuntimeError:  # no batched form
            each = [once(*one) for one in zip(*batches, strict=True)]
            parts = tuple(torch.stack(part) for part in zip(*each, strict=True))
        return {result.index: part for result, part in zip(operation.results, parts, strict=True)}

    @cached_property
    def _operations(self) -> tuple[Operation, ...]:
        return self.rest.tail().operations

    @cached_property
    def _before_linear(self) -> set[int]:
        """Indices of the values on which a later linear operation depends."""
        reaching: set[int] = set()
        for operation in reversed(self._operations):
            layer = self.linear_ops.get(id(operation))
            if (layer is not None and layer.positions > 1) or any(r.index in reaching for r in operation.results):
                reaching.update(operand.index for operand in operation.operands)
        return reaching

    def _start(self, neurons: Sequence[int]) -> State:
        """D1: a kernel's plane with its share of the bias in its channel; a feature times the sum of its weights."""
        layer = self.rest.operation
        if layer.contraction is not None:
            rows = self._feature_rows(neurons)[:, :, None]
            planes = layer.contraction.to_output(rows.expand(-1, -1, layer.outputs))
            return State(planes, torch.ones_like(planes), layer.result.index, fresh=True)
        outputs = layer.pairs()[1][list(neurons)].to(layer.values.device)
        own = (torch.arange(layer.outputs, device=outputs.device) == outputs[:, None]).to(layer.values.real.dtype)
        labels = own.reshape(len(own), *[1] * (len(layer.shape) - 3), -1, 1, 1).expand(-1, *layer.shape)
        share = layer.bias_or_zero[:, None, None] / (layer.inputs // layer.groups)
        return State(layer.terms(neurons) + labels * share, labels, layer.result.index, fresh=True)

    def _feature_rows(self, neurons: Sequence[int]) -> Tensor:
        """``z_i sum_j W_ji`` at every place, ``(n, P)``; as published with a share of the bias, and rectified."""
        layer = self.rest.operation
        rows = (layer.planes(neurons) * layer.weight.sum(0)[list(neurons), None]).real
        if self.official:
            rows = rows + layer.bias_or_zero.real.sum() / layer.inputs
        return rows.relu() if self.official and not self.last else rows

    def features(self, neurons: Sequence[int]) -> Maps:
        """Maps of features of a layer that sees every pixel by itself, ``(n, H, W)``: no rule is needed."""
        return self._feature_rows(neurons).reshape(len(neurons), *self.rest.picture.size)

    def _step(self, operation: Operation, states: Mapping[int, State | Lost]) -> dict[int, State | Lost]:
        found = {operand.index: states[operand.index] for operand in operation.operands if operand.index in states}
        if not found or operation.name in WEIGHTINGS or self._is_statistic(operation):
            return {}  # what weighs or gates others stays as recorded
        known = {index: state for index, state in found.items() if isinstance(state, State)}
        lost = next((state for state in found.values() if isinstance(state, Lost)), None)
        if lost is not None and not (operation.name in KEEPING and operation.operands[0].index in known):
            return {result.index: lost for result in operation.results}
        rule = self.rules.get("linear operation" if id(operation) in self.linear_ops else operation.name)
        moved = rule(self, operation, known) if rule is not None else None
        return dict(moved) if moved is not None else {result.index: Lost(operation) for result in operation.results}

    def _is_statistic(self, operation: Operation) -> bool:
        """Whether an operation without a rule makes a vector of more: a mean of all pixels, the start of a gate."""
        result = self.rest.recording[operation.results[0]]
        most = max(self.rest.recording[operand].numel() for operand in operation.operands)
        vector = sum(size > 1 for size in result.shape) <= 1 and 4 * result.numel() <= most
        ruled = operation.name in self.rules and operation.name not in POOLING
        return vector and not ruled and id(operation) not in self.linear_ops

    def _refusal(self, end: Lost | None) -> str:
        method, name = "official" if self.official else "paper", self.rest.operation.name
        if end is None:
            return (
                f"method {method!r} keeps soft-max weights and gates as recorded, and {name!r} reaches the picture "
                "through them alone; use method='exact'"
            )
        return (
            f"method {method!r} has no rule for operation {end.operation.where}, which lies between {name!r} and the "
            "picture; use method='exact'"
        )


def _applied(
    recording: Recording, operation: Operation, order: tuple[int, ...], zero: tuple[int, ...], *values: Tensor
) -> tuple[Tensor, ...]:
    """The results of an operation on values in place of the operands in ``order``, and on zeros."""
    given = {index: value.contiguous() for index, value in zip(order, values, strict=True)}  # it may be viewed
    given.update((index, torch.zeros_like(recording.tensors[index])) for index in zero)
    made = recording.again(operation, given)
    return tuple(made[result.index] for result in operation.results)


def combined(planes: Tensor, labels: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The channels of planes ``(n, ...)`` as one plane: the mean over the channels of each label, summed over labels.

    Returns:
        The plane, without the axis, and which channels are own, ``(n, channels)``.
    """
    channels = labels.movedim(axis, 1).flatten(2).amax(2)
    weights = torch.zeros_like(channels)
    for label in range(1, int(channels.max()) + 1):
        own = (channels == label).to(channels.dtype)
        weights += own / own.sum(1, keepdim=True).clamp_min(1)
    spread = [1] * planes.ndim
    spread[0], spread[axis] = channels.shape
    return (planes * weights.reshape(spread)).sum(axis), channels > 0
