"""Does pruning by contribution keep the picture? Two networks, five scores, no training afterwards.

    python benchmarks/pruning.py --ffn WEIGHTS [--nerv RUN] [--out benchmarks/results/pruning.json]

WEIGHTS are those of the FFN that the paper published: an npz file of arrays, or anything that ``xinc import`` reads.
Its own picture is its signal, so PSNR to the unpruned picture is what counts. The NeRV is the paper's, fitted here to
33 frames of Big Buck Bunny at 128 x 256, or read from RUN where that holds such a fit.

Reported for each score: PSNR to the unpruned output, and to the signal, with 10 % of the FFN's layer-2 neurons and 40 %
of the NeRV's block-3 kernels set to zero; the NeRV's is a mean over the frames that analyses choose, and over seeds for
the random order. The NeRV pruned by ``exact`` is then trained on for some steps.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import xinc
from networks import STEEP, published
from xinc.findings.pruning.cutting import fine_tune, size_of
from xinc.findings.pruning.prune import SCORES, Pruning, compare, pruned
from xinc.findings.pruning.spared import rows
from xinc.run import Run

RANDOM_SEEDS = 5


def fitted(folder: Path | None, epochs: int, seed: int) -> Run:
    """The paper's NeRV of Big Buck Bunny, from a folder if one is given."""
    clip = xinc.open("bunny", size=(128, 256), every=4)
    return xinc.fit("nerv", clip, recipe=STEEP, epochs=epochs, seed=seed, out=folder, progress=True)


def measure(run: Run, layer: str, fraction: float, seed: int) -> dict[str, Any]:
    """PSNR by each score at one fraction; the random order is averaged over seeds."""
    bare = Run(run.family, run.model, run.clip, run.epochs, run.settings)  # no folder: nothing is kept
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SCORES}
    for name in SCORES:
        for s in range(RANDOM_SEEDS if name == "random" else 1):
            curves = compare(bare, Pruning(layer, seed=seed + s), (name,), fraction, shares=(0.0,))
            found[name] += rows(curves, [fraction])
    scores: dict[str, dict[str, Any]] = {}
    for name, own in found.items():
        psnr = {key: round(float(np.mean([row[key] for row in own])), 2) for key in ("psnr_unpruned", "psnr_signal")}
        scores[name] = {**psnr, "neurons": own[0]["neurons"], "parameters": own[0]["parameters"]}
    frames = list(Pruning(layer).frames_of(run))
    whole = round(float(run.psnr()[frames].mean()), 2)
    return {"layer": layer, "fraction": fraction, "frames": frames, "psnr_signal_unpruned": whole, "scores": scores}


def tuned(run: Run, layer: str, fraction: float, steps: int, seed: int) -> dict[str, Any]:
    """The network pruned by ``exact`` and trained on: PSNR to the signal over all frames, and sizes."""
    bare = Run(run.family, run.model, run.clip, run.epochs, run.settings)
    smaller = pruned(bare, compare(bare, Pruning(layer), ("exact",), fraction, shares=(0.0,)), "exact")
    after = fine_tune(smaller, steps, seed)
    psnr = {
        name: round(float(r.psnr().mean()), 2) for name, r in (("whole", run), ("pruned", smaller), ("tuned", after))
    }
    return {"steps": steps, "psnr_signal": psnr, "size_whole": size_of(run)._asdict(), "size": size_of(after)._asdict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ffn", type=Path, help="weights of the published FFN; left out if not given")
    parser.add_argument("--nerv", type=Path, help="folder of the fit, made there if it is not there yet")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--steps", type=int, default=100, help="of fine-tuning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    report: dict[str, Any] = {"date": str(date.today()), "seed": given.seed, "epochs": given.epochs}
    report["versions"] = {name: version(name) for name in ("xinc", "torch", "numpy")}
    report["machine"] = {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    if given.ffn:
        ffn = measure(published(given.ffn), "layer2", 0.1, given.seed)
        kept = ffn["scores"]["exact"]["psnr_unpruned"]
        report["ffn"] = {**ffn, "wanted": "exact keeps at least 31 dB to the unpruned output", "met": kept >= 31}
    with tempfile.TemporaryDirectory() as folder:
        run = fitted(given.nerv or Path(folder) / "nerv", given.epochs, given.seed)
        nerv = measure(run, "block3", 0.4, given.seed)
        lead = nerv["scores"]["exact"]["psnr_signal"] - nerv["scores"]["magnitude"]["psnr_signal"]
        nerv["wanted"] = "exact keeps at least 2 dB more of the signal than magnitude"
        report["nerv"] = {**nerv, "lead": round(lead, 2), "met": lead >= 2}
        report["finetuned"] = tuned(run, "block3", 0.4, given.steps, given.seed)
    print(json.dumps(report, indent=1))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
