"""How a recording becomes a plan: which output is the picture, which operations are layers, what lies between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreign_models import ZOO, coordinates, one_thread, specimen
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.plan import Plan
from xinc.canvas.recording.recorder import record
from xinc.errors import TraceError
from xinc.models.families import build

__all__ = ["one_thread"]  # a fixture


class Net(nn.Module):
    """Layers by name, and a function of them and the input."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.function = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=options.pop("padding", kernel // 2), **options)


def read(module: nn.Module, *inputs: Tensor, **options: Any) -> Plan:
    torch.manual_seed(0)
    return read_plan(record(module, *inputs), **options)


def described(plan: Plan) -> list[tuple[str, str, tuple[int, int]]]:
    return [(stage.name, stage.activation.name, stage.upscale) for stage in plan.stages]


IMAGE = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
ROWS = coordinates((6, 8)).reshape(-1, 2)

PICTURES: dict[str, Callable[[Tensor], Any]] = {
    "(1, 3, H, W)": lambda y: y,
    "(3, H, W)": lambda y: y[0],
    "(H, W, 3)": lambda y: y[0].permute(1, 2, 0),
    "(1, H, W, 3)": lambda y: y.permute(0, 2, 3, 1),
    "(1, 1, 3, H, W)": lambda y: y[None],
    "(N, 3)": lambda y: y[0].flatten(1).T,
    "(1, N, 3)": lambda y: y.flatten(2).mT,
    "(3, N)": lambda y: y[0].flatten(1),
    "[-1, 1]": lambda y: y * 2 - 1,
    "tuple": lambda y: (y.mean(), y),
    "nested": lambda y: {"x": [y], "coords": IMAGE},
    "features too": lambda y: (y, [y[:, :2], y.repeat(1, 2, 1, 1)], y.sum()),
    "scales": lambda y: [F.avg_pool2d(y, 2), y],
}


@pytest.mark.parametrize("layout", PICTURES)
def test_the_picture_is_found_however_it_is_laid_out(layout: str) -> None:
    module = Net(lambda net, x: PICTURES[layout](torch.sigmoid(net.c(x))), c=conv(3, 3))
    plan = read(module, IMAGE, size=(6, 8) if "N" in layout else None)
    with torch.no_grad():
        wanted = torch.sigmoid(module.c(IMAGE))[0]
    torch.testing.assert_close(plan.output, wanted * 2 - 1 if layout == "[-1, 1]" else wanted)
    assert [layer.name for layer in plan.layers] == ["head"]
    if layout not in ("tuple", "nested", "features too", "scales"):
        assert plan.others == ()


def test_a_single_channel_is_a_picture_too() -> None:
    for shape in ((1, 1, 6, 8), (1, 6, 8), (6, 8)):
        plan = read(Net(lambda net, x, s=shape: net.c(x).reshape(s), c=conv(3, 1)), IMAGE)
        assert plan.output.shape == (1, 6, 8)


@pytest.mark.parametrize(
    "output",
    [("heads", 1), ("heads", -1), ["heads", 1], ("stack", (slice(None), slice(3, 6))), ("stack", 0, slice(3, 6))],
)
def test_an_output_is_chosen_by_its_path(output: Any) -> None:
    def forward(net: Any, x: Tensor) -> Any:
        a, b = net.a(x), net.b(x)
        return {"heads": (a, b), "stack": torch.cat([a, b], 1)}

    module = Net(forward, a=conv(3, 3), b=conv(3, 3))
    plan = read(module, IMAGE, output=output)
    with torch.no_grad():
        torch.testing.assert_close(plan.output, module.b(IMAGE)[0])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("b", "no part 'b'; its keys are 'a', 'n'"),
        (("a", 5), "no part 5; it is a list of 1"),
        (("a", 0, 7), r"an output of shape \(1, 3, 6, 8\) has no part 7"),
        ("n", "the network returns no tensor"),
    ],
)
def test_a_wrong_path_says_what_there_is(output: Any, message: str) -> None:
    module = Net(lambda net, x: {"a": [net.c(x)], "n": 3}, c=conv(3, 3))
    with pytest.raises(TraceError, match=message):
        read(module, IMAGE, output=output)


def test_the_size_is_read_off_the_grid_of_coordinates() -> None:
    module = Net(lambda net, x: net.b(torch.sin(net.a(x))), a=nn.Linear(2, 4), b=nn.Linear(4, 3))
    layouts = [ROWS, ROWS.flip(-1), ROWS[None], coordinates((6, 8)), coordinates((6, 8))[None]]
    assert [read(module, layout).size for layout in layouts] == [(6, 8)] * 5
    timed = torch.cat([torch.full((48, 1), 0.3), ROWS], 1)
    video = Net(lambda net, x: net.b(torch.sin(net.a(x))), a=nn.Linear(3, 4), b=nn.Linear(4, 3))
    assert read(video, timed).size == (6, 8)
    assert read(module, coordinates((3, 12)).reshape(-1, 2)).size == (3, 12)  # 36 is a square, the grid is not


def test_a_square_is_assumed_only_without_a_grid() -> None:
    module = Net(lambda net, x: net.b(torch.sin(net.a(x))), a=nn.Linear(5, 4), b=nn.Linear(4, 3))
    assert read(module, torch.randn(49, 5)).size == (7, 7)
    with pytest.raises(TraceError, match=r"\(48, 3\); say which picture it is with size=\(height, width\)"):
        read(module, torch.randn(48, 5))
    with pytest.raises(TraceError, match="does not hold 5x8 pixels"):
        read(module, torch.randn(48, 5), size=(5, 8))
    assert read(module, torch.randn(48, 5), size=[4, 12]).size == (4, 12)


def test_one_input_at_a_time() -> None:
    with pytest.raises(TraceError, match=r"\(2, 3, 6, 8\): 2 pictures; trace one input at a time"):
        read(Net(lambda net, x: net.c(x), c=conv(3, 3)), IMAGE.repeat(2, 1, 1, 1))


def test_there_must_be_neurons() -> None:
    with pytest.raises(
        TraceError, match="depends on no convolution or linear layer with pixel extent; there are no neu"
    ):
        read(Net(lambda net, x: torch.sin(x)), IMAGE)
    frames = nn.Conv3d(3, 3, (2, 3, 3), padding=(0, 1, 1))  # mixes two frames; of one it is a convolution
    with pytest.raises(TraceError, match="conv3d cannot be traced"):
        read(Net(lambda net, x: net.c(torch.stack([x, x], 2))[:, :, 0], c=frames), IMAGE)
    with pytest.raises(TraceError, match="values of a layer leave torch by 'numpy'"):
        read(Net(lambda net, x: torch.from_numpy(net.c(x).numpy()), c=conv(3, 3)), IMAGE)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": lambda x: x * torch.sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.13),
    "relu": lambda x: x.clamp(min=0),
    "tanh_unit": lambda x: (torch.tanh(x) + 1) * 0.5,
    "sin": lambda x: torch.sin(torch.tensor(7.0) * x),
    "custom": lambda x: torch.sin((x.abs() + 1) * x),
    "identity": lambda x: x.contiguous().clone(),
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_known_by_what_they_do(name: str) -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(F.pixel_shuffle(ACTIVATIONS[name](net.a(x)), 2))

    plan = read(Net(forward, a=conv(3, 8), b=conv(2, 3)), IMAGE)
    assert described(plan) == [("block1", name, (2, 2)), ("head", "identity", (1, 1))]
    assert plan.others == ()


def test_anything_that_shuffles_is_a_shuffle() -> None:
    def shuffled(x: Tensor) -> Tensor:
        x = x.reshape(1, 2, 3, 2, 6, 8).permute(0, 1, 4, 2, 5, 3)
        return x.flatten(4).flatten(2, 3)

    plan = read(Net(lambda net, x: net.b(torch.relu(shuffled(net.a(x)))), a=conv(3, 12), b=conv(2, 3)), IMAGE)
    assert described(plan) == [("block1", "relu", (3, 2)), ("head", "identity", (1, 1))]


BROKEN: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "another order": lambda net, x: net.b(net.a(x).flip(1)),
    "mirrored": lambda net, x: net.b(torch.relu(net.a(x)).flip(3)),
    "a residual": lambda net, x: net.b(torch.relu(net.a(x)) + x),
    "a side path through one number": lambda net, x: (lambda h: net.b(h) * h.mean())(net.a(x)),
    "a scale by its own mean": lambda net, x: (lambda h: net.b(h * h.mean()))(net.a(x)),
    "a crop": lambda net, x: net.b(net.a(x)[..., 1:-1]),
    "a norm": lambda net, x: net.b(F.instance_norm(net.a(x))),
    "a bias of another place": lambda net, x: net.b(net.a(x) + torch.ones(1, 3, 1, 1)),
    "a gate of halves": lambda net, x: net.b(
        (lambda p, q: torch.cat([p * q, p], 1)[:, :3])(*net.a(x).repeat(1, 2, 1, 1).chunk(2, 1))
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_chain_ends_where_it_is_not_plain(name: str) -> None:
    plan = read(Net(BROKEN[name], a=conv(3, 3), b=conv(3, 3)), IMAGE)
    assert [rest.operation.name for rest in plan.others][:1] == ["a"]
    assert [layer.name for layer in plan.layers] == [
        "a",
        "b",
    ]  # not block1 and head: the paper's names are of plain chains


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, True),
        ({"kernel": 1}, True),
        ({"kernel": 7}, True),
        ({"padding": "same"}, True),
        ({"padding_mode": "reflect"}, False),
        ({"stride": 1, "dilation": 2, "padding": 2}, False),
        ({"groups": 3}, False),
        ({"kernel": 2, "padding": "same"}, False),
    ],
)
def test_the_fast_engine_takes_plain_convolutions_only(options: dict[str, Any], plain: bool) -> None:
    plan = read(Net(lambda net, x: net.a(x), a=conv(3, 3, options.pop("kernel", 3), **options)), IMAGE)
    assert len(plan.stages) == plain
    assert len(plan.others) == (not plain)


def test_groups_leave_kernels_out() -> None:
    module = Net(lambda net, x: net.b(net.a(x)), a=conv(6, 12, groups=3), b=conv(12, 3))
    plan = read(module, IMAGE.repeat(1, 2, 1, 1))
    inputs, outputs = plan.layers[0].pairs()
    assert list(zip(inputs.tolist(), outputs.tolist(), strict=True)) == [
        (i, o) for i in range(6) for o in range(i // 2 * 4, i // 2 * 4 + 4)
    ]


def test_names_are_unique_and_say_where_to_look() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = net.parts["twice"](torch.relu(net.parts["twice"](x) + x))
        return x + F.conv2d(x, net.raw.kernel, padding=1) + F.conv2d(x, net.raw.kernel * net.raw.gain, padding=1)

    module = Net(forward, parts=nn.ModuleDict({"twice": conv(3, 3)}), raw=nn.Module())
    module.raw.kernel = nn.Parameter(torch.randn(3, 3, 3, 3))
    module.raw.gain = nn.Parameter(torch.ones(()))
    plan = read(module, IMAGE)
    assert [(layer.name, layer.module) for layer in plan.layers] == [
        ("parts.twice", "parts.twice"),
        ("parts.twice#2", "parts.twice"),
        ("raw.kernel", "raw.kernel"),
        ("raw.kernel#2", "raw.kernel"),
    ]


def test_frozen_projections_are_encodings_and_not_layers() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        angles = x @ net.frequencies.T
        return net.b(torch.relu(net.a(torch.cat([angles.sin(), angles.cos()], -1))))

    module = Net(forward, a=nn.Linear(8, 5), b=nn.Linear(5, 3))
    module.frequencies = nn.Parameter(torch.randn(4, 2), requires_grad=False)
    assert [layer.name for layer in read(module, ROWS).layers] == ["layer1", "layer2"]
    module.frequencies.requires_grad_()
    assert [layer.name for layer in read(module, ROWS).layers] == ["frequencies", "a", "b"]


def test_stems_and_gates_are_not_layers() -> None:
    def forward(net: Any, t: Tensor) -> Tensor:
        x = net.stem(t).view(1, 2, 3, 4)
        gate = torch.sigmoid(net.gate(F.adaptive_avg_pool2d(x, 1)))
        return net.b(F.interpolate(net.a(x * gate), scale_factor=2))

    module = Net(forward, stem=nn.Linear(5, 24), gate=conv(2, 2, 1), a=conv(2, 4), b=conv(4, 3))
    assert [layer.name for layer in read(module, torch.randn(1, 5)).layers] == ["a", "b"]


def test_products_that_make_weights_are_not_layers() -> None:
    module = Net(lambda net, x: net.b(F.linear(torch.sin(net.a(x)), net.up @ net.down)), a=nn.Linear(2, 6))
    module.b, module.up, module.down = nn.Linear(5, 3), nn.Parameter(torch.rand(5, 2)), nn.Parameter(torch.rand(2, 6))
    assert [(layer.name, layer.neurons) for layer in read(module, ROWS).layers] == [
        ("layer1", 2),
        ("layer2", 6),
        ("layer3", 5),
    ]


def test_an_encoder_does_not_take_the_decoder_its_names() -> None:
    network = specimen("autoencoder")
    plan = read(network.module, *network.inputs)
    assert [layer.name for layer in plan.layers] == ["encoder.0", "block1", "head"]


@pytest.mark.parametrize(("family", "count"), [("ffn", 3), ("siren", 4), ("nerv", 4), ("hnerv", 5)])
def test_our_own_networks_are_plain_chains_without_any_adapter(family: str, count: int) -> None:
    module = build(family, (32, 64) if family != "hnerv" else (64, 128)).eval()
    plan = read(module, module.frame_input(0))
    assert plan.others == ()
    assert len(plan.stages) == count
    first, last = ("layer1", f"layer{count}") if plan.pixelwise else ("block1", "head")
    assert (plan.layers[0].name, plan.layers[-1].name) == (first, last)
    with torch.no_grad():
        torch.testing.assert_close(plan.output, module.render(0))


@pytest.mark.parametrize("name", ["raw_siren", "finer", "hash_grid", "alpha_head", "shuffled"])
def test_plain_chains_are_plain_however_they_are_written(name: str) -> None:
    network = specimen(name)
    plan = read_plan(record(network.module, *network.inputs), **network.options)
    assert plan.others == ()
    torch.testing.assert_close(plan.output, network())


@pytest.mark.parametrize("name", ZOO)
def test_terms_and_bias_make_every_layers_output(name: str) -> None:
    network = specimen(name).double()
    for rest in read_plan(record(network.module, *network.inputs), **network.options).others:
        layer = rest.operation
        made = layer.recomputed() - layer.terms(range(layer.neurons)).sum(
            0
        )  # what is left is the bias, the same at every place
        spread = made.std() if layer.bias is None else (layer.recomputed() - rest.output).abs().max()
        assert float(spread.real) < 1e-12
        left = (
            layer.contraction.to_rows(made[None])[0]
            if layer.contraction is not None
            else made.reshape(-1, *layer.shape[-3:])
        )
        wanted = layer.bias_or_zero if layer.contraction is not None else layer.bias_or_zero[:, None, None]
        torch.testing.assert_close(left, wanted.expand_as(left))
