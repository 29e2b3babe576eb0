"""The parts of the job, one command each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xinc.cli.app import STEPS, app, done, say, stage
from xinc.cli.options import (
    Annotations,
    Count,
    Elsewhere,
    EncodingOption,
    Epochs,
    Every,
    FindingSettings,
    Flows,
    FramesOption,
    Layers,
    MethodOption,
    Methods,
    Minutes,
    Options,
    Psnr,
    RecipeName,
    RunFolder,
    Seed,
    SizeOption,
    Start,
    as_frames,
    as_methods,
    as_names,
    as_options,
    as_size,
    to_file,
    to_folder,
    within,
)
from xinc.options.page import analyse_help, fit_help
from xinc.options.tables import CHECKS, FIT, RECIPE, SET_FINDINGS


@app.command(rich_help_panel=STEPS, epilog=fit_help())
def fit(
    signal: Annotated[
        str,
        typer.Argument(
            metavar="SIGNAL", help="Image, video, folder of frames, or a sample such as bunny.", show_default=False
        ),
    ],
    model: Annotated[str, typer.Option(help="ffn, siren, nerv or hnerv.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the run.", show_default=False, callback=to_folder),
    ],
    size: SizeOption = None,
    annotations: Annotations = None,
    encoding: EncodingOption = "auto",
    every: Every = 1,
    start: Start = 0,
    count: Count = None,
    epochs: Epochs = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Adam's; the family's own if not given.", callback=within(RECIPE, "learning_rate")),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Frames in a step; the family's own number if not given.", callback=within(RECIPE, "batch")),
    ] = None,
    frame: Annotated[
        int | None, typer.Option(help="Which frame a network of one frame represents.", callback=within(FIT, "frame"))
    ] = None,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one if not given.")] = None,
    psnr: Psnr = None,
    minutes: Minutes = None,
    recipe: RecipeName = "fast",
    options: Options = None,
) -> None:
    """Train a network to represent a signal; the same command goes on where an interrupted one stopped."""
    from xinc.workflow.job import Fitting, Source, fit_signal

    fitting = Fitting(
        model, seed, epochs, learning_rate, batch, frame, device, as_options(options), psnr, minutes, recipe
    )
    source = Source(signal, as_size(size), every, start, count, annotations, encoding)
    run = fit_signal(source, fitting, out, progress=True)
    early = f", after {len(run.epochs)} of {run.settings['recipe.epochs']} epochs" if psnr or minutes else ""
    say(f"{run.parameters:,} parameters, mean PSNR {float(run.psnr().mean()):.2f} dB{early}")
    done(out)


@app.command(rich_help_panel=STEPS)
def trace(
    run: RunFolder,
    method: MethodOption = "exact",
    layers: Layers = None,
    frames: FramesOption = None,
    save_maps: Annotated[bool, typer.Option("--save-maps", help="Keep every map too, which takes room.")] = False,
    out: Elsewhere = None,
) -> None:
    """Reduce the canvas into results.zarr: heatmaps, totals, pixels per neuron, neurons per pixel; maps when asked."""
    from xinc.workflow.tracing import Tracing, trace_folder

    tracing = Tracing(method, as_names(layers), as_frames(frames))
    done(trace_folder(run, tracing, save_maps=save_maps, out=out, stage=stage))


@app.command(rich_help_panel=STEPS, epilog=analyse_help())
def analyse(
    run: RunFolder,
    method: Methods = "exact",
    layers: Layers = None,
    frames: FramesOption = None,
    findings: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Findings by name; all if not given.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of clusters, samples and displacements.", callback=within(CHECKS, "seed"))
    ] = 0,
    settings: FindingSettings = None,
    flows: Flows = None,
) -> None:
    """Compute the findings of section 4 of the paper into results.zarr; what is there already is kept."""
    from xinc.workflow.evidence import analyse_folder

    results = analyse_folder(
        run,
        as_methods(method),
        layers=as_names(layers),
        frames=as_frames(frames),
        findings=as_names(findings),
        settings={"seed": seed, **SET_FINDINGS.check(as_options(settings))},
        flows=flows,
        stage=stage,
    )
    done(results)


@app.command(rich_help_panel=STEPS)
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of runs that were analysed.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file; report.html in the folder of the only run if not given.",
            callback=to_file,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Definition of the maps that leads; exact if the runs were analysed with it, else what they have."
        ),
    ] = None,
) -> None:
    """Write one self-contained report.html on one or several runs."""
    from xinc.workflow.evidence import report_on

    done(report_on(runs, out, None if method is None else as_methods(method)[0], stage=stage))
