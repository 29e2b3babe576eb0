"""The paper's claims as a table: our value with its confidence interval, where the paper puts it, and the verdict.

Uncertainty is over neurons and over signals together: each resample draws signals, and for each signal a resample of
neurons. Runs of one signal (other seeds) are averaged before signals are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xinc.canvas.trace import trace
from xinc.errors import FindingError
from xinc.findings.analyse import Progress, analyse
from xinc.findings.analyses import Settings
from xinc.findings.claims import CLAIMS, MIXING, Claim
from xinc.findings.clusters import mixing, stack
from xinc.findings.evidence import Evidence, Measured
from xinc.findings.results import fingerprint
from xinc.findings.statistics import Interval, interval, nanmean

if TYPE_CHECKING:
    import pandas as pd

    from xinc.run import Run

Values = NDArray[np.float64]
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
            takes those that it has.
        draws: bootstrap resamples.
        settings: of the findings, their seed among them.
    """

    methods: Sequence[str] = METHODS
    layers: Sequence[str] | None = None
    frames: Sequence[int] | None = None
    draws: int = 200
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Witness:
    """A run's evidence, by the network's family and the signal it represents."""

    family: str
    signal: str
    evidence: Evidence


def replicate(
    runs: Sequence[Run],
    plan: Replication = Replication(),
    *,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure the paper's claims on runs.

    Args:
        runs: runs of any families and signals; runs of one family and signal count as seeds of it.
        plan: methods, layers, frames, resamples.
        progress: told of each step, run by run.

    Returns:
        One row a claim, family, layer and method with the columns :data:`COLUMNS`; ``value`` is the mean over signals,
        ``low`` and ``high`` its 95 % bootstrap interval over neurons and signals (NaN for a p-value), ``paper`` the
        range in which the paper puts it, ``verdict`` "holds", "fails" or "undecided".

    Raises:
        FindingError: there is no run.
        TraceError: there is no such method.
    """
    import pandas as pd

    if not runs:
        raise FindingError("no runs to replicate the paper's claims on: give at least one")
    witnesses: dict[str, list[Witness]] = {method: [] for method in plan.methods}
    for run in runs:
        for method, witness in _witnesses(run, plan, progress):
            witnesses[method].append(witness)
    rows = [
        row
        for claim in (*CLAIMS, MIXING)
        for method, heard in witnesses.items()
        for row in _rows(claim, method, heard, plan)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _witnesses(run: Run, plan: Replication, progress: Progress | None) -> Iterator[tuple[str, Witness]]:
    """What a run says under each method."""
    canvas = trace(run.model, run.input(0), method=plan.methods[0], size=run.clip.size)
    everything = tuple(canvas.layers)
    layers = tuple(name for name in everything if plan.layers is None or name in plan.layers)
    if not layers:
        raise FindingError(f"none of the layers {list(plan.layers or ())} is in this network: {', '.join(everything)}")
    frames = None if plan.frames is None else sorted({min(t, len(run.clip) - 1) for t in plan.frames})
    needs = sorted({name for claim in (*CLAIMS, MIXING) for name in claim.needs})
    tree = analyse(
        run,
        methods=plan.methods,
        layers=layers,
        frames=frames,
        findings=needs,
        settings=plan.settings,
        progress=progress,
    )
    signal = fingerprint([run.clip.frames])
    for method in plan.methods:
        evidence = Evidence(
            tree, method, layers, everything, canvas.plan.pixelwise, draws=plan.draws, seed=plan.settings.seed
        )
        yield method, Witness(run.family, signal, evidence)


def _rows(claim: Claim, method: str, heard: Sequence[Witness], plan: Replication) -> Iterator[dict[str, object]]:
    """The rows of a claim under one method: one for each family and layer that it is about."""
    for family in dict.fromkeys(w.family for w in heard):
        members = [w for w in heard if w.family == family]
        for layer in dict.fromkeys(name for w in members for name in reversed(w.evidence.layers)):
            measured = _measured(claim, [w for w in members if layer in w.evidence.layers], layer)
            if not measured:
                continue
            found = combine([_of_signal(parts) for parts in measured.values()], plan.draws, plan.settings.seed)
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


def _measured(claim: Claim, members: Sequence[Witness], layer: str) -> Mapping[str, list[Measured]]:
    """Measurements of a claim at a layer, by signal."""
    found: dict[str, list[Measured]] = {}
    if claim is MIXING:
        for signal in dict.fromkeys(w.signal for w in members):
            mixed = mixing_of([w.evidence for w in members if w.signal == signal], layer)
            if mixed is not None:
                found[signal] = [mixed]
        return found
    for witness in members:
        if claim.where(witness.evidence, layer):
            measured = claim.measure(witness.evidence, layer)
            if measured is not None and np.isfinite(measured.value):
                found.setdefault(witness.signal, []).append(measured)
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
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(signals), size=(draws, len(signals)))
    drawn = [[signals[i].draws[rng.integers(len(signals[i].draws))] for i in row] for row in chosen]
    return interval(value, nanmean(np.array(drawn), axis=1))


def mixing_of(members: Sequence[Evidence], layer: str) -> Measured | None:
    """Whether the neurons of several networks of one signal mix, by Gabor vectors (Fig. 10).

    The statistic of :func:`xinc.findings.clusters.mixing`; its draws resample neurons.

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
