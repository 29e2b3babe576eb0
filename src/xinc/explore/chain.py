"""Questions to a chain of layers, answered by running it: the network without neurons, sums of maps, pairings.

The page's own engine (``engine/chain.js``) answers the same questions of the same networks; the tests compare the two.
This is the one file that reads a plan's stages. Values on their way are ``(1, C, h, w)`` with channels last in memory:
convolutions in single precision take half the time so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.exact.tail import derivative
from xinc.canvas.network.linear_ops import shuffle
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Window, crop, windows_behind
from xinc.notation import Image, PerNeuron

LAST = torch.channels_last
LONG_PRODUCTS = 2e9
"""Products of a map from which on a coarse one is worth its while: some 40 ms of a processor."""


def coarse_is_quick() -> bool:
    """Whether this processor has a unit for matrices of 16-bit floats (bfloat16), which saves most of the time."""
    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("amx_bf16"))


def _go_on() -> None:
    pass


@dataclass(frozen=True, eq=False)
class RunnableChain:
    """A plan whose layers all lie on its chain of stages.

    Attributes:
        plan: the network as it ran on one frame.
    """

    plan: Plan
    _slopes: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, plan: Plan) -> RunnableChain | None:
        """The chain of a plan; None where a layer lies off it, or the picture has more or fewer than three colours."""
        whole = bool(plan.stages) and len(plan.layers) == len(plan.stages) and len(plan.output) == 3
        return cls(plan) if whole else None

    def position(self, layer: str) -> int:
        """A layer's place in the chain."""
        return [stage.name for stage in self.plan.stages].index(layer)

    @torch.no_grad()
    def without(self, chosen: Mapping[str, Sequence[int]], *, only: bool = False) -> Tensor:
        """The picture of the network without some neurons, biases kept, ``(3, H, W)``.

        Args:
            chosen: neurons by layer.
            only: remove all others of those layers instead.
        """
        first = min((self.position(layer) for layer in chosen), default=len(self.plan.stages))
        if first == len(self.plan.stages):
            return self.plan.output
        values = self._grid(first)
        for position, stage in enumerate(self.plan.stages[first:], first):
            weight = self._weight(position)
            if stage.name in chosen:
                weight = weight * self._per_weight(position, self.scales(position, chosen[stage.name], only=only))
            values = stage.activation(self._apply(position, values, weight, stage.bias))
        return values[0]

    def scales(self, position: int, neurons: Sequence[int], *, only: bool = False) -> Tensor:
        """One for every neuron that stays and zero for the others, ``(K,)``."""
        scale = torch.full((self.plan.stages[position].neurons,), 0.0 if only else 1.0, device=self.plan.output.device)
        scale[list(neurons)] = 1.0 if only else 0.0
        return scale

    @torch.no_grad()
    def push(self, position: int, scale: PerNeuron) -> Image:
        """The sum over a layer's neurons of their signed maps times ``scale (K,)``, ``(3, H, W)``."""
        weight = self._weight(position) * self._per_weight(position, scale)
        return self._carried(position + 1, self._apply(position, self._grid(position), weight) * self._slope(position))

    @torch.no_grad()
    def map(self, position: int, neuron: int, *, coarse: bool = False, watch: Callable[[], None] = _go_on) -> Image:
        """A neuron's signed map, ``(3, H, W)``: the term of a kernel meets one channel of the next layer only.

        Args:
            position: of the layer.
            neuron: of the layer.
            coarse: in 16-bit floats (bfloat16): a hundredth of the greatest value off, and several times as fast where
                :func:`coarse_is_quick`.
            watch: called between layers; what it raises ends the work.
        """
        stage, dtype = self.plan.stages[position], torch.bfloat16 if coarse else torch.float32
        if stage.kind == "linear":
            return self.push(position, self.scales(position, [neuron], only=True))
        i, o = divmod(neuron, stage.outputs)
        (rh, rw), weight = stage.upscale, stage.weight
        plane = F.conv2d(stage.input[None, i : i + 1], weight[o : o + 1, i : i + 1], padding=stage.padding)
        channel, (down, across) = o // (rh * rw), divmod(o % (rh * rw), rw)
        change = plane.new_zeros(1, 1, plane.shape[2] * rh, plane.shape[3] * rw)
        change[:, :, down::rh, across::rw] = plane
        change = change.to(dtype) * self._slope(position, dtype)[:, channel : channel + 1]
        if position == len(self.plan.stages) - 1:
            whole = torch.zeros_like(self.plan.output)
            whole[channel] = change[0, 0].to(whole.dtype)
            return whole
        return self._carried(position + 1, change, channel, watch).float()

    def gains_by_coarseness(self, position: int) -> bool:
        """Whether a coarse map of a layer's neuron is made noticeably sooner here than a true one."""
        if self.plan.stages[position].kind == "linear" or self.plan.output.device.type != "cpu":
            return False
        rows = self.describe()[position + 1 :]
        each = [row["cin"] * row["cout"] * row["kh"] * row["kw"] * row["h"] * row["w"] for row in rows]
        return sum(each[1:]) + (each[0] / rows[0]["cin"] if rows else 0) > LONG_PRODUCTS and coarse_is_quick()

    def _carried(
        self, first: int, change: Tensor, channel: int | None = None, watch: Callable[[], None] = _go_on
    ) -> Tensor:
        """A change of what reaches a stage, of one channel or of all, as a change of the picture."""
        for at in range(first, len(self.plan.stages)):
            watch()
            weight = self._weight(at)
            if channel is not None and at == first:
                weight = weight[:, channel : channel + 1]
            change = self._apply(at, change, weight).mul_(self._slope(at, change.dtype))
        return change[0]

    def _slope(self, position: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Derivatives of a stage's activation at what reached it, ``(1, C, H, W)``."""
        if (position, dtype) not in self._slopes:
            stage = self.plan.stages[position]
            if dtype == torch.float32:
                made = self._apply(position, self._grid(position), self._weight(position), stage.bias)
                found = derivative(stage.activation, made).contiguous(memory_format=LAST)
            else:
                found = self._slope(position).to(dtype)
            self._slopes[position, dtype] = found
        return self._slopes[position, dtype]

    def pull(self, position: int, window: Window, cotangents: Tensor) -> tuple[Tensor, Tensor]:
        """Pairings of pictures with the signed map of every neuron of a layer.

        Only what the window sees of the layer is computed; the whole picture goes by the derivatives that are kept.

        Args:
            position: of the layer.
            window: of the picture.
            cotangents: ``(R, 3, h, w)`` over the window.

        Returns:
            ``(K, R)``: sum over pixels and colours of cotangent times map; ``(R,)``: the same of what the layer's bias
            adds.
        """
        if window.shape == self.plan.size:
            return self._pull_whole(position, cotangents)
        stage = self.plan.stages[position]
        weight = self._weight(position).detach().requires_grad_()
        bias = stage.bias_or_zero.detach().clone().requires_grad_()
        with torch.enable_grad():
            values, have = self.grid(position), Window.whole(self._size(position))
            for at, (coarse, fine) in enumerate(self._seen(position, window), position):
                later = self.plan.stages[at]
                held = crop(values, have, coarse.widened(self._padding(at)))
                terms = F.conv2d(
                    held[None],
                    weight if at == position else self._weight(at),
                    bias if at == position else later.bias,
                )[0]
                rh, rw = later.upscale
                made = Window(coarse.y0 * rh, coarse.y1 * rh, coarse.x0 * rw, coarse.x1 * rw)
                values, have = later.activation(crop(shuffle(terms, later.upscale), made, fine)), fine
            pairs = [torch.autograd.grad((values * one).sum(), (weight, bias), retain_graph=True) for one in cotangents]
        terms = torch.stack([self._by_neuron(position, gradient * weight.detach()) for gradient, _ in pairs], 1)
        return terms, torch.stack([(gradient * bias.detach()).sum() for _, gradient in pairs])

    @torch.no_grad()
    def _pull_whole(self, position: int, cotangents: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`pull`, over the whole picture; nothing is recorded on the way."""
        change = cotangents.contiguous(memory_format=LAST)
        for at in range(len(self.plan.stages) - 1, position - 1, -1):
            change = _unshuffled(change * self._slope(at), self.plan.stages[at].upscale)
            if at > position:
                change = F.conv_transpose2d(change, self._weight(at), padding=self._padding(at))
        weight, values = self._weight(position), self._grid(position)
        shares = [_by_weight(values, weight, one[None], self._padding(position)) * weight for one in change]
        bias = change.sum((2, 3)) @ self.plan.stages[position].bias_or_zero
        return torch.stack([self._by_neuron(position, share) for share in shares], 1), bias

    def describe(self) -> list[dict[str, Any]]:
        """The stages as the page's engine wants them, without weights."""
        rows = []
        for position, stage in enumerate(self.plan.stages):
            height, width = self._size(position)
            rows.append(
                {
                    "name": stage.name,
                    "kind": stage.kind,
                    "cin": stage.inputs,
                    "cout": stage.outputs,
                    "kh": int(self._weight(position).shape[2]),
                    "kw": int(self._weight(position).shape[3]),
                    "ph": self._padding(position)[0],
                    "pw": self._padding(position)[1],
                    "rh": stage.upscale[0],
                    "rw": stage.upscale[1],
                    "h": height,
                    "w": width,
                    "activation": stage.activation.name,
                    "parameters": list(stage.activation.parameters),
                }
            )
        return rows

    def _size(self, position: int) -> tuple[int, int]:
        """Grid of a stage's convolution; a pixel-wise stage's is the picture's."""
        stage = self.plan.stages[position]
        if stage.kind == "linear":
            return self.plan.size
        return int(stage.input.shape[1]), int(stage.input.shape[2])

    def _padding(self, position: int) -> tuple[int, int]:
        stage = self.plan.stages[position]
        return (0, 0) if stage.kind == "linear" else stage.padding

    def grid(self, position: int) -> Tensor:
        """What reached a stage as ``(C, h, w)``."""
        stage = self.plan.stages[position]
        return stage.input.T.reshape(-1, *self.plan.size) if stage.kind == "linear" else stage.input

    def _grid(self, position: int) -> Tensor:
        """What reached a stage, ``(1, C, h, w)``."""
        return self.grid(position)[None].contiguous(memory_format=LAST)

    def _weight(self, position: int) -> Tensor:
        """A stage's weight as that of a convolution."""
        stage = self.plan.stages[position]
        return stage.weight[:, :, None, None] if stage.kind == "linear" else stage.weight

    def _apply(self, position: int, values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """A stage's linear operation and shuffle, ``(1, C, H, W)``."""
        weight = weight.to(values.dtype).contiguous(memory_format=LAST)
        made = F.conv2d(values, weight, bias, padding=self._padding(position))
        return _shuffled(made, self.plan.stages[position].upscale)

    def _seen(self, position: int, window: Window) -> list[tuple[Window, Window]]:
        if self.plan.pixelwise:
            return [(window, window)] * (len(self.plan.stages) - position)
        return windows_behind(self.plan, position, window)

    def _per_weight(self, position: int, scale: Tensor) -> Tensor:
        """``(K,)`` laid out over a stage's weight."""
        stage = self.plan.stages[position]
        if stage.kind == "linear":
            return scale[None, :, None, None]
        return scale.reshape(stage.inputs, stage.outputs).T[:, :, None, None]

    def _by_neuron(self, position: int, shares: Tensor) -> Tensor:
        """Sums over each neuron's weights, ``(K,)``."""
        if self.plan.stages[position].kind == "linear":
            return shares.sum((0, 2, 3))
        return shares.sum((2, 3)).T.reshape(-1)


def _shuffled(values: Tensor, upscale: tuple[int, int]) -> Tensor:
    """Pixel shuffle of ``(1, C, h, w)``; torch's own where it can, which leaves channels last."""
    rh, rw = upscale
    return F.pixel_shuffle(values, rh) if rh == rw else shuffle(values[0], upscale)[None].contiguous(memory_format=LAST)


def _unshuffled(values: Tensor, upscale: tuple[int, int]) -> Tensor:
    """The way back of :func:`_shuffled`, of any number of pictures."""
    (rh, rw), (count, _, height, width) = upscale, values.shape
    if rh == rw:
        return F.pixel_unshuffle(values, rh)
    split = values.reshape(count, -1, height // rh, rh, width // rw, rw).permute(0, 1, 3, 5, 2, 4)
    return split.reshape(count, -1, height // rh, width // rw).contiguous(memory_format=LAST)


def _by_weight(values: Tensor, weight: Tensor, change: Tensor, padding: tuple[int, int]) -> Tensor:
    """The derivative of ``<change, convolution of values>`` by the weight."""
    wanted = (False, True, False)
    sizes: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        change, values, weight, None, (1, 1), padding, (1, 1), False, (0, 0), 1, wanted
    )
    return sizes[1]
