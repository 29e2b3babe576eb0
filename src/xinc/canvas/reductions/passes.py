"""Reductions of a layer's maps, planned into the fewest passes.

Every pass takes all reductions whose needs are known: first the sums; then what needs them (a pixel's share needs its
total, a threshold its histogram); then counts over thresholds. Nothing holds neurons x pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xinc import budget
from xinc.canvas.reductions.fold import Folded, Pass, Stream
from xinc.canvas.reductions.rows import Key, Known, Reduction
from xinc.canvas.reductions.store import Store
from xinc.canvas.reductions.table import REDUCTIONS
from xinc.errors import TraceError

PassProgress = Callable[[str, float], None]
"""Called with a pass's name and the share of it that was done since the last call."""

PASSES = ("sums", "shares", "counts")
"""What passes are called, in their order."""

Item = tuple[str, Key]


class Reductions:
    """Statistics of a layer's maps, by the names of :data:`~xinc.canvas.reductions.table.REDUCTIONS`.

    ``found.heatmap`` is a tensor, ``found.regions["rgb"]`` that of a key; what was not made is None or missing.
    """

    def __init__(self, known: Known) -> None:
        self._known = known

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in REDUCTIONS:
            raise AttributeError(f"no reduction is called {name!r}; there are {', '.join(names())}")
        values = self._known.values(name)
        return values if REDUCTIONS[name].keyed else values.get(None)


def names() -> list[str]:
    """Names of the reductions that can be asked for."""
    return [name for name, row in REDUCTIONS.items() if not row.inner]


class Reducer:
    """Computes reductions of one stream and remembers them; one thread at a time.

    Args:
        stream: of the layer's maps.
        store: where reductions are looked up before they are made, and kept afterwards.
    """

    def __init__(self, stream: Stream, store: Store | None = None) -> None:
        self.stream, self.store = stream, store
        self.known = Known(stream.neurons)
        self._lock = threading.RLock()

    def reduce(self, wanted: Mapping[str, Any], progress: PassProgress | None = None) -> Reductions:
        """Compute what is asked and not known yet.

        Raises:
            TraceError: There is no such reduction, or its argument is of no use.
        """
        wrong = [name for name in wanted if name not in names()]
        if wrong:
            raise TraceError(f"no reduction is called {wrong[0]!r}; there are {', '.join(names())}")
        with self._lock:
            open_: dict[Item, Any] = {}
            for name, argument in wanted.items():
                for key, asked in REDUCTIONS[name].keys(argument, self.stream.size).items():
                    self._open(open_, name, key, asked)
            passes = iter(PASSES)
            while open_:
                ready = {item: asked for item, asked in open_.items() if not self._missing(item, open_)}
                self._run(ready, passes, progress)
                open_ = {item: asked for item, asked in open_.items() if item not in ready}
            return Reductions(self.known)

    def take(self, name: str, folded: Folded) -> None:
        """Remember a reduction without keys that somebody else collected."""
        with self._lock:
            value = REDUCTIONS[name].unpack(folded, {None: True}, self.known)[None]
            self.known.put(name, None, True, value)
            if self.store is not None:
                self.store.put([((name, None, True), value)])

    def _open(self, open_: dict[Item, Any], name: str, key: Key, asked: Any) -> None:
        """Note what is to be made, and before it what it needs."""
        if self.known.holds(name, key, asked):
            return
        if self.store is not None and (kept := self.store.get((name, key, asked))) is not None:
            self.known.put(name, key, asked, kept)
            return
        open_[name, key] = asked
        for need, needed in _needs(REDUCTIONS[name], key):
            self._open(open_, need, needed, True)

    def _missing(self, item: Item, open_: Mapping[Item, Any]) -> bool:
        return any(need in open_ for need in _needs(REDUCTIONS[item[0]], item[1]))

    def _run(self, ready: Mapping[Item, Any], passes: Iterator[str], progress: PassProgress | None) -> None:
        """Make what has all it needs, in one pass or, where it needs no maps, in none."""
        together: dict[str, dict[Key, Any]] = {}
        for (name, key), asked in ready.items():
            together.setdefault(name, {})[key] = asked
        fills: dict[str, Any] = {}
        for name, asked in together.items():
            fills |= REDUCTIONS[name].fills(asked, self.known)
        folded = self._fold(Pass(**fills), next(passes, PASSES[-1]), progress) if fills else Folded()
        made = []
        for name, asked in together.items():
            for key, value in REDUCTIONS[name].unpack(folded, asked, self.known).items():
                self.known.put(name, key, asked[key], value)
                made.append(((name, key, asked[key]), value))
        if self.store is not None:
            self.store.put(made)

    def _fold(self, wanted: Pass, name: str, progress: PassProgress | None) -> Folded:
        budget.reductions(self.stream.neurons, 2 * wanted.held(self.stream.neurons, self.stream.size))
        return self.stream.fold(wanted, None if progress is None else lambda share: progress(name, share))


def _needs(row: Reduction, key: Key) -> list[Item]:
    return [(need, key if REDUCTIONS[need].keyed else None) for need in row.needs]
