"""The streaming engine against a dense implementation and against the literal reference, side by side in one run.

    python benchmarks/engine.py [--repeats 5] [--out benchmarks/results/engine.json]

Every case is a fresh process, which reports the median of its repeats and its peak memory. The network is a paper-size
NeRV (fc_dim 37, 0.98 M parameters) for 128 x 256 with random weights; what it costs does not depend on them. The
reductions are those of the paper's figures: heatmap and totals; region sums of RGB-32, Gabor-32, instances (here 20
blocks) and a 4 x 8 grid; pixels per neuron; neurons per pixel at 10 % and 50 %.

``dense`` works as the published code does: it holds every map of the layer, placed by repeat and mask, filtered by a
grouped convolution, and finds thresholds by a full sort. It is written from the paper's text.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xinc

SIZE = (128, 256)
AREAS = (0.1, 0.5)
PAPER_WIDTHS = (37, 31, 26, 22)


def network(widths: tuple[int, ...] = PAPER_WIDTHS, strides: tuple[int, ...] = (4, 2, 2)) -> nn.Sequential:
    """The part of a NeRV that is analysed: blocks and head."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs, r in zip(widths, widths[1:], strides, strict=False):
        layers += [nn.Conv2d(inputs, outputs * r * r, 3, padding=1), nn.PixelShuffle(r), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[len(strides)], 3, 3, padding=1), nn.Tanh())


def groupings(size: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    """Label maps as ragged as k-means makes them: 32 levels of a smooth field, 32 of a rougher one, and blocks."""
    rng = np.random.default_rng(0)

    def clusters(scale: int) -> np.ndarray:
        coarse = torch.from_numpy(rng.normal(size=(1, 1, max(2, size[0] // scale), max(2, size[1] // scale))))
        field = F.interpolate(coarse, size, mode="bicubic")[0, 0].numpy() + 0.1 * rng.normal(size=size)
        return np.digitize(field, np.quantile(field, np.linspace(0, 1, 33)[1:-1]))

    y, x = np.indices(size)
    instances = (5 * y // size[0]) * 4 + 4 * x // size[1]
    grid = (4 * y // size[0]) * 8 + 8 * x // size[1]
    return {"rgb": clusters(16), "gabor": clusters(6), "instances": instances, "grid": grid}


def streamed(layers: tuple[str, ...], full: bool) -> Callable[[], None]:
    """Our engine, tracing included."""
    model, labels = network(), groupings()
    values = torch.randn(1, 37, 8, 16)

    def run() -> None:
        canvas = xinc.trace(model, values)
        for name in layers:
            if full:
                canvas[name].reduce(
                    heatmap=True, totals=True, regions=labels, pixels_per_neuron=True, neurons_per_pixel=AREAS
                )
            else:
                canvas[name].reduce(heatmap=True, totals=True)

    return run


def dense_maps(stages: Any, position: int) -> Tensor:
    """Every map of a stage at once: repeat, mask, activation, grouped box filters."""
    stage = stages[position]
    rh, rw = stage.upscale
    weight = stage.weight.transpose(0, 1).reshape(-1, 1, *stage.weight.shape[2:])
    repeated = stage.input[None].repeat_interleave(stage.outputs, 1)
    planes = F.conv2d(repeated, weight, padding=stage.padding, groups=stage.neurons)[0]
    planes = planes + (stage.bias_or_zero / stage.inputs).repeat(stage.inputs)[:, None, None]
    if position == len(stages) - 1:
        return stage.activation(planes)
    maps = planes.repeat_interleave(rh, 1).repeat_interleave(rw, 2)
    o = torch.arange(stage.neurons) % stage.outputs % (rh * rw)
    rows, columns = torch.arange(maps.shape[1]) % rh, torch.arange(maps.shape[2]) % rw
    mask = (rows[None, :, None] == (o // rw)[:, None, None]) & (columns[None, None, :] == (o % rw)[:, None, None])
    maps = stage.activation(maps * mask)
    for later in stages[position + 1 :]:
        kernel = tuple(later.weight.shape[2:])
        box = torch.full((len(maps), 1, *kernel), 1 / (kernel[0] * kernel[1]))
        maps = F.conv2d(maps[None], box, padding=later.padding, groups=len(maps))[0]
        if later is not stages[-1]:
            maps = later.activation(maps.repeat_interleave(later.upscale[0], 1).repeat_interleave(later.upscale[1], 2))
    return maps


def dense(layers: tuple[str, ...], full: bool) -> Callable[[], None]:
    """All maps held, thresholds by a full sort."""
    plan = xinc.trace(network(), torch.randn(1, 37, 8, 16)).plan
    names = [stage.name for stage in plan.stages]
    labels = groupings()

    def run() -> None:
        for name in layers:
            maps = dense_maps(plan.stages, names.index(name)).abs()
            heat = maps.sum(0)
            maps.sum((1, 2))
            if not full:
                continue
            for regions in labels.values():
                for region in range(int(regions.max()) + 1):
                    maps[:, torch.from_numpy(regions == region)].sum(1)
            (maps / heat > 1 / len(maps)).sum((1, 2))
            ordered = maps.flatten().sort(descending=True).values
            running = ordered.double().cumsum(0)
            for area in AREAS:
                threshold = ordered[int(torch.searchsorted(running, (1 - area) * running[-1]))]
                (maps > threshold).float().mean(0)

    return run


def reference(layers: tuple[str, ...], _full: bool) -> Callable[[], None]:
    """The literal twin on 64 neurons of each layer, heatmap only."""
    from xinc.canvas.reference import reference_maps

    plan = xinc.trace(network(), torch.randn(1, 37, 8, 16)).plan

    def run() -> None:
        for name in layers:
            reference_maps(plan, name, range(64)).abs().sum(0)

    return run


def scaling(repeats: int) -> list[dict[str, Any]]:
    """Heatmap and totals over sizes and widths: cost follows neurons x pixels, memory does not follow neurons."""
    rows = []
    for width in (16, 32, 64, 128):
        for height in (128, 256):
            model = network((width, width, width, 16))
            values = torch.randn(1, width, height // 16, 2 * height // 16)
            xinc.trace(model, values)["block3"].maps([0])  # compiled, and the network has run
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            seconds = []
            for _ in range(repeats):
                layer = xinc.trace(model, values)["block3"]
                start = time.perf_counter()
                layer.reduce(heatmap=True, totals=True)
                seconds.append(time.perf_counter() - start)
            neurons, h, w = layer.shape
            rows.append(
                {
                    "neurons": neurons,
                    "size": f"{h}x{w}",
                    "gigavalues": neurons * h * w / 1e9,
                    "seconds": statistics.median(seconds),
                    "gigavalues_per_second": neurons * h * w / 1e9 / statistics.median(seconds),
                    "memory_growth_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
                }
            )
    return rows


def by_layer(repeats: int) -> list[dict[str, Any]]:
    """Each layer, tracing not counted: the heatmap pass; all reductions by ``paper`` and ``exact`` in turn."""
    model, labels, values = network(), groupings(), torch.randn(1, 37, 8, 16)
    everything: dict[str, Any] = {
        "heatmap": True, "totals": True, "regions": labels, "pixels_per_neuron": True, "neurons_per_pixel": AREAS,
    }  # fmt: skip

    def seconds(method: str, name: str, **wanted: Any) -> float:
        layer = xinc.trace(model, values, method=method)[name]
        start = time.perf_counter()
        layer.reduce(**wanted)
        return time.perf_counter() - start

    rows = []
    for name in ("head", "block3", "block2", "block1"):
        neurons, height, width = xinc.trace(model, values)[name].shape
        pairs = [
            (seconds("paper", name, **everything), seconds("exact", name, **everything)) for _ in range(repeats + 1)
        ]
        passes = [seconds("paper", name, heatmap=True, totals=True) for _ in range(repeats + 1)]
        paper, exact = (statistics.median(own) for own in zip(*pairs[1:], strict=True))  # the first compiles
        rows.append(
            {
                "layer": name,
                "neurons": neurons,
                "paper": paper,
                "exact": exact,
                "ratio": statistics.median(e / p for p, e in pairs[1:]),
                "heatmap_pass": statistics.median(passes[1:]),
                "gigavalues_per_second": neurons * height * width / 1e9 / statistics.median(passes[1:]),
            }
        )
    return rows


SERIES = {"scaling": scaling, "by layer": by_layer}

CASES: dict[str, tuple[Callable[[tuple[str, ...], bool], Callable[[], None]], tuple[str, ...], bool]] = {
    "head + block3, all, streamed": (streamed, ("head", "block3"), True),
    "head + block3, all, dense": (dense, ("head", "block3"), True),
    "block3, heatmap, streamed": (streamed, ("block3",), False),
    "block3, heatmap, dense": (dense, ("block3",), False),
    "block3, heatmap of 64 neurons, reference": (reference, ("block3",), False),
    "block2, all, streamed": (streamed, ("block2",), True),
    "block2, heatmap, streamed": (streamed, ("block2",), False),
    "block2, heatmap, dense": (dense, ("block2",), False),
    "block1, all, streamed": (streamed, ("block1",), True),
    "block1, heatmap, streamed": (streamed, ("block1",), False),
    "block1, heatmap, dense": (dense, ("block1",), False),
}


def measure(case: str, repeats: int) -> dict[str, Any]:
    """One case in this process: median seconds after one run that is not counted, and peak memory."""
    make, layers, full = CASES[case]
    run = make(layers, full)
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "case": case,
        "seconds": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "mb": peak,
    }


def in_process(case: str, repeats: int) -> Any:
    """Measure a case in a fresh process; None, and why, where it fails (dense block1 wants 15 GB and more)."""
    command = [sys.executable, __file__, "--case", case, "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended with {done.returncode}"
        print(f"{case:42s} failed: {reason}", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="cases that contain this")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--case", choices=[*CASES, *SERIES], default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        series = SERIES.get(options.case)
        print(json.dumps(series(options.repeats) if series else measure(options.case, options.repeats)))
        return
    rows = []
    for case in (case for case in CASES if options.only in case):
        row = in_process(case, options.repeats if "dense" not in case else max(1, options.repeats // 2))
        if row:
            rows.append(row)
            spread = f"({row['least']:.3f} to {row['most']:.3f})"
            print(f"{case:42s} {row['seconds']:8.3f} s {spread:20s} {row['mb']:7.0f} MB", flush=True)
    sizes = in_process("scaling", options.repeats) if options.only in "scaling" else []
    for row in sizes or []:
        print(
            f"{row['neurons']:6d} neurons {row['size']:>9s} {row['gigavalues']:7.3f} G values {row['seconds']:7.3f} s "
            f"{row['gigavalues_per_second']:5.2f} G/s  memory +{row['memory_growth_mb']:.0f} MB"
        )
    layers = in_process("by layer", options.repeats) if options.only in "by layer" else []
    for row in layers or []:
        print(
            f"{row['layer']:8s} all, paper {row['paper']:.3f} s, exact {row['exact']:.3f} s, ratio {row['ratio']:.2f}; "
            f"heatmap pass {row['heatmap_pass']:.3f} s, {row['gigavalues_per_second']:.2f} G/s"
        )
    if options.out:
        machine = {"cores": torch.get_num_threads(), "machine": platform.machine(), "python": platform.python_version()}
        record = {
            "date": str(date.today()),
            **machine,
            "torch": torch.__version__,
            "cases": rows,
            "sizes": sizes,
            "layers": layers,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
