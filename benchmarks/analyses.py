"""What all findings of a paper-size NeRV cost, by `paper` and by `exact`, quietly and beside a busy core.

    python benchmarks/analyses.py [--repeats 3] [--out benchmarks/results/analyses.json]

The network is the paper's NeRV (fc_dim 37, 0.98 M parameters) for 128 x 256 with random weights; what it costs does not
depend on them. Two frames of a synthetic clip with instances and a frame before each, all layers, so that every finding
of the paper is made: galleries, groupings with moved and shuffled controls, intensity, pixels per neuron, neurons per
pixel, objects, motion with its optical flow, neuron vectors. Nothing is kept from one repeat to the next; methods take
turns. UMAP is no part of it. The goals: `paper` within 15 s beyond k-means, `exact` within 2.5 times that, and beside
a core that another program keeps busy at most 2.2 times the quiet time.

Seconds of wall time say what a person waits for; processor seconds are there for machines that do other work meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import torch

from xinc.cli.threads import WAITING
from xinc.findings.analyse import analyse
from xinc.findings.section4 import regions
from xinc.models.families import configure, family
from xinc.run import Run
from xinc.signals.synthetic import scene

SIZE, FRAMES, CHOSEN = (128, 256), 33, (1, 16)
METHODS = ("paper", "exact")
GOALS = {"paper": 15.0, "ratio": 2.5, "busy": 2.2}


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


def measure(run: Run, repeats: int, beside: str) -> list[dict[str, Any]]:
    """One row a method, medians over repeats after one run that is not counted."""
    taken: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    kmeans = regions.kmeans
    for repeat, method in itertools.product(range(repeats + 1), METHODS):
        watch = Stopwatch()
        regions.kmeans = watch.watched("k-means", kmeans)
        try:
            before = clocks()
            analyse(run, methods=(method,), frames=CHOSEN)
            wall, cpu = (now - then for now, then in zip(clocks(), before, strict=True))
        finally:
            regions.kmeans = kmeans
        if repeat:
            taken[method].append((wall, wall - watch.spent["k-means"][0], cpu))
    return [
        {
            "method": method,
            "beside": beside,
            "seconds": statistics.median(wall for wall, _, _ in rows),
            "beyond_kmeans": statistics.median(rest for _, rest, _ in rows),
            "least": min(rest for _, rest, _ in rows),
            "most": max(rest for _, rest, _ in rows),
            "processor_seconds": statistics.median(cpu for _, _, cpu in rows),
        }
        for method, rows in taken.items()
    ]


@contextmanager
def busy_core() -> Iterator[None]:
    """Another program that computes all the time."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if not os.environ.keys() & WAITING.keys():  # as the command line has it; it must be said before torch is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WAITING})
    run = network()
    load = os.getloadavg()[0]
    rows = measure(run, options.repeats, "nothing")
    with busy_core():
        rows += measure(run, max(1, options.repeats - 1), "a busy core")
    for row in rows:
        print(
            f"{row['method']:6s} beside {row['beside']:12s} {row['beyond_kmeans']:6.1f} s beyond k-means"
            f" ({row['least']:.1f} to {row['most']:.1f}), {row['seconds']:.1f} s in all,"
            f" {row['processor_seconds']:.1f} processor seconds"
        )
    quiet, busy = ({r["method"]: r["beyond_kmeans"] for r in part} for part in (rows[:2], rows[2:]))
    reached = {
        "paper": quiet["paper"],
        "ratio": quiet["exact"] / quiet["paper"],
        "busy": max(busy[method] / quiet[method] for method in METHODS),
    }
    for name, goal in GOALS.items():
        print(f"{name}: {reached[name]:.2f}, goal {goal:g}: {'met' if reached[name] <= goal else 'missed'}")
    if options.out:
        document = {
            "date": f"{date.today()}",
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, load {load:.1f}",
            "parameters": run.parameters,
            "size": SIZE,
            "frames": CHOSEN,
            "repeats": options.repeats,
            "goals": GOALS,
            "reached": {k: round(v, 2) for k, v in reached.items()},
            "rows": [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows],
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
