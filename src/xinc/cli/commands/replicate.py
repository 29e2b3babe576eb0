"""The paper's claims on the user's networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xinc.cli.app import EVIDENCE, app, done, say_plainly, stage
from xinc.cli.options import Flows, FramesOption, Layers, as_frames, as_names, to_any, within
from xinc.cli.tables import Json, keep, show
from xinc.options.tables import CHECKS


@app.command(rich_help_panel=EVIDENCE)
def replicate(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Folders of runs; those of one kind of network and one signal count as seeds; or a sweep's folder, or "
            "address.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Definitions of the maps: paper, official, exact or ablation.")
    ] = "paper,official,exact",
    layers: Layers = None,
    frames: FramesOption = None,
    seed: Annotated[
        int, typer.Option(help="Of clusters, samples, displacements and resamples.", callback=within(CHECKS, "seed"))
    ] = 0,
    flows: Flows = None,
    json: Json = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR|FILE",
            help="Keep the table too: as .md, .csv or .json by the file's name, in a folder as all three.",
            callback=to_any,
        ),
    ] = None,
) -> None:
    """Measure the paper's claims: value, interval, the paper's range, and verdict, for each definition of the maps.

    What is computed is kept in each run's results.zarr: the same command goes on where it stopped, and xinc report
    shows the table of its runs.
    """
    from xinc.workflow.evidence import replicate_folders

    claims = replicate_folders(
        runs,
        as_names(method) or (),
        layers=as_names(layers),
        frames=as_frames(frames),
        seed=seed,
        flows=flows,
        out=out,
        stage=stage,
    )
    for heading, lines in claims.parts:
        show(lines, heading)
    if json is not None:
        keep(claims.records(), json)
    say_plainly(f"{claims.legend}.")
    for sentence in claims.sentences:
        say_plainly(sentence)
    if out is not None:
        done(claims.save(out))
