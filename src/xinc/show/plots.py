"""Figures of one object on demand: ``layer.plot()``, ``canvas.plot()``, ``run.plot("grouping")``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from xinc.canvas.layer import Layer
from xinc.canvas.methods import has_sign
from xinc.canvas.trace import Canvas
from xinc.errors import RunError
from xinc.notation import neuron_name
from xinc.show import style
from xinc.show.figures.maps import COLUMNS, HEATMAP, MAP, SHOWN, SIGNED
from xinc.show.figures.sheet import Strip, Tile, around_grey, sheet, spoken, stretched

if TYPE_CHECKING:
    from xinc.run import Run


def plot_run(run: Run, figure: str, method: str | None = None) -> Figure:
    """A figure of the report on one run, by the name of its finding.

    Raises:
        RunError: the run was not analysed, or has no such figure.
    """
    from xinc.show.report import EXHIBITS
    from xinc.show.subjects import subjects

    found = subjects([run], method)
    names: list[str] = []
    for kind in EXHIBITS:
        name = getattr(kind, "finding", kind.short.lower())
        exhibit = kind.exhibit(found) if name == figure else None
        if exhibit is not None and exhibit.drawings:
            return exhibit.drawings[0].figure
        names.append(name)
    known = [name for name in names if any(path.startswith(f"{name}/") or path == name for path in found[0].paths)]
    raise RunError(f"this run has no figure {figure!r}; it has {', '.join(known) or 'none, analyse it first'}")


@style.styled
def plot_canvas(canvas: Canvas) -> Figure:
    """The picture and the heatmap of each layer."""
    sums = canvas.sums()
    tiles = [Tile(stretched(found.heatmap.cpu().numpy()), spoken(name), HEATMAP) for name, found in sums.items()]
    rows = [Strip([_picture(canvas)])]
    rows += [Strip(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    return sheet(rows)


def _picture(canvas: Canvas) -> Tile:
    values = canvas.output.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    return Tile(values if values.shape[2] == 3 else np.repeat(values[..., :1], 3, 2), "picture")


@style.styled
def plot_layer(layer: Layer, neurons: Sequence[int] | None = None) -> Figure:
    """A layer's heatmap and maps of some neurons, the strongest where None."""
    reduced = layer.reduce(heatmap=True, totals=True)
    if neurons is None:
        neurons = reduced.totals.argsort(descending=True)[: 2 * SHOWN].tolist()
    table = layer.neurons
    names = [neuron_name(k, (int(table["input"].iloc[k]), int(table["output"].iloc[k]))) for k in neurons]
    tiles = [_map(layer, k, name) for k, name in zip(neurons, names, strict=True)]
    title = f"all {layer.shape[0]:,} neurons".replace(",", "\u2009")
    heatmap = Tile(stretched(reduced.heatmap.cpu().numpy()), title, HEATMAP)
    rows = [Strip([heatmap], f"{spoken(layer.name)}\n{layer.method}")]
    rows += [Strip(tiles[start : start + SHOWN]) for start in range(0, len(tiles), SHOWN)]
    return sheet(rows)


def _map(layer: Layer, neuron: int, name: str) -> Tile:
    """A neuron's map, in signed colour where the method has it."""
    if has_sign(layer.method):
        coloured = layer.maps([neuron], signed=True)[0].movedim(0, -1).cpu().numpy()
        return Tile(around_grey(coloured), name, SIGNED)
    return Tile(stretched(layer.maps([neuron])[0].abs().cpu().numpy()), name, MAP)
