"""Contribution-guided pruning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xinc.cli.app import EVIDENCE, app, done, say, say_plainly, stage
from xinc.cli.options import FramesOption, RunFolder, as_frames, to_folder, within
from xinc.cli.tables import Json, Row, keep, show
from xinc.errors import FindingError
from xinc.options.tables import CHECKS

if TYPE_CHECKING:
    from xinc.run import Run

ALL = "all"
"""In place of a layer's name: all layers, with one budget."""


@app.command(rich_help_panel=EVIDENCE)
def prune(
    run: RunFolder,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Layer whose neurons go; all layers with one budget if not given.", show_default=False
        ),
    ] = None,
    neurons: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Remove these instead: a JSON file of neurons by layer, {"block3": [3, 17]}, as the page of explore '
            "saves it.",
        ),
    ] = None,
    fraction: Annotated[
        float,
        typer.Option(help="Share of the neurons that goes, between 0 and 1.", callback=within(CHECKS, "fraction")),
    ] = 0.1,
    by: Annotated[
        str,
        typer.Option(
            help="What decides which go: joint (those that stay make up for it), exact, paper, official, magnitude or "
            "random."
        ),
    ] = "exact",
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Remove whole channels of a decoder, with all their kernels, not single kernels."),
    ] = False,
    side: Annotated[
        str, typer.Option(help="With --whole and a layer: channels that it reads (input) or makes (output).")
    ] = "input",
    parameters: Annotated[
        bool,
        typer.Option("--parameters", help="With all layers: --fraction is of the parameters, not of the neurons."),
    ] = False,
    keep_shapes: Annotated[
        bool,
        typer.Option(
            "--keep-shapes", help="Keep channels that nothing reads any more: published code wants its own shapes."
        ),
    ] = False,
    psnr_loss: Annotated[
        float | None,
        typer.Option(
            metavar="DB",
            help="Remove as many as can go before the picture has lost so many dB, mean over all frames; in place of "
            "--fraction.",
            callback=within(CHECKS, "psnr_loss"),
        ),
    ] = None,
    finetune: Annotated[
        int,
        typer.Option(
            metavar="STEPS",
            help="Train on afterwards, with what was removed held at zero.",
            callback=within(CHECKS, "finetune"),
        ),
    ] = 0,
    frames: FramesOption = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare all scores in one table and figure.")] = False,
    seed: Annotated[
        int, typer.Option(help="Of the score random, and of fine-tuning.", callback=within(CHECKS, "seed"))
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Keep the pruned network as a run of its own.", callback=to_folder
        ),
    ] = None,
    json: Json = None,
) -> None:
    """Remove the neurons that contribute least: PSNR against the share removed, and the pruned network as a run."""
    from xinc.workflow.removing import prune_folder, prune_network, prune_to_loss, remove_chosen

    if layer is not None and neurons is not None:
        raise FindingError("say which neurons go in one way: by --layer NAME and --fraction, or by --neurons FILE")
    if neurons is not None:
        chosen = remove_chosen(run, neurons, out)
        _told(chosen.sentences, chosen.run, out)
        return
    if layer is None or layer == ALL:
        if side != "input":
            raise FindingError(f"--side {side} is of one layer; name it by --layer, or leave --side out")
        found = prune_network(
            run,
            fraction,
            by,
            whole=whole,
            parameters=parameters,
            keep_shapes=keep_shapes,
            loss=psnr_loss,
            frames=as_frames(frames),
            seed=seed,
            finetune=finetune,
            compare=compare,
            out=out,
            stage=stage,
        )
        if json is not None:
            keep([*found.rows, *found.rivals], json)
        show(found.rows, "Removed with one budget, of all layers")
        if found.rivals:
            show(found.rivals, "PSNR to the signal over all frames without as many, by each score")
        _told(found.sentences, found.run, out)
        return
    if parameters:
        raise FindingError("--parameters is of all layers; leave it out, or --layer")
    if psnr_loss is not None:
        with stage("Looking for the share"):
            fraction = prune_to_loss(
                run, layer, psnr_loss, by, unit=f"{side}s" if whole else "neurons", frames=as_frames(frames), seed=seed
            )
    pruned = prune_folder(
        run,
        layer,
        fraction,
        by,
        side=side,
        whole=whole,
        keep_shapes=keep_shapes,
        frames=as_frames(frames),
        seed=seed,
        finetune=finetune,
        compare=compare,
        out=out,
        stage=stage,
    )
    if json is not None:
        keep(pruned.rows, json)
    for title, part in _readable(pruned.rows):
        show(part, f"{pruned.called.capitalize()} of {layer} removed, least first{title}")
    conclusion, sizes = pruned.sentences
    _told([conclusion, f"Figure: {pruned.figure}", sizes], pruned.run, out)


def _told(sentences: Sequence[str], smaller: Run, out: Path | None) -> None:
    """Say what came of it, and keep the smaller run where that is asked for."""
    for sentence in sentences:
        say_plainly(sentence)
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
