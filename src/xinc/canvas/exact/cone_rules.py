"""How derivatives by windows go backwards through each operation.

Through a convolution by its transpose, through a resampling by its matrices along rows and columns, through an
elementwise function by its slope there. What is not local, or not known, is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xinc.canvas.exact.cone import Cone
from xinc.canvas.exact.products import DIFFERENTIABLE
from xinc.canvas.kernels.windows import take_apart, times_slope
from xinc.canvas.network.linear_ops import bind, margins, pair
from xinc.canvas.recording import operations as vocabulary
from xinc.canvas.recording.recording import Operation, Recording
from xinc.canvas.reductions.stream import in_threads, workers

PROBED_ROWS = 64
"""Rows of a resampling's matrix that are found at once."""


class NoRuleError(Exception):
    """An operation that derivatives by windows cannot be carried through."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """A recording, and what was found of its operations: it serves every pixel.

    Attributes:
        recording: of the network.
        found: by result and operand, the derivative of an elementwise function ``(channels, h, w)``, twice where it is
            one number, or the matrices of a resampling.
    """

    recording: Recording
    found: dict[tuple[int, int], tuple[Tensor, ...]] = field(default_factory=dict)

    def native(self, operation: Operation, changed: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The operation on other values."""
        return self.recording.again(operation, changed, DIFFERENTIABLE)


def grid(values: Tensor) -> tuple[int, int]:
    """Rows and columns of a value."""
    return int(values.shape[-2]), int(values.shape[-1])


def compiled(values: Tensor) -> bool:
    """Whether the compiled loops serve."""
    return values.device.type == "cpu" and values.dtype == torch.float32


def in_loops(loop: Callable[..., None], cone: Cone, given: Any, out: Tensor) -> Cone:
    """A compiled loop over a cone's windows, rows of pixels shared out among threads."""
    values, made = cone.values.contiguous().numpy(), out.numpy()
    y, x = cone.y.numpy(), cone.x.numpy()
    given = given.numpy() if isinstance(given, Tensor) else given

    def work(rows: slice, _: None) -> None:
        loop(values[rows], y[rows], x, given, made[rows])

    in_threads(row_parts(len(y)), work, lambda: None, None)
    return Cone(out, cone.y, cone.x)


def row_parts(rows: int) -> list[slice]:
    """Rows of pixels in as many parts as threads share well."""
    size = max(1, -(-rows // (2 * workers())))
    return [slice(first, first + size) for first in range(0, rows, size)]


def elementwise(slopes: Slopes, operation: Operation, result: int, operand: int, cone: Cone) -> Cone:
    """Times the slope of the function there."""
    key = (result, operand)
    if key not in slopes.found:
        at = slopes.recording.tensors[operand]
        with torch.inference_mode(False), torch.enable_grad():
            start = at.detach().clone().requires_grad_()
            made = slopes.native(operation, {operand: start})[result]
            if made.shape != start.shape:
                raise NoRuleError(f"{operation.where} widens what it reads")
            slope = torch.autograd.grad(made.sum(), start, allow_unused=True)[0]
        slope = (torch.zeros_like(at) if slope is None else slope).reshape(-1, *at.shape[-2:]).contiguous()
        slopes.found[key] = (slope, slope) if bool((slope == slope[0, 0, 0]).all()) else (slope,)
    slope = slopes.found[key][0]
    if len(slopes.found[key]) > 1:  # the same everywhere
        return Cone(cone.values * slope[0, 0, 0], cone.y, cone.x)
    if compiled(cone.values):
        return in_loops(times_slope, cone, slope, torch.empty_like(cone.values))
    rows, columns = (
        (first[:, None] + torch.arange(n, device=first.device)).clamp(0, size - 1)
        for first, n, size in zip((cone.y, cone.x), cone.window, slope.shape[1:], strict=True)
    )
    seen = slope[:, rows][:, :, :, columns]  # channels, rows, window y, columns, window x
    return Cone(cone.values * seen.permute(1, 3, 0, 2, 4)[:, :, None], cone.y, cone.x)


def frozen_norm(slopes: Slopes, operation: Operation, result: int, operand: int, cone: Cone) -> Cone:
    """A batch norm by its kept statistics is elementwise; by the picture's own it is not local."""
    given = dict(zip(("input", "mean", "var", "weight", "bias", "training"), operation.arguments, strict=False))
    if {**given, **operation.keywords}.get("training"):
        raise NoRuleError(f"{operation.where} takes statistics of the picture")
    return elementwise(slopes, operation, result, operand, cone)


def _kernel(slopes: Slopes, operation: Operation, operand: int) -> tuple[dict[str, Any], Tensor]:
    """The arguments of a convolution by name, and its weight.

    Raises:
        NoRuleError: the operand is its weight, or there are several pictures.
    """
    given, tensors = bind(operation), slopes.recording.tensors
    source, weight = given["input"].index, given["weight"].index
    if operand != source or operand == weight or (tensors[source].ndim == 4 and len(tensors[source]) > 1):
        raise NoRuleError(f"{operation.where} has a weight of its own making, or several pictures")
    return given, tensors[weight]


def convolution(slopes: Slopes, operation: Operation, result: int, operand: int, cone: Cone) -> Cone:
    """Through the transpose of a convolution."""
    given, weight = _kernel(slopes, operation, operand)
    stride, dilation = (pair(given.get(name, 1)) for name in ("stride", "dilation"))
    before = [first for first, _ in margins(given, weight.shape[2:])]
    y, x = (first * s - p for first, s, p in zip((cone.y, cone.x), stride, before, strict=True))
    made = F.conv_transpose2d(cone.flat(), weight, stride=stride, dilation=dilation, groups=int(given.get("groups", 1)))
    return cone.like(made, y, x)


def transposed(slopes: Slopes, operation: Operation, result: int, operand: int, cone: Cone) -> Cone:
    """Through the transpose of a transposed convolution: a convolution with strides."""
    given, weight = _kernel(slopes, operation, operand)
    stride, dilation, padding = (
        pair(given.get(name, d)) for name, d in (("stride", 1), ("dilation", 1), ("padding", 0))
    )
    reach = tuple(d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True))
    places, starts, sizes = [], [], []
    for first, n, s, p, r in zip((cone.y, cone.x), cone.window, stride, padding, reach, strict=True):
        place = (first + p - r).div(s, rounding_mode="floor")
        last = (first + n - 1 + p).div(s, rounding_mode="floor")
        places.append(place)
        starts.append(place * s - p)
        sizes.append((int((last - place).max())) * s + r + 1)
    whole = cone.placed(starts[0], starts[1], (sizes[0], sizes[1]))
    made = F.conv2d(whole.flat(), weight, stride=stride, dilation=dilation, groups=int(given.get("groups", 1)))
    return cone.like(made, places[0], places[1])


def shuffled(slopes: Slopes, operation: Operation, result: int, operand: int, cone: Cone) -> Cone:
    """Through a pixel shuffle: whole cells, taken apart."""
    ratio = slopes.recording.tensors[result].shape[-1] // slopes.recording.tensors[operand].shape[-1]
    if compiled(cone.values):
        rows, columns, colours, channels = cone.values.shape[:4]
        y, x = cone.y // ratio, cone.x // ratio
        tall, wide = (
            int(((first + n - 1) // ratio - own).max()) + 1
            for first, n, own in zip((cone.y, cone.x), cone.window, (y, x), strict=True)
        )
        out = cone.values.new_zeros(rows, columns, colours, channels * ratio**2, tall, wide)
        return replace(in_loops(take_apart, cone, ratio, out), y=y, x=x)
    whole = cone.aligned((ratio, ratio))
    return cone.like(F.pixel_unshuffle(whole.flat(), ratio), whole.y // ratio, whole.x // ratio)


def rearranged(slopes: Slopes, operation: Operation, result: int, operand: int, cone: Cone) -> Cone:
    """Through what leaves places as they are and puts channels elsewhere; else through a matrix along each axis."""
    at, made = (slopes.recording.tensors[index] for index in (operand, result))
    channels = at[..., 0, 0].numel()
    if tuple(at.shape[-2:]) == tuple(made.shape[-2:]):
        names = torch.arange(1, channels + 1, dtype=torch.float64, device=at.device).reshape(*at.shape[:-2], 1, 1)
        places = torch.arange(at.shape[-2] * at.shape[-1], dtype=torch.float64, device=at.device)
        probes = [names.expand(at.shape), places.reshape(at.shape[-2:]).expand(at.shape)]
        zero = {o.index: torch.zeros_like(slopes.recording[o], dtype=torch.float64) for o in operation.operands}
        own, where = (
            slopes.native(operation, {**zero, operand: probe.contiguous()})[result].reshape(-1, *made.shape[-2:])
            for probe in probes
        )
        come = own[:, 0, 0] > 0
        if bool((own == own[:, :1, :1]).all()) and bool((where[come] == places.reshape(at.shape[-2:])).all()):
            sources, targets = own[come, 0, 0].long() - 1, come.nonzero()[:, 0]
            values = cone.values.new_zeros(*cone.values.shape[:3], channels, *cone.window)
            return Cone(values.index_add_(3, sources, cone.values[:, :, :, targets]), cone.y, cone.x)
    return resampled(slopes, operation, result, operand, cone)


def resampled(slopes: Slopes, operation: Operation, result: int, operand: int, cone: Cone) -> Cone:
    """Through a linear operation that is one matrix along rows and one along columns, for every channel."""
    key = (result, operand)
    if key not in slopes.found:
        slopes.found[key] = _matrices(slopes, operation, result, operand)
    values, firsts = cone.values, []
    for axis, (first, matrix) in enumerate(zip((cone.y, cone.x), slopes.found[key], strict=True)):
        outs, ins = matrix.shape
        n = cone.window[axis]
        at = first[:, None] + torch.arange(n, device=first.device)
        own = (at >= 0) & (at < outs)
        used = matrix != 0
        low = torch.where(used.any(1), used.int().argmax(1), ins)
        high = torch.where(used.any(1), ins - 1 - used.flip(1).int().argmax(1), -1)
        seen = at.clamp(0, outs - 1)
        begin = torch.where(own, low[seen], ins).amin(1)
        end = torch.where(own, high[seen], -1).amax(1)
        size = max(1, int((end - begin).max()) + 1)
        columns = begin[:, None] + torch.arange(size, device=first.device)
        inside = own[:, :, None] & (columns < ins)[:, None]
        part = matrix[seen[:, :, None], columns.clamp(0, ins - 1)[:, None]] * inside  # pixels, window, new window
        if axis == 0:
            flat = values.permute(0, 1, 2, 3, 5, 4).reshape(len(first), -1, n)
            values = torch.bmm(flat, part).reshape(*values.shape[:4], values.shape[5], size).transpose(4, 5)
        else:
            flat = values.transpose(0, 1).reshape(len(first), -1, n)
            made = torch.bmm(flat, part)
            values = (
                made.reshape(values.shape[1], values.shape[0], *values.shape[2:5], size).transpose(0, 1).contiguous()
            )
        firsts.append(begin)
    return Cone(values, firsts[0], firsts[1])


def _matrices(slopes: Slopes, operation: Operation, result: int, operand: int) -> tuple[Tensor, ...]:
    """The matrices ``(out, in)`` of a linear operation along rows and columns.

    Raises:
        NoRuleError: it is not one matrix along each.
    """
    at, made = (slopes.recording.tensors[index] for index in (operand, result))
    if at.ndim < 3 or at.shape[:-2] != made.shape[:-2]:
        raise NoRuleError(f"{operation.where} is no resampling")
    lead = at.shape[:-3]
    found = []
    for axis in (-2, -1):
        rows = []
        for first in range(0, at.shape[axis], PROBED_ROWS):
            eye = torch.eye(at.shape[axis], dtype=at.dtype, device=at.device)[first : first + PROBED_ROWS]
            eye = eye[:, :, None] if axis == -2 else eye[:, None, :]
            probe = eye.expand(*lead, len(eye), *at.shape[-2:]).contiguous()
            image = slopes.native(operation, {operand: probe})[result].reshape(-1, *made.shape[-2:])[-len(eye) :]
            rows.append(image[..., made.shape[-1] // 2] if axis == -2 else image[..., made.shape[-2] // 2, :])
        found.append(torch.cat(rows).T.contiguous())
    probe = torch.randn(at.shape, generator=torch.Generator().manual_seed(0)).to(at)
    wanted = slopes.native(operation, {operand: probe})[result]
    got = found[0] @ probe @ found[1].T
    if not torch.allclose(got, wanted, atol=1e-4 * float(wanted.abs().max())):
        raise NoRuleError(f"{operation.where} is no resampling")
    return tuple(found)


ConeRule = Callable[[Slopes, Operation, int, int, Cone], Cone]
RULES: Mapping[str, ConeRule] = {
    **dict.fromkeys(vocabulary.ELEMENTWISE | vocabulary.CHOICES, elementwise),
    **dict.fromkeys(vocabulary.INDEXING | vocabulary.JOINING, rearranged),
    **dict.fromkeys(vocabulary.RESAMPLING | vocabulary.POOLING | {"pad", "repeat_interleave"}, resampled),
    "batch_norm": frozen_norm,
    "pixel_shuffle": shuffled,
    "conv2d": convolution,
    "conv_transpose2d": transposed,
}
"""How each operation is gone through backwards."""
