"""Products of the Jacobian of what follows a layer with vectors, by replaying and differentiating the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import RLock

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from xinc.canvas.network.plan import Rest
from xinc.canvas.recording.recording import Tail

KEPT_VALUES = 1 << 27
"""Numbers between a layer and the picture that are kept from one product to the next (512 MB in float32)."""

SEVERAL = 4
"""Products forwards from which on it pays to build what makes each of them quicker."""


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
def differentiable() -> Iterator[None]:
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
        self._twice = True

    def forward(self, terms: Tensor, *, more: bool = False) -> Tensor:
        """``J z`` for terms ``(n, *shape)``: ``(n, C, H, W)``; ``more`` says that this is one call of several."""
        if self._forward == self._tangents and (more or len(terms) >= SEVERAL) and self._keeps(3):
            try:
                return self._images(self._linear(terms))
            except RuntimeError:  # an operation that cannot be differentiated twice
                self._twice = False
        try:
            return self._images(self._forward(terms))
        except NotImplementedError:  # torch names the operation that has no forward derivative
            self._forward = self._differences
            return self._images(self._forward(terms))

    def backward(self, cotangents: Tensor) -> Tensor:
        """``J^T g`` for pictures ``(m, C, H, W)``: ``(m, *shape)``."""
        outputs = self.rest.recording[self.rest.picture.value]
        rows = self.rest.picture.outputs(cotangents, outputs.shape).to(outputs.dtype)
        if not self._keeps(1):
            with differentiable():
                pull = vjp(self.tail, self.at)[1]
                return over(lambda row: pull(row)[0], rows)
        start, end = self._graph
        pulled = (torch.autograd.grad(end, start, row, retain_graph=True, allow_unused=True)[0] for row in rows)
        return torch.stack([torch.zeros_like(start) if one is None else one for one in pulled])

    def forget(self) -> None:
        """Let go of what makes the next products quicker."""
        self.__dict__.pop("_graph", None)
        self.__dict__.pop("_second_graph", None)

    def _keeps(self, copies: int) -> bool:
        """Whether the values between the layer and the picture can be kept, some times over, between products."""
        return not self.at.is_complex() and copies * self._between <= KEPT_VALUES and (copies == 1 or self._twice)

    @cached_property
    def _between(self) -> int:
        tensors = self.rest.recording.tensors
        return sum(tensors[result.index].numel() for step in self.tail.operations for result in step.results)

    @cached_property
    def _graph(self) -> tuple[Tensor, Tensor]:
        """The layer's output, and the picture's tensor made of it, with what derivatives need."""
        with differentiable(), torch.inference_mode(False), torch.enable_grad():
            start = self.at.detach().clone().requires_grad_()
            return start, self.tail(start)

    @cached_property
    def _second_graph(self) -> tuple[Tensor, Tensor]:
        """A picture and its product backwards, which is linear in it: its derivative is the product forwards."""
        start, end = self._graph
        with torch.inference_mode(False), torch.enable_grad():
            given = torch.zeros_like(end).requires_grad_()
            (back,) = torch.autograd.grad(end, start, given, create_graph=True)
        return given, back

    def _linear(self, terms: Tensor) -> Tensor:
        given, back = self._second_graph
        if not back.requires_grad:  # nothing reaches the picture
            return given.new_zeros(len(terms), *given.shape)
        pushed = (torch.autograd.grad(back, given, term, retain_graph=True, allow_unused=True)[0] for term in terms)
        return torch.stack([torch.zeros_like(given) if one is None else one for one in pushed]).detach()

    def _images(self, outputs: Tensor) -> Tensor:
        return self.rest.picture.images(outputs).to(self.at.real.dtype)

    def _tangents(self, terms: Tensor) -> Tensor:
        with differentiable():
            return over(lambda term: jvp(self.tail, (self.at,), (term,))[1], terms)

    def _differences(self, terms: Tensor) -> Tensor:
        wide = self._wide
        at = wide.recording[wide.start]
        terms = terms.to(at.dtype)
        sizes = terms.abs().flatten(1).amax(1).clamp_min(1e-30)
        steps = (1e-5 * float(at.abs().max().clamp_min(1e-6)) / sizes).reshape(-1, *[1] * at.ndim)
        with differentiable():
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
    except NotImplementedError:  # no derivative at all, batched or not: the caller has another way
        raise
    except RuntimeError as error:
        if "vmap" not in str(error) and "batching" not in str(error):
            raise
        result = torch.stack([function(one) for one in batch])
    return result
