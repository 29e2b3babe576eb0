"""The names of axes, and array shapes as types: one vocabulary for signatures, labelled arrays and documents.

Shapes are checked while the tests run (``tests/shapes.py``) and cost nothing otherwise. An axis has one name wherever
it occurs: ``frame``, ``channel`` (colours), ``height``, ``width``, ``neuron``, ``region``, ``group`` (of neurons),
``point`` (of a curve), ``mixture`` (a weighted sum of maps), ``rank`` (the strongest first), ``input`` and ``output``
(channels, features).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int, Num
from numpy.typing import NDArray
from torch import Tensor

Size = tuple[int, int]
"""Height and width of a picture."""
Array = NDArray[Any]
Values = NDArray[np.float64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

Image = Float[Tensor, "channel height width"]
Maps = Float[Tensor, "neuron height width"]
ColouredMaps = Float[Tensor, "neuron channel height width"]
GroupMaps = Float[Tensor, "group height width"]
Plane = Float[Tensor, "height width"]
PerNeuron = Float[Tensor, "neuron"]
CountPerNeuron = Int[Tensor, "neuron"]
IndexPerNeuron = Int[Tensor, "neuron"]
PerFrame = Float[Tensor, "frame"]
RegionSums = Float[Tensor, "neuron region"]
Curve = Float[Tensor, "2 point"]
Gram = Float64[Tensor, "neuron neuron"]
MixtureWeights = Num[Tensor, "neuron mixture"]
Mixtures = Float[Tensor, "mixture channel height width"]
TopNeurons = Int[Tensor, "height width rank"]
TopValues = Float[Tensor, "height width rank"]


def spoken(layer: str) -> str:
    """A layer's name as people say it: ``"block3"`` is ``"block 3"``."""
    name = layer.rstrip("0123456789")
    return f"{name} {layer[len(name) :]}".strip()


def neuron_name(neuron: int, kernel: tuple[int, int]) -> str:
    """How every figure and page names a neuron: by its number, and what it is.

    Args:
        neuron: number in its layer, as in ``{"block3": [137]}``.
        kernel: channels that it goes from and to; a negative second one for an MLP's input feature.

    Returns:
        ``"137 (6→49)"``, or ``"feature 12"``.
    """
    return f"feature {neuron}" if kernel[1] < 0 else f"{neuron} ({kernel[0]}→{kernel[1]})"
