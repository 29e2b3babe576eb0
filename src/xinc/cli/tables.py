"""Tables of results: for people on the terminal, for programs as JSON, CSV or Parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from xinc.cli.app import console
from xinc.cli.options import to_file
from xinc.files import replacing, write_text

Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the same rows under stable names: JSON, or CSV or Parquet by its ending.",
        callback=to_file,
    ),
]
Row = Mapping[str, Any]


def show(rows: Sequence[Row], title: str = "", file: Path | None = None) -> None:
    """Print rows as a table to standard output, and write them to a file where one is named.

    Args:
        rows: one mapping a row, all with the same keys; None is shown as a dash.
        title: above the table.
        file: for the rows, see :func:`keep`.
    """
    from rich import box
    from rich.table import Table

    if file is not None:
        keep(rows, file)
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0), pad_edge=False)
    for key in rows[0] if rows else ():
        numeric = all(isinstance(row[key], int | float | None) for row in rows)
        table.add_column(key.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(written(value) for value in row.values()))
    console(stderr=False).print(table)


def keep(rows: Sequence[Row], file: Path) -> None:
    """Write rows to a file: as a JSON list, or as CSV or Parquet where its name ends so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() in (".csv", ".parquet"):
        import pandas as pd

        table = pd.DataFrame(list(rows))
        with replacing(file) as part:
            if file.suffix.lower() == ".csv":
                table.to_csv(part, index=False)
            else:
                table.to_parquet(part, index=False)
        return
    write_text(file, json.dumps(list(rows), indent=1) + "\n")


def written(value: Any) -> str:
    """A value as people read it: four digits, a dash where there is none."""
    from rich.markup import escape

    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
