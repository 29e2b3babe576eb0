"""A fresh process that makes reductions and prints by how much its memory grew at most, for ``test_memory.py``.

What is counted is the resident memory of the whole process, so that torch's allocations count like NumPy's.

    python memory_child.py [hold]     # hold: a mutant, whose streams make all maps before they fold them
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import xinc
import xinc.canvas.trace  # every module that holds a budget is loaded before budgets change
from xinc.canvas.reductions.fold import Folded, Pass, dense_fold

SIZE = (96, 128)
BUDGETS = (
    *("TABLE_VALUES", "HELD_VALUES", "CHUNK_VALUES", "BAND_VALUES"),
    *("COMB_VALUES", "PLANE_VALUES", "KEPT_VALUES"),
)
"""Constants that say how many values may be held; here a 64th of them, so that small networks will do."""


def decoder(size: tuple[int, int]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    last = nn.Conv2d(12, 4 * 4, 3, padding=1), nn.PixelShuffle(2), nn.GELU(), nn.Conv2d(4, 3, 1)
    block = nn.Conv2d(12, 12 * 4, 3, padding=1), nn.PixelShuffle(2), nn.GELU()
    return nn.Sequential(*block, *last), torch.randn(1, 12, size[0] // 4, size[1] // 4)


def perceptron(size: tuple[int, int]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    grid = torch.stack(torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij"), -1) / 64
    layers = nn.Linear(2, 1024), nn.Tanh(), nn.Linear(1024, 8), nn.Tanh(), nn.Linear(8, 3)
    return nn.Sequential(*layers), grid.reshape(-1, 2).float()


def skip(size: tuple[int, int]) -> tuple[nn.Module, torch.Tensor]:
    """No layer is on the chain; pictures are twice as large, since single products are slow."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(2, 12, 1), nn.Conv2d(12, 12, 1), nn.Conv2d(12, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.tanh(self.a(x))
            return self.c(y + torch.tanh(self.b(y)))

    torch.manual_seed(0)
    return Skip(), torch.randn(1, 2, 2 * size[0], 2 * size[1])


CASES: list[tuple[str, Callable[[], Any], str, str]] = [
    ("chain", decoder, "block1", "paper"),
    ("chain", decoder, "block1", "exact"),
    ("chain", decoder, "block1", "ablation"),
    ("pixels", perceptron, "layer2", "paper"),
    ("pixels", perceptron, "layer2", "exact"),
    ("pixels", perceptron, "layer2", "ablation"),
    ("off the chain", skip, "b", "paper"),
    ("off the chain", skip, "b", "exact"),
    ("off the chain", skip, "b", "ablation"),
]


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def settle() -> None:
    """Give free memory back and let the peak begin anew."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def growth(work: Callable[[], object]) -> int:
    settle()
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def fold_all_maps(self: Any, wanted: Pass, progress: Any = None) -> Folded:
    """The mutant: right, and holding neurons x pixels."""
    into = Folded.empty(self.neurons, self.size, wanted)
    dense_fold(self.maps(range(self.neurons)), range(self.neurons), wanted, into)
    return into


def main() -> None:
    for module in [module for name, module in sys.modules.items() if name.startswith("xinc.canvas")]:
        for name in BUDGETS:
            if hasattr(module, name):
                setattr(module, name, getattr(module, name) // 64)
    for name, network, layer, method in CASES:
        reduced(network, layer, method, (8, 8))()  # libraries and compiled loops are there before memory is counted
        work = reduced(network, layer, method, SIZE)
        grown = growth(work)
        print(json.dumps({"case": f"{name} {method}", "maps": MAPS[name], "grown": grown}), flush=True)


def reduced(network: Callable[[Any], Any], layer: str, method: str, size: tuple[int, int]) -> Callable[[], None]:
    """Reductions of one layer, of one frame and of two."""
    module, values = network(size)
    given = {"size": size} if network is perceptron else {}
    now, then = (xinc.trace(module, v, method=method, **given)[layer] for v in (values, 0.9 * values))
    if "hold" in sys.argv:
        type(now._stream).fold = fold_all_maps
    labels = np.zeros(now.shape[1:], np.int64)

    def work() -> None:
        now.reduce(heatmap=True, regions={"a": labels}, pixels_per_neuron=True)
        if method != "ablation":
            now.change(then)

    MAPS.update({name: 4 * int(np.prod(now.shape)) for name, made, *_ in CASES if made is network})
    return work


MAPS: dict[str, int] = {}
"""Bytes that all maps of a case take."""


if __name__ == "__main__":
    main()
