"""Runs the command line inside the test's own process."""

from __future__ import annotations

from dataclasses import dataclass

from typer.testing import CliRunner


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str
    error: BaseException | None


def xinc(*arguments: str, columns: int = 100) -> Ran:
    """Run ``xinc`` with arguments, on a terminal of so many columns."""
    from xinc.cli import app

    result = CliRunner().invoke(
        app, list(arguments), prog_name="xinc", env={"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"}
    )
    return Ran(result.exit_code, result.stdout, result.stderr, result.exception)


def one_line(ran: Ran) -> str:
    """The one line that bad input gets, with exit code 2."""
    assert ran.code == 2, ran
    (line,) = ran.err.strip().splitlines()
    assert line.startswith("xinc: ")
    assert "Traceback" not in ran.out + ran.err
    return line
