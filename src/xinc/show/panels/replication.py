"""The paper's claims in the report: which hold, which hang on the definition of the maps, and every number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.errors import FindingError
from xinc.files import write_text
from xinc.findings.replication.claims import OWN, Claim
from xinc.findings.replication.replicate import remembered
from xinc.findings.replication.verdicts import Case, by_claim, cases, count, records
from xinc.show.figures.replication import forest, methods_of, name_of, verdicts
from xinc.show.figures.sheet import signed
from xinc.show.page.html import Drawing, Exhibit, PageTable
from xinc.show.sentences.words import listing
from xinc.show.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd

MARKS = {"holds": "✓", "fails": "✗", "undecided": "?", "no data": "–"}
LEGEND = (
    "✓ the whole interval lies where the paper puts it, ✗ none of it does, ? neither; intervals of 95 % over neurons "
    "and signals"
)


@dataclass(frozen=True)
class ReplicationPanel:
    """The part of the report on runs that `xinc replicate` measured."""

    short: str = "Replication"

    def exhibit(self, found: Sequence[Subject]) -> Exhibit | None:
        """Verdicts, values and the table; None where no run has what the claims are measured on."""
        table = remembered([(subject.run, subject.tree) for subject in found])
        if table.empty:
            return None
        known = cases(table)
        methods = methods_of(known)
        drawings = [
            Drawing.of(
                partial(verdicts, known),
                "replication-0",
                "Verdict on each claim by layer and definition of the maps",
                "One line a claim of the paper, one mark for each definition of the maps, in the order named below. A "
                "row of equal marks does not hang on the definition; a claim holds where the whole confidence interval "
                "lies where the paper puts it, and fails where none of it does.",
            ),
            Drawing.of(
                partial(forest, known),
                "replication-1",
                "Value and interval of each claim by layer and definition of the maps",
                "The numbers behind the marks: each with its 95 % interval over neurons and signals, beside the range "
                "in which the paper puts it, shaded. A statistic without an interval is a p-value.",
            ),
        ]
        return Exhibit(
            "replication",
            self.short,
            "Section 4 of the paper",
            "Do the paper’s conclusions hold on these networks?",
            sentences(known),
            drawings,
            [PageTable.of(table, "Numbers", _meaning(methods), "replication")],
        )


def _meaning(methods: Sequence[str]) -> str:
    return (
        "One row a claim, layer and definition of the maps: mean over signals with its 95 % bootstrap interval over "
        "neurons and signals (none for a p-value), the range in which the paper puts it, the verdict, and on how many "
        f"signals and neurons it rests. Definitions: {listing(methods)}."
    )


def sentences(found: Sequence[Case]) -> list[str]:
    """How many of the paper's cases hold, fail, or hang on the method; and which claims always do."""
    found = [case for case in found if case.claim not in OWN]
    methods, outcomes = methods_of(found), count(found)
    under = " under every definition" if len(methods) > 1 else ""
    said = [f"{n} {_verb(n, verb)}{under}" for verb in ("hold", "fail") for n in (outcomes[f"{verb}s"],)]
    if len(methods) > 1:
        said.append(
            f"{(n := outcomes['depends'])} {_verb(n, 'hold')} under one definition and {_verb(n, 'fail')} under another"
        )
    said.append(f"{outcomes['undecided']} {'are' if outcomes['undecided'] != 1 else 'is'} undecided")
    lines = [
        f"Of {len(found)} cases, each a claim of the paper about one layer of one kind of network, "
        f"{listing(said)} (maps by {listing(methods)})."
    ]
    always = {"holds": "Nothing speaks against", "fails": "Nothing speaks for"}
    for outcome, words in always.items():
        texts = dict.fromkeys(case.claim.text for case in found)
        alike = [text for text in texts if {c.outcome for c in found if c.claim.text == text} == {outcome}]
        if alike:
            lines.append(f"{words}: {'; '.join(alike)}.")
    hanging = [
        f"{claim.text} ({listing(map(name_of, own))})"
        for claim, cases_ in by_claim(found)
        if (own := [case for case in cases_ if case.outcome == "depends"])
    ]
    if hanging:
        lines.append(f"What depends on the definition of the maps: {'; '.join(hanging)}.")
    return lines


def _verb(count: int, verb: str) -> str:
    return verb if count != 1 else f"{verb}s"


def number(value: float | None) -> str:
    """Two digits after the point, more for small numbers, fewer for large ones; a dash for none."""
    if value is None or not np.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3 if 0 < abs(value) < 0.1 else 2
    return signed(value, f".{digits}f")


def cell(row: Mapping[str, Any]) -> str:
    """A method's value in a line: ``"✓ 0.52 [0.41, 0.60]"``."""
    span = f" [{number(row['low'])}, {number(row['high'])}]" if row["low"] is not None else ""
    return f"{MARKS[row['verdict']]} {number(row['value'])}{span}"


def lines(found: Iterable[Case], methods: Sequence[str]) -> list[dict[str, str]]:
    """Cases as rows with a column for each method."""
    return [
        {"layer": name_of(case)}
        | {method: cell(case.rows[method]) if method in case.rows else "–" for method in methods}
        for case in found
    ]


def heading(claim: Claim, own: Iterable[Case]) -> str:
    """What stands above the cases of a claim: the claim, what is measured, the paper's range, on how many signals."""
    counts: dict[str, int] = {}
    for case in own:
        family = name_of(case).split(" ")[0]
        counts[family] = max(counts.get(family, 0), *(row["signals"] for row in case.rows.values()))
    signals = listing(f"{n} of {family}" for family, n in counts.items())
    whose = "we expect" if claim in OWN else "the paper"
    return f"{claim.figure}: {claim.text}\n{claim.statistic}; {whose}: {claim.paper}; signals: {signals}"


def markdown(table: pd.DataFrame) -> str:
    """The table as Markdown: a line for each claim and layer, a column for each method."""
    known = cases(table)
    methods = methods_of(known)
    head = ["claim", "the paper", "layer", "signals", *(f"`{method}`" for method in methods)]
    text = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for claim, own in by_claim(known):
        for i, (case, line) in enumerate(zip(own, lines(own, methods), strict=True)):
            first = [f"{claim.text}: {claim.statistic} ({claim.figure})", str(claim.paper)] if i == 0 else ["", ""]
            signals = str(max(row["signals"] for row in case.rows.values()))
            layer, *cells = line.values()
            text.append("| " + " | ".join([*first, layer, signals, *cells]) + " |")
    return "\n".join([*text, "", LEGEND + ".", ""])


def _json(table: pd.DataFrame) -> str:
    return json.dumps(records(table), indent=1, allow_nan=False) + "\n"


FORMS = {".md": markdown, ".csv": lambda table: str(table.to_csv(index=False)), ".json": _json}
"""Suffix to the table as text."""


def check_form(out: Path) -> bool:
    """Whether a path is a file's rather than a folder's.

    Raises:
        FindingError: it is that of a file in a form that is not known.
    """
    named = bool(out.suffix) and not out.is_dir()
    if named and out.suffix not in FORMS:
        raise FindingError(f"{out.name} is no form of table; end it in {listing(FORMS)}, or name a folder")
    return named


def save(table: pd.DataFrame, out: Path) -> Path:
    """Write the table: a file in the form that its suffix names, or all forms into a folder.

    Raises:
        FindingError: the file's suffix is none of those.
    """
    if check_form(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, FORMS[out.suffix](table))
        return out
    out.mkdir(parents=True, exist_ok=True)
    for suffix, form in FORMS.items():
        write_text(out / f"replication{suffix}", form(table))
    return out


REPLICATION = ReplicationPanel()
