"""Run a network once and write down every operation with the values that reached it.

The recording is the one thing the canvas knows about a network: it needs no adapter, sees functional code, raw
parameters, pruning masks and parametrised weights as the tensors that they really were, and can be replayed from any
value onwards as a pure function.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode, resolve_name

from xinc.canvas.recording.in_place import Overwritten, overwritten_by, without_overwriting
from xinc.canvas.recording.operations import LEAVES_TORCH, NOT_COMPUTED, RANDOM
from xinc.canvas.recording.recording import Operation, Recording, Trained, Value, map_tree, tensors_in
from xinc.errors import TraceError, XincWarning

_DIFFERS_IN_TRAINING = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
)
_WRAPPERS = ("_orig_mod", "module")


class _Recorder(TorchFunctionMode):
    """Sees every torch function that Python code calls while it is active."""

    def __init__(self, path: Callable[[], str], names: Mapping[int, str]) -> None:
        super().__init__()
        self.recording = Recording()
        self._path, self._names = path, names
        self._known: dict[int, Value] = {}
        self._alive: list[Tensor] = []  # an id is unique only while its tensor lives
        self._overwritten = Overwritten(self.recording)

    def reference(self, tensor: Tensor) -> Value:
        """The value that stands for a tensor now."""
        known = self._known.get(id(tensor))
        if known is None:
            known = self.remember(tensor)
            if id(tensor) in self._names:
                self.recording.names[known.index] = self._names[id(tensor)]
        elif self._overwritten.concerns(tensor):
            merged = self._overwritten.merged(known, tensor, self._path())
            if merged is not None:
                known = self._known[id(tensor)] = merged
        return known

    def remember(self, tensor: Tensor) -> Value:
        """A new value for what a tensor holds now."""
        value = self.recording.add(tensor)
        self._known[id(tensor)] = value
        self._alive.append(tensor)
        self._overwritten.remember(value, tensor)
        return value

    def references(self, tree: Any) -> Any:
        """The tree with every tensor replaced by its value."""
        return map_tree(tree, Tensor, self.reference)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = dict(kwargs or {})
        name = function_name(func)
        if name in NOT_COMPUTED:
            return func(*args, **keywords)
        arguments, references = self.references((args, keywords))
        target = overwritten_by(func, name, args, keywords)
        if target is not None:
            self._overwritten.keep(target)
        if name == "multi_head_attention_forward":
            with _parts_seen(), self:  # its projections are layers
                return func(*args, **keywords)
        versions = [(t, t._version) for t in tensors_in((args, keywords)) if not t.is_inference()]
        result = func(*args, **keywords)
        if any(t._version != version for t, version in versions if t is not target) and target is None:
            raise TraceError(
                f"operation {name!r} in module {self._path()!r} overwrites a tensor in a way that cannot be recorded; "
                "use its out-of-place form"
            )
        made = list(tensors_in(result)) if target is None or name != "__setitem__" else [target]
        if not made:
            if name in LEAVES_TORCH:
                self.recording.left.append((arguments[0], name, self._path()))
            return result
        arguments, references, mutates = without_overwriting(name, arguments, references, target is not None)
        values = tuple(self.remember(tensor) for tensor in made)
        if target is not None:
            self._overwritten.happened(target, values[0])
        self.recording.operations.append(Operation(func, name, arguments, references, values, self._path(), mutates))
        return result


@contextmanager
def _parts_seen() -> Iterator[None]:
    """Torch's attention runs as the operations that it is made of, instead of handing itself over as one."""
    functions = vars(torch.nn.functional)
    before = functions["has_torch_function"]
    functions["has_torch_function"] = lambda *_: False
    try:
        yield
    finally:
        functions["has_torch_function"] = before


def function_name(function: Callable[..., Any]) -> str:
    """The short name of a torch function: ``"conv2d"``, ``"gelu"``, ``"__getitem__"``, ``"T"`` for a property."""
    name = getattr(function, "__name__", type(function).__name__)
    if name == "__get__":
        return (resolve_name(function) or "property").removesuffix(".__get__").rsplit(".", 1)[-1]
    return str(name).split(".")[0]  # exported programs call "conv2d.default"


class _Path:
    """Follows which module is running, by hooks on all modules."""

    def __init__(self, root: nn.Module) -> None:
        self._names = {id(module): _plain(name) for name, module in root.named_modules()}
        self._running: list[str] = []

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        self._running.append(self._names.get(id(module), self()))

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._running.pop()

    def __call__(self) -> str:
        return self._running[-1] if self._running else ""


@contextmanager
def _module_path(root: nn.Module) -> Iterator[Callable[[], str]]:
    """The qualified name of the module that is running now; no hook survives, whatever happens."""
    path = _Path(root)
    hooks = register_module_forward_pre_hook(path.enter), register_module_forward_hook(path.leave, always_call=True)
    try:
        yield path
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; every part's own flag comes back."""
    training = [(part, part.training) for part in module.modules()]
    changed = sorted({type(part).__name__ for part, on in training if on and isinstance(part, _DIFFERS_IN_TRAINING)})
    if changed:
        warnings.warn(
            f"{type(module).__name__} is in training mode; it is traced in eval mode, where {', '.join(changed)} "
            "computes something else",
            XincWarning,
            stacklevel=4,
        )
    try:
        with suppress(NotImplementedError):  # an exported program has one mode
            module.eval()
        yield
    finally:
        for part, on in training:
            part.training = on


def _plain(name: str) -> str:
    """A qualified name without the wrappers of compiled parts."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Compiled parts run as the Python that they were compiled from."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled; importing it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def unwrapped(module: object) -> nn.Module:
    """The network inside ``torch.compile`` and (distributed) data parallel wrappers.

    Raises:
        TraceError: It is no module, is TorchScript, or has TorchScript parts: their operations cannot be seen.
    """
    if not isinstance(module, nn.Module):
        raise TraceError(
            f"a torch.nn.Module can be traced, not a {type(module).__name__}; wrap it in a module's forward"
        )
    wrapped = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(module, wrapped) or isinstance(getattr(module, "_orig_mod", None), nn.Module):
        module = getattr(module, _WRAPPERS[isinstance(module, wrapped)])
    if not isinstance(module, nn.Module):
        raise TraceError(
            f"a torch.nn.Module can be traced, not a {type(module).__name__}; wrap it in a module's forward"
        )
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            what = f"its part {name!r}" if name else type(module).__name__
            raise TraceError(f"{what} is TorchScript, whose operations cannot be seen; trace the Python module instead")
    return module


def record(module: nn.Module, *inputs: Any, **keywords: Any) -> Recording:
    """Run ``module(*inputs, **keywords)`` in eval mode without gradients and record it.

    Wrappers (``torch.compile``, data parallel) are looked through. The module's training flags are restored, and
    nothing stays attached to it, also when it fails.

    Raises:
        TraceError: The module fails on these inputs, is TorchScript, or overwrites a tensor in a way that cannot be
            recorded.
    """
    module = unwrapped(module)
    parameters = [(_plain(name), p) for name, p in module.named_parameters(remove_duplicate=False)]
    buffers = [(_plain(name), b) for name, b in module.named_buffers(remove_duplicate=False)]
    names = {id(tensor): name for name, tensor in reversed([*parameters, *buffers])}
    # Tensors made in inference mode could not be differentiated later.
    with _evaluating(module), _module_path(module) as path, torch.inference_mode(False), torch.no_grad():
        recorder = _Recorder(path, names)
        recorder.recording.modules = frozenset(_plain(name) for name, _ in module.named_modules())
        trained = frozenset(name for name, p in parameters if p.requires_grad)
        recorder.recording.parameters = trained or frozenset(name for name, _ in parameters)
        recorder.recording.weights = {
            names[id(p)]: Trained(p.numel(), p.untyped_storage().data_ptr())
            for name, p in parameters
            if name in recorder.recording.parameters
        }
        recorder.recording.inputs = tuple(recorder.reference(tensor) for tensor in tensors_in((inputs, keywords)))
        try:
            with _uncompiled(), recorder:
                output = module(*inputs, **keywords)
        except TraceError:
            raise
        except Exception as error:
            raise TraceError(
                f"{type(module).__name__} fails on the given inputs ({type(error).__name__}: {_first_line(error)}); "
                "call the module with them yourself and pass what works"
            ) from error
        recorder.recording.output = recorder.references(output)
        drawn = next((step for step in recorder.recording.operations if step.name in RANDOM), None)
        if drawn is not None:
            _check_same(output, module, inputs, keywords, drawn)
        return recorder.recording


def _check_same(output: Any, module: nn.Module, inputs: Any, keywords: Any, drawn: Operation) -> None:
    """Whether a network that draws numbers gives the same picture again.

    Raises:
        TraceError: It does not.
    """
    again = module(*inputs, **keywords)
    for one, other in zip(tensors_in(output), tensors_in(again), strict=True):
        if not torch.allclose(_real(one), _real(other), rtol=1e-4, atol=1e-5, equal_nan=True):
            raise TraceError(
                f"the network gives another picture each time: operation {drawn.where} draws numbers; switch random "
                "operations off in eval mode"
            )


def _real(values: Tensor) -> Tensor:
    return (torch.view_as_real(values) if values.is_complex() else values).double()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
