"""What one pass over a layer's maps collects, for compiled loops and for dense tensors alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.kernels import FINE_BITS, Fold

COARSE_BINS = 1 << (31 - FINE_BITS)
FINE_BINS = 1 << FINE_BITS
MOST_ATOMS = 1024
"""Joint regions of several groupings kept in one scatter; a neuron's sums then stay in the first-level cache."""

Number = TypeVar("Number", bound=np.generic)
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Pass:
    """What one pass over the maps of a layer collects. Planes and labels are ``(H, W)`` in natural order."""

    heatmap: bool = False
    totals: bool = False
    extremes: bool = False
    regions: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    histogram: bool = False
    counts: bool = False
    refined: tuple[int, ...] = ()
    limit: Plane | None = None
    thresholds: tuple[float, ...] = ()
    top: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is collected."""
        return not (
            self.heatmap or self.totals or self.extremes or self.regions or self.histogram or self.refined
            or self.limit is not None or self.thresholds or self.top
        )  # fmt: skip


@dataclass
class Folded:
    """What a pass collected, arrays in natural order; see :class:`xinc.canvas.kernels.Fold` for their meaning."""

    heatmap: NDArray[np.float64]
    totals: NDArray[np.float64]
    extremes: NDArray[np.float32]
    sums: dict[str, NDArray[np.float64]]
    histogram: NDArray[np.float64]
    counts: NDArray[np.int64]
    fine: NDArray[np.float64]
    above: NDArray[np.int64]
    over: NDArray[np.int32]
    top: NDArray[np.float32]
    leaders: NDArray[np.int32]

    @classmethod
    def empty(cls, neurons: int, size: tuple[int, int], wanted: Pass) -> Folded:
        """Zeros of the shapes that a pass collects."""
        extremes = np.zeros((neurons, 2), np.float32)
        extremes[:, 0] = np.inf
        return cls(
            heatmap=np.zeros(size),
            totals=np.zeros(neurons),
            extremes=extremes,
            sums={name: np.zeros((neurons, regions_of(labels))) for name, labels in wanted.regions.items()},
            histogram=np.zeros(COARSE_BINS),
            counts=np.zeros(COARSE_BINS, np.int64),
            fine=np.zeros((len(wanted.refined), FINE_BINS)),
            above=np.zeros(neurons, np.int64),
            over=np.zeros((len(wanted.thresholds), *size), np.int32),
            top=np.full((*size, wanted.top), -1, np.float32),
            leaders=np.full((*size, wanted.top), -1, np.int32),
        )


def regions_of(labels: NDArray[np.int64]) -> int:
    """Number of regions of a label map: its greatest label and one."""
    return int(labels.max(initial=-1)) + 1


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


class Accumulators:
    """Arrays of one pass for the compiled loops: shared ones (a neuron belongs to one thread) and one set a worker."""

    def __init__(self, neurons: int, packing: Packing, wanted: Pass) -> None:
        self.packing, self.wanted = packing, wanted
        size = (packing.bands[-1][1] - packing.bands[0][0], packing.width)
        self.result = Folded.empty(neurons, size, wanted)
        self.joints = joint_labels(wanted.regions)
        atoms = max((joint.regions.shape[1] for joint in self.joints), default=0)
        members = max((len(joint.names) for joint in self.joints), default=0)
        self.offsets, column = {}, 0
        for name, labels in wanted.regions.items():
            self.offsets[name] = column
            column += regions_of(labels)
        self.sums = np.zeros((neurons, column))
        self.atoms = np.zeros((len(self.joints), packing.origins[-1]), np.int32)
        self.columns = np.full((len(self.joints), members, atoms), -2, np.int32)
        for j, joint in enumerate(self.joints):
            self.atoms[j] = packing.pack(joint.atoms, 0)  # padding is zero and adds nothing to any atom
            for m, name in enumerate(joint.names):
                regions = joint.regions[m]
                self.columns[j, m] = -1
                self.columns[j, m, : regions.size] = np.where(regions >= 0, regions + self.offsets[name], -1)
        limit = wanted.limit
        self.limit = np.zeros(0, np.float32) if limit is None else packing.pack(limit.astype(np.float32), np.inf)

    def worker(self) -> Fold:
        """The arrays of one thread."""
        w, length = self.wanted, self.packing.origins[-1]
        sums = w.heatmap or w.totals
        return Fold(
            heat=np.zeros(max(self.packing.lengths) if sums else 0, np.float32),
            heatmap=np.zeros(length if sums else 0),
            totals=self.result.totals,
            extremes=self.result.extremes if w.extremes else np.zeros((0, 2), np.float32),
            atoms=self.atoms,
            bins=np.zeros((len(self.joints), 4, self.columns.shape[2]), np.float32),
            columns=self.columns,
            sums=self.sums,
            histogram=np.zeros(COARSE_BINS if w.histogram else 0),
            counts=np.zeros(COARSE_BINS if w.counts else 0, np.int64),
            refined=np.array(w.refined, np.int64),
            fine=np.zeros((len(w.refined), FINE_BINS)),
            limit=self.limit,
            above=self.result.above,
            thresholds=np.array(w.thresholds, np.float32),
            over=np.zeros((len(w.thresholds), length if w.thresholds else 0), np.int32),
            top=np.full((length if w.top else 0, w.top), -1, np.float32),
            leaders=np.full((length if w.top else 0, w.top), -1, np.int32),
            dense=np.zeros((0, 0), np.float32),
        )

    @staticmethod
    def nothing(dense: NDArray[np.float32]) -> Fold:
        """Arrays that collect nothing but the packed maps themselves."""
        return Accumulators(0, flat((1, 1)), Pass()).worker()._replace(dense=dense)

    def finish(self, workers: Sequence[Fold]) -> Folded:
        """Add the workers' arrays and put planes into natural order."""
        result, w, unpack = self.result, self.wanted, self.packing.unpack
        if w.heatmap or w.totals:
            result.heatmap = unpack(np.sum([own.heatmap for own in workers], axis=0))
        if w.histogram:
            result.histogram = np.sum([own.histogram for own in workers], axis=0)
        if w.counts:
            result.counts = np.sum([own.counts for own in workers], axis=0)
        result.fine = np.sum([own.fine for own in workers], axis=0)
        if w.thresholds:
            result.over = unpack(np.sum([own.over for own in workers], axis=0))
        if w.top:
            values = np.concatenate([own.top for own in workers], axis=1)
            order = np.argsort(-values, axis=1, kind="stable")[:, : w.top]
            leaders = np.take_along_axis(np.concatenate([own.leaders for own in workers], axis=1), order, 1)
            result.top = np.moveaxis(unpack(np.take_along_axis(values, order, 1).T), 0, -1)
            result.leaders = np.moveaxis(unpack(leaders.T), 0, -1)
        for name, first in self.offsets.items():
            result.sums[name] = self.sums[:, first : first + regions_of(w.regions[name])]
        return result


def dense_fold(maps: Tensor, neurons: Sequence[int], wanted: Pass, into: Folded) -> None:
    """Fold the maps ``(n, H, W)`` of some neurons, or their colours ``(n, 3, H, W)``, with tensor operations."""
    colours = maps.ndim == 4
    size = maps.abs().sum(1) if colours else maps.abs()
    index = np.asarray(neurons)
    device = maps.device
    flat = size.flatten(1)
    if wanted.heatmap or wanted.totals:
        into.heatmap += size.sum(0, dtype=torch.float64).cpu().numpy()
        into.totals[index] = flat.sum(1, dtype=torch.float64).cpu().numpy()
    if wanted.extremes:
        into.extremes[index] = torch.stack(torch.aminmax(flat, dim=1), 1).cpu().numpy()
    for name, labels in wanted.regions.items():
        flags = torch.from_numpy(np.arange(regions_of(labels)) == labels.reshape(-1, 1)).to(device, flat.dtype)
        into.sums[name][index] = (flat @ flags).double().cpu().numpy()
    if wanted.histogram or wanted.refined:
        bits = flat.reshape(-1).float().view(torch.int32).long()
        values = flat.reshape(-1).double()
        coarse = bits >> FINE_BITS
        if wanted.histogram:
            into.histogram += torch.bincount(coarse, values, COARSE_BINS).cpu().numpy()
            into.counts += torch.bincount(coarse, minlength=COARSE_BINS).cpu().numpy()
        for t, bin_ in enumerate(wanted.refined):
            inside = coarse == bin_
            low = bits[inside] & (FINE_BINS - 1)
            into.fine[t] += torch.bincount(low, values[inside], FINE_BINS).cpu().numpy()
    if wanted.limit is not None:
        into.above[index] = (
            (size > torch.from_numpy(wanted.limit).to(device, size.dtype)).flatten(1).sum(1).cpu().numpy()
        )
    for t, threshold in enumerate(wanted.thresholds):
        into.over[t] += (size > threshold).sum(0).cpu().numpy().astype(np.int32)
    if wanted.top:
        _dense_top(size, index, wanted.top, into)


def _dense_top(size: Tensor, index: NDArray[np.int64], count: int, into: Folded) -> None:
    values = np.concatenate([into.top, size.permute(1, 2, 0).cpu().numpy()], axis=2)
    owners = np.broadcast_to(index.astype(np.int32), (*size.shape[1:], len(index)))
    leaders = np.concatenate([into.leaders, owners], axis=2)
    order = np.argsort(-values, axis=2, kind="stable")[..., :count]
    into.top = np.take_along_axis(values, order, 2)
    into.leaders = np.take_along_axis(leaders, order, 2)
