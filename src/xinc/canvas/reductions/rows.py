"""What a row of the tables of reductions says, and what is known of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xinc.canvas.kernels import NOTHING
from xinc.canvas.reductions.dense import AbsoluteMaps, Arrays
from xinc.canvas.reductions.packing import Packing

Sizes = tuple[int, ...]
Key = Any
"""What tells the values of one reduction apart: an area, the name of a label map; None where there is one value."""


@dataclass(frozen=True)
class Filled:
    """An array that a pass fills, of the name and type that it has in :class:`~xinc.canvas.kernels.folds.Fold`.

    Attributes:
        name: of the field.
        per: ``"neuron"``: ``(K, *sizes)``; ``"pixel"``: ``(*sizes, H, W)``; ``"layer"``: ``sizes``.
        start: what it holds before the first map.
        merge: how two threads' or two bands' arrays become one.
        sizes: of the further axes, from what is asked.
    """

    name: str
    per: Literal["neuron", "pixel", "layer"]
    start: float = 0
    merge: np.ufunc = np.add
    sizes: Callable[[Any], Sizes] = lambda asked: ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its values."""
        found: np.dtype[Any] = getattr(NOTHING, self.name).dtype
        return found

    def shape(self, neurons: int, plane: Sizes, asked: Any) -> Sizes:
        """Its shape; ``plane`` is ``(H, W)``, or ``(P,)`` packed."""
        more = self.sizes(asked)
        return {"neuron": (neurons, *more), "pixel": (*more, *plane), "layer": more}[self.per]

    def empty(self, neurons: int, plane: Sizes, asked: Any) -> NDArray[Any]:
        """The array before the first map."""
        return np.full(self.shape(neurons, plane, asked), self.start, self.dtype)


def _as_it_is(asked: Any, area: tuple[slice, slice]) -> Any:
    return asked


@dataclass(frozen=True)
class FoldRow:
    """Something that a pass over the maps can collect.

    Attributes:
        name: by which a pass asks for it.
        arrays: what is filled.
        dense: the same with tensor operations.
        reads: fields of the compiled fold that are read, from what is asked and how planes are packed.
        scratch: fields that each thread has for itself, from those that are read and how planes are packed.
        area: what is asked, of some rows and columns of the picture.
        merge: how several parts become one, where arrays do not do so one by one.
    """

    name: str
    arrays: tuple[Filled, ...]
    dense: Callable[[AbsoluteMaps, Any, Arrays], None]
    reads: Callable[[Any, Packing], Mapping[str, NDArray[Any]]] = lambda asked, packing: {}
    scratch: Callable[[Arrays, Packing], Mapping[str, NDArray[Any]]] = lambda read, packing: {}
    area: Callable[[Any, tuple[slice, slice]], Any] = _as_it_is
    merge: Callable[[Sequence[Arrays], Any], Arrays] | None = None

    def merged(self, parts: Sequence[Arrays], asked: Any, per: str) -> Arrays:
        """One set of arrays from several, those of one kind."""
        arrays = [array for array in self.arrays if array.per == per]
        if self.merge is not None and arrays:
            return self.merge(parts, asked)
        return {array.name: reduce(array.merge, (part[array.name] for part in parts)) for array in arrays}


class Known:
    """Reductions of a layer that are made, by name and key; K its neurons."""

    def __init__(self, neurons: int) -> None:
        self.neurons = neurons
        self._values: dict[tuple[str, Key], tuple[Any, Any]] = {}

    def value(self, name: str, key: Key = None) -> Any:
        """The value; it must be there."""
        return self._values[name, key][1]

    def values(self, name: str) -> dict[Key, Any]:
        """Values of a name, by key."""
        return {key: value for (other, key), (_, value) in self._values.items() if other == name}

    def holds(self, name: str, key: Key, asked: Any) -> bool:
        """Whether it was made, from the same argument."""
        if (name, key) not in self._values:
            return False
        before = self._values[name, key][0]
        return before is asked or (
            bool(np.array_equal(before, asked)) if isinstance(asked, np.ndarray) else bool(before == asked)
        )

    def put(self, name: str, key: Key, asked: Any, value: Any) -> None:
        """Keep a value."""
        self._values[name, key] = (asked, value)


Asked = Mapping[Key, Any]
"""What a reduction is asked, by key."""


@dataclass(frozen=True)
class Reduction:
    """A statistic of a layer's maps C, K neurons on H x W pixels.

    Attributes:
        name: keyword of :meth:`~xinc.canvas.layer.Layer.reduce`, and of its value.
        summary: what it is, its shape and type.
        keys: checks the argument, given ``(H, W)``, and splits it into what is computed one by one.
        unpack: the values by key, from what a pass collected and what is known.
        needs: reductions that must be known before, of the same key where they have keys.
        fills: what it asks of a pass; nothing where what is known suffices.
        keyed: whether there are several, one a key: then its value is a dict.
        inner: whether it only serves others, and is no keyword.
    """

    name: str
    summary: str
    keys: Callable[[Any, Sizes], Asked]
    unpack: Callable[[Arrays, Asked, Known], Mapping[Key, Any]]
    needs: tuple[str, ...] = ()
    fills: Callable[[Asked, Known], Mapping[str, Any]] = lambda asked, known: {}
    keyed: bool = False
    inner: bool = False
