"""Joint pruning against single scores: PSNR to the clip over all frames, nothing trained.

    python benchmarks/joint_pruning.py [--nerv RUN] [--ffn WEIGHTS] [--hnerv RUN] [--only PART]

The NeRV is the demo's (33 frames of Big Buck Bunny at 128 x 256, 80 epochs), fitted into RUN where it is not there yet.
It is measured on 9 frames (33 in block 1, whose grid is small); all 33 are judged. WEIGHTS are those of the FFN that
the paper published, an npz file of arrays: its own picture is its signal, so PSNR is to the unpruned picture. HNERV is
an imported run of the published 8-bit HNeRV: what a budget of 0.3 dB removes. ``--only`` measures one part again and
keeps all other rows: ``network``, ``nerv`` (its layers), ``channels`` (of all layers, with the files and the time that
they save), ``times`` (of matrices, probes and orders), ``ffn`` or ``hnerv``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import numpy as np
import torch

import xinc
from networks import published
from xinc.errors import FindingError
from xinc.findings.pruning.cutting import Part, cut, fine_tune, prune, size_of
from xinc.findings.pruning.joint import FRAMES, Moments, gram_of, removal
from xinc.findings.pruning.network import JUDGED, Budget, ranked, scored
from xinc.findings.pruning.prune import JOINT, Pruning, order, scores
from xinc.models.base import INR
from xinc.run import Run
from xinc.signals.frames import spread
from xinc.workflow.job import DEMO_EPOCHS

SHARES = {"block3": (0.2, 0.4, 0.6, 0.8), "block2": (0.4, 0.6, 0.8), "block1": (0.2, 0.4)}
SINGLE = ("magnitude", "exact")
WHOLE = (0.3, 0.5)
"""Shares of all kernels of more than one tap that go with one budget."""
CHANNELS = (0.1, 0.2, 0.3)
"""Shares of the parameters that go as whole channels."""
REPEATS = 41
LOSS = 0.3
"""Decibels that the HNeRV may lose."""
ALONE = "block2"
"""The layer of the HNeRV that joint pruning is given: all of them take hours here."""
STEPS = 330
"""Steps of fine-tuning, the same for every choice: 10 epochs."""


def fitted(folder: Path | None) -> Run:
    """The demo's NeRV."""
    clip = xinc.open("bunny", size=(128, 256), every=4, count=33)
    return xinc.fit("nerv", clip, epochs=DEMO_EPOCHS, out=folder, progress=True)


def of_layer(run: Run, layer: str, shares: tuple[float, ...]) -> dict[str, Any]:
    """PSNR in dB over all frames by share and score, and what the order took."""
    part = Part.of(run, layer)
    begun = time.perf_counter()
    joint = ranked(run, part, None)
    seconds = round(time.perf_counter() - begun, 1)
    others = {by: scored(run, part, by, None, 0) for by in SINGLE}
    rows = []
    for share in shares:
        count = round(share * part.count)
        row = {"share": share, "kernels": count, **{by: _psnr(own.prune(run, count)) for by, own in others.items()}}
        row["joint, no compensation"] = _psnr(prune(run, part, joint.order[:count], {}))
        row["joint"] = _psnr(joint.prune(run, count))
        rows.append(row)
        print(layer, row, flush=True)
    return {"layer": layer, "neurons": part.count, "seconds to rank": seconds, "rows": rows}


def of_network(run: Run) -> list[dict[str, Any]]:
    """PSNR over all frames with one budget for all layers, at once and after fine-tuning for as long."""
    rows = []
    for by in ("magnitude", "joint"):
        begun = time.perf_counter()
        budget = Budget.of(run, by)
        for share in WHOLE:
            found = budget.pruned(round(share * budget.count))
            row = {"by": by, "share": share, **found.removed, "psnr": _psnr(found.run)}
            row["seconds"] = round(time.perf_counter() - begun, 1)
            row["fine-tuned"] = _psnr(fine_tune(found.run, STEPS))
            rows.append(row)
            print(row, flush=True)
    return rows


def of_channels(run: Run) -> list[dict[str, Any]]:
    """Whole channels of all layers with one budget of parameters, cut out; at once and after training for as long."""
    rows = []
    for by in ("magnitude", "joint"):
        budget = Budget.of(run, by, unit="inputs", parameters=True)
        for share in CHANNELS:
            found = budget.pruned(round(share * budget.count))
            smaller = cut(found.run)
            row = {"by": by, "share": share, **found.removed, "psnr": _psnr(smaller)}
            row["fine-tuned"] = _psnr(fine_tune(smaller, STEPS))
            row["widths"] = list(smaller.model.config.widths)  # type: ignore[attr-defined]
            row["bytes"] = size_of(smaller).values * 4
            row["time"] = round(_ratio(smaller, run), 2)
            rows.append(row)
            print(row, flush=True)
    return rows


def _ratio(smaller: Run, run: Run) -> float:
    """The time of a frame against the whole network's, median of pairs."""

    def seconds(model: INR) -> float:
        begun = time.perf_counter()
        with torch.no_grad():
            model.render(0)
        return time.perf_counter() - begun

    return float(np.median([seconds(smaller.model) / seconds(run.model) for _ in range(REPEATS)]))


def alike(run: Run, loss: float) -> tuple[Run, dict[str, int]]:
    """The same share of every layer by magnitude: a rival that no small kernels of one layer lead astray."""
    layers = Budget.of(run, "magnitude").layers
    some = spread(len(run.clip), JUDGED)
    whole, low, high = float(run.psnr(some).mean()), 0.0, 0.98

    def without(share: float) -> tuple[Run, dict[str, int]]:
        smaller, counts = run, {one.part.name: round(share * one.part.count) for one in layers}
        for one in layers:
            smaller = one.prune(smaller, counts[one.part.name])
        return smaller, counts

    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if whole - float(without(middle)[0].psnr(some).mean()) <= loss else (low, middle)
    while (found := without(low))[0].psnr().mean() < run.psnr().mean() - loss:
        low *= 0.97
    return found


def of_times(run: Run) -> list[dict[str, Any]]:
    """What matrices, probes and an order of removal take, each in a process of its own for its memory."""
    rows = []
    for what in TIMES:
        with get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(_timed, (str(run.path), what)))
        print(rows[-1], flush=True)
    return rows


def _timed(folder: str, what: str) -> dict[str, Any]:
    run = xinc.load(folder)
    frames = spread(len(run.clip), 9)
    begun = time.perf_counter()
    TIMES[what](run, frames)
    seconds = round(time.perf_counter() - begun, 1)
    return {"what": what, "seconds": seconds, "most GB": round(getrusage(RUSAGE_SELF).ru_maxrss / 1e6, 2)}


def _gram(layer: str) -> Callable[[Run, list[int]], object]:
    def measure(run: Run, frames: list[int]) -> object:
        first, *others = (run.canvas(t, "exact")[layer] for t in frames)
        return first.gram(frames=others)

    return measure


def _order(run: Run, frames: list[int]) -> object:
    half = torch.randn(2288, 2288, generator=torch.Generator().manual_seed(0)).double().numpy()
    return removal(half @ half.T, [1830])


TIMES: dict[str, Callable[[Run, list[int]], object]] = {
    "Gram matrix of block3, nine frames, every pixel": _gram("block3"),
    "Gram matrix of block2, nine frames, every pixel": _gram("block2"),
    "energies of all layers, nine frames, 64 probes each": lambda run, frames: [
        run.canvas(t, "exact").energies() for t in frames
    ],
    "order of 2,288 neurons, 1,830 of which go": _order,
}


def of_budget(run: Run, loss: float) -> list[dict[str, Any]]:
    """How many kernels of all layers can go for a loss in dB, all frames judged."""
    whole, rows = _psnr(run), []
    begun = time.perf_counter()
    rival, counts = alike(run, loss)
    row = {"by": "magnitude, each layer alike", "loss": loss, "unpruned": whole, "psnr": _psnr(rival)}
    row |= {"removed": sum(counts.values()), **counts, "seconds": round(time.perf_counter() - begun)}
    rows.append(row)
    print(row, flush=True)
    budgets: dict[str, Callable[[], Budget]] = {
        "magnitude": lambda: Budget.of(run, "magnitude"),
        f"joint, {ALONE} alone": lambda: Budget(run, [ranked(run, Part.of(run, ALONE), None)], JOINT, None),
    }
    for by, make in budgets.items():
        begun = time.perf_counter()
        budget = make()
        row = {"by": by, "loss": loss, "unpruned": whole, "kernels": budget.count}
        try:
            found = budget.within(loss)
        except FindingError:  # not even one
            rows.append({**row, "removed": 0})
        else:
            row |= {"psnr": _psnr(found.run), "removed": sum(found.removed.values()), **found.removed}
            rows.append({**row, "seconds": round(time.perf_counter() - begun)})
        print(rows[-1], flush=True)
    return rows


def _psnr(run: Run) -> float:
    return round(float(run.psnr().mean()), 2)


def of_ffn(path: Path) -> dict[str, Any]:
    """PSNR to the unpruned picture of the published FFN without 20 % of its layer 2."""
    run = published(path)
    part = Part.of(run, "layer2")
    count = round(0.2 * part.count)
    joint, moments = removal(gram_of(run, part, None), [count]), Moments.of(run, part, None)
    folded = moments.order(count)[:count]
    ranked = {by: prune(run, part, order(scores(run, Pruning("layer2"), by))[:count], {}) for by in SINGLE}
    ranked["joint, scales alone"] = prune(run, part, joint.order[:count], {}, joint.scales[count])
    ranked["joint"] = prune(run, part, folded, {}, weight=moments.folded(folded))
    with torch.no_grad():
        whole = run.model.render(0)
        errors = {by: float((one.model.render(0) - whole).double().square().mean()) for by, one in ranked.items()}
    return {"layer": "layer2", "share": 0.2, **{by: round(-10 * np.log10(e), 2) for by, e in errors.items()}}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nerv", type=Path, default=None)
    parser.add_argument("--ffn", type=Path, default=None)
    parser.add_argument("--hnerv", type=Path, default=None)
    parser.add_argument("--only", default=None)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/joint_pruning.json"))
    given = parser.parse_args()
    run = fitted(given.nerv) if given.only not in ("ffn", "hnerv") else None
    parts: dict[str, Callable[[], Any]] = {}
    if run is not None:
        parts = {
            "network": lambda: of_network(run),
            "nerv": lambda: [of_layer(run, layer, shares) for layer, shares in SHARES.items()],
            "channels": lambda: of_channels(run),
            "times": lambda: of_times(run),
        }
    if given.ffn is not None:
        parts["ffn"] = lambda: of_ffn(given.ffn)
    if given.hnerv is not None:
        parts["hnerv"] = lambda: of_budget(xinc.load(given.hnerv), LOSS)
    if given.only is not None and given.only not in parts:
        parser.error(f"--only {given.only}: choose from {', '.join(parts)}")
    found: dict[str, Any] = json.loads(given.out.read_text()) if given.only is not None else {}
    found |= {
        "date": str(date.today()),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "gram_frames": FRAMES,
    }
    if run is not None:
        found["unpruned"] = _psnr(run)
    for name in parts if given.only is None else [given.only]:
        found[name] = parts[name]()
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
