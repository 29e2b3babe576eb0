"""The whole job in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xinc.cli.app import JOB, app, done, stage
from xinc.cli.options import (
    Annotations,
    BothOptions,
    Count,
    EncodingOption,
    Epochs,
    Every,
    FramesOption,
    Methods,
    Minutes,
    Out,
    Psnr,
    RecipeName,
    Seed,
    SizeOption,
    Start,
    as_frames,
    as_methods,
    as_options,
    as_size,
)
from xinc.errors import SignalError
from xinc.options.page import explain_help
from xinc.options.tables import NETWORKS, settable


@app.command(rich_help_panel=JOB)
def demo(
    out: Out = Path("xinc-demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller networks and frames: minutes less, and worse pictures.")
    ] = False,
) -> None:
    """Show what this is: fit a NeRV to a real clip and an FFN to its first frame, explain both, write a report."""
    from xinc.workflow.job import demo_tasks, explain

    done(explain(demo_tasks(quick), out, stage=stage, progress=True))


@app.command(rich_help_panel=JOB, epilog=explain_help())
def explain(
    signals: Annotated[
        list[str],
        typer.Argument(
            metavar="SIGNAL", help="Images, videos, folders of frames, or samples such as bunny.", show_default=False
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="ffn, siren, nerv or hnerv; an FFN for an image and a NeRV for a clip if not given."),
    ] = None,
    out: Out = Path("xinc-out"),
    size: SizeOption = None,
    annotations: Annotations = None,
    encoding: EncodingOption = "auto",
    every: Every = 1,
    start: Start = 0,
    count: Count = None,
    epochs: Epochs = None,
    psnr: Psnr = None,
    minutes: Minutes = None,
    recipe: RecipeName = "fast",
    seed: Seed = 0,
    method: Methods = "exact,paper",
    frames: FramesOption = None,
    options: BothOptions = None,
) -> None:
    """Fit, trace, analyse and report on your own image, video or folder of frames."""
    from xinc.workflow.job import Analysing, Fitting, Source, divided, explain, explain_tasks

    if annotations is not None and len(signals) > 1:
        raise SignalError("--annotations belong to one signal; explain signals with annotations one by one")
    sources = [Source(signal, as_size(size), every, start, count, annotations, encoding) for signal in signals]
    given = as_options(options)
    for name in given:
        settable(model if model in NETWORKS else None, findings=True).option(name)
    network, settings = divided(given)
    fitting = Fitting(model, seed, epochs, options=network, psnr=psnr, minutes=minutes, recipe=recipe)
    tasks = explain_tasks(sources, fitting, Analysing(as_methods(method), as_frames(frames), settings))
    done(explain(tasks, out, stage=stage, progress=True))
