"""What the compiled folds do, with tensor operations: for other devices, and to check them by.

Each function folds the maps of some neurons into the arrays of one row of :data:`xinc.canvas.reductions.table.FOLDS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.kernels import FINE_BITS
from xinc.canvas.reductions.packing import Groupings

COARSE_BINS = 1 << (31 - FINE_BITS)
FINE_BINS = 1 << FINE_BITS

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class AbsoluteMaps:
    """|C| of some neurons.

    Attributes:
        size: ``(n, H, W)``, not negative.
        neurons: their indices.
        earlier: the same on another frame, where two are compared.
    """

    size: Tensor
    neurons: Sequence[int]
    earlier: Tensor | None = None

    @classmethod
    def of(cls, maps: Tensor, neurons: Sequence[int], earlier: Tensor | None = None) -> AbsoluteMaps:
        """Absolute values of maps ``(n, H, W)``, or of their colours ``(n, 3, H, W)``."""
        return cls(_size(maps), neurons, None if earlier is None else _size(earlier))

    @cached_property
    def index(self) -> NDArray[np.int64]:
        """The neurons' indices as an array ``(n,)``."""
        return np.asarray(self.neurons, np.int64)

    @cached_property
    def flat(self) -> Tensor:
        """``(n, pixels)``."""
        return self.size.flatten(1)

    @cached_property
    def bits(self) -> Tensor:
        """The values as the integers that their floats are, flat."""
        return self.flat.reshape(-1).float().view(torch.int32).long()

    @cached_property
    def moved(self) -> Tensor:
        """Absolute difference from the other frame ``(n, H, W)``."""
        assert self.earlier is not None  # a pass that compares has a layer to compare with
        return (self.size - self.earlier).abs()


def _size(maps: Tensor) -> Tensor:
    return maps.abs().sum(1) if maps.ndim == 4 else maps.abs()


def _numpy(values: Tensor) -> NDArray[Any]:
    result: NDArray[Any] = values.cpu().numpy()
    return result


def sums(maps: AbsoluteMaps, asked: Any, into: Arrays) -> None:
    """Sums over neurons and over pixels."""
    into["heatmap"] += _numpy(maps.size.sum(0, dtype=torch.float64))
    into["totals"][maps.index] = _numpy(maps.flat.sum(1, dtype=torch.float64))


def extremes(maps: AbsoluteMaps, asked: Any, into: Arrays) -> None:
    """Least and greatest value of each neuron."""
    least, greatest = torch.aminmax(maps.flat, dim=1)
    into["least"][maps.index], into["greatest"][maps.index] = _numpy(least), _numpy(greatest)


def regions(maps: AbsoluteMaps, asked: Groupings, into: Arrays) -> None:
    """Sums over each region."""
    for name, columns in asked.columns.items():
        flags = np.arange(asked.counts[name]) == asked.labels[name].reshape(-1, 1)
        found = maps.flat @ torch.from_numpy(flags).to(maps.flat.device, maps.flat.dtype)
        into["sums"][maps.index, columns] = _numpy(found.double())


def histogram(maps: AbsoluteMaps, asked: Any, into: Arrays) -> None:
    """Sums of the values that share their upper bits."""
    values = maps.flat.reshape(-1).double()
    into["histogram"] += _numpy(torch.bincount(maps.bits >> FINE_BITS, values, COARSE_BINS))


def counts(maps: AbsoluteMaps, asked: Any, into: Arrays) -> None:
    """Numbers of the values that share their upper bits."""
    into["counts"] += _numpy(torch.bincount(maps.bits >> FINE_BITS, minlength=COARSE_BINS))


def refined(maps: AbsoluteMaps, asked: Sequence[int], into: Arrays) -> None:
    """Sums by lower bits inside some bins."""
    coarse, values = maps.bits >> FINE_BITS, maps.flat.reshape(-1).double()
    for t, bin_ in enumerate(asked):
        inside = coarse == bin_
        low = maps.bits[inside] & (FINE_BINS - 1)
        into["fine"][t] += _numpy(torch.bincount(low, values[inside], FINE_BINS))


def limit(maps: AbsoluteMaps, asked: NDArray[np.float32], into: Arrays) -> None:
    """Number of pixels over a limit plane."""
    over = maps.size > torch.from_numpy(asked).to(maps.size.device, maps.size.dtype)
    into["above"][maps.index] = _numpy(over.flatten(1).sum(1))


def thresholds(maps: AbsoluteMaps, asked: Sequence[float], into: Arrays) -> None:
    """Number of neurons over each threshold."""
    for t, threshold in enumerate(asked):
        into["over"][t] += _numpy((maps.size > threshold).sum(0)).astype(np.int32)


def top(maps: AbsoluteMaps, asked: int, into: Arrays) -> None:
    """The greatest values of each pixel and their neurons."""
    neurons = maps.index.astype(np.int32)[:, None, None]
    values = _numpy(maps.size).astype(np.float32)
    parts = [into, {"top": values, "leaders": np.broadcast_to(neurons, values.shape)}]
    into.update(greatest_first(parts, asked))


def greatest_first(parts: Sequence[Arrays], count: int) -> Arrays:
    """The greatest values of each pixel, among those of several parts, descending."""
    values = np.concatenate([part["top"] for part in parts])
    leaders = np.concatenate([part["leaders"] for part in parts])
    order = np.argsort(-values, axis=0, kind="stable")[:count]
    return {"top": np.take_along_axis(values, order, 0), "leaders": np.take_along_axis(leaders, order, 0)}


def change(maps: AbsoluteMaps, asked: Any, into: Arrays) -> None:
    """Sum over neurons of what differs from another frame."""
    into["change"] += _numpy(maps.moved.sum(0, dtype=torch.float64))


def _add_by_group(planes: Tensor, maps: AbsoluteMaps, group: NDArray[np.int32], into: NDArray[Any]) -> None:
    np.add.at(into, group[maps.index], _numpy(planes.float()))


def group_heat(maps: AbsoluteMaps, asked: NDArray[np.int32], into: Arrays) -> None:
    """Heatmap of each group of neurons."""
    _add_by_group(maps.size, maps, asked, into["group_heat"])


def group_over(maps: AbsoluteMaps, asked: tuple[NDArray[np.int32], Sequence[float]], into: Arrays) -> None:
    """Number of each group's neurons over each threshold."""
    group, thresholds = asked
    for plane, threshold in zip(into["group_over"], thresholds, strict=True):
        _add_by_group(maps.size > threshold, maps, group, plane)


def group_change(maps: AbsoluteMaps, asked: NDArray[np.int32], into: Arrays) -> None:
    """What differs from another frame, for each group."""
    _add_by_group(maps.moved, maps, asked, into["group_change"])
