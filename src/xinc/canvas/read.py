"""From a recording to a plan: which operations are neurons' sites, and what lies between them.

Nothing here knows a model. What lies between two sites is read by *replaying* it: on indices, to see where an index
permutation sends each value (rule D2: any way of writing a shuffle is the same shuffle), and on probes, to see which
elementwise function it applies (D4). What cannot be read so is not guessed at: the chain then begins after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xinc.canvas.activations import recognise
from xinc.canvas.plan import IDENTITY, Activation, Plan, Stage, shuffle
from xinc.canvas.record import Operation, Recording, Value, apply, values_in
from xinc.errors import TraceError

CONVOLUTIONS = frozenset({"conv2d"})
LINEARS = frozenset({"linear"})

_ELEMENTWISE = frozenset(
    "relu relu6 relu_ gelu silu silu_ mish tanh tanh_ sigmoid sigmoid_ softplus elu celu selu leaky_relu hardtanh hardswish "
    "hardsigmoid sin sin_ cos exp abs square sqrt neg clamp clamp_ clip add add_ sub sub_ mul mul_ div div_ pow rsub "
    "true_divide __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __neg__ __pow__ __iadd__ __isub__ __imul__ "
    "__itruediv__ contiguous clone detach float to double half type_as dropout alpha_dropout feature_dropout erf sinc".split()
)
_INDEXING = frozenset(
    "view reshape permute transpose flatten unflatten squeeze unsqueeze pixel_shuffle contiguous clone detach movedim T mT "
    "swapaxes view_as reshape_as ravel __getitem__ rearrange unbind split chunk narrow select".split()
)


@dataclass(frozen=True)
class Site:
    """A linear operation that may be a layer of the canvas, with the values that reached it."""

    operation: Operation
    kind: str
    input: Value
    output: Value
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Between:
    """What lies between two sites of a chain: an index permutation and an elementwise function."""

    upscale: tuple[int, int]
    activation: Activation


def sites(recording: Recording) -> list[Site]:
    """All convolutions and linear layers of a recording, in order."""
    found = []
    for operation in recording.operations:
        if operation.name in CONVOLUTIONS | LINEARS:
            bound = bind(operation)
            weight, bias = bound["weight"], bound["bias"]
            found.append(
                Site(
                    operation=operation,
                    kind="convolution" if operation.name in CONVOLUTIONS else "linear",
                    input=bound["input"],
                    output=operation.results[0],
                    weight=recording.tensors[weight.index].detach(),
                    bias=None if bias is None else recording.tensors[bias.index].detach(),
                )
            )
    return found


def bind(operation: Operation) -> dict[str, Any]:
    """The arguments of a convolution or linear call by name."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given: dict[str, Any] = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    given.update(zip(names, operation.arguments, strict=False))
    given.update(operation.keywords)
    return given


def output_value(recording: Recording, output: int | str | None = None) -> Value:
    """The value that is the picture: the only tensor of the output, or the one that ``output`` picks.

    Args:
        recording: of the network.
        output: where the output is a tuple, list or dict: the index or key of the picture; the last tensor if not given.

    Raises:
        TraceError: There is no such output, or none at all.
    """
    tree = recording.output
    if output is not None:
        try:
            tree = tree[output]
        except (KeyError, IndexError, TypeError) as error:
            raise TraceError(f"the network's output has no part {output!r}; it is a {type(tree).__name__}") from error
    found = list(values_in(tree))
    if not found:
        raise TraceError("the network returns no tensor; wrap it in a module whose forward returns the picture")
    return found[-1]


def read_plan(recording: Recording, size: tuple[int, int] | None = None, output: int | str | None = None) -> Plan:
    """The longest chain of stages that ends in the output.

    Args:
        recording: of the network.
        size: (H, W), needed where a pixel-wise network returns pixels in a row.
        output: which part of the output is the picture, see :func:`output_value`.

    Raises:
        TraceError: The output is not an image, or no chain of known operations leads to it.
    """
    value = output_value(recording, output)
    all_sites = sites(recording)
    if not all_sites:
        raise TraceError(
            "no convolution and no linear layer was met while the network ran; there are no neurons to trace"
        )
    picture = recording.tensors[value.index].detach()
    image = as_image(picture, size)
    chain: list[tuple[Site, Between]] = []
    end, last = value, None
    for site in reversed(all_sites):
        if last is not None and site.kind != last.kind:
            break
        between = _between(recording, site, end, last=last is None)
        if between is None or not _plain(site, recording):
            break
        chain.insert(0, (site, between))
        end, last = site.input, site
    if not chain:
        name = all_sites[-1].operation.module or all_sites[-1].operation.name
        raise TraceError(
            f"between the last linear operation ({name!r}) and the output lies something that is neither an elementwise "
            "function nor a rearrangement; this network has no plain tail"
        )
    chain = _without_stem(chain, recording)
    return Plan(tuple(_stages(chain, recording)), (int(image.shape[1]), int(image.shape[2])), image)


def as_image(picture: Tensor, size: tuple[int, int] | None) -> Tensor:
    """A network's output as (C, H, W), whichever way it was laid out.

    Raises:
        TraceError: It is not the picture of one input, or its height and width cannot be told.
    """
    shape = tuple(picture.shape)
    plain = picture
    while plain.ndim > 2 and plain.shape[0] == 1:
        plain = plain[0]
    if size is not None:
        pixels = size[0] * size[1]
        if plain.ndim == 3 and tuple(plain.shape[1:]) == size:
            return plain
        if plain.numel() % pixels == 0 and (plain.shape[0] == pixels or tuple(plain.shape[:2]) == size):
            return plain.reshape(*size, -1).permute(2, 0, 1)
        raise TraceError(
            f"the output has shape {shape}, which does not hold {size[0]}x{size[1]} pixels; give the size of the grid"
        )
    if plain.ndim == 3 and plain.shape[0] <= 4 < plain.shape[2]:
        return plain
    if plain.ndim == 3 and plain.shape[2] <= 4:
        return plain.permute(2, 0, 1)
    raise TraceError(f"the output has shape {shape}; say which picture it is with size=(height, width)")


def _plain(site: Site, recording: Recording) -> bool:
    """Whether the fast engine knows this operation: one input, stride 1, no dilation, no groups, size kept."""
    if site.kind == "linear":
        return True
    bound = bind(site.operation)
    kernel = tuple(site.weight.shape[2:])
    padding = bound["padding"]
    same = tuple(k // 2 for k in kernel)
    if padding == "same":
        padding = same
    return (
        all(k % 2 == 1 for k in kernel)
        and _pair(padding) == same
        and _pair(bound["stride"]) == (1, 1)
        and _pair(bound["dilation"]) == (1, 1)
        and bound["groups"] == 1
        and recording.tensors[site.input.index].reshape(-1, *recording.tensors[site.input.index].shape[-3:]).shape[0]
        == 1
    )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _between(recording: Recording, site: Site, end: Value, *, last: bool) -> Between | None:
    """What lies between a site's output and ``end``; None where it is more than a permutation and a function."""
    path = _path(recording, site.output, end)
    if path is None or any(step.name not in _ELEMENTWISE | _INDEXING for step in path):
        return None
    elementwise = [step for step in path if step.name in _ELEMENTWISE]
    if any(not _scalar_sides(recording, step) for step in elementwise):
        return None
    indexing = [step for step in path if step.name in _INDEXING]
    made, wanted = recording.tensors[site.output.index], recording.tensors[end.index]
    sent = _follow(recording, site.output, end, indexing, path, torch.arange(made.numel()).reshape(made.shape))
    if sent is None or sent.numel() != made.numel():
        return None
    upscale: tuple[int, int] | None = (1, 1)
    if site.kind == "convolution" and not last:
        upscale = _shuffle_of(sent.reshape(wanted.shape[-3:]), tuple(made.shape[-3:]))
    elif site.kind == "convolution":
        upscale = _shuffle_of(
            as_image(sent, None) if sent.ndim > 3 or sent.shape[-1] <= 4 else sent, tuple(made.shape[-3:])
        )
    if upscale is None:
        return None
    if not elementwise:
        return Between(upscale, IDENTITY)
    return Between(upscale, recognise(_composed(recording, elementwise)))


def _path(recording: Recording, start: Value, end: Value) -> list[Operation] | None:
    """The operations from start to end where each has one operand on the way; None where paths branch or none leads."""
    path: list[Operation] = []
    value = end
    tainted = {start.index} | {r.index for o in recording.downstream(start) for r in o.results}
    while value.index != start.index:
        operation = recording.producer(value)
        if operation is None:
            return None
        inside = [operand for operand in operation.operands if operand.index in tainted]
        if len({operand.index for operand in inside}) != 1:
            return None
        path.insert(0, operation)
        value = inside[0]
    return path


def _scalar_sides(recording: Recording, operation: Operation) -> bool:
    """Whether all operands of an elementwise operation but its first tensor are numbers or hold one number."""
    sizes = sorted(recording.tensors[operand.index].numel() for operand in operation.operands)
    return all(size == 1 for size in sizes[:-1])


def _follow(
    recording: Recording, start: Value, end: Value, indexing: list[Operation], path: list[Operation], values: Tensor
) -> Tensor | None:
    """The values at ``end`` when only the index operations of the path act on those at ``start``."""
    changed = {start.index: values}
    for step in path:
        inside = next(operand for operand in step.operands if operand.index in changed)
        if step in indexing and step.name not in _ELEMENTWISE:
            try:
                apply(step, lambda v: changed.get(v.index, recording.tensors[v.index]), changed)
            except (RuntimeError, TypeError, IndexError):
                return None
        else:
            changed[step.results[0].index] = changed[inside.index]
    return changed.get(end.index)


def _shuffle_of(sent: Tensor, made: tuple[int, ...]) -> tuple[int, int] | None:
    """The rectangular pixel shuffle that sends indices this way; None where it is another permutation."""
    channels, height, width = made
    if sent.ndim != 3 or sent.shape[1] % height or sent.shape[2] % width:
        return None
    upscale = (sent.shape[1] // height, sent.shape[2] // width)
    if sent.shape[0] * upscale[0] * upscale[1] != channels:
        return None
    expected = shuffle(torch.arange(channels * height * width).reshape(made), upscale)
    return upscale if torch.equal(expected, sent) else None


def _composed(recording: Recording, steps: list[Operation]) -> Callable[[Tensor], Tensor]:
    """The elementwise steps, one after the other, as a function of one tensor of any shape."""
    sides = [
        {
            operand.index: recording.tensors[operand.index]
            for operand in step.operands
            if recording.tensors[operand.index].numel() == 1
        }
        for step in steps
    ]

    def function(x: Tensor) -> Tensor:
        for step, side in zip(steps, sides, strict=True):
            made: dict[int, Tensor] = {}
            apply(step, lambda v, x=x, side=side: side[v.index].to(x.device) if v.index in side else x, made)  # type: ignore[misc]
            x = next(iter(made.values()))
        return x

    return function


def _without_stem(chain: list[tuple[Site, Between]], recording: Recording) -> list[tuple[Site, Between]]:
    """The chain without its stem: leading 1x1 convolutions of a single pixel, or that leave the grid as it is.

    NeRV turns one vector into a small grid, HNeRV widens a small grid; the paper analyses neither (section 3.2).
    """
    while len(chain) > 1 and chain[0][0].kind == "convolution":
        site, between = chain[0]
        one_pixel = tuple(recording.tensors[site.input.index].shape[-2:]) == (1, 1)
        if tuple(site.weight.shape[2:]) != (1, 1) or not (one_pixel or between.upscale == (1, 1)):
            break
        chain = chain[1:]
    return chain


def _stages(chain: list[tuple[Site, Between]], recording: Recording) -> list[Stage]:
    stages = []
    for position, (site, between) in enumerate(chain, start=1):
        pixelwise = site.kind == "linear"
        values = recording.tensors[site.input.index].detach()
        kernel = tuple(site.weight.shape[2:]) if not pixelwise else (1, 1)
        name = f"layer{position}" if pixelwise else ("head" if position == len(chain) else f"block{position}")
        stages.append(
            Stage(
                name=name,
                module=site.operation.module,
                kind="linear" if pixelwise else "convolution",
                input=(
                    values.reshape(-1, values.shape[-1]) if pixelwise else values.reshape(values.shape[-3:])
                ).contiguous(),
                weight=site.weight,
                bias=site.bias,
                activation=between.activation,
                padding=(int(kernel[0]) // 2, int(kernel[1]) // 2),
                upscale=between.upscale,
            )
        )
    return stages
