"""The paper's method off the plain chain: equal to it on one, and each rule against the network that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xinc
from foreign_models import ZOO, coordinates, one_thread, specimen
from oracle import reference_maps
from tiny_networks import decoder, mlp
from xinc.canvas.network.linear_ops import find_linear_operations
from xinc.canvas.network.output import find_picture
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.paper.norms import frozen
from xinc.canvas.paper.rules import rule_stream
from xinc.canvas.recording.recorder import record
from xinc.canvas.recording.recording import Recording
from xinc.errors import TraceError

__all__ = ["one_thread"]  # a fixture


def off_the_chain(recording: Recording, size: tuple[int, int] | None = None) -> list[Rest]:
    """All layers as if none were on a plain chain."""
    picture = find_picture(recording, size)
    return [Rest(layer, recording, picture) for layer in find_linear_operations(recording, picture.value)]


def assert_same(plan: Plan, found: list[Rest], method: str) -> None:
    for rest, stage in zip(found, plan.stages, strict=True):
        every = range(rest.operation.neurons)
        wanted = reference_maps(plan, stage.name, every, method)
        torch.testing.assert_close(rule_stream(rest, official=method == "official").maps(every), wanted.float())


PLAIN: dict[str, dict[str, Any]] = {
    "gelu": {},
    "sigmoid": {"activation": torch.sigmoid},  # not zero at zero: the other sub-pixels count
    "sine": {"activation": lambda x: torch.sin(3 * x), "output": torch.sigmoid},
    "no bias": {"bias": False},
    "unit tanh": {"output": lambda x: torch.tanh(x) / 2 + 0.5},
    "by hand": {"activation": lambda x: x * torch.sigmoid(x), "output": lambda x: 1 / (1 + torch.exp(-x))},
    "large": {"kernels": ((1, 1), (7, 5), (1, 3)), "upscales": ((3, 1), (1, 2))},
}


@pytest.mark.parametrize("method", ["paper", "official"])
@pytest.mark.parametrize("name", PLAIN)
def test_on_a_plain_chain_the_rules_are_the_papers_method(name: str, method: str) -> None:
    module, values, plan = decoder(grid=(2, 3), **PLAIN[name])
    assert_same(plan, off_the_chain(record(module, values)), method)


@pytest.mark.parametrize("method", ["paper", "official"])
def test_features_that_see_single_pixels_are_those_of_an_mlp(method: str) -> None:
    module, values, plan = mlp()
    assert_same(plan, off_the_chain(record(module, values), plan.size), method)


class Block(nn.Module):
    """A layer, something, and a head."""

    def __init__(self, layer: nn.Module, between: Callable[[Tensor], Tensor], head: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.between, self.head = layer, between, head or nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.layer(x)))


def maps(module: nn.Module, x: Tensor, layer: str = "layer", method: str = "paper") -> Tensor:
    canvas = xinc.trace(module.double(), x.double(), method=method)
    name = layer if layer in canvas.layers else "block1"
    return canvas[name].maps(range(canvas[name].shape[0]))


def box(u: Tensor, kernel: int = 3, dilation: int = 1) -> Tensor:
    """The mean over a window of every plane ``(n, H, W)``, zeros outside."""
    weight = torch.ones(1, 1, kernel, kernel, dtype=u.dtype) / kernel**2
    return F.conv2d(u[:, None], weight, padding=kernel // 2 * dilation, dilation=dilation)[:, 0]


def image(channels: int = 2, size: tuple[int, int] = (5, 6)) -> Tensor:
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def planes(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """``W_oi * x_i + b_o / C_in`` of every kernel ``(K, h, w)``, input first (D1)."""
    layer = layer.double()
    assert layer.bias is not None
    found = [
        F.conv2d(x[:, i : i + 1], layer.weight[o : o + 1, i : i + 1], padding=layer.padding)[0, 0]
        + layer.bias[o] / x.shape[1]
        for i in range(x.shape[1])
        for o in range(layer.weight.shape[0])
    ]
    return torch.stack(found).detach()


def conv(inputs: int = 2, outputs: int = 4, **options: Any) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options).double()


def batch_norm(channels: int = 4) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).double().eval()
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        nn.init.uniform_(tensor, 0.5, 2)  # type: ignore[arg-type]
    return norm


def test_a_norm_right_after_the_layer_is_folded_into_it() -> None:
    layer, norm = conv(), batch_norm()
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()  # type: ignore[operator]
    folded = conv()
    with torch.no_grad():
        folded.weight.mul_(scale[:, None, None, None])
        folded.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)  # type: ignore[union-attr, arg-type]
    wanted = maps(Block(folded, F.gelu), image())
    torch.testing.assert_close(maps(Block(layer, lambda x: F.gelu(norm(x))), image()), wanted)


def test_film_is_folded_as_a_norm_is() -> None:
    gain, shift = torch.rand(2, 1, 4, 1, 1, dtype=torch.float64) + 0.5
    wanted = box(
        F.gelu(
            planes(conv(), image()) * gain.flatten().repeat(2)[:, None, None]
            + shift.flatten().repeat(2)[:, None, None] / 2
        )
    )
    torch.testing.assert_close(maps(Block(conv(), lambda x: F.gelu(x * gain + shift)), image()), wanted.float())


def test_a_norm_further_on_changes_nothing() -> None:
    later, norm = conv(4, 4), batch_norm()
    plain = maps(Block(conv(), lambda x: F.gelu(later(x))), image())
    torch.testing.assert_close(maps(Block(conv(), lambda x: F.gelu(norm(later(x)))), image()), plain)


UPSCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, size=(10, 12), mode="bicubic"),
    "repeats": lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
    "views": lambda x: x[..., None, :, None].expand(1, 4, 5, 2, 6, 2).reshape(1, 4, 10, 12),
}


@pytest.mark.parametrize("name", UPSCALES)
def test_any_up_sampling_is_the_nearest(name: str) -> None:
    wanted = box(F.gelu(planes(conv(), image()).repeat_interleave(2, 1).repeat_interleave(2, 2)))
    torch.testing.assert_close(maps(Block(conv(), lambda x: F.gelu(UPSCALES[name](x))), image()), wanted.float())


def test_a_transposed_convolution_without_overlap_is_a_1x1_convolution_and_a_shuffle() -> None:
    torch.manual_seed(0)
    transposed = nn.ConvTranspose2d(2, 4, 2, stride=2)
    same = nn.Conv2d(2, 16, 1)
    with torch.no_grad():
        same.weight.copy_(transposed.weight.permute(1, 2, 3, 0).reshape(16, 2, 1, 1))
        same.bias.copy_(transposed.bias.repeat_interleave(4))  # type: ignore[union-attr]
    head = nn.Conv2d(4, 3, 3, padding=1)
    shuffled = maps(Block(same, lambda x: F.gelu(F.pixel_shuffle(x, 2)), head), image())
    wanted = shuffled.reshape(2, 4, 4, 10, 12).sum(2).flatten(0, 1)  # a kernel holds the four of its sub-pixels
    torch.testing.assert_close(maps(Block(transposed, F.gelu, head), image()), wanted)


@pytest.mark.parametrize("options", [{"kernel_size": 2, "stride": 2}, {"kernel_size": 4, "stride": 2, "padding": 1}])
def test_a_later_transposed_convolution_keeps_a_constant(options: dict[str, int]) -> None:
    later = nn.ConvTranspose2d(4, 4, **options).double()
    u = F.gelu(planes(conv(), image()))
    spread = maps(Block(conv(), lambda x: later(F.gelu(x)), nn.Conv2d(4, 3, 1)), image())
    flat = maps(Block(conv(), lambda x: later(F.gelu(x * 0 + 1)), nn.Conv2d(4, 3, 1)), image())
    torch.testing.assert_close(flat, torch.full_like(flat, float(flat[0, 5, 5])))
    if options["kernel_size"] == 2:
        torch.testing.assert_close(spread, u.repeat_interleave(2, 1).repeat_interleave(2, 2).float())


def test_dilation_and_padding_of_a_later_convolution_are_its_own() -> None:
    later = conv(4, 4, dilation=2)
    later.padding = (2, 2)
    wanted = box(box(F.gelu(planes(conv(), image())), dilation=2))
    torch.testing.assert_close(maps(Block(conv(), lambda x: later(F.gelu(x))), image()), wanted.float())


def test_branches_add_up() -> None:
    u = planes(conv(), image())
    later = conv(4, 4)
    torch.testing.assert_close(maps(Block(conv(), lambda x: x + later(x)), image()), box(u + box(u)).float())
    torch.testing.assert_close(
        maps(Block(conv(), lambda x: F.gelu(x) - later(x)), image()), box(F.gelu(u) - box(u)).float()
    )
    dense = Block(conv(), lambda x: torch.cat([later(x), x], 1), nn.Conv2d(8, 3, 3, padding=1))
    torch.testing.assert_close(maps(dense, image()), box(u + box(u)).float())
    other = image(4)
    torch.testing.assert_close(maps(Block(conv(), lambda x: F.gelu(x + other)), image()), box(F.gelu(u)).float())


def test_gates_keep_their_recorded_gain() -> None:
    u, whole = planes(conv(), image()), conv()(image()).detach()
    gate = torch.sigmoid(whole.mean((2, 3), keepdim=True))
    excited = Block(conv(), lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)))
    gains = gate.flatten().repeat(2)[:, None, None]
    torch.testing.assert_close(maps(excited, image()), box(u * gains).float())
    side = torch.rand(1, 1, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(maps(Block(conv(), lambda x: x * side), image()), box(u * side[0, 0]).float())
    weights = torch.softmax(torch.randn(30, 30, dtype=torch.float64), -1)
    mixed = Block(conv(), lambda x: (weights @ x.flatten(2).mT).mT.reshape(x.shape))
    torch.testing.assert_close(maps(mixed, image()), box((u.flatten(1) @ weights.T).reshape(u.shape)).float())


def test_sampling_moves_the_maps() -> None:
    grid = (coordinates((5, 6)).flip(-1)[None].double() * 0.8 + 0.1).clamp(-1, 1)
    u = planes(conv(), image())
    wanted = box(F.grid_sample(u[:, None], grid.expand(len(u), -1, -1, -1), align_corners=True)[:, 0])
    torch.testing.assert_close(
        maps(Block(conv(), lambda x: F.grid_sample(x, grid, align_corners=True)), image()), wanted.float()
    )


def test_groups_keep_planes_apart() -> None:
    later = conv(4, 4, groups=4)
    head = nn.Conv2d(4, 3, 3, padding=1, groups=1)
    u = F.gelu(planes(conv(), image()))
    torch.testing.assert_close(maps(Block(conv(), lambda x: later(F.gelu(x)), head), image()), box(box(u)).float())


class Refused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.pool, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.pool(self.a(x)))


@pytest.mark.parametrize("method", ["paper", "official"])
def test_what_no_rule_covers_is_refused_by_name(method: str) -> None:
    canvas = xinc.trace(Refused(), image().float(), method=method)
    message = f"'{method}' has no rule for operation 'max_pool2d' in module 'pool', which lies between 'a' and the pict"
    with pytest.raises(TraceError, match=message):
        canvas["a"]
    assert canvas["b"].maps([0]).shape == (1, 5, 6)
    assert xinc.trace(Refused(), image().float(), method="exact")["a"].maps([0]).shape == (1, 5, 6)


def test_a_way_through_recorded_weights_alone_is_refused() -> None:
    network = specimen("warped")
    with pytest.raises(TraceError, match="'flow' reaches the picture through them alone; use method='exact'"):
        xinc.trace(network.module, *network.inputs, method="paper")["flow"]


@pytest.mark.parametrize("name", sorted(set(ZOO) - {"warped", "multihead"}))
def test_every_layer_of_the_zoo_has_maps_by_rules(name: str) -> None:
    network = specimen(name)
    module = network.module.eval()
    for method in ("paper", "official"):
        canvas = xinc.trace(module, *network.inputs, method=method, **network.options)
        for layer in canvas:
            found = canvas[layer].maps(range(canvas[layer].shape[0]))
            assert torch.isfinite(found).all()
            assert float(found.abs().max()) > 0


NORMS: dict[str, nn.Module] = {
    "batch": batch_norm(),
    "batch of the pass": nn.BatchNorm2d(4, track_running_stats=False),
    "instance": nn.InstanceNorm2d(4, affine=True),
    "group": nn.GroupNorm(2, 4),
    "layer": nn.LayerNorm((5, 6)),
    "rms": nn.RMSNorm((4, 5, 6)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_frozen_as_they_acted(name: str) -> None:
    module = NORMS[name].double().eval()
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    recording = record(module, image(4))
    operation = recording.operations[-1]
    scale, shift = frozen(recording, operation)
    x = image(4)
    torch.testing.assert_close(scale * x + shift, module(x).detach())
    if name != "batch":
        again = record(module, x * 2)
        torch.testing.assert_close(frozen(again, again.operations[-1])[0] * 2, scale, rtol=1e-4, atol=1e-6)
