"""How far the maps of a run can be trusted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from xinc.cli.app import EVIDENCE, app, console, done, stage
from xinc.cli.options import Elsewhere, FramesOption, Layers, RunFolder, as_frames, as_names, within
from xinc.cli.tables import Json, Row, keep, show
from xinc.options.tables import CHECKS


@app.command(rich_help_panel=EVIDENCE)
def verify(
    run: RunFolder,
    method: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Definitions of the maps to judge.")
    ] = "paper,official,exact",
    layers: Layers = None,
    neurons: Annotated[
        int, typer.Option(help="Neurons of each layer that are ablated one by one.", callback=within(CHECKS, "neurons"))
    ] = 64,
    frames: FramesOption = None,
    seed: Annotated[int, typer.Option(help="Of the sample of neurons.", callback=within(CHECKS, "seed"))] = 0,
    curves: Annotated[
        bool,
        typer.Option(
            "--curves/--no-curves",
            help="Also remove whole shares of each layer, greatest totals first and last; big layers take a while.",
        ),
    ] = True,
    out: Elsewhere = None,
    file: Json = None,
) -> None:
    """Measure how well each method's maps predict ablation, and say which to trust; what is known already is kept."""
    from xinc.workflow.evidence import verify_folder

    verified = verify_folder(
        run,
        methods=as_names(method) or (),
        layers=as_names(layers),
        neurons=neurons,
        frames=as_frames(frames),
        seed=seed,
        curves=curves,
        out=out,
        stage=stage,
    )
    table = verified.rows
    if file is not None:
        keep(table, file)
    counts = {row["neurons"] for row in table}
    sample = f"{counts.pop()} neurons a layer" if len(counts) == 1 else ""
    title = "Maps and totals of each method against ablation"
    show([_shown(row, counted=not sample) for row in table], f"{title}, {sample}" if sample else title)
    for sentence in verified.sentences:
        console(stderr=False).print(sentence, markup=False, soft_wrap=True)
    done((out or run) / "results.zarr")


def _shown(row: Row, counted: bool) -> dict[str, Any]:
    """What 80 columns have room for: the interval beside its median; neurons where layers differ in their number."""
    middle, low, high, tenth, totals = (
        None if row[key] is None else f"{row[key]:.3f}".replace("-", "−")
        for key in ("correlation_median", "low", "high", "correlation_p10", "totals_rank")
    )
    return {
        "layer": row["layer"],
        "method": row["method"],
        **({"neurons": row["neurons"]} if counted else {}),
        "correlation": None if middle is None else f"{middle} [{low or '–'}, {high or '–'}]",
        "p10": tenth,
        "undefined": None if row["undefined"] is None else f"{100 * row['undefined']:.0f} %",
        "totals": totals,
    }
