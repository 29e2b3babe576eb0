"""The paper's claims as a table: our value with its confidence interval, where the paper puts it, and the verdict.

Uncertainty is over neurons and over signals together: each resample draws signals, and for each signal a resample of
neurons. Runs of one signal (other seeds) are averaged before signals are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xinc.canvas.methods import method_of
from xinc.errors import FindingError
from xinc.findings.analyse import analyse
from xinc.findings.analyses import Settings
from xinc.findings.optical_flow.flows import FlowsOf
from xinc.findings.replication.claims import CLAIMS, MIXING, OWN, Claim
from xinc.findings.replication.evidence import Evidence, Measured
from xinc.findings.results import fingerprint
from xinc.findings.section4.clusters import mixing, stack
from xinc.findings.statistics import Interval, interval, nanmean
from xinc.waiting import Progress, silent

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from xinc.run import Run

METHODS = ("paper", "official", "exact")
COLUMNS = (
    "claim", "model", "layer", "method", "statistic", "value", "low", "high", "paper", "verdict", "signals", "neurons",
)  # fmt: skip
LARGEST = 4000
"""Neurons of a layer whose neighbours are searched, over all seeds."""


@dataclass(frozen=True)
class Replication:
    """How claims are measured.

    Attributes:
        methods: definitions of the maps.
        layers: names; all of each network where None. Names that a network lacks are left out.
        frames: indices; :func:`~xinc.findings.analyse.default_frames` of each run where None. A run with fewer frames
            takes those that it has, or its last where it has none of them.
        draws: bootstrap resamples.
        settings: of the findings, their seed among them.
        flows: what is known to move in a run's clip; optical flow where None, and for frames that have none.
        also: findings that are made beside those that the paper's claims need: our own claims read ``together``.
    """

    methods: Sequence[str] = METHODS
    layers: Sequence[str] | None = None
    frames: Sequence[int] | None = None
    draws: int = 200
    settings: Settings = field(default_factory=Settings)
    flows: FlowsOf | None = None
    also: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class RunEvidence:
    """A run's evidence under one method, by the network's family and the frames that it represents."""

    family: str
    signal: str
    evidence: Evidence

    @classmethod
    def each(cls, run: Run, evidences: Iterable[Evidence]) -> list[RunEvidence]:
        """One for each evidence of a run; its frames are read one by one, and once."""
        signal = fingerprint(run.clip.frame(t) for t in range(len(run.clip)))
        return [cls(run.family, signal, evidence) for evidence in evidences]


def replicate(
    runs: Sequence[Run],
    plan: Replication = Replication(),
    *,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure the paper's claims on runs; what their results hold already is not computed again.

    Args:
        runs: runs of any families and signals; runs of one family and signal count as seeds of it.
        plan: methods, layers, frames, resamples.
        progress: told of each step, run by run.

    Returns:
        One row a claim, family, layer and method with the columns :data:`COLUMNS`; ``value`` is the mean over signals,
        ``low`` and ``high`` its 95 % bootstrap interval over neurons and signals (NaN for a p-value), ``paper`` the
        range in which the paper puts it, ``verdict`` "holds", "fails" or "undecided".

    Raises:
        FindingError: there is no run, or no run has a layer or frame that is named.
        TraceError: there is no such method, or it has no rule for a network.
    """
    if not runs:
        raise FindingError("no runs to replicate the paper's claims on: give at least one")
    report = progress or silent
    _check(runs, plan)
    collected: list[RunEvidence] = []
    for i, run in enumerate(runs):
        whose = f"{run.path.name if run.path else run.family}: " if len(runs) > 1 else ""

        def step(what: str, done: int, total: int, i: int = i, whose: str = whose) -> None:
            report(f"{whose}{what}", 100 * i + 100 * done // max(total, 1), 100 * len(runs))

        collected += evidence_of(run, plan, step)
    report("measuring the claims", 100 * len(runs) - 1, 100 * len(runs))
    table = _table(collected, plan.methods, plan.draws, plan.settings.seed)
    report("the claims are measured", 100 * len(runs), 100 * len(runs))
    return table


def remembered(runs: Sequence[tuple[Run, xr.DataTree]], *, draws: int = 200, seed: int = 0) -> pd.DataFrame:
    """The table of :func:`replicate` from what the results of runs hold; no map is computed.

    Only methods and layers count for which :func:`replicate` measured a run's claims.
    """
    collected: list[RunEvidence] = []
    for run, tree in runs:
        made = [path.split("/")[2:] for path in tree.groups if path.startswith("/moments/") and path.count("/") == 3]
        if not made:
            continue
        everything, pixelwise = _described(run)
        layers = {
            method: tuple(name for name in everything if [method, name] in made)
            for method in sorted({method for method, _ in made}, key=_place)
        }
        known = (Evidence(tree, method, own, everything, pixelwise, draws, seed) for method, own in layers.items())
        collected += RunEvidence.each(run, known)
    return _table(collected, sorted({one.evidence.method for one in collected}, key=_place), draws, seed)


def _place(method: str) -> int:
    """The order of methods in a table."""
    return METHODS.index(method) if method in METHODS else len(METHODS)


def _table(collected: Sequence[RunEvidence], methods: Sequence[str], draws: int, seed: int) -> pd.DataFrame:
    import pandas as pd

    rows = [
        row
        for claim in (*CLAIMS, MIXING, *OWN)
        for method in methods
        for row in _rows(claim, method, [one for one in collected if one.evidence.method == method], draws, seed)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _described(run: Run) -> tuple[tuple[str, ...], bool]:
    """All layers of a run's network, in the order of the forward pass, and whether it is an MLP over pixels."""
    canvas = run.canvas(0)
    return tuple(canvas.layers), canvas.plan.pixelwise


def _check(runs: Sequence[Run], plan: Replication) -> None:
    """Refuse what no run has before anything is computed: one run may lack a layer or a frame that another has."""
    for method in plan.methods:
        method_of(method)
    longest = max(len(run.clip) for run in runs)
    if wrong := [t for t in plan.frames or () if not 0 <= t < longest]:
        raise FindingError(f"no run has frame {wrong[0]}: the longest clip has frames 0 to {longest - 1}")
    known = dict.fromkeys(name for run in runs for name in _described(run)[0])
    if absent := [name for name in plan.layers or () if name not in known]:
        raise FindingError(f"no layer is called {absent[0]!r}: the networks have {', '.join(known)}")


def evidence_of(run: Run, plan: Replication, progress: Progress | None = None) -> list[RunEvidence]:
    """What a run says under each method: the analyses that the claims need, computed where its results lack them.

    Returns:
        One a method; none where the network has no layer that the plan names.
    """
    everything, pixelwise = _described(run)
    layers = tuple(name for name in everything if plan.layers is None or name in plan.layers)
    if not layers:
        return []
    frames = None
    if plan.frames is not None:
        frames = [t for t in plan.frames if t < len(run.clip)] or [len(run.clip) - 1]
    needs = sorted({*plan.also, *(name for claim in (*CLAIMS, MIXING) for name in claim.needs)})
    tree = analyse(
        run,
        methods=plan.methods,
        layers=layers,
        frames=frames,
        findings=needs,
        settings=plan.settings,
        flows=plan.flows(run.clip) if plan.flows is not None else None,
        progress=progress,
    )
    seed = plan.settings.seed
    return RunEvidence.each(
        run, (Evidence(tree, method, layers, everything, pixelwise, plan.draws, seed) for method in plan.methods)
    )


def _rows(claim: Claim, method: str, runs: Sequence[RunEvidence], draws: int, seed: int) -> Iterator[dict[str, object]]:
    """The rows of a claim under one method: one for each family and layer that it is about."""
    for family in dict.fromkeys(one.family for one in runs):
        members = [one for one in runs if one.family == family]
        for layer in dict.fromkeys(name for one in members for name in reversed(one.evidence.layers)):
            measured = _measured(claim, [one for one in members if layer in one.evidence.layers], layer)
            if not measured:
                continue
            found = combine([_of_signal(parts) for parts in measured.values()], draws, seed)
            yield {
                "claim": claim.text,
                "model": family,
                "layer": layer,
                "method": method,
                "statistic": claim.statistic,
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "paper": str(claim.paper),
                "verdict": claim.paper.verdict(found),
                "signals": len(measured),
                "neurons": sum(part.neurons for parts in measured.values() for part in parts),
            }


def _measured(claim: Claim, members: Sequence[RunEvidence], layer: str) -> Mapping[str, list[Measured]]:
    """Measurements of a claim at a layer, by signal."""
    found: dict[str, list[Measured]] = {}
    if claim is MIXING:
        for signal in dict.fromkeys(one.signal for one in members):
            mixed = mixing_of([one.evidence for one in members if one.signal == signal], layer)
            if mixed is not None:
                found[signal] = [mixed]
        return found
    for one in members:
        if claim.where(one.evidence, layer):
            measured = claim.measure(one.evidence, layer)
            if measured is not None and np.isfinite(measured.value):
                found.setdefault(one.signal, []).append(measured)
    return found


def _of_signal(parts: Sequence[Measured]) -> Measured:
    """The mean over the runs of one signal."""
    draws = nanmean(np.stack([part.draws for part in parts]), axis=0)
    return Measured(float(np.mean([part.value for part in parts])), draws, sum(part.neurons for part in parts))


def combine(signals: Sequence[Measured], draws: int, seed: int) -> Interval:
    """Mean over signals with an interval over both signals and neurons.

    Each resample draws as many signals as there are, with replacement, and one neuron resample of each.
    """
    value = float(np.mean([signal.value for signal in signals]))
    if len(signals) == 1 and not len(signals[0].draws):
        return interval(value, np.empty(0))
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(signals), size=(draws, len(signals)))
    own = [signal.draws if len(signal.draws) else np.array([signal.value]) for signal in signals]
    lengths = np.array([len(drawn) for drawn in own])
    known = np.full((len(signals), lengths.max()), np.nan)
    for row, drawn in zip(known, own, strict=True):
        row[: len(drawn)] = drawn
    resampled = known[chosen, (rng.random(chosen.shape) * lengths[chosen]).astype(int)]
    return interval(value, nanmean(resampled, axis=1))


def mixing_of(members: Sequence[Evidence], layer: str) -> Measured | None:
    """Whether the neurons of several networks of one signal mix, by Gabor vectors (Fig. 10).

    The statistic of :func:`xinc.findings.section4.clusters.mixing`; its draws resample neurons.

    Returns:
        None for fewer than two networks, or where a layer has no neuron vectors.
    """
    found = {f"seed {i}": evidence.dataset("clusters", layer) for i, evidence in enumerate(members)}
    present = {name: data.isel(frame=0) for name, data in found.items() if data is not None}
    if len(present) < 2:
        return None
    stacked = stack(present)
    rng = np.random.default_rng(members[0].seed)
    chosen = rng.permutation(stacked.sizes["neuron"])[:LARGEST]
    mixed = mixing(stacked["vector"].values[chosen], stacked["member"].values[chosen], seed=members[0].seed)
    if mixed is None:
        return None
    count = len(mixed.entropy)
    drawn = mixed.entropy[rng.integers(count, size=(members[0].draws, count))].mean(axis=1)
    return Measured(mixed.ratio, drawn / mixed.null.mean(), count)
