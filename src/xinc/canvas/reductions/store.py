"""Reductions that outlive a canvas: what one command has made of a layer's maps, no other makes again.

A file holds the reductions of one layer of one frame by one method. It counts only under the key that it was written
with, which covers all that the maps depend on; a damaged one counts for nothing and is written anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from xinc.canvas.reductions.rows import Key
from xinc.files import replacing
from xinc.signals.storage import save_tensors

LARGEST = 1 << 24
"""Bytes of one reduction above which it is not kept: 16 MB."""

AskedReduction = tuple[str, Key, Any]
"""A reduction by name and key, and what it was asked."""


@dataclass
class Store:
    """Reductions of one layer of one frame, in a file.

    Attributes:
        path: the file; it need not exist.
        key: a short name of all that the maps depend on: network, input, method.
    """

    path: Path
    key: str
    _names: dict[str, str] | None = field(default=None, init=False, repr=False)

    def get(self, item: AskedReduction) -> Any:
        """The value of a reduction; None where it is not kept."""
        name = _name_of(item)
        if name is None or name not in self._kinds():
            return None
        kind = self._kinds()[name]
        try:
            with safe_open(self.path, "pt") as file:
                # Copies: a mapped file cannot be replaced on Windows.
                parts = [file.get_tensor(f"{name}.{i}").clone() for i in range(int(kind[1:] or 1))]
        except Exception:  # damaged: safetensors raises its own error type from Rust
            self._names = {}
            return None
        return _value(kind, parts)

    def put(self, values: Iterable[tuple[AskedReduction, Any]]) -> None:
        """Keep values beside those that are kept; a folder that cannot be written keeps none."""
        kinds, tensors = dict(self._kinds()), {}
        for item, value in values:
            name, (kind, parts) = _name_of(item), _parts(value)
            if name is not None and sum(part.nbytes for part in parts) <= LARGEST:
                kinds[name] = kind
                tensors.update({f"{name}.{i}": part.cpu().contiguous() for i, part in enumerate(parts)})
        if not tensors or not self.path.parents[2].is_dir():  # a run that was deleted meanwhile is not made again
            return
        try:
            if self._kinds():
                with safe_open(self.path, "pt") as file:
                    tensors = {name: file.get_tensor(name).clone() for name in file.keys()} | tensors  # noqa: SIM118
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path, durable=False) as part:  # a damaged one is noticed, and made again
                about = {"about": json.dumps({"key": self.key, "kinds": kinds})}  # one entry: several go in any order
                save_tensors(tensors, part, about)
            self._names = kinds
        except Exception:  # full, read-only or damaged: what was computed is there all the same
            return

    def _kinds(self) -> dict[str, str]:
        """Names of what is kept under the key, and of which kind each is."""
        if self._names is None:
            self._names = {}
            try:
                with safe_open(self.path, "pt") as file:
                    about = json.loads((file.metadata() or {})["about"])
                if about["key"] == self.key:
                    self._names = dict(about["kinds"])
            except Exception:  # missing, or damaged
                self._names = {}
        return self._names


def _name_of(item: AskedReduction) -> str | None:
    """A short name of a reduction and its argument; None where the argument has no content of its own."""
    name, key, asked = item
    state = hashlib.blake2b(f"{name} {key!r}".encode(), digest_size=12)
    if isinstance(asked, np.ndarray):
        state.update(f"{asked.dtype}{asked.shape}".encode() + np.ascontiguousarray(asked).tobytes())
    elif isinstance(asked, bool | int | float | str):
        state.update(repr(asked).encode())
    else:
        return None
    return state.hexdigest()


def _value(kind: str, parts: list[Tensor]) -> Any:
    """The inverse of :func:`_parts`."""
    if kind.startswith("m"):
        return tuple(parts)
    return {"t": parts[0], "a": parts[0].numpy()}[kind] if kind in "ta" else float(parts[0])


def _parts(value: Any) -> tuple[str, list[Tensor]]:
    """The kind of a value, and the tensors that it is made of."""
    if isinstance(value, Tensor):
        return "t", [value]
    if isinstance(value, np.ndarray):
        return "a", [torch.from_numpy(np.ascontiguousarray(value))]
    if isinstance(value, tuple):
        return f"m{len(value)}", list(value)
    return "f", [torch.tensor(float(value), dtype=torch.float64)]
