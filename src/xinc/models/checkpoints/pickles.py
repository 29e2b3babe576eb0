"""Torch's files as data: a reader of their pickles that can build tensors and plain containers, and nothing else.

A pickle is a program: it can name any function and have it called, ask for more memory than the machine has, or fill a
dictionary so that each look-up takes a second. :class:`TensorUnpickler` answers names from a table of its own, sets no
state, and counts: bytes of the pickle, bytes of the tensors, keys.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from xinc import budget
from xinc.errors import CheckpointError

PICKLE_BYTES = 2**23
"""The largest pickle that is read: the tensors themselves lie outside of it, and real ones take kilobytes."""
UNPACKED = 20
"""How many times its size on disk a file may take unpacked: torch compresses nothing."""
NAMES = 10_000
"""Names of globals in one file: real ones have dozens, and each becomes a class."""
COPIED = 1_000_000
"""Items that a pickle may have copied from one container into another: real ones copy none."""
PLAIN_MODULES = ("builtins", "__builtin__", "_codecs", "typing")
PLAIN_TYPES = ("dict", "list", "tuple", "set", "int", "long", "float", "str", "bool", "bytes", "encode", "Any", "Union")
"""What settings objects are made of; leaving it out is not worth telling."""
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The number that begins torch's files from before version 1.6."""
STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Byte": torch.uint8,
    "Char": torch.int8,
    "Short": torch.int16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}


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

    def append(self, _: Any) -> None:
        """Pickles fill lists so."""

    def extend(self, _: Any) -> None:
        """Pickles fill lists so."""


class _Limited:
    """A stream of which only so many bytes are read as a pickle."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.left = stream, PICKLE_BYTES

    def _counted(self, part: bytes) -> bytes:
        self.left -= len(part)
        if self.left < 0:
            raise pickle.UnpicklingError(f"it holds more than {PICKLE_BYTES // 2**20} MB of what is no tensor")
        return part

    def read(self, count: int = -1) -> bytes:
        return self._counted(self.stream.read(min(count, self.left + 1) if count >= 0 else self.left + 1))

    def readline(self) -> bytes:
        return self._counted(self.stream.readline(self.left + 1))


_PYTHONS: Any = pickle._Unpickler


class TensorUnpickler(_PYTHONS):  # type: ignore[misc]
    """Rebuilds tensors and plain containers of one torch file; every other global is an :class:`Inert`.

    Python's own unpickler in Python: the one in C fills dictionaries and sets where no one can count. This one imports
    nothing: it answers from a table of functions that build tensors, dictionaries and tuples. Keys that are no text and
    no small number are left out, with their values: equal hashes can be made of them.

    Args:
        stream: the pickle.
        storage: a flat tensor of the storage that a persistent id describes.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(_PYTHONS.dispatch)

    def __init__(self, stream: Any, storage: Callable[[Any], Tensor]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._stored = storage
        self._known = _table()
        self._inert: dict[str, type[Inert]] = {}
        self.skipped: set[str] = set()
        """Names of the globals that were left out, but for Python's own plain types."""

    def find_class(self, module: str, name: str) -> Any:
        """The builder of that name, or an inert class."""
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        if module not in PLAIN_MODULES or name not in PLAIN_TYPES:
            self.skipped.add(full)
        if full not in self._inert and len(self._inert) >= NAMES:
            raise pickle.UnpicklingError(f"it names more than {NAMES:,} objects")
        return self._inert.setdefault(full, type("Inert", (Inert,), {"named": full}))

    def persistent_load(self, pid: Any) -> Any:
        """A flat tensor of the storage that the pickle refers to."""
        return self._stored(pid)

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append(_filled({}, zip(items[::2], items[1::2], strict=True)))

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _filled(self.stack[-1], [(key, value)])

    def _setitems(self) -> None:
        items = self.pop_mark()
        _filled(self.stack[-1], zip(items[::2], items[1::2], strict=True))

    def _additems(self) -> None:
        self.pop_mark()  # sets hold no tensors

    def _frozenset(self) -> None:
        self.pop_mark()
        self.append(())

    def _build(self) -> None:
        self.stack.pop()  # states of objects: there are none here

    def _refused(self) -> None:
        raise pickle.UnpicklingError("it asks for memory by a number")

    dispatch[pickle.DICT[0]] = _dict
    dispatch[pickle.SETITEM[0]] = _setitem
    dispatch[pickle.SETITEMS[0]] = _setitems
    dispatch[pickle.ADDITEMS[0]] = _additems
    dispatch[pickle.FROZENSET[0]] = _frozenset
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.BYTEARRAY8[0]] = _refused
    dispatch[pickle.NEXT_BUFFER[0]] = _refused


def _filled(target: Any, pairs: Iterable[Any]) -> Any:
    """A dictionary with pairs added whose keys cannot be made to collide; anything else is left alone."""
    if type(target) is dict:
        for key, value in pairs:
            plain = isinstance(key, str | bytes | bool) or key is None
            if plain or (isinstance(key, int) and -1 <= key < 2**60):
                target[key] = value
    return target


def _table() -> dict[str, Any]:
    """What a file may name: functions that build tensors, dictionaries and tuples, and types of values."""

    def rebuild(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
        if not isinstance(storage, Tensor) or storage.dim() != 1 or len(size) > 64 or min(size, default=0) < 0:
            raise pickle.UnpicklingError("a tensor is not built as torch builds them")
        if math.prod(size) > storage.numel():
            raise pickle.UnpicklingError("a tensor is larger than its storage")
        return storage.as_strided(size, stride, offset)

    def untyped(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any) -> Tensor:
        return rebuild(storage.view(rest[2]), offset, size, stride)

    left = [COPIED]

    def counted(items: Any) -> Iterator[Any]:
        for item in items:
            left[0] -= 1
            if left[0] < 0:
                raise pickle.UnpicklingError("it copies the same items again and again")
            yield item

    dtypes = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
    return {
        "collections.OrderedDict": lambda pairs=(): _filled({}, counted(pairs)),
        "collections.defaultdict": lambda *_: {},
        "torch.Size": lambda values=(): tuple(counted(values)),
        "torch._utils._rebuild_tensor": rebuild,
        "torch._utils._rebuild_tensor_v2": rebuild,
        "torch._utils._rebuild_tensor_v3": untyped,
        "torch._utils._rebuild_parameter": lambda data, *_: data,
        "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
        "torch.storage.UntypedStorage": torch.uint8,
        **{f"torch.{name}Storage": dtype for name, dtype in STORAGES.items()},
        **{f"torch.{name}": dtype for name, dtype in dtypes.items()},
    }


def _described(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and number of values of a storage, as a pickle refers to it."""
    if not isinstance(pid, tuple) or len(pid) < 5 or not isinstance(pid[1], torch.dtype) or type(pid[4]) is not int:
        raise pickle.UnpicklingError("a tensor of an unknown type")
    return pid[1], str(pid[2]), pid[4]


def read_zip(path: Path) -> tuple[Any, list[str]]:
    """Content of a torch file, and names of what was left out.

    Raises:
        UnpicklingError, BadZipFile, KeyError, ...: it is damaged, or would unpack to far more than it is.
    """
    kept: dict[str, Tensor] = {}
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > UNPACKED * path.stat().st_size + 2**20:
            raise pickle.UnpicklingError(f"its {path.stat().st_size:,} bytes would unpack to {unpacked:,}")
        name = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
        if name is None:
            raise pickle.UnpicklingError("the archive holds no pickle of tensors")
        folder = name.removesuffix("data.pkl")

        def storage(pid: Any) -> Tensor:
            dtype, key, _ = _described(pid)
            if key not in kept:
                content = bytearray(archive.read(f"{folder}data/{key}"))
                kept[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            return kept[key]

        budget.tensors(path, unpacked // 4, CheckpointError)
        if archive.getinfo(name).file_size > PICKLE_BYTES:
            raise pickle.UnpicklingError(f"it holds more than {PICKLE_BYTES // 2**20} MB of what is no tensor")
        reader = TensorUnpickler(io.BytesIO(archive.read(name)), storage)
        return reader.load(), sorted(reader.skipped)


def read_legacy(path: Path) -> tuple[Any, list[str]]:
    """The same of a torch file from before version 1.6: pickles one after another, then the values.

    Raises:
        UnpicklingError, EOFError, ...: it is damaged or no such file.
    """
    whole = path.stat().st_size
    budget.tensors(path, whole // 4, CheckpointError)
    kept: dict[str, Tensor] = {}

    def storage(pid: Any) -> Tensor:
        dtype, key, count = _described(pid)
        if key not in kept:
            promised = sum(value.nbytes for value in kept.values()) + count * dtype.itemsize
            if count < 0 or promised > whole:
                raise pickle.UnpicklingError("its tensors are larger than the file")
            kept[key] = torch.zeros(count, dtype=dtype)
        view = pid[5] if len(pid) > 5 and pid[5] else None
        return kept[key][int(view[1]) : int(view[1]) + int(view[2])] if view else kept[key]

    with path.open("rb") as file:
        stream = _Limited(file)
        header = [TensorUnpickler(stream, storage).load() for _ in range(3)]
        if header[0] != LEGACY_MAGIC:
            raise pickle.UnpicklingError("it is no file of torch's")
        reader = TensorUnpickler(stream, storage)
        content = reader.load()
        for key in TensorUnpickler(stream, storage).load():
            count = int.from_bytes(file.read(8), "little")
            target = kept[str(key)]
            values = file.read(target.nbytes)
            if count != target.numel() or len(values) < target.nbytes:
                raise EOFError("the file ends before its tensors do")
            if count:
                target.copy_(torch.frombuffer(bytearray(values), dtype=target.dtype))
    return content, sorted(reader.skipped)
