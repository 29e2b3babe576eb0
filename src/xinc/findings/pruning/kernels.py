"""Joint pruning of convolutions with more kernels than a Gram matrix can hold: every output channel by itself.

A kernel that goes is made up for by the taps of the kernels that stay in its output channel, by least squares of what
reaches the activation, each place weighted by how much the picture depends on it: with patches ``x_p`` of the layer's
input and the picture's squared derivatives ``d_p`` at output ``o``, the loss of a change ``w`` of the channel's taps is
``w' C w`` with ``C = sum_p d_p x_p x_p'`` (Optimal Brain Surgeon for groups of weights, Frantar and Alistarh 2022;
there without the derivatives). What channels can do for each other is left to :mod:`xinc.findings.pruning.joint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.joint.probes import random_signs
from xinc.findings.pruning.cutting import Part
from xinc.findings.pruning.joint import FRAMES, PLACES, Moments, patches, sampled_places
from xinc.notation import Floats, Indices, Values
from xinc.run import Run
from xinc.signals.frames import spread

BY_GRAM = 4096
"""Kernels of a layer up to which a Gram matrix says who makes up for whom; its order takes the cube of their number."""

MOST_FRAMES = 33
"""Frames that are looked at for them, at most."""

PROBES = 8
"""Random pictures a frame by which squared derivatives are estimated."""

HELD_VALUES = 1 << 26
"""Values of ``C`` of all channels that are worked on together (512 MB in float64)."""

PATH_VALUES = 1 << 26
"""Weights that are kept on the way, one set a kernel that goes (256 MB); beyond, they are solved for again."""

DAMPING = 1e-3
"""Share of the mean diagonal of ``C`` that is added to it."""


@dataclass(frozen=True, eq=False)
class Channels:
    """What the kernels of each output channel can do for each other.

    Attributes:
        patches: of the layer's input ``(P, I * t)``, the places that were looked at.
        slopes: squared derivatives of the picture at the layer's output ``(O, P)``, scaled to all places.
        weight: of the layer ``(O, I * t)``.
        taps: ``t``, of a kernel.
    """

    patches: Floats
    slopes: Floats
    weight: Values
    taps: int
    _way: list[tuple[Indices, Floats]] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, run: Run, part: Part, frames: Sequence[int] | None, seed: int = 0) -> Channels:
        """Measure a run's layer, from a pass forwards and :data:`PROBES` backwards a frame."""
        module = run.model.get_submodule(part.layer.module)
        seen: list[tuple[Tensor, Tensor]] = []
        handle = module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
        grid = part.layer.shape[-2] * part.layer.shape[-1]
        wanted = min(len(run.clip), max(FRAMES, min(MOST_FRAMES, PLACES // grid)))  # a small grid has few places
        chosen = spread(len(run.clip), wanted) if frames is None else list(frames)
        like = torch.zeros(3).to(next(run.model.parameters()))
        read, slopes = [], []
        try:
            for t in chosen:
                seen.clear()
                with torch.enable_grad():
                    picture = run.model.render(t)
                ((values, output),) = seen
                square = torch.zeros_like(output)
                for signs in random_signs(run.clip.size, PROBES, seed + t, like):
                    square += torch.autograd.grad(picture, output, signs, retain_graph=True)[0].square() / PROBES
                count = output.shape[2] * output.shape[3]
                places = sampled_places(count, max(1, PLACES // len(chosen)), seed + t)
                read.append(patches(module, values.detach())[places].cpu().numpy())
                slopes.append(square.detach()[0].flatten(1)[:, places].cpu().numpy() * (count / len(places)))
        finally:
            handle.remove()
        weight = part.weights(run.model)  # (K, t), the kernel of output o and input i at i * O + o
        outputs, taps = part.layer.outputs, weight.shape[1]
        table = weight.reshape(-1, outputs, taps).transpose(0, 1).flatten(1).double().cpu().numpy()
        return cls(np.concatenate(read), np.concatenate(slopes, 1), table, taps)

    @property
    def inputs(self) -> int:
        """Kernels of an output channel."""
        return int(self.weight.shape[1]) // self.taps

    def moments(self) -> Iterator[tuple[slice, Values]]:
        """Some output channels at a time with their ``C``, damped, ``(o, I * t, I * t)``."""
        outputs, width = self.weight.shape
        size = max(1, HELD_VALUES // width**2)
        for first in range(0, outputs, size):
            some = slice(first, min(outputs, first + size))
            made = np.stack([(self.patches * slope[:, None]).T @ self.patches for slope in self.slopes[some]])
            found = made.astype(np.float64)
            level = DAMPING * np.trace(found, axis1=1, axis2=2) / width
            found[:, range(width), range(width)] += np.where(level > 0, level, 1.0)[:, None]
            yield some, found

    def losses(self, count: int = 0) -> tuple[Indices, Values]:
        """All kernels in the order in which they go, and the loss of each then: ``(K,)`` both, for any ``count``.

        Within an output channel the one goes whose loss is least after the others made up for it; channels are merged
        by the largest loss so far, so that none goes before those that had to go before it.
        """
        outputs, inputs = len(self.weight), self.inputs
        lost, gone = np.zeros((outputs, inputs)), np.zeros((outputs, inputs), np.int64)
        kept = outputs * inputs * self.weight.shape[1] <= PATH_VALUES
        way = np.zeros((outputs, inputs, self.weight.shape[1]) if kept else (outputs, 0, 0), np.float32)
        for some, found in self.moments():
            lost[some], gone[some] = _one_by_one(found, self.weight[some].copy(), self.taps, way[some])
        self._way[:] = [(gone, way)] if kept else []
        height = np.maximum.accumulate(lost, 1)
        merged = np.argsort(height.reshape(-1), kind="stable")
        neurons = gone * outputs + np.arange(outputs)[:, None]
        return neurons.reshape(-1)[merged], height.reshape(-1)[merged]

    def folded(self, gone: Sequence[int] | Indices) -> Values:
        """The weight without some kernels, those that stay making up for them, ``(O, I * t)``; what went is zero."""
        outputs = len(self.weight)
        away = np.zeros((outputs, self.inputs), bool)
        index = np.asarray(gone, np.int64)
        away[index % outputs, index // outputs] = True
        known = self._on_the_way(away)
        if known is not None:
            return known
        taps = np.repeat(away, self.taps, 1)
        weight = np.where(taps, 0.0, self.weight)
        for some, found in self.moments():
            for o, moments in enumerate(found, some.start):
                out, stay = np.flatnonzero(taps[o]), np.flatnonzero(~taps[o])
                if len(out) and len(stay):
                    shared = np.linalg.solve(moments[np.ix_(stay, stay)], moments[np.ix_(stay, out)])
                    weight[o, stay] += shared @ self.weight[o, out]
        return weight

    def _on_the_way(self, away: NDArray[np.bool_]) -> Values | None:
        """The weight as :meth:`losses` came by it, where exactly the first kernels of each channel are ``away``."""
        if not self._way:
            return None
        order, way = self._way[0]
        counts = away.sum(1)
        if not (
            np.take_along_axis(away, order, 1).cumsum(1) == np.minimum(np.arange(1, away.shape[1] + 1), counts[:, None])
        ).all():
            return None
        weight = self.weight.copy()
        some = np.flatnonzero(counts)
        weight[some] = way[some, counts[some] - 1]
        return weight


def rewriting(run: Run, part: Part, frames: Sequence[int] | None) -> Moments | Channels | None:
    """What makes up for neurons of a layer by other weights of those that stay; None where a scale each is all.

    Features of a linear layer always do; kernels where they are too many for a Gram matrix.
    """
    if part.folds:
        return Moments.of(run, part, frames)
    return Channels.of(run, part, frames) if part.unit == "neurons" and part.count > BY_GRAM else None


def _one_by_one(found: Values, weight: Values, taps: int, way: Floats) -> tuple[Values, Indices]:
    """Losses and kernels of some channels in the order in which they go, ``(o, I)`` both.

    ``way (o, I, I * t)``, where it has room, is filled with the weights after each kernel went.
    """
    channels, width = weight.shape
    inputs, each = width // taps, np.arange(channels)
    inverse = np.linalg.inv(found)
    gone = np.zeros((channels, inputs), bool)
    lost, order = np.zeros((channels, inputs)), np.zeros((channels, inputs), np.int64)
    for step in range(inputs):
        own = inverse.reshape(channels, inputs, taps, inputs, taps)[:, range(inputs), :, range(inputs)]
        blocks = np.ascontiguousarray(own.transpose(1, 0, 2, 3))
        blocks[gone] = np.eye(taps)
        kernels = weight.reshape(channels, inputs, taps)
        moved = np.linalg.solve(blocks, kernels[..., None])[..., 0]
        loss = np.where(gone, np.inf, (kernels * moved).sum(2))
        k = loss.argmin(1)
        lost[:, step], order[:, step] = loss[each, k], k
        columns = np.take_along_axis(inverse, (k[:, None] * taps + np.arange(taps))[:, None], 2)  # (o, I * t, t)
        weight -= (columns @ moved[each, k][..., None])[..., 0]
        inverse -= columns @ np.linalg.solve(blocks[each, k], columns.transpose(0, 2, 1))
        gone[each, k] = True
        weight[np.repeat(gone, taps, 1)] = 0
        if way.size:
            way[:, step] = weight
    return lost, order
