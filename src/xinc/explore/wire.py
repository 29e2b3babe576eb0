"""Numbers on their way to the page: one block of bytes, a JSON header before the arrays.

Four bytes, little-endian: the header's length. The header: ``{"values": {...}, "arrays": {name: [type, shape, offset,
length]}}``, offsets from the end of the header, which is padded so that the arrays start at a multiple of eight. Types
are ``f4``, ``f2``, ``i4``, ``u2`` and ``u1``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.findings.finding import numpy

TYPES = ("f4", "f2", "i4", "u2", "u1")


def pack(values: Mapping[str, Any]) -> bytes:
    """Arrays and JSON values under their names as one block.

    Tensors and arrays become arrays: floating ones ``f4`` unless they are ``f2``, whole numbers ``i4`` unless they are
    ``u2`` or ``u1``. NaN among the other values becomes null.
    """
    arrays: dict[str, list[Any]] = {}
    plain: dict[str, Any] = {}
    parts: list[bytes] = []
    end = 0
    for name, value in values.items():
        if not isinstance(value, Tensor | np.ndarray):
            plain[name] = value
            continue
        array = _portable(numpy(value))
        data = array.tobytes()
        arrays[name] = [array.dtype.str[1:], list(array.shape), end, len(data)]
        parts += [data, bytes(-len(data) % 8)]
        end += len(data) + (-len(data) % 8)
    header = json.dumps({"values": _finite(plain), "arrays": arrays}, allow_nan=False).encode()
    header += b" " * (-(len(header) + 4) % 8)
    return struct.pack("<I", len(header)) + header + b"".join(parts)


def unpack(block: bytes) -> dict[str, Any]:
    """What :func:`pack` was given, arrays as NumPy arrays."""
    (length,) = struct.unpack_from("<I", block)
    header = json.loads(block[4 : 4 + length])
    found: dict[str, Any] = dict(header["values"])
    for name, (kind, shape, offset, size) in header["arrays"].items():
        first = 4 + length + offset
        found[name] = np.frombuffer(block[first : first + size], f"<{kind}").reshape(shape)
    return found


def _portable(array: NDArray[Any]) -> NDArray[Any]:
    kind = array.dtype.str[1:]
    if kind not in TYPES:
        kind = "u1" if array.dtype == bool else "f4" if array.dtype.kind == "f" else "i4"
    return np.ascontiguousarray(array, dtype=f"<{kind}" if kind != "u1" else "u1")


def _finite(value: Any) -> Any:
    """The value without numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
