"""Networks that run a few pixels at a time have the layers, maps and chain of the same network run at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import xinc

SIZE = (6, 10)


def pixels() -> Tensor:
    rows, columns = (torch.linspace(-1, 1, n) for n in SIZE)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.last = nn.Linear(2, 12), nn.Linear(12, 12), nn.Linear(12, 3)

    def part(self, x: Tensor) -> Tensor:
        hidden = torch.sin(6 * self.first(x))
        return self.last(torch.sin(self.second(hidden)) + hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)


class Joined(Whole):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.part(some) for some in x.split(16)])  # the last part is smaller


class Written(Whole):
    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(len(x), 3)
        for begin in range(0, len(x), 20):
            out[begin : begin + 20] = self.part(x[begin : begin + 20])
        return out


class Plain(Whole):
    def part(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(torch.sin(6 * self.first(x)))))


class PlainInParts(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.part(some) for some in x.chunk(3)], dim=0)


@pytest.mark.parametrize("kind", [Joined, Written])
def test_layers_run_in_chunks_are_one_layer_each(kind: type[Whole]) -> None:
    whole, cut = (xinc.trace(made(), pixels(), size=SIZE, method="exact") for made in (Whole, kind))
    assert cut.layers == whole.layers == ["first", "second", "last"]
    for name in whole.layers:
        maps = [canvas[name].maps(range(canvas[name].shape[0]), signed=True) for canvas in (whole, cut)]
        torch.testing.assert_close(maps[1], maps[0], atol=1e-6, rtol=1e-5)
        assert float(cut.residual(name).abs().max()) < 1e-5
        ablated = [xinc.trace(m(), pixels(), size=SIZE, method="ablation")[name].totals() for m in (Whole, kind)]
        torch.testing.assert_close(ablated[1], ablated[0], atol=1e-5, rtol=1e-4)


def test_a_chain_in_chunks_is_a_chain() -> None:
    whole, cut = (xinc.trace(made(), pixels(), size=SIZE) for made in (Plain, PlainInParts))
    assert [s.activation.name for s in cut.plan.stages] == [s.activation.name for s in whole.plan.stages]
    assert cut.layers == whole.layers == ["layer1", "layer2", "layer3"]
    for method in ("paper", "exact"):
        heats = [xinc.trace(m(), pixels(), size=SIZE, method=method)["layer2"].heatmap() for m in (Plain, PlainInParts)]
        torch.testing.assert_close(heats[1], heats[0], atol=1e-6, rtol=1e-5)


def test_the_same_weights_at_two_places_stay_two_layers() -> None:
    class Mirrored(Whole):
        def forward(self, x: Tensor) -> Tensor:
            return self.part(x) + self.part(-x)

    class Again(Whole):
        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.first(x))
            for _ in range(2):
                hidden = torch.relu(self.second(hidden))
            return self.last(hidden)

    assert "first#2" in xinc.trace(Mirrored(), pixels(), size=SIZE).layers
    assert xinc.trace(Again(), pixels(), size=SIZE).layers[1:3] == ["layer2", "layer3"]
