"""Run a network once and write down every operation with the values that reached it.

The recording is the one thing the canvas knows about a network: it needs no adapter, sees functional code, raw
parameters, pruning masks and parametrised weights as the tensors that they really were, and can be replayed from any
value onwards as a pure function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode, resolve_name

from xinc.errors import TraceError


@dataclass(frozen=True)
class Value:
    """A reference to the ``index``-th tensor of a recording."""

    index: int


@dataclass(frozen=True)
class Operation:
    """One call of a torch function.

    Attributes:
        function: what was called.
        name: its short name, ``"conv2d"``, ``"gelu"``, ``"__add__"``.
        arguments: positional arguments, tensors replaced by :class:`Value`.
        keywords: keyword arguments, likewise.
        results: the values that it made, in the order in which they appear in what it returned.
        structure: what it returned, tensors replaced by :class:`Value`.
        module: qualified name of the innermost module that was running.
        mutates: whether it overwrote its first argument; a replay works on a copy.
    """

    function: Callable[..., Any]
    name: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    results: tuple[Value, ...]
    structure: Any
    module: str
    mutates: bool

    @property
    def operands(self) -> tuple[Value, ...]:
        """The values that it read, in order."""
        return tuple(values_in((self.arguments, dict(self.keywords))))


@dataclass
class Recording:
    """Operations of one forward pass, in order, and the tensors that they read and made.

    Attributes:
        operations: in the order in which they ran.
        tensors: the value of every :class:`Value`, as it was when it was made.
        output: what the network returned, tensors replaced by :class:`Value`.
    """

    operations: list[Operation] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    output: Any = None

    def producer(self, value: Value) -> Operation | None:
        """The operation that made a value; None for inputs, parameters and constants."""
        return self._producers().get(value.index)

    def _producers(self) -> dict[int, Operation]:
        return {result.index: operation for operation in self.operations for result in operation.results}

    def downstream(self, value: Value) -> list[Operation]:
        """The operations that depend on a value, in order."""
        reached = {value.index}
        found = []
        for operation in self.operations:
            if any(operand.index in reached for operand in operation.operands):
                found.append(operation)
                reached.update(result.index for result in operation.results)
        return found

    def replay(self, given: Mapping[Value, Tensor], wanted: Value) -> Tensor:
        """The value of ``wanted`` when the ``given`` values are replaced, everything else as recorded."""
        changed: dict[int, Tensor] = {value.index: tensor for value, tensor in given.items()}
        fixed = set(changed)
        for operation in self.operations:
            if not any(operand.index in changed for operand in operation.operands):
                continue
            apply(operation, lambda v: changed.get(v.index, self.tensors[v.index]), changed, fixed)
        return changed.get(wanted.index, self.tensors[wanted.index])


def apply(
    operation: Operation, read: Callable[[Value], Tensor], into: dict[int, Tensor], fixed: Sequence[int] | set[int] = ()
) -> None:
    """Call an operation on the values that ``read`` gives and put its results into ``into``, except the ``fixed``."""
    arguments, keywords = substitute((operation.arguments, dict(operation.keywords)), read)
    if operation.mutates:
        arguments = (arguments[0].clone(), *arguments[1:])
    result = operation.function(*arguments, **keywords)
    if operation.name == "__setitem__":
        result = arguments[0]
    for value, tensor in zip(operation.results, tensors_in(result), strict=True):
        if value.index not in fixed:
            into[value.index] = tensor


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from tensors_in(item)
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors_in(item)


def values_in(tree: Any) -> Iterator[Value]:
    """All value references in nested tuples, lists and dicts, in order."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from values_in(item)
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from values_in(item)
    elif isinstance(tree, slice):
        yield from values_in((tree.start, tree.stop, tree.step))


def substitute(tree: Any, read: Callable[[Value], Tensor]) -> Any:
    """The tree with every value reference replaced by the tensor that ``read`` gives."""
    if isinstance(tree, Value):
        return read(tree)
    if isinstance(tree, Mapping):
        return {key: substitute(item, read) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(substitute(item, read) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(substitute(item, read) for item in tree)
    if isinstance(tree, slice):
        return slice(*(substitute(item, read) for item in (tree.start, tree.stop, tree.step)))
    return tree


class _Recorder(TorchFunctionMode):
    """Sees every torch function that Python code calls while it is active."""

    def __init__(self, path: Callable[[], str]) -> None:
        super().__init__()
        self.recording = Recording()
        self._path = path
        self._known: dict[int, Value] = {}
        self._alive: list[Tensor] = []  # an id is unique only while its tensor lives

    def reference(self, tensor: Tensor) -> Value:
        """The value that stands for a tensor now."""
        if id(tensor) not in self._known:
            self.remember(tensor)
        return self._known[id(tensor)]

    def remember(self, tensor: Tensor) -> Value:
        value = Value(len(self.recording.tensors))
        self.recording.tensors.append(tensor)
        self._known[id(tensor)] = value
        self._alive.append(tensor)
        return value

    def references(self, tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return self.reference(tree)
        if isinstance(tree, Mapping):
            return {key: self.references(item) for key, item in tree.items()}
        if isinstance(tree, tuple) and hasattr(tree, "_fields"):
            return type(tree)(*(self.references(item) for item in tree))
        if isinstance(tree, (tuple, list)):
            return (
                type(tree)(self.references(item) for item in tree)
                if type(tree) in (tuple, list)
                else tuple(self.references(item) for item in tree)
            )
        if isinstance(tree, slice):
            return slice(*(self.references(item) for item in (tree.start, tree.stop, tree.step)))
        return tree

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = dict(kwargs or {})
        name = function_name(func)
        mutates = _is_in_place(name, keywords)
        arguments = self.references(args)
        keyword_references = self.references(keywords)
        if mutates and args and isinstance(args[0], Tensor):
            # The value before the call lives on in the recording; the module goes on with the overwritten tensor.
            self.recording.tensors[self.reference(args[0]).index] = args[0].detach().clone()
        versions = [(t, t._version) for t in tensors_in((args, keywords)) if not t.is_inference()]
        result = func(*args, **keywords)
        if not mutates and any(t._version != version for t, version in versions):
            raise TraceError(
                f"operation {name!r} in module {self._path()!r} overwrites a tensor in a way that cannot be recorded; "
                "use its out-of-place form"
            )
        made = [args[0]] if name == "__setitem__" else list(tensors_in(result))
        if made and not _is_query(name):
            results = tuple(self.remember(tensor) for tensor in made)
            if keyword_references.get("inplace") is True:
                keyword_references = {**keyword_references, "inplace": False}
            self.recording.operations.append(
                Operation(
                    function=func,
                    name=name,
                    arguments=arguments,
                    keywords=keyword_references,
                    results=results,
                    structure=None,
                    module=self._path(),
                    mutates=mutates and "inplace" not in keywords,
                )
            )
        return result


def function_name(function: Callable[..., Any]) -> str:
    """The short name of a torch function: ``"conv2d"``, ``"gelu"``, ``"__getitem__"``, ``"T"`` for a property."""
    name = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        return (resolve_name(function) or "property").removesuffix(".__get__").rsplit(".", 1)[-1]
    return str(name)


def _is_in_place(name: str, keywords: Mapping[str, Any]) -> bool:
    in_place_operator = name in {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__setitem__", "__ipow__"}
    return in_place_operator or keywords.get("inplace") is True or (name.endswith("_") and not name.endswith("__"))


def _is_query(name: str) -> bool:
    """Calls that return a tensor that is not part of the computation."""
    return name in {"requires_grad_", "grad", "_grad", "grad_fn"}


@contextmanager
def _module_path(root: nn.Module) -> Iterator[Callable[[], str]]:
    """The qualified name of the module that is running now; no hook survives, whatever happens."""
    names = {id(module): name for name, module in root.named_modules()}
    stack: list[str] = []

    def enter(module: nn.Module, _inputs: Any) -> None:
        stack.append(names.get(id(module), stack[-1] if stack else ""))

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        stack.pop()

    hooks = (register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True))
    try:
        yield lambda: stack[-1] if stack else ""
    finally:
        for hook in hooks:
            hook.remove()


def record(module: nn.Module, *inputs: Any, **keywords: Any) -> Recording:
    """Run ``module(*inputs, **keywords)`` in eval mode without gradients and record it.

    The module's training flags are restored, and nothing stays attached to it, also when it fails.

    Raises:
        TraceError: The module fails on these inputs, or overwrites a tensor in a way that cannot be recorded.
    """
    training = {name: part.training for name, part in module.named_modules()}
    module.eval()
    try:
        with _module_path(module) as path, torch.no_grad():
            recorder = _Recorder(path)
            for tensor in tensors_in((inputs, keywords)):
                recorder.reference(tensor)
            try:
                with recorder:
                    output = module(*inputs, **keywords)
            except TraceError:
                raise
            except Exception as error:
                raise TraceError(
                    f"{type(module).__name__} fails on the given inputs ({type(error).__name__}: {error}); "
                    "call the module with them yourself and pass what works"
                ) from error
            recorder.recording.output = recorder.references(output)
            return recorder.recording
    finally:
        for name, part in module.named_modules():
            part.training = training.get(name, part.training)
