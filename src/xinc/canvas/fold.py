"""What one pass over a layer's maps collects, for compiled loops and for dense tensors alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.kernels import FINE_BITS, Fold

COARSE_BINS = 1 << (31 - FINE_BITS)
FINE_BINS = 1 << FINE_BITS
MOST_ATOMS = 1024
"""Joint regions of several groupings kept in one scatter; a neuron's sums then stay in the first-level cache."""

Array = NDArray[np.generic]
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
    signed: NDArray[np.float64]
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
            signed=np.zeros(neurons),
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


def phase_major(plane: NDArray[np.generic], r: int) -> NDArray[np.generic]:
    """Columns of ``(..., W)`` in the kernels' order: all columns 0 mod r, then 1 mod r, ..."""
    shape = plane.shape
    return np.ascontiguousarray(plane.reshape(*shape[:-1], shape[-1] // r, r).swapaxes(-1, -2)).reshape(shape)


def natural(plane: NDArray[np.generic], r: int) -> NDArray[np.generic]:
    """The inverse of :func:`phase_major`."""
    shape = plane.shape
    return np.ascontiguousarray(plane.reshape(*shape[:-1], r, shape[-1] // r).swapaxes(-1, -2)).reshape(shape)


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

    def __init__(self, neurons: int, size: tuple[int, int], wanted: Pass, phases: int) -> None:
        self.size, self.wanted, self.phases = size, wanted, phases
        self.result = Folded.empty(neurons, size, wanted)
        self.joints = joint_labels(wanted.regions)
        atoms = max((joint.regions.shape[1] for joint in self.joints), default=0)
        members = max((len(joint.names) for joint in self.joints), default=0)
        self.offsets, column = {}, 0
        for name, labels in wanted.regions.items():
            self.offsets[name] = column
            column += regions_of(labels)
        self.sums = np.zeros((neurons, column))
        self.atoms = np.zeros((len(self.joints), *size), np.int32)
        self.columns = np.full((len(self.joints), members, atoms), -2, np.int32)
        for j, joint in enumerate(self.joints):
            self.atoms[j] = phase_major(joint.atoms, phases)
            for m, name in enumerate(joint.names):
                regions = joint.regions[m]
                self.columns[j, m] = -1
                self.columns[j, m, : regions.size] = np.where(regions >= 0, regions + self.offsets[name], -1)
        limit = wanted.limit
        self.limit = np.zeros((0, 0), np.float32) if limit is None else phase_major(limit, phases).astype(np.float32)

    def worker(self, rows: int) -> Fold:
        """The arrays of one thread that works on bands of at most so many rows."""
        w, height, width = self.wanted, *self.size
        none = np.zeros(0)
        planes = w.heatmap or w.totals
        return Fold(
            heat=np.zeros((rows if planes else 0, width), np.float32),
            heatmap=np.zeros(self.size if planes else (0, 0)),
            totals=self.result.totals if w.totals else none,
            signed=self.result.signed if w.totals else none,
            extremes=self.result.extremes if w.extremes else np.zeros((0, 2), np.float32),
            atoms=self.atoms,
            bins=np.zeros(self.columns.shape[::2], np.float32),
            columns=self.columns,
            sums=self.sums,
            histogram=np.zeros(COARSE_BINS if w.histogram else 0),
            counts=np.zeros(COARSE_BINS if w.counts else 0, np.int64),
            refined=np.array(w.refined, np.int64),
            fine=np.zeros((len(w.refined), FINE_BINS)),
            limit=self.limit,
            above=self.result.above,
            thresholds=np.array(w.thresholds, np.float32),
            over=np.zeros((len(w.thresholds), height if w.thresholds else 0, width), np.int32),
            top=np.full((height if w.top else 0, width, w.top), -1, np.float32),
            leaders=np.full((height if w.top else 0, width, w.top), -1, np.int32),
            dense=np.zeros((0, 0, 0), np.float32),
        )

    @staticmethod
    def nothing(dense: NDArray[np.float32]) -> Fold:
        """Arrays that collect nothing but the rows themselves."""
        empty = Accumulators(0, (0, 1), Pass(), 1).worker(0)
        return empty._replace(dense=dense)

    def finish(self, workers: Sequence[Fold]) -> Folded:
        """Add the workers' arrays and put planes into natural order."""
        result, w, r = self.result, self.wanted, self.phases
        if w.heatmap or w.totals:
            result.heatmap = natural(sum(own.heatmap for own in workers), r).astype(np.float64)  # type: ignore[arg-type]
        if w.histogram:
            result.histogram = np.sum([own.histogram for own in workers], axis=0)
        if w.counts:
            result.counts = np.sum([own.counts for own in workers], axis=0)
        result.fine = np.sum([own.fine for own in workers], axis=0)
        if w.thresholds:
            result.over = natural(np.sum([own.over for own in workers], axis=0), r).astype(np.int32)
        if w.top:
            values = np.concatenate([own.top for own in workers], axis=2)
            order = np.argsort(-values, axis=2, kind="stable")[..., : w.top]
            leaders = np.take_along_axis(np.concatenate([own.leaders for own in workers], axis=2), order, 2)
            result.top = _planes_last(np.take_along_axis(values, order, 2), r)
            result.leaders = _planes_last(leaders, r)
        for name, first in self.offsets.items():
            result.sums[name] = self.sums[:, first : first + regions_of(w.regions[name])]
        return result


def _planes_last(values: NDArray[np.generic], r: int) -> NDArray[np.generic]:  # type: ignore[misc]
    return natural(values.transpose(2, 0, 1), r).transpose(1, 2, 0)


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
        into.signed[index] = maps.flatten(1).sum(1, dtype=torch.float64).cpu().numpy()
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
