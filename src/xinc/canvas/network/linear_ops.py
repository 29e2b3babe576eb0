"""A network's linear operations: which are layers of the canvas, and what each of their neurons adds.

A linear operation is a convolution (transposed or not; ``conv3d`` of one frame by a flat kernel is one) or a
contraction of features with a weight however it was written (``linear``, ``matmul``, ``bmm``, ``addmm``, ``einsum``, a
1x1 ``conv1d``). It belongs to the canvas if its output has more than one position; others are stems and modulators.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Inexact
from torch import Tensor

from xinc.canvas.network.activations import IDENTITY, Activation
from xinc.canvas.network.contractions import Contraction, contraction_of, is_of_distances
from xinc.canvas.recording.operations import ADDITIONS
from xinc.canvas.recording.recording import Operation, Recording, Value
from xinc.notation import IndexPerNeuron

_CONVOLUTION_ARGUMENTS = {
    "conv3d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose2d": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
}


def pair(value: Any) -> tuple[int, int]:
    """An option of a convolution for rows and for columns."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def margins(call: Mapping[str, Any], kernel: Sequence[int]) -> list[tuple[int, int]]:
    """Rows of zeros above and below of what a convolution reads, and columns left and right of it.

    Args:
        call: its arguments by name; those left out are torch's defaults.
        kernel: rows and columns of its weight.
    """
    padding = call.get("padding", 0)
    if padding == "same":  # of an even kernel, the last side has one more
        reaches = [d * (k - 1) for d, k in zip(pair(call.get("dilation", 1)), kernel, strict=True)]
        return [(reach // 2, reach - reach // 2) for reach in reaches]
    return [(n, n) for n in ((0, 0) if padding == "valid" else pair(padding))]


@dataclass(frozen=True, eq=False)
class LinearOperation:
    """A linear operation with the values that reached it.

    Attributes:
        name: unique in the recording; the qualified name of the module or parameter, with ``#2`` for a second use.
        module: qualified name of the module that owns the weight, or that was running.
        kind: ``"convolution"``, ``"transposed"`` (convolution) or ``"linear"``.
        node: the call itself.
        reads: what it read; ``result``: what it made, with a bias that the next operation adds.
        weight_value: the weight, before it was laid out.
        values: what reached it. Convolutions: ``(B, C_in, h, w)``; linear: ``(P, C_in)``, P positions in the output's
            order.
        weight: convolution ``(C_out, C_in / groups, kh, kw)``, transposed ``(C_in, C_out / groups, kh, kw)``, linear
            ``(C_out, C_in)``.
        bias: ``(C_out,)`` or None.
        call: the other arguments of a convolution (stride, padding, ...).
        contraction: where positions and features lie in the output of a linear layer.
        shape: of the output.
        activation: on the chain, the elementwise function behind it (after the shuffle).
        padding: on the chain, zeros added on each side ``(y, x)``; such convolutions keep their size.
        upscale: on the chain, the pixel shuffle behind a convolution ``(y, x)``; ``(1, 1)`` where there is none.
    """

    name: str
    module: str
    kind: Literal["convolution", "transposed", "linear"]
    node: Operation
    reads: Value
    weight_value: Value
    result: Value
    values: Tensor
    weight: Tensor
    bias: Tensor | None
    shape: tuple[int, ...]
    call: Mapping[str, Any] = field(default_factory=dict)
    contraction: Contraction | None = None
    activation: Activation = IDENTITY
    padding: tuple[int, int] = (0, 0)
    upscale: tuple[int, int] = (1, 1)

    @property
    def input(self) -> Tensor:
        """What a layer of the chain reads. Convolution: ``(C_in, h, w)``; linear: ``(N, C_in)``, N pixels in order."""
        return self.values if self.kind == "linear" else self.values[0]

    def preactivation(self) -> Tensor:
        """On the chain, what enters the activation: ``(C, rh*h, rw*w)`` after the shuffle; linear: ``(N, C_out)``."""
        if self.kind == "linear":
            return F.linear(self.values, self.weight, self.bias)
        return shuffle(F.conv2d(self.values, self.weight, self.bias, padding=self.padding)[0], self.upscale)

    @property
    def groups(self) -> int:
        """Groups of a convolution; 1 for a linear layer."""
        return int(self.call.get("groups", 1))

    @property
    def inputs(self) -> int:
        """Number of input channels or features."""
        return int(self.values.shape[1])

    @property
    def outputs(self) -> int:
        """Number of output channels or features."""
        return int(self.weight.shape[1]) * self.groups if self.kind == "transposed" else int(self.weight.shape[0])

    @property
    def neurons(self) -> int:
        """Kernels that exist (groups leave some out), or input features."""
        return self.inputs if self.kind == "linear" else self.inputs * (self.outputs // self.groups)

    @property
    def positions(self) -> int:
        """Places of the output that share the weight."""
        return math.prod(self.shape) // self.outputs

    @property
    def bias_or_zero(self) -> Inexact[Tensor, "output"]:
        """The bias, zeros where there is none. Shape ``(C_out,)``."""
        return self.weight.new_zeros(self.outputs) if self.bias is None else self.bias

    def pairs(self) -> tuple[IndexPerNeuron, IndexPerNeuron]:
        """Input and output of every neuron, ``(K,)`` each; the output of a feature is -1. Kernels run input first."""
        index = torch.arange(self.neurons)
        if self.kind == "linear":
            return index, torch.full_like(index, -1)
        own = self.outputs // self.groups
        inputs = index // own
        return inputs, inputs // (self.inputs // self.groups) * own + index % own

    def labels(self) -> dict[str, Any]:
        """Columns of a table with a row a neuron: layer, module, neuron, input, output."""
        inputs, outputs = (part.numpy() for part in self.pairs())
        known = {"layer": self.name, "module": self.module, "neuron": range(self.neurons)}
        return {**known, "input": inputs, "output": outputs}

    @property
    def kernels(self) -> Tensor:
        """The kernels of a convolution in the order of its neurons, ``(K, kh, kw)``."""
        return self._by_neuron(self.weight)

    def _by_neuron(self, weight: Tensor) -> Tensor:
        """``(..., *weight.shape)`` as ``(..., K, kh, kw)``."""
        size = weight.shape[-2:]
        if self.kind == "convolution":
            out, own = weight.shape[-4] // self.groups, weight.shape[-3]
            weight = weight.reshape(*weight.shape[:-4], self.groups, out, own, *size).transpose(-4, -3)
        return weight.reshape(*weight.shape[: weight.ndim - (5 if self.kind == "convolution" else 4)], -1, *size)

    def convolve(self, values: Tensor, weight: Tensor, groups: int) -> Tensor:
        """The operation's own convolution of other values ``(B, C, h, w)`` with another weight; no bias."""
        function = F.conv_transpose2d if self.kind == "transposed" else F.conv2d
        return function(values, weight, **{**self.call, "groups": groups})

    def recomputed(self) -> Tensor:
        """The output as this reading of the operation gives it, ``(*shape)``: the sum of all terms, and the bias."""
        if self.contraction is not None:
            return self.contraction.to_output(F.linear(self.values, self.weight, self.bias)[None])[0]
        output = self.convolve(self.values, self.weight, self.groups)
        return (output + self.bias_or_zero[:, None, None]).reshape(self.shape)

    def planes(self, neurons: Sequence[int] | Tensor) -> Tensor:
        """One number a position of each neuron: the kernel's response ``(n, B, h, w)``, or the feature ``(n, P)``."""
        index = torch.as_tensor(neurons, device=self.values.device)
        inputs = self.pairs()[0].to(index.device)[index]
        if self.kind == "linear":
            return self.values[:, inputs].T
        return self.convolve(self.values[:, inputs], self.kernels[index][:, None], len(index)).transpose(0, 1)

    def terms(self, neurons: Sequence[int] | Tensor) -> Tensor:
        """What each neuron adds to the output, bias left out: ``(n, *shape)``."""
        index = torch.as_tensor(neurons, device=self.values.device)
        planes = self.planes(index)
        if self.contraction is not None:
            return self.contraction.to_output(planes[:, :, None] * self.weight[:, index].T[:, None])
        outputs = self.pairs()[1].to(index.device)[index]
        full = planes.new_zeros(len(index), planes.shape[1], self.outputs, *planes.shape[2:])
        full[torch.arange(len(index), device=index.device), :, outputs] = planes
        return full.reshape(len(index), *self.shape)

    def rows(self, output: Tensor) -> Tensor:
        """An output ``(*shape)`` of a linear layer as ``(P, C_out)``, positions in the order of :attr:`values`."""
        assert self.contraction is not None
        return self.contraction.to_rows(output[None])[0]

    def summed(self) -> Tensor:
        """All neurons' terms, added up one by one, and the bias: the output again, ``(*shape)``."""
        if self.contraction is not None:
            total = self.bias_or_zero.expand(len(self.values), -1).clone()
            for i in range(self.inputs):
                total += self.values[:, i, None] * self.weight[:, i]
            return self.contraction.to_output(total[None])[0]
        outputs = self.pairs()[1].to(self.values.device).reshape(self.inputs, -1)
        rows = self.bias_or_zero.new_empty(self.shape).reshape(-1, self.outputs, *self.shape[-2:])
        rows[:] = self.bias_or_zero[:, None, None]
        for i in range(self.inputs):
            first = i * outputs.shape[1]
            rows[:, outputs[i]] += self.planes(range(first, first + outputs.shape[1])).transpose(0, 1)
        return rows.reshape(self.shape)

    def pull(self, cotangents: Tensor) -> Tensor:
        """Sum over the output of cotangent times term, for all neurons at once: ``(m, *shape)`` to ``(m, K)``, real.

        A kernel's share is its weights times their gradients, summed over its taps: no term is ever made. Complex
        cotangents are conjugated first, as torch's gradients ask for.
        """
        if self.contraction is not None:
            rows = self.contraction.to_rows(cotangents)
            return torch.einsum("mpi,pi->mi", rows.conj() @ self.weight, self.values).real
        planes = cotangents.reshape(len(cotangents), *self.values.shape[:1], self.outputs, *self.shape[-2:])
        pull = torch.func.vjp(lambda weight: self.convolve(self.values, weight, self.groups), self.weight)[1]
        gradients = torch.stack([pull(one)[0] for one in planes])
        return self._by_neuron(gradients.conj() * self.weight).sum((-2, -1)).real


def shuffle(x: Tensor, upscale: tuple[int, int]) -> Tensor:
    """Pixel shuffle, rectangular too: ``(C*rh*rw, h, w)`` to ``(C, rh*h, rw*w)``."""
    rh, rw = upscale
    channels, height, width = x.shape
    x = x.reshape(channels // (rh * rw), rh, rw, height, width).permute(0, 3, 1, 4, 2)
    return x.reshape(channels // (rh * rw), height * rh, width * rw)


def bind(operation: Operation) -> dict[str, Any]:
    """The arguments of a convolution call by name."""
    given: dict[str, Any] = {"bias": None}
    given.update(zip(_CONVOLUTION_ARGUMENTS[operation.name], operation.arguments, strict=False))
    given.update(operation.keywords)
    return given


def find_linear_operations(recording: Recording, end: Value) -> list[LinearOperation]:
    """The linear operations on which ``end`` depends, in the order in which they ran, with unique names."""
    makers: set[int] = set()
    while True:
        found, more = _pass(recording, end, makers)
        if not more - makers:
            return _uniquely_named(_without_weights(recording, found, end))
        makers |= more


def _pass(recording: Recording, end: Value, makers: set[int]) -> tuple[list[LinearOperation], set[int]]:
    """One reading of all operations: those that are linear, and those found to make the weight of another.

    Args:
        recording: of the network.
        end: the picture's tensor.
        makers: indices of values that are known to be weights which the network computes from its parameters.
    """
    needed = recording.needed_for(end)
    trained = {index for index, name in recording.names.items() if name in recording.parameters}
    fed = {value.index for value in recording.inputs}
    canvas: set[int] = set()
    found: list[LinearOperation] = []
    more: set[int] = set()
    for operation in recording.operations:
        indices = {operand.index for operand in operation.operands}
        results = {result.index for result in operation.results}
        if results & needed and not results & makers:
            layer = _read(recording, operation, trained - canvas, fed)
            if layer is None and indices & fed and indices & canvas - fed:
                # A product with what looked like a layer's output but depends on parameters alone: a computed weight.
                pure = _read(recording, operation, trained - fed, fed)
                if pure is not None and pure.reads.index in fed and pure.weight_value.index in canvas - fed:
                    more |= recording.needed_for(pure.weight_value) & canvas
            if layer is not None:
                found.append(layer)
                canvas |= results if layer.positions > 1 else set()
        if indices & canvas:
            canvas |= results
        if indices & trained:
            trained |= results
        if indices & fed:
            fed |= results
    return found, more


def _without_weights(recording: Recording, linear_ops: list[LinearOperation], end: Value) -> list[LinearOperation]:
    """Those whose output reaches ``end`` other than as a weight (a product of factors is no layer), without centres."""
    weights = {id(layer.node): layer.weight_value for layer in linear_ops}
    needed = {end.index}
    for operation in reversed(recording.operations):
        if any(result.index in needed for result in operation.results):
            needed.update(o.index for o in operation.operands if o != weights.get(id(operation)))
    kept = (layer for layer in linear_ops if layer.result.index in needed)
    return [layer for layer in kept if not is_of_distances(recording, layer.reads, layer.weight_value, layer.result)]


def _read(recording: Recording, operation: Operation, weights: set[int], fed: set[int]) -> LinearOperation | None:
    if operation.name in _CONVOLUTION_ARGUMENTS:
        return _convolution(recording, operation)
    read = contraction_of(recording, operation, weights, fed)
    return None if read is None else _linear(recording, operation, *read)


def _convolution(recording: Recording, operation: Operation) -> LinearOperation | None:
    given = bind(operation)
    source, weight, bias = given.pop("input"), given.pop("weight"), given.pop("bias")
    values, output, kernel = recording[source], operation.results[0], recording[weight]
    if operation.name == "conv3d":
        if values.shape[-3] != 1 or kernel.shape[2] != 1 or recording[output].shape[-3] != 1:
            return None  # it mixes frames
        values, kernel = values.squeeze(-3), kernel[:, :, 0]
        given = {k: v[1:] if isinstance(v, tuple | list) else v for k, v in given.items()}
    name, module = _names(recording, operation, weight)
    return LinearOperation(
        name=name,
        module=module,
        kind="transposed" if operation.name == "conv_transpose2d" else "convolution",
        node=operation,
        reads=source,
        weight_value=weight,
        result=output,
        values=values.reshape(-1, *values.shape[-3:]),
        weight=kernel,
        bias=None if bias is None else recording[bias],
        shape=tuple(recording[output].shape),
        call=given,
    )


def _linear(
    recording: Recording,
    operation: Operation,
    contraction: Contraction,
    source: Value,
    weight: Value,
    bias: Value | None,
) -> LinearOperation:
    name, module = _names(recording, operation, weight)
    output = operation.results[0]
    layer = LinearOperation(
        name=name,
        module=module,
        kind="linear",
        node=operation,
        reads=source,
        weight_value=weight,
        result=output,
        values=contraction.input_rows(recording[source]),
        weight=contraction.weight_rows(recording[weight]),
        bias=None if bias is None else recording[bias].reshape(-1),
        shape=tuple(recording[output].shape),
        contraction=contraction,
    )
    return layer if operation.name == "linear" or bias is not None else _with_bias(recording, layer)


def _with_bias(recording: Recording, layer: LinearOperation) -> LinearOperation:
    """The operation with the bias that the next operation adds to a bare product, if it does."""
    users = [o for o in recording.operations if layer.result in o.operands]
    if len(users) != 1 or users[0].name not in ADDITIONS or layer.contraction is None:
        return layer
    others = [operand for operand in users[0].operands if operand != layer.result]
    if len(others) != 1 or recording[others[0]].numel() != layer.outputs or users[0].keywords:
        return layer
    rows = layer.contraction.to_rows(recording[others[0]].broadcast_to(layer.shape)[None])[0]
    if tuple(recording[users[0].results[0]].shape) != layer.shape or not torch.equal(rows, rows[:1].expand_as(rows)):
        return layer
    return replace(layer, bias=rows[0], result=users[0].results[0])


def _names(recording: Recording, operation: Operation, weight: Value) -> tuple[str, str]:
    """Name and module of an operation: its weight's where one parameter makes it, else those of the running module."""
    made_of = {recording.names[index]: index for index in recording.needed_for(weight) if index in recording.names}
    own = [name for name in made_of if name in recording.parameters]
    if len(own) > 1:  # a modulated weight
        shape = sorted(recording[weight].shape)
        own = [name for name in own if sorted(recording.tensors[made_of[name]].shape) == shape]
    if len(own) != 1:
        return operation.module or operation.name, operation.module
    owner, _, leaf = own[0].split(".parametrizations.", maxsplit=1)[0].rpartition(".")
    if ".parametrizations." in own[0]:
        owner = own[0].split(".parametrizations.", maxsplit=1)[0]
    elif not leaf.startswith("weight") or owner not in recording.modules:
        owner = own[0]
    return (owner, owner) if owner else (own[0], own[0])


def _uniquely_named(linear_ops: list[LinearOperation]) -> list[LinearOperation]:
    """The linear operations with ``#2`` and so on behind a name that was used before."""
    seen: Counter[str] = Counter()
    named = []
    for layer in linear_ops:
        seen[layer.name] += 1
        named.append(layer if seen[layer.name] == 1 else replace(layer, name=f"{layer.name}#{seen[layer.name]}"))
    return named
