"""A layer whose maps are given: a canvas's layer over a dense array, for tests of findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.layer import Layer
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.reductions.stream import DenseStream


class Features(LinearOperation):
    """A linear layer of so many input features; nothing of it is known but its name."""

    def __init__(self, name: str, count: int) -> None:
        known = {
            "name": name,
            "module": "net.0",
            "kind": "linear",
            "weight": torch.ones(1, count),
            "values": torch.ones(1, count),
        }
        for attribute, value in known.items():
            object.__setattr__(self, attribute, value)


class FakeLayer(Layer):
    """Input features, one for each given map ``(K, H, W)``."""

    def __init__(self, dense: np.ndarray, name: str = "layer2", method: str = "paper") -> None:
        self.dense = dense
        values = torch.from_numpy(np.ascontiguousarray(dense, dtype=np.float32))

        def compute(neurons: Sequence[int], w: Window) -> Tensor:
            return values[list(neurons), w.y0 : w.y1, w.x0 : w.x1]

        count, height, width = dense.shape
        super().__init__(Features(name, count), method, DenseStream(compute, count, (height, width)))
