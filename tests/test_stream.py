"""The compiled streams against the literal reference, over random networks; and what a stream promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import xinc
from oracle import reference_maps
from xinc.canvas.paper import chain
from xinc.canvas.reductions.stream import DenseStream
from xinc.errors import TraceError

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "identity": nn.Identity,
    "elu": nn.ELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "softplus": nn.Softplus,  # no compiled form: the dense stream
}

FAST = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: each example compiles and traces a network, so that shrinking one takes minutes."""


def decoder(
    channels: list[int],
    strides: list[int],
    kernels: list[int],
    activation: str = "gelu",
    last: str = "tanh",
    seed: int = 0,
    bias: bool = True,
) -> nn.Sequential:
    """A small NeRV-like decoder: convolution, shuffle, activation for each stride, then a head."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for index, stride in enumerate(strides):
        k = kernels[index]
        layers += [
            nn.Conv2d(channels[index], channels[index + 1] * stride**2, k, padding=k // 2, bias=bias),
            nn.PixelShuffle(stride),
            ACTIVATIONS[activation](),
        ]
    k = kernels[len(strides)]
    layers += [nn.Conv2d(channels[len(strides)], 3, k, padding=k // 2, bias=bias), ACTIVATIONS[last]()]
    return nn.Sequential(*layers)


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Sequential, Tensor]:
    """Random decoders with any odd kernels, strides of 1 to 5, odd widths, non-square frames."""
    depth = draw(st.integers(1, 3))
    strides = [draw(st.integers(1, 5 if depth < 3 else 3)) for _ in range(depth)]
    kernels = [draw(st.sampled_from([1, 3, 5, 7])) for _ in range(depth + 1)]
    channels = [draw(st.integers(1, 3)) for _ in range(depth + 1)]
    activation, last = (
        draw(st.sampled_from(sorted(ACTIVATIONS))),
        draw(st.sampled_from(["tanh", "identity", "sigmoid"])),
    )
    size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 99))
    network = decoder(channels, strides, kernels, activation, last, seed, bias=draw(st.booleans()))
    return network, draw(st.sampled_from([1, 8])) * torch.randn(1, channels[0], *size)


def agree(found: Tensor, wanted: Tensor, tolerance: float = 2e-6) -> None:
    """Equal up to rounding, relative to the greatest value."""
    assert found.shape == wanted.shape
    least = 0.1  # a map is what is left of activations of about 1: their last digit, 1.2e-7, stays in it
    assert float((found - wanted).abs().max()) <= tolerance * max(least, float(wanted.abs().max()))


@settings(max_examples=40, deadline=None, phases=FAST)
@given(networks(), st.sampled_from(["paper", "official"]), st.data())
def test_maps_and_reductions_equal_the_reference(
    case: tuple[nn.Sequential, Tensor], method: str, data: st.DataObject
) -> None:
    network, values = case
    canvas = xinc.trace(network, values, method=method)
    layer = canvas[data.draw(st.sampled_from(canvas.layers))]
    wanted = reference_maps(canvas.plan, layer.name, range(layer.shape[0]), method)
    size = wanted.abs()
    agree(layer.maps(range(layer.shape[0])), wanted)
    y, x = data.draw(st.integers(0, layer.shape[1] - 1)), data.draw(st.integers(0, layer.shape[2] - 1))
    agree(layer.at(y, x), wanted[:, y, x], 4e-6)
    rows, columns = (slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip((y, x), layer.shape[1:], strict=True))
    agree(layer.line(rows, columns), wanted[:, rows, columns], 4e-6)
    alone = layer.reduce(heatmap=True, totals=True)  # by loops of their own
    agree(alone.heatmap, size.sum(0), 1e-5)
    agree(alone.totals, size.sum((1, 2)), 1e-5)
    layer = xinc.trace(network, values, method=method)[layer.name]
    labels = np.random.default_rng(0).integers(-1, 4, layer.shape[1:])
    found = layer.reduce(
        heatmap=True, totals=True, extremes=True, regions={"a": labels, "b": labels[::-1].copy()}, top=2
    )
    agree(found.heatmap, size.sum(0), 1e-5)
    agree(found.totals, size.sum((1, 2)), 1e-5)
    agree(found.extremes, torch.stack([size.amin((1, 2)), size.amax((1, 2))], 1))
    for group in range(int(labels.max()) + 1):
        inside = torch.from_numpy(labels == group)
        agree(found.regions["a"][:, group], size[:, inside].sum(1), 1e-5)
    if layer.shape[0] > 1:
        leaders, leading = found.top
        agree(leading, size.topk(2, 0).values.permute(1, 2, 0))
        picked = size.permute(1, 2, 0).gather(2, leaders.long())
        agree(picked, leading)


@settings(max_examples=15, deadline=None, phases=FAST)
@given(networks(), st.data())
def test_dense_stream_equals_compiled(case: tuple[nn.Sequential, Tensor], data: st.DataObject) -> None:
    network, values = case
    plan = xinc.trace(network, values).plan
    position = data.draw(st.integers(0, len(plan.stages) - 1))
    stage = plan.stages[position]
    dense = DenseStream(chain.DenseChain(plan, position, False), stage.neurons, plan.size)
    layer = xinc.trace(network, values, method="paper")[stage.name]
    agree(dense.maps(range(stage.neurons)), layer.maps(range(stage.neurons)))


def counting_layer() -> tuple[xinc.Layer, Tensor]:
    """A layer with all its maps, for counts that need exact values."""
    network = decoder([2, 3, 3], [2, 3], [3, 5, 3], seed=4)
    values = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(1))
    layer = xinc.trace(network, values, method="paper")["block2"]
    return layer, layer.maps(range(layer.shape[0])).abs()


def test_thresholds_are_the_ones_of_a_full_sort() -> None:
    layer, size = counting_layer()
    ordered = size.flatten().double().sort(descending=True).values
    for area in (0.05, 0.1, 0.5, 0.9):
        running = ordered.cumsum(0)
        wanted = ordered[int((running >= (1 - area) * running[-1]).nonzero()[0])]
        assert layer.threshold(area) == pytest.approx(float(wanted), rel=1e-6)
        share = (size > layer.threshold(area)).float().mean(0)
        assert torch.equal(layer.neurons_per_pixel(area), share)


def test_pixels_per_neuron_counts_shares_above_one_over_k() -> None:
    layer, size = counting_layer()
    wanted = (size / size.sum(0) > 1 / size.shape[0]).sum((1, 2))
    assert int((layer.pixels_per_neuron() - wanted).abs().sum()) <= 2


def test_sorted_curve_follows_the_sorted_values() -> None:
    layer, size = counting_layer()
    share, value = layer.sorted_curve(64)
    ordered = size.flatten().sort(descending=True).values
    wanted = ordered[(share * (ordered.numel() - 1)).round().long()]
    assert torch.allclose(value[1:-1], wanted[1:-1], rtol=0.02, atol=1e-4 * float(ordered[0]))
    assert (value.diff() <= 0).all()


def test_change_between_two_frames() -> None:
    network = decoder([2, 3, 2], [2, 2], [3, 3, 3])
    first, second = torch.randn(2, 1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    now, then = xinc.trace(network, second)["block1"], xinc.trace(network, first)["block1"]
    every = range(now.shape[0])
    wanted = (now.maps(every).abs() - then.maps(every).abs()).abs().sum(0)
    agree(now.change(then), wanted, 1e-5)
    with pytest.raises(TraceError, match="cannot be compared"):
        now.change(xinc.trace(network, first)["block2"])


def test_lazy_array_streams_any_expression() -> None:
    layer, size = counting_layer()
    lazy = layer.to_xarray(chunk=5)
    assert lazy.dims == ("neuron", "y", "x")
    mean = np.abs(lazy).where(lazy.x < 10).mean("neuron").compute()
    assert np.allclose(mean.to_numpy()[:, :10], size.mean(0)[:, :10], rtol=1e-5)


def test_a_line_is_part_of_the_maps() -> None:
    layer, _ = counting_layer()
    maps = layer.maps(range(layer.shape[0]))
    agree(layer.line(3, slice(2, 9)), maps[:, 3:4, 2:9])
    agree(layer.at(-1, -2), maps[:, -1, -2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer.maps([10**6]), "has no neuron"),
        (lambda layer: layer.at(99, 0), "outside the picture"),
        (lambda layer: layer.region_sums(np.zeros((2, 2), int)), "resize them"),
        (lambda layer: layer.region_sums(np.zeros(layer.shape[1:])), "not whole numbers"),
        (lambda layer: layer.threshold(1.5), "between 0 and 1"),
        (lambda layer: layer.maps([0], signed=True), "have no colours"),
    ],
)
def test_errors_name_the_thing(call: Callable[[xinc.Layer], object], message: str) -> None:
    layer, _ = counting_layer()
    with pytest.raises(TraceError, match=message):
        call(layer)


def test_unknown_layers_and_methods_are_named() -> None:
    network = decoder([2, 3], [2], [3, 3])
    with pytest.raises(TraceError, match="choose one of"):
        xinc.trace(network, torch.randn(1, 2, 3, 3), method="gradcam")
    with pytest.raises(TraceError, match="this network has block1, head"):
        xinc.trace(network, torch.randn(1, 2, 3, 3))["block9"]


def test_the_sum_of_planes_is_the_next_stage() -> None:
    """A block's planes, placed, regrouped and activated, are what enters the next stage (section 3.2.2)."""
    network = decoder([3, 4, 2], [2, 3], [3, 3, 3])
    plan = xinc.trace(network, torch.randn(1, 3, 4, 5)).plan
    for stage, following in zip(plan.stages, plan.stages[1:], strict=False):
        total = torch.zeros_like(stage.preactivation())
        rh, rw = stage.upscale
        for neuron in range(stage.neurons):
            i, o = divmod(neuron, stage.outputs)
            plane = torch.conv2d(
                stage.input[None, i : i + 1], stage.weight[o : o + 1, i : i + 1], padding=stage.padding
            )
            a, b = divmod(o % (rh * rw), rw)
            total[o // (rh * rw), a::rh, b::rw] += plane[0, 0] + stage.bias_or_zero[o] / stage.inputs
        agree(stage.activation(total), following.input, 1e-5)


def test_the_reference_can_be_wrong() -> None:
    """The comparison is not blind: a wrong sub-pixel, a lost bias and a swapped axis each turn it red."""
    network = decoder([2, 3], [2], [3, 3])
    canvas = xinc.trace(network, torch.randn(1, 2, 4, 6))
    right = reference_maps(canvas.plan, "block1", range(canvas["block1"].shape[0]))
    for wrong in (right.roll(1, 2), right - right.mean(), right.roll(1, 0)):
        with pytest.raises(AssertionError):
            agree(canvas["block1"].maps(range(right.shape[0])), wrong)
