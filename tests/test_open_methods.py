"""A user's own method, modules whose arguments are called like ours, and a canvas used from several threads."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import unwrap

import dask
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny_networks as tiny
import xinc
from foreign_models import specimen
from oracle import reference_maps
from xinc.canvas.methods import method_of
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan
from xinc.errors import TraceError


@xinc.method("strength")
def strength(plan: Plan, layer: LinearOperation, neurons: Sequence[int]) -> Tensor:
    """Section 3.1 by hand: ``z_i sum_j W_ji``."""
    rows = layer.values[:, list(neurons)] * layer.weight.sum(0)[list(neurons)]
    return rows.T.reshape(len(neurons), *plan.size)


@xinc.method("red and blue")
def coloured(plan: Plan, layer: LinearOperation, neurons: Sequence[int]) -> Tensor:
    one = strength.maps(plan, layer, neurons)
    return torch.stack([one, 0 * one, -2 * one], 1)


def test_a_method_of_ones_own_is_a_method() -> None:
    module, values, plan = tiny.mlp()
    canvas = xinc.trace(module, values, method=strength, size=plan.size)
    layer, wanted = canvas["layer2"], reference_maps(plan, "layer2", range(7)).float()
    assert canvas.method == layer.method == "strength"
    torch.testing.assert_close(layer.maps(range(7)), wanted)
    torch.testing.assert_close(layer.heatmap(), wanted.abs().sum(0))
    torch.testing.assert_close(layer.at(2, 3), wanted[:, 2, 3])
    assert layer.to_xarray().sum().compute() == pytest.approx(float(wanted.sum()), rel=1e-5)


def test_colours_are_signed_and_maps_their_absolute_sum() -> None:
    module, values, plan = tiny.mlp()
    layer = xinc.trace(module, values, method=coloured, size=plan.size)["layer1"]
    one = reference_maps(plan, "layer1", [4]).float()
    torch.testing.assert_close(layer.maps([4], signed=True)[0], torch.cat([one, 0 * one, -2 * one]))
    torch.testing.assert_close(layer.maps([4]), 3 * one.abs())
    with pytest.raises(TraceError, match="no colours"):
        xinc.trace(module, values, method=strength, size=plan.size)["layer1"].maps([4], signed=True)


@pytest.mark.parametrize(("maps", "words"), [((2, 5), "shape"), ((3, 5, 6), "shape"), ((1, 6, 5), "shape")])
def test_maps_of_a_wrong_shape_are_named(maps: tuple[int, ...], words: str) -> None:
    module, values, plan = tiny.mlp()
    wrong = xinc.method("wrong")(lambda plan, layer, neurons: torch.zeros(maps))
    with pytest.raises(TraceError, match=words):
        xinc.trace(module, values, method=wrong, size=plan.size)["layer1"].maps([0])


def test_what_is_no_method_is_refused() -> None:
    with pytest.raises(TraceError, match="no method"):
        unwrap(method_of)(3)  # without the check of types that tests add


class Asking(nn.Module):
    """Its own arguments are called like those of ``trace``."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 12, 3, padding=1)

    def forward(self, x: Tensor, size: int, output: str, method: float) -> Tensor:
        assert output == "picture"
        return method * nn.functional.pixel_shuffle(self.layer(x), size)


def test_a_module_may_take_size_output_and_method() -> None:
    torch.manual_seed(0)
    module, values = Asking(), torch.randn(1, 2, 4, 6)
    canvas = xinc.trace(module, values, keywords={"size": 2, "output": "picture", "method": 0.5}, method="exact")
    torch.testing.assert_close(canvas.output, module(values, 2, "picture", 0.5)[0].detach())
    assert xinc.trace(nn.Sequential(nn.Conv2d(2, 3, 3)), values, method="exact").layers == ["0"]


def test_eight_threads_of_dask_see_what_one_sees() -> None:
    network = specimen("residual")
    canvas = xinc.trace(network.module, *network.inputs, method="exact", **network.options)
    for name in canvas.layers:
        lazy = canvas[name].to_xarray(chunk=2)
        wanted = lazy.compute(scheduler="synchronous").values
        assert np.abs(wanted).max() > 0
        fresh = xinc.trace(network.module, *network.inputs, method="exact", **network.options)[name]
        for _ in range(20):
            with dask.config.set(scheduler="threads", num_workers=8):
                np.testing.assert_allclose(fresh.to_xarray(chunk=2).compute().values, wanted, atol=1e-5)


@pytest.mark.parametrize("method", ["paper", "exact"])
def test_reductions_from_several_threads_are_those_of_one(method: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    module, values, _ = tiny.decoder()
    module, values = module.float(), values.float()
    names = xinc.trace(module, values).layers
    wanted = {name: xinc.trace(module, values, method=method)[name].reduce(totals=True, curve=16) for name in names}
    canvas = xinc.trace(module, values, method=method)
    with ThreadPoolExecutor(8) as pool:
        jobs = [(name, pool.submit(canvas[name].reduce, totals=True, curve=16)) for name in names * 4]
        for name, job in jobs:
            torch.testing.assert_close(job.result().totals, wanted[name].totals)
            torch.testing.assert_close(job.result().curve, wanted[name].curve)
