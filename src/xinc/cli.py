"""The command line. Commands only translate: what they do is in :mod:`xinc.workflow` and the parts of the package.

Nothing heavy is imported before a command runs, so that ``xinc --help`` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from xinc.errors import ModelError, SignalError, XincError

if TYPE_CHECKING:
    from rich.console import Console

    from xinc.workflow.stages import Progress


class Commands(TyperGroup):
    """The one place where errors become one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command: 2 for what the user can mend, 130 when interrupted."""
        with warnings.catch_warnings():
            warnings.showwarning = _note
            try:
                return super().invoke(ctx)
            except XincError as error:
                raise _failed(str(error)) from None
            except (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError) as error:
                raise _failed(f"{error.filename}: {error.strerror}") from None
            except KeyboardInterrupt:
                _say("[yellow]Stopped.[/] What was saved stays; the same command goes on from there.")
                raise typer.Exit(130) from None


def _console(stderr: bool = True) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _say(text: str) -> None:
    _console().print(text, soft_wrap=True)


def _failed(message: str) -> typer.Exit:
    from rich.markup import escape

    _say(f"[bold red]xinc:[/] {escape(' '.join(message.split()))}")
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

    if category is UserWarning and Path(__file__).parent in Path(filename).parents:
        _say(f"[yellow]note:[/] {escape(str(message))}")


@contextmanager
def _stage(name: str) -> Iterator[Progress]:
    """A long step: a progress bar while it lasts, and a line when it is done."""
    import time

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console, begun = _console(), time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[what]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        job = bar.add_task(name, total=None, what="")
        yield lambda what, done, total: bar.update(job, completed=done, total=max(total, 1), what=what)
    _say(f"{name}: {time.perf_counter() - begun:.0f} s")


app = typer.Typer(
    cls=Commands,
    help="Explain implicit neural representations: which neuron paints which pixel, and how much of it.",
    epilog="Start with: xinc demo   or   xinc explain PICTURE-OR-VIDEO",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
JOB, STEPS = "The whole job", "Step by step"

Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for what is made.")]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="HxW",
        help="Height and width in pixels, such as 128x256; kept in aspect at about that many pixels if not given.",
    ),
]
Every = Annotated[int, typer.Option(help="Take every n-th frame.")]
Start = Annotated[int, typer.Option(help="First frame, from 0.")]
Count = Annotated[int | None, typer.Option(help="Number of frames; all if not given.")]
Annotations = Annotated[
    str | None, typer.Option(metavar="PATH", help="Label image, or folder of them: the frames' objects.")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the frames; the family's own number if not given.")]
Seed = Annotated[int, typer.Option(help="Of the fit: the same seed gives the same network.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An option of the network's family, such as width=64, fc_dim=24, params=500000 or bpp=4; may be repeated.",
    ),
]
Method = Annotated[str, typer.Option(help="Definition of the maps: paper, official, exact or ablation.")]
Frames = Annotated[
    str | None, typer.Option(metavar="0,5,10:20:2", help="Frames by number; a few that suit the analyses if not given.")
]
Layers = Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Layers by name; all if not given.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)]


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() and int(part) for part in parts):
        raise SignalError(f"--size {text} is not a size; give height and width in pixels, such as 128x256")
    return int(parts[0]), int(parts[1])


def _frames(text: str | None) -> tuple[int, ...] | None:
    """``"0,5,10:20:2"`` as numbers."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        try:
            numbers = [int(n) for n in part.split(":")]
            found += range(*numbers) if len(numbers) in (2, 3) else [numbers[0]] if len(numbers) == 1 else []
        except ValueError:
            raise SignalError(f"--frames {text}: {part!r} is not a frame; give numbers such as 0,5 or 0:30:6") from None
    if not found:
        raise SignalError(f"--frames {text} chooses no frame; give numbers such as 0,5 or 0:30:6")
    return tuple(found)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _options(pairs: list[str] | None) -> dict[str, Any]:
    """``["width=64", "strides=4,2,2"]`` as options: numbers, tuples of numbers, words."""

    def value(text: str) -> Any:
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text

    options: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ModelError(f"--set {pair} is not an option; write it as name=value, such as width=64")
        options[name] = tuple(value(part) for part in text.split(",")) if "," in text else value(text)
    return options


def _done(path: Path) -> None:
    _console(stderr=False).print(f"[green]Done:[/] {path}", soft_wrap=True)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Explain implicit neural representations: which neuron paints which pixel, and how much of it."""
    if version:
        from xinc import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command(rich_help_panel=JOB)
def demo(
    out: Out = Path("xinc-demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller networks and frames: minutes less, and worse pictures.")
    ] = False,
) -> None:
    """Show what this is: fit a NeRV to a real clip and an FFN to its first frame, explain both, write a report."""
    from xinc.workflow import demo_tasks, explain

    _done(explain(demo_tasks(quick), out, stage=_stage, progress=True))


@app.command(rich_help_panel=JOB)
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
    size: Size = None,
    annotations: Annotations = None,
    every: Every = 1,
    start: Start = 0,
    count: Count = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    method: Method = "paper",
    frames: Frames = None,
    options: Options = None,
) -> None:
    """Fit, trace, analyse and report on your own image, video or folder of frames."""
    from xinc.workflow import Analysing, Fitting, Source, explain, explain_tasks

    if annotations is not None and len(signals) > 1:
        raise SignalError("--annotations belong to one signal; explain signals with annotations one by one")
    sources = [Source(signal, _size(size), every, start, count, annotations) for signal in signals]
    fitting = Fitting(model, seed, epochs, options=_options(options))
    tasks = explain_tasks(sources, fitting, Analysing(method, _frames(frames)))
    _done(explain(tasks, out, stage=_stage, progress=True))


@app.command(rich_help_panel=STEPS)
def fit(
    signal: Annotated[
        str,
        typer.Argument(
            metavar="SIGNAL", help="Image, video, folder of frames, or a sample such as bunny.", show_default=False
        ),
    ],
    model: Annotated[str, typer.Option(help="ffn, siren, nerv or hnerv.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the run.", show_default=False)],
    size: Size = None,
    annotations: Annotations = None,
    every: Every = 1,
    start: Start = 0,
    count: Count = None,
    epochs: Epochs = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's; the family's own if not given.")] = None,
    batch: Annotated[int | None, typer.Option(help="Frames in a step; the family's own number if not given.")] = None,
    frame: Annotated[int | None, typer.Option(help="Which frame a network of one frame represents.")] = None,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one if not given.")] = None,
    options: Options = None,
) -> None:
    """Train a network to represent a signal; the same command goes on where an interrupted one stopped."""
    from xinc.workflow import Fitting, Source, fit_signal

    fitting = Fitting(model, seed, epochs, learning_rate, batch, frame, device, _options(options))
    source = Source(signal, _size(size), every, start, count, annotations)
    run = fit_signal(source, fitting, out, progress=True)
    _say(f"{run.parameters:,} parameters, mean PSNR {float(run.psnr().mean()):.2f} dB")
    _done(out)


@app.command(rich_help_panel=STEPS)
def trace(
    run: RunFolder,
    method: Method = "paper",
    layers: Layers = None,
    frames: Frames = None,
    save_maps: Annotated[bool, typer.Option("--save-maps", help="Keep every map too, which takes room.")] = False,
) -> None:
    """Reduce the canvas into results.zarr: heatmaps, totals, pixels per neuron, neurons per pixel; maps when asked."""
    from xinc.run import load
    from xinc.workflow.tracing import Tracing, trace_run

    tracing = Tracing(method, _names(layers), _frames(frames))
    _done(trace_run(load(run), tracing, save_maps=save_maps, stage=_stage))


@app.command(rich_help_panel=STEPS)
def analyse(
    run: RunFolder,
    method: Method = "paper",
    layers: Layers = None,
    frames: Frames = None,
    findings: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Findings by name; all if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of clusters, samples and displacements.")] = 0,
) -> None:
    """Compute the findings of section 4 of the paper into results.zarr; what is there already is kept."""
    from xinc.findings.analyse import analyse
    from xinc.findings.analyses import Settings
    from xinc.run import load

    loaded = load(run)
    with _stage("Analysing") as progress:
        analyse(
            loaded,
            methods=_names(method) or ("paper",),
            layers=_names(layers),
            frames=_frames(frames),
            findings=_names(findings),
            settings=Settings(seed=seed),
            progress=progress,
        )
    _done(run / "results.zarr")


@app.command(rich_help_panel=STEPS)
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folders of runs that were analysed.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The file; report.html in the folder of the only run if not given."
        ),
    ] = None,
    method: Method = "paper",
) -> None:
    """Write one self-contained report.html on one or several runs."""
    from xinc.run import load
    from xinc.show.report import report

    loaded = [load(folder) for folder in runs]
    with _stage("Writing the report") as progress:
        path = report(loaded, out, method=method, progress=progress)
    _done(path)


if __name__ == "__main__":
    sys.exit(app())
