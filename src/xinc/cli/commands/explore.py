"""The page where one points at a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xinc.cli.app import EVIDENCE, app, done, say
from xinc.cli.options import to_file, within
from xinc.options.tables import CHECKS


@app.command(rich_help_panel=EVIDENCE)
def explore(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the page as one file with the networks in it, and start no server.",
            callback=to_file,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Where the server listens, on this machine only; 8642 or the next free one if not given.",
            callback=within(CHECKS, "port"),
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Point at a pixel and see who paints it; point at a neuron and see what it paints; switch it off."""
    from xinc.workflow.exploring import explore_folders, export_folders

    if export is not None:
        done(export_folders(runs, export))
        return

    def ready(address: str) -> None:
        say(f"The page is at {address}")
        say("It answers this machine only. Ctrl-C ends it.")
        if browser:
            import webbrowser

            webbrowser.open(address)

    explore_folders(runs, port=port, ready=ready)
