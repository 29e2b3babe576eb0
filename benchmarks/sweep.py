"""What a sweep costs beside its cells: two workers against one, overhead, the scheduler's memory, rates.

    python benchmarks/sweep.py [--parts speed,overhead,scheduler,rates] [--out benchmarks/results/sweep.json]

Signals are pictures of noise and gradients that the script makes. ``speed`` makes 24 small cells by one worker process
and by two, and compares every number; ``overhead`` makes 6 longer ones by one worker and takes off what their steps
took; ``scheduler`` sends 2,000 cells that do nothing, each as a task of its own, through a scheduler and two workers
that are started by hand, and reads the scheduler's memory on the way; ``rates`` makes a cell of each family with one
thread, for the constants of ``xinc/sweep/cost.py``. Parts that are not asked for keep their numbers in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from xinc.sweep import cost
from xinc.sweep import sweep as sweeping
from xinc.sweep.cells import cells_of, make
from xinc.sweep.place.opening import open_place
from xinc.sweep.study import Study, read_study
from xinc.sweep.table import TABLE

STUDY = """
[study]
models = ["ffn"]
seeds = {seeds}
size = [32, 48]
epochs = {epochs}
methods = ["exact"]
draws = 100

[[signal]]
path = "pictures/*.png"
"""
SMALL, LONGER = 4.0, 10.0
"""Seconds of a cell in ``speed`` and in ``overhead``."""
RATES = """
[study]
models = ["ffn", "siren", "nerv", "hnerv"]
size = [64, 128]
methods = ["exact", "paper", "official"]
frames = [1, 3]
draws = 50

[[signal]]
path = "clip"
count = 8
epochs = 20
"""


def pictures(folder: Path, count: int, size: tuple[int, int] = (32, 48)) -> Path:
    """Pictures of waves and noise; none is like another."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]] / 16
    for i in range(count):
        waves = [np.sin(x * rng.uniform(0.5, 3) + y * rng.uniform(0.5, 3) + i) for _ in range(3)]
        picture = np.stack(waves, -1) * 80 + 128 + rng.normal(0, 8, (*size, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"p{i:02d}.png")
    return folder


def study(folder: Path, text: str) -> Study:
    path = folder / "study.toml"
    path.write_text(text)
    return read_study(path)


def swept(known: Study, out: Path, **how: Any) -> dict[str, float]:
    """Make a sweep, and say how long it took with its cluster, and from its first cell on."""
    begun, times = time.perf_counter(), []
    end = sweeping.sweep(known, str(out), report=lambda now: times.append(time.perf_counter()), **how)
    assert not end.failed, end.failed
    whole, last = time.perf_counter() - begun, times[-1]
    steps = [json.loads(p.read_text())["seconds"] for p in out.glob("*/*/cell.json")]
    return {
        "seconds": round(whole, 1),
        "seconds_to_start": round(times[1] - begun, 1),
        "seconds_at_work": round(last - times[1], 1),
        "seconds_of_cells": round(sum(sum(one.values()) for one in steps), 1),
        "cells": len(steps),
    }


def epochs_for(folder: Path, seconds: float) -> int:
    """Epochs with which a cell lasts so long on this machine; loops are compiled on the way."""
    torch.set_num_threads(1)
    pictures(folder / "pictures", 1)
    took = {}
    for epochs in (5, 20, 120):
        (cell,) = cells_of(study(folder, STUDY.format(seeds=[0], epochs=epochs)))
        took[epochs] = make(cell, open_place(str(folder / f"out{epochs}")), "cpu")["seconds"]
    each = (took[120]["fit"] - took[20]["fit"]) / 100
    return max(20, round((seconds - sum(took[20].values())) / each))


def numbers(out: Path) -> pd.DataFrame:
    table = pd.read_parquet(out / TABLE)
    return table[table["statistic"] != "seconds"].reset_index(drop=True)


def speed(folder: Path) -> dict[str, Any]:
    pictures(folder / "pictures", 12)
    known = study(folder, STUDY.format(seeds=[0, 1], epochs=epochs_for(folder / "trial", SMALL)))
    one, two = (swept(known, folder / f"by{count}", workers=count) for count in (1, 2))
    alike = numbers(folder / "by1").equals(numbers(folder / "by2"))
    gains = {name: round(one[name] / two[name], 2) for name in ("seconds", "seconds_at_work")}
    return {"one": one, "two": two, "times_as_fast": gains, "equal_to_the_bit": alike}


def overhead(folder: Path) -> dict[str, Any]:
    pictures(folder / "pictures", 6)
    epochs = epochs_for(folder / "trial", LONGER)
    took = swept(study(folder, STUDY.format(seeds=[0], epochs=epochs)), folder / "out", workers=1)
    beside = {
        "with_start": took["seconds"] / took["seconds_of_cells"] - 1,
        "without_start": took["seconds_at_work"] / took["seconds_of_cells"] - 1,
    }
    return {**took, "seconds_a_cell": round(took["seconds_of_cells"] / took["cells"], 1)} | {
        f"share_{name}": round(value, 4) for name, value in beside.items()
    }


def dask_setup(worker: Any) -> None:
    """In workers of ``scheduler``: cells that do nothing but publish one row."""
    from xinc.sweep.statistics import COLUMNS, STATISTICS

    def trivial(cell: Any, place: Any, device: Any) -> None:
        work = place.begin(cell.name)
        row = dict.fromkeys(COLUMNS, 0.0) | cell.labels | {"draws": np.empty(0, np.float32)}
        pd.DataFrame([row], columns=list(COLUMNS)).to_parquet(work / STATISTICS, index=False)
        place.publish(cell.name, work, {"key": cell.key, "seconds": {"fit": 0.0}, "bytes": 0})

    sweeping.make = trivial  # type: ignore[assignment]


def scheduler(folder: Path) -> dict[str, Any]:
    import psutil

    pictures(folder / "pictures", 1)
    known = study(folder, STUDY.format(seeds=list(range(2000)), epochs=1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dask = [sys.executable, "-m", "dask"]
    address, quiet = f"tcp://127.0.0.1:{port}", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    asked = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    processes = [subprocess.Popen([*dask, "scheduler", *asked], **quiet)]
    how = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", __file__]
    for i in range(2):
        own = ["--local-directory", str(folder / f"local{i}")]
        processes.append(subprocess.Popen([*dask, "worker", address, *how, *own], **quiet))
    memory, watched = {}, psutil.Process(processes[0].pid)

    def report(now: sweeping.Progress) -> None:
        if now.done % 250 == 0:
            memory[now.done] = round(watched.memory_info().rss / 2**20, 1)

    sweeping.SMALL = 0.0  # each cell is a task
    begun = time.perf_counter()
    try:
        end = sweeping.sweep(known, str(folder / "out"), scheduler=address, report=report)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert end.done == 2000, end
    grown = memory[2000] - memory[500]
    return {
        "cells": end.done,
        "seconds": round(time.perf_counter() - begun, 1),
        "megabytes_after_cells": memory,
        "megabytes_from_500_to_2000": round(grown, 1),
    }


def rates(folder: Path) -> dict[str, Any]:
    """Rates as the estimate of :mod:`xinc.sweep.cost` takes them, and how far it was off with those it has."""
    torch.set_num_threads(1)
    pictures(folder / "clip", 8, (64, 128))
    known, place = study(folder, RATES), open_place(str(folder / "out"))
    found: dict[str, Any] = {}
    for cell in cells_of(known):
        estimate = cost.parts_of(cell)
        took = make(cell, place, "cpu")["seconds"]
        maps = {name: sum(v for k, v in took.items() if k.startswith(f"{name} ")) for name in estimate.values}
        found[cell.model.name] = {
            "fit_flops_a_second": round(estimate.flops / took["fit"] / 1e9, 2) * 1e9,
            "map_values_a_second": {k: round(estimate.values[k] / maps[k] / 1e6, 2) * 1e6 for k in maps},
            "seconds": round(sum(took.values()), 1),
            "estimated": round(cost.cost_of(cell).seconds, 1),
        }
    return found


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "speed": speed,
    "overhead": overhead,
    "scheduler": scheduler,
    "rates": rates,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    kept = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    kept |= {"date": f"{date.today()}", "machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    for part in asked.parts.split(","):
        with tempfile.TemporaryDirectory() as folder:
            kept[part] = PARTS[part](Path(folder))
        print(json.dumps({part: kept[part]}, indent=1), flush=True)
        if asked.out:
            asked.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
