"""Which of a network's outputs is the picture, and how its pixels lie in it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xinc.canvas.recording.recording import Operation, Recording, Value, leaves
from xinc.errors import TraceError, XincWarning
from xinc.notation import Size

Output = int | str | Sequence[int | str | slice | tuple[int | slice, ...]]
"""A path into what the network returns: an index or key, or several, one after another: ``("heads", 1)``."""

_LAYOUTS = {"chw": (0, 1, 2), "hwc": (2, 0, 1), "hw": (0, 1), "rows": (1, 0), "columns": (0, 1)}


@dataclass(frozen=True)
class Picture:
    """The picture among a network's outputs.

    Attributes:
        value: the output.
        shape: of the output, leading ones left out.
        size: ``(H, W)``.
        layout: ``"chw"``, ``"hwc"``, ``"hw"`` (one channel), ``"rows"`` (pixels, channels) or ``"columns"`` (channels,
            pixels).
        down: whether pixels in a row run down the columns, not along the rows.
    """

    value: Value
    shape: tuple[int, ...]
    size: Size
    layout: str
    down: bool = False

    @property
    def channels(self) -> int:
        """Number of colours."""
        return math.prod(self.shape) // (self.size[0] * self.size[1])

    def along(self, rows: Tensor) -> Tensor:
        """Pixels in a row ``(N, ...)``, as the network has them, in the order of the picture's rows."""
        if not self.down:
            return rows
        return rows.reshape(*self.size[::-1], *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)

    def images(self, outputs: Tensor) -> Tensor:
        """Outputs ``(n, ...)``, laid out as the network gives them, as ``(n, C, H, W)``; real parts of complex ones."""
        real = outputs.real if outputs.is_complex() else outputs
        axes = _LAYOUTS[self.layout]
        ordered = real.reshape(len(real), *self.shape).permute(0, *(1 + axis for axis in axes))
        if self.down:
            return ordered.reshape(len(real), self.channels, *self.size[::-1]).transpose(-2, -1)
        return ordered.reshape(len(real), self.channels, *self.size)

    def outputs(self, images: Tensor, shape: Sequence[int]) -> Tensor:
        """The inverse of :meth:`images`: ``(n, C, H, W)`` as ``(n, *shape)``, laid out as the network gives them."""
        axes = _LAYOUTS[self.layout]
        images = images.transpose(-2, -1) if self.down else images
        ordered = images.reshape(len(images), *(self.shape[axis] for axis in axes))
        return ordered.permute(0, *(1 + axes.index(axis) for axis in range(len(axes)))).reshape(len(images), *shape)


def find_picture(recording: Recording, size: Sequence[int] | None = None, output: Output | None = None) -> Picture:
    """The picture among the outputs: the one that ``output`` picks, else the largest one with three channels.

    Args:
        recording: of the network.
        size: (H, W), where a pixel-wise network returns pixels in a row and no grid of coordinates tells it.
        output: a path into what the network returns.

    Raises:
        TraceError: There is no such output, it is not the picture of one input, or its height and width cannot be told.
    """
    asked = None if size is None else (int(size[0]), int(size[1]))
    candidates = _picked(recording, output)
    pictures = []
    for value in candidates:
        try:
            pictures.append(_picture(recording, value, asked))
        except TraceError:
            if len(candidates) == 1:
                raise
    if not pictures:
        shapes = ", ".join(str(tuple(recording[value].shape)) for value in candidates)
        raise TraceError(
            f"none of the network's outputs (shapes {shapes}) is a picture; choose one with output=, and say its "
            "size=(height, width) where it returns pixels in a row"
        )
    picture = max(pictures, key=lambda p: (p.channels == 3, math.prod(p.size)))  # of several alike, the first
    alike = [p for p in pictures if (p.channels, p.size) == (picture.channels, picture.size)]
    if len(alike) > 1:
        _say_others(recording, [p.value for p in alike], output)
    if not (recording[picture.value].is_floating_point() or recording[picture.value].is_complex()):
        raise TraceError(
            f"the output is {str(recording[picture.value].dtype).removeprefix('torch.')}: whole numbers have no "
            "derivative and lose what neurons add; return the picture before it is rounded, or choose it with output="
        )
    return picture


def _say_others(recording: Recording, alike: Sequence[Value], output: Output | None) -> None:
    """Name the ways to several pictures of one size: a hint where nobody chose, a refusal where the choice is not one.

    Raises:
        TraceError: ``output`` leads to all of them.
    """
    ways = dict(_ways(recording.output))
    named = [_said(ways[value]) for value in alike if value in ways]
    if output is not None and len(named) == len(alike):
        raise TraceError(f"output={output!r} leads to {len(named)} pictures; give one of {', '.join(named)}")
    if output is None and len(named) == len(alike):
        warnings.warn(
            f"the network returns {len(named)} pictures of one size; the first, output={named[0]}, is traced; the "
            f"others are {', '.join(named[1:])}",
            XincWarning,
            stacklevel=5,
        )


def _ways(tree: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Value, tuple[Any, ...]]]:
    """Every value of what a network returns, with the keys that lead to it."""
    if isinstance(tree, Value):
        yield tree, way
    elif isinstance(tree, dict):
        for key, part in tree.items():
            yield from _ways(part, (*way, key))
    elif isinstance(tree, tuple | list):
        for i, part in enumerate(tree):
            yield from _ways(part, (*way, i))


def _said(way: tuple[Any, ...]) -> str:
    return repr(way[0]) if len(way) == 1 else repr(way)


def _picked(recording: Recording, output: Output | None) -> list[Value]:
    tree = recording.output
    path = () if output is None else ((output,) if isinstance(output, int | str) else tuple(output))
    for key in path:
        if isinstance(tree, Value):
            tree = _indexed(recording, tree, key)
            continue
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError) as error:
            raise TraceError(f"the network's output has no part {key!r}; {_kind(tree)}") from error
    found = list(leaves(tree, Value))
    if not found:
        raise TraceError("the network returns no tensor; wrap it in a module whose forward returns the picture")
    learned = {index for index, name in recording.names.items() if name in recording.parameters}
    made = [value for value in dict.fromkeys(found) if learned & recording.needed_for(value)]
    return made or list(dict.fromkeys(found))  # coordinates that are handed through are no picture


def _kind(tree: Any) -> str:
    if isinstance(tree, dict):
        return f"its keys are {', '.join(map(repr, tree))}"
    return f"it is a {type(tree).__name__} of {len(tree)}" if isinstance(tree, tuple | list) else f"it is {tree!r}"


def _indexed(recording: Recording, value: Value, key: Any) -> Value:
    """A part of a tensor, as one more operation of the recording."""
    try:
        part = recording[value][key]
    except (IndexError, TypeError) as error:
        raise TraceError(f"an output of shape {tuple(recording[value].shape)} has no part {key!r}") from error
    result = recording.add(part)
    recording.operations.append(Operation(torch.Tensor.__getitem__, "__getitem__", (value, key), {}, (result,), ""))
    return result


def _picture(recording: Recording, value: Value, size: Size | None) -> Picture:
    full = tuple(recording[value].shape)
    shape = full
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) > 3 and sum(axis > 1 for axis in shape) == 3:  # one frame of a clip
        shape = tuple(axis for axis in shape if axis > 1)
    if len(shape) > 3:
        raise TraceError(
            f"the output has shape {full}: {shape[0]} pictures; trace one input at a time, or choose one with output="
        )
    layout = _layout(shape, size)
    if not layout and len(shape) < 2:
        raise TraceError(f"the output has shape {full}, which is no picture's")
    if layout in ("chw", "hwc", "hw"):
        height, width = (shape[axis] for axis in _LAYOUTS[layout][-2:])
        return Picture(value, shape, (height, width), layout)
    pixels = {"rows": shape[0], "columns": shape[-1]}.get(layout, 0)
    if size is None and layout:
        size = grid_size(recording, value, pixels)
    if not layout or size is None or size[0] * size[1] != pixels:
        asked = f", which does not hold {size[0]}x{size[1]} pixels" if size else ""
        raise TraceError(f"the output has shape {full}{asked}; say which picture it is with size=(height, width)")
    across = size[1], size[0]
    return Picture(value, shape, size, layout, size != across and _grid_of(recording, value, pixels) == across)


def _layout(shape: tuple[int, ...], size: Size | None) -> str:
    """The layout of an output; empty where it is no picture's."""
    if size is not None:
        pixels = size[0] * size[1]
        rows = {
            "chw": len(shape) == 3 and shape[1:] == size,
            "hwc": len(shape) == 3 and shape[:2] == size,
            "hw": shape == size,
            "rows": len(shape) == 2 and shape[0] == pixels,
            "columns": len(shape) == 2 and shape[1] == pixels,
        }
        return next((name for name, fits in rows.items() if fits), "")
    if len(shape) == 3:
        for channels in (3, 1, 4, 2):
            for axis, name in ((0, "chw"), (2, "hwc")):
                if shape[axis] == channels:
                    return name
        return ""
    if len(shape) == 2:
        return "rows" if shape[1] <= 4 else "columns" if shape[0] <= 4 else "hw"
    return ""


def grid_size(recording: Recording, value: Value, pixels: int) -> Size | None:
    """The size of the grid of coordinates from which pixels in a row were made; a square's where there is no grid.

    Inputs are looked at first, then buffers and constants.
    """
    found = _grid_of(recording, value, pixels)
    side = math.isqrt(pixels)
    return found or ((side, side) if side * side == pixels else None)


def _grid_of(recording: Recording, value: Value, pixels: int) -> Size | None:
    needed = recording.needed_for(value)
    made = {result.index for operation in recording.operations for result in operation.results}
    fixed = [index for index in sorted(needed - made) if recording.names.get(index) not in recording.parameters]
    for index in dict.fromkeys((*(v.index for v in recording.inputs), *fixed, *sorted(needed & made))):
        found = _grid(recording.tensors[index], pixels)
        if found is not None:
            return found
    return None


def _grid(tensor: Tensor, pixels: int) -> Size | None:
    """The size of a regular grid of two or three coordinates, rows outermost; None where the tensor is not one."""
    shape = [size for size in tensor.shape if size > 1]
    if not tensor.is_floating_point() or tensor.numel() not in (2 * pixels, 3 * pixels):
        return None
    if len(shape) == 3:  # a channel axis first or last
        height, width = shape[:2] if shape[2] <= 3 else shape[1:]
        return (height, width) if height * width == pixels else None
    if len(shape) != 2:
        return None
    rows = tensor.reshape(shape) if shape[1] <= 3 else tensor.reshape(shape).T
    for slow in range(rows.shape[1]):
        changes = (rows[:, slow] != rows[0, slow]).nonzero()
        width = int(changes[0]) if len(changes) else 0
        if not 1 < width < pixels or pixels % width:
            continue
        grid = rows.reshape(-1, width, rows.shape[1])
        others = [axis for axis in range(rows.shape[1]) if axis != slow]
        steady = bool((grid[:, :, slow] == grid[:, :1, slow]).all())
        repeated = all(bool((grid[..., axis] == grid[:1, :, axis]).all()) for axis in others)
        if steady and repeated:
            return len(grid), width
    return None
