"""The paper's claims over a whole sweep: intervals over signals, seeds and neurons, all together or by data set.

Each resample draws signals; for each of them seeds; for each of those one of its resamples of neurons. Nothing is
computed from maps: every cell keeps its statistics with their resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xinc.errors import StudyError
from xinc.findings.replication.claims import CLAIMS, MIXING, OWN, Claim
from xinc.findings.replication.evidence import Evidence, Measured
from xinc.findings.replication.replicate import COLUMNS, mixing_of
from xinc.findings.results import FOLDER, Results
from xinc.findings.statistics import Interval, interval
from xinc.sweep.place.opening import open_place
from xinc.sweep.place.place import Place
from xinc.sweep.table import read_statistics

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("dataset", "category", "signal")
"""Columns by which the claims may be measured apart."""


@dataclass(frozen=True)
class Seeds:
    """A statistic of one signal: one measurement a seed."""

    signal: str
    measured: tuple[Measured, ...]


def is_sweep(folder: str) -> bool:
    """Whether a folder was made by a sweep."""
    from xinc.sweep.sweep import PLAN

    return open_place(folder).read(PLAN) is not None


def replicate_sweep(folder: str, *, by: str | None = None, draws: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Measure the paper's claims on all cells of a sweep.

    Args:
        folder: of the sweep, or its address.
        by: a column of :data:`GROUPS` to measure the claims apart; None for all signals together.
        draws: resamples.
        seed: of the resamples.

    Returns:
        The columns of :func:`xinc.findings.replication.replicate.replicate`, and ``group`` in front where ``by`` is
        given.

    Raises:
        StudyError: the sweep has no finished cell, or there is no such column.
    """
    import pandas as pd

    if by is not None and by not in GROUPS:
        raise StudyError(f"cells cannot be grouped by {by!r}; choose from {', '.join(GROUPS)}")
    place = open_place(folder)
    tables = [table for cell in place.cells() if (table := read_statistics(place, cell)) is not None]
    if not tables:
        raise StudyError(f"{folder} holds no finished cell; xinc sweep status {folder} says why")
    whole = pd.concat(tables, ignore_index=True)
    columns = list(COLUMNS) if by is None else ["group", *COLUMNS]
    groups = [(("",), whole)] if by is None else sorted(_grouped(whole, by), key=lambda group: group[0])
    rows = [{"group": name, **row} for (name,), part in groups for row in _rows(place, part, draws, seed)]
    return pd.DataFrame(rows, columns=columns)


def _rows(place: Place, table: pd.DataFrame, draws: int, seed: int) -> Iterator[dict[str, object]]:
    known = {(claim.text, claim.statistic): claim for claim in (*CLAIMS, *OWN)}
    order: dict[tuple[str, ...], int] = {key: position for position, key in enumerate(known)}
    claims = table[table["claim"] != ""]
    cases = sorted(
        _grouped(claims, "claim", "statistic", "family", "method", "layer"), key=lambda c: order.get(c[0][:2], 0)
    )
    for (text, statistic, family, method, layer), part in cases:
        if claim := known.get((text, statistic)):
            signals = [Seeds(signal, tuple(_measured(own))) for (signal,), own in _grouped(part, "signal")]
            yield _row(claim, family, layer, method, signals, draws, seed)
    yield from _mixing(place, claims, draws, seed)


def _measured(rows: pd.DataFrame) -> Iterator[Measured]:
    columns = (rows[name].to_numpy() for name in ("value", "draws", "neurons"))
    for value, draws, neurons in zip(*columns, strict=True):
        yield Measured(float(value), np.asarray(draws, dtype=np.float64), int(neurons))


def _grouped(table: pd.DataFrame, *columns: str) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Parts of a table by the texts in some columns, in the order of their first rows."""
    return [(tuple(map(str, key)), part) for key, part in table.groupby(list(columns), sort=False)]


def _row(
    claim: Claim, family: str, layer: str, method: str, signals: Sequence[Seeds], draws: int, seed: int
) -> dict[str, object]:
    known = combine(signals, draws, seed)
    return {
        "claim": claim.text,
        "model": family,
        "layer": layer,
        "method": method,
        "statistic": claim.statistic,
        "value": known.value,
        "low": known.low,
        "high": known.high,
        "paper": str(claim.paper),
        "verdict": claim.paper.verdict(known),
        "signals": len(signals),
        "neurons": sum(one.neurons for seeds in signals for one in seeds.measured),
    }


def combine(signals: Sequence[Seeds], draws: int, seed: int) -> Interval:
    """Mean over signals of the mean over seeds, with a 95 % interval over signals, seeds and neurons."""
    value = float(np.mean([np.mean([one.value for one in seeds.measured]) for seeds in signals]))
    runs = [one for seeds in signals for one in seeds.measured]
    if len(runs) == 1 and not len(runs[0].draws):
        return interval(value, np.empty(0))
    rng = np.random.default_rng(seed)
    count = len(signals)
    chosen = rng.integers(count, size=(draws, count))
    drawn = np.zeros((draws, count))
    for s, own in enumerate(signals):
        at = chosen == s
        drawn[at] = _resampled(own.measured, int(at.sum()), rng)
    return interval(value, drawn.mean(1))


def _resampled(measured: Sequence[Measured], times: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Means over as many seeds as there are, drawn again, of one resample of the neurons of each, ``(times,)``."""
    seeds = rng.integers(len(measured), size=(times, len(measured)))
    drawn = np.zeros(seeds.shape)
    for i, one in enumerate(measured):
        at = seeds == i
        drawn[at] = one.draws[rng.integers(len(one.draws), size=int(at.sum()))] if len(one.draws) else one.value
    return np.asarray(drawn.mean(1), dtype=np.float64)


def _mixing(place: Place, claims: pd.DataFrame, draws: int, seed: int) -> Iterator[dict[str, object]]:
    """The claim about seeds, for signals that have several; it reads the neurons' vectors, not a cell's statistics."""
    for (family, method, layer), part in _grouped(claims, "family", "method", "layer"):
        signals = []
        for (signal,), own in _grouped(part, "signal"):
            names = dict.fromkeys(f"{signal}/{model}-{number}" for (model, number), _ in _grouped(own, "model", "seed"))
            members = list(_evidences(place, names, method, layer))
            if (measured := mixing_of(members, layer)) is not None:
                signals.append(Seeds(signal, (measured,)))
        if signals:
            yield _row(MIXING, family, layer, method, signals, draws, seed)


def _evidences(place: Place, cells: Iterable[str], method: str, layer: str) -> Iterator[Evidence]:
    """What cells hold of the neurons' vectors of a layer; nothing else of them is read."""
    import xarray as xr

    for cell in cells:
        with place.folder(f"{cell}/{FOLDER}/clusters/{method}/{layer}") as folder:
            found = Results(folder.parent).get(folder.name)
            known = {f"/clusters/{method}/{layer}": found.load()} if found is not None else {}
        yield Evidence(xr.DataTree.from_dict(known), method, (layer,), (layer,), pixelwise=False)
