"""How well each method's maps predict ablation: the evidence for choosing one.

For sampled neurons the map of each method is compared with the ablation map, pixel by pixel, and its total with the
ablation's. For whole layers, neurons are removed in the order of a method's totals
(:mod:`xinc.findings.fidelity.deletion`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.canvas.methods import method_of
from xinc.canvas.network.plan import Plan
from xinc.canvas.trace import Canvas
from xinc.errors import FindingError, TraceError
from xinc.files import locked
from xinc.findings.analyse import default_frames, known_frames
from xinc.findings.fidelity.deletion import ORDERS, SHARES, curves
from xinc.findings.finding import Finding, numpy
from xinc.findings.results import FOLDER, Results, digest, fingerprint
from xinc.findings.statistics import bootstrap, median, pearson, spearman
from xinc.notation import Indices, Values
from xinc.waiting import Progress, silent

if TYPE_CHECKING:
    import xarray as xr

    from xinc.run import Run

FINDING = Finding(
    name="fidelity",
    question="How well does a method's map predict what the picture loses without the neuron?",
    section="3",
    figure="none",
    unit="correlation with ablation",
    direction="maps by sums of weights and mean filters are taken for what neurons contribute",
    null="correlation 0 and rank agreement 0: a map says nothing about the neuron's removal",
)
DELETION = "deletion"
"""Group of the curves beside the finding's own."""
METHODS = ("paper", "official", "exact")
RANDOM = "random"
"""The curves' control: neurons in an order that knows nothing."""
HELD_VALUES = 1 << 24
"""Map values of the sample that are held at once, for the truth and for the judged method (64 MB each)."""
VERSION = 1
"""Changes when the numbers do."""


@dataclass(frozen=True)
class Verification:
    """What is compared.

    Attributes:
        methods: definitions of the maps to judge.
        layers: names; all where None.
        neurons: how many of a layer are sampled, without replacement; all where it has no more.
        frames: indices; up to two that suit the analyses where None.
        seed: of the sample and of the bootstrap.
        curves: whether to remove neurons in the order of each method's totals, which takes the totals of whole layers.
    """

    methods: Sequence[str] = METHODS
    layers: Sequence[str] | None = None
    neurons: int = 64
    frames: Sequence[int] | None = None
    seed: int = 0
    curves: bool = True


@dataclass(frozen=True)
class Fidelity:
    """What :func:`verify` found, a Dataset a layer.

    Attributes:
        compared: maps against ablation maps. Variables, with K' sampled neurons (coordinate ``neuron``: their indices):
            ``correlation (method, frame, neuron)``: Pearson, over pixels, of |C| with the ablation map, NaN where one
            of the two is constant; ``total`` likewise and ``ablation_total (frame, neuron)``: sums over pixels;
            ``correlation_median``, its bootstrap interval ``low`` and ``high`` over neurons, ``correlation_p10``,
            ``undefined`` (share of NaN) and ``totals_rank`` (Spearman, totals summed over frames), each ``(method,)``;
            ``refused (method,)``: why a method has no maps of the layer, else empty.
        deleted: ``psnr (ranking, frame, order, share)``: dB against the full picture without that share of the layer's
            neurons, ranked by a method's totals over all frames or at random; empty where no curves were asked for.
    """

    compared: Mapping[str, xr.Dataset]
    deleted: Mapping[str, xr.Dataset] = field(default_factory=dict)


def verify(
    run: Run, asked: Verification = Verification(), *, out: Path | None = None, progress: Progress | None = None
) -> Fidelity:
    """Compare the maps of methods with ablation and keep the numbers in the run's ``results.zarr``.

    What is there for the same network, frames and sample stays; only methods that are missing are computed.

    Args:
        run: the run; one without a folder keeps nothing.
        asked: methods, layers, frames, sample.
        out: folder of the results where it is not the run's, which may then be one that can only be read.
        progress: told of each step.

    Raises:
        FindingError: there is no such frame, or nothing to compare.
        TraceError: there is no such layer or method.
    """
    if asked.neurons < 1:
        raise FindingError(f"{asked.neurons} neurons cannot be compared with ablation; sample at least 1")
    if not asked.methods:
        raise FindingError(f"no method to compare with ablation; give some of {', '.join(METHODS)}")
    for method in asked.methods:
        method_of(method)  # a wrong name fails before anything is computed
    frames = default_frames(run.clip, 2) if asked.frames is None else asked.frames
    task = _Comparison(run, asked, known_frames(run.clip, frames))
    place = out or run.path
    results = Results(place / FOLDER if place is not None else None)
    report = progress or silent
    jobs = [job for name in task.layers for job in task.jobs(name)]
    found: dict[str, dict[str, xr.Dataset]] = {FINDING.name: {}, DELETION: {}}
    with locked(place, "comparing with ablation"):
        for number, job in enumerate(jobs):
            report(job.says, number, len(jobs))
            found[job.finding][job.layer] = _kept(results, job)
    report("methods are compared", len(jobs), len(jobs))
    return Fidelity(found[FINDING.name], found[DELETION])


@dataclass(frozen=True)
class _Part:
    """A group of the results: a part of the comparison of one layer.

    Attributes:
        finding: first part of the group's name.
        layer: second part.
        axis: dimension of what is judged.
        wanted: what is to be judged along it.
        described: everything that its numbers depend on, besides what is judged.
        make: computes the Dataset of some of ``wanted``.
    """

    finding: str
    layer: str
    says: str
    axis: str
    wanted: tuple[str, ...]
    described: Mapping[str, Any]
    make: Callable[[str, Sequence[str]], xr.Dataset]


def _kept(results: Results, job: _Part) -> xr.Dataset:
    """The group with all that is wanted: what it holds already, and the rest computed and added."""
    group, key = f"{job.finding}/{job.layer}", digest(job.described)
    found = results.get(group) if results.holds(group, key) else None
    held = None if found is None else found.load()
    known = [] if held is None else held[job.axis].values.tolist()
    missing = [name for name in job.wanted if name not in known]
    if missing:
        made = job.make(job.layer, missing)
        attrs = {**FINDING.attrs(), "layer": job.layer, "digest": key, "made_with": json.dumps(job.described)}
        held = (made if held is None else _joined(held, made, job.axis)).assign_attrs(attrs)
        results.put(group, held)
    assert held is not None  # something is wanted
    return held.sel({job.axis: list(job.wanted)})


def _joined(held: xr.Dataset, made: xr.Dataset, axis: str) -> xr.Dataset:
    """Both along an axis; what does not depend on it is the same in both."""
    import xarray as xr

    shared = [name for name, values in held.data_vars.items() if axis not in values.dims]
    return xr.concat([held.drop_vars(shared), made.drop_vars(shared)], axis).merge(held[shared])


@dataclass(eq=False)
class _Comparison:
    """A comparison: what all layers share."""

    run: Run
    asked: Verification
    frames: tuple[int, ...]

    @cached_property
    def layers(self) -> list[str]:
        """The layers that are asked for, checked."""
        canvas = self.canvases[self.frames[0]]
        return [canvas[name].name for name in (canvas.layers if self.asked.layers is None else self.asked.layers)]

    @cached_property
    def canvases(self) -> dict[int, Canvas]:
        """The canvas of each frame by ablation."""
        return {frame: self.run.canvas(frame, "ablation") for frame in self.frames}

    @cached_property
    def shared(self) -> dict[str, Any]:
        """What every group depends on."""
        return {
            "xinc": version("xinc"),
            "version": VERSION,
            "network": fingerprint(self.run.model.state_dict().values()),
            "inputs": fingerprint(self.run.input(frame) for frame in self.frames),
            "frames": self.frames,
        }

    def jobs(self, layer: str) -> Iterator[_Part]:
        """The parts of a layer's comparison."""
        methods = tuple(dict.fromkeys(self.asked.methods))
        sample = {"neurons": self.asked.neurons, "seed": self.asked.seed, "layer": layer}
        says = f"{layer}: maps against ablation maps"
        yield _Part(FINDING.name, layer, says, "method", methods, {**self.shared, **sample}, self.compare)
        if self.asked.curves:
            says = f"{layer}: the picture without its neurons"
            ranks = (*methods, RANDOM)
            yield _Part(DELETION, layer, says, "ranking", ranks, {**self.shared, "layer": layer}, self.delete)

    def compare(self, layer: str, methods: Sequence[str]) -> xr.Dataset:
        """Maps of the sampled neurons against their ablation maps, a frame at a time."""
        import xarray as xr

        sampled = ("frame", "neuron")
        parts = [compare(self.canvases[frame].plan, layer, methods, self.asked) for frame in self.frames]
        correlation = np.stack([part.correlation for part in parts], axis=1)
        total = np.stack([part.total for part in parts], axis=1)
        truth = np.stack([part.truth for part in parts])
        refused = np.array([parts[0].refused.get(method, "") for method in methods], dtype=np.str_)
        summaries = [summary(r, t, truth, self.asked.seed) for r, t in zip(correlation, total, strict=True)]
        return xr.Dataset(
            {
                "correlation": (("method", *sampled), correlation),
                "total": (("method", *sampled), total, {"units": "sum of |C| over pixels"}),
                "ablation_total": (sampled, truth, {"units": "sum over pixels of the picture's change"}),
                **{key: ("method", np.array([summary[key] for summary in summaries])) for key in summaries[0]},
            },
            coords={
                "method": list(methods),
                "frame": list(self.frames),
                "neuron": parts[0].index,
                "refused": ("method", refused),
            },
        )

    def delete(self, layer: str, ranks: Sequence[str]) -> xr.Dataset:
        """The picture without shares of the layer's neurons, by each ranking; NaN where a method refuses."""
        import xarray as xr

        scores = {name: self._scores(layer, name) for name in ranks}
        psnr = np.full((len(ranks), len(self.frames), len(ORDERS), len(SHARES)), np.nan)
        for t, frame in enumerate(self.frames):
            plan = self.canvases[frame].plan
            for r, name in enumerate(ranks):
                if (known := scores[name]) is not None:
                    psnr[r, t] = curves(plan, layer, known)
        coords = {"ranking": list(ranks), "frame": list(self.frames), "order": list(ORDERS), "share": list(SHARES)}
        return xr.Dataset({"psnr": (("ranking", "frame", "order", "share"), psnr, {"units": "dB"})}, coords)

    def _scores(self, layer: str, name: str) -> Values | None:
        """A ranking's scores of all neurons, ``(K,)``: totals summed over frames; None where the method refuses."""
        if name == RANDOM:
            count = self.canvases[self.frames[0]][layer].shape[0]
            return np.random.default_rng(0).permutation(count).astype(np.float64)
        try:
            totals = [numpy(self.canvases[frame].by(name)[layer].totals()) for frame in self.frames]
        except TraceError:
            return None
        return np.asarray(np.sum(totals, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class Compared:
    """One layer at one frame.

    Attributes:
        index: ``(K',)`` sampled neurons.
        correlation: ``(method, K')`` of |C| with the ablation map; NaN where one of the two is constant.
        total: ``(method, K')`` sums of |C|.
        truth: ``(K',)`` sums of the ablation maps.
        refused: method to the reason why it has no maps of this layer.
    """

    index: Indices
    correlation: Values
    total: Values
    truth: Values
    refused: Mapping[str, str]


def compare(plan: Plan, layer: str, methods: Sequence[str], asked: Verification = Verification()) -> Compared:
    """Compare maps of a layer's sampled neurons with their ablation maps, never holding more than a few at once.

    Args:
        plan: the network as it ran.
        layer: name of the layer.
        methods: definitions of the maps to judge.
        asked: the sample: ``neurons`` and ``seed``.
    """
    truth = Canvas(plan, "ablation")[layer]
    count, height, width = truth.shape
    index = np.sort(np.random.default_rng(asked.seed).permutation(count)[: asked.neurons])
    judged, refused = {}, {}
    for m, method in enumerate(methods):
        try:
            judged[m] = Canvas(plan, method)[layer]
        except TraceError as refusal:  # a rule-based method that has no rule for what follows the layer
            refused[method] = str(refusal)
    correlation, total = np.full((2, len(methods), len(index)), np.nan)
    sums = np.empty(len(index))
    size = max(1, HELD_VALUES // (height * width))
    for some in (slice(first, min(first + size, len(index))) for first in range(0, len(index), size)):
        wanted = numpy(truth.maps(index[some]))
        sums[some] = wanted.sum((1, 2), dtype=np.float64)
        for m, own in judged.items():
            maps = numpy(own.maps(index[some]).abs())
            correlation[m, some] = [pearson(a, b) for a, b in zip(maps, wanted, strict=True)]
            total[m, some] = maps.sum((1, 2), dtype=np.float64)
    return Compared(index, correlation, total, sums, refused)


def summary(correlation: Values, total: Values, truth: Values, seed: int) -> dict[str, float]:
    """Statistics of one method over neurons and frames, ``(frame, neuron)``; the interval resamples neurons."""
    finite = correlation[np.isfinite(correlation)]
    middle = bootstrap(correlation.T, median, draws=500, seed=seed)
    return {
        "correlation_median": middle.value,
        "low": middle.low,
        "high": middle.high,
        "correlation_p10": float(np.quantile(finite, 0.1)) if finite.size else float("nan"),
        "undefined": 1 - finite.size / correlation.size,
        "totals_rank": spearman(total.sum(0), truth.sum(0)),
    }
