"""The Jacobian's table by windows, made backwards through any local operations, against products with vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xinc
from xinc.canvas.exact import cone_rules, cones, replay
from xinc.canvas.exact.cone import Cone
from xinc.canvas.exact.cones import Cones, ConeTables, cone_tables
from xinc.canvas.exact.replay import ExactStream
from xinc.canvas.network.plan import Rest

Tail = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """A first convolution of 6 channels on 6 x 8 places; what follows is the test's."""

    def __init__(self, tail: Tail) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(4, 8, 3, padding=1)
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.down, self.up = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1)
        self.grouped, self.same = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, (3, 5), padding="same")
        self.spread = nn.Conv2d(8, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.rgb = nn.Conv2d(8, 3, 1)
        self.tail = tail

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.rgb(self.tail(self, self.first(x))))


def resized(mode: str, **given: bool) -> Tail:
    return lambda net, x: F.interpolate(torch.sin(net.a(x)), scale_factor=2, mode=mode, **given)


TAILS: dict[str, Tail] = {
    "residual": lambda net, x: x + 0.1 * torch.sin(net.b(net.a(torch.sin(x)))),
    "bilinear": resized("bilinear", align_corners=False),
    "corners": resized("bilinear", align_corners=True),
    "bicubic": resized("bicubic"),
    "nearest": resized("nearest"),
    "strides": lambda net, x: net.up(F.gelu(net.down(x))),
    "shuffle and skip": lambda net, x: torch.sin(
        F.pixel_shuffle(net.spread(x), 2) + F.interpolate(x, scale_factor=2.0)
    ),
    "groups": lambda net, x: net.same(F.silu(net.grouped(x))),
    "channels": lambda net, x: net.a(torch.cat([x[:, 4:].tanh(), x[:, :4] * 2], dim=1)),
    "gate": lambda net, x: torch.sigmoid(net.a(x)) * torch.tanh(net.b(x)),
    "square": lambda net, x: x * x + net.a(x).relu(),
    "norm": lambda net, x: net.norm(net.a(x)),
    "reflected": lambda net, x: F.conv2d(F.pad(torch.sin(x), (1, 1, 1, 1), mode="reflect"), net.a.weight, net.a.bias),
    "pooled": lambda net, x: F.interpolate(F.avg_pool2d(x.sin(), 2), scale_factor=2, mode="bilinear"),
    "turned": lambda net, x: net.a(x.flip(-1)),
}


def rest_of(tail: Tail, dtype: torch.dtype = torch.float32) -> tuple[Rest, xinc.Canvas]:
    network = Net(tail).eval().to(dtype)
    with torch.no_grad():
        network.norm.running_mean.normal_()
        network.norm.running_var.uniform_(0.5, 2)
    generator = torch.Generator().manual_seed(1)
    canvas = xinc.trace(network, torch.randn(1, 4, 12, 16, generator=generator, dtype=dtype), method="exact")
    place = canvas.plan.place("first")
    if not isinstance(place, Rest):
        pytest.skip("a plain chain")
    return place, canvas


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TAILS)
def test_tables_by_windows_give_what_products_give(name: str, dtype: torch.dtype) -> None:
    rest, _ = rest_of(TAILS[name], dtype)
    stream = ExactStream(rest)
    assert stream.reach is not None
    tables = cone_tables(rest, stream.reach, stream.products.forward)
    assert tables is not None
    every = range(stream.neurons)
    wanted = stream.products.forward(rest.operation.terms(every))
    covered = np.zeros(stream.size, int)
    for area, terms in replay.TableTerms(tables, stream.neurons):
        got = torch.cat([part for _, part in terms])
        torch.testing.assert_close(
            got, wanted[:, :, area[0], area[1]], rtol=1e-4, atol=1e-5 * float(wanted.abs().max())
        )
        covered[area] += 1
    assert (covered == 1).all()


def test_tiles_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rest, _ = rest_of(TAILS["shuffle and skip"])
    stream = ExactStream(rest)
    assert stream.reach is not None
    monkeypatch.setattr(cones, "TILE_COLUMNS", 5)
    monkeypatch.setattr(cones, "COMB_VALUES", 3 * stream.neurons * 11)
    tables = cone_tables(rest, stream.reach, stream.products.forward)
    assert tables is not None
    areas = [area for area, _ in tables.tables()]
    assert len(areas) > 20
    wanted = stream.products.forward(rest.operation.terms([5]))[0]
    for area, terms in replay.TableTerms(tables, stream.neurons):
        got = torch.cat([part for _, part in terms])[5]
        torch.testing.assert_close(got, wanted[:, area[0], area[1]], rtol=1e-4, atol=1e-5)


REFUSED: dict[str, Tail] = {
    "statistics": lambda net, x: F.instance_norm(net.a(x)),
    "attention": lambda net, x: (x.flatten(2).softmax(-1) * x.flatten(2)).reshape(x.shape),
    "scaled by all": lambda net, x: net.a(x) * x.mean((2, 3), keepdim=True),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_local_is_left_to_products(name: str) -> None:
    rest, _ = rest_of(REFUSED[name])
    stream = ExactStream(rest)
    assert stream.reach is not None
    assert cone_tables(rest, stream.reach, stream.products.forward) is None


@pytest.mark.parametrize("rule", ["interpolate", "conv2d", "sin", "pixel_shuffle"])
def test_a_rule_that_is_wrong_is_found_out(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rest, _ = rest_of(TAILS["shuffle and skip"])
    stream = ExactStream(rest)
    assert stream.reach is not None
    right = cone_rules.RULES[rule]

    def wrong(*given: object) -> Cone:
        cone = right(*given)  # type: ignore[arg-type]
        return Cone(1.01 * cone.values, cone.y, cone.x)

    monkeypatch.setattr(cones, "RULES", {**cone_rules.RULES, rule: wrong})
    assert cone_tables(rest, stream.reach, stream.products.forward) is None


def test_sums_of_all_layers_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "FEW_PRODUCTS", 0)
    monkeypatch.setattr(replay, "fits", lambda reach: False)
    _, canvas = rest_of(lambda net, x: TAILS["residual"](net, TAILS["shuffle and skip"](net, x)))
    seen: list[float] = []
    found = canvas.sums(progress=seen.append)
    assert list(found) == canvas.layers
    assert sum(seen) == pytest.approx(1)
    windowed = [name for name in canvas.layers if canvas[name].by_windows]
    assert {"first", "spread", "a", "b"} <= set(windowed)
    for name in canvas.layers:
        maps = canvas[name].maps(range(canvas[name].shape[0]))
        torch.testing.assert_close(found[name].heatmap, maps.sum(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[name].totals, maps.sum((1, 2)), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(ExactStream, "fold", None)  # what is known is not made again
    assert torch.equal(canvas["spread"].totals(), found["spread"].totals)


def test_sums_of_a_chain_are_those_of_each_layer() -> None:
    network = nn.Sequential(nn.Conv2d(2, 12, 3, padding=1), nn.PixelShuffle(2), nn.GELU(), nn.Conv2d(3, 3, 1))
    canvas = xinc.trace(network, torch.randn(1, 2, 4, 6), method="paper")
    found = canvas.sums()
    again = xinc.trace(network, torch.randn(1, 2, 4, 6), method="paper")
    assert list(found) == again.layers
    assert torch.equal(found["head"].totals, canvas["head"].totals())
    assert list(canvas.sums(["head"])) == ["head"]


def test_layers_that_one_way_serves_are_those_whose_planes_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    _, canvas = rest_of(TAILS["residual"])
    rests = [rest for rest in canvas.plan.others if rest.operation.name in ("first", "a", "b")]
    assert [len(group) for group in cones.together(rests)] == [3]
    monkeypatch.setattr(cones, "PLANE_VALUES", 64 * 12 * 16)
    assert [len(group) for group in cones.together(rests)] == [1 + 1, 1] or [len(g) for g in cones.together(rests)] == [
        1,
        1,
        1,
    ]
    monkeypatch.setattr(cones, "PLANE_VALUES", 10)
    assert cones.together(rests) == []


def test_a_stream_takes_windows_where_they_save_products() -> None:
    rest, _ = rest_of(TAILS["bilinear"])
    stream = ExactStream(rest)
    assert not isinstance(stream.tables, ConeTables), "32 neurons: a product each is quick"
    assert isinstance(Cones.behind(rest).largest, int)
