"""Somebody else's decoder, off the plain chain: heatmaps and totals of all layers, one by one, together, by probes.

    python benchmarks/foreign.py WEIGHTS [--latent 100] [--each] [--out FILE]

WEIGHTS are a safetensors file of a decoder with bilinear skips, sines, a dilated refinement and two heads at 384 x 512
(229,000 parameters; ``stem``, ``blocks``, ``skips``, ``refine``, ``rgb_0``, ``rgb_1`` and a table of ``latents``). Each
row is measured in a process of its own. ``--each`` also takes the layers one by one. Totals of some neurons of each
layer are compared with products with vectors.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import xinc
from xinc.canvas.exact.products import Products
from xinc.canvas.network.plan import Rest

WIDTHS = (36, 36, 36, 27, 20, 18, 18)
CHECKED = 4
"""Neurons a layer whose totals are compared."""


class Decoder(nn.Module):
    """A latent of 28 numbers to two frames of 384 x 512."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(28, WIDTHS[0] * 6 * 8)
        self.blocks = nn.ModuleList(nn.Conv2d(i, 4 * o, 3, padding=1) for i, o in pairwise(WIDTHS))
        self.skips = nn.ModuleDict({str(k): nn.Conv2d(i, o, 1) for k, (i, o) in enumerate(pairwise(WIDTHS)) if i != o})
        self.refine = nn.ModuleList([nn.Conv2d(18, 9, 3, padding=2, dilation=2), nn.Conv2d(9, 18, 3, padding=1)])
        self.rgb_0, self.rgb_1 = nn.Conv2d(18, 3, 3, padding=1), nn.Conv2d(18, 3, 3, padding=1)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.sin(self.stem(latent).view(1, WIDTHS[0], 6, 8))
        for k, block in enumerate(self.blocks):
            skip = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            skip = self.skips[str(k)](skip) if str(k) in self.skips else skip
            x = torch.sin(F.pixel_shuffle(block(x), 2) + skip)
        x = x + 0.1 * torch.sin(self.refine[1](self.refine[0](x)))
        return torch.sigmoid(self.rgb_0(x)) * 255, torch.sigmoid(self.rgb_1(x)) * 255


def canvas_of(weights: str, latent: int) -> xinc.Canvas:
    found = load_file(weights)
    network = Decoder()
    network.load_state_dict({name: found[name].float() for name in network.state_dict()})
    return xinc.trace(network.eval(), found["latents"][latent : latent + 1].float(), output=0, method="exact")


Found = tuple[dict[str, Any], Callable[[], dict[str, Any]]]
"""What a row says, and what is checked after its time and memory were read."""


def together(canvas: xinc.Canvas) -> Found:
    found = canvas.sums()

    def check() -> dict[str, Any]:
        apart = []
        for rest in (canvas.plan.place(name) for name in canvas.layers):
            if isinstance(rest, Rest):
                some = torch.linspace(0, rest.operation.neurons - 1, CHECKED).long().tolist()
                wanted = Products(rest).forward(rest.operation.terms(some)).abs().sum((1, 2, 3))
                apart.append(float((found[rest.operation.name].totals[some] / wanted - 1).abs().max()))
        return {"off by": max(apart)}

    return {"layers": len(found), "neurons": sum(len(one.totals) for one in found.values())}, check


def each(canvas: xinc.Canvas) -> Found:
    seconds = {}
    for name in canvas.layers:
        begun = time.perf_counter()
        canvas[name].reduce(heatmap=True, totals=True)
        seconds[name] = round(time.perf_counter() - begun, 1)
    return {"layers": len(seconds), "by layer": seconds}, dict


def probes(canvas: xinc.Canvas) -> Found:
    table = canvas.energies()
    return {"neurons": len(table), "relative standard error": round(float(table["error"].max()), 3)}, dict


ROWS: dict[str, Callable[[xinc.Canvas], Found]] = {"together": together, "probes": probes, "each": each}


def measured(weights: str, latent: int, row: str) -> dict[str, Any]:
    canvas = canvas_of(weights, latent)
    begun = time.perf_counter()
    found, check = ROWS[row](canvas)
    seconds = round(time.perf_counter() - begun, 1)
    most = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return {"what": row, "seconds": seconds, "most GB": most, **found, **check()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("--latent", type=int, default=100)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/foreign.json"))
    given = parser.parse_args()
    rows = []
    for row in list(ROWS) if given.each else ["together", "probes"]:
        with get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measured, (given.weights, given.latent, row)))
        print(rows[-1], flush=True)
    about = {"date": str(date.today()), "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"}
    given.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
