"""A network as it ran once: stages in order, with the values that reached each linear operation.

Everything after this file works on a :class:`Plan` and never looks at the module again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from xinc.canvas.network.linear_ops import Site
from xinc.canvas.network.output import Picture
from xinc.canvas.network.recording import Recording, Tail


@dataclass(frozen=True)
class Activation:
    """An elementwise function with the name by which fast kernels know it.

    Attributes:
        name: ``"identity"``, ``"relu"``, ``"gelu"``, ``"gelu_tanh"``, ``"silu"``, ``"tanh"``, ``"sigmoid"``, ``"sin"``,
            ``"leaky_relu"``, ... or ``"custom"`` for a function that only torch can evaluate.
        function: the function itself, tensor to tensor of the same shape.
        parameters: numbers that complete the name, e.g. ``(30.0,)`` for ``sin(30 x)``; an ``"affine"`` suffix such as
            ``tanh(x) / 2 + 1/2`` is a name of its own (``"tanh_unit"``).
    """

    name: str
    function: Callable[[Tensor], Tensor]
    parameters: tuple[float, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it to every value."""
        return self.function(x)


IDENTITY = Activation("identity", lambda x: x)


@dataclass(frozen=True)
class Stage:
    """One linear operation with what follows it up to the next one.

    Attributes:
        name: ``"block1"`` ... ``"head"`` for decoders, ``"layer1"`` ... for pixel-wise networks.
        module: qualified name of the operation's module in the traced network (``""`` where it has none).
        kind: what the operation is.
        input: values that reached it. Convolution: ``(C_in, h, w)``; linear: ``(N, C_in)``, N pixels in row order.
        weight: values it used. Convolution: ``(C_out, C_in, kh, kw)``; linear: ``(C_out, C_in)``.
        bias: ``(C_out,)`` or None.
        padding: zeros added on each side ``(y, x)``; these convolutions keep their size: ``2 * padding + 1 == kernel``.
        upscale: the pixel shuffle after the convolution ``(y, x)``; ``(1, 1)`` where there is none.
        activation: elementwise, after the shuffle.
    """

    name: str
    module: str
    kind: Literal["convolution", "linear"]
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    activation: Activation = IDENTITY
    padding: tuple[int, int] = (0, 0)
    upscale: tuple[int, int] = (1, 1)

    @property
    def inputs(self) -> int:
        """Number of input channels or features."""
        return int(self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """Number of output channels of the operation itself, before the shuffle."""
        return int(self.weight.shape[0])

    @property
    def neurons(self) -> int:
        """Number of neurons: kernels of a convolution, input features of a linear layer."""
        return self.inputs if self.kind == "linear" else self.inputs * self.outputs

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Input and output of every neuron, ``(K,)`` each; the output of an input feature is -1."""
        index = torch.arange(self.neurons)
        if self.kind == "linear":
            return index, torch.full_like(index, -1)
        return index // self.outputs, index % self.outputs

    @property
    def bias_or_zero(self) -> Tensor:
        """The bias, zeros where there is none. Shape ``(C_out,)``."""
        return self.weight.new_zeros(self.outputs) if self.bias is None else self.bias

    def preactivation(self) -> Tensor:
        """What enters the activation. Convolution: ``(C, rh*h, rw*w)`` after the shuffle; linear: ``(N, C_out)``."""
        if self.kind == "linear":
            return torch.nn.functional.linear(self.input, self.weight, self.bias)
        pre = torch.nn.functional.conv2d(self.input[None], self.weight, self.bias, padding=self.padding)[0]
        return shuffle(pre, self.upscale)


@dataclass(frozen=True, eq=False)
class Branch:
    """A layer that is not on the plain chain: a site, and everything that the network makes of it.

    Attributes:
        site: the linear operation.
        recording: of the whole network.
        picture: the output.
    """

    site: Site
    recording: Recording
    picture: Picture

    @property
    def name(self) -> str:
        """Name of the layer, the site's."""
        return self.site.name

    @property
    def module(self) -> str:
        """Qualified name of the module."""
        return self.site.module

    @property
    def kind(self) -> str:
        """``"convolution"``, ``"transposed"`` or ``"linear"``."""
        return self.site.kind

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.site.neurons

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Input and output of every neuron, ``(K,)`` each; the output of an input feature is -1."""
        return self.site.pairs()

    def tail(self, **substitutes: Callable[..., Any]) -> Tail:
        """The picture's tensor as a function of the site's output; see :meth:`Recording.tail`."""
        return self.recording.tail(self.site.output, self.picture.value, substitutes)


@dataclass(frozen=True)
class Plan:
    """A chain of stages that ends in the output, and the layers that are not on it.

    Attributes:
        stages: in the order of the forward pass; the last one makes the output.
        size: ``(H, W)`` of the output.
        output: ``(C, H, W)``, what the network returned.
        branches: layers outside the chain, in the order of the forward pass.
        order: names of all layers in the order of the forward pass; those of the stages where empty.
    """

    stages: tuple[Stage, ...]
    size: tuple[int, int]
    output: Tensor
    branches: tuple[Branch, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[Stage | Branch, ...]:
        """All layers in the order of the forward pass."""
        every: tuple[Stage | Branch, ...] = (*self.branches, *self.stages)
        named = {layer.name: layer for layer in every}
        return tuple(named[name] for name in self.order or tuple(stage.name for stage in self.stages))

    @property
    def pixelwise(self) -> bool:
        """Whether the network, or its plain end, is an MLP that sees one pixel at a time."""
        return all(layer.kind == "linear" for layer in self.stages or self.branches)


def shuffle(x: Tensor, upscale: tuple[int, int]) -> Tensor:
    """Pixel shuffle, rectangular too: ``(C*rh*rw, h, w)`` to ``(C, rh*h, rw*w)``."""
    rh, rw = upscale
    channels, height, width = x.shape
    x = x.reshape(channels // (rh * rw), rh, rw, height, width).permute(0, 3, 1, 4, 2)
    return x.reshape(channels // (rh * rw), height * rh, width * rw)
