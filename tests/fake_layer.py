"""A layer whose maps are given: the interface of the canvas's layers over a dense array, for tests of findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FakeLayer:
    dense: np.ndarray  # (K, H, W)
    name: str = "layer2"
    method: str = "paper"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.dense.shape

    @property
    def neurons(self) -> pd.DataFrame:
        k = len(self.dense)
        return pd.DataFrame(
            {
                "layer": [self.name] * k,
                "neuron": np.arange(k),
                "module": ["net.0"] * k,
                "input": np.arange(k),
                "output": np.full(k, -1),
            }
        )

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    def maps(self, neurons) -> Tensor:
        return self._tensor(self.dense[np.asarray(neurons)])

    def chunks(self) -> list[list[int]]:
        return [[k] for k in reversed(range(len(self.dense)))]

    def heatmap(self) -> Tensor:
        return self._tensor(np.abs(self.dense).sum(0))

    def totals(self) -> Tensor:
        return self._tensor(np.abs(self.dense).sum((1, 2)))

    def region_sums(self, labels):
        if isinstance(labels, Mapping):
            return {name: self.region_sums(one) for name, one in labels.items()}
        labels = np.asarray(labels)
        regions = range(int(labels.max()) + 1)
        return self._tensor(np.stack([np.abs(self.dense)[:, labels == g].sum(1) for g in regions], axis=1))

    def pixels_per_neuron(self) -> Tensor:
        heat = np.abs(self.dense).sum(0)
        return torch.from_numpy((np.abs(self.dense) * len(self.dense) > heat).sum((1, 2)))

    def threshold(self, area: float) -> float:
        values = np.sort(np.abs(self.dense).ravel())[::-1].astype(np.float64)
        running = np.cumsum(values)
        return float(values[np.searchsorted(running, (1 - area) * running[-1])])

    def neurons_per_pixel(self, area: float = 0.1) -> Tensor:
        return self._tensor((np.abs(self.dense) > self.threshold(area)).mean(0))

    def sorted_curve(self, points: int = 256) -> Tensor:
        values = np.sort(np.abs(self.dense).ravel())[::-1]
        share = np.linspace(0, 1, points)
        return self._tensor(np.stack([share, np.interp(share * (len(values) - 1), np.arange(len(values)), values)]))

    def reduce(self, **wanted) -> SimpleNamespace:
        assert set(wanted) == {"extremes"}, "other reductions have methods of their own"
        flat = np.abs(self.dense).reshape(len(self.dense), -1)
        return SimpleNamespace(extremes=self._tensor(np.stack([flat.min(1), flat.max(1)], axis=1)))

    def change(self, previous: FakeLayer) -> Tensor:
        return self._tensor(np.abs(np.abs(self.dense) - np.abs(previous.dense)).sum(0))
