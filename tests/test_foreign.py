"""Networks that other people wrote, traced by what they do: against their own weights, changed while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import xinc
from foreign_models import ZOO, Specimen, one_thread, specimen
from xinc.canvas.ablation import ablation, remover
from xinc.canvas.exact import replay as foreign
from xinc.canvas.exact.exact import exact
from xinc.canvas.exact.probed import build_table
from xinc.canvas.exact.replay import AblationStream, ExactStream
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.network.recorder import record
from xinc.canvas.reductions.fold import Pass
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
    table = build_table(layer, reach, products.products.forward, products.products.backward)
    assert table is not None
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
    assert build_table(layer, narrow, stream.products.forward, stream.products.backward) is None


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
        assert ("table" in tabled.cost) == (layer.operation.name == "down")


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
