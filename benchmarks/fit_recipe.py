"""The default recipes against the papers' own, side by side in one run: seconds to the same PSNR.

    python benchmarks/fit_recipe.py [--repeats 3] [--families nerv ffn] [--out benchmarks/results/fit_recipe.json]

Each repeat has its own seed. The plain recipe is fitted with the number of epochs that the demo would need of it: 100
for a NeRV of 33 frames of Big Buck Bunny at 128 x 256, the paper's 1000 for the FFN of its first frame. Ours is fitted
with growing numbers of epochs, each a whole fit with its own schedule, until one reaches the plain recipe's PSNR; its
time is that of this fit alone. Both alternate within a repeat, so that other load on the machine meets both alike;
processor seconds (all threads) are given beside the clock's.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

import xinc
from xinc import models
from xinc.models.recipe import Recipe
from xinc.signals.clip import Clip

PLAIN_EPOCHS = {"nerv": 100, "ffn": 1000, "siren": 1000, "hnerv": 100}
OUR_EPOCHS = {
    "nerv": (32, 40, 48, 56, 64),
    "ffn": (40, 60, 80, 100, 150),
    "siren": (10, 20, 40, 80),
    "hnerv": (12, 24, 48),
}


def timed(name: str, clip: Clip, recipe: Recipe, epochs: int, seed: int) -> dict[str, float]:
    """One fit: epochs, mean PSNR of its frames in dB, seconds of the clock and of all processors."""
    clock, processor = time.perf_counter(), time.process_time()
    run = xinc.fit(name, clip, recipe=recipe, epochs=epochs, seed=seed)
    row = {"epochs": epochs, "seconds": time.perf_counter() - clock, "processor": time.process_time() - processor}
    return {**row, "psnr": float(run.psnr().mean())}


def compare(name: str, clip: Clip, seed: int) -> dict[str, dict[str, float]]:
    """The plain recipe, and the shortest of our fits that shows the clip as well."""
    row = models.family(name)
    plain = timed(name, clip, row.plain, PLAIN_EPOCHS[name], seed)
    print(f"{name} seed {seed} plain: {plain}", flush=True)
    for epochs in OUR_EPOCHS[name]:
        ours = timed(name, clip, row.recipe, epochs, seed)
        print(f"{name} seed {seed} ours: {ours}", flush=True)
        if ours["psnr"] >= plain["psnr"]:
            break
    return {"plain": plain, "ours": ours}


def median(rows: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians over seeds, and the ratio of the times."""
    kinds = {
        kind: {key: statistics.median(row[kind][key] for row in rows) for key in rows[0][kind]} for kind in rows[0]
    }
    shares = {
        f"share of the {key}": round(statistics.median(row["ours"][key] / row["plain"][key] for row in rows), 3)
        for key in ("seconds", "processor")
    }
    rounded = {kind: {key: round(value, 2) for key, value in values.items()} for kind, values in kinds.items()}
    return {**rounded, **shares, "repeats": len(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--families", nargs="+", default=["nerv", "ffn"], choices=list(models.FAMILIES))
    parser.add_argument("--signal", default="bunny", help="anything that xinc.open knows")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    clip = xinc.open(given.signal, size=(128, 256), every=4)
    results = {name: median([compare(name, clip, seed) for seed in range(given.repeats)]) for name in given.families}
    machine = {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    report = {"date": str(date.today()), "machine": machine, "torch": torch.__version__, "clip": repr(clip), **results}
    print(json.dumps(report, indent=1))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
