"""The Jacobian of a local rest of a network as a table, made backwards through its operations: no product a pixel.

A pixel of the picture depends on a small window of every value before it. What it owes to a window of one value is
carried to the values that this one was made of (:mod:`xinc.canvas.exact.cone_rules`). The pixels of a tile go together,
each with a window of its own, so that every step is a few large products, whatever branches, skips and dilations there
are; one way back serves all layers. Where an operation has no rule, combs of products serve
(:mod:`xinc.canvas.exact.probed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.exact.cone import Cone
from xinc.canvas.exact.cone_rules import RULES, NoRuleError, Slopes, compiled, grid, row_parts
from xinc.canvas.exact.probed import COMB_VALUES, PLANE_VALUES, Area, JacobianTable
from xinc.canvas.kernels.windows import fold_cone
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.output import Picture
from xinc.canvas.network.plan import Rest
from xinc.canvas.network.receptive_field import ProbedField
from xinc.canvas.recording.recording import Operation, Recording
from xinc.canvas.reductions.fold import Folded, Pass
from xinc.canvas.reductions.stream import in_threads
from xinc.notation import Floats

TILE_VALUES = 1 << 23
"""Numbers of the largest windows of a tile's pixels (32 MB in float32; a few times that on the way)."""

TILE_COLUMNS = 64
"""Columns of a tile, at most."""


@dataclass(frozen=True, eq=False)
class Cones:
    """The rest of a network behind some layers, backwards.

    Attributes:
        recording: of the network.
        picture: its output.
        layers: off the chain.
    """

    recording: Recording
    picture: Picture
    layers: Sequence[LinearOperation]

    @classmethod
    def behind(cls, *rests: Rest) -> Cones:
        """Behind layers of one network."""
        return cls(rests[0].recording, rests[0].picture, [rest.operation for rest in rests])

    @cached_property
    def slopes(self) -> Slopes:
        """What was found of the operations so far."""
        return Slopes(self.recording)

    def forget(self) -> None:
        """Let go of that: about as much as the network's values."""
        self.__dict__.pop("slopes", None)

    @cached_property
    def _way(self) -> tuple[Operation, ...]:
        """The operations between the layers and the picture, the last first."""
        return self.recording.between([layer.result for layer in self.layers], self.picture.value)[::-1]

    @cached_property
    def _reached(self) -> set[int]:
        return self.recording.reached_from([layer.result for layer in self.layers])

    def of(self, y: Tensor, x: Tensor) -> Iterator[tuple[LinearOperation, Cone]]:
        """What the pixels where rows and columns cross owe to each layer's output, the last layer first.

        Raises:
            NoRuleError: an operation on the way has no rule.
        """
        owed, wanted = {self.picture.value.index: self._start(y, x)}, {one.result.index: one for one in self.layers}
        for operation in self._way:
            for result in operation.results:
                cone = owed.pop(result.index, None)
                if cone is None:
                    continue
                if result.index in wanted:
                    yield wanted[result.index], cone
                for index, part in self._step(operation, result.index, cone):
                    owed[index] = owed[index].plus(part) if index in owed else part
        for index, cone in owed.items():
            if index in wanted:
                yield wanted[index], cone

    def _start(self, y: Tensor, x: Tensor) -> Cone:
        picture, at = self.picture, self.recording[self.picture.value]
        if picture.layout not in ("chw", "hw") or picture.down or tuple(at.shape[-2:]) != picture.size:
            raise NoRuleError(f"the picture lies as {picture.layout}")
        colours = torch.eye(picture.channels, dtype=at.dtype, device=at.device)[:, :, None, None]
        own = picture.outputs(colours.expand(-1, -1, *picture.size), at.shape).reshape(len(colours), -1, *picture.size)
        values = own[None, None, :, :, :1, :1].expand(len(y), len(x), -1, -1, 1, 1).contiguous()
        return Cone(values, y, x)

    def _step(self, operation: Operation, result: int, cone: Cone) -> Iterator[tuple[int, Cone]]:
        """What the pixels owe to the operands of an operation."""
        operands = dict.fromkeys(one.index for one in operation.operands if one.index in self._reached)
        rule = RULES.get(operation.name)
        if operands and (rule is None or operation.mutates):
            raise NoRuleError(f"no rule for {operation.where}")
        for index in operands:
            assert rule is not None  # else there is no operand
            yield index, rule(self.slopes, operation, result, index, cone).inside(grid(self.recording.tensors[index]))

    @cached_property
    def largest(self) -> int:
        """Numbers of the largest windows of one pixel, that in the middle of the picture.

        Raises:
            NoRuleError: an operation on the way has no rule, or a pixel depends on so much that no tile holds it.
        """
        y, x = (torch.tensor([size // 2]) for size in self.picture.size)
        largest = max(cone.values.numel() for _, cone in self.of(y, x))
        if largest > TILE_VALUES:
            raise NoRuleError(f"a pixel depends on {largest:,} numbers")
        return largest

    def tiles(self, values: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and columns of pixels that go together; together they cover the picture, none twice.

        Args:
            values: numbers that a pixel holds besides its windows.
        """
        height, width = self.picture.size
        pixels = max(1, min(TILE_VALUES // self.largest, COMB_VALUES // max(1, values)))
        columns = min(width, pixels, TILE_COLUMNS)
        rows = max(1, pixels // columns)
        for y in range(0, height, rows):
            for x in range(0, width, columns):
                yield torch.arange(y, min(height, y + rows)), torch.arange(x, min(width, x + columns))


@dataclass(frozen=True, eq=False)
class ConeTables:
    """The tables of a layer's Jacobian, a tile of the picture after another.

    Attributes:
        reach: geometry.
        cones: behind the layer alone.
    """

    reach: ProbedField
    cones: Cones

    @property
    def neurons(self) -> int:
        """Of the layer."""
        return self.cones.layers[0].neurons

    @property
    def parting(self) -> object:
        """What the parts of the picture depend on."""
        return self.reach.y, self.reach.x, self.cones.largest

    def tables(self) -> Iterator[tuple[Area, JacobianTable]]:
        """Pixels of the picture and the table of them."""
        for y, x in self.cones.tiles(self.reach.colours * self.neurons):
            yield (slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)), self.table(y, x)

    def table(self, y: Tensor, x: Tensor) -> JacobianTable:
        """The table of the pixels where some rows and columns cross."""
        ((_, cone),) = self.cones.of(y, x)
        axes = self.reach.y, self.reach.x
        own = cone.placed(axes[0].first(y), axes[1].first(x), (axes[0].window, axes[1].window))
        return JacobianTable(self.reach, own.values.permute(3, 0, 1, 2, 4, 5).contiguous(), y, x)


def cone_tables(rest: Rest, reach: ProbedField, forward: Callable[[Tensor], Tensor]) -> ConeTables | None:
    """The tables of a layer by windows; None where an operation has no rule, or where they miss what a product gives.

    Args:
        rest: the layer, and what follows it.
        reach: of the layer.
        forward: ``(n, *shape)`` to ``(n, colours, H, W)``, the Jacobian's products with terms.
    """
    layer = rest.operation
    if layer.kind == "linear" or layer.values.is_complex():
        return None
    tables = ConeTables(reach, Cones.behind(rest))
    generator = torch.Generator(device="cpu").manual_seed(0)
    at = rest.output
    probe = torch.randn(1, layer.outputs, *reach.grid.size, generator=generator).to(at)
    try:
        if tables.cones.largest <= 0:
            return None
        wanted = forward(reach.grid.to_output(probe))[0]
        planes = torch.nn.functional.pad(probe[0], (reach.x.window, reach.x.window, reach.y.window, reach.y.window))
        for first_y, first_x in ((0, 0), tuple(size // 2 for size in rest.picture.size)):
            y, x = (torch.arange(f, min(n, f + 2)) for f, n in zip((first_y, first_x), rest.picture.size, strict=True))
            table = tables.table(y, x)
            got = table.transport(planes, torch.arange(layer.outputs)).sum(0)
            if float((got - wanted[:, y][:, :, x]).abs().max()) > 1e-3 * max(float(wanted.abs().max()), 1e-12):
                return None
    except NoRuleError:
        return None
    finally:
        tables.cones.forget()  # all layers of a network may be asked before any is folded
    return tables


def fold_together(rests: Sequence[Rest], progress: Callable[[float], None] | None = None) -> dict[str, Folded]:
    """Heatmaps and totals of several layers of one network by one way back through it, by name.

    Args:
        rests: convolutions in one group, off the chain, in single precision.
        progress: called with the share of the picture that was done since the last call.

    Raises:
        NoRuleError: an operation on the way has no rule.
    """
    cones, size = Cones.behind(*rests), rests[0].picture.size
    wanted = Pass(sums=True)
    found = {rest.operation.name: Folded.empty(rest.operation.neurons, size, wanted) for rest in rests}
    planes = {rest.operation.name: _planes(rest.operation) for rest in rests}
    with torch.no_grad():
        for y, x in cones.tiles():
            area = slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
            for layer, cone in cones.of(y, x):
                totals, heat = _sums(layer, cone, planes[layer.name])
                found[layer.name]["heatmap"][area] = heat
                found[layer.name]["totals"] += totals
            if progress is not None:
                progress(len(y) * len(x) / (size[0] * size[1]))
    return found


def together(rests: Sequence[Rest]) -> list[list[Rest]]:
    """Layers of a network whose sums one way back can fold, in groups whose planes can be held."""
    groups: list[list[Rest]] = []
    room = 0
    for rest in rests:
        layer = rest.operation
        values = layer.neurons * layer.positions
        fits = layer.kind != "linear" and layer.groups == 1 and layer.values.ndim == 4 and len(layer.values) == 1
        if not fits or not compiled(layer.values) or not compiled(rest.output) or values > PLANE_VALUES:
            continue
        if not groups or values > room:
            groups.append([])
            room = PLANE_VALUES
        groups[-1].append(rest)
        room -= values
    return groups


def _planes(layer: LinearOperation) -> Floats:
    """One number a place of each neuron, those of an output side by side: ``(outputs, h, w, inputs)``."""
    planes = torch.empty(layer.outputs, *layer.shape[-2:], layer.inputs)
    for one in range(layer.inputs):
        own = range(one * layer.outputs, (one + 1) * layer.outputs)
        planes[..., one] = layer.planes(own).reshape(layer.outputs, *layer.shape[-2:]).detach()
    return planes.numpy()


def _sums(layer: LinearOperation, cone: Cone, planes: Floats) -> tuple[NDArray[np.float64], Floats]:
    """Totals ``(K,)`` and heatmap of a layer's maps at a tile's pixels."""
    values, y, x = cone.values.contiguous().numpy(), cone.y.numpy(), cone.x.numpy()
    heat = np.zeros(values.shape[:2], np.float32)

    def scratch() -> tuple[Floats, ...]:
        return np.zeros((values.shape[2], layer.inputs), np.float32), np.zeros(
            (layer.outputs, layer.inputs), np.float32
        )

    def work(rows: slice, own: tuple[Floats, ...]) -> None:
        terms, totals = own
        fold_cone(values[rows], y[rows], x, planes, terms, totals, heat[rows])

    parts = [totals.T.astype(np.float64) for _, totals in in_threads(row_parts(len(y)), work, scratch, None)]
    return np.sum(parts, axis=0).ravel(), heat
