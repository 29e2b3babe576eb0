"""First-order transport: a neuron's term through the true rest of the network, linearised where the network was.

``T_k(p, c) = [D y](p, c) z_k`` is signed and has colours; the map is ``C_k(p) = sum_c |T_k(p, c)|``. Biases are no part
of a neuron's term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.exact.bands import Courses, fold_transport, maps_by_transport, terms_at
from xinc.canvas.exact.jacobian import pixel_jacobian
from xinc.canvas.exact.tail import HELD_VALUES, TailStream, pixels_of
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Window, windows_behind
from xinc.canvas.paper.chain import LinearStream
from xinc.canvas.reductions.fold import Folded, Pass, Stream
from xinc.canvas.reductions.stream import same_kind
from xinc.notation import ColouredMaps, Indices, Maps


def exact(plan: Plan, position: int) -> Stream:
    """Every neuron's term through the Jacobian of what follows.

    Convolutions on the CPU go through the Jacobian's table, whatever the activations; pixel-wise networks through a
    matrix product a pixel; on other devices and in other precisions the rest of the network is run for each neuron.
    """
    single = plan.output.dtype == torch.float32 and plan.output.device.type == "cpu"
    if plan.stages[position].kind == "linear":
        return PixelStream(plan, position) if single else TailStream(plan, position, "tangent")
    if single and len(plan.output) <= 3:
        return TransportStream(plan, position)
    return TailStream(plan, position, "tangent")


class TransportStream:
    """Kernels of a convolution by first-order transport, through the table of the Jacobian where it is cheaper."""

    def __init__(self, plan: Plan, position: int) -> None:
        self.plan, self.position = plan, position
        self.neurons, self.size = plan.stages[position].neurons, plan.size
        self.courses = Courses(plan, position)
        self.plain = TailStream(plan, position, "tangent")

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold the maps of all neurons."""
        before = same_kind(self, wanted.before)
        return fold_transport(self.courses, wanted, progress, None if before is None else before.courses)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Maps over a window, ``(n, h, w)``."""
        if self._plain_is_cheaper(len(neurons), window):
            return self.plain.maps(neurons, window)
        if window is None:
            return torch.from_numpy(maps_by_transport(self.courses, neurons))
        return torch.cat([part.abs().sum(1) for part in self._rows(neurons, window)], 1)

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed contribution to each colour, ``(n, colours, h, w)``."""
        if window is None or self._plain_is_cheaper(len(neurons), window):
            return self.plain.coloured(neurons, window)
        return torch.cat(list(self._rows(neurons, window)), 2)

    def crossings(self, rows: Indices, columns: Indices) -> ColouredMaps:
        """Signed contribution of all neurons where rows and columns cross, ``(K, colours, rows, columns)``."""
        return terms_at(self.courses, rows, columns)

    def _rows(self, neurons: Sequence[int], window: Window) -> Iterator[Tensor]:
        """Terms over a window, some rows at a time."""
        chosen = torch.as_tensor(list(neurons))
        columns = np.arange(window.x0, window.x1)
        size = max(1, HELD_VALUES // (self.neurons * 3 * len(columns)))
        for y in range(window.y0, window.y1, size):
            yield terms_at(self.courses, np.arange(y, min(window.y1, y + size)), columns)[chosen]

    def _plain_is_cheaper(self, count: int, window: Window | None) -> bool:
        """Whether running the rest of the network for each neuron takes less than making the table."""
        asked = window or Window(0, self.size[0], 0, self.size[1])
        stage, step = self.plan.stages[self.position], self.courses.step
        seen = windows_behind(self.plan, self.position, asked)
        rest = zip(self.plan.stages[self.position + 1 :], seen[1:], strict=True)
        each = sum(later.weight.numel() * coarse.shape[0] * coarse.shape[1] for later, (coarse, _) in rest)
        rows, columns = asked.shape
        cells = (rows // step[0] + 2) * (columns // step[1] + 2) if window is not None else 0
        table = rows * columns * self.courses.jacobian.products() + CALL * (cells + 4)
        return count * each + CALL * min(count, stage.outputs) <= table


CALL = 1e7
"""Multiplications in the time that a few calls of torch take."""


BAND_VALUES = 1 << 22
"""Values of the terms of all neurons that a band of a pixel-wise network holds (16 MB, a few times that on the way)."""


class PixelStream:
    """Input features of a linear layer by first-order transport: ``T = z ⊙ (J W)``, a matrix product a colour."""

    def __init__(self, plan: Plan, position: int) -> None:
        self.plan, self.position = plan, position
        self.neurons, self.size = plan.stages[position].neurons, plan.size

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold the maps of all neurons."""
        height, width = self.size
        stages = self.plan.stages[self.position :]
        wide = max(max(stage.inputs, stage.outputs) for stage in stages)
        rows = max(1, BAND_VALUES // (len(self.plan.output) * wide * width))
        total = Folded.empty(self.neurons, self.size, wanted)
        for y in range(0, height, rows):
            band = Window(y, min(height, y + rows), 0, width)
            before = None if wanted.before is None else self._of_band(wanted.before, band)
            area = (slice(band.y0, band.y1), slice(None))
            part = wanted.of_area(area, before)
            total.put(area, wanted, self._of_band(self, band).fold(part))
            if progress is not None:
                progress((band.y1 - band.y0) / height)
        return total

    def _of_band(self, stream: Stream, band: Window) -> LinearStream:
        """The maps of a band of rows, as features of so many pixels."""
        values = stream.maps(range(self.neurons), band).flatten(1).numpy()
        return LinearStream(values, np.ones(self.neurons, np.float32), 0.0, False, band.shape)

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Maps over a window, ``(n, h, w)``."""
        return self.coloured(neurons, window).abs().sum(1)

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed contribution to each colour, ``(n, colours, h, w)``."""
        asked = window or Window(0, self.size[0], 0, self.size[1])
        stage, index = self.plan.stages[self.position], torch.as_tensor(list(neurons))
        jacobian = pixel_jacobian(self.plan, self.position, asked) @ stage.weight[:, index]
        terms = jacobian * pixels_of(stage.input, self.size, asked)[:, index][:, None]
        return terms.permute(2, 1, 0).reshape(len(index), -1, *asked.shape)
