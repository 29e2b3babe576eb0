"""First-order transport against derivatives taken by hand, its identities, and its fast paths against its plain one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny_networks as tiny
from xinc.canvas.exact import bands as transport
from xinc.canvas.exact.exact import PixelStream, TransportStream, exact
from xinc.canvas.exact.jacobian import Jacobian
from xinc.canvas.exact.tail import ConvolutionTail, TailStream, tail_of
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.linear_ops import shuffle
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.recording.recorder import record
from xinc.canvas.reductions.fold import Pass
from xinc.canvas.reductions.packing import Groupings

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


def transported(plan: Plan, position: int, change: Tensor) -> Tensor:
    """``D y`` of a change of a layer's output, ``(colours, H, W)``."""
    tail = tail_of(plan, position, None, "tangent")
    return (tail.whole(change[None]) if isinstance(tail, ConvolutionTail) else tail(change[None]))[0]


def linearisation(plan: Plan, position: int) -> Tensor:
    """``D y`` of a layer's whole output: the sum of all terms and of the bias."""
    stage = plan.stages[position]
    if stage.kind == "linear":
        return transported(plan, position, torch.nn.functional.linear(stage.input, stage.weight, stage.bias))
    whole = torch.nn.functional.conv2d(stage.input[None], stage.weight, stage.bias, padding=stage.padding)[0]
    return transported(plan, position, whole)


def bias_row(plan: Plan, position: int) -> Tensor:
    stage = plan.stages[position]
    if stage.kind == "linear":
        return transported(plan, position, stage.bias_or_zero.expand(len(stage.input), -1))
    return transported(plan, position, stage.bias_or_zero[:, None, None].expand(-1, *stage.input.shape[1:]))


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
    for stage in plan.stages:
        assert plan.residual(stage.name).abs().max() < 1e-12


def test_a_residual_shows_a_plan_that_was_misread() -> None:
    _, _, plan = tiny.decoder()
    wrong = plan.stages[0].__class__(**{**plan.stages[0].__dict__, "upscale": (1, 4)})
    mistaken = Plan((wrong, *plan.stages[1:]), plan.size, plan.output)
    with pytest.raises(RuntimeError):
        mistaken.residual(wrong.name)
    lost = plan.stages[0].__class__(**{**plan.stages[0].__dict__, "bias": None})
    assert Plan((lost, *plan.stages[1:]), plan.size, plan.output).residual(lost.name).abs().max() > 1e-3


def test_pulling_back_pairs_a_cotangent_with_every_term(network: Network) -> None:
    _, _, plan = network
    for stage in plan.stages:
        cotangents = torch.randn(2, *stage.shape, dtype=stage.values.dtype)
        terms = stage.terms(range(stage.neurons)).flatten(1)
        torch.testing.assert_close(stage.pull(cotangents), cotangents.flatten(1) @ terms.T, rtol=0, atol=1e-11)


SHAPES = {
    "nerv": {"grid": (3, 4), "widths": (3, 4, 3), "kernels": ((3, 3),) * 3, "upscales": ((2, 2), (2, 2))},
    "hnerv": {"grid": (1, 2), "widths": (2, 3, 2, 2), "kernels": ((1, 1), (3, 3), (5, 5), (3, 3)),
              "upscales": ((5, 5), (3, 3), (2, 2))},
    "uneven": {"grid": (3, 5), "widths": (2, 3, 2), "kernels": ((5, 1), (3, 7), (1, 3)), "upscales": ((3, 1), (1, 4))},
    "wide head": {"grid": (4, 3), "widths": (2, 2), "kernels": ((3, 3), (7, 7)), "upscales": ((2, 3),)},
    "one cell": {"grid": (1, 1), "widths": (2, 2, 2), "kernels": ((3, 3),) * 3, "upscales": ((3, 2), (2, 2))},
    "large": {"grid": (5, 141), "widths": (2, 2), "kernels": ((5, 5), (3, 3)), "upscales": ((2, 2),)},
}  # fmt: skip
"""Networks whose layers lead through every way of laying phases and taps in memory."""


def single(options: dict[str, object]) -> tuple[Plan, Plan]:
    """The same network's plans in single and in double precision."""
    module, values, plan = tiny.decoder(**options)  # type: ignore[arg-type]
    with torch.no_grad():
        return read_plan(record(module.float(), values.float())), plan


def agree(made: Tensor, wanted: Tensor) -> None:
    assert made.shape == wanted.shape
    assert (made.double() - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pixels", [200, 1500], ids=["rows", "bands"])
def test_compiled_reductions_equal_those_of_plain_maps(
    shape: str, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "BAND_PIXELS", pixels)  # a few rows, less than a cell of early layers; a few cells
    plan, double = single(SHAPES[shape])
    rng = np.random.default_rng(0)
    labels = {"a": rng.integers(-1, 3, plan.size), "b": rng.integers(0, 5, plan.size)}
    for position, stage in enumerate(plan.stages):
        stream = exact(plan, position)
        assert isinstance(stream, TransportStream)
        plain = TailStream(double, position, "tangent")
        maps = plain.maps(range(stage.neurons))
        limit = (maps.sum(0) / stage.neurons).float().numpy()
        threshold = float(maps.median())
        wanted = Pass(
            sums=True, extremes=True, regions=Groupings.of(labels), histogram=True, counts=True, limit=limit,
            thresholds=(threshold,), top=2,
        )  # fmt: skip
        found = {name: torch.from_numpy(array) for name, array in stream.fold(wanted).items()}
        agree(found["heatmap"], maps.sum(0))
        agree(found["totals"], maps.sum((1, 2)))
        extremes = torch.stack([maps.amin((1, 2)), maps.amax((1, 2))], 1)
        agree(torch.stack([found["least"], found["greatest"]], 1), extremes)
        inside = [
            torch.from_numpy(np.arange(regions.max() + 1)[:, None, None] == regions).double()
            for regions in labels.values()
        ]
        agree(found["sums"], torch.einsum("khw,ghw->kg", maps, torch.cat(inside)))
        agree(found["histogram"].sum(), maps.sum())
        assert found["counts"].sum() == maps.numel()
        near = (maps - threshold).abs().amin() < 1e-6
        over = (maps > threshold).sum(0)
        assert near or torch.equal(found["over"][0].long(), over)
        close = ((maps - torch.from_numpy(limit)).abs() < 1e-6 * maps.max()).sum((1, 2))
        assert ((found["above"] - (maps > torch.from_numpy(limit)).sum((1, 2))).abs() <= close).all()
        agree(found["top"], maps.sort(0, descending=True).values[:2])
        agree(maps.gather(0, found["leaders"].long()), found["top"].double())


@pytest.mark.parametrize("shape", SHAPES)
def test_maps_by_every_path_are_the_same(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, double = single(SHAPES[shape])
    height, width = plan.size
    y, x = height // 2, width // 2
    last = Window(height - 1, height, max(0, width - 9), width)
    windows = [Window(0, 1, 0, 1), last, Window(y, min(height, y + 3), max(0, x - 2), min(width, x + 5))]
    for position, stage in enumerate(plan.stages):
        chosen = list(range(0, stage.neurons, 2))
        wanted = TailStream(double, position, "tangent").coloured(chosen)
        stream = exact(plan, position)
        for plain in (True, False):
            monkeypatch.setattr(stream, "_plain_is_cheaper", lambda *_, plain=plain: plain)
            agree(stream.maps(chosen), wanted.abs().sum(1))
            agree(stream.coloured(chosen), wanted)
            for w in windows:
                cut = wanted[:, :, w.y0 : w.y1, w.x0 : w.x1]
                agree(stream.maps(chosen, w), cut.abs().sum(1))
                agree(stream.coloured(chosen, w), cut)


def test_the_table_is_the_jacobian() -> None:
    """``∂y_c(p) / ∂u(f)`` by reverse-mode differentiation of the rest, one pixel and colour at a time."""
    plan, double = single(SHAPES["uneven"])
    jacobian = Jacobian(plan, 0)
    rows, columns = np.array([0, 4, 8]), np.array([2, 3, 19])
    table = jacobian.table(rows, columns)
    u = double.stages[1].input.clone().requires_grad_()
    with torch.enable_grad():
        x = u
        for stage in double.stages[1:]:
            made = torch.nn.functional.conv2d(x[None], stage.weight, stage.bias, padding=stage.padding)[0]
            x = stage.activation(shuffle(made, stage.upscale))
        for i, y in enumerate(rows):
            for j, column in enumerate(columns):
                for colour in range(3):
                    (gradient,) = torch.autograd.grad(x[colour, y, column], u, retain_graph=True)
                    seen = torch.zeros_like(gradient)
                    y0, x0 = int(jacobian.rows[0].start[y]), int(jacobian.columns[0].start[column])
                    for dy, dx in np.ndindex(table.shape[:2]):
                        if 0 <= y0 + dy < seen.shape[1] and 0 <= x0 + dx < seen.shape[2]:
                            seen[:, y0 + dy, x0 + dx] = torch.from_numpy(table[dy, dx, :, colour, i, j])
                    agree(seen, gradient)


def test_pixel_wise_networks_in_single_precision() -> None:
    module, values, double = tiny.mlp((6, 7))
    with torch.no_grad():
        plan = read_plan(record(module.float(), values.float()), (6, 7))
    labels = {"": np.arange(42).reshape(6, 7) % 3}
    for position, stage in enumerate(plan.stages):
        stream = exact(plan, position)
        assert isinstance(stream, PixelStream)
        wanted = TailStream(double, position, "tangent").coloured(range(stage.neurons))
        agree(stream.coloured(range(stage.neurons)), wanted)
        agree(stream.maps([1, 0], Window(2, 5, 1, 3)), wanted[[1, 0], :, 2:5, 1:3].abs().sum(1))
        found = stream.fold(Pass(sums=True, regions=Groupings.of(labels)))
        agree(torch.from_numpy(found["heatmap"]), wanted.abs().sum((0, 1)))
        assert found["sums"].shape == (stage.neurons, 3)


def test_only_the_last_layer_keeps_tables_between_passes() -> None:
    plan, _ = single(SHAPES["nerv"])
    first, second = exact(plan, 0), exact(plan, 1)
    assert isinstance(first, TransportStream)
    assert isinstance(second, TransportStream)
    first.fold(Pass(histogram=True))
    assert first.courses._kept
    second.fold(Pass(histogram=True))
    assert second.courses._kept
    assert not first.courses._kept
    second.fold(Pass(thresholds=(0.1,)))
    assert not second.courses._kept
