"""How well each method's maps predict ablation: the table of docs/methods.md.

    python benchmarks/fidelity.py [--ffn WEIGHTS] [--neurons 64] [--runs DIR] [--out benchmarks/results/fidelity.json]

Fits two paper-size NeRVs to 33 frames of Big Buck Bunny at 128 x 256: one by this package's recipe, one by the paper's.
``--ffn`` adds the FFN that the paper published: a file with its state dict, either a checkpoint that ``xinc import``
knows or an ``.npz`` whose arrays are called ``weight.<name>``. Maps do not depend on what it was fitted to, so its own
picture stands for its signal. ``--runs`` keeps the fits there, and takes those that are there already.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import xinc
from networks import STEEP, published
from xinc.findings.fidelity.compare import METHODS, Fidelity, Verification, verify
from xinc.findings.fidelity.trust import at_share, conclusion, rows
from xinc.models import family
from xinc.run import Run

SIZE, EPOCHS = (128, 256), 60


def nervs(folder: Path) -> Iterator[tuple[str, Run]]:
    """The same network after three recipes."""
    clip = xinc.open("bunny", size=SIZE, every=4)
    recipes = {"ours": family("nerv").recipe, "paper": family("nerv").plain, "steep": STEEP}
    titles = {"ours": "this package’s recipe", "paper": "the paper’s recipe", "steep": "five times its learning rate"}
    for name, recipe in recipes.items():
        run = xinc.fit("nerv", clip, recipe=recipe, epochs=EPOCHS, out=folder / f"nerv-{name}", progress=True)
        yield f"NeRV, {titles[name]}", run


def measured(run: Run, asked: Verification) -> dict[str, Any]:
    """The command's rows, its conclusion and what is left without a tenth of each layer."""
    found = verify(run, asked, progress=lambda what, done, total: print(f"  {done}/{total} {what}", flush=True))
    return {
        "psnr": round(float(run.psnr().mean()), 2) if run.epochs else None,
        "rows": [rounded(row) for row in rows(found)],
        "without a tenth (dB)": {layer: rounded(at_share(data, 0.1)) for layer, data in found.deleted.items()},
        "without all zero maps of official (dB)": vanished(run, found, asked),
        "conclusion": conclusion(found),
    }


def vanished(run: Run, found: Fidelity, asked: Verification) -> dict[str, Any]:
    """Neurons whose ``official`` maps are zero everywhere: how many, and the PSNR without all of them."""
    from xinc.findings.fidelity.deletion import psnr_without

    told = {}
    for layer in found.compared:
        canvas = xinc.trace(run.model, run.input(asked.frames[0]), method="official", size=run.clip.size)
        gone = torch.nonzero(canvas[layer].totals() == 0)[:, 0].tolist()
        if gone:
            left = psnr_without(canvas.plan, layer, gone)
            told[layer] = {"neurons": len(gone), "of": canvas[layer].shape[0], "psnr": round(left, 2)}
    return told


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def table(networks: dict[str, dict[str, Any]]) -> str:
    """Markdown: median correlation (interval), rank of totals, by network and layer."""
    lines = [f"| network, layer | {' | '.join(f'`{method}`' for method in METHODS)} |", "| --- |" + " --- |" * 3]
    for network, found in networks.items():
        layers = dict.fromkeys(row["layer"] for row in found["rows"])
        for layer in reversed(layers):
            cells = [cell(row) for row in found["rows"] if row["layer"] == layer]
            lines.append(f"| {network}: {layer} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(row: dict[str, Any]) -> str:
    hidden = f"; {100 * row['undefined']:.0f} % have no map" if row["undefined"] >= 0.005 else ""
    text = f"{row['correlation_median']:.3f} ({row['low']:.2f} to {row['high']:.2f}), totals {row['totals_rank']:.3f}"
    return text.replace("-", "−") + hidden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ffn", type=Path, help="weights of the published FFN")
    parser.add_argument("--neurons", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frame", type=int, default=5, help="of the NeRVs")
    parser.add_argument("--runs", type=Path, help="folder for the fits")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/fidelity.json"))
    given = parser.parse_args()
    networks = {}
    with tempfile.TemporaryDirectory() as spare:
        for name, run in nervs(given.runs or Path(spare)):
            print(name, flush=True)
            networks[name] = measured(run, Verification(neurons=given.neurons, frames=(given.frame,), seed=given.seed))
    if given.ffn:
        print("FFN, published", flush=True)
        asked = Verification(neurons=given.neurons, frames=(0,), seed=given.seed)
        networks["FFN, published"] = measured(published(given.ffn), asked)
    made = {
        "date": str(date.today()),
        "versions": {name: version(name) for name in ("xinc", "torch", "numpy")}
        | {"python": platform.python_version()},
        "seed": given.seed,
        "neurons": given.neurons,
        "signal": f"bunny, {SIZE[0]}x{SIZE[1]}, every 4th frame; {EPOCHS} epochs; maps of frame {given.frame}",
        "networks": networks,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(networks))


if __name__ == "__main__":
    main()
