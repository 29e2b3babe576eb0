"""The paper's method for networks that are no plain chain: one rule an operation.

A neuron's own plane starts at its layer (rule D1) and moves through every operation up to the picture: what puts values
elsewhere scatters it (D2), a norm right after the layer scales it (D3), activations act on it (D4, D6), later linear
operations become uniform means over their support (D5), branches add up and gates keep their recorded gain (D7). An
operation without a rule is never skipped: the method is refused, with the names of the operation and its module.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Rest
from xinc.canvas.network.receptive_field import Window, probe_field
from xinc.canvas.paper.norms import frozen
from xinc.canvas.paper.walk import Moved, Rule, State, Walk, combined
from xinc.canvas.recording import operations as vocabulary
from xinc.canvas.recording.recording import Operation
from xinc.canvas.reductions.stream import DenseStream
from xinc.errors import TraceError


def rule_stream(rest: Rest, *, official: bool) -> DenseStream:
    """Maps of a layer off the plain chain by the paper's method.

    A feature of a layer that sees every pixel by itself is ``z_i(p) sum_j W_ji``, as in any MLP (section 3.1); every
    other neuron's plane is moved to the picture by the rules.

    Args:
        rest: the layer, and what follows it.
        official: as the published code does it: no output activation; features rectified, with a share of the bias.

    Raises:
        TraceError: An operation on the way has no rule.
    """
    if rest.operation.node.name == "conv3d":
        name = "official" if official else "paper"
        raise TraceError(f"method {name!r} has no rule for conv3d, which {rest.operation.name} is; use method='exact'")
    walk = Walk(rest, RULES, official)
    pixelwise = rest.operation.kind == "linear" and _sees_single_pixels(rest)
    if not pixelwise:
        walk([0])  # refuses before anything is computed

    def compute(neurons: Sequence[int], window: Window) -> Tensor:
        maps = walk.features(neurons) if pixelwise else walk(neurons)
        return maps[:, window.y0 : window.y1, window.x0 : window.x1].float()

    height, width = rest.picture.size
    return DenseStream(compute, rest.operation.neurons, (height, width), cost=4 * rest.tail().held / (height * width))


def _sees_single_pixels(rest: Rest) -> bool:
    """Whether every place of the layer makes one pixel of the picture."""
    reach = probe_field(rest)
    return reach is not None and reach.grid.size == rest.picture.size and reach.y.window == reach.x.window == 1


def linear(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D5: a later linear operation is the uniform mean over its support of the one plane that it reads."""
    layer, result = walk.linear_ops[id(operation)], operation.results[0]
    state = states.get(layer.reads.index)
    if state is None:  # the neuron reaches its weights, or its bias
        return None
    n = len(state.planes)
    if layer.contraction is not None:
        rows = layer.contraction.rows_of_inputs
        plane, _ = combined(rows(state.planes), rows(state.labels), 2)
        planes = layer.contraction.to_output(plane[:, :, None].expand(-1, -1, layer.outputs))
        return {result.index: State(planes, torch.ones_like(planes), result.index, fresh=False)}
    grouped = (n * len(layer.values) * layer.groups, -1, *layer.values.shape[-2:])
    plane, own = combined(state.planes.reshape(grouped), state.labels.reshape(grouped), 1)
    moved = _mean_over_support(layer, plane[:, None])
    labels = own.any(1)[:, None, None, None].to(moved.dtype)
    shape, full = (-1, layer.outputs // layer.groups, *moved.shape[-2:]), (n, *layer.shape)
    moved, labels = moved.expand(shape).reshape(full), labels.expand(shape).reshape(full)
    return {result.index: State(moved, labels, result.index, fresh=False)}


def _mean_over_support(layer: LinearOperation, planes: Tensor) -> Tensor:
    """Planes ``(m, 1, h, w)`` under the operation's kernel with uniform weights that keep a constant as it is."""
    ones = planes.new_ones(1, 1, *layer.weight.shape[-2:])
    if layer.kind == "transposed":
        return layer.convolve(planes, ones, 1) / layer.convolve(torch.ones_like(planes[:1]), ones, 1).clamp_min(1)
    return layer.convolve(planes, ones / ones.numel(), 1)


def indexing(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D2: what puts values elsewhere, or copies them, does so with planes and labels."""
    index, state = next(iter(states.items()))
    if operation.operands[0].index != index or len(states) > 1:
        return None
    planes, labels = (walk.native(operation, {index: tensor}) for tensor in (state.planes, state.labels))
    return {made: replace(state, planes=planes[made], labels=labels[made], origin=made) for made in planes}


def unchanged(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """Copies, conversions, dropout in eval mode."""
    return {result.index: next(iter(states.values())) for result in operation.results}


def elementwise(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D4, D6: the network's own function, of one plane and numbers."""
    recording, state = walk.rest.recording, next(iter(states.values()))
    others = [o for o in operation.operands if o.index not in states and recording[o].numel() > 1]
    if len({s.origin for s in states.values()}) > 1 or (others and operation.name != "prelu"):
        return None
    if not walk.activates(operation):
        return {operation.results[0].index: state}
    planes = walk.native(operation, {index: s.planes for index, s in states.items()})
    return {index: replace(state, planes=plane) for index, plane in planes.items()}


def addition(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D7: the sum over paths. A number belongs to the activation; a shift right after the layer is shared out (D3)."""
    recording, result = walk.rest.recording, operation.results[0]
    others = [operand for operand in operation.operands if operand.index not in states]
    if operation.keywords.get("alpha", 1) != 1:
        return None
    if not others and len(operation.operands) > 1:
        return _joined(walk, operation, states)
    if all(recording[other].numel() == 1 for other in others):
        return elementwise(walk, operation, states)
    ((index, state),) = states.items()
    zero = [other.index for other in others]
    planes = walk.native(operation, {index: state.planes}, zero)[result.index]
    labels = walk.native(operation, {index: state.labels}, zero)[result.index].abs()
    if state.fresh and all(_is_vector(recording[other]) for other in others):
        layer = walk.rest.operation
        shift = walk.native(operation, {index: torch.zeros_like(state.planes[:1])})[result.index]
        planes = planes + shift * (labels > 0) / (layer.inputs // layer.groups)
    return {result.index: replace(state, planes=planes, labels=labels, origin=result.index)}


def _is_vector(tensor: Tensor) -> bool:
    """Whether a tensor has no pixel extent: one number a channel."""
    return sum(size > 1 for size in tensor.shape) <= 1


def _joined(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """Two paths meet: where both are own. A path in one channel meets one in all channels in that channel."""
    result = operation.results[0]
    planes = walk.native(operation, {index: state.planes for index, state in states.items()})[result.index]
    first, *rest = (state.labels.expand_as(planes) for state in states.values())
    labels = first
    for other in rest:
        if torch.equal(labels, other):
            continue
        both = (labels > 0) & (other > 0)
        here, there = (_per_neuron((part > 0).flatten(1).any(1), part) for part in (labels, other))
        if not (_survives(labels * there, both) and _survives(other * here, both)):
            return None
        paired = torch.where(both, labels * (other.amax() + 1) + other, 0)
        labels = torch.where(here & there, paired, labels + other)
    fresh = all(state.fresh for state in states.values())
    origins = {state.origin for state in states.values()}
    return {result.index: State(planes, labels, origins.pop() if len(origins) == 1 else result.index, fresh)}


def _per_neuron(flags: Tensor, like: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (like.ndim - 1))


def _survives(labels: Tensor, kept: Tensor) -> bool:
    """Whether every label that a neuron has is still there among the kept entries."""
    every = range(1, int(labels.amax()) + 1)
    own = (labels.flatten(1) == label for label in every)
    return all(torch.equal(mask.any(1), (mask & kept.flatten(1)).any(1)) for mask in own)


def product(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D7: a number belongs to the activation; a gate or side branch is its recorded gain; else the sum over paths."""
    recording, result = walk.rest.recording, operation.results[0]
    gates = [index for index in states if len(states) > 1 and _is_vector(recording.tensors[index])]
    own = {index: state for index, state in states.items() if index not in gates}
    others = [operand for operand in operation.operands if operand.index not in own]
    if len({state.origin for state in own.values()}) == 1 and all(recording[other].numel() == 1 for other in others):
        return elementwise(walk, operation, own)
    moved = []
    for index, state in own.items():
        planes = walk.native(operation, {index: state.planes})[result.index]
        moved.append(replace(state, planes=planes, labels=state.labels.expand_as(planes), origin=result.index))
    if len(moved) == 1:
        return {result.index: replace(moved[0], origin=next(iter(own.values())).origin)}
    if not moved or not torch.equal(moved[0].labels, moved[1].labels):
        return None
    return {result.index: replace(moved[0], planes=moved[0].planes + moved[1].planes)}


def quotient(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """As a product, if the neuron reaches the numerator only."""
    numerator = operation.operands[-1 if operation.name in ("__rtruediv__", "__rdiv__") else 0]
    denominators = [operand for operand in operation.operands if operand != numerator and operand.index in states]
    if len(operation.operands) == 1 or not denominators:
        return product(walk, operation, states)
    return elementwise(walk, operation, states)


def norm(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D3: right after the layer the recorded scale, and a share of the shift; later the identity, as of D5."""
    state, result = next(iter(states.values())), operation.results[0]
    if state.fresh and walk.rest.operation.contraction is None:
        layer = walk.rest.operation
        scale, shift = frozen(walk.rest.recording, operation)
        share = shift / (layer.inputs // layer.groups)
        state = replace(state, planes=(state.planes * scale + share) * (state.labels > 0))
    return {result.index: replace(state, origin=result.index)}


def _whole_channels(state: State, made: Tensor) -> Tensor:
    """Labels of images ``(n, ..., C, h, w)`` for a result of other height and width."""
    channels = state.labels.amax((-2, -1), keepdim=True)
    return channels.expand(*made.shape)


def resampling(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D5: any up-sampling is the nearest; the means of pooling are as they are."""
    ((index, state),) = states.items()
    result = operation.results[0]
    if walk.rest.recording[result].ndim != 4:
        return None
    if operation.name in vocabulary.POOLING:
        planes = walk.native(operation, {index: state.planes})[result.index]
    else:
        size = walk.rest.recording[result].shape[-2:]
        planes = F.interpolate(state.planes.flatten(0, -4), size=tuple(size)).reshape(*state.planes.shape[:-2], *size)
    return {result.index: replace(state, planes=planes, labels=_whole_channels(state, planes), origin=result.index)}


def sampling(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D7: the recorded sampling of the maps; a neuron that moves the grid alone leaves it as it was."""
    index, result = operation.operands[0].index, operation.results[0]
    if index not in states:
        return {}
    planes = walk.native(operation, {index: states[index].planes})[result.index]
    labels = _whole_channels(states[index], planes)
    return {result.index: replace(states[index], planes=planes, labels=labels, origin=result.index)}


def mixing(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D7: attention with its recorded weights, over values that may be on either side of the product."""
    result, attends = operation.results[0], operation.name == "scaled_dot_product_attention"
    if attends:
        values = operation.keywords.get("value") or operation.arguments[2]
        if values.index not in states:
            return {}
        index = values.index
    elif len(operation.operands) == 2 and len(states) == 1 and operation.name != "einsum":
        index = next(iter(states))
    else:
        return None
    planes = walk.native(operation, {index: states[index].planes})[result.index]
    left = operation.operands[0].index == index and not attends and operation.name != "__rmatmul__"
    labels = states[index].labels.amax(-1 if left else -2, keepdim=True).expand_as(planes)
    return {result.index: replace(states[index], planes=planes, labels=labels, origin=result.index)}


def joining(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D7: concatenation does nothing to a plane; planes of several paths are summed by whatever reads them."""
    result, labels, most = operation.results[0], {}, 0.0
    for index, state in states.items():
        labels[index] = torch.where(state.labels > 0, state.labels + most, 0)
        most = float(labels[index].amax())
    zero = [operand.index for operand in operation.operands if operand.index not in states]
    planes = walk.native(operation, {index: state.planes for index, state in states.items()}, zero)[result.index]
    own = walk.native(operation, labels, zero)[result.index]
    fresh = all(state.fresh for state in states.values())
    return {result.index: State(planes, own, result.index, fresh)}


def writing(walk: Walk, operation: Operation, states: dict[int, State]) -> Moved:
    """D2: values that are written into others; what was there before holds nothing of the neuron."""
    result = operation.results[0]
    whole = walk.rest.recording[operation.operands[0]].is_floating_point()
    zero = [o.index for o in operation.operands if o.index not in states and walk.rest.recording[o].is_floating_point()]
    if not whole:
        return None
    planes = walk.native(operation, {index: state.planes for index, state in states.items()}, zero)[result.index]
    labels = walk.native(operation, {index: state.labels for index, state in states.items()}, zero)[result.index]
    fresh = all(state.fresh for state in states.values())
    return {result.index: State(planes, labels, result.index, fresh)}


_TABLE: tuple[tuple[Collection[str], Rule], ...] = (
    (("linear operation",), linear),
    (vocabulary.INDEXING | vocabulary.COPYING, indexing),
    (vocabulary.UNCHANGED, unchanged),
    (vocabulary.FUNCTIONS | vocabulary.COMPARISONS | vocabulary.CHOICES, elementwise),
    (vocabulary.ADDITIONS | vocabulary.SUBTRACTIONS, addition),
    (vocabulary.PRODUCTS, product),
    (vocabulary.QUOTIENTS, quotient),
    (vocabulary.NORMS, norm),
    (vocabulary.RESAMPLING | vocabulary.POOLING, resampling),
    (vocabulary.KEEPING, sampling),
    (vocabulary.MIXING | {"scaled_dot_product_attention"}, mixing),
    (vocabulary.JOINING, joining),
    (vocabulary.WRITING, writing),
)
RULES: dict[str, Rule] = {name: rule for names, rule in _TABLE for name in names}
"""Rule by the name of the operation."""
