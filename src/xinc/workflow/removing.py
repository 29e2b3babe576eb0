"""For the command line: a run without chosen neurons, without a share of a layer, or without what a budget allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xinc.errors import FindingError, TraceError
from xinc.run import Run, load
from xinc.waiting import Progress
from xinc.workflow.stages import Stage, silent

if TYPE_CHECKING:
    import xarray as xr

    from xinc.findings.pruning.network import Budget


FADING = "magnitude, fading"
"""Small weights that are decayed while the network trains (targeted decay), not removed first."""


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
    return ChosenRun(smaller, [sizes_of(run, smaller, what, _psnr(smaller))])


def _psnr(run: Run) -> float:
    """PSNR in dB against the signal, mean over all frames."""
    return float(run.psnr().mean())


def _tuned(smaller: Run, steps: int, seed: int, stage: Stage) -> Run:
    """The network trained on for some steps, zeros held."""
    from xinc.findings.pruning.cutting import fine_tune

    with stage("Fine-tuning") as progress:
        return fine_tune(smaller, steps, seed, lambda step: progress("", step, steps))


class WholeRun(NamedTuple):
    """A run that was pruned with one budget.

    Attributes:
        rows: one a layer: what went, of how many.
        rivals: where scores are compared, one a score: what the network is without as many neurons by it.
        run: without a folder.
        sentences: what it lost, and what it takes.
    """

    rows: list[dict[str, Any]]
    rivals: list[dict[str, Any]]
    run: Run
    sentences: list[str]


def prune_network(
    folder: Path,
    fraction: float,
    by: str,
    *,
    whole: bool = False,
    parameters: bool = False,
    keep_shapes: bool = False,
    loss: float | None = None,
    frames: Sequence[int] | None = None,
    seed: int = 0,
    finetune: int = 0,
    compare: bool = False,
    out: Path | None = None,
    stage: Stage = silent,
) -> WholeRun:
    """Remove neurons of all layers of a run's network with one budget.

    Args:
        folder: of the run.
        fraction: share of all kernels (features of an MLP) that goes, where ``loss`` is None.
        by: what decides.
        whole: whether whole channels of a decoder go, not single kernels.
        parameters: whether ``fraction`` is of the parameters that can go, not of kernels, channels or features.
        keep_shapes: whether channels that nothing reads any more stay in the files.
        loss: dB that the picture may lose, mean over all frames: as many go as that allows.
        frames: over which the network is measured; spread over the clip where None.
        seed: of the score ``random``, and of fine-tuning.
        finetune: steps of training afterwards, zeros held.
        compare: whether as many neurons are taken away by every other score too.
        out: folder that must be free; it is not written here.
        stage: shows a long step.

    Raises:
        XincError: the run, share, loss, score or folder is wrong.
    """
    from xinc.findings.pruning.cutting import check_free, cut
    from xinc.findings.pruning.network import Budget
    from xinc.findings.pruning.prune import check_fraction

    if loss is None:
        check_fraction(fraction, 0.3)
    if out is not None:
        check_free(out)
    run = load(folder)
    with stage("Measuring the layers") as progress:
        unit = "inputs" if whole else "neurons"
        budget = Budget.of(run, by, frames, seed, progress, unit=unit, parameters=parameters)
    with stage("Removing neurons") as progress:
        if loss is None:
            found = budget.pruned(round(fraction * budget.count), progress=progress)
        else:
            found = budget.within(loss, progress)
    smaller, gone, units = found.run, sum(found.removed.values()), sum(layer.part.count for layer in budget.layers)
    called = " and ".join(dict.fromkeys(layer.part.called for layer in budget.layers))
    share = f"{gone:,} of its {units:,} {called}, chosen by {by}"
    sentences, psnr = [], _psnr(smaller)
    row: dict[str, Any] = {"by": by, "psnr": psnr}
    if finetune:
        sentences.append(f"Untrained it keeps {psnr:.2f} dB, over all frames.")
        smaller = _tuned(smaller, finetune, seed, stage)
        row["psnr_tuned"] = psnr = _psnr(smaller)
        sentences.append(f"After {finetune} steps of fine-tuning it is {psnr:.2f} dB.")
    rows = [
        {
            "layer": layer.part.name,
            "removed": found.removed[layer.part.name],
            "of": layer.part.count,
            "share": found.removed[layer.part.name] / layer.part.count,
        }
        for layer in budget.layers
    ]
    rivals: list[dict[str, Any]] = []
    if compare:
        rivals = [row]
        with stage("Comparing scores") as progress:
            rivals += _rivals(budget, budget.spent(found), seed, finetune, progress)
    if not keep_shapes:
        smaller = cut(smaller)
    return WholeRun(rows, rivals, smaller, [*sentences, sizes_of(run, smaller, share, psnr)])


def _rivals(chosen: Budget, gone: int, seed: int, finetune: int, progress: Progress) -> Iterator[dict[str, Any]]:
    """The network without as much by each other score; where it is trained on, small weights fading too."""
    from xinc.findings.pruning.cutting import fade_out, fine_tune
    from xinc.findings.pruning.prune import CHOICES

    run, others = chosen.run, [name for name in CHOICES if name != chosen.by]
    for number, name in enumerate(others):
        progress(name, number, len(others))
        try:
            budget = chosen.by_other(name, seed)
        except TraceError:  # the method has no rule for this network
            continue
        smaller = budget.pruned(gone).run
        after = {"psnr_tuned": _psnr(fine_tune(smaller, finetune, seed))} if finetune else {}
        yield {"by": name, "psnr": _psnr(smaller), **after}
        if finetune and name == "magnitude":
            faded = fade_out(run, budget.chosen(gone), finetune, seed)
            yield {"by": FADING, "psnr": None, "psnr_tuned": _psnr(faded)}
    progress("compared", len(others), len(others))


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
    share, whole = spared(curves, by, loss), _psnr(run)
    smallest = 1 / int(curves.attrs["count"])
    while share >= smallest:
        found = compare(run, pruning, (by,), share)
        if whole - _psnr(pruned(run, found, by)) <= loss:
            return share
        share = min(share - smallest, 0.97 * share)
    raise FindingError(f"not even one of the neurons of {layer} can go for {loss:g} dB by {by}; allow more")


@dataclass(frozen=True, eq=False)
class PrunedRun:
    """What pruning a layer comes to.

    Attributes:
        rows: one a score and share.
        called: what goes, in the plural.
        sentences: the conclusion, and what the network took and takes.
        figure: of the curves.
        run: the pruned network.
    """

    rows: list[dict[str, Any]]
    called: str
    sentences: list[str]
    figure: Path
    run: Run


def prune_folder(
    folder: Path,
    layer: str,
    fraction: float,
    by: str,
    *,
    side: str = "input",
    whole: bool = False,
    keep_shapes: bool = False,
    frames: Sequence[int] | None = None,
    seed: int = 0,
    finetune: int = 0,
    compare: bool = False,
    out: Path | None = None,
    stage: Stage = silent,
) -> PrunedRun:
    """Remove a share of a layer's neurons from a run's network, least scores first.

    Args:
        folder: of the run.
        layer: its name.
        fraction: share of the neurons that goes.
        by: score.
        side: which channels go where ``whole``: ``"input"`` or ``"output"``.
        whole: whether whole channels go.
        keep_shapes: whether channels and features that nothing reads any more stay in the files.
        frames: indices over which scores are summed; those that the findings choose where None.
        seed: of the score ``random``, and of fine-tuning.
        finetune: steps of training afterwards, zeros held.
        compare: whether all scores are compared.
        out: folder that must be free for the pruned run; it is not written here.
        stage: shows a long step.

    Raises:
        XincError: the run, layer, share, score or folder is wrong.
    """
    from xinc.findings.pruning.cutting import check_free, cut
    from xinc.findings.pruning.prune import CHOICES, Pruning, pruned
    from xinc.findings.pruning.prune import compare as compare_scores
    from xinc.findings.pruning.spared import conclusion, rows, tuned_row
    from xinc.show.panels.pruning import keep_figure

    if side not in ("input", "output"):
        raise FindingError(f"--side {side} is no side of a layer; choose input or output")
    if out is not None:
        check_free(out)
    run = load(folder)
    pruning = Pruning(layer, f"{side}s" if whole else "neurons", tuple(frames) if frames is not None else None, seed)
    names = tuple(dict.fromkeys((*CHOICES, by))) if compare else (by,)
    with stage("Removing neurons") as progress:
        curves = compare_scores(run, pruning, names, fraction, progress=progress)
    table, smaller = rows(curves), pruned(run, curves, by)
    if finetune:
        smaller = _tuned(smaller, finetune, seed, stage)
        table.append(tuned_row(run, smaller, curves, by))
        if compare:
            with stage("Fine-tuning the rivals"):
                table += _tuned_rivals(run, curves, by, finetune, seed)
    if not keep_shapes:
        smaller = cut(smaller)
    called = str(curves.attrs["called"])
    what = f"{100 * fraction:.3g} % of the {called} of {layer}, chosen by {by}"
    sizes = sizes_of(run, smaller, what, _psnr(smaller))
    return PrunedRun(table, called, [conclusion(curves), sizes], keep_figure(run, layer), smaller)


def _tuned_rivals(run: Run, curves: xr.Dataset, by: str, steps: int, seed: int) -> Iterator[dict[str, Any]]:
    """The other scores' networks after as many steps, and that of small weights which fade while it trains."""
    from xinc.findings.pruning.cutting import fade_out, fine_tune
    from xinc.findings.pruning.prune import least, pruned
    from xinc.findings.pruning.spared import tuned_row

    for name in curves["by"].values.tolist():
        if name != by:
            yield tuned_row(run, fine_tune(pruned(run, curves, name), steps, seed), curves, name)
        if name == "magnitude":
            faded = fade_out(run, [least(run, curves, name)], steps, seed)
            yield {**tuned_row(run, faded, curves, name), "by": FADING}


def sizes_of(whole: Run, smaller: Run, what: str, psnr: float) -> str:
    """What the network took, and what it takes now, in a line; ``psnr`` is what it keeps, in dB."""
    from xinc.findings.pruning.cutting import size_of

    before, after = size_of(whole), size_of(smaller)
    cut = f"; the file holds {before.values:,} → {after.values:,}" if after.values < before.values else ""
    return (
        f"Without {what}: {_psnr(whole):.2f} → {psnr:.2f} dB to the signal over all frames; "
        f"{before.parameters:,} → {after.parameters:,} parameters that are not zero, {after.reaching:,} of which still "
        f"reach the picture{cut}; {before.packed:,} → {after.packed:,} bytes when compressed."
    )
