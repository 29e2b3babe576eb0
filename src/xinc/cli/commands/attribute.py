"""Which neurons are behind a number: an error, a region, a pixel."""

from __future__ import annotations

from typing import Annotated

import typer

from xinc.cli.app import EVIDENCE, app, say
from xinc.cli.options import RunFolder, within
from xinc.cli.tables import Json, keep, show
from xinc.options.tables import CHECKS


@app.command(rich_help_panel=EVIDENCE)
def attribute(
    run: RunFolder,
    to: Annotated[
        str,
        typer.Option(
            metavar="error|region:LABEL|pixel:Y,X",
            help="The number: mean squared error to the clip, mean colour of a segment (id or category), or a pixel.",
        ),
    ] = "error",
    frame: Annotated[int, typer.Option(help="Which frame.", callback=within(CHECKS, "frame"))] = 0,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many neurons to print.")] = 10,
    json: Json = None,
) -> None:
    """Say which layers and neurons are behind a number made of the picture, to first order; one backward pass.

    An effect is what the number would lose without the neuron. --json keeps all neurons.
    """
    from xinc.workflow.evidence import attribute_folder

    known = attribute_folder(run, to, frame)
    if json is not None:
        keep(known.rows, json)
    show(known.layers, f"Effects on the {known.what}, {known.value:.4g}: layers")
    keys = ("layer", "neuron", "input", "output", "effect")
    show([{key: row[key] for key in keys} for row in known.rows[:count]], "Neurons with the greatest effects")
    say("Effects are first-order: neurons that stand in for each other share one effect among them.")
