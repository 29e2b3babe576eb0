"""Ablation of a chain's kernels in compiled loops: whole layers, folded map by map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from xinc.canvas.exact.tail import TailStream, change_terms
from xinc.canvas.kernels import CODES, Fold
from xinc.canvas.kernels.removal import LaterLayers, stream_removal
from xinc.canvas.network.plan import Plan
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.reductions.fold import Accumulators, Folded, Pass, dense_fold
from xinc.canvas.reductions.packing import flat
from xinc.canvas.reductions.stream import in_threads, workers
from xinc.notation import ColouredMaps, Floats, Maps

MANY = 16
"""Maps from which on the derivatives of all later activations are worth making."""


class Buffers(NamedTuple):
    """Of one thread; see :func:`~xinc.canvas.kernels.removal.stream_removal`."""

    planes: Floats
    made: Floats
    line: Floats
    picture: Floats


def compiles(plan: Plan, position: int) -> bool:
    """Whether the compiled loops know all of a chain's rest: single precision on the CPU, named activations."""
    stages = plan.stages[position:]
    single = plan.output.dtype == torch.float32 and plan.output.device.type == "cpu"
    return single and all(s.kind == "convolution" and s.activation.name in CODES for s in stages)


@dataclass
class RemovalStream:
    """Ablation of kernels; single maps and windows run the rest of the network for a few neurons at a time."""

    plan: Plan
    position: int
    neurons: int = field(init=False)
    size: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.neurons, self.size = self.plan.stages[self.position].neurons, self.plan.size
        self.plain = TailStream(self.plan, self.position, "secant")

    @cached_property
    def rest(self) -> LaterLayers:
        """What the loops read of the network."""
        stages, rows = self.plan.stages[self.position :], []
        weights, at, terms = [np.zeros(0, np.float32)], [], []
        weight_at = value_at = 0
        for stage in stages:
            (rh, rw), (kh, kw) = stage.upscale, stage.weight.shape[2:]
            channels = stage.outputs // (rh * rw)
            rows.append((*stage.input.shape[1:], rh, rw, stage.inputs, channels, kh, kw, weight_at, value_at,
                         CODES[stage.activation.name]))  # fmt: skip
            argument = stage.preactivation().flatten()
            at.append(argument.numpy())
            terms.append(change_terms(stage.activation, argument).numpy())
            value_at += argument.numel()
            if stage is not stages[0]:
                weights.append(stage.weight.flatten().numpy())
                weight_at += stage.weight.numel()
        first = stages[0]
        (py, px), given = first.padding, [stage.activation.parameters for stage in stages]
        return LaterLayers(
            values=torch.nn.functional.pad(first.input, (px, px, py, py)).contiguous().numpy(),
            kernels=np.ascontiguousarray(first.weight.numpy().transpose(1, 0, 2, 3)),
            stages=np.array(rows, np.int64),
            weights=np.concatenate(weights),
            at=np.concatenate(at),
            terms=np.concatenate(terms, 1),
            parameters=np.array([(*p, 0.0, 0.0, 0.0)[:3] for p in given], np.float32),
        )

    def fold(self, wanted: Pass, progress: Callable[[float], None] | None = None) -> Folded:
        """Fold all maps; threads share the input channels."""
        if wanted.before is not None:
            return self._fold_two_frames(wanted, progress)
        stage, shared = self.plan.stages[self.position], Accumulators(self.neurons, flat(self.size), wanted)

        def work(part: range, own: tuple[Fold, Buffers]) -> None:
            index = np.arange(part.start, part.stop)
            jobs = np.stack([index // stage.outputs, index % stage.outputs, index], 1)
            stream_removal(self.rest, jobs, *own[1], own[0])

        parts = [range(a, min(self.neurons, a + 8)) for a in range(0, self.neurons, 8)]
        states = in_threads(parts, work, lambda: (shared.worker(), self._buffers()), progress)
        return shared.finish([fold for fold, _ in states])

    def _fold_two_frames(self, wanted: Pass, progress: Callable[[float], None] | None) -> Folded:
        into = Folded.empty(self.neurons, self.size, wanted)
        for first in range(0, self.neurons, MANY):
            some = range(first, min(self.neurons, first + MANY))
            dense_fold(self.maps(some), some, wanted, into)
            if progress is not None:
                progress(len(some) / self.neurons)
        return into

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Sum over colours of the absolute change, ``(n, h, w)``."""
        if window is not None or len(neurons) < MANY:
            return self.plain.maps(neurons, window)
        index, outputs = np.asarray(neurons, np.int64), self.plan.stages[self.position].outputs
        jobs = np.stack([index // outputs, index % outputs, np.arange(len(index))], 1)
        out = np.empty((len(index), self.size[0] * self.size[1]), np.float32)

        def work(part: slice, own: Buffers) -> None:
            stream_removal(self.rest, jobs[part], *own, Accumulators.nothing(out))

        size = max(1, -(-len(index) // (4 * workers())))
        in_threads([slice(a, a + size) for a in range(0, len(index), size)], work, self._buffers, None)
        return torch.from_numpy(out.reshape(-1, *self.size))

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed change of each colour, ``(n, colours, h, w)``."""
        return self.plain.coloured(neurons, window)

    def _buffers(self) -> Buffers:
        stages = self.plan.stages[self.position :]
        grids = [(int(s.input.shape[1]) + s.weight.shape[2], int(s.input.shape[2]) + s.weight.shape[3]) for s in stages]
        planes = max([h * w * s.inputs for s, (h, w) in zip(stages, grids, strict=True)][1:], default=0)
        pixels = self.size[0] * self.size[1]
        cells = max(s.upscale[0] * s.upscale[1] for s in stages)
        made = max(h * w for h, w in grids)
        return Buffers(
            np.zeros((2, max(planes, pixels) + 64), np.float32),
            np.zeros((cells, made + 64), np.float32),
            np.zeros(self.size[1] + 64, np.float32),
            np.zeros(pixels, np.float32),
        )
