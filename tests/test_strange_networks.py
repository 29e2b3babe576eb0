"""Networks that were read wrongly, or not at all: each by what it does, against differences of the network itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xinc
from xinc.errors import TraceError

H, W = 6, 8
GRID = torch.stack(torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij"), -1).reshape(-1, 2)
MAP = torch.randn(1, 4, H, W, generator=torch.Generator().manual_seed(0))


class Product(nn.Module):
    """A hidden layer whose weight is a product of two factors, as it is or on top of a full one."""

    def __init__(self, full: bool = False) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(2, 16), nn.Linear(16, 3)
        self.first, self.second = nn.Parameter(torch.randn(16, 3) / 4), nn.Parameter(torch.randn(3, 16) / 4)
        self.full = nn.Parameter(torch.randn(16, 16) / 4) if full else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.first @ self.second if self.full is None else self.full + self.first @ self.second
        return self.c(torch.sin(torch.sin(self.a(x)) @ weight))


class Generated(nn.Module):
    """Weights that a hypernetwork makes of several tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.make = nn.Parameter(torch.randn(4, 8)), nn.Linear(8, 32)
        self.last = nn.Linear(8, 48)

    def forward(self, x: Tensor) -> Tensor:
        first = self.make(self.tokens).sum(0).reshape(16, 2)
        last = self.last(self.tokens).mean(0).reshape(3, 16)
        return F.linear(torch.sin(F.linear(x, first)), last)


class Flat3d(nn.Module):
    """``conv3d`` with flat kernels of one frame, beside ``conv2d`` or alone."""

    def __init__(self, beside: bool) -> None:
        super().__init__()
        self.a = nn.Conv3d(4, 8, (1, 3, 3), padding=(0, 1, 1))
        self.b = nn.Conv2d(8, 3, 3, padding=1) if beside else nn.Conv3d(8, 3, (1, 3, 3), padding=(0, 1, 1))
        self.beside = beside

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sin(self.a(x))
        return self.b(h[:, :, 0] if self.beside else h)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.m, self.o = nn.Linear(2, 8), nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.e(x)[None]
        return self.o(self.m(h, h, h, need_weights=False)[0])[0]


class Stacks(nn.Module):
    """Stacks of weights: a network a colour by ``bmm``, groups of features by ``bmm`` or ``einsum``, one for all."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.o = kind, nn.Linear(2, 12), nn.Linear(12, 3)
        self.w, self.b = nn.Parameter(torch.randn(3, 4, 4) / 2), nn.Parameter(torch.randn(3, 1, 4))
        self.first, self.last = nn.Parameter(torch.randn(3, 2, 8)), nn.Parameter(torch.randn(3, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "colours":
            return torch.bmm(torch.sin(torch.matmul(x, self.first)), self.last)[..., 0].T
        h = torch.sin(self.a(x)).reshape(-1, 3, 4)
        if self.kind == "einsum":
            h = torch.einsum("ngi,gio->ngo", h, self.w).reshape(-1, 12)
        else:
            h = torch.baddbmm(self.b, h.transpose(0, 1), self.w).transpose(0, 1).reshape(-1, 12)
        return self.o(torch.sin(h))


class Radial(nn.Module):
    """Radial functions whose squared distances are written out: the centres multiply what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.o = nn.Parameter(torch.randn(16, 2)), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        squares = x.square().sum(-1, keepdim=True) - 2 * x @ self.centres.T + self.centres.square().sum(-1)
        return self.o(torch.exp(-squares))


READ: dict[str, tuple[Callable[[], nn.Module], Tensor, dict[str, Any], dict[str, int]]] = {
    "low rank": (Product, GRID, {"size": (H, W)}, {"layer1": 2, "layer2": 16, "layer3": 16}),
    "low-rank update": (lambda: Product(True), GRID, {"size": (H, W)}, {"layer1": 2, "layer2": 16, "layer3": 16}),
    "made of tokens": (Generated, GRID, {"size": (H, W)}, {"layer1": 2, "layer2": 16}),
    "conv3d alone": (lambda: Flat3d(False), MAP[:, :, None], {}, {"a": 32, "b": 24}),
    "conv3d beside conv2d": (lambda: Flat3d(True), MAP[:, :, None], {}, {"a": 32, "b": 24}),
    "stack, a colour each": (lambda: Stacks("colours"), GRID, {"size": (H, W)}, {"first": 2, "last": 24}),
    "stack by bmm": (lambda: Stacks("bmm"), GRID, {"size": (H, W)}, {"a": 2, "w": 12, "o": 12}),
    "stack by einsum": (lambda: Stacks("einsum"), GRID, {"size": (H, W)}, {"layer1": 2, "layer2": 12, "layer3": 12}),
    "attention": (Attention, GRID, {"size": (H, W)}, {"e": 2, "m.in_proj_weight": 8, "m.out_proj": 8, "o": 8}),
}


@pytest.mark.parametrize("name", READ)
def test_every_layer_is_found_and_its_terms_sum_to_what_it_makes(name: str) -> None:
    make, given, how, layers = READ[name]
    torch.manual_seed(0)
    network = make().double()
    canvas = xinc.trace(network, given.double(), **how)
    assert {layer: canvas[layer].shape[0] for layer in canvas.layers} == layers
    assert {weight.name for weight in canvas.plan.weights if weight.layer is None and weight.used} == set()
    for layer in canvas.layers:
        assert float(canvas.residual(layer).abs().max()) < 1e-12


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("low rank", "layer2"),
        ("conv3d alone", "a"),
        ("attention", "m.in_proj_weight"),
        ("stack, a colour each", "first"),
        ("stack by bmm", "w"),
        ("stack by einsum", "layer2"),
    ],
)
def test_exact_maps_are_differences_of_the_network(name: str, layer: str) -> None:
    """The layer's neurons scaled a little, by hooks on what it reads: no part of the package computes it."""
    make, given, how, _ = READ[name]
    torch.manual_seed(0)
    network, step = make().double(), 1e-6
    canvas = xinc.trace(network, given.double(), **how)
    plan = canvas.plan.layer(layer)
    terms = plan.terms([0, 1])
    maps = canvas[layer].maps([0, 1], signed=True)
    at = {"conv3d alone": 0, "stack, a colour each": 0}.get(name, 1)
    for k in (0, 1):
        sides = [picture_with(network, given.double(), at, factor * step * terms[k]) for factor in (1, -1)]
        wanted = (
            ((sides[0] - sides[1]) / (2 * step)).reshape(H, W, 3).permute(2, 0, 1)
            if name != "conv3d alone"
            else ((sides[0] - sides[1]) / (2 * step)).reshape(3, H, W)
        )
        torch.testing.assert_close(maps[k], wanted.to(maps), rtol=1e-4, atol=1e-6)


def test_centres_of_radial_functions_are_no_layer_and_are_named_so() -> None:
    canvas = xinc.trace(Radial(), GRID, size=(H, W))
    assert canvas.layers == ["layer1"]  # the linear layer behind them
    assert [weight.name for weight in canvas.plan.weights if weight.layer is None and weight.used] == ["centres"]


def test_a_stack_that_shares_its_input_counts_each_feature_once() -> None:
    """Two features, each read by the networks of all three colours."""
    network = Stacks("colours")
    canvas = xinc.trace(network, GRID, size=(H, W), method="ablation")
    without = torch.bmm(torch.sin(torch.matmul(GRID * torch.tensor([0.0, 1.0]), network.first)), network.last)
    wanted = (canvas.output - without[..., 0].reshape(3, H, W)).abs().sum(0)
    torch.testing.assert_close(canvas["first"].maps([0])[0], wanted.detach())


def picture_with(network: nn.Module, given: Tensor, call: int, change: Tensor) -> Tensor:
    """The picture where the ``call``-th product with a weight gives something more."""
    from unittest import mock

    from torch.overrides import TorchFunctionMode

    class Changed(TorchFunctionMode):
        seen = -1

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(func, "__name__", "")
            if name == "multi_head_attention_forward":
                with mock.patch("torch.nn.functional.has_torch_function", return_value=False), self:
                    return func(*args, **(kwargs or {}))
            result = func(*args, **(kwargs or {}))
            factors = name in ("matmul", "__matmul__") and isinstance(args[0], nn.Parameter)
            if name in ("linear", "conv3d", "conv2d", "matmul", "__matmul__", "baddbmm", "einsum") and not factors:
                self.seen += 1
                if self.seen == call:
                    return result + change.reshape(result.shape)
            return result

    with torch.no_grad(), Changed():
        picture: Tensor = network(given)
    return picture


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"image": self.a(x), "parts": [self.b(x), self.a(x) + self.b(x)]}


def test_of_several_pictures_the_first_is_taken_and_the_others_are_named() -> None:
    network = Two()
    with pytest.warns(UserWarning, match=r"output='image', is traced; the others are \('parts', 0\), \('parts', 1\)"):
        canvas = xinc.trace(network, MAP)
    torch.testing.assert_close(canvas.output, network(MAP)["image"][0].detach())
    second = xinc.trace(network, MAP, output=("parts", 0))
    torch.testing.assert_close(second.output, network(MAP)["parts"][0][0].detach())
    with pytest.raises(TraceError, match=r"leads to 3 pictures|leads to 2 pictures"):
        xinc.trace(network, MAP, output="parts")


class Ends(nn.Module):
    """A convolution, something, and another."""

    def __init__(self, between: Callable[[Tensor], Tensor], last: Callable[[Tensor], Tensor] = lambda y: y) -> None:
        super().__init__()
        self.a, self.b, self.between, self.last = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 3, 1), between, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.b(self.between(self.a(x))))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Ends(torch.sin, lambda y: (255 * y.sigmoid()).to(torch.uint8)), "the output is uint8: whole numbers"),
        (Ends(lambda h: torch.from_numpy(2 * h.numpy())), "leave torch by 'numpy'"),
        (Ends(lambda h: h * torch.bernoulli(torch.full_like(h, 0.5))), "'bernoulli' draws numbers"),
        (Ends(lambda h: h + torch.randn(h.shape)), "'randn' draws numbers"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_line(network: nn.Module, words: str) -> None:
    with pytest.raises(TraceError, match=words):
        xinc.trace(network, MAP)


def test_a_number_that_leaves_torch_is_said() -> None:
    with pytest.warns(UserWarning, match="leaves torch by 'item'"):
        xinc.trace(Ends(lambda h: h / h.abs().max().item()), MAP)


def test_noise_that_is_the_same_each_time_is_no_hindrance() -> None:
    noise = Ends(lambda h: h + torch.randn(h.shape, generator=torch.Generator().manual_seed(1)))
    assert xinc.trace(noise, MAP).layers == ["a", "b"]


def test_numbers_that_are_none_between_layers_do_no_harm() -> None:
    network = Ends(lambda z: torch.where(z > 0, z.sqrt(), z)).double()
    canvas = xinc.trace(network, MAP.double())
    maps = canvas["b"].maps(range(24), signed=True)
    torch.testing.assert_close(
        maps.sum(0) + network.b.bias.detach()[:, None, None].to(maps), canvas.output.to(maps), rtol=1e-5, atol=1e-6
    )


def test_weights_that_are_no_numbers_are_called_so() -> None:
    network = Ends(lambda h: h + h.flip(-1))
    network.a.weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(TraceError, match="makes values that are no numbers"):
        xinc.trace(network, MAP)["a"]


class Merged(nn.Module):
    """A view that merges places and features, off the chain."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 24), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)).view(-1, 12))


def test_a_view_that_merges_places_and_features_is_surveyed_and_traced() -> None:
    canvas = xinc.trace(Merged(), torch.randn(H * W // 2, 16), size=(H, W), method="paper")
    assert [row.layer for row in canvas.survey()] == ["a", "b"]
    assert torch.isfinite(canvas["a"].heatmap()).all()


def test_pixels_that_run_down_the_columns_are_laid_out_by_the_size() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
    down = GRID.reshape(H, W, 2).transpose(0, 1).reshape(-1, 2)
    along, turned = xinc.trace(network, GRID, size=(H, W)), xinc.trace(network, down, size=(H, W))
    torch.testing.assert_close(turned.output, along.output)
    assert [turned[name].shape for name in turned.layers] == [along[name].shape for name in along.layers]
    for mine, theirs in zip(turned.layers, along.layers, strict=True):
        maps = [c[n].maps([0, 1], signed=True) for c, n in ((turned, mine), (along, theirs))]
        torch.testing.assert_close(maps[0], maps[1], atol=1e-6, rtol=1e-4)
        for method in ("ablation", "paper"):
            heat = [c.by(method)[n].heatmap() for c, n in ((turned, mine), (along, theirs))]
            torch.testing.assert_close(heat[0], heat[1], atol=1e-5, rtol=1e-4)
        assert float(turned.residual(mine).abs().max()) < 1e-5
