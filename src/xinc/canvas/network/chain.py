"""From a recording to a plan: which operations are layers, and what lies between them.

Nothing here knows a model. What lies between two linear operations is read by *replaying* it: on indices, to see where
an index permutation sends each value (rule D2: any way of writing a shuffle is the same shuffle), and on probes, to see
which elementwise function it applies (D4). What cannot be read so is not guessed at: the chain then begins after it,
and the linear operations before it become layers that are replayed (:class:`~xinc.canvas.network.plan.Rest`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from xinc.canvas.network.activations import IDENTITY, Activation, recognise
from xinc.canvas.network.linear_ops import LinearOperation, find_linear_operations, margins, pair, shuffle
from xinc.canvas.network.output import Output, Picture, find_picture
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.network.stems import stems_of, weights_of
from xinc.canvas.recording.chunks import unchunked
from xinc.canvas.recording.operations import ELEMENTWISE, INDEXING, LINEAR, NOT_READ
from xinc.canvas.recording.recording import Operation, Recording, Value, apply, check_repeats, leaves
from xinc.errors import TraceError, XincWarning


@dataclass(frozen=True)
class Between:
    """What lies between two linear operations of a chain: an index permutation and an elementwise function."""

    upscale: tuple[int, int]
    activation: Activation


Links = list[tuple[LinearOperation, Between]]


def read_plan(recording: Recording, size: Sequence[int] | None = None, output: Output | None = None) -> Plan:
    """The longest chain of stages that ends in the output, and the linear operations that are not on it.

    Args:
        recording: of the network.
        size: (H, W), where a pixel-wise network returns pixels in a row and no grid of coordinates tells it.
        output: which part of the output is the picture, see :func:`~xinc.canvas.network.output.find_picture`.

    Raises:
        TraceError: The output is not an image, depends on no convolution or linear layer, or cannot be repeated.
    """
    recording = unchunked(recording.widened())
    picture = find_picture(recording, size, output)
    _check_followed(recording)
    linear_ops = find_linear_operations(recording, picture.value)
    if not any(layer.positions > 1 for layer in linear_ops) and picture.size != (1, 1):
        raise TraceError(_no_layers(recording, picture))
    chain = _chain(recording, linear_ops, picture)
    rest = [layer for layer in linear_ops if layer.positions > 1 and all(layer is not stage for stage, _ in chain)]
    whole = bool(chain) and (not rest or _after_encoder(recording, chain[0][0]))
    if whole:
        chain = chain[_stem(chain) :]
    if rest:
        _check_read(recording, rest)
        check_repeats(recording, [layer.result for layer in rest], picture.value)
    stages = _stages(chain, picture, canonical=whole)
    names = {id(layer): stage.name for (layer, _), stage in zip(chain, stages, strict=True)}
    names.update((id(layer), layer.name) for layer in rest)
    others = tuple(Rest(layer, recording, picture) for layer in rest)
    order = tuple(names[id(layer)] for layer in linear_ops if id(layer) in names)
    image = picture.images(recording[picture.value][None])[0]
    canvas = [layer for layer in linear_ops if id(layer) in names]
    found = stems_of(recording, linear_ops, canvas, picture, names.values())
    named = [replace(layer, name=names[id(layer)]) for layer in canvas]
    weights = weights_of(recording, [*named, *found], picture.value)
    kept = recording if rest else recording.lean([layer.result for layer in found], picture.value)
    stems = tuple(Rest(layer, kept, picture, stem=True) for layer in found)
    return Plan(tuple(stages), picture.size, image, others, order, stems, weights)


def _check_followed(recording: Recording) -> None:
    """Whether what layers make stays in torch, where it can be followed.

    Raises:
        TraceError: values of a layer became an array or a list.
    """
    if not recording.left:
        return
    made = [result for step in recording.operations if step.name in LINEAR for result in step.results]
    reached = recording.reached_from(made)
    for given, name, module in recording.left:
        value = given if isinstance(given, Value) else next(leaves(given, Value), None)
        if value is None or value.index not in reached or not recording[value].is_floating_point():
            continue
        where = f"{name!r} in module {module!r}" if module else repr(name)
        if name in ("numpy", "__array__", "tolist"):
            raise TraceError(
                f"values of a layer leave torch by {where} and cannot be followed; compute with torch alone"
            )
        if name in ("item", "__float__"):
            warnings.warn(
                f"a value of a layer leaves torch by {where}: what is made of it stays as it was, whatever neuron is "
                "looked at",
                XincWarning,
                stacklevel=4,
            )


def _no_layers(recording: Recording, picture: Picture) -> str:
    needed = recording.needed_for(picture.value)
    names = {o.name for o in recording.operations if any(result.index in needed for result in o.results)}
    others = sorted(names & NOT_READ)
    shape = tuple(recording[picture.value].shape)
    message = f"the picture (output of shape {shape}) depends on no convolution or linear layer with pixel extent"
    if others:
        return f"{message}; {', '.join(others)} cannot be traced"
    left = [(name, module) for value, name, module in recording.left if name != "__bool__"]
    where = f"; values left torch by {left[-1][0]!r} in module {left[-1][1]!r}" if left else ""
    return message + (where or "; there are no neurons to trace")


def _check_read(recording: Recording, linear_ops: list[LinearOperation]) -> None:
    """Whether each operation's terms and bias sum to its output."""
    for layer in linear_ops:
        if not recording[layer.result].isfinite().all():
            raise TraceError(
                f"operation {layer.node.where} makes values that are no numbers (NaN or infinite): its weights, or "
                "what reaches it, hold some"
            )
        if not recording.agree(layer.recomputed(), recording[layer.result]):
            raise TraceError(
                f"operation {layer.node.where} is not the linear operation that it looks like: its terms do not "
                "sum to its output"
            )


def _chain(recording: Recording, linear_ops: list[LinearOperation], picture: Picture) -> Links:
    """The longest chain of plain linear operations, each the only way from the one before it to the picture."""
    chain: Links = []
    end, last, on_chain = picture.value, None, 0  # the last counts operations on the way to the picture
    for layer in reversed(linear_ops):
        if last is not None and (layer.kind != last.kind or recording.producer(end) is None):
            break
        if not _plain(layer, picture):
            break
        path = recording.between([layer.result], end)
        on_chain += len(path) + (last is not None)
        if len(recording.between([layer.result], picture.value)) != on_chain + _bias_steps(chain):
            break
        between = _between(recording, layer, path, end, picture if last is None else None)
        if between is None or not _holds(recording, layer, between, end, picture if last is None else None):
            break
        chain.insert(0, (layer, between))
        end, last = layer.reads, layer
    return chain


def _bias_steps(chain: Links) -> int:
    """Additions of a bias that were taken into their operation."""
    return sum(layer.result not in layer.node.results for layer, _ in chain)


def _plain(layer: LinearOperation, picture: Picture) -> bool:
    """Whether the fast engine knows this operation: one input, stride 1, no dilation, no groups, size kept."""
    if layer.values.is_complex() or layer.weight.is_complex():
        return False
    if layer.kind == "linear":
        in_order = layer.contraction is not None and layer.contraction.in_order
        return in_order and layer.positions == picture.size[0] * picture.size[1]
    if layer.kind != "convolution" or len(layer.values) > 1:
        return False
    kernel = layer.weight.shape[2:]
    plain = pair(layer.call.get("stride", 1)) == pair(layer.call.get("dilation", 1)) == (1, 1) and layer.groups == 1
    kept = margins(layer.call, kernel) == [(k // 2, k // 2) for k in kernel]
    return plain and all(k % 2 == 1 for k in kernel) and kept


def _between(
    recording: Recording, layer: LinearOperation, path: Sequence[Operation], end: Value, picture: Picture | None
) -> Between | None:
    """What lies between a layer's output and ``end``; None where it is more than a permutation and a function."""
    if any(step.name not in ELEMENTWISE | INDEXING for step in path):
        return None
    tainted = {layer.result.index} | {result.index for step in path for result in step.results}
    if any(step.name in ELEMENTWISE - INDEXING and not _scalar_sides(recording, step, tainted) for step in path):
        return None
    upscale = _upscale(recording, layer, path, end, picture)
    if upscale is None:
        return None
    function = partial(_composed, recording, path, layer.result, end)
    elementwise = any(step.name in ELEMENTWISE - INDEXING for step in path)
    return Between(upscale, recognise(function) if elementwise else IDENTITY)


def _scalar_sides(recording: Recording, operation: Operation, tainted: set[int]) -> bool:
    """Whether all operands of an elementwise operation that do not come from the operation hold one number."""
    sides = [operand for operand in operation.operands if operand.index not in tainted]
    return all(recording[side].numel() == 1 for side in sides)


def _upscale(
    recording: Recording, layer: LinearOperation, path: Sequence[Operation], end: Value, picture: Picture | None
) -> tuple[int, int] | None:
    """The pixel shuffle between a layer and ``end``; None where the values take another order, or some are lost."""
    made, wanted = recording[layer.result], recording[end]
    steps = [step for step in path if step.name in INDEXING]
    if made.numel() != wanted.numel():
        return None
    if layer.kind == "linear":
        numbers = torch.arange(made.numel(), dtype=torch.int32).reshape(made.shape)
        sent = _follow(recording, layer.result, end, path, numbers)
        if sent is not None and picture is not None:
            numbers = picture.along(numbers.reshape(layer.positions, -1))
            sent, numbers = picture.images(sent[None])[0], numbers.reshape(*picture.size, -1).permute(2, 0, 1)
        return (1, 1) if sent is not None and torch.equal(sent.reshape(numbers.shape), numbers) else None
    shape = tuple(made.shape[-3:])
    moved = [step for step in steps if recording[step.results[0]].shape[-3:] != shape]
    if picture is None and len(moved) <= 1 and all(step.name == "pixel_shuffle" for step in steps):
        return (1, 1) if not moved else _factors(wanted.shape[-2:], shape)
    sent = _follow(
        recording, layer.result, end, path, torch.arange(made.numel(), dtype=torch.int32).reshape(made.shape)
    )
    if sent is None:
        return None
    image = sent.reshape(sent.shape[-3:]) if picture is None else picture.images(sent[None])[0]
    return _shuffle_of(image, shape)


def _follow(recording: Recording, start: Value, end: Value, path: Sequence[Operation], values: Tensor) -> Tensor | None:
    """The values at ``end`` when only the index operations of the path act; None where paths join in another order."""
    changed = {start.index: values}
    for step in path:
        if step.name in INDEXING:
            try:
                changed.update(recording.again(step, changed))
            except (RuntimeError, TypeError, IndexError):
                return None
            continue
        joined = [changed[operand.index] for operand in step.operands if operand.index in changed]
        if any(other is not joined[0] and not torch.equal(other, joined[0]) for other in joined[1:]):
            return None
        changed[step.results[0].index] = joined[0]
    return changed.get(end.index)


def _factors(fine: Sequence[int], made: tuple[int, ...]) -> tuple[int, int]:
    return int(fine[0]) // made[1], int(fine[1]) // made[2]


def _shuffle_of(sent: Tensor, made: tuple[int, ...]) -> tuple[int, int] | None:
    """The rectangular pixel shuffle that sends indices this way; None where it is another permutation."""
    channels, height, width = made
    if sent.ndim != 3 or sent.shape[1] % height or sent.shape[2] % width:
        return None
    upscale = _factors(sent.shape[1:], made)
    if sent.shape[0] * upscale[0] * upscale[1] != channels:
        return None
    expected = shuffle(torch.arange(sent.numel(), dtype=sent.dtype).reshape(made), upscale)
    return upscale if torch.equal(expected, sent) else None


def _composed(recording: Recording, path: Sequence[Operation], start: Value, end: Value, x: Tensor) -> Tensor:
    """The elementwise steps of a path, of one tensor of any shape."""
    changed = {start.index: x}
    for step in path:
        if step.name in INDEXING:
            inside = next(changed[operand.index] for operand in step.operands if operand.index in changed)
            changed.update((result.index, inside) for result in step.results)
        else:  # the other operands hold one number
            sides = {o.index: recording[o].to(x.device) for o in step.operands if o.index not in changed}
            changed.update(apply(step, partial(_value_in, sides | changed), {}))
    return changed[end.index]


def _value_in(values: dict[int, Tensor], value: Value) -> Tensor:
    return values[value.index]


def _holds(recording: Recording, layer: LinearOperation, between: Between, end: Value, picture: Picture | None) -> bool:
    """Whether the reading gives what was recorded, on the first, middle and last row: random operations do not."""
    made, wanted = recording[layer.result], recording[end]
    if layer.kind == "linear":
        rows = wanted.reshape(layer.positions, -1) if picture is None else picture.images(wanted[None])[0].flatten(1).T
        some = torch.linspace(0, layer.positions - 1, 64).long()
        own = made.reshape(layer.positions, -1)
        own = own if picture is None else picture.along(own)
        return recording.agree(between.activation(own[some]), rows[some])
    made = made.reshape(made.shape[-3:])
    image = picture.images(wanted[None])[0] if picture is not None else wanted.reshape(wanted.shape[-3:])
    rh = between.upscale[0]
    for y in {0, made.shape[1] // 2, made.shape[1] - 1}:
        row = between.activation(shuffle(made[:, y : y + 1], between.upscale))
        if not recording.agree(row, image[:, y * rh : (y + 1) * rh]):
            return False
    return True


def _after_encoder(recording: Recording, first: LinearOperation) -> bool:
    """Whether the chain starts from a much coarser grid than the network was fed: before it lies an encoder."""
    fed = [tuple(recording[value].shape) for value in recording.inputs]
    pixels = [shape[-2] * shape[-1] if len(shape) > 2 else shape[0] for shape in fed if len(shape) > 1]
    start = first.values.shape[-2] * first.values.shape[-1]
    return first.kind == "convolution" and max(pixels, default=0) >= 4 * start


def _stem(chain: Links) -> int:
    """How many leading layers are the stem: 1x1 convolutions of a single pixel, or that leave the grid as it is.

    NeRV turns one vector into a small grid, HNeRV widens a small grid; the paper analyses neither (section 3.2).
    """
    count = 0
    while count < len(chain) - 1:
        layer, between = chain[count]
        widens = layer.kind == "convolution" and tuple(layer.weight.shape[2:]) == (1, 1)
        if not widens or (between.upscale != (1, 1) and tuple(layer.values.shape[2:]) != (1, 1)):
            break
        count += 1
    return count


def _stages(chain: Links, picture: Picture, *, canonical: bool) -> list[LinearOperation]:
    """The chain's layers with what lies behind each; under the paper's names if ``canonical``."""
    stages = []
    for position, (layer, between) in enumerate(chain, start=1):
        pixelwise = layer.kind == "linear"
        kernel = (1, 1) if pixelwise else layer.weight.shape[2:]
        paper = f"layer{position}" if pixelwise else ("head" if position == len(chain) else f"block{position}")
        stages.append(
            replace(
                layer,
                name=paper if canonical else layer.name,
                values=(picture.along(layer.values) if pixelwise else layer.values).contiguous(),
                activation=between.activation,
                padding=(int(kernel[0]) // 2, int(kernel[1]) // 2),
                upscale=between.upscale,
            )
        )
    return stages
