"""Operations that overwrite their operands, written down as if they did not.

An in-place operation makes a new value of its target. What was recorded before keeps its own numbers, and another view
of the same memory becomes a value that takes up the change, so that a replay sees the same flow of numbers.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from xinc.canvas.recording.operations import OVERWRITING
from xinc.canvas.recording.recording import Operation, Recording, Value
from xinc.errors import TraceError


def overwritten_by(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]
) -> Tensor | None:
    """The tensor that a call overwrites, if any."""
    if isinstance(keywords.get("out"), Tensor):
        overwritten: Tensor = keywords["out"]
        return overwritten
    in_place = name in OVERWRITING or (name.endswith("_") and not name.endswith("__"))
    in_place = in_place or keywords.get("inplace") is True or (True in _flags(args) and _asked_in_place(function, args))
    return args[0] if in_place and args and isinstance(args[0], Tensor) else None


def _flags(args: tuple[Any, ...]) -> list[bool]:
    return [item for item in args if isinstance(item, bool)]


def _asked_in_place(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether ``inplace`` is among the positional arguments and true."""
    try:
        return inspect.signature(function).bind_partial(*args).arguments.get("inplace") is True
    except (TypeError, ValueError):  # a builtin without a signature has no such argument
        return False


def without_overwriting(
    name: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any], overwrites: bool
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """The call's out-of-place form, where one is known: arguments, keywords, and whether it still overwrites."""
    kept = {key: item for key, item in keywords.items() if key != "out"}
    if not overwrites or "out" in keywords:
        return arguments, kept, False
    if "inplace" in kept:
        return arguments, {**kept, "inplace": False}, False
    return arguments, kept, True


class Overwritten:
    """Memory that was overwritten while recording, and the values whose tensors look at it."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._values: dict[int, list[Value]] = defaultdict(list)  # memory -> values whose recorded tensor lies in it
        self._changes: dict[int, list[tuple[Tensor, Value]]] = defaultdict(list)

    def remember(self, value: Value, tensor: Tensor) -> None:
        """A value was made whose tensor may share memory with others."""
        memory = _memory(tensor)
        if memory is not None:
            self._values[memory].append(value)

    def concerns(self, tensor: Tensor) -> bool:
        """Whether a tensor's memory was ever overwritten."""
        return bool(self._changes) and _memory(tensor) in self._changes

    def keep(self, target: Tensor) -> None:
        """Keep the numbers of all values in the memory that is about to be overwritten."""
        memory = _memory(target)
        if memory is None and target.numel():
            raise TraceError(f"a {type(target).__name__} is overwritten in place, which cannot be recorded")
        for value in self._values.pop(memory, ()) if memory is not None else ():
            self._recording.tensors[value.index] = self._recording.tensors[value.index].detach().clone()

    def happened(self, target: Tensor, new: Value) -> None:
        """The target was overwritten; ``new`` is its value now."""
        memory = _memory(target)
        if memory is not None:
            self._changes[memory].append((_addresses(target), new))

    def merged(self, known: Value, tensor: Tensor, module: str) -> Value | None:
        """The value of a tensor after its memory was overwritten through other views; None where it did not change."""
        memory = _memory(tensor)
        assert memory is not None  # concerns() was asked before
        current = known
        for addresses, new in self._changes[memory]:
            if new.index <= known.index:
                continue
            if self._recording.tensors[new.index].dtype != tensor.dtype:
                raise TraceError(
                    f"a tensor that module {module!r} reads was overwritten through a view of type "
                    f"{self._recording.tensors[new.index].dtype}, which cannot be recorded; use out-of-place operations"
                )
            own = _addresses(tensor)
            lookup = torch.full((int(max(own.max(), addresses.max())) + 1,), -1, device=tensor.device)
            lookup[addresses.reshape(-1)] = torch.arange(addresses.numel(), device=tensor.device)
            places = lookup[own]
            if bool((places >= 0).any()):
                current = self._merge(current, new, places, module)
        return None if current == known else current

    def _merge(self, old: Value, new: Value, places: Tensor, module: str) -> Value:
        def overwritten(old: Tensor, new: Tensor) -> Tensor:
            return torch.where(places >= 0, new.reshape(-1)[places.clamp_min(0)], old)

        recording = self._recording
        result = recording.add(overwritten(recording[old], recording[new]))
        recording.operations.append(Operation(overwritten, "overwritten", (old, new), {}, (result,), module))
        return result


def _memory(tensor: Tensor) -> int | None:
    """Identifies the memory that a tensor looks at; None for tensors without any of their own (sparse, wrapped)."""
    try:
        return tensor.untyped_storage().data_ptr() or None  # 0: an empty tensor, or one on the meta device
    except (NotImplementedError, RuntimeError):
        return None


def _addresses(tensor: Tensor) -> Tensor:
    """The place of every element in the tensor's memory, in elements; of the tensor's shape."""
    storage = torch.arange(tensor.untyped_storage().nbytes() // tensor.element_size(), device=tensor.device)
    return storage.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
