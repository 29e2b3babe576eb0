"""The application that all commands register with, and how it talks: errors, notes, progress, results."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from xinc.budget import limit_to
from xinc.cli.stopping import STOPPED, Stop, stoppable
from xinc.cli.streams import write_what_can_be
from xinc.errors import XincError, XincWarning
from xinc.files import reason

if TYPE_CHECKING:
    from rich.console import Console

    from xinc.waiting import Progress


class Commands(TyperGroup):
    """The one place where errors become one line and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Arguments of the application, and those of the command; ``--memory`` may stand among either."""
        for before, word in pairwise(["the first word", *args]):
            if not word.strip():
                raise _failed(f"{before} is followed by an empty text; give a value, or leave the option out")
        return super().parse_args(ctx, in_front(args, "--memory"))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """What the command line calls, help included."""
        write_what_can_be()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run a command: 2 for what the user can mend, 130 when interrupted, 143 when terminated."""
        with warnings.catch_warnings():
            warnings.showwarning = _note
            try:
                with stoppable():
                    return super().invoke(ctx)
            except XincError as error:
                raise _failed(str(error)) from None
            except (MemoryError, RuntimeError) as error:
                if not (isinstance(error, MemoryError) or "allocate memory" in str(error)):
                    raise
                raise _failed(f"there is not enough memory left for this step; {SMALLER}") from None
            except OSError as error:  # a disk that is full, a folder that went away
                raise _failed(f"{error.filename}: {error.strerror}" if error.filename else reason(error)) from None
            except KeyboardInterrupt as end:
                say(f"[yellow]{STOPPED}[/]")
                raise typer.Exit(end.code if isinstance(end, Stop) else 130) from None


SMALLER = "give a smaller size, network or number of frames, regions or points, or a machine with more"


def in_front(args: list[str], option: str) -> list[str]:
    """Arguments with an option, and its value, before all others."""
    end = args.index("--") if "--" in args else len(args)
    at = next((i for i in range(end) if args[i].partition("=")[0] == option), None)
    if at is None:
        return args
    taken = args[at : at + 1 + (args[at] == option)]
    return [*taken, *args[:at], *args[at + len(taken) :]]


def console(stderr: bool = True) -> Console:
    """Where to print: standard error for what is said on the way, standard output for results."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def say(text: str) -> None:
    """Say a line on the way."""
    console().print(text, soft_wrap=True)


def say_plainly(text: str) -> None:
    """Say a line as it is."""
    console().print(text, soft_wrap=True, markup=False)


def _failed(message: str) -> typer.Exit:
    from rich.markup import escape

    say(f"[bold red]xinc:[/] {escape(' '.join(message.split()))}")
    return typer.Exit(2)


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Our own warnings as a line; those of libraries are for their developers."""
    from rich.markup import escape

    if issubclass(category, XincWarning):
        say(f"[yellow]note:[/] {escape(str(message))}")


@contextmanager
def stage(name: str) -> Iterator[Progress]:
    """A long step: a progress bar while it lasts, or lines in a log, and a line when it is done."""
    import time

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from xinc.waiting import Spoken

    terminal, begun = console(), time.perf_counter()
    if not terminal.is_terminal:
        yield Spoken(name, say_plainly)
        say_plainly(f"{name}: {time.perf_counter() - begun:.0f} s")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[what]}"))
    with Progress(*columns, console=terminal, transient=True) as bar:
        job = bar.add_task(_escaped(name), total=None, what="")
        yield lambda what, done, total: bar.update(job, completed=done, total=max(total, 1), what=_escaped(what))
    say_plainly(f"{name}: {time.perf_counter() - begun:.0f} s")


def done(path: Path) -> None:
    """The last line of a command: what it made."""
    console(stderr=False).print(f"[green]Done:[/] {_escaped(path)}", soft_wrap=True)


def _escaped(text: object) -> str:
    """Text of others, such as a path, inside text with markup."""
    from rich.markup import escape

    return escape(str(text))


app = typer.Typer(
    cls=Commands,
    help="Explain implicit neural representations: which neuron paints which pixel, and how much of it.",
    epilog="Start with: xinc demo   or   xinc explain PICTURE-OR-VIDEO",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
JOB, STEPS, EVIDENCE, LOOK = "The whole job", "Step by step", "Evidence", "What is there"


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version and stop.")] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="4GB",
            envvar="XINC_MEMORY",
            help="What a step of any command may hold; what would take more is refused before it begins. All of the "
            "machine's if not given.",
        ),
    ] = None,
) -> None:
    """Explain implicit neural representations: which neuron paints which pixel, and how much of it."""
    limit_to(memory)
    if version:
        from xinc import __version__

        typer.echo(__version__)
        raise typer.Exit
