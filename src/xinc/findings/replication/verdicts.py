"""What a table of claims says as a whole: which hold whatever the maps are, which hang on their definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.findings.replication.claims import CLAIMS, MIXING, OWN, Claim

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES = ("holds", "fails", "depends", "undecided")
"""Of a case under all methods together: alike under all; "depends" holds under one and fails under another."""


@dataclass(frozen=True)
class Case:
    """A claim about one layer of one family's networks.

    Attributes:
        claim: the claim.
        model: the family.
        layer: the layer.
        rows: method to its row of the table.
    """

    claim: Claim
    model: str
    layer: str
    rows: Mapping[str, Mapping[str, Any]]

    @property
    def outcome(self) -> str:
        """One of :data:`OUTCOMES`."""
        verdicts = {row["verdict"] for row in self.rows.values()}
        if {"holds", "fails"} <= verdicts:
            return "depends"
        return verdicts.pop() if len(verdicts) == 1 and verdicts & {"holds", "fails"} else "undecided"


def cases(table: pd.DataFrame) -> list[Case]:
    """The cases of a table of :func:`xinc.findings.replication.replicate`, in the order of the claims."""
    known = {(claim.text, claim.statistic): claim for claim in (*CLAIMS, MIXING, *OWN)}
    found: dict[tuple[str, str, str, str], dict[str, Mapping[str, Any]]] = {}
    for row in records(table):
        found.setdefault((row["claim"], row["statistic"], row["model"], row["layer"]), {})[row["method"]] = row
    return [Case(known[text, statistic], model, layer, rows) for (text, statistic, model, layer), rows in found.items()]


def by_claim(found: Sequence[Case]) -> Iterator[tuple[Claim, list[Case]]]:
    """The cases of each claim."""
    for claim in dict.fromkeys(case.claim for case in found):
        yield claim, [case for case in found if case.claim is claim]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as programs read them: plain numbers, None for what is undefined."""
    return [{str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def count(found: Sequence[Case]) -> dict[str, int]:
    """How many cases have each outcome."""
    outcomes = [case.outcome for case in found]
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}
