"""Ablation, the ground truth: what the picture loses when a neuron's term is removed and the rest runs again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from xinc.canvas.exact.tail import ConvolutionTail, LinearTail, TailStream, bands, pixels_of, tail_of
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.reductions.fold import Stream
from xinc.canvas.removal import RemovalStream, compiles


def ablation(plan: Plan, position: int) -> Stream:
    """``A_k(p) = sum_c |y(p, c) - y(p, c; z_k removed)|``, biases kept.

    A neuron's removal is carried on as a change: kernels change one channel only, so the next convolution reads that
    channel alone, in the last block the head is all that is left, and a window computes no more than it sees.
    """
    return RemovalStream(plan, position) if compiles(plan, position) else TailStream(plan, position, "secant")


def remover(plan: Plan, name: str) -> Callable[[Sequence[int]], Tensor]:
    """A function from neurons of a layer to the picture without all of them at once, ``(colours, H, W)``.

    Their terms are taken from the pre-activation, biases kept; what the sets share is computed once.
    """
    position = plan.place(name)
    if isinstance(position, Rest):
        return partial(_removed_by_replay, position)
    windows = bands(plan, position)
    shared = tail_of(plan, position, windows[0], "secant") if len(windows) == 1 else None

    def remove(neurons: Sequence[int]) -> Tensor:
        index = torch.as_tensor(list(neurons), dtype=torch.long, device=plan.output.device)
        tails = (shared or tail_of(plan, position, window, "secant") for window in windows)
        return plan.output + torch.cat([_removed(tail, index) for tail in tails], 1)

    return remove


def _removed_by_replay(rest: Rest, neurons: Sequence[int]) -> Tensor:
    with torch.no_grad():
        term = torch.zeros_like(rest.output)
        for first in range(0, len(neurons), 64):
            term += rest.operation.terms(neurons[first : first + 64]).sum(0).to(term.dtype)
        return rest.picture.images(rest.tail()(rest.output - term)[None])[0]


def _removed(tail: ConvolutionTail | LinearTail, index: Tensor) -> Tensor:
    """The picture's change over the tail's window without the terms of some neurons, ``(colours, h, w)``."""
    change = -_term_of(tail, index)
    return (tail.whole(change) if isinstance(tail, ConvolutionTail) else tail(change))[0]


def _term_of(tail: ConvolutionTail | LinearTail, index: Tensor) -> Tensor:
    """The sum of the terms of some neurons, with a leading axis of one."""
    stage = tail.plan.stages[tail.position]
    kept = torch.zeros_like(stage.weight)
    if isinstance(tail, LinearTail):
        kept[:, index] = stage.weight[:, index]
        return torch.nn.functional.linear(pixels_of(stage.input, tail.plan.size, tail.window), kept)[None]
    i, o = index // stage.outputs, index % stage.outputs
    kept[o, i] = stage.weight[o, i]
    return torch.nn.functional.conv2d(stage.input[None], kept, padding=stage.padding)
