"""The comparison with ablation as the report shows it: which maps to trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from xinc.findings.fidelity.compare import DELETION, FINDING, Fidelity
from xinc.findings.fidelity.deletion import CEILING, area
from xinc.findings.fidelity.trust import conclusion, rows
from xinc.show.figures.fidelity import agreement, deletion
from xinc.show.figures.sheet import spoken
from xinc.show.page.html import Drawing, Exhibit, PageTable
from xinc.show.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

AGREEMENT = (
    "Above, each box holds the correlations of sampled neurons’ maps with what the picture really loses without the "
    "neuron: the middle half, a mark at the median, whiskers to 5 and 95 %. Below, whether a method’s totals rank "
    "the same neurons as their removal does: 1 is the same order, 0 says nothing."
)
CURVES = (
    "Whole shares of a layer are removed at once. A ranking that knows what matters keeps the picture long when the "
    "least go first (high solid line) and loses it at once when the greatest go first (low dashed line); grey is a "
    "random order. Values end at 60 dB, below 8-bit rounding."
)
MEANING = (
    "Median correlation with its 95 % bootstrap interval over neurons, 10th percentile, share of correlations that are "
    "undefined because a map is constant, Spearman correlation of totals. Areas: PSNR (dB, at most 60) averaged over "
    "the share removed, least first and greatest first; the further apart, the better the ranking."
)


@dataclass(frozen=True)
class Trusted:
    """The part of the report on which maps to trust."""

    short: str = "Trust"

    def exhibit(self, found: Sequence[Subject]) -> Exhibit | None:
        """Figures of all networks that were compared with ablation; None where none was."""
        held = {subject.title: own for subject in found if (own := kept(subject)).compared}
        if not held:
            return None
        drawings = [
            Drawing.of(
                partial(agreement, {network: own.compared for network, own in held.items()}),
                f"{FINDING.name}-0",
                "Agreement of maps and totals with ablation, by layer and method",
                AGREEMENT,
            )
        ]
        if curves := {network: own.deleted for network, own in held.items() if own.deleted}:
            drawings.append(
                Drawing.of(
                    partial(deletion, curves), f"{FINDING.name}-1", "PSNR against the share of neurons removed", CURVES
                )
            )
        says = [
            f"{network}: {sentence}" if len(held) > 1 else sentence
            for network, own in held.items()
            for sentence in conclusion(own)
        ]
        numbers = PageTable.of(_numbers(held), "Numbers", MEANING, FINDING.name)
        title = "Do maps show what neurons do?"
        return Exhibit(FINDING.name, self.short, "Not in the paper", title, says, drawings, [numbers])


def kept(subject: Subject) -> Fidelity:
    """What a run's results hold of the comparison, outermost layer first."""
    layers = [name for name in reversed(subject.canvas(0).layers) if f"{FINDING.name}/{name}" in subject.paths]

    def of(group: str) -> dict[str, xr.Dataset]:
        return {n: subject.tree[f"{group}/{n}"].to_dataset() for n in layers if f"{group}/{n}" in subject.paths}

    return Fidelity(of(FINDING.name), of(DELETION))


def _numbers(held: dict[str, Fidelity]) -> pd.DataFrame:
    """One row a network, layer and method: the command's table, with areas under the curves where there are any."""
    import pandas as pd

    return pd.DataFrame(
        {"network": network.replace("\n", ", "), **row, "layer": spoken(row["layer"])} | _areas(own, row)
        for network, own in held.items()
        for row in rows(own)
    ).rename(columns=lambda name: name.replace("_", " "))


def _areas(own: Fidelity, row: dict[str, Any]) -> dict[str, float]:
    data = own.deleted.get(row["layer"])
    if data is None or row["method"] not in data["ranking"].values:
        return {}
    psnr = data["psnr"].sel({"ranking": row["method"]}).clip(max=CEILING).mean("frame")
    greatest, least = area(psnr.transpose("order", "share").values)
    return {"area, least first": float(least), "area, greatest first": float(greatest)}
