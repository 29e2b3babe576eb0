"""What is in a run, a checkpoint or a module, and which methods can trace it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xinc.budget import in_bytes
from xinc.cli.app import LOOK, app, console
from xinc.cli.options import SizeOption, as_size, within
from xinc.cli.tables import Json, keep, show
from xinc.errors import ModelError
from xinc.options.schema import SHOWN
from xinc.options.tables import CHECKS, SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xinc.canvas.survey import LayerSurvey
    from xinc.workflow.inspecting import Surveyed

NAMED = 8
"""Parameters in no layer that are named; the others are counted."""


@app.command(rich_help_panel=LOOK)
def inspect(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|CHECKPOINT|RUN",
            help="A run's folder, a checkpoint, or package.module:name of a module or of a function that makes one.",
            show_default=False,
        ),
    ],
    file: Json = None,
    frame: Annotated[int, typer.Option(help="Which frame of a run is traced.", callback=within(CHECKS, "frame"))] = 0,
    size: SizeOption = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--input-shape",
            metavar="1x3x8x8",
            help="Shape of a random input of a module; once for each of its inputs.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Which of several outputs of a module is the picture: an index or a key, or several, joined by dots "
            "(heads.1).",
        ),
    ] = None,
) -> None:
    """Say what is in it: layers, neurons, memory of all maps, and which methods can trace each layer, or why not.

    A file is read as data: nothing that is in it is executed. A module's code is: it is named for that.
    """
    from xinc.workflow.inspecting import layers_of, subject

    found = subject(target, frame=frame, size=as_size(size), shapes=[as_shape(text) for text in shapes or ()])
    surveyed = layers_of(found, output=None if output is None else as_output(output))
    layers = surveyed.layers
    rows = [row_of(layer) for layer in layers]
    if file is not None:
        keep(rows, file)
    out = console(stderr=False)
    for word, fact in found.facts:
        out.print(f"{word}: {fact}", markup=False, soft_wrap=True)
    if found.tensors:
        show([{"tensor": name, "shape": "×".join(map(str, shape)), "values": n} for name, shape, n in found.tensors])
    if layers:
        show([_shown(layer) for layer in layers])
        out.print(f"All maps of one frame: {in_bytes(sum(layer.map_bytes for layer in layers))}; reductions hold none.")
    for sentence in _told(surveyed):
        out.print(sentence, markup=False, soft_wrap=True)
    for reason, where in _reasons(layers).items():
        out.print(f"{', '.join(where)}: {reason}", markup=False, soft_wrap=True)


def _told(surveyed: Surveyed) -> Iterator[str]:
    """What lies before the canvas, and how many of the parameters are in a layer."""
    if surveyed.before:
        named = ", ".join(f"{name} ({neurons:,} neurons)" for name, neurons in surveyed.before)
        yield f"before the canvas, by exact and ablation: {named}"
    if surveyed.explained is not None:
        left = ", ".join(f"{name} ({100 * share:.2g} %)" for name, share in surveyed.left[:NAMED])
        more = f" and {len(surveyed.left) - NAMED} more" if len(surveyed.left) > NAMED else ""
        beside = f"; on the way to the picture but in none: {left}{more}" if left else ""
        yield f"{100 * surveyed.explained:.3g} % of the parameters belong to a layer{beside}"


def row_of(layer: LayerSurvey) -> dict[str, Any]:
    """A layer under stable names: whether each method can trace it, and why not."""
    reasons = {method: reason for method, reason in layer.refusals.items() if reason is not None}
    return {
        "layer": layer.layer,
        "module": layer.module,
        "kind": layer.kind,
        "neurons": layer.neurons,
        "map_bytes": layer.map_bytes,
        **{method: method not in reasons for method in layer.refusals},
        "why": "; ".join(reasons.values()) or None,
    }


def _shown(layer: LayerSurvey) -> dict[str, Any]:
    """What a table has room for."""
    return {
        "layer": layer.layer,
        "module": layer.module,
        "kind": layer.kind,
        "neurons": layer.neurons,
        "maps": in_bytes(layer.map_bytes),
        "methods": "all" if len(layer.methods) == len(layer.refusals) else ", ".join(layer.methods),
    }


def _reasons(layers: tuple[LayerSurvey, ...]) -> dict[str, list[str]]:
    """Refusals, and the layers that each concerns."""
    found: dict[str, list[str]] = {}
    for layer in layers:
        for reason in filter(None, layer.refusals.values()):
            found.setdefault(reason, []).append(layer.layer)
    return found


def as_shape(text: str) -> tuple[int, ...]:
    """``"1x3x8x8"`` as a shape."""
    try:
        sides: tuple[int, ...] = SHAPE.check(text.lower().replace("×", "x").split("x"), ModelError)
    except ModelError:
        raise ModelError(f"--input-shape {text[:SHOWN]} is not a shape; give whole numbers such as 1x3x8x8") from None
    return sides


def as_output(text: str) -> tuple[int | str, ...]:
    """``"heads.1"`` as a path into what a network returns."""
    return tuple(int(part) if part.lstrip("-").isdecimal() else part for part in text.split("."))
