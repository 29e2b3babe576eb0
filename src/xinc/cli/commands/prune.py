"""Contribution-guided pruning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xinc.cli.app import EVIDENCE, app, done, say, stage
from xinc.cli.options import Frames, RunFolder, as_frames, within
from xinc.cli.tables import Json, Row, keep, show
from xinc.options.tables import CHECKS

if TYPE_CHECKING:
    from xinc.run import Run


@app.command(rich_help_panel=EVIDENCE)
def prune(
    run: RunFolder,
    layer: Annotated[str, typer.Option(metavar="NAME", help="Layer whose neurons go.", show_default=False)],
    fraction: Annotated[
        float,
        typer.Option(
            help="Share of the layer's neurons that goes, between 0 and 1.", callback=within(CHECKS, "fraction")
        ),
    ] = 0.1,
    by: Annotated[
        str, typer.Option(help="What decides which go: exact, paper, official, magnitude or random.")
    ] = "exact",
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Remove whole channels of a decoder, with all their kernels, not single kernels."),
    ] = False,
    side: Annotated[
        str, typer.Option(help="With --whole: channels that the layer reads (input) or makes (output).")
    ] = "input",
    finetune: Annotated[
        int,
        typer.Option(
            metavar="STEPS",
            help="Train on afterwards, with what was removed held at zero.",
            callback=within(CHECKS, "finetune"),
        ),
    ] = 0,
    frames: Frames = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare all five scores in one table and figure.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of the score random, and of fine-tuning.", callback=within(CHECKS, "seed"))
    ] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Keep the pruned network as a run of its own.")
    ] = None,
    json: Json = None,
) -> None:
    """Remove the neurons that contribute least: PSNR against the share removed, and the pruned network as a run."""
    from xinc.errors import FindingError
    from xinc.findings.pruning.cutting import check_free, fine_tune
    from xinc.findings.pruning.prune import SCORES, Pruning, pruned
    from xinc.findings.pruning.prune import compare as compare_scores
    from xinc.findings.pruning.spared import conclusion, rows, tuned_row
    from xinc.run import load
    from xinc.show.panels.pruning import keep_figure

    if side not in ("input", "output"):
        raise FindingError(f"--side {side} is no side of a layer; choose input or output")
    if out is not None:
        check_free(out)
    loaded = load(run)
    pruning = Pruning(layer, f"{side}s" if whole else "neurons", as_frames(frames), seed)
    names = tuple(dict.fromkeys((*SCORES, by))) if compare else (by,)
    with stage("Removing neurons") as progress:
        curves = compare_scores(loaded, pruning, names, fraction, progress=progress)
    table, smaller = rows(curves), pruned(loaded, curves, by)
    if finetune:
        with stage("Fine-tuning") as progress:
            smaller = fine_tune(smaller, finetune, seed, lambda step: progress("", step, finetune))
        table.append(tuned_row(loaded, smaller, curves, by))
    if json is not None:
        keep(table, json)
    for title, part in _readable(table):
        show(part, f"{curves.attrs['called'].capitalize()} of {layer} removed, least first{title}")
    say(conclusion(curves))
    say(f"Figure: {keep_figure(loaded, layer)}")
    say(_sizes(loaded, smaller, f"{100 * fraction:.3g} % of the {curves.attrs['called']} of {layer}, chosen by {by}"))
    if out is None:
        say("Give --out DIR to keep the pruned network as a run.")
    else:
        done(smaller.save(out))


def _readable(table: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows as tables that fit a terminal: of one score, or a column a score and a table a loss."""
    scores = list(dict.fromkeys(row["by"] for row in table))
    if len(scores) == 1:
        keys = ["fraction", "neurons", "psnr_unpruned", "psnr_signal", "parameters", "bytes", "finetune"]
        yield f", by {scores[0]}", [{key: row[key] for key in keys} for row in table]
        return
    for key, title in (("psnr_unpruned", "to the unpruned picture"), ("psnr_signal", "to the signal")):
        found: dict[tuple[float, int], dict[str, float | None]] = {}
        for row in table:
            line = found.setdefault((row["fraction"], row["finetune"]), dict.fromkeys(scores))
            line[row["by"]] = row[key]
        parts: list[Row] = [
            {"fraction": share, **values, "finetune": steps} for (share, steps), values in found.items()
        ]
        yield f": PSNR in dB {title}", parts


def _sizes(whole: Run, smaller: Run, what: str) -> str:
    """What the network took, and what it takes now, in a line."""
    from xinc.findings.pruning.cutting import size_of

    before, after = size_of(whole), size_of(smaller)
    psnr = [float(run.psnr().mean()) for run in (whole, smaller)]
    return (
        f"Without {what}: {psnr[0]:.2f} → {psnr[1]:.2f} dB to the signal over all frames; "
        f"{before.parameters:,} → {after.parameters:,} parameters that are not zero, {after.reaching:,} of which still "
        f"reach the picture; {before.packed:,} → {after.packed:,} bytes when compressed."
    )
