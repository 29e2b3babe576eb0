"""Reading tensors from other people's files without running anything that is in them.

Safetensors files hold nothing but tensors. Torch files are pickles, which can name any function and have it called;
torch's own restricted reader reads them where it suffices. Files that also hold objects of other packages (a Lightning
checkpoint with its OmegaConf settings, such as the one that the paper publishes) go through :class:`TensorUnpickler`,
which rebuilds tensors and plain containers and puts an inert placeholder wherever the file names anything else.
"""

from __future__ import annotations

import io
import math
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xinc.errors import CheckpointError

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "generator", "params")
"""Keys under which training code keeps the weights, in the order in which they are looked for."""

EMBEDDINGS = ("embedding", "embed", "embeddings", "img_embed", "vid_embed")
"""Names of HNeRV's stored embeddings, beside the weights or among them."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What data-parallel, compiled and wrapped training puts before every name."""

IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", "model_best.pth", "model_latest.pth", "best_model.ckpt")
"""Weights files of the folders that training code writes: accelerate's, (H)NeRV's, the paper's, our runs."""

PLAIN_MODULES = ("builtins", "__builtin__", "_codecs", "typing")
PLAIN_TYPES = ("dict", "list", "tuple", "set", "int", "long", "float", "str", "bool", "bytes", "encode", "Any", "Union")
"""What settings objects are made of; leaving it out is not worth telling."""

PROFILING = ("total_ops", "total_params")
"""Buffers that counters of operations leave behind."""


class Inert:
    """Stands for whatever a file named that is neither a tensor nor a plain container. It does nothing."""

    named = ""
    """What the file calls it."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Inert:  # noqa: D102
        return self

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def __hash__(self) -> int:
        return id(self)

    def append(self, _: Any) -> None:
        """Pickles fill lists so."""

    def extend(self, _: Any) -> None:
        """Pickles fill lists so."""

    def add(self, _: Any) -> None:
        """Pickles fill sets so."""


class TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers of one torch file; every other global is an :class:`Inert`.

    A pickle acts only through what :meth:`find_class` returns. This one imports nothing: it answers from a table of
    functions that build tensors, dictionaries and tuples, made anew for each file so that no file can alter them.

    Args:
        stream: the pickle.
        storage: bytes of the storage of a key.
    """

    def __init__(self, stream: io.BytesIO, storage: Callable[[str], bytes]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storage = storage
        self._kept: dict[str, Tensor] = {}
        self._known = self._table()
        self.skipped: set[str] = set()
        """Names of the globals that were left out, but for Python's own plain types."""

    def find_class(self, module: str, name: str) -> Any:
        """The builder of that name, or an inert class."""
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        if module not in PLAIN_MODULES or name not in PLAIN_TYPES:
            self.skipped.add(full)
        return type("Inert", (Inert,), {"named": full})

    def persistent_load(self, pid: Any) -> Any:
        """A flat tensor of the storage that the pickle refers to."""
        _, kind, key, _, _ = pid
        if not isinstance(kind, torch.dtype):
            raise pickle.UnpicklingError("a tensor of an unknown type")
        if key not in self._kept:
            content = bytearray(self._storage(str(key)))
            self._kept[key] = torch.frombuffer(content, dtype=kind) if content else torch.empty(0, dtype=kind)
        return self._kept[key]

    @staticmethod
    def _table() -> dict[str, Any]:
        def rebuild(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
            if math.prod(size) > storage.numel():
                raise pickle.UnpicklingError("a tensor is larger than its storage")
            return storage.as_strided(size, stride, offset).clone()

        def rebuild_untyped(
            storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any
        ) -> Tensor:
            return rebuild(storage.view(rest[2]), offset, size, stride)

        dtypes = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
        storages = {
            f"torch.{name}Storage": getattr(torch, dtype)
            for name, dtype in {
                "Float": "float32",
                "Double": "float64",
                "Half": "float16",
                "BFloat16": "bfloat16",
                "Byte": "uint8",
                "Char": "int8",
                "Short": "int16",
                "Int": "int32",
                "Long": "int64",
                "Bool": "bool",
            }.items()
        }
        return {
            "collections.OrderedDict": lambda *pairs: OrderedDict(*pairs),
            "collections.defaultdict": lambda *_: {},
            "torch.Size": lambda values=(): tuple(values),
            "torch._utils._rebuild_tensor": rebuild,
            "torch._utils._rebuild_tensor_v2": rebuild,
            "torch._utils._rebuild_tensor_v3": rebuild_untyped,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
            "torch.storage.UntypedStorage": torch.uint8,
            **storages,
            **{f"torch.{name}": dtype for name, dtype in dtypes.items()},
        }


def read_file(path: Path) -> tuple[Any, list[str]]:
    """What a weights file holds: tensors in plain containers.

    Args:
        path: a safetensors or torch file, or a folder that holds one under a usual name.

    Returns:
        The content, and names of objects in it that were left out.

    Raises:
        CheckpointError: the file is missing, damaged, or of a format that cannot be read without running its code.
    """
    if path.is_dir():
        path = next((path / name for name in IN_FOLDERS if (path / name).is_file()), path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    if program := _program_in(path):
        raise CheckpointError(
            f"{path} is {program}: loading it can run what is in it, so it is never loaded here; if you trust it, load "
            "it in Python and save its state_dict(), or trace the module with xinc.trace"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path), []
        if not zipfile.is_zipfile(path):
            return _by_torch(path), []
        try:
            return _by_torch(path), []
        except pickle.UnpicklingError:
            return _by_table(path)
    except Exception as damage:  # each library has its own errors for damaged files
        reason = (str(damage).splitlines() or [""])[0]
        raise CheckpointError(
            f"{path} cannot be read as tensors ({type(damage).__name__}: {reason:.120}); "
            "it may be damaged, or of a format that needs its own code"
        ) from None


def _program_in(path: Path) -> str | None:
    """What kind of program a file is; None for files of tensors, and for what is no archive."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("constants.pkl") for name in names):
        return "a TorchScript program"
    exported = any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names)
    return "a program of torch.export" if exported else None


def _by_torch(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _by_table(path: Path) -> tuple[Any, list[str]]:
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
        if name is None:
            raise CheckpointError("the archive holds no pickle of tensors")
        folder = name.removesuffix("data.pkl")
        reader = TensorUnpickler(io.BytesIO(archive.read(name)), lambda key: archive.read(f"{folder}data/{key}"))
        return reader.load(), sorted(reader.skipped)


def weights_in(content: Any, path: Path) -> dict[str, Any]:
    """The named tensors (or quantised tensors) of a file, without wrapper keys and leading prefixes.

    Args:
        content: what :func:`read_file` found.
        path: for messages.

    Raises:
        CheckpointError: there are no named tensors in it.
    """
    found = _descend(content)
    parts = [content, *(content.values() if isinstance(content, Mapping) else ())]
    whole = next((part.named for part in parts if isinstance(part, Inert)), None)
    if not found and whole:
        raise CheckpointError(
            f"{path} holds a whole object ({whole}), not its weights: loading it would run code, which is never done; "
            "save model.state_dict() where it was made, or inspect and trace the module itself: package.module:name"
        )
    if not found:
        keys = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(f"{path} holds no named weights (found: {keys})")
    names = {name: _strip(name) for name in found if name.rpartition(".")[2] not in PROFILING}
    if len(set(names.values())) < len(names):  # two parts of a model share names without their prefix
        names = {name: name for name in names}
    return {short: found[name] for name, short in names.items()}


def _descend(content: Any) -> dict[str, Any]:
    """The mapping of names to tensors, under wrapper keys first: beside them training code keeps its records."""
    if not isinstance(content, Mapping) or is_quantised(content):
        return {}
    direct = {str(name): value for name, value in content.items() if is_tensor(value)}
    for key in WRAPPERS:
        if found := _descend(content.get(key)):
            return {**found, **{name: direct[name] for name in EMBEDDINGS if name in direct}}
    return direct


def is_quantised(value: Any) -> bool:
    """Whether this is one tensor of HNeRV's 8-bit files: ``{"quant", "min", "scale"}``."""
    return isinstance(value, Mapping) and {"quant", "min", "scale"} <= set(value)


def is_tensor(value: Any) -> bool:
    """Whether this is a tensor, plain or quantised."""
    return isinstance(value, Tensor) or is_quantised(value)


def dequantise(value: Any) -> Tensor:
    """``min + scale * quant`` in float32; plain tensors as float32."""
    if isinstance(value, Tensor):
        return value.detach().float()
    quant, low, scale = (torch.as_tensor(value[key]).float() for key in ("quant", "min", "scale"))
    return low + scale * quant


def _strip(name: str) -> str:
    while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
    return name
