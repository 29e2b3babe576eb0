"""Networks come and go: somebody else's checkpoint as a run, a run's network as a small file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xinc.cli.app import STEPS, app, done, say, stage
from xinc.cli.options import (
    Annotations,
    Count,
    EncodingOption,
    Every,
    RunFolder,
    SizeOption,
    Start,
    as_options,
    as_size,
    to_folder,
    within,
)
from xinc.cli.tables import Json
from xinc.options.page import import_help
from xinc.options.tables import CHECKS, CODES


@app.command("import", rich_help_panel=STEPS, epilog=import_help())
def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Safetensors or torch file, the folder that training code left it in, or what xinc export wrote.",
            show_default=False,
        ),
    ],
    signal: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="What the network represents: image, video, folder of frames, or a sample such as bunny.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the run; must be new or empty.", callback=to_folder),
    ],
    family: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="FAMILY",
            help="ffn, siren, nerv or hnerv; what the file tells if not given.",
            show_default=False,
        ),
    ] = None,
    size: SizeOption = None,
    annotations: Annotations = None,
    encoding: EncodingOption = "auto",
    every: Every = 1,
    start: Start = 0,
    count: Count = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="What the weights leave open and you know, such as activation=relu, output=sigmoid or w0=30; "
            "chosen by the fit to the signal if not given. May be repeated.",
        ),
    ] = None,
    check: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Compare so many frames, spread over the clip, with the signal.",
            callback=within(CHECKS, "check"),
        ),
    ] = 12,
) -> None:
    """Turn somebody else's checkpoint into a run. It is read as data: nothing that is in the file is executed."""
    from rich.markup import escape

    from xinc.workflow.importing import import_run, psnr_of_some
    from xinc.workflow.job import Source

    source = Source(signal, as_size(size), every, start, count, annotations, encoding)
    run = import_run(checkpoint, family, source, out, as_options(settings), stage=stage)
    for note in run.settings["notes"]:
        say(f"[yellow]note:[/] {escape(note)}")
    psnr = psnr_of_some(run, check, stage=stage)
    height, width = run.clip.size
    say(f"{run.family} of {len(run.clip)} frames of {height}×{width}, {run.parameters:,} parameters")
    say(f"PSNR of {len(psnr)} frames: mean {float(psnr.mean()):.2f} dB, lowest {float(psnr.min()):.2f} dB")
    done(out)


@app.command(rich_help_panel=STEPS)
def export(
    run: RunFolder,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The file; network.xinc in the run's folder if not given."),
    ] = None,
    bits: Annotated[
        int, typer.Option(help="Bits of a weight before entropy coding, 2 to 8.", callback=within(CODES, "bits"))
    ] = 8,
    measured: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure it, and x264 at equal quality beside it.")
    ] = True,
    file: Json = None,
) -> None:
    """Write a run's network alone as a small file: quantised, entropy-coded; xinc import reads it back."""
    from xinc.cli.tables import show
    from xinc.workflow.exporting import export_folder

    written, rows = export_folder(run, out, bits, measured=measured, stage=stage)
    if rows:
        show(rows, "", file)
    done(written)
