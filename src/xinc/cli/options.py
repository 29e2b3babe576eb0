"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from xinc.errors import FindingError, ModelError, SignalError
from xinc.files import check_file, check_folder
from xinc.options.schema import SHOWN, Schema, parsed, shortened
from xinc.options.tables import FIT, RECIPE, SIZE, SOURCE

MOST_FRAMES = 99_999
"""The greatest number of a frame that can be asked for."""


def within(schema: Schema, name: str) -> Callable[[Any], Any]:
    """Refuses a value of an option in the words of its schema, before any work; None passes."""
    return lambda value: None if value is None else schema.option(name).check(value, schema.error)


def to_file(path: Path | None) -> Path | None:
    """Refuses a file that cannot be written, before any work; None passes."""
    return None if path is None else check_file(path)


def to_folder(path: Path | None) -> Path | None:
    """Refuses a folder that cannot be made or written, before any work; None passes."""
    return None if path is None else check_folder(path)


def to_any(path: Path | None) -> Path | None:
    """Refuses a file or folder that cannot be written, before any work; None passes."""
    return None if path is None else check_folder(path) if path.is_dir() else check_file(path)


Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for what is made.", callback=to_folder)]
Elsewhere = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Folder for results.zarr, where the run is not to be written, or cannot be; the run's own if not given.",
        callback=to_folder,
    ),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="HxW",
        help="Height and width in pixels, such as 128x256; kept in aspect at about that many pixels if not given.",
    ),
]
Every = Annotated[int, typer.Option(help="Take every n-th frame.", callback=within(SOURCE, "every"))]
Start = Annotated[int, typer.Option(help="First frame, from 0.", callback=within(SOURCE, "start"))]
Count = Annotated[
    int | None, typer.Option(help="Number of frames; all if not given.", callback=within(SOURCE, "count"))
]
Annotations = Annotated[
    str | None, typer.Option(metavar="PATH", help="Label image, or folder of them: the frames' objects.")
]
EncodingOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What the numbers of label images mean: auto, cityscapes, cityscapes-vps, vipseg, coco, objects, "
        "instances, classes, sceneparsing, camvid or ade20k.",
        callback=within(SOURCE, "encoding"),
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="Passes over the frames; the family's own number if not given.", callback=within(RECIPE, "epochs")
    ),
]
Psnr = Annotated[
    float | None,
    typer.Option(metavar="DB", help="End the fit once it is as good as this.", callback=within(FIT, "psnr")),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="End the fit after so long, with the best network so far.", callback=within(FIT, "minutes")),
]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="fast, or paper: as the family's paper fits it, which takes many times as long.")
]
Seed = Annotated[
    int, typer.Option(help="Of the fit: the same seed gives the same network.", callback=within(FIT, "seed"))
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An option of the network's family, such as width=64, fc_dim=24, params=500000 or bpp=4; may be repeated.",
    ),
]
BothOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An option of the network's family, such as width=64 or bpp=4, or a setting of the findings, such as "
        "rule=random or clusters=24; may be repeated.",
    ),
]
FindingSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the findings, such as rule=strongest (or typical, different, random), count=12, clusters=24 "
        "or areas=0.1,0.5; may be repeated.",
    ),
]
Flows = Annotated[
    str | None,
    typer.Option(
        metavar="raft|FILE|DIR",
        help="Optical flow in place of DIS: raft or raft-small by torchvision, a file of their weights, or a folder of "
        "flow made elsewhere: .flo or .npy files named as the later frame of each pair.",
    ),
]
MethodOption = Annotated[str, typer.Option(help="Definition of the maps: exact, paper, official or ablation.")]
Methods = Annotated[
    str,
    typer.Option(
        metavar="NAME,NAME", help="Definitions of the maps, the leading one first: exact, paper, official, ablation."
    ),
]
FramesOption = Annotated[
    str | None, typer.Option(metavar="0,5,10:20:2", help="Frames by number; a few that suit the analyses if not given.")
]
Layers = Annotated[str | None, typer.Option(metavar="NAME,NAME", help="Layers by name; all if not given.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)]


def as_size(text: str | None) -> tuple[int, int] | None:
    """``"128x256"`` as height and width."""
    if text is None:
        return None
    try:
        height, width = SIZE.check(text.lower().replace("×", "x").split("x"), SignalError)
    except SignalError:
        raise SignalError(
            f"--size {text[:SHOWN]} is not a size; give height and width in pixels, such as 128x256"
        ) from None
    return height, width


def as_frames(text: str | None) -> tuple[int, ...] | None:
    """``"0,5,10:20:2"`` as numbers."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        if len(found) > 10 * MOST_FRAMES:
            raise SignalError(f"--frames {text[:SHOWN]}... names the same frames again and again; name each once")
        try:
            numbers = [int(n) for n in part.split(":")]
            chosen = range(*numbers) if len(numbers) in (2, 3) else range(numbers[0], numbers[0] + 1)
            if len(numbers) > 3 or min(numbers) < 0 or max(numbers) > MOST_FRAMES:
                raise ValueError
        except ValueError:
            raise SignalError(
                f"--frames {text[:SHOWN]}: {shortened(part)} is not a frame; give numbers from 0 to "
                f"{MOST_FRAMES:,}, such as 0,5 or 0:30:6"
            ) from None
        found += chosen
    if not found:
        raise SignalError(f"--frames {text[:SHOWN]} chooses no frame; give numbers such as 0,5 or 0:30:6")
    return tuple(found)


def as_names(text: str | None) -> tuple[str, ...] | None:
    """``"head,block3"`` as names.

    Raises:
        FindingError: it names nothing.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise FindingError(f"{shortened(text)} names nothing; give names separated by commas, or leave the option out")
    return names


def as_methods(text: str) -> tuple[str, ...]:
    """``"exact,paper"`` as names of methods, each once.

    Raises:
        TraceError: there is no such method, or none is named.
    """
    from xinc.canvas.methods import named_methods

    return named_methods(as_names(text) or ())


def as_options(pairs: list[str] | None) -> dict[str, Any]:
    """``["width=64", "strides=4,2,2"]`` as text by name; what may stand there is in :mod:`xinc.options.tables`."""
    return parsed(pairs or (), ModelError)
