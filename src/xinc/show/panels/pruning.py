"""Pruning as the report shows it: curves of all scores, what they say, the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xinc.errors import RunError
from xinc.findings.pruning.prune import CHOICES, GROUP, joined
from xinc.findings.pruning.spared import conclusion, rows, spared
from xinc.findings.results import FOLDER, Results
from xinc.run import Run
from xinc.show import style
from xinc.show.figures.pruning import pruning
from xinc.show.figures.sheet import Panels, spoken
from xinc.show.page.html import Drawing, Exhibit, PageTable
from xinc.show.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

CAPTION = (
    "The neurons that each score holds for the least are set to zero, all at once and without training again; a score "
    "that knows what matters keeps the picture for long. Random order is what any score must beat."
)
MEANING = (
    "Share that can go before the picture has lost 1 dB to the signal, then PSNR to the unpruned picture with a tenth, "
    "a fifth and two fifths removed; means over frames."
)


@dataclass(frozen=True)
class Pruned:
    """The part of the report on pruning."""

    short: str = "Pruning"

    def exhibit(self, found: Sequence[Subject]) -> Exhibit | None:
        """Curves of every layer that was pruned; None where none was."""
        panels = {subject.title: own for subject in found if (own := kept(subject.tree))}
        if not panels:
            return None
        drawing = Drawing.of(partial(pruning, panels), GROUP, "PSNR against the share removed, by score", CAPTION)
        says = [
            conclusion(data, f"{network} {spoken(data.attrs['layer'])}")
            for network, own in panels.items()
            for data in own.values()
        ]
        numbers = PageTable.of(_numbers(panels), "Numbers", MEANING, GROUP)
        return Exhibit(GROUP, self.short, "Not in the paper", "Which neurons can go?", says, [drawing], [numbers])


def kept(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Curves in a run's results: of each layer and unit the scores that looked at the same frames as the first."""
    found: dict[str, dict[str, xr.Dataset]] = {}
    for node in tree.subtree:
        group, *where = node.path.strip("/").split("/")
        if group == GROUP and len(where) == 3 and node.has_data:
            found.setdefault("/".join(where[:2]), {})[where[2]] = node.to_dataset()
    return {where: joined(_alike({by: own[by] for by in CHOICES if by in own})) for where, own in found.items()}


def _alike(own: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    frames = next(iter(own.values()))["frame"].values.tolist()
    return {by: data for by, data in own.items() if data["frame"].values.tolist() == frames}


def _numbers(panels: Panels) -> pd.DataFrame:
    import pandas as pd

    found = []
    for network, own in panels.items():
        for data in own.values():
            for by in data["by"].values.tolist():
                row = {"network": network, "layer": spoken(data.attrs["layer"]), "removed": data.attrs["called"]}
                row |= {"by": by, "for 1 dB (%)": 100 * spared(data, by)}
                found.append(row | _at(data.sel(by=[by]), (0.1, 0.2, 0.4)))
    return pd.DataFrame(found)


def _at(data: xr.Dataset, shares: Sequence[float]) -> dict[str, float]:
    known = {row["fraction"]: row["psnr_unpruned"] for row in rows(data)}
    return {f"{100 * share:.0f} % gone (dB)": known.get(share) or float("nan") for share in shares}


def keep_figure(run: Run, layer: str) -> Path:
    """Draw what the run's results know of pruning a layer into its ``figures``, as PNG and SVG; returns the PNG.

    Raises:
        RunError: the run has no folder, or the layer was not pruned.
    """
    curves = kept(Results(run.path / FOLDER).tree()) if run.path is not None else {}
    own = {where: data for where, data in curves.items() if data.attrs["layer"] == layer}
    if run.path is None or not own:
        raise RunError(f"no curves of pruning {layer} in {run.path or 'a run without a folder'}; prune it first")
    folder, name = run.path / "figures", f"{GROUP}-{layer}"
    folder.mkdir(exist_ok=True)
    figure = pruning({"": own})
    style.keep_drawing(folder / name, style.svg(figure, name), style.png(figure), style.pdf(figure))
    return folder / f"{name}.png"
