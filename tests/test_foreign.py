"""Networks that other people wrote, traced by what they do: against their own weights, changed while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import xinc
from foreign_models import ZOO, Specimen, one_thread, specimen
from xinc.canvas.ablation import ablation, remover
from xinc.canvas.exact import probed
from xinc.canvas.exact import products as kept_products
from xinc.canvas.exact import replay as foreign
from xinc.canvas.exact.exact import exact
from xinc.canvas.exact.probed import Combs, build_table, sees_enough
from xinc.canvas.exact.products import Products
from xinc.canvas.exact.replay import AblationStream, ExactStream
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.recording.recorder import record
from xinc.canvas.reductions.fold import Pass
from xinc.canvas.reductions.packing import Groupings
from xinc.canvas.reductions.stream import DenseStream
from xinc.canvas.trace import Canvas
from xinc.errors import TraceError

__all__ = ["one_thread"]  # a fixture

LINEAR = {
    "conv2d": 1,
    "conv_transpose2d": 1,
    "conv1d": 1,
    "linear": 1,
    "matmul": None,
    "__matmul__": None,
    "__rmatmul__": None,
    "bmm": 1,
    "addmm": 2,
    "einsum": 2,
}


class Scaled(TorchFunctionMode):
    """While it runs, the ``call``-th linear operation uses another weight: nothing of the package is involved."""

    def __init__(
        self, call: int, change: Callable[[str, Tensor], Tensor], of: Callable[[tuple[Any, ...]], int]
    ) -> None:
        super().__init__()
        self.call, self.change, self.of, self.seen = call, change, of, -1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name == "multi_head_attention_forward":  # torch hands it over whole: its parts are what is counted
            with mock.patch("torch.nn.functional.has_torch_function", return_value=False), self:
                return func(*args, **(kwargs or {}))
        if name in LINEAR:
            self.seen += 1
            if self.seen == self.call:
                place = LINEAR[name] if LINEAR[name] is not None else self.of(args)
                args = (*args[:place], self.change(name, args[place]), *args[place + 1 :])
        return func(*args, **(kwargs or {}))


def entries(layer: Any, name: str, weight: Tensor, k: int) -> Tensor:
    """A mask of the weights of neuron ``k``, from the shapes that torch documents."""
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    i, o = (int(part[k]) for part in layer.pairs())
    if name == "conv2d":
        own_in, own_out = weight.shape[1], weight.shape[0] // layer_groups(layer)
        assert i // own_in == o // own_out  # the kernel exists
        mask[o, i % own_in] = True
    elif name == "conv_transpose2d":
        mask[i, o % weight.shape[1]] = True
    elif name in ("linear", "conv1d") or ("matmul" in name and weight.shape == weights_of(layer).shape):  # W @ x
        mask[:, i] = True
    else:
        mask[..., i, :] = True
    return mask


def layer_groups(layer: Any) -> int:
    return int(layer.groups)


def weights_of(layer: Any) -> Tensor:
    weight: Tensor = layer.weight
    return weight


def alike(tensor: Any, weight: Tensor) -> bool:
    """Whether a tensor is a weight, maybe transposed."""
    if not isinstance(tensor, Tensor) or tensor.numel() != weight.numel() or tensor.dtype != weight.dtype:
        return False
    a, b = (torch.view_as_real(t).flatten() if t.is_complex() else t.flatten() for t in (tensor.detach(), weight))
    return torch.equal(a.sort()[0], b.sort()[0])


def call_of(network: Specimen, layer: Any) -> int:
    """Which linear operation of the forward pass belongs to a layer, by its weight."""
    recording = record(network.module, *network.inputs)
    calls = [operation for operation in recording.operations if operation.name in LINEAR]
    uses = [any(alike(recording[operand], weights_of(layer)) for operand in operation.operands) for operation in calls]
    assert sum(uses) == 1
    return uses.index(True)


def weight_place(layer: Any) -> Callable[[tuple[Any, ...]], int]:
    """Which argument of a product is the weight."""
    return lambda args: next(place for place, argument in enumerate(args) if alike(argument, weights_of(layer)))


def picture_with(network: Specimen, layer: Any, call: int, k: int, factor: float) -> Tensor:
    """The network's own picture when the weights of one neuron are multiplied by a factor."""

    def change(name: str, weight: Tensor) -> Tensor:
        return torch.where(entries(layer, name, weight, k), weight * factor, weight)

    with Scaled(call, change, weight_place(layer)):
        return network()


def traced(name: str) -> tuple[Specimen, Plan]:
    network = specimen(name).double()
    with torch.no_grad():
        return network, read_plan(record(network.module, *network.inputs), **network.options)


def stream(plan: Plan, layer: Any, method: str) -> Any:
    place = plan.place(layer.name)
    if isinstance(place, Rest):
        return {"exact": ExactStream, "ablation": AblationStream}[method](place)
    return {"exact": exact, "ablation": ablation}[method](plan, place)


def some(count: int) -> list[int]:
    return sorted({count // 3, count - 1})


@pytest.mark.parametrize("name", ZOO)
def test_exact_is_the_derivative_by_the_weights_and_ablation_their_removal(name: str) -> None:
    network, plan = traced(name)
    torch.testing.assert_close(plan.output, network())
    scale = float(plan.output.abs().max())
    for layer in plan.layers:
        chosen, call = some(layer.neurons), call_of(network, layer)
        transported = stream(plan, layer, "exact").coloured(chosen)
        lost = stream(plan, layer, "ablation").coloured(chosen)
        for k, tangent, secant in zip(chosen, transported, lost, strict=True):
            above, below, without = (picture_with(network, layer, call, k, f) for f in (1 + 1e-5, 1 - 1e-5, 0.0))
            slope = (above - below) / 2e-5
            where = f"{name}, layer {layer.name}, neuron {k}"
            torch.testing.assert_close(tangent, slope, atol=2e-6 * scale, rtol=1e-5, msg=lambda m, w=where: f"{w}: {m}")
            torch.testing.assert_close(secant, plan.output - without, atol=1e-9 * scale, rtol=1e-7)


LOCAL = {
    "residual_mlp": "hidden.0",
    "matmul": "w4",
    "residual": "down",
    "modulated": "conv",
    "two_heads": "trunk.2",
    "transposed": "b",
    "convnext": "narrow",
    "assembled": "b",
}


@pytest.mark.parametrize("name", LOCAL)
def test_the_table_of_a_local_rest_gives_what_products_give(name: str) -> None:
    _, plan = traced(name)
    layer = next(rest for rest in plan.others if rest.operation.name == LOCAL[name])
    products = ExactStream(layer)
    reach = products.reach
    assert reach is not None
    assert reach.y.window < reach.grid.size[0]
    assert sees_enough(layer, reach, products.products.forward, products.products.backward)
    table = build_table(reach, Combs(reach, products.products.backward))
    every = range(layer.operation.neurons)
    wanted = products.products.forward(layer.operation.terms(every))
    torch.testing.assert_close(table.maps(every, Window(0, 8, 0, 12)), wanted)
    torch.testing.assert_close(table.maps(every, Window(2, 5, 3, 12)), wanted[:, :, 2:5, 3:12])


def test_a_program_of_torch_export_is_traced_as_the_module_that_it_was_made_of() -> None:
    network = specimen("two_heads")
    program = torch.export.export(network.module.eval(), network.inputs, strict=False).module()
    canvas, wanted = (xinc.trace(module, *network.inputs, method="exact") for module in (program, network.module))
    assert canvas.layers == wanted.layers == ["trunk.0", "trunk.2", "alpha", "rgb"]
    assert [row.methods for row in canvas.survey()] == [row.methods for row in wanted.survey()]
    for name in canvas:
        torch.testing.assert_close(canvas[name].maps([0, 5]), wanted[name].maps([0, 5]))


@pytest.mark.parametrize("name", ZOO)
def test_nothing_is_left_of_a_layer_without_its_neurons_and_its_bias(name: str) -> None:
    network = specimen(name).double()
    canvas = xinc.trace(network.module, *network.inputs, **network.options)
    for layer in canvas:
        assert float(canvas.residual(layer).abs().max()) < 1e-12, layer


def test_a_residual_tells_of_a_lost_bias() -> None:
    _, plan = traced("transposed")
    rest = plan.others[1]
    layer = rest.operation
    lost = replace(rest, operation=replace(layer, bias=None))
    left = replace(plan, others=(plan.others[0], lost, *plan.others[2:])).residual(layer.name)
    assert layer.bias is not None
    torch.testing.assert_close(left, layer.bias[:, None, None].expand(layer.shape))
    with pytest.raises(TraceError, match="no layer is called 'b9'"):
        Canvas(plan, "exact").residual("b9")


def test_a_window_probed_too_small_is_found_out() -> None:
    _, plan = traced("two_heads")
    layer = plan.others[1]
    stream = ExactStream(layer)
    assert stream.reach is not None
    narrow = replace(stream.reach, y=replace(stream.reach.y, after=0))
    assert sees_enough(layer, stream.reach, stream.products.forward, stream.products.backward)
    assert not sees_enough(layer, narrow, stream.products.forward, stream.products.backward)


@pytest.mark.parametrize("name", ["wire", "convnext", "transposed", "hand_attention", "matmul", "warped"])
def test_one_pixel_of_all_neurons_takes_products_backwards(name: str) -> None:
    _, plan = traced(name)
    for layer in plan.others:
        stream = ExactStream(layer)
        window = Window(3, 4, 5, 7)
        every = range(layer.operation.neurons)
        wanted = stream.products.forward(layer.operation.terms(every).to(stream.products.at.dtype))
        torch.testing.assert_close(stream._backwards(every, window), wanted[:, :, 3:4, 5:7], atol=1e-8, rtol=1e-6)


def test_all_maps_fold_to_their_sums_and_the_table_is_made_only_where_it_saves_work() -> None:
    _, plan = traced("residual")
    for layer in plan.others:
        maps = ExactStream(layer).maps(range(layer.operation.neurons))
        tabled, counted = ExactStream(layer), []
        folded = tabled.fold(Pass(sums=True), counted.append)
        torch.testing.assert_close(torch.from_numpy(folded["heatmap"]).float(), maps.sum(0))
        torch.testing.assert_close(torch.from_numpy(folded["totals"]).float(), maps.sum((1, 2)))
        assert sum(counted) == pytest.approx(1)
        assert ("for all neurons together" in tabled.cost) == (layer.operation.name in ("down", "body.1"))


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("single", [True, False])
def test_combs_fold_what_maps_of_all_neurons_give(name: str, single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no room for a table or for planes, in several parts a comb; two frames compared, too."""
    monkeypatch.setattr(probed, "TABLE_VALUES", 0)
    monkeypatch.setattr(probed, "COMB_VALUES", 1 << 9)
    monkeypatch.setattr(probed, "PLANE_VALUES", 0 if single else 1 << 20)
    network = specimen(name)
    network = network if single else network.double()
    labels = np.arange(96).reshape(8, 12) // 17
    plan, later = (_plan_of(network, scale) for scale in (1.0, 0.9))
    rests = (next(r for r in p.others if r.operation.name == LOCAL[name]) for p in (plan, later))
    stream, other = (ExactStream(rest) for rest in rests)
    monkeypatch.setattr(ExactStream, "_comb_products", 10**6)  # whatever it saves
    every = range(stream.neurons)
    maps, earlier = (s.products.forward(s.rest.operation.terms(every).to(s.products.at)) for s in (stream, other))
    wanted = DenseStream(lambda some, w: maps.abs().sum(1)[list(some)], stream.neurons, stream.size)
    before = DenseStream(lambda some, w: earlier.abs().sum(1)[list(some)], stream.neurons, stream.size)
    asked = {
        "sums": True,
        "extremes": True,
        "histogram": True,
        "counts": True,
        "change": True,
        "top": 2,
        "regions": Groupings.of({"a": labels, "b": labels % 3}),
        "limit": (maps.abs().sum((0, 1)) / stream.neurons).float().numpy(),
        "thresholds": (0.01, 0.1),
        "group_heat": np.arange(stream.neurons, dtype=np.int32) % 3,
    }
    folded, right = stream.fold(Pass(other, **asked)), wanted.fold(Pass(before, **asked))
    for key, value in right.items():
        if key in ("leaders", "histogram", "counts", "over", "above"):
            continue  # ties and edges of bins
        np.testing.assert_allclose(folded[key], value, rtol=2e-4, atol=2e-5 * max(1e-9, float(np.abs(value).max())))
    assert folded["counts"].sum() == right["counts"].sum() == stream.neurons * 96
    covered = np.zeros(stream.size, int)
    for area, _ in stream.areas():
        covered[area] += 1
    assert (covered == 1).all()


def _plan_of(network: Specimen, scale: float) -> Plan:
    inputs = tuple(scale * x if isinstance(x, Tensor) and x.is_floating_point() else x for x in network.inputs)
    return xinc.trace(network.module, *inputs, **network.options).plan


@pytest.mark.parametrize("name", ["residual", "two_heads", "multihead", "warped", "instance_norm"])
def test_products_are_the_same_with_and_without_what_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plan = traced(name)
    for rest in plan.others:
        kept, bare = Products(rest), Products(rest)
        terms = rest.operation.terms(range(min(5, rest.operation.neurons))).to(kept.at.dtype)
        pictures = torch.randn(3, rest.picture.channels, *rest.picture.size, dtype=kept.at.real.dtype)
        found = kept.forward(terms), kept.backward(pictures)
        monkeypatch.setattr(kept_products, "KEPT_VALUES", 0)
        for one, other in zip(found, (bare.forward(terms), bare.backward(pictures)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
        monkeypatch.undo()
        kept.forget()
        torch.testing.assert_close(kept.forward(terms), found[0])


def test_several_neurons_go_at_once() -> None:
    network, plan = traced("transposed")
    for rest in plan.others:
        without = remover(plan, rest.operation.name)([0, 3])
        with picture_without(network, rest.operation, [0, 3]):
            torch.testing.assert_close(without, network())


@contextmanager
def picture_without(network: Specimen, layer: LinearOperation, neurons: list[int]) -> Iterator[None]:
    weight = network.module.get_submodule(layer.module).weight
    before = weight.detach().clone()
    with torch.no_grad():
        for k in neurons:
            weight[entries(layer, layer.node.name, weight, k)] = 0
    yield
    with torch.no_grad():
        weight.copy_(before)


def test_a_long_job_says_so_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    _, plan = traced("instance_norm")
    monkeypatch.setattr(foreign, "WARN_SECONDS", 0.0)
    monkeypatch.setattr(foreign, "QUICK_VALUES", 0)
    with pytest.warns(UserWarning, match="a: exact takes 24 products .* sees all of the layer"):
        ExactStream(plan.others[0]).fold(Pass(sums=True))
    with pytest.warns(UserWarning, match="once for each of 24 neurons"):
        AblationStream(plan.others[0]).fold(Pass(sums=True))
