"""The names of axes, and array shapes as types: one vocabulary for signatures, labelled arrays and documents.

Shapes are checked while testing (``pytest --jaxtyping-packages=xinc,beartype.beartype``) and cost nothing otherwise.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

FRAME, CHANNEL, Y, X, NEURON, REGION = "frame", "channel", "y", "x", "neuron", "region"

Frames = Float[Tensor, "frame channel=3 height width"]
Image = Float[Tensor, "channel=3 height width"]
Maps = Float[Tensor, "neuron height width"]
Plane = Float[Tensor, "height width"]
Labels = Int[Tensor, "height width"]

__all__ = ["CHANNEL", "FRAME", "NEURON", "REGION", "Frames", "Image", "Labels", "Maps", "Plane", "X", "Y"]
