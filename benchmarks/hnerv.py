"""All layers of one frame of a published HNeRV: the canvas that could not be held.

    python benchmarks/hnerv.py CHECKPOINT [--signal bunny] [--method paper exact] [--full] [--out FILE]

The checkpoint is somebody's HNeRV in one of the formats that ``xinc import`` reads, such as the 8-bit video of Big Buck
Bunny that its authors publish (640 x 1280, about 180,000 neurons, 148 G map values a frame). Each method runs in a
fresh process, which imports the network without its clip, and reports for each layer the seconds of heatmap and totals
(``--full``: also four groupings, pixels per neuron and neurons per pixel at 10 % and 50 %), the seconds of one pixel of
all neurons and of one map, and the peak memory of the whole process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch

import xinc
from engine import AREAS, groupings
from xinc.models.checkpoints.importing import import_network, open_checkpoint
from xinc.models.checkpoints.names import EMBEDDINGS


def seconds(call: Callable[[], Any], repeats: int = 1) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(checkpoint: str, signal: str, method: str, full: bool) -> dict[str, Any]:
    """All layers of the first frame by one method."""
    opened = open_checkpoint(checkpoint)
    size = opened.picture_size("hnerv", 0.5)
    count = next(len(opened.weights[name]) for name in EMBEDDINGS if name in opened.weights)
    frame = xinc.open(signal, size=size, start=count // 2, count=1).frames  # by which an import chooses
    model = import_network(opened, "hnerv", frame.expand(count, -1, -1, -1)).model
    wanted: dict[str, Any] = {"heatmap": True, "totals": True}
    if full:
        labels = groupings(tuple(frame.shape[2:]))
        wanted |= {"regions": labels, "pixels_per_neuron": True, "neurons_per_pixel": AREAS}
    xinc.trace(model, model.frame_input(0), method=method)["head"].reduce(**wanted)  # compiles
    canvas = xinc.trace(model, model.frame_input(0), method=method)
    layers = []
    for name in canvas.layers:
        neurons, height, width = canvas[name].shape
        row = {"layer": name, "neurons": neurons, "gigavalues": neurons * height * width / 1e9}
        row["seconds"] = seconds(partial(canvas[name].reduce, **wanted))
        row["peak_mb"] = peak()
        print(json.dumps(row), file=sys.stderr, flush=True)
        layers.append(row)
    del canvas
    canvas = xinc.trace(model, model.frame_input(0), method=method)  # questions begin with nothing at hand
    for row in layers:
        layer = canvas[row["layer"]]
        neurons, height, width = layer.shape
        row["first_pixel"] = seconds(partial(layer.at, height // 2, width // 3))
        row["pixel"] = seconds(partial(layer.at, height // 3, width // 2), 5)
        row["map"] = seconds(partial(layer.maps, [neurons // 2]), 5)
    total = sum(row["seconds"] for row in layers)
    most = {"reduce_peak_mb": layers[-1]["peak_mb"], "peak_mb": peak()}
    return {"method": method, "full": full, "seconds": total, **most, "layers": layers}


def peak() -> float:
    """MiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--signal", default="bunny")
    parser.add_argument("--method", nargs="+", default=["paper"])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measure(given.checkpoint, given.signal, given.method[0], given.full)))
        return
    rows = []
    for method in given.method:
        command = [sys.executable, __file__, given.checkpoint, "--signal", given.signal, "--method", method, "--here"]
        done = subprocess.run(
            [*command, *(["--full"] if given.full else [])], stdout=subprocess.PIPE, text=True, check=True
        )
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"{method}{', all reductions' if given.full else ''}: {row['seconds']:.1f} s, {row['peak_mb']:.0f} MB")
        rows.append(row)
    if given.out:
        known = json.loads(given.out.read_text())["runs"] if given.out.exists() else []
        kept = [row for row in known if (row["method"], row["full"]) not in {(r["method"], r["full"]) for r in rows}]
        machine = {"cores": torch.get_num_threads(), "machine": platform.machine(), "python": platform.python_version()}
        record = {"date": str(date.today()), **machine, "torch": torch.__version__, "runs": [*kept, *rows]}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
