"""A recording: the operations of one forward pass, the values that they read and made, and their replay."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from xinc.canvas.recording.operations import SHAPE_ONLY
from xinc.errors import TraceError

Substitutes = Mapping[str, Callable[..., Any]]
"""Functions by the short name of the operations that they stand in for during a replay."""


T = TypeVar("T")

_ATOMS = (int, float, str, complex, torch.dtype, torch.device)


class Leaf:
    """A dataclass that is one thing, not a container of others."""


def map_tree(tree: Any, kind: type[T], function: Callable[[T], Any]) -> Any:
    """The tree with every leaf of a kind replaced; containers keep their type where it can be rebuilt.

    A dataclass or an unusual mapping becomes a plain dict, an unusual sequence a tuple.
    """
    if isinstance(tree, kind):
        return function(tree)
    if tree is None or isinstance(tree, _ATOMS):  # most of what operations are called with
        return tree
    if isinstance(tree, dict | Mapping):
        return {key: map_tree(item, kind, function) for key, item in tree.items()}
    if isinstance(tree, (tuple, list)) and not isinstance(tree, torch.Size):
        items = [map_tree(item, kind, function) for item in tree]
        if hasattr(tree, "_fields"):
            return type(tree)(*items)
        return items if isinstance(tree, list) else tuple(items)
    if isinstance(tree, slice):
        return slice(*(map_tree(item, kind, function) for item in (tree.start, tree.stop, tree.step)))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type | Leaf):
        fields = ((field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree))
        return {name: map_tree(item, kind, function) for name, item in fields}
    return tree


def leaves(tree: Any, kind: type[T]) -> Iterator[T]:
    """All leaves of a kind, in order."""
    found: list[T] = []
    map_tree(tree, kind, found.append)
    return iter(found)


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors, in order."""
    return leaves(tree, Tensor)


@dataclass(frozen=True)
class Value(Leaf):
    """A reference to the ``index``-th tensor of a recording."""

    index: int


@dataclass(frozen=True, eq=False)
class Operation:
    """One call of a torch function.

    Attributes:
        function: what was called.
        name: its short name, ``"conv2d"``, ``"gelu"``, ``"__add__"``.
        arguments: positional arguments, tensors replaced by :class:`Value`.
        keywords: keyword arguments, likewise.
        results: the values that it made, in the order in which they appear in what it returned.
        module: qualified name of the innermost module that was running.
        mutates: whether it overwrote its first argument; a replay works on a copy.
    """

    function: Callable[..., Any]
    name: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    results: tuple[Value, ...]
    module: str
    mutates: bool = False

    def __post_init__(self) -> None:
        reads = () if self.name in SHAPE_ONLY else leaves((self.arguments, self.keywords), Value)
        object.__setattr__(self, "operands", tuple(reads))

    operands: tuple[Value, ...] = field(init=False, repr=False)
    """The values that it read, in order."""

    @property
    def where(self) -> str:
        """For messages: ``"'conv2d' in module 'net.0'"``."""
        return f"{self.name!r} in module {self.module!r}" if self.module else f"{self.name!r}"


@dataclass(frozen=True)
class Trained:
    """A trained parameter: how many numbers it holds, and where they lie in memory."""

    values: int
    place: int


@dataclass
class Recording:
    """Operations of one forward pass, in order, and the tensors that they read and made.

    Attributes:
        operations: in the order in which they ran.
        tensors: the value of every :class:`Value`, as it was when it was made.
        output: what the network returned, tensors replaced by :class:`Value`.
        inputs: what the network was given.
        names: qualified names of the parameters and buffers among the values, by index.
        modules: qualified names of all modules.
        parameters: qualified names of the trained parameters; of all where none is trained any more.
        weights: the same parameters with their sizes, whether or not they were read.
        left: values that left torch for Python or NumPy, with the operation's name and module: what is made of them is
            not recorded, and stays as it was in every replay.
        rounded: whether the values were computed in lower precision than they have now.
    """

    operations: list[Operation] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list, repr=False)
    output: Any = None
    inputs: tuple[Value, ...] = ()
    names: dict[int, str] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    weights: Mapping[str, Trained] = field(default_factory=dict)
    left: list[tuple[Any, str, str]] = field(default_factory=list)
    rounded: bool = False
    _producers: dict[int, Operation] = field(default_factory=dict, repr=False)
    _indexed: int = field(default=0, repr=False)

    def __getitem__(self, value: Value) -> Tensor:
        """The tensor that a value stands for."""
        return self.tensors[value.index]

    @property
    def tolerance(self) -> float:
        """Relative difference that rounding explains when an operation is repeated."""
        return 3e-2 if self.rounded else 1e-4

    def agree(self, seen: Tensor, wanted: Tensor) -> bool:
        """Whether what a reading gives is what was recorded, but for rounding that adds up over an operation."""
        return bool((seen - wanted).abs().max() <= 10 * self.tolerance * max(float(wanted.abs().max()), 1e-6))

    def add(self, tensor: Tensor) -> Value:
        """A new value."""
        self.tensors.append(tensor.detach())
        return Value(len(self.tensors) - 1)

    def producer(self, value: Value) -> Operation | None:
        """The operation that made a value; None for inputs, parameters and constants."""
        for operation in self.operations[self._indexed :]:
            self._producers.update((result.index, operation) for result in operation.results)
        self._indexed = len(self.operations)
        return self._producers.get(value.index)

    def reached_from(self, values: Iterable[Value]) -> set[int]:
        """Indices of all values that depend on some of these, themselves included."""
        reached = {value.index for value in values}
        for operation in self.operations:
            if any(operand.index in reached for operand in operation.operands):
                reached.update(result.index for result in operation.results)
        return reached

    def needed_for(self, value: Value) -> set[int]:
        """Indices of all values that a value depends on, itself included."""
        needed = {value.index}
        for operation in reversed(self.operations):
            if any(result.index in needed for result in operation.results):
                needed.update(operand.index for operand in operation.operands)
        return needed

    def between(self, starts: Iterable[Value], end: Value) -> tuple[Operation, ...]:
        """The operations on the way from some values to another, in order; none where no way leads."""
        reached, needed = self.reached_from(starts), self.needed_for(end)
        return tuple(
            operation
            for operation in self.operations
            if any(operand.index in reached for operand in operation.operands)
            and any(result.index in needed for result in operation.results)
        )

    def lean(self, starts: Sequence[Value], end: Value) -> Recording:
        """The recording without the numbers that replays from these values to ``end`` make anew; shapes stay."""
        reached = self.reached_from(starts) - {value.index for value in (*starts, end)}
        for start in starts:
            own = self.reached_from([start])
            operations = self.between([start], end)
            reached -= {o.index for step in operations for o in step.operands} - own
        tensors = [
            torch.empty_like(tensor, device="meta") if index in reached else tensor
            for index, tensor in enumerate(self.tensors)
        ]
        return replace(self, tensors=tensors, _producers={}, _indexed=0)

    def again(
        self, operation: Operation, changed: Mapping[int, Tensor], substitutes: Substitutes | None = None
    ) -> dict[int, Tensor]:
        """The results of an operation, by index, on changed values where there are any, else on those recorded."""
        return apply(operation, lambda value: changed.get(value.index, self.tensors[value.index]), substitutes or {})

    def tail(self, start: Value, end: Value, substitutes: Substitutes | None = None) -> Tail:
        """What the network makes of ``start``, up to ``end``, as a function."""
        return Tail(self, start, end, self.between([start], end), substitutes or {})

    def widened(self, dtype: torch.dtype = torch.float32) -> Recording:
        """The recording with floating-point values of lower precision, and conversions to them, in ``dtype``.

        Half precision and autocast round what derivatives and differences need; a replay of this recording does not.
        """
        wide = partial(_wide, dtype)
        if all(wide(tensor.dtype) == tensor.dtype for tensor in self.tensors):
            return self
        converted = {name: _converter(wide(kind)) for name, kind in _CONVERSIONS.items()}
        operations = [
            replace(
                operation,
                function=converted.get(operation.name, operation.function),
                arguments=map_tree(operation.arguments, torch.dtype, wide),
                keywords=map_tree(operation.keywords, torch.dtype, wide),
            )
            for operation in self.operations
        ]
        tensors = [tensor.to(wide(tensor.dtype)) for tensor in self.tensors]
        rounded = any(kind.dtype in (torch.float16, torch.bfloat16) for kind in self.tensors)
        return replace(self, operations=operations, tensors=tensors, rounded=rounded, _producers={}, _indexed=0)


_NESTED = (tuple, list, dict, slice)

_CONVERSIONS = {
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "float": torch.float32,
    "cfloat": torch.complex64,
}


def _wide(least: torch.dtype, dtype: torch.dtype) -> torch.dtype:
    """A floating-point type of at least the precision of another."""
    if not (dtype.is_floating_point or dtype.is_complex) or torch.finfo(dtype).bits >= torch.finfo(least).bits:
        return dtype
    return least.to_complex() if dtype.is_complex else least


def _converter(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda tensor, *_, **__: tensor.to(dtype)


@dataclass(frozen=True, eq=False)
class Tail:
    """A part of a recording as a pure function of the value that it starts from.

    It can be differentiated and mapped over batches by ``torch.func``; every value is dropped after its last use.

    Attributes:
        recording: what is replayed; values that do not depend on ``start`` stay as recorded.
        start: the value that is replaced.
        end: the value that is wanted.
        operations: what lies between, in order.
        substitutes: functions that stand in for operations of these names.
    """

    recording: Recording
    start: Value
    end: Value
    operations: tuple[Operation, ...]
    substitutes: Substitutes = field(default_factory=dict)
    _last_use: dict[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        last = {operand.index: n for n, operation in enumerate(self.operations) for operand in operation.operands}
        object.__setattr__(self, "_last_use", {**last, self.end.index: len(self.operations)})

    def __call__(self, start: Tensor) -> Tensor:
        """The value of ``end`` for another value of ``start``."""
        changed = {self.start.index: start}
        for n, operation in enumerate(self.operations):
            changed.update(self.step(operation, changed))
            for operand in operation.operands:
                if self._last_use[operand.index] == n:
                    changed.pop(operand.index, None)
        return changed.get(self.end.index, self.recording[self.end])

    def step(self, operation: Operation, changed: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The results of one operation on changed values, by index."""
        return self.recording.again(operation, changed, self.substitutes)

    @property
    def held(self) -> int:
        """Numbers that the values alive at one time hold, at most."""
        sizes = [tensor.numel() for tensor in self.recording.tensors]
        alive, held, most = {self.start.index}, 0, sizes[self.start.index]
        for n, operation in enumerate(self.operations):
            alive.update(result.index for result in operation.results)
            held = sum(sizes[index] for index in alive)
            most = max(most, held)
            alive = {index for index in alive if self._last_use.get(index, -1) > n}
        return most


def apply(operation: Operation, read: Callable[[Value], Tensor], substitutes: Substitutes) -> dict[int, Tensor]:
    """Call an operation, or what stands in for it, on the values that ``read`` gives; the results by index."""
    arguments = [_read(item, read) for item in operation.arguments]
    keywords = {key: _read(item, read) for key, item in operation.keywords.items()}
    function = substitutes.get(operation.name, operation.function)
    if not operation.mutates:
        return _named(operation, function(*arguments, **keywords))
    copy = _writable(arguments[0], list(tensors_in((arguments[1:], keywords))))
    result = function(copy, *arguments[1:], **keywords)
    return _named(operation, copy if operation.name == "__setitem__" else result)


def check_repeats(recording: Recording, starts: Iterable[Value], end: Value) -> None:
    """Repeat every operation between some values and another one, and compare.

    Raises:
        TraceError: One gives something else than it did: it is random, or depends on what was not recorded.
    """
    for operation in recording.between(starts, end):
        for index, again in recording.again(operation, {}).items():
            if not same(recording.tensors[index], again, recording.tolerance):
                raise TraceError(
                    f"operation {operation.where} gives another result when it is repeated; switch random operations "
                    "off in eval mode, and compute with torch alone"
                )


def same(first: Tensor, again: Tensor, tolerance: float) -> bool:
    """Whether two tensors are alike but for rounding, relative to the first; what is no number must be so in both."""
    numbers = first.dtype != torch.bool and first.numel() > 0
    scale = float(first.abs().nan_to_num(0, 0, 0).max()) if numbers else 1.0
    return again.shape == first.shape and torch.allclose(
        again.to(first.dtype), first, rtol=0, atol=tolerance * scale, equal_nan=True
    )


def _read(item: Any, read: Callable[[Value], Tensor]) -> Any:
    if isinstance(item, Value):
        return read(item)
    return map_tree(item, Value, read) if isinstance(item, _NESTED) else item


def _named(operation: Operation, result: Any) -> dict[int, Tensor]:
    made = list(tensors_in(result))
    if len(made) != len(operation.results):
        raise TraceError(f"operation {operation.where} returns other things when it is repeated; it cannot be traced")
    return {value.index: tensor for value, tensor in zip(operation.results, made, strict=True)}


def _writable(target: Tensor, others: list[Tensor]) -> Tensor:
    """A copy of ``target`` that may be overwritten with the others, also inside ``torch.func`` transforms.

    A plain tensor cannot take up a differentiated or batched one: it first becomes one itself, with the same numbers.
    """
    copy = target.clone()
    never = torch.zeros((), dtype=torch.bool, device=copy.device)
    for other in others:
        if other.is_floating_point() or other.is_complex():
            number = other.reshape(-1)[:1].sum()
            number = number.real if number.is_complex() and not copy.is_complex() else number
            copy = torch.where(never, number.to(copy.dtype), copy)
    return copy
