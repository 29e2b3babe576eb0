"""The same calls on a GPU: parity with the CPU, and seconds of both on one machine.

    python benchmarks/gpu.py [--out benchmarks/results/gpu.json]

A paper-size NeRV (see ``engine.py``), an MLP of the published FFN's shape, and a decoder with bilinear skips and a
latent stem (off the plain chain), with random weights. Each row: heatmap and totals of a layer by a method, effects on
a number, or energies of all layers by 64 probes; seconds after one run that is not counted, and the greatest difference
over the greatest value. The goal is parity to 1e-4.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import xinc
from engine import network

GOAL = 1e-4


class Skips(nn.Module):
    """A latent through a linear stem, then stages of a convolution with a bilinear skip and a sine."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(28, 24 * 8 * 16)
        self.blocks = nn.ModuleList(nn.Conv2d(24, 96, 3, padding=1) for _ in range(4))
        self.rgb = nn.Conv2d(24, 3, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        x = torch.sin(self.stem(latent).reshape(-1, 24, 8, 16))
        for block in self.blocks:
            skip = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = torch.sin(nn.functional.pixel_shuffle(block(x), 2) + skip)
        return torch.sigmoid(self.rgb(x))


def perceptron() -> nn.Module:
    layers = nn.Linear(208, 104), nn.ReLU(), nn.Linear(104, 104), nn.ReLU(), nn.Linear(104, 3)
    return nn.Sequential(*layers)


def cases() -> list[tuple[str, nn.Module, Tensor, dict[str, Any], list[tuple[str, str]]]]:
    """Name, network, input, how it is traced, layers with methods."""
    torch.manual_seed(0)
    layers = [("head", "exact"), ("block3", "exact"), ("block2", "exact"), ("block3", "ablation"), ("block3", "paper")]
    pixels = [("layer2", "exact"), ("layer2", "ablation"), ("layer1", "paper")]
    skips = [("rgb", "exact"), ("blocks.3", "exact"), ("blocks.2", "exact"), ("stem", "exact")]
    return [
        ("NeRV 128x256", network(), torch.randn(1, 37, 8, 16), {}, layers),
        ("FFN 128x256", perceptron(), torch.randn(128 * 256, 208), {"size": (128, 256)}, pixels),
        ("skips 128x256", Skips(), torch.randn(1, 28), {}, skips),
    ]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    value = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, value


def apart(values: Any, others: Any) -> float:
    wide = [[torch.as_tensor(value).double().cpu() for value in side] for side in (values, others)]
    return max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-30)) for a, b in zip(*wide, strict=True))


def row(case: str, what: str, of: Callable[[str], Any]) -> dict[str, Any]:
    seconds, known = {}, {}
    for device in ("cpu", "cuda"):
        seconds[device], known[device] = timed(partial(of, device))
    difference = apart(known["cpu"], known["cuda"])
    found = {"case": case, "what": what, **{k: round(v, 4) for k, v in seconds.items()}, "difference": difference}
    print(json.dumps({**found, "parity": difference <= GOAL}), flush=True)
    return found


def rows() -> list[dict[str, Any]]:
    found = []
    for case, module, values, how, asked in cases():
        trace = partial(traced, module, values, how)
        for layer, method in asked:
            found.append(row(case, f"{layer}, {method}, heatmap and totals", partial(sums, trace, layer, method)))
        found.append(row(case, "effects on the mean", partial(effects, trace)))
        found.append(row(case, "energies, 64 probes", partial(energies, trace)))
    return found


Trace = Callable[[str, str], xinc.Canvas]


def traced(module: nn.Module, values: Tensor, how: dict[str, Any], device: str, method: str) -> xinc.Canvas:
    return xinc.trace(module.to(device).eval(), values.to(device), method=method, **how)


def sums(trace: Trace, layer: str, method: str, device: str) -> Any:
    made = trace(device, method)[layer].reduce(heatmap=True, totals=True)
    return made.heatmap, made.totals


def effects(trace: Trace, device: str) -> Any:
    return (trace(device, "exact").attribute(lambda y: y.mean())["effect"].to_numpy(),)


def energies(trace: Trace, device: str) -> Any:
    return (trace(device, "exact").energies()["energy"].to_numpy(),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; these rows need one")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    made = rows()
    about = {"date": f"{date.today()}", "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "goal": GOAL}
    if asked.out:
        asked.out.write_text(json.dumps({**about, "threads": torch.get_num_threads(), "rows": made}, indent=1) + "\n")
    worst = max(one["difference"] for one in made)
    print(f"greatest difference {worst:.1e}: goal {GOAL:g} {'met' if worst <= GOAL else 'missed'}")


if __name__ == "__main__":
    main()
