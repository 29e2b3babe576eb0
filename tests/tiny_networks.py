"""Small random networks in float64, their plans, and neurons scaled by hand: the oracle of exact and ablation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan
from xinc.canvas.recording.recorder import record


class TinyDecoder(nn.Module):
    """Blocks of convolution, rectangular shuffle and activation, then a head."""

    def __init__(
        self,
        widths: Sequence[int],
        kernels: Sequence[tuple[int, int]],
        upscales: Sequence[tuple[int, int]],
        activation: Callable[[Tensor], Tensor] = nn.functional.gelu,
        output: Callable[[Tensor], Tensor] = torch.tanh,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.upscales, self.activation, self.output = list(upscales), activation, output
        channels = [*widths, 3]
        factors = [rh * rw for rh, rw in upscales] + [1]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o * f, k, padding=(k[0] // 2, k[1] // 2), bias=bias)
            for i, o, f, k in zip(channels[:-1], channels[1:], factors, kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        for convolution, (rh, rw) in zip(self.convolutions, self.upscales, strict=False):
            x = convolution(x)
            n, c, h, w = x.shape
            x = x.reshape(n, c // (rh * rw), rh, rw, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, -1, rh * h, rw * w)
            x = self.activation(x)
        return self.output(self.convolutions[-1](x))


class TinyMLP(nn.Module):
    def __init__(self, widths: Sequence[int], activation: Callable[[Tensor], Tensor] = torch.sin) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return torch.sigmoid(self.layers[-1](x))


@torch.no_grad()
def decoder(grid: tuple[int, int] = (3, 4), seed: int = 0, **options: object) -> tuple[TinyDecoder, Tensor, Plan]:
    """A decoder of two blocks by default: kernels 3, 5, 3, shuffles 2x2 and 1x3."""
    torch.manual_seed(seed)
    settings = {
        "widths": (3, 4, 3),
        "kernels": ((3, 3), (5, 3), (3, 3)),
        "upscales": ((2, 2), (1, 3)),
        **options,
    }
    module = TinyDecoder(**settings).double()  # type: ignore[arg-type]
    values = torch.randn(1, settings["widths"][0], *grid, dtype=torch.float64)  # type: ignore[index]
    return module, values, read_plan(record(module, values))


@torch.no_grad()
def mlp(
    size: tuple[int, int] = (5, 6), seed: int = 0, widths: Sequence[int] = (6, 7, 5, 3)
) -> tuple[TinyMLP, Tensor, Plan]:
    torch.manual_seed(seed)
    module = TinyMLP(widths).double()
    values = torch.randn(size[0] * size[1], widths[0], dtype=torch.float64)
    return module, values, read_plan(record(module, values), size)


@contextmanager
def scaled(module: nn.Module, stage: LinearOperation, neurons: Sequence[int], factor: float) -> Iterator[None]:
    """The network with some neurons' weights multiplied by a factor."""
    weight = module.get_submodule(stage.module).weight
    assert isinstance(weight, Tensor)
    before = weight.detach().clone()
    with torch.no_grad():
        for k in neurons:
            if stage.kind == "linear":
                weight[:, k] *= factor
            else:
                weight[k % stage.outputs, k // stage.outputs] *= factor
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)


@torch.no_grad()
def picture(module: nn.Module, values: Tensor, plan: Plan) -> Tensor:
    made = module(values)
    return made.T.reshape(plan.output.shape) if plan.pixelwise else made[0]


def slope_by_hand(
    module: nn.Module, values: Tensor, plan: Plan, stage: LinearOperation, k: int, step: float = 1e-5
) -> Tensor:
    """``T_k``: the picture's derivative by a factor on the neuron's weights, by central difference ``(3, H, W)``."""
    with scaled(module, stage, [k], 1 + step):
        above = picture(module, values, plan)
    with scaled(module, stage, [k], 1 - step):
        below = picture(module, values, plan)
    return (above - below) / (2 * step)


def loss_by_hand(
    module: nn.Module, values: Tensor, plan: Plan, stage: LinearOperation, neurons: Sequence[int]
) -> Tensor:
    """The picture less the picture of the network whose neurons' weights were set to zero ``(3, H, W)``."""
    with scaled(module, stage, neurons, 0.0):
        return plan.output - picture(module, values, plan)
