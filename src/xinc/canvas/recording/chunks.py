"""Forward passes in chunks: the calls of one layer on parts of the pixels become the one call that they stand for.

Coordinate networks are often run a few thousand pixels at a time, each part through all layers, the parts joined at the
end. What was recorded then has each layer many times. Calls with the same weights whose results meet nowhere but where
they are joined are one call on all rows; functions between them likewise, so that a chain is a chain again.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch

from xinc.canvas.recording.operations import ELEMENTWISE, JOINING, WRITING
from xinc.canvas.recording.recording import Operation, Recording, Value, map_tree

_ROWS = frozenset(("linear", "matmul", "__matmul__", "mm", "addmm"))
"""Products whose rows can be cut into parts."""

_AXIS = -2
"""Where the rows of a product lie."""


class _Whole(NamedTuple):
    """Rows that were recorded in parts: the values, in order, and all rows together."""

    parts: tuple[Value, ...]
    value: Value


def unchunked(recording: Recording) -> Recording:
    """The recording with one call a layer; the same one where no layer was called in chunks."""
    repeated = _calls(recording)
    if not repeated:
        return recording
    merging = _Merging(replace(recording, tensors=list(recording.tensors)))
    for calls in repeated:
        merging.layer(calls)
    return merging.result() if merging.wholes else recording


def _calls(recording: Recording) -> list[list[Operation]]:
    """Products that differ in nothing but the rows that they read, where there are several."""
    pure = _pure(recording)
    found: dict[Hashable, list[Operation]] = defaultdict(list)
    for step in recording.operations:
        if step.name not in _ROWS:
            continue
        own = [number for number, operand in enumerate(step.operands) if operand.index not in pure]
        if len(step.operands) > 1 and own == [_rows_of(step)]:
            known = tuple(pure.get(operand.index) for operand in step.operands)
            found[step.name, step.module, known].append(step)
    return [calls for calls in found.values() if len(calls) > 1]


@dataclass(eq=False)
class _Merging:
    """What was merged so far.

    Attributes:
        recording: a copy, to which values are added.
        wholes: what lies in parts.
        made: calls in the place of several.
        replaced: ``id`` of each call that another stands for.
    """

    recording: Recording
    wholes: list[_Whole] = field(default_factory=list)
    made: list[Operation] = field(default_factory=list)
    replaced: set[int] = field(default_factory=set)
    _place: dict[int, tuple[int, int]] = field(default_factory=dict)

    def layer(self, calls: Sequence[Operation]) -> None:
        """Merge a layer that was called in chunks, and the functions behind it."""
        if not self._apart(calls):
            return
        rows = tuple(call.operands[_rows_of(call)] for call in calls)
        value = self._joined(rows)
        if value is not None:
            self._merge(calls, {rows[0].index: value})
            self._functions()

    def _whole_of(self, part: Value) -> _Whole:
        return self.wholes[self._place[part.index][0]]

    def _apart(self, calls: Sequence[Operation]) -> bool:
        """Whether results of these calls meet only where parts are joined, and none reads another's."""
        owner: dict[int, int] = {}
        number = {id(call): n for n, call in enumerate(calls)}
        for step in self.recording.operations:
            owners = {owner[operand.index] for operand in step.operands if operand.index in owner}
            if id(step) in number:
                if owners:
                    return False
                owner.update((result.index, number[id(step)]) for result in step.results)
            elif owners:
                if len(owners - {_JOINED}) > 1 and not self._joins(step):
                    return False
                one = owners.pop() if len(owners) == 1 else _JOINED
                owner.update((result.index, one) for result in step.results)
        return True

    def _joins(self, step: Operation) -> bool:
        if step.name in WRITING:
            return True
        dimensions = self.recording[step.results[0]].ndim
        return step.name in JOINING and (dimensions < 2 or _axis(step) % dimensions != dimensions - 1)

    def _joined(self, parts: tuple[Value, ...]) -> Value | None:
        """The rows of some parts as one value, by a new ``cat`` where nothing made them yet."""
        known = next((whole.value for whole in self.wholes if whole.parts == parts), None)
        tensors = [self.recording[part] for part in parts]
        shapes = {(*tensor.shape[:-2], tensor.shape[-1]) if tensor.ndim > 1 else None for tensor in tensors}
        if known is not None or len(shapes) > 1 or None in shapes:
            return known
        value = self.recording.add(torch.cat(tensors, _AXIS))
        self.made.append(Operation(torch.cat, "cat", (list(parts), _AXIS), {}, (value,), ""))
        return value

    def _merge(self, calls: Sequence[Operation], instead: Mapping[int, Value]) -> None:
        """One call in the place of several: the first, reading other values in the place of some, by their index."""
        first = calls[0]
        results = tuple(call.results[0] for call in calls)
        tensors = [self.recording[result] for result in results]
        value = self.recording.add(torch.cat(tensors, _AXIS))
        arguments, keywords = map_tree(
            (first.arguments, dict(first.keywords)), Value, lambda v: instead.get(v.index, v)
        )
        one = replace(first, arguments=arguments, keywords=keywords, results=(value,))
        self.made.append(one)
        self.replaced.update(map(id, calls))
        self._place.update((result.index, (len(self.wholes), n)) for n, result in enumerate(results))
        self.wholes.append(_Whole(results, value))
        begin = 0
        for result, tensor in zip(results, tensors, strict=True):  # the parts lie in the whole: nothing is held twice
            rows = tensor.shape[_AXIS]
            self.recording.tensors[result.index] = self.recording[value].narrow(_AXIS, begin, rows)
            begin += rows

    def _functions(self) -> None:
        """Merge elementwise functions of parts, as long as there are any."""
        while True:
            found: dict[Hashable, dict[int, Operation]] = defaultdict(dict)
            for step in self.recording.operations:
                key = None if id(step) in self.replaced or step.name not in ELEMENTWISE else self._key(step)
                if key is not None:
                    found[key[0]].setdefault(key[1], step)
            ready = [calls for calls in found.values() if self._complete(calls)]
            if not ready:
                return
            for calls in ready:
                ordered = [calls[n] for n in range(len(calls))]
                parts = (operand for operand in ordered[0].operands if operand.index in self._place)
                self._merge(ordered, {part.index: self._whole_of(part).value for part in parts})

    def _key(self, step: Operation) -> tuple[Hashable, int] | None:
        """What a function is of, and of which part; None where it reads no part, parts of several, or other rows."""
        places = [self._place[operand.index] for operand in step.operands if operand.index in self._place]
        if len({number for _, number in places}) != 1 or len(step.results) != 1:
            return None
        part = self.recording[next(operand for operand in step.operands if operand.index in self._place)]
        if self.recording[step.results[0]].shape != part.shape:
            return None
        rows = part.shape[_AXIS]

        def seen(value: Value) -> Hashable:
            if value.index in self._place:
                return "whole", self._place[value.index][0]
            tensor = self.recording[value]
            if tensor.numel() == 1:
                return "number", float(tensor) if not tensor.is_complex() else complex(tensor)
            return ("same", value.index) if tensor.ndim < 2 or tensor.shape[_AXIS] != rows else ("rows", id(step))

        read = repr(map_tree((step.arguments, dict(step.keywords)), Value, seen))
        return (step.name, step.module, read), places[0][1]

    def _complete(self, calls: Mapping[int, Operation]) -> bool:
        first = calls.get(0)
        if first is None:
            return False
        whole = self._whole_of(next(operand for operand in first.operands if operand.index in self._place))
        return set(calls) == set(range(len(whole.parts)))

    def result(self) -> Recording:
        """The recording with all that was merged, every operation after those that it reads."""
        left = [step for step in self.recording.operations if id(step) not in self.replaced]
        steps = [self._unjoined(step) for step in left] + self.made
        wanted = {operand.index for step in steps for operand in step.operands}
        for whole in self.wholes:
            if any(part.index in wanted for part in whole.parts):
                sizes = [self.recording[part].shape[_AXIS] for part in whole.parts]
                cut = (whole.value, sizes, _AXIS)
                steps.append(Operation(torch.split, "split", cut, {}, whole.parts, ""))
        return replace(self.recording, operations=_sorted(steps), _producers={}, _indexed=0)

    def _unjoined(self, step: Operation) -> Operation:
        """A ``cat`` of all parts of a whole, in order, is that whole."""
        if step.name not in JOINING or not step.operands or step.operands[0].index not in self._place:
            return step
        whole = self._whole_of(step.operands[0])
        dimensions = self.recording[whole.value].ndim
        if step.name not in ("cat", "concat", "concatenate") or step.operands != whole.parts:
            return step
        if _axis(step) % dimensions != _AXIS % dimensions:
            return step
        return Operation(torch.clone, "clone", (whole.value,), {}, step.results, step.module)


_JOINED = -1


def _rows_of(step: Operation) -> int:
    """Which operand of a product holds the rows."""
    return 1 if step.name == "addmm" else 0


def _axis(step: Operation) -> int:
    given = step.arguments[1] if len(step.arguments) > 1 else step.keywords.get("dim", step.keywords.get("axis", 0))
    return int(given)


def _pure(recording: Recording) -> dict[int, int]:
    """Values that depend on parameters alone, each with the first that is made alike."""
    known = {index: index for index, name in recording.names.items() if name in recording.parameters}
    made: dict[str, int] = {}
    for step in recording.operations:
        if step.operands and all(operand.index in known for operand in step.operands):
            seen = map_tree((step.arguments, dict(step.keywords)), Value, lambda v: ("made", known[v.index]))
            for n, result in enumerate(step.results):
                known[result.index] = made.setdefault(repr((step.name, seen, n)), result.index)
    return known


def _sorted(steps: Sequence[Operation]) -> list[Operation]:
    """Operations so that each comes after those that made what it reads, else as they were."""
    makers = {result.index: n for n, step in enumerate(steps) for result in step.results}
    needs = [{makers[o.index] for o in step.operands if o.index in makers} for step in steps]
    users: dict[int, list[int]] = defaultdict(list)
    for n, own in enumerate(needs):
        for maker in own:
            users[maker].append(n)
    order = [min((result.index for result in step.results), default=0) for step in steps]
    ready = [(order[n], n) for n, own in enumerate(needs) if not own]
    heapq.heapify(ready)
    found = []
    while ready:
        _, n = heapq.heappop(ready)
        found.append(steps[n])
        for user in users[n]:
            needs[user].discard(n)
            if not needs[user]:
                heapq.heappush(ready, (order[user], user))
    return found
