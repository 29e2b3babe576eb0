"""A run without neurons that somebody chose, for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from xinc.run import Run, load
from xinc.workflow.evidence import sizes_of


class ChosenRun(NamedTuple):
    """A run without chosen neurons.

    Attributes:
        run: without a folder.
        sentences: what it lost, and what it takes.
    """

    run: Run
    sentences: list[str]


def remove_chosen(folder: Path, file: Path, out: Path | None = None) -> ChosenRun:
    """A run without the neurons that a file names.

    Args:
        folder: of the run.
        file: JSON, neurons by layer.
        out: folder that must be free; it is not written here.

    Raises:
        XincError: the run, the file, a layer or a neuron is wrong.
    """
    from xinc.findings.pruning.cutting import check_free
    from xinc.findings.pruning.without import read_chosen, without

    chosen = read_chosen(file)
    if out is not None:
        check_free(out)
    run = load(folder)
    smaller = without(run, chosen)
    count = sum(len(set(neurons)) for neurons in chosen.values())
    what = f"{count} neurons of {', '.join(chosen)}"
    before, after = float(run.psnr().mean()), float(smaller.psnr().mean())
    lost = f"PSNR to the signal goes from {before:.2f} to {after:.2f} dB, over all frames."
    return ChosenRun(smaller, [lost, sizes_of(run, smaller, what)])
