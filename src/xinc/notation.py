"""The names of axes, and array shapes as types: one vocabulary for signatures, labelled arrays and documents.

Shapes are checked while the tests run (``tests/shapes.py``) and cost nothing otherwise. An axis has one name wherever
it occurs: ``frame``, ``channel`` (colours), ``height``, ``width``, ``neuron``, ``region``, ``group`` (of neurons),
``point`` (of a curve).
"""

from __future__ import annotations

from jaxtyping import Float, Float64, Int
from torch import Tensor

Image = Float[Tensor, "channel height width"]
Maps = Float[Tensor, "neuron height width"]
ColouredMaps = Float[Tensor, "neuron channel height width"]
GroupMaps = Float[Tensor, "group height width"]
Plane = Float[Tensor, "height width"]
PerNeuron = Float[Tensor, "neuron"]
CountPerNeuron = Int[Tensor, "neuron"]
PerFrame = Float[Tensor, "frame"]
RegionSums = Float[Tensor, "neuron region"]
Curve = Float[Tensor, "2 point"]
Gram = Float64[Tensor, "neuron neuron"]

__all__ = [
    "ColouredMaps", "CountPerNeuron", "Curve", "Gram", "GroupMaps", "Image", "Maps", "PerFrame", "PerNeuron", "Plane",
    "RegionSums",
]  # fmt: skip
