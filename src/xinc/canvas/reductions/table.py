"""What can be asked of a layer's maps, and what a pass over them fills: a row each.

:data:`FOLDS` says what one pass can collect: the arrays, with the axes that decide where they lie and how they come
together (a neuron belongs to one thread; planes and layer-wide arrays are each thread's own), what the compiled fold
reads, and its dense twin. :data:`REDUCTIONS` says what :meth:`xinc.canvas.layer.Layer.reduce` takes: which other
reductions a row needs, what it asks of a pass, and what it makes of the outcome.

A new reduction is a row here, a few lines in :func:`xinc.canvas.kernels.folds.fold_chunk`, with its arrays declared in
:class:`~xinc.canvas.kernels.folds.Fold`, and a twin in :mod:`xinc.canvas.reductions.dense`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from xinc.canvas.reductions import dense
from xinc.canvas.reductions.dense import COARSE_BINS, FINE_BINS, Arrays
from xinc.canvas.reductions.histogram import bin_of, curve_of, threshold_of
from xinc.canvas.reductions.packing import Groupings, Packing, joint_labels
from xinc.canvas.reductions.rows import Asked, Filled, FoldRow, Key, Known, Reduction, Sizes
from xinc.errors import TraceError


def _band(field: str) -> Callable[[Arrays, Packing], Mapping[str, NDArray[Any]]]:
    """A line of single precision as long as a band."""
    return lambda read, packing: {field: np.zeros(max(packing.lengths), np.float32)}


def _regions_read(asked: Groupings, packing: Packing) -> Mapping[str, NDArray[Any]]:
    joints = joint_labels(asked.labels)
    atoms = max(joint.regions.shape[1] for joint in joints)
    columns = np.full((len(joints), max(len(joint.names) for joint in joints), atoms), -2, np.int32)
    planes = np.zeros((len(joints), packing.origins[-1]), np.int32)
    for j, joint in enumerate(joints):
        planes[j] = packing.pack(joint.atoms, 0)  # padding is zero and adds nothing to any atom
        for m, name in enumerate(joint.names):
            regions = joint.regions[m]
            columns[j, m] = -1
            columns[j, m, : regions.size] = np.where(regions >= 0, regions + asked.columns[name].start, -1)
    return {"atoms": planes, "columns": columns}


def _regions_scratch(read: Arrays, packing: Packing) -> Mapping[str, NDArray[Any]]:
    joints, _, atoms = read["columns"].shape
    return {"bins": np.zeros((joints, 4, atoms), np.float32)}


def _groups_of(group: NDArray[np.int32]) -> int:
    return int(group.max()) + 1


FOLDS: dict[str, FoldRow] = {
    row.name: row
    for row in (
        FoldRow("sums", (Filled("heatmap", "pixel"), Filled("totals", "neuron")), dense.sums, scratch=_band("heat")),
        FoldRow(
            "extremes",
            (
                Filled("least", "neuron", start=np.inf, merge=np.minimum),
                Filled("greatest", "neuron", merge=np.maximum),
            ),
            dense.extremes,
        ),
        FoldRow(
            "regions",
            (Filled("sums", "neuron", sizes=lambda asked: (asked.count,)),),
            dense.regions,
            reads=_regions_read,
            scratch=_regions_scratch,
            area=lambda asked, area: asked.of_area(area),
        ),
        FoldRow("histogram", (Filled("histogram", "layer", sizes=lambda asked: (COARSE_BINS,)),), dense.histogram),
        FoldRow("counts", (Filled("counts", "layer", sizes=lambda asked: (COARSE_BINS,)),), dense.counts),
        FoldRow(
            "refined",
            (Filled("fine", "layer", sizes=lambda asked: (len(asked), FINE_BINS)),),
            dense.refined,
            reads=lambda asked, packing: {"refined": np.array(asked, np.int64)},
        ),
        FoldRow(
            "limit",
            (Filled("above", "neuron"),),
            dense.limit,
            reads=lambda asked, packing: {"limit": packing.pack(asked.astype(np.float32), np.inf)},
            area=lambda asked, area: asked[area],
        ),
        FoldRow(
            "thresholds",
            (Filled("over", "pixel", sizes=lambda asked: (len(asked),)),),
            dense.thresholds,
            reads=lambda asked, packing: {"thresholds": np.array(asked, np.float32)},
        ),
        FoldRow(
            "top",
            (
                Filled("top", "pixel", start=-1, sizes=lambda asked: (asked,)),
                Filled("leaders", "pixel", start=-1, sizes=lambda asked: (asked,)),
            ),
            dense.top,
            merge=dense.greatest_first,
        ),
        FoldRow("change", (Filled("change", "pixel"),), dense.change, scratch=_band("moved")),
        FoldRow(
            "group_heat",
            (Filled("group_heat", "pixel", sizes=lambda asked: (_groups_of(asked),)),),
            dense.group_heat,
            reads=lambda asked, packing: {"group": asked},
        ),
        FoldRow(
            "group_over",
            (Filled("group_over", "pixel", sizes=lambda asked: (len(asked[1]), _groups_of(asked[0]))),),
            dense.group_over,
            reads=lambda asked, packing: {
                "group": asked[0],
                "group_thresholds": np.array(asked[1], np.float32),
            },
        ),
        FoldRow(
            "group_change",
            (Filled("group_change", "pixel", sizes=lambda asked: (_groups_of(asked),)),),
            dense.group_change,
            reads=lambda asked, packing: {"group": asked},
        ),
    )
}
"""What one pass can collect, by name."""


def _once(asked: Any, size: Sizes) -> Asked:
    """A flag, a number or a layer; nothing where it is not given."""
    return {None: asked} if asked else {}


def _areas(asked: Sequence[float], size: Sizes) -> Asked:
    for area in asked:
        if not 0 < area < 1:
            raise TraceError(f"area {area} is not between 0 and 1; the paper uses 0.1 and 0.5")
    return dict.fromkeys(asked, True)


def _groupings(asked: Mapping[str, ArrayLike] | None, size: Sizes) -> Asked:
    checked: dict[Key, Any] = {}
    for name, labels in (asked or {}).items():
        array = np.asarray(labels)
        what = f"labels {name!r}" if name else "labels"
        if array.shape != size:
            raise TraceError(f"{what} have shape {array.shape}, the maps {size}; resize them (nearest)")
        if not np.issubdtype(array.dtype, np.integer):
            raise TraceError(f"{what} are {array.dtype}, not whole numbers; pass the region's number of each pixel")
        checked[name] = array.astype(np.int64)
    return checked


def _grouped(asked: Asked) -> Groupings:
    return Groupings.of({str(name): labels for name, labels in asked.items()})


def _limit(known: Known) -> NDArray[np.float32]:
    heatmap: NDArray[np.float64] = known.value("sums")[0].double().numpy()
    return (heatmap / known.neurons).astype(np.float32)


def _bins(asked: Asked, known: Known) -> dict[Key, int]:
    return {area: bin_of(known.value("histogram"), area) for area in asked}


def _refine(asked: Asked, known: Known) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_bins(asked, known).values()))


def _thresholds(folded: Arrays, asked: Asked, known: Known) -> Mapping[Key, float]:
    bins, order = _bins(asked, known), _refine(asked, known)
    fine = {area: folded["fine"][order.index(bins[area])] for area in asked}
    return {area: threshold_of(known.value("histogram"), fine[area], bins[area], area) for area in asked}


def _shares(folded: Arrays, asked: Asked, known: Known) -> Mapping[Key, Tensor]:
    return {area: _tensor(over / known.neurons) for area, over in zip(asked, folded["over"], strict=True)}


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


REDUCTIONS: dict[str, Reduction] = {
    row.name: row
    for row in (
        Reduction(
            "sums",
            "heatmap and totals, which cost no more together",
            _once,
            lambda folded, asked, known: {None: (_tensor(folded["heatmap"]), _tensor(folded["totals"]))},
            fills=lambda asked, known: {"sums": True},
            inner=True,
        ),
        Reduction(
            "heatmap",
            "sum over neurons of |C| (H, W) float32 (Fig. 5)",
            _once,
            lambda folded, asked, known: {None: known.value("sums")[0]},
            needs=("sums",),
        ),
        Reduction(
            "totals",
            "sum over pixels of |C| (K,) float32",
            _once,
            lambda folded, asked, known: {None: known.value("sums")[1]},
            needs=("sums",),
        ),
        Reduction(
            "extremes",
            "least and greatest |C| of each neuron (K, 2) float32",
            _once,
            lambda folded, asked, known: {None: _tensor(np.stack([folded["least"], folded["greatest"]], 1))},
            fills=lambda asked, known: {"extremes": True},
        ),
        Reduction(
            "regions",
            "per label map (H, W), integers, negative no region: sums of |C| over each region (K, G) float32 (Fig. 4)",
            _groupings,
            lambda folded, asked, known: {
                name: _tensor(folded["sums"][:, columns]) for name, columns in _grouped(asked).columns.items()
            },
            fills=lambda asked, known: {"regions": _grouped(asked)},
            keyed=True,
        ),
        Reduction(
            "pixels_per_neuron",
            "number of pixels of which a neuron holds more than 1/K of the total (K,) int64 (Fig. 6)",
            _once,
            lambda folded, asked, known: {None: torch.from_numpy(folded["above"])},
            needs=("sums",),
            fills=lambda asked, known: {"limit": _limit(known)},
        ),
        Reduction(
            "histogram",
            "sums of the values that share their upper bits",
            _once,
            lambda folded, asked, known: {None: folded["histogram"]},
            fills=lambda asked, known: {"histogram": True},
            inner=True,
        ),
        Reduction(
            "counts",
            "numbers of the values that share their upper bits; made beside their sums",
            _once,
            lambda folded, asked, known: {None: folded["counts"]},
            fills=lambda asked, known: {"histogram": True, "counts": True},
            inner=True,
        ),
        Reduction(
            "thresholds",
            "per area, the |C| at which the sum of all greater ones reaches 1 - area of the total (Fig. 7)",
            _areas,
            _thresholds,
            needs=("histogram",),
            fills=lambda asked, known: {"refined": _refine(asked, known)},
            keyed=True,
        ),
        Reduction(
            "neurons_per_pixel",
            "per area, share of the neurons above that threshold (H, W) float32 (Fig. 7)",
            _areas,
            _shares,
            needs=("thresholds",),
            fills=lambda asked, known: {"thresholds": tuple(known.value("thresholds", area) for area in asked)},
            keyed=True,
        ),
        Reduction(
            "curve",
            "for n points, rank as a share of all values, and |C| at it, descending (2, n) float32 (Fig. 18)",
            _once,
            lambda folded, asked, known: {None: torch.from_numpy(curve_of(known.value("counts"), asked[None]))},
            needs=("counts",),
        ),
        Reduction(
            "top",
            "for n neurons, those with the greatest |C| of each pixel (H, W, n) int32, and their values float32",
            _once,
            lambda folded, asked, known: {
                None: tuple(torch.from_numpy(np.moveaxis(folded[name], 0, -1)) for name in ("leaders", "top"))
            },
            fills=lambda asked, known: {"top": asked[None]},
        ),
        Reduction(
            "change",
            "for the maps C' of another frame, sum over neurons of | |C| - |C'| | (H, W) float32 (Fig. 9)",
            _once,
            lambda folded, asked, known: {None: _tensor(folded["change"])},
            fills=lambda asked, known: {"change": True, "before": asked[None]},
        ),
    )
}
"""What a layer's maps can be reduced to, by name."""
