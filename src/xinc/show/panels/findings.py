"""The findings as the report shows them: a table from finding to figures, how to read them, sentences and numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from matplotlib.figure import Figure

from xinc.show import figures
from xinc.show.figures.sheet import Panels, spoken
from xinc.show.page.html import Drawing, Exhibit, PageTable
from xinc.show.panels.data import (
    Gathered,
    NamedFrames,
    embedded,
    first_frame,
    moving,
    over_layers,
    over_time,
    shown,
    whole,
    with_baseline,
)
from xinc.show.panels.numbers import (
    grouping_row,
    intensity_row,
    layers_row,
    motion_row,
    neurons_row,
    objects_row,
    pixels_row,
    together_row,
)
from xinc.show.sentences import findings as story
from xinc.show.sentences.together import together as told_together
from xinc.show.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Exhibitor(Protocol):
    """Makes a part of the report of the results that runs have."""

    @property
    def short(self) -> str:
        """Its name in the contents."""

    def exhibit(self, found: Sequence[Subject]) -> Exhibit | None:
        """The part; None where the runs have no such results."""


@dataclass(frozen=True)
class Plate:
    """A figure of an exhibit.

    Attributes:
        draw: makes it from the panels and the frames.
        title: what it shows: its text alternative.
        caption: how to read it, two sentences.
        wanted: whether the panels have what it draws.
        each: whether every network has a figure of its own.
    """

    draw: Callable[[Panels, NamedFrames], Figure]
    title: str
    caption: str
    wanted: Callable[[Panels], bool] = lambda panels: True
    each: bool = False

    def drawings(self, layers: Panels, frames: NamedFrames, name: str, method: str) -> list[Drawing]:
        """The figure, or one a network; ``name`` is unique in the page, ``{}`` in it is for the network's number."""
        groups = [{network: own} for network, own in layers.items()] if self.each else [layers]
        drawn = [
            Drawing.of(
                partial(self.draw, group, frames), name.format(f"-{i}" if self.each else ""), self.title, self.caption
            )
            for i, group in enumerate(groups)
            if self.wanted(group)
        ]
        return [replace(drawing, method=method) for drawing in drawn]


@dataclass(frozen=True)
class FindingPanel:
    """A row of the table.

    Attributes:
        finding: the finding's name in a run's results.
        short: its name in the contents.
        title: heading.
        plates: its figures.
        gather: panels and frames from all networks; no panels for no exhibit.
        says: sentences from the panels.
        row: the numbers of one layer; none for no table.
        meaning: caption of the table.
    """

    finding: str
    short: str
    title: str
    plates: tuple[Plate, ...]
    gather: Callable[[Sequence[Subject], str], Gathered] = shown
    says: Callable[[Panels], list[str]] = lambda panels: []
    row: Callable[[xr.Dataset], dict[str, Any]] | None = None
    meaning: str = ""

    def exhibit(self, found: Sequence[Subject], suffix: str = "") -> Exhibit | None:
        """The exhibit of some networks, its names with a suffix; None where none has results of this finding."""
        layers, frames = self.gather(found, self.finding)
        if not layers:
            return None
        attrs = next(iter(next(iter(layers.values())).values())).attrs
        method = found[0].method
        drawings = [
            drawing
            for i, plate in enumerate(self.plates)
            for drawing in plate.drawings(layers, frames, f"{self.finding}-{i}{{}}{suffix}", method)
        ]
        name = f"{self.finding}{suffix}"
        tables = [PageTable.of(self.numbers(layers), f"Numbers by {method}", self.meaning, name)] if self.row else []
        source = f"Section {attrs['section']} · {attrs['figure']} of the paper"
        return Exhibit(
            self.finding, self.short, source, self.title, self.says(layers), drawings, tables, attrs["direction"]
        )

    def numbers(self, layers: Panels) -> pd.DataFrame:
        """One row a layer."""
        import pandas as pd

        assert self.row is not None  # asked only where there is a table
        return pd.DataFrame(
            {"network": network.replace("\n", ", "), "layer": spoken(name), **self.row(data)}
            for network, own in layers.items()
            for name, data in own.items()
        )


def _draw_embedding(layers: Panels, frames: NamedFrames) -> Figure:
    ((network, own),) = layers.items()
    ((name, data),) = own.items()
    names = zip(data["member"].values.astype(str), data["index"].values, strict=True)
    neurons = [(member, int(index)) for member, index in names]
    maps = {neurons[i]: image for i, image in zip(data["pick"].values, data["map"].values, strict=True)}
    return figures.umap(data, maps, f"{network} {spoken(name)}, {data.sizes['neuron']} neurons")


PANELS: tuple[FindingPanel, ...] = (
    FindingPanel(
        "gallery",
        "Maps",
        "What single neurons paint",
        (
            Plate(
                figures.gallery,
                "Contribution maps of neurons of each layer",
                "Each picture is one neuron. Where the maps have a sign (exact, ablation): grey where it adds nothing, "
                "brighter where it adds to a colour, darker where it takes away. By other definitions: bright where it "
                "contributes much, black where nothing. “137 (6→49)” is neuron 137, the kernel from channel 6 to "
                "channel 49; “feature 12” an input feature.",
            ),
        ),
        shown,
        story.gallery,
    ),
    FindingPanel(
        "grouping",
        "Groupings",
        "Do neurons go by object, colour, texture or place?",
        (
            Plate(
                lambda panels, frames: figures.groupings(panels),
                "Scores of all neurons by grouping and layer",
                "The frame is cut into regions in several ways; a neuron scores high if it gives some regions much "
                "more, and others much less, than their area would get by chance. Boxes span the middle half of a "
                "layer’s neurons with the median in white, whiskers the middle 90 %; a diamond is the median score "
                "that the same regions get at other places of the frame, by their size and shape alone.",
            ),
        ),
        with_baseline,
        story.groupings,
        grouping_row,
        "Median score over the neurons of a layer that are not dead: the standard deviation over regions of the "
        "relative deviation from the contribution that a region’s area would get. Smaller regions spread more by "
        "themselves: compare groupings with like numbers of regions.",
    ),
    FindingPanel(
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
        shown,
        story.intensity,
        intensity_row,
        "Pearson correlations over all pixels; partial: what is left when the other of the two is taken out of both.",
    ),
    FindingPanel(
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
        shown,
        story.pixels_per_neuron,
        pixels_row,
        "Pixels where a neuron has more than an even share, as share of all pixels; neurons without any such pixel; "
        "neurons whose map is zero everywhere.",
    ),
    FindingPanel(
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
        shown,
        story.neurons_per_pixel,
        neurons_row,
        "Median over pixels of the share of neurons above the threshold; mean share on the tenth of pixels with the "
        "strongest edges over the mean on the rest; correlation with edges, intensity taken out.",
    ),
    FindingPanel(
        "objects",
        "Objects",
        "How do neurons share themselves among objects?",
        (
            Plate(
                lambda layers, frames: figures.instances(first_frame(layers)),
                "Share of each instance in the contribution of sampled neurons",
                "Each column is a neuron, chosen by the rule below it; each mark is an instance, in the colour of its "
                "category. A mark at 10 % gets a tenth of the neuron’s mean contribution, whatever its size; marks of "
                "one colour that lie together would mean that the neuron knows the category.",
            ),
            Plate(
                lambda layers, frames: figures.instances_over_time(over_time(layers)),
                "Share of each instance over the annotated frames",
                "The same shares for two neurons a layer, followed through the annotated frames. Flat lines are "
                "neurons that keep to their objects while these move.",
                lambda layers: bool(over_time(layers)),
            ),
        ),
        whole,
        story.objects,
        objects_row,
        "Category ratio: how far apart shares of instances of one category are, over that of different categories; 1 "
        "where the category says nothing. Stability: the part of the shares’ spread that lies between instances rather"
        " than over time.",
    ),
    FindingPanel(
        "motion",
        "Motion",
        "Do contributions change where things move?",
        (
            Plate(
                figures.motion,
                "Optical flow, and the change of contributions since the frame before",
                "The wheel gives the direction of the flow by hue and its speed by saturation; white stands still. The"
                " other pictures are bright where the contributions of a layer’s neurons changed most; r is the "
                "correlation of that with the speed.",
            ),
        ),
        moving,
        story.motion,
        motion_row,
        "Correlation over pixels of fluctuation and speed, and how often the flow rolled to another place does as "
        "well; partial: intensity and edges taken out; mean fluctuation where things move, or uncover background, over"
        " the mean where nothing does.",
    ),
    FindingPanel(
        "together",
        "Together",
        "What do neurons do together?",
        (
            Plate(
                figures.principal,
                "Principal contributions of each layer, in signed colour",
                "The few independent pictures that a layer really paints: sums of its neurons’ maps by the leading "
                "eigenvectors of their Gram matrix. Grey adds nothing, brighter adds, darker takes away; they carry "
                "the energy, not the single maps.",
            ),
            Plate(
                lambda panels, frames: figures.energy_held(panels),
                "Share of each layer’s energy in its first principal contributions",
                "A curve that rises early belongs to a layer of few independent pictures; the dot is where 95 % is "
                "reached. Neurons that have nothing in common would make a late, even rise.",
            ),
        ),
        shown,
        told_together,
        together_row,
        "Effective dimension: (sum of eigenvalues)² over their sum of squares, with the 95 % interval of its mean over "
        "frames; that of maps with nothing in common, and of the same network with random weights; eigenvectors that "
        "hold 95 % and 99.9 %; share of the heatmap that cancels; unique part: what is left of maps "
        "after regression on all others, over the energy.",
    ),
    FindingPanel(
        "embedding",
        "Alike",
        "Which neurons are alike?",
        (
            Plate(
                _draw_embedding,
                "Neurons as points, like ones near each other, with the maps of some of them",
                "Each point is a neuron, placed by UMAP so that neurons that serve the same textures come near each "
                "other; only nearness means something, not directions or axes. The maps belong to the ringed points: "
                "some far apart, each with its nearest neighbour. Networks of the same frame share a picture.",
                each=True,
            ),
        ),
        embedded,
        story.alike,
    ),
    FindingPanel(
        "embedding_layers",
        "Layers",
        "Have layers kinds of neurons of their own?",
        (
            Plate(
                lambda panels, frames: figures.umap_layers(panels),
                "Neurons of all layers as points, coloured by layer, like ones near each other",
                "Each point is a neuron of any layer, placed by UMAP so that neurons that serve the same textures come "
                "near each other. Where colours mix, layers serve the same textures; a colour by itself is a layer "
                "with kinds of its own.",
            ),
        ),
        over_layers,
        story.over_layers,
        layers_row,
        "Mixing: how varied the layers of a neuron’s nearest neighbours by vector are (entropy), over that of "
        "layers dealt at random: 1 where layers mix fully, 0 where each keeps to itself; p: how often random deals mix "
        "as little.",
    ),
)
