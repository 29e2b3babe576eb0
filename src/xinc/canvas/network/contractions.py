"""Contractions of features with a weight, however they were written, in the letters of ``einsum``."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xinc.canvas.recording.operations import ADDITIONS, ARITHMETIC, SUBTRACTIONS, UNCHANGED
from xinc.canvas.recording.recording import Operation, Recording, Value

LARGEST = 1 << 26
"""Numbers of a weight as a matrix (256 MB); a stack of thousands of small ones, one a tile, is not read as a layer."""


@dataclass(frozen=True)
class Contraction:
    """Axes of ``out = sum over i of input * weight``, one letter an axis.

    Letters of positions are in input and output, those of inputs in input and weight, those of outputs in weight and
    output. Letters of groups are in all three (a stack of weights, each for features of its own): features and outputs
    are then counted group by group, and the weight as a matrix is zero but for a block a group.
    """

    input: str
    weight: str
    output: str
    sizes: tuple[tuple[str, int], ...]

    @property
    def _groups(self) -> str:
        return "".join(letter for letter in self.output if letter in self.input and letter in self.weight)

    @property
    def _positions(self) -> str:
        return "".join(letter for letter in self.output if letter in self.input and letter not in self.weight)

    @property
    def _inputs(self) -> str:
        return self._groups + "".join(letter for letter in self.input if letter not in self.output)

    @property
    def _outputs(self) -> str:
        return self._groups + "".join(letter for letter in self.output if letter not in self.input)

    @property
    def values(self) -> int:
        """Numbers of the weight as a matrix."""
        return self._count(self._outputs) * self._count(self._inputs)

    @property
    def in_order(self) -> bool:
        """Whether the output's features are its last axes."""
        return self.output == self._positions + self._outputs

    def input_rows(self, values: Tensor) -> Tensor:
        """The input as ``(P, C_in)``."""
        return _matrix(values, self.input, self._positions, self._inputs)

    def rows_of_inputs(self, values: Tensor) -> Tensor:
        """Inputs ``(n, *shape)`` as ``(n, P, C_in)``."""
        axes = [1 + self.input.index(letter) for letter in self._positions + self._inputs]
        return values.permute(0, *axes).reshape(len(values), self._count(self._positions), -1)

    def weight_rows(self, weight: Tensor) -> Tensor:
        """The weight as ``(C_out, C_in)``."""
        spread = weight.reshape([self._size(letter) for letter in self.weight])
        groups = self._groups
        if not groups:
            return _matrix(spread, self.weight, self._outputs, self._inputs)
        outputs, inputs = self._outputs[len(groups) :], self._inputs[len(groups) :]
        ordered = spread.permute(*(self.weight.index(letter) for letter in groups + outputs + inputs))
        blocks = ordered.reshape(self._count(groups), self._count(outputs), self._count(inputs))
        matrix: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]  # torch gives it no types
        return matrix

    def to_rows(self, output: Tensor) -> Tensor:
        """Outputs ``(n, *shape)`` as ``(n, P, C_out)``."""
        axes = [1 + self.output.index(letter) for letter in self._positions + self._outputs]
        rows = output.permute(0, *axes)
        return rows.reshape(len(output), self._count(self._positions), self._count(self._outputs))

    def to_output(self, rows: Tensor) -> Tensor:
        """Rows ``(n, P, C_out)`` as outputs ``(n, *shape)``."""
        letters = self._positions + self._outputs
        spread = rows.reshape(len(rows), *(self._size(letter) for letter in letters))
        return spread.permute(0, *(1 + letters.index(letter) for letter in self.output))

    def _size(self, letter: str) -> int:
        return dict(self.sizes)[letter]

    def _count(self, letters: str) -> int:
        return math.prod(self._size(letter) for letter in letters)


def _matrix(values: Tensor, axes: str, rows: str, columns: str) -> Tensor:
    ordered = values.permute(*(axes.index(letter) for letter in rows + columns))
    return ordered.reshape(math.prod(ordered.shape[: len(rows)]), -1)


def contraction_of(
    recording: Recording, operation: Operation, weights: set[int], fed: set[int]
) -> tuple[Contraction, Value, Value, Value | None] | None:
    """Read an operation as a contraction.

    Args:
        recording: of the network.
        operation: any.
        weights: indices of the values that may be weights (for ``linear`` and ``conv1d`` it is their second argument).
        fed: indices of the values that depend on the network's input; a weight that does not is preferred.

    Returns:
        The contraction, its input, weight and bias; None where the operation is something else.
    """
    values = list(operation.operands)
    if operation.name in ("linear", "conv1d"):
        return _layer(recording, operation)
    if operation.name in ("matmul", "__matmul__", "__rmatmul__", "mm", "bmm") and len(values) == 2:
        left, right = reversed(values) if operation.name == "__rmatmul__" else values
        return _product(recording, operation, _sides(left, right, weights, fed), None)
    if operation.name in ("addmm", "baddbmm") and len(values) == 3 and not operation.keywords:
        return _product(recording, operation, _sides(values[1], values[2], weights, fed), values[0])
    if operation.name == "einsum" and len(values) == 2 and isinstance(operation.arguments[0], str):
        return _einsum(recording, operation, _sides(values[0], values[1], weights, fed))
    return None


_Read = tuple[Contraction, Value, Value, Value | None]


def _layer(recording: Recording, operation: Operation) -> _Read | None:
    given = dict(zip(("input", "weight", "bias"), operation.arguments, strict=False)) | dict(operation.keywords)
    source, weight, bias = given["input"], given["weight"], given.get("bias")
    positions = string.ascii_uppercase[: recording[source].ndim - 1]
    if operation.name == "linear":
        return _made(recording, operation, positions + "i", "oi", positions + "o", source, weight, bias)
    kernel, shapes = recording[weight].shape, (recording[source].shape, recording[operation.results[0]].shape)
    rest = {k: v for k, v in given.items() if k not in ("input", "weight", "bias")}
    plain = len(operation.arguments) <= 3 or all(item in (0, 1, (0,), (1,)) for item in operation.arguments[3:])
    if kernel[-1] != 1 or not plain or not all(item in (0, 1, (0,), (1,)) for item in rest.values()):
        return None
    if kernel[1] != shapes[0][-2] or shapes[0][-1] != shapes[1][-1]:
        return None
    batch, last = positions[:-1], positions[-1]
    return _made(recording, operation, f"{batch}i{last}", "oi", f"{batch}o{last}", source, weight, bias)


def _sides(left: Value, right: Value, weights: set[int], fed: set[int]) -> list[tuple[Value, Value, bool]]:
    """(input, weight, whether the weight comes first), the likelier reading first."""
    both = [(left, right, False), (right, left, True)]
    possible = [side for side in both if side[1].index in weights and left != right]
    return sorted(possible, key=lambda side: side[1].index in fed)


def _product(
    recording: Recording, operation: Operation, sides: list[tuple[Value, Value, bool]], bias: Value | None
) -> _Read | None:
    """A matrix product with a weight on its right or on its left."""
    for source, weight, turned in sides:
        shape, dimensions = recording[weight].shape, recording[source].ndim
        if dimensions < 2 or len(shape) < 2:
            continue
        stacked = [n for n in shape[:-2] if n > 1]
        if bias is not None and recording[bias].numel() != math.prod(stacked) * shape[-2 if turned else -1]:
            continue
        own, other, batch = _stacked(recording[source].shape, shape)
        axes = (f"{own}iN", f"{other}oi", f"{batch}oN") if turned else (f"{own}Ni", f"{other}io", f"{batch}No")
        made = _made(recording, operation, *axes, source, weight, bias)
        if made is not None:
            return made
    return None


def _stacked(source_shape: Sequence[int], weight_shape: Sequence[int]) -> tuple[str, str, str]:
    """Letters of the axes before the matrices: of the input, of the weight without those of size 1, of the output.

    Axes are matched from the last. Where the input has size 1 and the weight more, all groups share that input: the
    axis is an input's then, its letter small.
    """
    count = max(len(source_shape), len(weight_shape)) - 2
    batch = string.ascii_uppercase[:count]
    lettered = zip(batch[count + 2 - len(weight_shape) :], weight_shape, strict=False)
    other = "".join(letter for letter, size in lettered if size > 1)
    own = ""
    for letter, size in zip(batch[count + 2 - len(source_shape) :], source_shape, strict=False):
        own += letter if size > 1 or letter not in other else letter.lower()
    return own, other + "".join(letter for letter in own if letter.islower()), batch


def _einsum(recording: Recording, operation: Operation, sides: list[tuple[Value, Value, bool]]) -> _Read | None:
    equation = operation.arguments[0].replace(" ", "")
    operands, arrow, output = equation.partition("->")
    if not arrow or "." in equation:
        return None
    for source, weight, turned in sides:
        own, other = reversed(operands.split(",")) if turned else operands.split(",")
        contracted = set(own) & set(other) - set(output)
        repeated = any(len(set(axes)) < len(axes) for axes in (own, other, output))
        if repeated or not contracted or (set(own) | set(other)) - contracted != set(output):
            continue
        made = _made(recording, operation, own, other, output, source, weight, None)
        if made is not None:
            return made
    return None


def _made(
    recording: Recording,
    operation: Operation,
    own: str,
    other: str,
    output: str,
    source: Value,
    weight: Value,
    bias: Value | None,
) -> _Read | None:
    """The contraction, if all axes have the sizes that its letters ask for."""
    sizes = dict(zip(own, recording[source].shape, strict=True))
    shape = tuple(recording[operation.results[0]].shape)
    if len(shape) != len(output):
        return None
    sizes.update(zip(output, shape, strict=True))
    if math.prod(sizes.get(letter, 0) for letter in other) != recording[weight].numel():
        return None
    contraction = Contraction(own, other, output, tuple(sizes.items()))
    return (contraction, source, weight, bias) if contraction.values <= LARGEST else None


def is_of_distances(recording: Recording, reads: Value, weight: Value, result: Value) -> bool:
    """Whether a product is the middle of ``|x|^2 - 2 x.c + |c|^2``: its weight are centres, and no features.

    Told by what is added to it: numbers made of the weight's own parameter, and not of what is read.
    """
    own = {index for index in recording.needed_for(weight) if recording.names.get(index) in recording.parameters}
    if sum(bool(own & {operand.index for operand in step.operands}) for step in recording.operations) < 2:
        return False
    scaled = {result.index}  # the product, and what arithmetic makes of it
    for step in recording.operations:
        if step.name not in ARITHMETIC | UNCHANGED or not any(operand.index in scaled for operand in step.operands):
            continue
        scaled.update(value.index for value in step.results)
        others = [operand for operand in step.operands if operand.index not in scaled]
        if step.name in ADDITIONS | SUBTRACTIONS:
            made_of = [recording.needed_for(other) for other in others]
            if any(own & sources and reads.index not in sources for sources in made_of):
                return True
    return False
