"""Ablation against networks whose weights were really set to zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny_networks as tiny
from xinc.canvas.ablation import ablation, remover
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.trace import trace

NETWORKS = {
    "decoder": lambda: tiny.decoder(),
    "deep": lambda: tiny.decoder((2, 3), 1, widths=(2, 3, 2, 2), kernels=((1, 1), (3, 5), (5, 3), (3, 1)),
                                 upscales=((3, 1), (2, 2), (1, 2)), output=torch.sigmoid),
    "relu, no bias": lambda: tiny.decoder((4, 3), 2, activation=torch.relu, bias=False, output=lambda x: x),
    "mlp": lambda: tiny.mlp(),
}  # fmt: skip


@pytest.fixture(params=NETWORKS, scope="module")
def network(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, Tensor, Plan]:
    made: tuple[torch.nn.Module, Tensor, Plan] = NETWORKS[request.param]()
    return made


def test_equals_networks_whose_weights_were_zeroed(network: tuple[torch.nn.Module, Tensor, Plan]) -> None:
    module, values, plan = network
    for position, stage in enumerate(plan.stages):
        chosen = list(range(0, stage.neurons, 3))
        wanted = torch.stack([tiny.loss_by_hand(module, values, plan, stage, [k]) for k in chosen])
        stream = ablation(plan, position)
        torch.testing.assert_close(stream.coloured(chosen), wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(stream.maps(chosen), wanted.abs().sum(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("wrong", ["neighbour", "bias", "sign"])
def test_the_oracle_can_fail(wrong: str) -> None:
    module, values, plan = tiny.decoder()
    stage = plan.stages[0]
    with torch.no_grad():
        if wrong == "bias":  # an ablation that takes the bias along
            bias = module.get_submodule(stage.module).bias
            assert isinstance(bias, Tensor)
            bias[0] = 0
    k = 1 if wrong == "neighbour" else 0
    seen = tiny.loss_by_hand(module, values, plan, stage, [k]) * (-1 if wrong == "sign" else 1)
    made = ablation(plan, 0).coloured([0])[0]
    assert (made - seen).abs().max() > 1e-3 * made.abs().max()


def test_a_window_is_cut_from_the_whole(network: tuple[torch.nn.Module, Tensor, Plan]) -> None:
    _, _, plan = network
    height, width = plan.size
    for position in range(len(plan.stages)):
        stream = ablation(plan, position)
        whole = stream.maps([0, 2])
        for w in (Window(0, 1, 0, 1), Window(height - 2, height, width - 1, width), Window(1, 4, 2, 5)):
            torch.testing.assert_close(stream.maps([0, 2], w), whole[:, w.y0 : w.y1, w.x0 : w.x1], rtol=0, atol=1e-13)


def test_reductions_equal_those_of_all_maps(network: tuple[torch.nn.Module, Tensor, Plan]) -> None:
    module, values, plan = network
    labels = np.arange(plan.size[0] * plan.size[1]).reshape(plan.size) % 4 - 1
    size = plan.size if plan.pixelwise else None
    canvas = trace(module, values, method="ablation", size=size)
    layer = canvas[canvas.layers[0]]
    maps = layer.maps(range(layer.shape[0])).double()
    torch.testing.assert_close(layer.heatmap().double(), maps.sum(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(layer.totals().double(), maps.sum((1, 2)), rtol=1e-6, atol=1e-9)
    sums = torch.stack([(maps * torch.from_numpy(labels == g)).sum((1, 2)) for g in range(3)], 1)
    found = layer.region_sums(labels)
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found.double(), sums, rtol=1e-6, atol=1e-9)


def test_many_neurons_at_once(network: tuple[torch.nn.Module, Tensor, Plan]) -> None:
    module, values, plan = network
    for stage in plan.stages:
        chosen = list(range(0, stage.neurons, 2))
        wanted = plan.output - tiny.loss_by_hand(module, values, plan, stage, chosen)
        torch.testing.assert_close(remover(plan, stage.name)(chosen), wanted, rtol=0, atol=1e-12)


def test_small_changes_keep_their_digits_in_single_precision() -> None:
    """Changes are carried on, not subtracted from each other: a neuron of a thousandth of the rest is still right."""
    module, values, plan = tiny.decoder()
    with tiny.scaled(module, plan.stages[0], [0], 1e-3):
        wanted = ablation(trace(module, values).plan, 0).maps([0])
        single = trace(module.float(), values.float(), method="ablation")
        made = single["block1"].maps([0]).double()
    assert (made - wanted).abs().max() < 3e-5 * wanted.max()
