"""What is in a copy of a data set, and what to type to explain a video of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xinc.cli.app import LOOK, app, say, stage
from xinc.cli.tables import Json, keep, show

if TYPE_CHECKING:
    from xinc.signals.datasets.catalogue import VideoRow


@app.command(rich_help_panel=LOOK)
def datasets(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a data set.", show_default=False)],
    count: Annotated[
        bool,
        typer.Option(
            "--count/--no-count",
            help="Count segments: every label image is read for that, unless a JSON file lists them.",
        ),
    ] = True,
    file: Json = None,
) -> None:
    """List the videos of a data set: frames, size, segments, things, stuff, labelled frames."""
    import shlex

    from rich.markup import escape

    from xinc.signals.datasets.catalogue import listing, summary

    with stage("Reading") as progress:
        rows = listing(path, count, progress)
    if file is not None:
        keep([asdict(row) for row in rows], file)
    show([_shown(row, any(other.missing for other in rows)) for row in rows])
    whole = summary(rows)
    extent = {"things of a video": whole.instances and _span(whole.instances), "frames": _span(whole.frames)}
    show([{"data set": whole.dataset, "videos": whole.videos, **extent, "labelled": f"{100 * whole.labelled:.0f} %"}])
    example = max(rows, key=lambda row: (row.labelled > 0, row.frames > 0))
    say(f"Next: [bold]xinc explain {escape(shlex.quote(f'{path}:{example.video}'))} --out DIR[/]")


def _shown(row: VideoRow, gaps: bool) -> dict[str, Any]:
    """A video as people read it, with what is missing where there are gaps anywhere."""
    told = {
        "video": row.video,
        "frames": row.frames,
        "size": f"{row.height}×{row.width}" if row.frames else None,
        "segments": row.segments,
        "things": row.things,
        "stuff": row.stuff,
        "labelled": row.labelled,
    }
    return told | ({"missing": row.missing} if gaps else {})


def _span(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low}" if low == high else f"{low} to {high}"
