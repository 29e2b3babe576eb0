"""One pass over a layer's maps, for compiled loops, bands of rows and dense tensors alike.

What there is to collect stands in :data:`xinc.canvas.reductions.table.FOLDS`; nothing here knows a single row of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.kernels import NOTHING, Fold
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.reductions.dense import AbsoluteMaps, Arrays
from xinc.canvas.reductions.packing import Packing
from xinc.canvas.reductions.rows import FoldRow
from xinc.canvas.reductions.table import FOLDS
from xinc.notation import Maps


@runtime_checkable
class Stream(Protocol):
    """A layer's maps under one method."""

    neurons: int
    size: tuple[int, int]

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold the maps of all neurons."""
        ...

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Maps of some neurons over a window, ``(n, h, w)``."""
        ...


class Pass:
    """What one pass over the maps of a layer collects, by the names of :data:`~xinc.canvas.reductions.table.FOLDS`.

    Planes and labels are ``(H, W)`` in natural order.

    >>> wanted = Pass(sums=True, thresholds=(0.5,), extremes=False)
    >>> "sums" in wanted, "extremes" in wanted
    (True, False)

    Args:
        before: the same layer on another frame, for what compares the two.
        wanted: what is asked of each row; nothing is asked by None, False, 0 and ``()``.

    Raises:
        KeyError: There is no such row.
    """

    def __init__(self, before: Stream | None = None, **wanted: Any) -> None:
        self.before = before
        self._wanted = {name: asked for name, asked in wanted.items() if asked is not None and not _is_off(asked)}
        unknown = self._wanted.keys() - FOLDS.keys()
        if unknown:
            raise KeyError(f"no pass collects {sorted(unknown)}; the table has {', '.join(FOLDS)}")

    def __contains__(self, name: str) -> bool:
        return name in self._wanted

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def rows(self) -> Iterator[tuple[FoldRow, Any]]:
        """The rows of the table that are filled, and what is asked of each."""
        return ((FOLDS[name], asked) for name, asked in self._wanted.items())

    def held(self, neurons: int, size: tuple[int, int]) -> int:
        """Bytes of what is collected of so many neurons over a picture ``(H, W)``."""
        arrays = [(array, asked) for row, asked in self.rows() for array in row.arrays]
        return sum(a.dtype.itemsize * math.prod(map(int, a.shape(neurons, size, asked))) for a, asked in arrays)

    def of_area(self, area: tuple[slice, slice], before: Stream | None = None) -> Pass:
        """The pass over some rows and columns of the picture; ``before`` are those of the other frame."""
        return Pass(before or self.before, **{row.name: row.area(asked, area) for row, asked in self.rows()})


def _is_off(asked: Any) -> bool:
    return asked is False or (isinstance(asked, int | tuple | dict) and not asked)


class Folded(Arrays):
    """What a pass collected: the arrays of its rows by name, planes in natural order."""

    @classmethod
    def empty(cls, neurons: int, size: tuple[int, int], wanted: Pass) -> Folded:
        """Arrays before the first map."""
        return cls(
            {array.name: array.empty(neurons, size, asked) for row, asked in wanted.rows() for array in row.arrays}
        )

    def put(self, area: tuple[slice, slice], wanted: Pass, part: Folded) -> None:
        """Add what was collected from some rows and columns of the picture."""
        for row, _ in wanted.rows():
            for array in row.arrays:
                if array.per == "pixel":
                    self[array.name][(..., *area)] = part[array.name]
                else:
                    self[array.name] = array.merge(self[array.name], part[array.name])


class Accumulators:
    """Arrays of one pass for the compiled loops: shared ones (a neuron belongs to one thread) and one set a worker."""

    def __init__(self, neurons: int, packing: Packing, wanted: Pass) -> None:
        self.neurons, self.packing, self.wanted = neurons, packing, wanted
        self.shared: Arrays = {}
        for row, asked in wanted.rows():
            self.shared |= row.reads(asked, packing)
            self.shared |= {a.name: a.empty(neurons, (), asked) for a in row.arrays if a.per == "neuron"}

    def worker(self) -> Fold:
        """The arrays of one thread."""
        own: Arrays = {}
        for row, asked in self.wanted.rows():
            own |= row.scratch(self.shared, self.packing)
            plane = (self.packing.origins[-1],)
            own |= {a.name: a.empty(self.neurons, plane, asked) for a in row.arrays if a.per != "neuron"}
        if self.wanted.before is not None:
            own["earlier"] = np.zeros(max(self.packing.lengths), np.float32)
        return NOTHING._replace(**self.shared, **own)

    @staticmethod
    def nothing(dense: NDArray[np.float32]) -> Fold:
        """Arrays that collect nothing but the packed maps themselves."""
        return NOTHING._replace(dense=dense)

    def finish(self, workers: Sequence[Fold]) -> Folded:
        """Add the workers' arrays and put planes into natural order."""
        parts, result = [own._asdict() for own in workers], Folded()
        for row, asked in self.wanted.rows():
            result |= {array.name: self.shared[array.name] for array in row.arrays if array.per == "neuron"}
            result |= row.merged(parts, asked, "layer")
            result |= {name: self.packing.unpack(plane) for name, plane in row.merged(parts, asked, "pixel").items()}
        return result


class BandPass:
    """A pass over one band of rows, as if it were a picture: only the regions that meet it cost anything.

    Args:
        neurons: of the layer.
        packing: of the band.
        wanted: by the whole pass.
        rows: of the picture.
        total: what the band's results are added to.
    """

    def __init__(self, neurons: int, packing: Packing, wanted: Pass, rows: tuple[int, int], total: Folded) -> None:
        self.area, self.total = (slice(*rows), slice(None)), total
        self.wanted = wanted.of_area(self.area)
        self.length = packing.origins[-1]
        self.shared = Accumulators(neurons, packing, self.wanted)

    def worker(self) -> Fold:
        """The arrays of one thread; those of a call hold the whole band."""
        fold = self.shared.worker()
        whole = ("heat", "moved", "earlier")
        lines = {name: np.zeros(self.length, np.float32) for name in whole if getattr(fold, name).size}
        return fold._replace(**lines)

    def finish(self, folds: Sequence[Fold]) -> None:
        """Add what the threads collected to the whole pass."""
        self.total.put(self.area, self.wanted, self.shared.finish(folds))


def dense_fold(maps: Tensor, neurons: Sequence[int], wanted: Pass, into: Folded) -> None:
    """Fold the maps ``(n, H, W)`` of some neurons, or their colours ``(n, 3, H, W)``, with tensor operations."""
    earlier = None if wanted.before is None else wanted.before.maps(list(neurons))
    given = AbsoluteMaps.of(maps, neurons, earlier)
    for row, asked in wanted.rows():
        row.dense(given, asked, into)
