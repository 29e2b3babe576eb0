"""The replication study: fit networks to several signals, measure the paper's claims on them, write the tables.

    python benchmarks/replication.py --data DIR --runs DIR [--out benchmarks/results] [--docs docs/replication.md]

``--data`` holds what is not ours to publish, each as far as it is there: ``cityscapes`` (images with their instance
ids), ``vipseg_1001`` and ``davis_judo`` (``frames`` beside ``masks``). Big Buck Bunny and the synthetic scene come with
the package. Every run is kept in ``--runs``, with its results: a study that was stopped goes on where it was, and parts
of it (``--signals``, ``--families``) can be made side by side; only a whole study writes tables.

Every network is fitted by its family's own recipe. What each run took is printed as it goes. Where other programs
share the processors, set ``OMP_WAIT_POLICY=passive``: threads that spin while they wait made block 1 take eight times
as long as one thread does.

The control is the same networks and the same statistics, with the frame, its segments and its flow rolled around its
borders by a quarter to three quarters of each side: what a claim says of content must not be found there.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import xinc
from xinc.findings.replication.replicate import METHODS, Replication, evidence_of, remembered
from xinc.findings.replication.verdicts import cases, records
from xinc.findings.results import FOLDER, Results
from xinc.run import Run
from xinc.show.panels.replication import markdown, number, sentences
from xinc.signals import synthetic
from xinc.signals.clip import Clip
from xinc.signals.datasets import catalogue as datasets
from xinc.signals.labels import Segments

SIZE, COUNT = (128, 256), 16
FAMILIES = ("ffn", "nerv")
OURS = ("paper", "exact")
FFN = (METHODS, ("layer1", "layer2", "layer3"))
# In blocks, official is paper: they differ in the head and in linear layers.
HEAD, BLOCKS = (METHODS, ("head",)), tuple((OURS, (block,)) for block in ("block3", "block2"))
PASSES = {"ffn": (FFN,), "nerv": (HEAD, *BLOCKS, (OURS, ("block1",)))}
CONTROL = {"ffn": (FFN,), "nerv": (HEAD, *BLOCKS)}
Passes = dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]]


@dataclass(frozen=True)
class Signal:
    """A signal of the study: how it is opened, in which folder of the data it lies, seeds of fits, frames analysed."""

    name: str
    open: Callable[[Path], Clip]
    folder: str
    seeds: dict[str, tuple[int, ...]]
    frames: tuple[int, ...] = (0,)


def _cityscapes(video: str) -> Callable[[Path], Clip]:
    return lambda data: datasets.open(data / "cityscapes", video, SIZE)


def _plain(folder: str) -> Callable[[Path], Clip]:
    return lambda data: datasets.open(data / folder, size=SIZE, count=COUNT)


def _bunny(_: Path) -> Clip:
    return xinc.open("bunny", SIZE, every=2, start=20, count=COUNT)


def _synthetic(_: Path) -> Clip:
    return synthetic.scene(SIZE, COUNT).clip


BOTH: dict[str, tuple[int, ...]] = {"ffn": (0,), "nerv": (0,)}
SIGNALS = (
    Signal("cityscapes-a", _cityscapes("aachen_000000_000019"), "cityscapes", {"ffn": (0, 1)}),
    Signal("cityscapes-b", _cityscapes("aachen_000003_000019"), "cityscapes", {"ffn": (0,)}),
    Signal("vipseg", _plain("vipseg_1001"), "vipseg_1001", {"ffn": (0,), "nerv": (0, 1)}, (0, 5)),
    Signal("davis", _plain("davis_judo"), "davis_judo", BOTH, (5, 8)),
    Signal("bunny", _bunny, "", BOTH, (5,)),
    Signal("synthetic", _synthetic, "", BOTH, (3, 6)),
)


@contextmanager
def clocked(name: str) -> Iterator[Callable[[str], None]]:
    """Lines about a run, each with the seconds since it began."""
    begun = time.perf_counter()
    print(name, flush=True)
    yield lambda what: print(f"{time.perf_counter() - begun:6.0f} s  {what}", flush=True)
    print(f"{time.perf_counter() - begun:6.0f} s  {name} in all", flush=True)


def rolled(run: Run, folder: Path, seed: int) -> Run:
    """The same network with its signal rolled around the frame's borders; its results go to a folder of their own."""
    rng = np.random.default_rng(seed)
    shift = tuple(int(rng.integers(n // 4, n - n // 4 + 1)) for n in run.clip.size)
    segments = run.clip.segments
    if segments is not None:
        moved = {t: np.roll(plane, shift, (0, 1)) for t, plane in segments.labels.items()}
        segments = Segments(moved, segments.table)
    frames = torch.roll(run.clip.frames[:], shift, (2, 3))
    clip = Clip(frames, run.clip.names, run.clip.fps, segments, f"{run.clip.source}, rolled by {shift}")
    return replace(run, clip=clip, path=folder)


def measure(run: Run, passes: Passes, frames: tuple[int, ...], say: Callable[[str], None] = print) -> None:
    """Make a run's results as far as they are missing; says what comes next."""
    for methods, layers in passes[run.family]:
        evidence_of(run, Replication(methods, layers, frames), lambda what, done, total: say(what))


def table_of(runs: list[Run]) -> Any:
    """The table of the claims from the runs' results."""
    return remembered([(run, Results(Path(str(run.path)) / FOLDER).tree()) for run in runs])


def described(name: str, run: Run, frames: tuple[int, ...]) -> dict[str, Any]:
    """What a reader wants to know of a run."""
    return {
        "run": name,
        "frames": len(run.clip),
        "parameters": run.parameters,
        "epochs": len(run.epochs),
        "psnr": round(float(run.psnr().mean()), 2),
        "analysed": list(frames) if len(run.clip) > 1 else [0],
    }


def text_of(study: dict[str, Any], table: Any, control: Any) -> str:
    """The study as Markdown."""
    versions = ", ".join(f"{k} {v}" for k, v in study["versions"].items())
    runs = ["| run | frames | parameters | epochs | PSNR (dB) | analysed |", "| --- | --- | --- | --- | --- | --- |"]
    for row in study["runs"]:
        analysed = ", ".join(map(str, row["analysed"]))
        cells = (row["run"], row["frames"], f"{row['parameters']:,}", row["epochs"], number(row["psnr"]), analysed)
        runs.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(
        [
            f"Made on {study['date']} with {versions}. A run's name ends in its seed.",
            "",
            *runs,
            "",
            *(f"- {sentence}" for sentence in sentences(cases(table))),
            "",
            "### The claims",
            "",
            markdown(table),
            "### The control: the same with everything rolled elsewhere",
            "",
            *(f"- {sentence}" for sentence in sentences(cases(control))[:1]),
            "",
            markdown(control),
        ]
    )


def placed(page: Path, text: str) -> None:
    """Put the study between the two marks of a page."""
    before, _, rest = page.read_text("utf-8").partition("<!-- study -->\n")
    _, _, after = rest.partition("<!-- end of study -->")
    page.write_text(f"{before}<!-- study -->\n{text}\n<!-- end of study -->{after}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--docs", type=Path, help="a page that shows the study between two marks")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    names = [signal.name for signal in SIGNALS]
    parser.add_argument("--signals", nargs="+", default=names, choices=names)
    given = parser.parse_args()
    runs: list[Run] = []
    controls: list[Run] = []
    described_: list[dict[str, Any]] = []
    for place, signal in enumerate(SIGNALS):
        if signal.name not in given.signals:
            continue
        if signal.folder and not (given.data / signal.folder).is_dir():
            print(f"no {signal.folder} in {given.data}: the study goes on without it", flush=True)
            continue
        clip = signal.open(given.data)
        for family, seed in [(f, s) for f, seeds in signal.seeds.items() if f in given.families for s in seeds]:
            name = f"{signal.name}-{family}-{seed}"
            with clocked(name) as say:
                run = xinc.fit(family, clip, seed=seed, out=given.runs / name, progress=True)
                say("fitted")
                measure(run, PASSES, signal.frames, say)
                say("the control")
                control = rolled(run, given.runs / "control" / name, seed=place)
                measure(control, CONTROL, signal.frames, say)
            runs.append(run)
            controls.append(control)
            described_.append(described(name, run, signal.frames))
    if set(given.families) != set(FAMILIES) or given.signals != names:
        return
    table, control_table = table_of(runs), table_of(controls)
    packages = ("xinc", "torch", "numpy", "scikit-learn", "opencv-python-headless")
    study = {
        "date": str(date.today()),
        "versions": {"Python": platform.python_version(), **{name: version(name) for name in packages}},
        "runs": described_,
        "rows": records(table),
        "control": records(control_table),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "replication.json").write_text(json.dumps(study, indent=1, allow_nan=False) + "\n", "utf-8")
    text = text_of(study, table, control_table)
    (given.out / "replication.md").write_text(f"# The replication study\n\n{text}\n", "utf-8")
    if given.docs:
        placed(given.docs, text)


if __name__ == "__main__":
    main()
