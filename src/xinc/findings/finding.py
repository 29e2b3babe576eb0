"""What every finding carries with it, and what it needs of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.notation import Array, ColouredMaps, CountPerNeuron, Curve, Maps, PerNeuron, Plane

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Finding:
    """What an analysis asks, in the paper's words, and what its numbers would say if there were nothing to find.

    Attributes:
        name: key of the analysis in a run's results.
        question: what is asked.
        section: section of the paper.
        figure: figure of the paper.
        unit: unit of the headline number.
        direction: what the paper concludes.
        null: what the number would be if the conclusion were empty.
    """

    name: str
    question: str
    section: str
    figure: str
    unit: str
    direction: str
    null: str

    def attrs(self) -> dict[str, str]:
        """The same as attributes of a Dataset."""
        return {f"finding_{key}" if key == "name" else key: value for key, value in asdict(self).items()}


@runtime_checkable
class LayerLike(Protocol):
    """What findings ask of a layer of the canvas: labelled neurons and reductions of their maps.

    ``K`` neurons over ``(H, W)`` pixels; all reductions are of ``|C|``.
    """

    @property
    def name(self) -> str:
        """Layer's name, e.g. ``"block3"``."""

    @property
    def method(self) -> str:
        """Definition of the maps, e.g. ``"paper"``."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(K, H, W)``."""

    @property
    def neurons(self) -> pd.DataFrame:
        """One row a neuron."""

    def maps(self, neurons: Any) -> Maps | ColouredMaps:
        """Maps of chosen neurons, ``(n, H, W)``."""

    def heatmap(self) -> Plane:
        """Sum over neurons, ``(H, W)``."""

    def totals(self) -> PerNeuron:
        """Sum over pixels, ``(K,)``."""

    def region_sums(self, labels: Any) -> Any:
        """Sums over regions, ``(K, G)``, or a dict of them."""

    def pixels_per_neuron(self) -> CountPerNeuron:
        """Pixels of which a neuron has more than its even share, ``(K,)``."""

    def neurons_per_pixel(self, area: float = ...) -> Plane:
        """Share of neurons above the threshold of ``area``, ``(H, W)``."""

    def threshold(self, area: float = ...) -> float:
        """The threshold of ``area``."""

    def sorted_curve(self, points: int = ...) -> Curve:
        """All ``|C|`` in descending order, ``(2, points)``: rank as a share, value."""

    def reduce(self, **wanted: Any) -> Any:
        """Several reductions at once, remembered; see :meth:`xinc.canvas.layer.Layer.reduce`."""

    def change(self, previous: Any) -> Plane:
        """Sum over neurons of ``| |C_t| - |C_{t-1}| |``, ``(H, W)``."""

    def group_pictures(self, group: Any, areas: Sequence[float] = ..., previous: Any = ...) -> dict[str, Tensor]:
        """Heatmap, counts and change of groups of neurons, ``(G, H, W)`` each."""


def numpy(values: Tensor | Array) -> Array:
    """Values as a numpy array on the host."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def as_image(frame: Tensor | Array) -> NDArray[np.float32]:
    """A frame ``(3, H, W)`` in [0, 1] as ``(H, W, 3)`` float32."""
    return np.ascontiguousarray(numpy(frame).transpose(1, 2, 0), dtype=np.float32)


def as_labels(labels: Array) -> Tensor:
    """A label map as the int64 tensor that a layer's reductions take."""
    return torch.from_numpy(np.ascontiguousarray(labels, dtype=np.int64))


def neuron_coords(layer: LayerLike) -> dict[str, tuple[str, Array]]:
    """Coordinates of the ``neuron`` dimension: index, input and output (-1 for an MLP's features) of each neuron."""
    table = layer.neurons
    return {name: ("neuron", np.asarray(table[name], dtype=np.int64)) for name in ("neuron", "input", "output")}
