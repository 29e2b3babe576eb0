"""What shapes leave open, chosen by which network shows a frame of the signal best, and how far that choice is sure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from xinc.models.base import INR, Config, Pixelwise, count_parameters, decibels
from xinc.models.parts import OUTPUTS

PROBES, FEW = 32_768, 2048
"""Pixels of a coordinate network that decide between what shapes leave open, and between many at first."""
FINALISTS = 12
"""How many of many are compared by all those pixels."""
POOR, LESS, NEAR = 20.0, 3.0, 0.5
"""In dB: a fit below POOR, or LESS below a plain picture of as many values, is doubted; so is a second within NEAR."""
PLAIN_BEST = 35.0
"""In dB: beyond this nothing is asked of a fit, however well a plain picture does."""
ScoredConfig = tuple[float, Config]


def ranked(
    make: Callable[[Any], INR],
    state: dict[str, Tensor],
    configs: Sequence[Config],
    outputs: Sequence[str],
    frames: Tensor,
) -> list[ScoredConfig]:
    """Every open choice with its PSNR on one frame, best first; the plainest first among equals.

    Args:
        make: makes the network of a configuration.
        state: its weights.
        configs: that the weights could belong to.
        outputs: names of output functions that are tried with each.
        frames: ``(T, 3, H, W)`` that the network represents.
    """
    if len(configs) > FINALISTS and issubclass_of_pixels(make):
        first = _scores(make, state, configs, outputs, frames, FEW)
        best = list(dict.fromkeys(replaced(config, output=outputs[0]) for _, config in first))[:FINALISTS]
        order = {replaced(config, output=outputs[0]): place for place, config in enumerate(configs)}
        configs = sorted(best, key=lambda config: order.get(config, 0))
    return _scores(make, state, configs, outputs, frames, PROBES)


def issubclass_of_pixels(make: Callable[[Any], INR]) -> bool:
    """Whether the networks are of the kind that shows any choice of pixels."""
    return isinstance(make, type) and issubclass(make, Pixelwise)


def _scores(
    make: Callable[[Any], INR],
    state: dict[str, Tensor],
    configs: Sequence[Config],
    outputs: Sequence[str],
    frames: Tensor,
    probes: int,
) -> list[ScoredConfig]:
    scores: list[ScoredConfig] = []
    for config in configs:
        model = make(replaced(config, output="identity"))
        model.load_state_dict(state)
        raw, target = _probe(model.eval(), frames, probes)
        for output in outputs:
            error = (OUTPUTS[output](raw).clamp(0, 1) - target).double().square().mean()
            scores.append((float(decibels(error.nan_to_num(1.0))), replaced(config, output=output)))
    return sorted(scores, key=lambda score: -score[0])


@torch.no_grad()
def _probe(model: INR, frames: Tensor, probes: int) -> tuple[Tensor, Tensor]:
    """The network's values before the output function for part of the signal, and that part."""
    if isinstance(model, Pixelwise):
        pixels = model.grid.flatten(0, 1)
        chosen = torch.linspace(0, len(pixels) - 1, min(probes, len(pixels))).long()
        return model(pixels[chosen]), frames[0].flatten(1).T[chosen]
    middle = len(frames) // 2
    return model(model.frame_input(middle))[0], frames[middle]


def replaced(config: Config, **changes: Any) -> Config:
    """The configuration with some fields changed."""
    return dataclasses.replace(config, **changes)


def plain_psnr(frame: Tensor, values: int) -> float:
    """PSNR in dB of a frame ``(3, H, W)`` shrunk to so many values and enlarged again: it needs no network."""
    _, height, width = frame.shape
    share = min(1.0, (values / frame.numel()) ** 0.5)
    small = (max(1, round(height * share)), max(1, round(width * share)))
    shrunk = interpolate(frame[None], small, mode="area")
    shown = interpolate(shrunk, (height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1)
    return min(PLAIN_BEST, float(decibels((shown - frame).double().square().mean())))


def told(scores: Sequence[ScoredConfig], model: INR, frames: Tensor, settable: Sequence[str]) -> str:
    """A sentence on what was chosen, how well it shows a frame, and whether that can be trusted.

    Args:
        scores: what :func:`ranked` found.
        model: the network of the best one.
        frames: the signal.
        settable: names of what can be said by ``--set``.
    """
    best, config = scores[0]
    described = dataclasses.asdict(config)
    fields = [name for name, value in described.items() if any(getattr(c, name) != value for _, c in scores)]
    second = next((score for score in scores[1:] if score[0] < best - 1e-6), None)
    chosen = ", ".join(f"{name} {described[name]}" for name in fields)
    shown = (
        f"chosen by the fit to one frame: {chosen} ({best:.1f} dB"
        if fields
        else f"one frame is shown with {best:.1f} dB"
    )
    shown += f", the next best {second[0]:.1f} dB)" if second and fields else ")" if fields else ""
    plain = plain_psnr(frames[len(frames) // 2 if len(frames) > 1 else 0], count_parameters(model) // len(frames))
    if best < max(POOR, plain - LESS):
        return (
            f"{shown}; that is far from the signal (a picture of as many values, shrunk and enlarged, has {plain:.1f} "
            "dB): the network may be made otherwise than anything tried here, or show other frames; what you know can "
            f"be said by --set: {', '.join(settable)}"
        )
    if second and second[0] > best - NEAR:
        unsure = [name for name in fields if getattr(second[1], name) != described[name]]
        values = ", ".join(f"{name}={getattr(second[1], name)}" for name in unsure)
        return f"{shown}; the two are near each other: if you know it to be {values}, say so by --set"
    return shown
