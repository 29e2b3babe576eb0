"""A zoo of implicit representations written as other people write them, all tiny. None knows of the package.

Each entry of :data:`ZOO` makes a network, its inputs and what ``trace`` needs to be told (``size``, ``output``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

SIZE = (8, 12)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The networks are so small that threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Specimen:
    """A network, what it is called with, what tracing it needs to be told, and what its picture is."""

    module: nn.Module
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    picture: Callable[[Any], Tensor] = lambda output: output[0]

    def double(self) -> Specimen:
        wide = tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in self.inputs)
        module = self.module.double()._apply(lambda t: t.to(torch.cdouble) if t.is_complex() else t)
        return Specimen(module, wide, self.options, self.picture)

    def __call__(self) -> Tensor:
        """The picture ``(C, H, W)`` by the network itself."""
        training = self.module.training
        with torch.no_grad():
            image = self.picture(self.module.eval()(*self.inputs))
        self.module.train(training)
        return image


def coordinates(size: tuple[int, int] = SIZE) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
    return torch.stack([y, x], -1)


def rows(image: Tensor) -> Tensor:
    """Pixels in a row ``(..., N, C)`` as ``(C, H, W)``."""
    return image.reshape(*SIZE, -1).permute(2, 0, 1)


class ResidualMLP(nn.Module):
    """Module list, skip connections, an input that is concatenated again."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 10)
        self.hidden = nn.ModuleList([nn.Linear(10, 10), nn.Linear(12, 10)])
        self.last = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sin(3 * self.first(x))
        h = h + torch.relu(self.hidden[0](h))
        h = F.gelu(self.hidden[1](torch.cat([h, x], -1))) + h
        return torch.sigmoid(self.last(h))


class RawSiren(nn.Module):
    """No layers at all: parameters and ``F.linear``."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(8, 2), (8, 8), (3, 8)]
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(s) / s[1]) for s in sizes)
        self.biases = nn.ParameterList(nn.Parameter(torch.randn(s[0]) / 4) for s in sizes)

    def forward(self, x: Tensor) -> Tensor:
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = torch.sin(6.0 * F.linear(x, w, b))
        return F.linear(x, self.weights[-1], self.biases[-1])[None]


class MatmulMLP(nn.Module):
    """``x @ W + b``, ``addmm``, ``einsum`` and a transposed product; the hidden layers are joined by a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.randn(6))
        self.w2, self.b2 = nn.Parameter(torch.randn(6, 6) / 2), nn.Parameter(torch.randn(6))
        self.w3 = nn.Parameter(torch.randn(6, 6) / 2)
        self.w4 = nn.Parameter(torch.randn(3, 6) / 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(x @ self.w1 + self.b1)
        h = h + torch.tanh(torch.addmm(self.b2, h, self.w2))
        h = h * torch.sigmoid(torch.einsum("nc,cd->nd", h, self.w3))
        return (self.w4 @ h.T).reshape(3, *SIZE)


class Wire(nn.Module):
    """Complex Gabor activations (Saragadam et al. 2023)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 6)
        self.second = nn.Linear(6, 5, dtype=torch.cfloat)
        self.last = nn.Linear(5, 3, dtype=torch.cfloat)

    def gabor(self, x: Tensor) -> Tensor:
        return torch.exp(1j * 4.0 * x - (1.5 * x).abs().square())

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.gabor(self.second(self.gabor(self.first(x))))).real


class Finer(nn.Module):
    """Variable-periodic activations (Liu et al. 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            z = layer(x)
            with torch.no_grad():
                scale = torch.abs(z) + 1
            x = torch.sin(4.0 * scale * z)
        return self.layers[-1](x)


class Multiplicative(nn.Module):
    """Multiplicative filter network: products of sines of the input with linear maps."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Linear(2, 7) for _ in range(3))
        self.linears = nn.ModuleList(nn.Linear(7, 7) for _ in range(2))
        self.out = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sin(5 * self.filters[0](x))
        for filt, linear in zip(self.filters[1:], self.linears, strict=True):
            h = torch.sin(5 * filt(x)) * linear(h)
        return self.out(h)


class HashGrid(nn.Module):
    """Two levels of a hashed table, bilinear interpolation, a small network; coordinates are a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(32, 3) for _ in range(2))
        for table in self.tables:
            nn.init.normal_(table.weight)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))
        self.register_buffer("grid", coordinates().reshape(-1, 2))

    def encode(self, x: Tensor, level: int) -> Tensor:
        scaled = (x + 1) / 2 * (3 * 2**level)
        corner = scaled.floor()
        w = scaled - corner
        total = 0
        for dy in (0, 1):
            for dx in (0, 1):
                c = corner.long() + torch.tensor([dy, dx])
                index = (c[:, 0] * 2654435761 ^ c[:, 1]) % 32
                share = (w[:, :1] if dy else 1 - w[:, :1]) * (w[:, 1:] if dx else 1 - w[:, 1:])
                total = total + share * self.tables[level](index)
        return total

    def forward(self) -> Tensor:
        return self.net(torch.cat([self.encode(self.grid, level) for level in range(2)], -1))[None]


class BatchedModulation(nn.Module):
    """A hypernetwork writes the weights of a ``bmm`` layer; a latent shifts another."""

    def __init__(self) -> None:
        super().__init__()
        self.hyper, self.shift = nn.Linear(4, 6 * 8), nn.Linear(4, 8)
        self.inner = nn.Linear(2, 6)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor, latent: Tensor) -> dict[str, Any]:
        h = torch.sin(4 * self.inner(x))
        h = torch.bmm(h, self.hyper(latent).reshape(1, 6, 8)) + self.shift(latent)[:, None]
        return {"model_in": x, "model_out": self.last(torch.sin(h))}


class ResidualDecoder(nn.Module):
    """Residual convolutions, nearest up-sampling, strided and dilated convolutions, even kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 5 * 4 * 6)
        self.a = nn.Conv2d(5, 5, 3, padding=1)
        self.b = nn.Conv2d(5, 5, 3, padding=2, dilation=2)
        self.even = nn.Conv2d(5, 6, 2, padding="same")
        self.down = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, t: Tensor) -> Tensor:
        x = self.stem(t).view(1, 5, 4, 6)
        x = x + self.b(F.gelu(self.a(x)))
        x = self.even(F.interpolate(x, scale_factor=2))
        x = x + F.interpolate(torch.tanh(self.down(x)), scale_factor=2, mode="nearest")
        return torch.sigmoid(self.head(x))


class Modulated(nn.Module):
    """Weights and features modulated by a style vector; demodulation; noise held in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.randn(1, 4, 4, 6))
        self.style = nn.Linear(5, 4)
        self.film = nn.Linear(5, 12)
        self.weight = nn.Parameter(torch.randn(6, 4, 3, 3) / 4)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.rgb = nn.Conv2d(6, 3, 1)
        self.register_buffer("noise", torch.randn(1, 1, 8, 12) / 5)

    def forward(self, z: Tensor) -> Tensor:
        w = self.weight * (1 + self.style(z)).view(1, 4, 1, 1)
        w = w * torch.rsqrt(w.square().sum((1, 2, 3), keepdim=True) + 1e-6)
        x = F.leaky_relu(F.conv2d(F.interpolate(self.base, scale_factor=2), w, padding=1) + self.noise, 0.2)
        gamma, beta = self.film(z).view(1, 12, 1, 1).chunk(2, 1)
        x = F.silu(self.conv(x) * (1 + gamma) + beta)
        return self.rgb(x)


class TwoHeads(nn.Module):
    """Colour and opacity from one trunk, in a nested output."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 6, 3, padding=1), nn.GELU())
        self.rgb, self.alpha = nn.Conv2d(6, 3, 3, padding=1), nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Any]:
        h = self.trunk(x)
        alpha = torch.sigmoid(self.alpha(h))
        return {"rgb": [torch.tanh(self.rgb(h)) * alpha], "extra": (alpha, h)}


class Attention(nn.Module):
    """Self-attention over a coarse grid, then convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, 24, 6))
        self.qkv, self.out = nn.Linear(6, 18), nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.up = nn.Conv2d(6, 16, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, t: Tensor) -> Tensor:
        x = self.tokens + t
        q, k, v = (part.view(1, 24, 2, 3).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, 24, 6)
        x = (x + self.out(mixed)).transpose(1, 2).reshape(1, 6, 4, 6)
        return torch.sigmoid(self.head(F.gelu(F.pixel_shuffle(self.up(x), 2))))


class HandAttention(Attention):
    """The same written by hand: soft-max of a product."""

    def forward(self, t: Tensor) -> Tensor:
        x = self.tokens + t
        q, k, v = self.qkv(x).chunk(3, -1)
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(6), -1)
        x = (x + self.out(weights @ v)).mT.reshape(1, 6, 4, 6)
        return self.head(F.gelu(F.pixel_shuffle(self.up(x), 2)))


class Transposed(nn.Module):
    """Transposed convolutions, one overlapping, one grouped, instance norm with its own statistics, a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.n = nn.BatchNorm2d(6)
        self.n.running_mean.normal_()
        self.n.running_var.uniform_(0.5, 2)
        nn.init.uniform_(self.n.weight, 0.5, 2)
        self.b = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1, groups=2)
        self.head = nn.Conv2d(4, 3, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.elu(self.b(F.relu(self.n(self.a(x)), inplace=True))))


class InstanceNormed(nn.Module):
    """Instance norm with its own statistics in eval mode, bilinear up-sampling, a squeeze-and-excite gate."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(4, 6, 3, padding=1)
        self.norm = nn.InstanceNorm2d(6, affine=True)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 2, 1), nn.ReLU(), nn.Conv2d(2, 6, 1), nn.Sigmoid()
        )
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.head = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.norm(self.a(x)))
        return torch.tanh(self.head(self.up(h * self.squeeze(h)))) / 2 + 0.5


class ConvNeXt(nn.Module):
    """Depthwise 7x7, layer norm and linear layers with channels last, layer scale, grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(6, 6, 7, padding=3, groups=6)
        self.norm = nn.LayerNorm(6)
        self.wide, self.narrow = nn.Linear(6, 12), nn.Linear(12, 6)
        self.scale = nn.Parameter(torch.rand(6))
        self.grouped = nn.Conv2d(6, 12, 3, padding=1, groups=3)
        self.head = nn.Conv2d(12, 3, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        h = self.scale * self.narrow(F.gelu(self.wide(h)))
        return self.head(torch.tanh(self.grouped(x + h.permute(0, 3, 1, 2))))


class Shuffled(nn.Module):
    """Rectangular shuffles by view and permute, in-place activations, an output with channels last: a plain chain."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleDict(
            {"one": nn.Conv2d(3, 4 * 4, 3, padding=1), "two": nn.Conv2d(4, 3 * 3, (1, 3), padding=(0, 1))}
        )
        self.end = nn.Conv2d(3, 3, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stages["one"](x).view(1, 4, 4, 1, 2, 4).permute(0, 1, 4, 2, 5, 3).reshape(1, 4, 8, 4)
        h = F.silu(h, True)
        h = self.stages["two"](h).view(1, 3, 1, 3, 8, 4).permute(0, 1, 4, 2, 5, 3).reshape(1, 3, 8, 12).relu_()
        return self.end(h)[0].permute(1, 2, 0)


class Assembled(nn.Module):
    """Dense concatenation and an output that is written into place."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(4, 5, 3, padding=1)
        self.b = nn.Conv2d(9, 5, 3, padding=1)
        self.c, self.d = nn.Conv2d(14, 2, 3, padding=1), nn.Conv2d(14, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, torch.relu_(self.a(x))], 1)
        x = torch.cat([x, torch.sin(self.b(x))], 1)
        out = torch.zeros(1, 3, *SIZE, dtype=x.dtype)
        out[:, :2] = self.c(x)
        out[:, 2] += self.d(x)[:, 0]
        out[..., 0] *= 0.5
        return out.clamp(-2, 2)


class Warped(nn.Module):
    """Features warped by a flow that is predicted from them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.flow = nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 2, 3, padding=1)
        self.head = nn.Conv2d(5, 3, 3, padding=1)
        self.register_buffer("grid", coordinates().flip(-1)[None])

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.a(x))
        grid = self.grid + 0.1 * torch.tanh(self.flow(h)).permute(0, 2, 3, 1)
        return self.head(F.grid_sample(h, grid, align_corners=True, padding_mode="border"))


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x * 16) / 16

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


class Reparametrised(nn.Module):
    """Weight norm, a pruning mask, spectral norm, quantisation-aware weights, a hook that was left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.a = parametrizations.weight_norm(nn.Conv2d(4, 6, 3, padding=1))
        self.b = prune.random_unstructured(nn.Conv2d(6, 6, 3, padding=1), "weight", amount=0.5)
        self.c = parametrizations.spectral_norm(nn.Conv2d(6, 6, 3, padding=1))
        self.d = nn.Conv2d(6, 3, 3, padding=1)
        self.seen: list[int] = []
        self.b.register_forward_hook(lambda m, i, o: self.seen.append(o.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.b(F.gelu(self.a(x))))
        x = x + torch.tanh(self.c(x))
        return F.conv2d(x, Straight.apply(self.d.weight), self.d.bias, padding=1)


class Autoencoder(nn.Module):
    """An image to an embedding (strided convolutions), a plain decoder, outputs of two scales and the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.GELU(), nn.Conv2d(4, 2, 1))
        self.up = nn.Conv2d(2, 4 * 16, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        embedding = self.encoder(image)
        h = F.gelu(F.pixel_shuffle(self.up(embedding), 4))
        return torch.tanh(self.head(h)), [embedding, h], image.mean()


class Patches(nn.Module):
    """Tokens through linear layers and a group norm; patches of 2x2 pixels are folded into the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, 24, 6))
        self.mix, self.patch = nn.Linear(6, 6), nn.Linear(6, 12)
        self.norm = nn.GroupNorm(2, 6)
        self.act = nn.PReLU(6)
        nn.init.uniform_(self.act.weight, 0.1, 0.5)

    def forward(self, t: Tensor) -> Tensor:
        x = self.tokens * t
        x = x + self.act(self.norm(self.mix(x).mT)).mT
        patches = torch.sigmoid(self.patch(x))
        return F.fold(patches.mT, SIZE, 2, stride=2)


class Unfolded(nn.Module):
    """A convolution written as unfold and a product, a 1x1 ``conv1d`` of pixels in a row, a low-rank correction."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(5, 4 * 9) / 4)
        self.point = nn.Conv1d(5, 6, 1)
        self.head = nn.Linear(6, 3)
        self.down, self.up = nn.Parameter(torch.randn(2, 6) / 3), nn.Parameter(torch.randn(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.kernel @ F.unfold(x, 3, padding=1)
        rows = torch.sin(self.point(F.silu(rows)))
        return F.linear(rows.mT, self.head.weight + self.up @ self.down, self.head.bias)


class Multihead(nn.Module):
    """An embedding, torch's own multi-head attention, transposed convolutions with output padding and dilation."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)
        self.wide = nn.ConvTranspose2d(4, 3, 3, padding=2, dilation=2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.attend(x, x, x, need_weights=False)[0]
        return self.wide(F.hardswish(self.up(x.mT.reshape(1, 4, 4, 6))))


class FakeQuantised(nn.Module):
    """Weights of eight bits by torch's own operation; bilinear up-sampling; the picture is found by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 3, 5, padding=2)

    def forward(self, x: Tensor, scale: Tensor) -> Any:
        weight = torch.fake_quantize_per_tensor_affine(self.a.weight, 0.02, 0, -128, 127)
        x = F.interpolate(torch.tanh(F.conv2d(x, weight, self.a.bias, padding=1)), size=SIZE, mode="bilinear")
        return {"loss": x.mean(), "frame": self.b(x * scale)}


def _coords(**options: Any) -> dict[str, Any]:
    return {"inputs": (coordinates().reshape(-1, 2),), "picture": rows, **options}


def _map(channels: int, height: int = 8, width: int = 12) -> dict[str, Any]:
    return {"inputs": (torch.randn(1, channels, height, width),)}


ZOO: dict[str, Callable[[], Specimen]] = {
    "residual_mlp": lambda: Specimen(ResidualMLP(), (coordinates(),), picture=rows),
    "raw_siren": lambda: Specimen(RawSiren(), **_coords()),
    "matmul": lambda: Specimen(MatmulMLP(), **_coords(picture=lambda y: y)),
    "wire": lambda: Specimen(Wire(), **_coords()),
    "finer": lambda: Specimen(Finer(), **_coords()),
    "multiplicative": lambda: Specimen(Multiplicative(), **_coords()),
    "hash_grid": lambda: Specimen(HashGrid(), (), picture=rows),
    "bmm": lambda: Specimen(
        BatchedModulation(),
        (coordinates().reshape(1, -1, 2), torch.randn(1, 4)),
        picture=lambda y: rows(y["model_out"]),
    ),
    "residual": lambda: Specimen(ResidualDecoder(), (torch.randn(1, 4),)),
    "modulated": lambda: Specimen(Modulated(), (torch.randn(1, 5),)),
    "two_heads": lambda: Specimen(TwoHeads(), **_map(4), picture=lambda y: y["rgb"][0][0]),
    "alpha_head": lambda: Specimen(
        TwoHeads(), **_map(4), options={"output": ("extra", 0)}, picture=lambda y: y["extra"][0][0]
    ),
    "attention": lambda: Specimen(Attention(), (torch.randn(1, 1, 6),)),
    "hand_attention": lambda: Specimen(HandAttention(), (torch.randn(1, 1, 6),)),
    "transposed": lambda: Specimen(Transposed(), **_map(4, 2, 3)),
    "instance_norm": lambda: Specimen(InstanceNormed(), **_map(4, 4, 6)),
    "convnext": lambda: Specimen(ConvNeXt(), **_map(6)),
    "shuffled": lambda: Specimen(Shuffled(), **_map(3, 2, 4), picture=lambda y: y.permute(2, 0, 1)),
    "assembled": lambda: Specimen(Assembled(), **_map(4)),
    "warped": lambda: Specimen(Warped(), **_map(4)),
    "reparametrised": lambda: Specimen(Reparametrised(), **_map(4)),
    "patches": lambda: Specimen(Patches(), (torch.randn(1, 1, 6),)),
    "unfolded": lambda: Specimen(Unfolded(), **_map(4), options={"size": SIZE}, picture=rows),
    "multihead": lambda: Specimen(Multihead(), (torch.randn(1, 24, 3),)),
    "fake_quantised": lambda: Specimen(
        FakeQuantised(), (torch.randn(1, 4, 4, 6), torch.tensor(1.5)), picture=lambda y: y["frame"][0]
    ),
    "autoencoder": lambda: Specimen(Autoencoder(), **_map(3), picture=lambda y: y[0][0]),
}


def specimen(name: str, seed: int = 0) -> Specimen:
    """A network of the zoo, with the same random weights each time."""
    torch.manual_seed(seed)
    return ZOO[name]()
