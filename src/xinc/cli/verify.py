"""How far the maps of a run can be trusted."""

from __future__ import annotations

from typing import Annotated

import typer

from xinc.cli.app import EVIDENCE, app, console, done, stage
from xinc.cli.options import Frames, Layers, RunFolder, as_frames, as_names
from xinc.cli.tables import Json, show


@app.command(rich_help_panel=EVIDENCE)
def verify(
    run: RunFolder,
    method: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Definitions of the maps to judge.")
    ] = "paper,official,exact",
    layers: Layers = None,
    neurons: Annotated[int, typer.Option(help="Neurons of each layer that are ablated one by one.")] = 64,
    frames: Frames = None,
    seed: Annotated[int, typer.Option(help="Of the sample of neurons.")] = 0,
    curves: Annotated[
        bool,
        typer.Option(
            "--curves/--no-curves",
            help="Also remove whole shares of each layer, greatest totals first and last; big layers take a while.",
        ),
    ] = True,
    file: Json = None,
) -> None:
    """Measure how well each method's maps predict ablation, and say which to trust; what is known already is kept."""
    from xinc.findings.fidelity import Verification
    from xinc.findings.fidelity import verify as measure
    from xinc.findings.trust import conclusion, rows
    from xinc.run import load

    asked = Verification(as_names(method) or (), as_names(layers), neurons, as_frames(frames), seed, curves)
    loaded = load(run)
    with stage("Comparing with ablation") as progress:
        found = measure(loaded, asked, progress=progress)
    show(rows(found), "Maps and totals of each method against ablation", file)
    for sentence in conclusion(found):
        console(stderr=False).print(sentence, markup=False, soft_wrap=True)
    done(run / "results.zarr")
