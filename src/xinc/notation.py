"""The names of axes, and array shapes as types: one vocabulary for signatures, labelled arrays and documents.

Shapes are checked while testing (``pytest --jaxtyping-packages=xinc,beartype.beartype``) and cost nothing otherwise.
"""

from __future__ import annotations

from jaxtyping import Float, Int, Shaped
from torch import Tensor

FRAME, CHANNEL, Y, X, NEURON, REGION = "frame", "channel", "y", "x", "neuron", "region"

Frames = Float[Tensor, "frame channel=3 height width"]
Image = Float[Tensor, "channel=3 height width"]
Maps = Float[Tensor, "neuron height width"]
ColouredMaps = Float[Tensor, "neuron channel height width"]
Picture = Float[Tensor, "channel height width"]
Plane = Float[Tensor, "height width"]
Labels = Int[Tensor, "height width"]
Totals = Float[Tensor, " neuron"]
Counts = Int[Tensor, " neuron"]
RegionSums = Float[Tensor, "neuron region"]
Curve = Float[Tensor, "2 point"]
Leaders = Int[Tensor, "height width rank"]
Leading = Float[Tensor, "height width rank"]
GroupPlanes = Float[Tensor, "group height width"]
Gram = Float[Tensor, "neuron neuron"]
Weight = Float[Tensor, "*axes height width"]
Indices = Int[Tensor, "..."]
Values = Shaped[Tensor, "..."]
"""Of several shapes and types, which the docstring lists."""

__all__ = [
    "CHANNEL", "FRAME", "NEURON", "REGION", "ColouredMaps", "Counts", "Curve", "Frames", "Gram", "GroupPlanes", "Image",
    "Indices", "Labels", "Leaders", "Leading", "Maps", "Picture", "Plane", "RegionSums", "Totals", "Values", "Weight",
    "X", "Y",
]  # fmt: skip
