"""What all findings of one frame of a paper-size NeRV cost, head and block 3, and which share of it is k-means.

    python benchmarks/analyses.py [--repeats 5] [--out benchmarks/results/analyses.json]

The network is the paper's NeRV (fc_dim 37, 0.98 M parameters) for 128 x 256 with random weights; what it costs does not
depend on them. The frame is one of a synthetic clip with instances and a frame before it, so that every finding of
the paper is made: galleries, groupings with moved and shuffled controls, intensity, pixels per neuron, neurons per
pixel, objects, motion with its optical flow, neuron vectors. Nothing is kept from one repeat to the next. UMAP is no
part of it. The goal is at most 5 s on two processors beyond k-means.

Seconds of wall time say what a person waits for; processor seconds are there for machines that do other work meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

from xinc.findings import analyses
from xinc.findings.analyse import analyse
from xinc.findings.section4 import regions
from xinc.models.families import configure, family
from xinc.run import Run
from xinc.signals.synthetic import scene

SIZE, FRAMES, FRAME = (128, 256), 33, 16
LAYERS = ("head", "block3")
GOAL = 5.0


def clocks() -> tuple[float, float]:
    """Seconds of wall time, and of all threads of this process."""
    return time.perf_counter(), time.process_time()


class Stopwatch:
    """Adds up what functions take."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, its time added to what ``name`` took."""

        def run(*args: Any, **options: Any) -> Any:
            before = clocks()
            try:
                return function(*args, **options)
            finally:
                for i, (now, then) in enumerate(zip(clocks(), before, strict=True)):
                    self.spent[name][i] += now - then

        return run


def network() -> Run:
    """A NeRV of the paper's size that was not fitted."""
    torch.manual_seed(0)
    row = family("nerv")
    model = row.model(configure("nerv", SIZE, FRAMES)).eval()
    return Run("nerv", model, scene(SIZE, FRAMES).clip)


def measure(run: Run, repeats: int) -> list[dict[str, Any]]:
    """One row a part, medians over repeats after one run that is not counted."""
    taken: dict[str, list[list[float]]] = defaultdict(list)
    kmeans, known = regions.kmeans, dict(analyses.ANALYSES)
    papers = [name for name, row in known.items() if row.default]
    for repeat in range(repeats + 1):
        watch = Stopwatch()
        regions.kmeans = watch.watched("k-means", kmeans)
        try:
            before = clocks()
            analyse(run, layers=LAYERS, frames=[FRAME], findings=papers)
            whole = [now - then for now, then in zip(clocks(), before, strict=True)]
        finally:
            regions.kmeans = kmeans
        if repeat:
            taken["all findings"].append(whole)
            taken["of which k-means"].append(watch.spent["k-means"])
            taken["beyond k-means"].append([a - b for a, b in zip(whole, watch.spent["k-means"], strict=True)])
    return [
        {
            "part": part,
            "seconds": statistics.median(wall for wall, _ in rows),
            "least": min(wall for wall, _ in rows),
            "most": max(wall for wall, _ in rows),
            "processor_seconds": statistics.median(cpu for _, cpu in rows),
        }
        for part, rows in taken.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    run = network()
    rows = measure(run, options.repeats)
    for row in rows:
        print(
            f"{row['part']:18s} {row['seconds']:6.2f} s  ({row['least']:.2f} to {row['most']:.2f}),"
            f" {row['processor_seconds']:.2f} processor seconds"
        )
    whole, clusters, rest = (row["seconds"] for row in rows)
    print(f"k-means is {100 * clusters / whole:.0f} % of it; the goal of {GOAL:g} s beyond k-means is", end=" ")
    print("met" if rest <= GOAL else "missed")
    if options.out:
        load = os.getloadavg()[0]
        document = {
            "date": f"{date.today()}",
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, load {load:.1f}",
            "parameters": run.parameters,
            "layers": LAYERS,
            "size": SIZE,
            "repeats": options.repeats,
            "rows": [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows],
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
