"""Joint pruning of anybody's network: what goes, what makes up for it, and what is left as it was."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xinc
from xinc.errors import FindingError

SIZE = (12, 16)
PIXELS = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SIZE), indexing="ij"), -1).reshape(-1, 2)


class Skip(nn.Module):
    """Two convolutions with a skip, and a norm of its own statistics: no chain, nothing local."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(4, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.norm, self.last = nn.InstanceNorm2d(12), nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sin(self.first(x))
        return self.last(h + torch.sin(self.norm(self.second(h))))


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.e, self.m, self.o = nn.Linear(2, 16), nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sin(4 * self.e(x))[None]
        return self.o(self.m(h, h, h, need_weights=False)[0] + h)[0]


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 3))


CASES = {
    "mlp": (mlp, PIXELS, {"size": SIZE}),
    "skip": (Skip, torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(1)), {}),
    "attention": (Attending, PIXELS, {"size": SIZE}),
}


def by_magnitude(module: nn.Module, removed: dict[str, int], names: dict[str, str]) -> nn.Module:
    """As many neurons of each layer gone by the sum of their absolute weights, nothing made up for."""
    smaller = copy.deepcopy(module)
    for layer, count in removed.items():
        weight = smaller.get_parameter(names[layer])
        with torch.no_grad():
            sizes = weight.abs().sum(0) if weight.ndim == 2 else weight.abs().sum((2, 3))
            gone = sizes.flatten().argsort()[:count]
            mask = torch.ones(sizes.numel())
            mask[gone] = 0
            weight *= mask[None] if weight.ndim == 2 else mask.reshape(sizes.shape)[:, :, None, None]
    return smaller


def decibels(module: nn.Module, whole: nn.Module, given: Tensor) -> float:
    with torch.no_grad():
        return float(-10 * (module(given) - whole(given)).double().square().mean().log10())


@pytest.mark.parametrize("name", CASES)
def test_a_share_goes_and_the_rest_makes_up_for_it(name: str) -> None:
    make, given, how = CASES[name]
    module = make().eval()
    before = copy.deepcopy(module.state_dict())
    smaller = xinc.prune(module, given, fraction=0.25, **how)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    total = sum(smaller.counts.values())
    assert sum(len(neurons) for neurons in smaller.removed.values()) == round(0.25 * total)
    canvas = xinc.trace(smaller.module, given, **how)
    for layer, neurons in smaller.removed.items():
        if len(neurons):
            maps = canvas[layer].maps(neurons.tolist(), signed=True)
            assert float(maps.abs().max()) == 0
    assert smaller.psnr[0] == pytest.approx(decibels(smaller.module, module, given), abs=0.01)
    plan = xinc.trace(module, given, **how).plan
    parameters = dict(module.named_parameters())
    names = {
        n: next(p for p in (f"{plan.layer(n).module}.weight", plan.layer(n).module) if p in parameters)
        for n in smaller.counts
    }
    rival = by_magnitude(module, {n: len(k) for n, k in smaller.removed.items()}, names)
    assert smaller.psnr[0] > decibels(rival, module, given) + 3


def test_other_inputs_count_too() -> None:
    module = Skip()
    first, second = (torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    alone = xinc.prune(module, first, fraction=0.3)
    both = xinc.prune(module, first, fraction=0.3, others=[(second,)])
    assert len(both.psnr) == 2
    assert decibels(both.module, module, second) > decibels(alone.module, module, second)


def test_measuring_again_does_not_hurt() -> None:
    module, given = mlp(), PIXELS
    once, again = (xinc.prune(module, given, size=SIZE, fraction=0.4, again=a) for a in (False, True))
    assert again.psnr[0] > once.psnr[0] - 0.5
    assert all(np.diff(neurons).min(initial=1) > 0 for neurons in again.removed.values())
    assert math.isfinite(again.psnr[0])


def test_what_cannot_be_pruned_is_said() -> None:
    with pytest.raises(FindingError, match="give a share between 0 and 1"):
        xinc.prune(mlp(), PIXELS, size=SIZE, fraction=1.0)

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Parameter(torch.randn(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            return x @ (self.part * 2).T

    with pytest.raises(FindingError, match="none has a plain parameter for its weight"):
        xinc.prune(Made(), PIXELS, size=SIZE)
