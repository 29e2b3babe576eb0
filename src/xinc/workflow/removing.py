"""For the command line: a run without chosen neurons, or without as many of all layers as a budget allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xinc.errors import FindingError
from xinc.run import Run, load
from xinc.workflow.evidence import sizes_of
from xinc.workflow.stages import Stage, silent


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
    return ChosenRun(smaller, [sizes_of(run, smaller, what)])


class WholeRun(NamedTuple):
    """A run that was pruned with one budget.

    Attributes:
        rows: one a layer: what went, of how many.
        run: without a folder.
        sentences: what it lost, and what it takes.
    """

    rows: list[dict[str, Any]]
    run: Run
    sentences: list[str]


def prune_network(
    folder: Path,
    fraction: float,
    by: str,
    *,
    loss: float | None = None,
    frames: Sequence[int] | None = None,
    seed: int = 0,
    finetune: int = 0,
    out: Path | None = None,
    stage: Stage = silent,
) -> WholeRun:
    """Remove neurons of all layers of a run's network with one budget.

    Args:
        folder: of the run.
        fraction: share of all kernels (features of an MLP) that goes, where ``loss`` is None.
        by: what decides.
        loss: dB that the picture may lose, mean over all frames: as many go as that allows.
        frames: over which the network is measured; spread over the clip where None.
        seed: of the score ``random``, and of fine-tuning.
        finetune: steps of training afterwards, zeros held.
        out: folder that must be free; it is not written here.
        stage: shows a long step.

    Raises:
        XincError: the run, share, loss, score or folder is wrong.
    """
    from xinc.findings.pruning.cutting import check_free, fine_tune
    from xinc.findings.pruning.network import Budget

    if loss is None and not 0 < fraction < 1:
        raise FindingError(f"fraction {fraction:g} leaves nothing to choose; give a share between 0 and 1, such as 0.3")
    if out is not None:
        check_free(out)
    run = load(folder)
    with stage("Measuring the layers") as progress:
        budget = Budget.of(run, by, frames, seed, progress)
    with stage("Removing neurons") as progress:
        if loss is None:
            found = budget.pruned(round(fraction * budget.count), progress=progress)
        else:
            found = budget.within(loss, progress)
    smaller, gone = found.run, sum(found.removed.values())
    share = f"{100 * gone / budget.count:.3g} % of its {budget.count:,} kernels or features, chosen by {by}"
    sentences = []
    if finetune:
        sentences.append(f"Untrained it keeps {float(smaller.psnr().mean()):.2f} dB, over all frames.")
        with stage("Fine-tuning") as progress:
            smaller = fine_tune(smaller, finetune, seed, lambda step: progress("", step, finetune))
        sentences.append(f"After {finetune} steps of fine-tuning it is {float(smaller.psnr().mean()):.2f} dB.")
    rows = [
        {
            "layer": layer.part.name,
            "removed": found.removed[layer.part.name],
            "of": layer.part.count,
            "share": found.removed[layer.part.name] / layer.part.count,
        }
        for layer in budget.layers
    ]
    return WholeRun(rows, smaller, [*sentences, sizes_of(run, smaller, share)])


def prune_to_loss(
    folder: Path, layer: str, loss: float, by: str, *, unit: str, frames: Sequence[int] | None = None, seed: int = 0
) -> float:
    """The largest share of one layer that can go for a loss, by measuring the network over all frames.

    Raises:
        XincError: the run, layer or score is wrong, or even the smallest share costs more.
    """
    from xinc.findings.pruning.prune import Pruning, check_loss, compare, pruned
    from xinc.findings.pruning.spared import spared

    check_loss(loss)
    run = load(folder)
    pruning = Pruning(layer, unit, tuple(frames) if frames is not None else None, seed)
    curves = compare(run, pruning, (by,))
    share, whole = spared(curves, by, loss), float(run.psnr().mean())
    smallest = 1 / int(curves.attrs["count"])
    while share >= smallest:
        found = compare(run, pruning, (by,), share)
        if whole - float(pruned(run, found, by).psnr().mean()) <= loss:
            return share
        share = min(share - smallest, 0.97 * share)
    raise FindingError(f"not even one of the neurons of {layer} can go for {loss:g} dB by {by}; allow more")
