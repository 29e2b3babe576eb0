"""A network that the page cannot run, as pictures: a few frames with the maps of each layer's strongest neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.trace import Canvas

STRONGEST = 16
"""Neurons of each layer whose maps a page holds."""
FRAMES = 3
"""Frames of a clip that a page holds so."""
MAP_BYTES = 8_000_000
"""What the maps of one frame may take; they are averaged over square cells until they do."""
SUMMED_VALUES = 1 << 27
"""Neurons times pixels up to which a layer's heatmap, totals and sum are made."""


def still(canvas: Canvas, frame: int) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """What the page holds of one frame.

    Args:
        canvas: by the method ``exact``.
        frame: its number in the page.

    Returns:
        The neurons of each layer whose maps are held, strongest first; and arrays by name:

        - ``still/FRAME/picture (3, H, W)``: what the network makes;
        - ``still/FRAME/LAYER/maps (n, 3, h, w)``: signed maps, 128 for nothing, and ``scale (n,)`` of 127 steps;
        - ``still/FRAME/LAYER/totals (K,)``: sum of |C|, else the square root of the energy, by random signs;
        - ``still/FRAME/LAYER/heat (h, w)`` and ``sum (3, h, w)``, the sum of all maps, where they cost little.

    Raises:
        TraceError: a layer cannot be traced.
    """
    height, width = canvas.size
    energies = canvas.energies()
    counts = {name: min(STRONGEST, canvas[name].shape[0]) for name in canvas.layers}
    step = 1
    while 3 * sum(counts.values()) * -(-height // step) * -(-width // step) > MAP_BYTES:
        step += 1
    arrays: dict[str, Any] = {f"still/{frame}/picture": canvas.output.detach().half().cpu()}
    held: dict[str, list[int]] = {}
    for name, count in counts.items():
        layer, at = canvas[name], f"still/{frame}/{name}"
        strength = energies.loc[energies["layer"] == name].sort_values("neuron")["energy"].to_numpy()
        order = np.argsort(-strength, kind="stable")[:count]
        held[name] = order.tolist()
        maps = cells(layer.maps(order, signed=True), step)
        scale = maps.abs().amax((1, 2, 3)).clamp_min(1e-12)
        arrays[f"{at}/maps"] = (maps / scale[:, None, None, None] * 127 + 128).round().byte().cpu()
        arrays[f"{at}/scale"] = scale.cpu()
        arrays[f"{at}/totals"] = np.sqrt(np.maximum(strength, 0)).astype(np.float32)
        if layer.shape[0] * height * width <= SUMMED_VALUES:
            found = layer.reduce(heatmap=True, totals=True)
            arrays[f"{at}/totals"] = found.totals.float().cpu()
            arrays[f"{at}/heat"] = cells(found.heatmap[None, None], step)[0, 0].half().cpu()
            arrays[f"{at}/sum"] = cells(layer.sum(range(layer.shape[0]))[None], step)[0].half().cpu()
    return held, arrays


def cells(maps: Tensor, step: int) -> Tensor:
    """``(n, C, H, W)`` averaged over square cells of ``step`` pixels, those at the edge over what is there."""
    if step == 1:
        return maps
    return torch.nn.functional.avg_pool2d(maps, step, ceil_mode=True, count_include_pad=False)
