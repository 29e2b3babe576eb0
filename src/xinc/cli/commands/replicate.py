"""The paper's claims on the user's networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xinc.cli.app import EVIDENCE, app, done, say, stage
from xinc.cli.options import Flows, Frames, Layers, as_frames, as_names, within
from xinc.cli.tables import Json, keep, show
from xinc.options.tables import CHECKS

if TYPE_CHECKING:
    import pandas as pd


@app.command(rich_help_panel=EVIDENCE)
def replicate(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of runs; those of one kind of network and one signal count as seeds; or a sweep's folder.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Definitions of the maps: paper, official, exact or ablation.")
    ] = "paper,official,exact",
    layers: Layers = None,
    frames: Frames = None,
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
        ),
    ] = None,
) -> None:
    """Measure the paper's claims: value, interval, the paper's range, and verdict, for each definition of the maps.

    What is computed is kept in each run's results.zarr: the same command goes on where it stopped, and xinc report
    shows the table of its runs.
    """
    from xinc.errors import TraceError
    from xinc.findings.analyses import Settings
    from xinc.findings.optical_flow.flows import chosen_flows
    from xinc.findings.replication.replicate import Replication
    from xinc.findings.replication.replicate import replicate as measure
    from xinc.run import load
    from xinc.show.panels.replication import check_form
    from xinc.sweep.replication import is_sweep, replicate_sweep

    methods = as_names(method)
    if not methods:
        raise TraceError("--method names no definition of the maps; choose from paper, official, exact and ablation")
    if out is not None:
        check_form(out)
    if len(runs) == 1 and is_sweep(str(runs[0])):
        table = replicate_sweep(str(runs[0]), seed=seed)
        _tell(table[table["method"].isin(methods)], methods, json, out)
        return
    loaded = [load(folder) for folder in runs]
    flows_of = chosen_flows(flows, [run.clip for run in loaded]) if flows else None
    plan = Replication(methods, as_names(layers), as_frames(frames), settings=Settings(seed=seed), flows=flows_of)
    with stage("Measuring the claims") as progress:
        table = measure(loaded, plan, progress=progress)
    _tell(table, methods, json, out)


def _tell(table: pd.DataFrame, methods: Sequence[str], json: Path | None, out: Path | None) -> None:
    """Show the table of claims, and keep it where that is asked for."""
    from xinc.findings.replication.verdicts import by_claim, cases, records
    from xinc.show.panels.replication import LEGEND, heading, lines, save, sentences

    known = cases(table)
    for claim, own in by_claim(known):
        show(lines(own, methods), heading(claim, own))
    if json is not None:
        keep(records(table), json)
    say(f"{LEGEND}.")
    for sentence in sentences(known):
        say(sentence)
    if out is not None:
        done(save(table, out))
