"""The replication study: fit networks to several signals, measure the paper's claims on them, write the table.

    python benchmarks/replication.py --data DIR --runs DIR [--out benchmarks/results]

``--data`` holds what is not ours to publish, each as far as it is there: ``cityscapes`` (images with their instance
ids), ``vipseg_1001`` and ``davis_judo`` (``frames`` beside ``masks``). Big Buck Bunny and the synthetic scene come with
the package. Every run is kept in ``--runs``, with its results: a study that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xinc
from xinc.run import Run
from xinc.signals import datasets, synthetic
from xinc.signals.clip import Clip

SIZE = (128, 256)
FRAMES = 16
EPOCHS = {"ffn": 150, "nerv": 60}


@dataclass(frozen=True)
class Signal:
    """A signal of the study: how it is opened, in which folder of the data it lies, the seeds of each family's fits."""

    name: str
    open: Callable[[Path], Clip]
    folder: str = ""
    seeds: dict[str, tuple[int, ...]] | None = None


def _cityscapes(video: str) -> Callable[[Path], Clip]:
    return lambda data: datasets.open(data / "cityscapes", video, SIZE)


def _plain(folder: str) -> Callable[[Path], Clip]:
    return lambda data: datasets.open(data / folder, size=SIZE, count=FRAMES)


SIGNALS = (
    Signal("cityscapes-a", _cityscapes("aachen_000000_000019"), "cityscapes", {"ffn": (0, 1)}),
    Signal("cityscapes-b", _cityscapes("aachen_000003_000019"), "cityscapes", {"ffn": (0,)}),
    Signal("vipseg", _plain("vipseg_1001"), "vipseg_1001", {"ffn": (0,), "nerv": (0, 1)}),
    Signal("davis", _plain("davis_judo"), "davis_judo", {"ffn": (0,), "nerv": (0,)}),
    Signal(
        "bunny", lambda data: xinc.open("bunny", SIZE, every=2, start=20, count=FRAMES), "", {"ffn": (0,), "nerv": (0,)}
    ),
    Signal("synthetic", lambda data: synthetic.scene(SIZE, FRAMES).clip, "", {"ffn": (0,), "nerv": (0,)}),
)


def runs(data: Path, folder: Path, families: Sequence[str], signals: Sequence[str]) -> Iterator[tuple[str, Run]]:
    """Every run of the study, fitted or read back, with its name."""
    for signal in SIGNALS:
        if signal.name not in signals:
            continue
        if signal.folder and not (data / signal.folder).is_dir():
            print(f"no {signal.folder} in {data}: the study goes on without it", flush=True)
            continue
        clip = signal.open(data)
        for family, seeds in (signal.seeds or {}).items():
            for seed in seeds if family in families else ():
                name = f"{signal.name}-{family}-{seed}"
                run = xinc.fit(family, clip, epochs=EPOCHS[family], seed=seed, out=folder / name)
                seconds = run.epochs[-1].seconds
                print(f"{name}: {float(run.psnr().mean()):.2f} dB, {seconds:.0f} s", flush=True)
                yield name, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--families", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--signals", nargs="+", default=[s.name for s in SIGNALS], choices=[s.name for s in SIGNALS])
    given = parser.parse_args()
    list(runs(given.data, given.runs, given.families, given.signals))


if __name__ == "__main__":
    main()
