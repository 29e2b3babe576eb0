"""How the compiled loops keep planes and label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

MOST_ATOMS = 1024
"""Joint regions of several groupings kept in one scatter; a neuron's sums then stay in the first-level cache."""

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Packing:
    """How the compiled loops keep a plane ``(H, W)``: band by band, phase by phase, rows with their padding.

    Attributes:
        bands: rows ``[y0, y1)`` of each band, whole cells.
        phases: up-sampling of the last step ``(y, x)``.
        width: columns of the plane.
        strides: length of a coarse row of each band, padding included.
    """

    bands: tuple[tuple[int, int], ...]
    phases: tuple[int, int]
    width: int
    strides: tuple[int, ...]

    @property
    def lengths(self) -> list[int]:
        """Packed values of each band."""
        return [(y1 - y0) * self.phases[1] * stride for (y0, y1), stride in zip(self.bands, self.strides, strict=True)]

    @property
    def origins(self) -> list[int]:
        """Where each band begins; the last entry is the length of a packed plane."""
        return [0, *np.cumsum(self.lengths).tolist()]

    def pack(self, plane: NDArray[Number], fill: float) -> NDArray[Number]:
        """``(..., H, W)`` to ``(..., P)``, padding set to ``fill``."""
        ry, rx = self.phases
        parts, before = [], plane.shape[:-2]
        for (y0, y1), stride in zip(self.bands, self.strides, strict=True):
            cells = plane[..., y0 - self.bands[0][0] : y1 - self.bands[0][0], :]
            cells = cells.reshape(*before, (y1 - y0) // ry, ry, self.width // rx, rx)
            packed = np.full((*before, ry, rx, (y1 - y0) // ry, stride), fill, plane.dtype)
            packed[..., : self.width // rx] = np.moveaxis(cells, (-3, -1), (-4, -3))
            parts.append(packed.reshape(*before, -1))
        return np.concatenate(parts, axis=-1)

    def unpack(self, packed: NDArray[Number]) -> NDArray[Number]:
        """``(..., P)`` to ``(..., H, W)``."""
        ry, rx = self.phases
        parts, before, origins = [], packed.shape[:-1], self.origins
        for index, ((y0, y1), stride) in enumerate(zip(self.bands, self.strides, strict=True)):
            cells = packed[..., origins[index] : origins[index + 1]].reshape(*before, ry, rx, (y1 - y0) // ry, stride)
            cells = np.moveaxis(cells[..., : self.width // rx], (-4, -3), (-3, -1))
            parts.append(cells.reshape(*before, y1 - y0, self.width))
        return np.ascontiguousarray(np.concatenate(parts, axis=-2))


def flat(size: tuple[int, int]) -> Packing:
    """The packing of a plane as it is."""
    return Packing(((0, size[0]),), (1, 1), size[1], (size[1],))


@dataclass(frozen=True)
class JointLabels:
    """Several groupings as one label map: an atom is a set of pixels that share their region in each of them."""

    atoms: NDArray[np.int64]
    names: tuple[str, ...]
    regions: NDArray[np.int64]  # (groupings, atoms): the region of each atom, negative where it has none

    @classmethod
    def of(cls, name: str, labels: NDArray[np.int64]) -> JointLabels:
        """One grouping by itself."""
        values, inverse = np.unique(labels, return_inverse=True)
        return cls(inverse.reshape(labels.shape), (name,), values[None])

    def joined(self, other: JointLabels) -> JointLabels:
        """Both in one."""
        pairs = self.atoms * other.regions.shape[1] + other.atoms
        values, inverse = np.unique(pairs, return_inverse=True)
        mine, theirs = np.divmod(values, other.regions.shape[1])
        regions = np.concatenate([self.regions[:, mine], other.regions[:, theirs]])
        return JointLabels(inverse.reshape(self.atoms.shape), self.names + other.names, regions)


def joint_labels(groupings: Mapping[str, NDArray[np.int64]]) -> list[JointLabels]:
    """Groupings joined as long as their atoms stay few."""
    joints: list[JointLabels] = []
    for name, labels in groupings.items():
        new = JointLabels.of(name, labels)
        for index, joint in enumerate(joints):
            candidate = joint.joined(new)
            if candidate.regions.shape[1] <= MOST_ATOMS:
                joints[index] = candidate
                break
        else:
            joints.append(new)
    return joints


@dataclass(frozen=True)
class Groupings:
    """Label maps of the picture, or of a band of its rows.

    Attributes:
        labels: ``(H, W)`` integers of each grouping, negative: no region.
        counts: regions of each grouping in the whole picture.
    """

    labels: Mapping[str, NDArray[np.int64]]
    counts: Mapping[str, int]

    @classmethod
    def of(cls, labels: Mapping[str, NDArray[np.int64]]) -> Groupings:
        """Groupings whose regions run up to the greatest label."""
        return cls(labels, {name: int(plane.max(initial=-1)) + 1 for name, plane in labels.items()})

    def of_area(self, area: tuple[slice, slice]) -> Groupings:
        """Those of some rows and columns; their regions keep their numbers."""
        return Groupings({name: plane[area] for name, plane in self.labels.items()}, self.counts)

    @property
    def columns(self) -> dict[str, slice]:
        """Where each grouping's regions stand beside one another."""
        ends = np.cumsum([0, *self.counts.values()]).tolist()
        return {name: slice(ends[n], ends[n + 1]) for n, name in enumerate(self.counts)}

    @property
    def count(self) -> int:
        """Regions of all groupings."""
        return sum(self.counts.values())
