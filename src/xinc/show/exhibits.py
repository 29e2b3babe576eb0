"""The findings as the report shows them: a table from finding to figures, how to read them, sentences and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from xinc.show import figures, story
from xinc.show.figures.sheet import Array, Panels, spoken
from xinc.show.page import Drawing, Exhibit, Table

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Frames = Mapping[str, Array]
"""Network's title to the frame ``(H, W, 3)`` that its panels show."""


@dataclass(frozen=True)
class Plate:
    """A figure of an exhibit.

    Attributes:
        draw: makes it from the panels and the frames.
        title: what it shows: its text alternative.
        caption: how to read it, two sentences.
    """

    draw: Callable[[Panels, Frames], Figure]
    title: str
    caption: str


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        finding: the finding's name in a run's results.
        short: its name in the contents.
        title: heading.
        plates: its figures.
        says: sentences from the panels.
        row: the numbers of one layer; none for no table.
        meaning: caption of the table.
    """

    finding: str
    short: str
    title: str
    plates: tuple[Plate, ...]
    says: Callable[[Panels], list[str]] = lambda panels: []
    row: Callable[[xr.Dataset], dict[str, Any]] | None = None
    meaning: str = ""

    def exhibit(self, panels: Panels, frames: Frames) -> Exhibit:
        """The exhibit of some networks' layers, all at the frame that is shown."""
        attrs = next(iter(next(iter(panels.values())).values())).attrs
        drawings = [
            Drawing.of(plate.draw(panels, frames), f"{self.finding}-{i}", plate.title, plate.caption)
            for i, plate in enumerate(self.plates)
        ]
        tables = [Table.of(self.numbers(panels), "Numbers", self.meaning, self.finding)] if self.row else []
        source = f"Section {attrs['section']} · {attrs['figure']} of the paper"
        return Exhibit(
            self.finding, self.short, source, self.title, self.says(panels), drawings, tables, attrs["direction"]
        )

    def numbers(self, panels: Panels) -> pd.DataFrame:
        """One row a layer."""
        import pandas as pd

        assert self.row is not None  # asked only where there is a table
        return pd.DataFrame(
            {"network": network, "layer": spoken(name), **self.row(data)}
            for network, layers in panels.items()
            for name, data in layers.items()
        )


def _grouping_row(data: xr.Dataset) -> dict[str, Any]:
    found = story.medians(data)
    counts = {str(k): int(n) for k, n in zip(data["grouping"].values, data["regions"].values, strict=True)}
    scores = {f"{kind}, {counts[kind]} regions": score for kind, score in found.items()}
    return {"neurons": data.sizes["neuron"], **scores, "dead neurons": int(data["dead"])}


def _intensity_row(data: xr.Dataset) -> dict[str, Any]:
    return {
        "r with intensity": float(data["correlation_intensity"]),
        "r with edges": float(data["correlation_edges"]),
        "partial r with intensity": float(data["partial_intensity"]),
        "partial r with edges": float(data["partial_edges"]),
    }


def _pixels_row(data: xr.Dataset) -> dict[str, Any]:
    shares = 100 * data["sorted_share"]
    return {
        "neurons": data.sizes["neuron"],
        "median pixels (%)": float(shares.median()),
        "90th percentile (%)": float(np.quantile(shares, 0.9)),
        "without a pixel (%)": 100 * float(data["silent"]),
        "map all zero (%)": 100 * float(data["dead"]),
    }


def _neurons_row(data: xr.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for area in data["area"].values:
        at, name = data.sel(area=area), f"{100 * float(area):.0f} %"
        found[f"median share at {name} (%)"] = 100 * float(at["share"].median())
        found[f"edges : rest at {name}"] = float(at["edge_ratio"])
        found[f"partial r with edges at {name}"] = float(at["partial_edges"])
    return found


KINDS: tuple[Kind, ...] = (
    Kind(
        "gallery",
        "Maps",
        "What single neurons paint",
        (
            Plate(
                figures.gallery,
                "Contribution maps of neurons of each layer",
                "Each picture is one neuron: bright where it contributes much, black where it contributes nothing, "
                "each scaled to its own maximum. “12 → 3” is the kernel from channel 12 to channel 3, “#12” an input "
                "feature; after the strongest neuron come those least like the ones before.",
            ),
        ),
    ),
    Kind(
        "grouping",
        "Groupings",
        "Do neurons go by object, colour, texture or place?",
        (
            Plate(
                lambda panels, frames: figures.groupings(panels),
                "Scores of all neurons by grouping and layer",
                "The frame is cut into regions in several ways; a neuron scores high if it gives some regions much "
                "more, and others much less, than their area would get by chance. Boxes span the middle half of a "
                "layer’s neurons with the median in white, whiskers the middle 90 %.",
            ),
        ),
        story.groupings,
        _grouping_row,
        "Median score over the neurons of a layer that are not dead: the standard deviation over regions of the "
        "relative deviation from the contribution that a region’s area would get. Smaller regions spread more by "
        "themselves: compare groupings with like numbers of regions.",
    ),
    Kind(
        "intensity",
        "Intensity",
        "Is contribution only intensity?",
        (
            Plate(
                figures.intensity,
                "Heatmap of each layer and its difference to the intensity of the frame",
                "The upper picture of each layer sums the contributions of all its neurons; r is its correlation with "
                "the intensity of the frame. In the lower one red pixels get more contribution than their intensity "
                "explains, blue ones less; compare it with the edges.",
            ),
        ),
        story.intensity,
        _intensity_row,
        "Pearson correlations over all pixels; partial: what is left when the other of the two is taken out of both.",
    ),
    Kind(
        "pixels_per_neuron",
        "Pixels per neuron",
        "How many pixels does a neuron represent?",
        (
            Plate(
                lambda panels, frames: figures.pixels_per_neuron(panels),
                "Share of pixels that each neuron represents, sorted",
                "A pixel counts for a neuron that gives it more than an even share, 1 / K of what all K neurons give. "
                "A curve that stays at zero shows neurons that no pixel relies on; a flat one says that all neurons "
                "are alike.",
            ),
        ),
        story.pixels_per_neuron,
        _pixels_row,
        "Pixels where a neuron has more than an even share, as share of all pixels; neurons without any such pixel; "
        "neurons whose map is zero everywhere.",
    ),
    Kind(
        "neurons_per_pixel",
        "Neurons per pixel",
        "How many neurons represent a pixel?",
        (
            Plate(
                lambda panels, frames: figures.neurons_per_pixel(panels),
                "Share of neurons that contribute to each pixel, at two thresholds",
                "Bright pixels have many neurons above the layer’s threshold: contributions below it make up 10 % or "
                "50 % of all contribution. What stays bright at 50 % is where the layer puts most of its neurons.",
            ),
            Plate(
                lambda panels, frames: figures.sorted_contributions(panels),
                "All contributions of each layer in descending order",
                "The contributions of all neurons to all pixels, from the largest to the smallest. A steep start means "
                "that few values carry the picture; a long plateau that the work is spread.",
            ),
        ),
        story.neurons_per_pixel,
        _neurons_row,
        "Median over pixels of the share of neurons above the threshold; mean share on the tenth of pixels with the "
        "strongest edges over the mean on the rest; correlation with edges, intensity taken out.",
    ),
)
