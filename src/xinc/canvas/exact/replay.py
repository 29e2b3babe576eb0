"""Exact transport and ablation for layers with anything behind them: residuals, norms, attention, warping, modulation.

Neither needs to understand what lies between a layer and the picture. The recording is replayed from the layer's
output, differentiated (``exact``) or with the neuron's term taken away (``ablation``). Where every pixel sees a small
window of the layer only, the Jacobian is a table (:mod:`xinc.canvas.exact.probed`) that few products with vectors make.
"""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from xinc.canvas.exact.cones import ConeTables, cone_tables
from xinc.canvas.exact.probed import Area, Combs, JacobianTable, TableTerms, build_table, fits, sees_enough
from xinc.canvas.exact.products import SEVERAL, Products, over
from xinc.canvas.network.plan import Rest
from xinc.canvas.network.receptive_field import ProbedField, Window, probe_field
from xinc.canvas.reductions.fold import Folded, Pass, dense_fold
from xinc.canvas.reductions.stream import HeldMaps, area_size, same_kind
from xinc.errors import TraceError, XincWarning
from xinc.notation import ColouredMaps, Maps

HELD_VALUES = 1 << 25
"""Numbers that one chunk of neurons may hold (128 MB in float32)."""

WARN_SECONDS = 10.0
"""A layer that will take longer than this says so before it starts."""

FEW_PRODUCTS = 256
"""Products with vectors up to which nothing quicker is looked for."""

QUICK_VALUES = 1 << 31
"""A layer that computes fewer numbers than this is not timed."""


@dataclass
class ReplayStream(ABC):
    """Maps of a layer off the plain chain, a few neurons at a time.

    Attributes:
        rest: the layer, and what follows it.
    """

    rest: Rest
    neurons: int = field(init=False)
    size: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.neurons, self.size = self.rest.operation.neurons, self.rest.picture.size

    @property
    @abstractmethod
    def cost(self) -> str:
        """One line: what all maps of the layer take."""

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed contributions to each colour, ``(n, colours, h, w)``."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        parts = [self._coloured(chunk, w) for chunk in self._chunks(neurons)]
        return torch.cat(parts) if parts else torch.empty(0, self.rest.picture.channels, *w.shape)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Sum over colours of the absolute contributions, ``(n, h, w)``."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        parts = [self._coloured(chunk, w).abs().sum(1) for chunk in self._chunks(neurons)]
        return torch.cat(parts).float() if parts else torch.empty(0, *w.shape)

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; warns beforehand if that will take long."""
        self._prepare()
        folded = Folded.empty(self.neurons, self.size, wanted)
        for chunk in self._chunks(range(self.neurons)):
            dense_fold(self.maps(chunk), chunk, wanted, folded)
            if progress is not None:
                progress(len(chunk) / self.neurons)
        return folded

    @abstractmethod
    def _coloured(self, neurons: Sequence[int], window: Window) -> Tensor:
        """Signed contributions of a chunk of neurons, ``(n, colours, h, w)``."""

    def _prepare(self) -> None:
        """Say what all maps cost, from the time of one."""
        if self.neurons * self._held < QUICK_VALUES:
            return
        seconds = self._seconds()
        if seconds > WARN_SECONDS:
            about = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
            warnings.warn(
                f"{self.rest.operation.name}: {self.cost}, about {about} here; ask for maps of some neurons, for "
                "single pixels, or for energies of all layers at once (canvas.energies), to wait less",
                XincWarning,
                stacklevel=3,
            )

    def _seconds(self) -> float:
        """About how long all maps take, from the time of one."""
        started = time.perf_counter()
        self.maps([0])
        return (time.perf_counter() - started) * self.neurons

    @cached_property
    def _held(self) -> int:
        """Numbers that one neuron holds."""
        return 2 * self.rest.tail().held + self.rest.picture.channels * self.size[0] * self.size[1]

    def _chunks(self, neurons: Sequence[int]) -> list[Sequence[int]]:
        size = max(1, HELD_VALUES // self._held)
        return [neurons[first : first + size] for first in range(0, len(neurons), size)]


@dataclass
class AblationStream(ReplayStream):
    """What the picture loses when a neuron's term is taken from the layer's output and the rest runs again."""

    @property
    def cost(self) -> str:
        """One line: what all maps of the layer take."""
        return f"ablation runs the rest of the network once for each of {self.neurons:,} neurons"

    def _coloured(self, neurons: Sequence[int], window: Window) -> Tensor:
        layer, picture = self.rest.operation, self.rest.picture
        at, whole = self.rest.recording[layer.result], self.rest.recording[picture.value]
        with torch.no_grad():
            left = over(self.rest.tail(), at - layer.terms(neurons).to(at.dtype))
            lost = picture.images(whole[None] - left)
        return lost[:, :, window.y0 : window.y1, window.x0 : window.x1]


@dataclass
class ExactStream(ReplayStream):
    """A neuron's term through the true rest of the network, linearised.

    Several ways lead to the same numbers; the cheapest is taken. *Forwards*: one product a neuron. *Backwards*: one a
    pixel and colour, for all neurons together. *By tables*, where the rest of the network is local, whatever the number
    of neurons: made by combs, ``period² * colours`` products backwards, where these are few; else by windows, where
    every operation has a rule (:mod:`xinc.canvas.exact.cones`). A table is kept where it fits.
    """

    _asked: int = 0

    @cached_property
    def products(self) -> Products:
        """Products of the Jacobian with vectors."""
        return Products(self.rest)

    @cached_property
    def reach(self) -> ProbedField | None:
        """How far the layer reaches into the picture; None where its places are no grid."""
        return probe_field(self.rest)

    @property
    def cost(self) -> str:
        """One line: what all maps of the layer take."""
        summary = self.reach.summary if self.reach is not None else "its places are no grid of the picture's"
        if isinstance(self.tables, ConeTables):
            return f"exact goes back through the network by windows, for all neurons together ({summary})"
        if self.tables is not None:
            return f"exact takes {self._comb_products:,} products with vectors, for all neurons together ({summary})"
        return f"exact takes {self.neurons:,} products with vectors, one a neuron ({summary})"

    @property
    def takes_a_product_each(self) -> bool:
        """Whether no table serves all neurons together."""
        return self.tables is None

    @property
    def _comb_products(self) -> int:
        """Products that all combs take; 0 where they do not save any."""
        local = self.reach is not None and not self.products.at.is_complex()
        return self.reach.products if local and self.reach and self.reach.products <= self.neurons else 0

    @cached_property
    def tables(self) -> Combs | ConeTables | None:
        """What makes the Jacobian's table, part by part; None where nothing saves products, or windows do not hold."""
        if self.reach is None or self.products.at.is_complex():
            return None
        products = self.products
        try:
            if (found := self._cones()) is not None:
                return found
            if self._comb_products and sees_enough(self.rest, self.reach, products.forward, products.backward):
                return Combs(self.reach, products.backward)
            return None
        finally:
            products.forget()  # all layers of a network may be asked this before any is folded

    def _cones(self) -> ConeTables | None:
        """The table by windows, where it saves many products."""
        if self.reach is None or min(self.reach.products, self.neurons) <= FEW_PRODUCTS:
            return None
        return cone_tables(self.rest, self.reach, self.products.forward)

    @cached_property
    def _table(self) -> JacobianTable | None:
        if self.reach is None or self.tables is None or not fits(self.reach):
            return None
        return build_table(self.reach, self.tables)

    def areas(self) -> Iterator[tuple[Area, Iterator[tuple[range, Tensor]]]]:
        """Parts of the picture with the signed terms of all neurons there, some neurons at a time.

        Raises:
            TraceError: no table serves this layer.
        """
        if self.tables is None:
            raise TraceError(f"{self.rest.operation.name} takes a product a neuron: its maps do not come in parts")
        return iter(TableTerms(self.tables, self.neurons))

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; says beforehand if that will take long."""
        before = same_kind(self, wanted.before)
        try:
            if self.tables is not None and self._table is None and (before is None or self._parted_as(before)):
                return self._fold_areas(wanted, before, progress)
            return super().fold(wanted, progress)
        finally:
            for stream in (self, before):
                if stream is not None:
                    stream._forget()

    def _forget(self) -> None:
        """Let go of what made this pass quicker: a network has many layers, which are folded one after another."""
        self.products.forget()
        if isinstance(self.tables, ConeTables):
            self.tables.cones.forget()

    def _parted_as(self, other: ExactStream) -> bool:
        """Whether both frames' maps come in the same parts."""
        mine, its = self.tables, other.tables
        if mine is None or its is None or type(mine) is not type(its):
            return False
        return mine.parting == its.parting

    def _fold_areas(self, wanted: Pass, before: ExactStream | None, progress: Callable[[float], None] | None) -> Folded:
        """Fold the maps part by part of the picture."""
        self._prepare()
        folded = Folded.empty(self.neurons, self.size, wanted)
        earlier = None if before is None else before.areas()
        for area, terms in self.areas():
            part = wanted.of_area(area, None if earlier is None else HeldMaps.of(next(earlier)[1]))
            rows, columns = area_size(area, self.size)
            collected = Folded.empty(self.neurons, (rows, columns), part)
            for some, values in terms:
                dense_fold(values.abs().sum(1), some, part, collected)
            folded.put(area, wanted, collected)
            if progress is not None:
                progress(rows * columns / (self.size[0] * self.size[1]))
        return folded

    def _seconds(self) -> float:
        """About how long all maps take, from one product."""
        started = time.perf_counter()
        if self.tables is None:
            self._coloured(range(min(SEVERAL, self.neurons)), Window(0, self.size[0], 0, self.size[1]))
            return (time.perf_counter() - started) * self.neurons / min(SEVERAL, self.neurons)
        area, terms = next(self.areas())
        for _ in terms:
            pass
        rows, columns = area_size(area, self.size)
        return (time.perf_counter() - started) * self.size[0] * self.size[1] / (rows * columns)

    def _coloured(self, neurons: Sequence[int], window: Window) -> Tensor:
        self._asked += len(neurons)
        if self._asked > self._worth > 0 and self._table is not None:
            return self._table.maps(neurons, window)
        terms = self.rest.operation.terms(neurons).to(self.products.at.dtype)
        images = self.products.forward(terms, more=self._asked >= SEVERAL)
        return images[:, :, window.y0 : window.y1, window.x0 : window.x1]

    @property
    def _worth(self) -> int:
        """Products that a table takes as long as; 0 where none serves."""
        if self.tables is None or self.reach is None:
            return 0
        return self._comb_products or min(self.reach.products, self.neurons // 4)

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed contributions to each colour, ``(n, colours, h, w)``."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        if 2 * w.shape[0] * w.shape[1] * self.rest.picture.channels <= len(neurons):
            return self._backwards(neurons, w)
        return super().coloured(neurons, window)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Sum over colours of the absolute contributions, ``(n, h, w)``."""
        return self.coloured(neurons, window).abs().sum(1).float()

    def _backwards(self, neurons: Sequence[int], window: Window) -> Tensor:
        (height, width), channels = window.shape, self.rest.picture.channels
        axes = (torch.arange(size) for size in (channels, height, width))
        c, y, x = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
        shares = []
        size = max(1, HELD_VALUES // self._held)
        for first in range(0, len(c), size):
            some = torch.arange(first, min(len(c), first + size))
            ones = torch.zeros(len(some), channels, *self.size, device=self.products.at.device)
            ones[torch.arange(len(some)), c[some], window.y0 + y[some], window.x0 + x[some]] = 1
            shares.append(self.rest.operation.pull(self.products.backward(ones))[:, list(neurons)])
        return torch.cat(shares).T.reshape(len(neurons), channels, height, width)


def removed(rest: Rest, neurons: Sequence[int]) -> Tensor:
    """The picture without all of these neurons at once, ``(colours, H, W)``; biases kept."""
    layer, at = rest.operation, rest.recording[rest.operation.result]
    with torch.no_grad():
        term = torch.zeros_like(at)
        for first in range(0, len(neurons), 64):
            term += layer.terms(neurons[first : first + 64]).sum(0).to(at.dtype)
        return rest.picture.images(rest.tail()(at - term)[None])[0]
