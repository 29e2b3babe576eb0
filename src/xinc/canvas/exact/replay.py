"""Exact transport and ablation for layers with anything behind them: residuals, norms, attention, warping, modulation.

Neither needs to understand what lies between a layer and the picture. The recording is replayed from the layer's
output, differentiated (``exact``) or with the neuron's term taken away (``ablation``). Where every pixel sees a small
window of the layer only, the Jacobian is a table (:mod:`xinc.canvas.exact.probed`) that few products with vectors make.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from xinc.canvas.exact.probed import JacobianTable, build_table, fits
from xinc.canvas.network.plan import Rest
from xinc.canvas.network.receptive_field import ProbedField, Window, probe_field
from xinc.canvas.network.recording import Tail
from xinc.canvas.reductions.fold import Folded, Pass, dense_fold

HELD_VALUES = 1 << 25
"""Numbers that one chunk of neurons may hold (128 MB in float32)."""

WARN_SECONDS = 60.0
"""A layer that will take longer than this says so before it starts."""

QUICK_VALUES = 1 << 31
"""A layer that computes fewer numbers than this is not timed."""


def _straight(step: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A step function that hands derivatives through: its own are zero wherever they exist."""
    return lambda x, *_, **__: x + (step(x) - x).detach()


DIFFERENTIABLE: dict[str, Callable[..., Tensor]] = {
    "detach": lambda x: x,
    "data": lambda x: x,
    "round": _straight(torch.round),
    "floor": _straight(torch.floor),
    "ceil": _straight(torch.ceil),
    "trunc": _straight(torch.trunc),
}
"""Gradients that the network's author stopped are no part of the function that it computes."""


_FORWARD_MODE = RLock()
"""Torch's forward mode and its choice of attention are the process's, not the thread's: one thread at a time."""


@contextmanager
def _differentiable() -> Iterator[None]:
    """Attention in a form that can be differentiated forwards."""
    with _FORWARD_MODE, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), torch.no_grad():
        yield


class Products:
    """Products of the Jacobian of what follows a layer with vectors, from both sides.

    Operations without a forward derivative (grid sampling is one) are differentiated by central differences in float64.
    """

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.at = rest.recording[rest.operation.result]
        self.tail = rest.tail(**DIFFERENTIABLE)
        self._forward: Callable[[Tensor], Tensor] = self._tangents

    def forward(self, terms: Tensor) -> Tensor:
        """``J z`` for terms ``(n, *shape)``: ``(n, C, H, W)``."""
        try:
            return self._images(self._forward(terms))
        except NotImplementedError:  # torch names the operation that has no forward derivative
            self._forward = self._differences
            return self._images(self._forward(terms))

    def backward(self, cotangents: Tensor) -> Tensor:
        """``J^T g`` for pictures ``(m, C, H, W)``: ``(m, *shape)``."""
        outputs = self.rest.recording[self.rest.picture.value]
        rows = self.rest.picture.outputs(cotangents, outputs.shape).to(outputs.dtype)
        with _differentiable():
            pull = vjp(self.tail, self.at)[1]
            return over(lambda row: pull(row)[0], rows)

    def _images(self, outputs: Tensor) -> Tensor:
        return self.rest.picture.images(outputs).to(self.at.real.dtype)

    def _tangents(self, terms: Tensor) -> Tensor:
        with _differentiable():
            return over(lambda term: jvp(self.tail, (self.at,), (term,))[1], terms)

    def _differences(self, terms: Tensor) -> Tensor:
        wide = self._wide
        at = wide.recording[wide.start]
        terms = terms.to(at.dtype)
        sizes = terms.abs().flatten(1).amax(1).clamp_min(1e-30)
        steps = (1e-5 * float(at.abs().max().clamp_min(1e-6)) / sizes).reshape(-1, *[1] * at.ndim)
        with _differentiable():
            change = over(lambda step: wide(at + step) - wide(at - step), terms * steps)
        return change / (2 * steps.reshape(-1, *[1] * (change.ndim - 1)))

    @cached_property
    def _wide(self) -> Tail:
        rest = self.rest
        wide = rest.recording.widened(torch.float64)
        return wide.tail(rest.operation.result, rest.picture.value, DIFFERENTIABLE)


def over(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """A function of one tensor on each of a batch: together, or one by one where an operation cannot be batched."""
    try:
        result: Tensor = vmap(function, randomness="same")(batch)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        if "vmap" not in str(error) and "batching" not in str(error):
            raise
        result = torch.stack([function(one) for one in batch])
    return result


@dataclass
class ReplayStream:
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
    def cost(self) -> str:
        """One line: what all maps of the layer take."""
        raise NotImplementedError

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Signed contributions to each colour, ``(n, colours, h, w)``."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        parts = [self._coloured(chunk, w) for chunk in self._chunks(neurons)]
        return torch.cat(parts) if parts else torch.empty(0, self.rest.picture.channels, *w.shape)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
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

    def _coloured(self, neurons: Sequence[int], window: Window) -> Tensor:
        raise NotImplementedError

    def _prepare(self) -> None:
        """Say what all maps cost, from the time of one."""
        if self.neurons * self._held < QUICK_VALUES:
            return
        started = time.perf_counter()
        self.maps([0])
        seconds = (time.perf_counter() - started) * self.neurons
        if seconds > WARN_SECONDS:
            warnings.warn(
                f"{self.rest.operation.name}: {self.cost}, about {seconds / 60:.0f} min here; ask for maps of some "
                "neurons, or for single pixels, to wait less",
                stacklevel=3,
            )

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

    Three ways lead to the same numbers; the one with the fewest products is taken. *Forwards*: one product a neuron.
    *Backwards*: one a pixel and colour, for all neurons together. *By the table*, where the rest of the network is
    local: ``period² * colours`` products backwards, whatever the number of neurons.
    """

    _asked: int = 0

    @cached_property
    def products(self) -> Products:
        """Products of the Jacobian with vectors."""
        return Products(self.rest)

    @cached_property
    def reach(self) -> ProbedField | None:
        """How far the layer reaches into the picture."""
        return probe_field(self.rest)

    @property
    def cost(self) -> str:
        """One line: what all maps of the layer take."""
        summary = self.reach.summary if self.reach is not None else "its places are no grid of the picture's"
        if self._tabled:
            return f"exact takes {self._tabled:,} products with vectors for a table ({summary})"
        return f"exact takes {self.neurons:,} products with vectors, one a neuron ({summary})"

    @property
    def takes_a_product_each(self) -> bool:
        """Whether no table serves all neurons together."""
        return self._table is None

    @property
    def _tabled(self) -> int:
        """Products that a table takes; 0 where it does not save any."""
        worth = self.reach is not None and fits(self.reach) and 2 * self.reach.products <= self.neurons
        return self.reach.products if worth and self.reach is not None else 0

    @cached_property
    def _table(self) -> JacobianTable | None:
        if not self._tabled or self.reach is None:
            return None
        return build_table(self.rest, self.reach, self.products.forward, self.products.backward)

    def _prepare(self) -> None:
        if self._table is None:
            super()._prepare()

    def _coloured(self, neurons: Sequence[int], window: Window) -> Tensor:
        self._asked += len(neurons)
        if self._asked > self._tabled > 0 and self._table is not None:
            return self._table.maps(neurons, window)
        images = self.products.forward(self.rest.operation.terms(neurons).to(self.products.at.dtype))
        return images[:, :, window.y0 : window.y1, window.x0 : window.x1]

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
        """Signed contributions to each colour, ``(n, colours, h, w)``."""
        w = window or Window(0, self.size[0], 0, self.size[1])
        if 2 * w.shape[0] * w.shape[1] * self.rest.picture.channels <= len(neurons):
            return self._backwards(neurons, w)
        return super().coloured(neurons, window)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Tensor:
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
