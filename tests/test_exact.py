"""First-order transport against derivatives taken by hand, its identities, and its fast paths against its plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny_networks as tiny
from xinc.canvas.exact import bias_row, linearisation, residual, signed_region_sums
from xinc.canvas.plan import Plan
from xinc.canvas.tail import TailStream
from xinc.errors import TraceError

Network = tuple[torch.nn.Module, Tensor, Plan]

NETWORKS = {
    "decoder": lambda: tiny.decoder(),
    "deep": lambda: tiny.decoder((2, 3), 1, widths=(2, 3, 2, 2), kernels=((1, 1), (3, 5), (5, 3), (3, 1)),
                                 upscales=((3, 1), (2, 2), (1, 2)), output=torch.sigmoid),
    "silu, no bias": lambda: tiny.decoder((4, 3), 2, activation=torch.nn.functional.silu, bias=False,
                                          output=lambda x: x),
    "mlp": lambda: tiny.mlp(),
}  # fmt: skip


@pytest.fixture(params=NETWORKS, scope="module")
def network(request: pytest.FixtureRequest) -> Network:
    made: Network = NETWORKS[request.param]()
    return made


def test_equals_the_derivative_by_a_factor_on_the_weights(network: Network) -> None:
    module, values, plan = network
    for position, stage in enumerate(plan.stages):
        chosen = list(range(0, stage.neurons, 3))
        wanted = torch.stack([tiny.slope_by_hand(module, values, plan, stage, k) for k in chosen])
        torch.testing.assert_close(TailStream(plan, position, "tangent").coloured(chosen), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("wrong", ["neighbour", "sign", "colour", "shift"])
def test_the_oracle_can_fail(wrong: str) -> None:
    module, values, plan = tiny.decoder()
    made = TailStream(plan, 0, "tangent").coloured([0])[0]
    wanted = tiny.slope_by_hand(module, values, plan, plan.stages[0], 1 if wrong == "neighbour" else 0)
    turned = {"sign": -wanted, "colour": wanted.flip(0), "shift": wanted.roll(1, 2)}.get(wrong, wanted)
    assert (made - turned).abs().max() > 1e-3 * made.abs().max()


def test_terms_and_bias_make_the_linearisation(network: Network) -> None:
    _, _, plan = network
    for position, stage in enumerate(plan.stages):
        terms = TailStream(plan, position, "tangent").coloured(range(stage.neurons)).sum(0)
        whole = linearisation(plan, position)
        torch.testing.assert_close(terms + bias_row(plan, position), whole, rtol=0, atol=1e-12)
        assert (terms - whole).abs().max() > 1e-3 or stage.bias is None  # the bias row is not nothing


def test_the_last_layer_is_the_true_addend() -> None:
    _, _, plan = tiny.decoder(output=lambda x: x)
    last = len(plan.stages) - 1
    torch.testing.assert_close(linearisation(plan, last), plan.output, rtol=0, atol=1e-12)


def test_contributions_leave_nothing_of_the_traced_values(network: Network) -> None:
    _, _, plan = network
    for position in range(len(plan.stages)):
        assert residual(plan, position).abs().max() < 1e-12


def test_a_residual_shows_a_plan_that_was_misread() -> None:
    _, _, plan = tiny.decoder()
    wrong = plan.stages[0].__class__(**{**plan.stages[0].__dict__, "upscale": (1, 4)})
    mistaken = Plan((wrong, *plan.stages[1:]), plan.size, plan.output)
    with pytest.raises(RuntimeError):
        residual(mistaken, 0)
    lost = plan.stages[0].__class__(**{**plan.stages[0].__dict__, "bias": None})
    assert residual(Plan((lost, *plan.stages[1:]), plan.size, plan.output), 0).abs().max() > 1e-3


def test_signed_sums_over_regions_of_all_neurons(network: Network) -> None:
    _, _, plan = network
    labels = np.arange(plan.size[0] * plan.size[1]).reshape(plan.size) % 4 - 1
    inside = torch.from_numpy(np.stack([labels == g for g in range(3)])).double()
    for position, stage in enumerate(plan.stages):
        terms = TailStream(plan, position, "tangent").coloured(range(stage.neurons))
        wanted = torch.einsum("kchw,ghw->kgc", terms, inside)
        torch.testing.assert_close(signed_region_sums(plan, position, labels), wanted, rtol=0, atol=1e-12)
    with pytest.raises(TraceError, match="resize"):
        signed_region_sums(plan, 0, labels[1:])
