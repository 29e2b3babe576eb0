"""How well each method's maps predict ablation: the evidence for choosing one.

For sampled neurons the map of each method is compared with the ablation map, pixel by pixel, and its total with the
ablation's. For whole layers, neurons are removed in the order of a method's totals: a ranking that knows what matters
loses the picture at once when the greatest go first, and keeps it for long when they go last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xinc.canvas import ablation, foreign
from xinc.canvas.methods import method_named
from xinc.canvas.plan import Branch, Plan
from xinc.canvas.trace import Canvas, trace
from xinc.errors import FindingError, TraceError
from xinc.findings.statistics import Interval, bootstrap, median, pearson, spearman

if TYPE_CHECKING:
    import xarray as xr

METHODS = ("paper", "official", "exact")
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of a layer's neurons that are removed for the curves."""
ORDERS = ("descending", "ascending")

Values = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how many of how many steps are done."""


class Traceable(Protocol):
    """What is verified: a network and its inputs; a run is one."""

    @property
    def model(self) -> nn.Module:
        """The network."""

    def input(self, frame: int = 0) -> Tensor:
        """What it takes for a frame."""


def verify(
    run: Traceable,
    layers: Sequence[str] | None = None,
    methods: Sequence[str] = METHODS,
    neurons: int = 64,
    frames: Sequence[int] = (0,),
    seed: int = 0,
    progress: Progress | None = None,
    *,
    curves: bool = True,
) -> xr.Dataset:
    """Compare the maps of methods with ablation.

    Args:
        run: the network and its inputs.
        layers: names; all where None.
        methods: definitions of the maps to judge.
        neurons: how many of a layer are sampled, without replacement; all where it has no more.
        frames: indices of the frames to trace.
        seed: of the sample and of the bootstrap.
        progress: told of each step.
        curves: whether to remove neurons in the order of each method's totals, which takes the totals of whole layers.

    Returns:
        Dataset (choose with ``.sel({"method": "exact"})``) with dimensions ``layer, method, frame, neuron`` (the
        sample, NaN and -1 where a layer has fewer),
        ``order`` and ``share``:

        * ``correlation (layer, method, frame, neuron)``: Pearson, over pixels, of |C| with the ablation map; NaN where
          one of them is constant;
        * ``total`` likewise and ``ablation_total (layer, frame, neuron)``: sums over pixels;
        * ``psnr (layer, method, order, share)``: of the picture without that share of the layer's neurons against the
          full one, dB, mean over frames; infinite where nothing changes;
        * ``correlation_median``, its bootstrap interval ``low`` and ``high`` over neurons, ``correlation_p10``,
          ``undefined`` (share of NaN) and ``totals_rank`` (Spearman, totals summed over frames) ``(layer, method)``;
        * ``index (layer, neuron)`` and ``neurons (layer)``: which were sampled, of how many.

        The attribute ``refused`` (JSON) says of which layers a method has no maps, and why.

    Raises:
        FindingError: there is no neuron, frame or method to compare.
        TraceError: there is no such layer or method.
    """
    if neurons < 1 or not frames or not methods:
        raise FindingError("verify needs at least one neuron, one frame and one method")
    for method in methods:
        method_named(method)  # a wrong name fails before anything is computed
    names = list(layers) if layers is not None else _canvas(run, frames[0], "ablation").layers
    report = progress or (lambda text, done, total: None)
    task = _Task(run, tuple(methods), neurons, tuple(frames), seed, curves)
    judged = []
    for number, name in enumerate(names):
        report(f"{name} against ablation", number, len(names))
        judged.append(_Judged.of(task, name))
    report("methods are compared", len(names), len(names))
    return _dataset(task, judged, names)


@dataclass(frozen=True)
class _Task:
    """What is compared, and how."""

    run: Traceable
    methods: tuple[str, ...]
    neurons: int
    frames: tuple[int, ...]
    seed: int
    curves: bool


def _canvas(run: Traceable, frame: int, method: str) -> Canvas:
    return trace(run.model, run.input(frame), method=method)


@dataclass
class _Judged:
    """One layer's comparison; arrays by method, frame and sampled neuron."""

    count: int
    index: NDArray[np.int64]
    correlation: Values
    total: Values
    truth: Values  # (frame, neuron)
    psnr: Values  # (method, order, share)
    refused: dict[str, str]

    @classmethod
    def of(cls, task: _Task, name: str) -> _Judged:
        """Trace one layer by every method on every frame."""
        truths = [_canvas(task.run, frame, "ablation") for frame in task.frames]
        count = truths[0][name].shape[0]
        index = np.sort(np.random.default_rng(task.seed).permutation(count)[: task.neurons])
        maps = [canvas[name].maps(index).cpu().numpy() for canvas in truths]
        shape = (len(task.methods), len(task.frames), len(index))
        curves = np.full((len(task.methods), len(ORDERS), len(SHARES)), np.nan)
        truth = np.array([own.sum((1, 2), dtype=np.float64) for own in maps])
        one = cls(count, index, np.full(shape, np.nan), np.full(shape, np.nan), truth, curves, {})
        for m, method in enumerate(task.methods):
            try:
                scores = one._judge(task, name, m, maps)
            except TraceError as refusal:  # a rule-based method that has no rule for what follows the layer
                one.refused[method] = str(refusal)
                continue
            if task.curves:
                one.psnr[m] = _curves([canvas.plan for canvas in truths], name, scores)
        return one

    def _judge(self, task: _Task, name: str, m: int, truth: Sequence[NDArray[np.float32]]) -> Values:
        """Compare a method's maps on every frame; returns the totals of all neurons, where curves need them."""
        scores = np.zeros(self.count)
        for t, frame in enumerate(task.frames):
            layer = _canvas(task.run, frame, task.methods[m])[name]
            maps = layer.maps(self.index).abs().cpu().numpy()
            self.correlation[m, t] = [pearson(a, b) for a, b in zip(maps, truth[t], strict=True)]
            self.total[m, t] = maps.sum((1, 2), dtype=np.float64)
            if task.curves:
                scores += layer.totals().double().cpu().numpy()
        return scores


def _curves(plans: Sequence[Plan], name: str, scores: Values) -> Values:
    """PSNR without shares of a layer's neurons, greatest scores first and last ``(order, share)``."""
    ascending = np.argsort(scores, kind="stable")
    counts = [round(share * len(scores)) for share in SHARES]
    return np.array(
        [
            [np.mean([psnr_without(plan, name, order[:count]) for plan in plans]) for count in counts]
            for order in (ascending[::-1], ascending)
        ]
    )


def psnr_without(plan: Plan, name: str, neurons: Sequence[int] | NDArray[np.int64]) -> float:
    """PSNR of the picture without some neurons of a layer, all removed at once, against the full picture, in dB."""
    if not len(neurons):
        return float("inf")
    chosen = [int(k) for k in neurons]
    layer = next(layer for layer in plan.layers if layer.name == name)
    with torch.no_grad():
        if isinstance(layer, Branch):
            left = foreign.removed(layer, chosen)
        else:
            left = ablation.removed(plan, [stage.name for stage in plan.stages].index(name), chosen)
        error = float((left - plan.output).double().square().mean())
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def _dataset(task: _Task, judged: Sequence[_Judged], names: Sequence[str]) -> xr.Dataset:
    import xarray as xr

    most = max(len(one.index) for one in judged)

    def padded(values: NDArray[Any], fill: float) -> NDArray[Any]:
        room = [(0, 0)] * (values.ndim - 1) + [(0, most - values.shape[-1])]
        return np.pad(values, room, constant_values=fill)

    sampled = ("layer", "method", "frame", "neuron")
    summaries = [[_Summary.of(one, m, task.seed) for m in range(len(task.methods))] for one in judged]
    data: dict[str, Any] = {
        "correlation": (sampled, np.stack([padded(one.correlation, np.nan) for one in judged])),
        "total": (sampled, np.stack([padded(one.total, np.nan) for one in judged])),
        "ablation_total": (("layer", "frame", "neuron"), np.stack([padded(one.truth, np.nan) for one in judged])),
        "psnr": (("layer", "method", "order", "share"), np.stack([one.psnr for one in judged]), {"units": "dB"}),
        "index": (("layer", "neuron"), np.stack([padded(one.index, -1) for one in judged])),
        "neurons": ("layer", np.array([one.count for one in judged])),
    }
    for field in ("correlation_median", "low", "high", "correlation_p10", "undefined", "totals_rank"):
        values = np.array([[getattr(summary, field) for summary in row] for row in summaries])
        data[field] = (("layer", "method"), values)
    coords = {
        "layer": list(names),
        "method": list(task.methods),
        "frame": list(task.frames),
        "order": list(ORDERS),
        "share": list(SHARES),
    }
    pairs = zip(names, judged, strict=True)
    refused = {f"{name}/{method}": why for name, one in pairs for method, why in one.refused.items()}
    attrs = {
        "question": "How well does a method's map predict what the picture loses without the neuron?",
        "seed": task.seed,
        "refused": json.dumps(refused),
    }
    return xr.Dataset(data, coords, attrs)


@dataclass(frozen=True)
class _Summary:
    """What the table says of one layer and method."""

    correlation_median: float
    low: float
    high: float
    correlation_p10: float
    undefined: float
    totals_rank: float

    @classmethod
    def of(cls, one: _Judged, method: int, seed: int) -> _Summary:
        """Statistics over neurons and frames; the interval resamples neurons."""
        values = one.correlation[method]
        finite = values[np.isfinite(values)]
        middle = bootstrap(values.T, median, draws=500, seed=seed) if finite.size else Interval(*[float("nan")] * 3)
        return cls(
            middle.value,
            middle.low,
            middle.high,
            float(np.quantile(finite, 0.1)) if finite.size else float("nan"),
            1 - finite.size / values.size,
            spearman(one.total[method].sum(0), one.truth.sum(0)),
        )


def rows(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """The table of :func:`verify`, one row a layer and method, for people and for JSON.

    Returns:
        Dicts with ``layer``, ``method``, ``neurons`` (sampled), ``correlation_median``, ``correlation_p10``,
        ``undefined`` (share), ``totals_rank``, ``low``, ``high`` (95 % bootstrap interval of the median); None where a
        number is undefined.
    """
    found = []
    for layer in dataset.layer.values.tolist():
        sampled = int((dataset["index"].sel(layer=layer) >= 0).sum())
        for method in dataset.method.values.tolist():
            here = dataset.sel({"layer": layer, "method": method})
            row: dict[str, Any] = {"layer": layer, "method": method, "neurons": sampled}
            for key in ("correlation_median", "correlation_p10", "undefined", "totals_rank", "low", "high"):
                value = float(here[key])
                row[key] = value if np.isfinite(value) else None
            found.append(row)
    return found


GOOD = 0.9
"""Correlation and rank agreement from which on a method's word is taken for the ablation's."""


def conclusion(dataset: xr.Dataset) -> str:
    """What the numbers of :func:`verify` say: which method to trust in which layer, and what the others are for."""
    sentences = [_verdict(dataset.sel({"method": method})) for method in dataset.method.values.tolist()]
    return " ".join(sentences + _vanished(dataset))


def _verdict(one: xr.Dataset) -> str:
    """The sentence about a method."""
    name = str(one.method.values)
    maps, ranks = one.correlation_median.values, one.totals_rank.values
    layers = np.array(one.layer.values.tolist())
    good = (maps >= GOOD) & (ranks >= GOOD) & (one.undefined.values < 1 - GOOD)
    if not np.isfinite(maps).any():
        return f"{name} has no maps here."
    if good.all():
        return (
            f"Trust {name} in every layer: its maps agree with ablation (median correlation {_span(maps)}), and its "
            f"totals rank neurons as ablation does ({_span(ranks)})."
        )
    if good.any():
        return (
            f"Trust {name} in {_listed(layers[good])} (median correlation {_span(maps[good])}, rank of totals "
            f"{_span(ranks[good])}), but not in {_listed(layers[~good])} ({_span(maps[~good])}, {_span(ranks[~good])})."
        )
    if np.nanmin(maps) >= GOOD:
        return (
            f"{name} shows where neurons act (median correlation {_span(maps)}), but its totals do not rank them as "
            f"ablation does ({_span(ranks)}): do not compare neurons by it."
        )
    return (
        f"Do not take {name} for what a neuron does: its maps agree with ablation at a median correlation of "
        f"{_span(maps)}, its totals at a rank of {_span(ranks)}."
    )


def _vanished(dataset: xr.Dataset) -> list[str]:
    """Sentences about neurons that a method leaves without a map although they matter."""
    found = []
    for layer in dataset.layer.values.tolist():
        for method in dataset.method.values.tolist():
            here = dataset.sel({"layer": layer, "method": method})
            gone = here.correlation.isnull().all("frame").values & (here["index"].values >= 0)
            truth = here.ablation_total.sum("frame").values
            others = ~gone & (here["index"].values >= 0)
            if gone.mean() < 1 - GOOD or not others.any() or not truth[others].mean() > 0:
                continue
            cost = truth[gone].mean() / truth[others].mean()
            found.append(
                f"In {layer}, {method} leaves {gone.sum() / (gone | others).sum():.0%} of the neurons without a map, "
                f"but removing one of them changes the picture {cost:.2f} times as much as removing another."
            )
    return found


def _span(values: Values) -> str:
    """Least to greatest, rounded; one number where they are the same."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "undefined"
    ends = [f"{end:.3f}".rstrip("0").rstrip(".") for end in (finite.min(), finite.max())]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _listed(names: NDArray[np.str_]) -> str:
    return ", ".join(names.tolist()[:-1]) + " and " + str(names[-1]) if len(names) > 1 else str(names[0])
