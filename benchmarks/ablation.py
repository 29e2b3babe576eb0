"""Ablation of every neuron: heatmap and totals of whole layers, with exact and paper sums beside them.

    python benchmarks/ablation.py [--layers block3 block2 block1 ffn] [--out benchmarks/results/ablation.json]

The networks are a paper-size NeRV (see ``engine.py``) and the published FFN's shape (208, 104, 104 features) at
128 x 256, with random weights: what they cost does not depend on them. Seconds of wall and of processor time.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import xinc
from engine import network


def perceptron() -> tuple[nn.Module, torch.Tensor, dict[str, Any]]:
    torch.manual_seed(0)
    layers = nn.Linear(208, 104), nn.ReLU(), nn.Linear(104, 104), nn.ReLU(), nn.Linear(104, 3)
    return nn.Sequential(*layers), torch.randn(128 * 256, 208), {"size": (128, 256)}


def measured(module: nn.Module, values: torch.Tensor, method: str, names: list[str], **how: Any) -> dict[str, float]:
    xinc.trace(module, values, method=method, **how)[names[-1]].maps(range(20))  # compiled before the clock runs
    canvas = xinc.trace(module, values, method=method, **how)
    wall, processor = time.perf_counter(), time.process_time()
    for name in names:
        canvas[name].reduce(heatmap=True, totals=True)
    return {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", nargs="*", default=["block3", "ffn", "block2", "block1"])
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows = []
    for name in asked.layers:
        if name == "ffn":
            module, values, how = perceptron()
            names = ["layer1", "layer2", "layer3"]
        else:
            module, values, how, names = network(), torch.randn(1, 37, 8, 16), {}, [name]
        for method in ("paper", "exact", "ablation"):
            rows.append({"layer": name, "method": method, **measured(module, values, method, names, **how)})
            print(json.dumps(rows[-1]), flush=True)
    if asked.out:
        about = {"threads": torch.get_num_threads(), "machine": platform.processor() or platform.machine()}
        asked.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
