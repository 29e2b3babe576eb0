"""The study page of a sweep: the paper's claims over all its signals, with forest plots.

    xinc sweep study.toml --out STUDY
    python benchmarks/study.py STUDY [--docs docs/study.md] [--out benchmarks/results/study.json]

Reads what the sweep's cells kept: statistics with their resamples, seconds, PSNR. No map is computed. Signals whose
cells are missing are left out, and the page says how many cells there are.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from xinc.findings.replication.claims import OWN
from xinc.findings.replication.verdicts import cases, records
from xinc.show import style
from xinc.show.figures.replication import forest, name_of, verdicts
from xinc.show.panels.replication import sentences
from xinc.sweep.replication import replicate_sweep

PSNR = "PSNR (dB)"
FEWEST = 3
"""Signals that a case needs: an interval over one or two of them says little of the spread between signals."""
START, END = "<!-- study: made by benchmarks/study.py -->", "<!-- end of study -->"


def signals(folder: Path, table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a signal: data set, category, cells and median PSNR by family."""
    rows = []
    for name, own in table[table["statistic"] == PSNR].groupby("signal", sort=False):
        row = {"signal": name, "data set": own["dataset"].iloc[0], "category": own["category"].iloc[0]}
        for family in ("ffn", "nerv"):
            part = own[own["family"] == family]
            row[family] = (
                f"{part['value'].median():.1f} dB, {part['seed'].nunique()} seed{'s' * (part['seed'].nunique() > 1)}"
                if len(part)
                else "–"
            )
        rows.append(row)
    return rows


def took(folder: Path) -> dict[str, Any]:
    """Cells, core-hours of fits and of everything else, bytes."""
    seconds, size, count = defaultdict(float), 0, 0
    for path in folder.glob("*/*/cell.json"):
        cell = json.loads(path.read_text())
        count, size = count + 1, size + cell["bytes"]
        for step, taken in cell["seconds"].items():
            seconds["fits" if step == "fit" else "maps and findings"] += taken / 3600
    return {"cells": count, **{k: round(v, 2) for k, v in seconds.items()}, "gigabytes": round(size / 1e9, 1)}


def apart(folder: Path, by: str, method: str, left_out: Collection[str]) -> list[dict[str, Any]]:
    """How many cases hold, fail or are undecided in each group, by one definition."""
    found = replicate_sweep(str(folder), by=by, draws=300)
    found = found[(found["method"] == method) & ~found["claim"].isin(list(left_out))]
    rows = []
    for name, own in found.groupby("group", sort=True):
        counts = own["verdict"].value_counts()
        rows.append({by: name, **{v: int(counts.get(v, 0)) for v in ("holds", "fails", "undecided")}})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(str(row[key]) for key in head) + " |" for row in rows)])


def verdict_table(table: pd.DataFrame) -> str:
    """One row a case: the value by each definition with its interval, and the verdict's sign."""
    signs = {"holds": "✓", "fails": "✗", "undecided": "?", "no data": "–"}
    rows = []
    for case in cases(table):
        row: dict[str, Any] = {"claim": case.claim.text, "layer": name_of(case), "the paper": str(case.claim.paper)}
        for method, own in case.rows.items():
            ends = "" if own["low"] is None else f" ({own['low']:.2f} to {own['high']:.2f})"
            row[method] = f"{signs[own['verdict']]} {own['value']:.2f}{ends}"
        rows.append({"exact": "–", "paper": "–", **row})
    order = ["claim", "layer", "the paper", "exact", "paper"]
    return markdown([{key: row[key] for key in order} for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=Path, help="page whose part between the marks is made anew")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    everything = replicate_sweep(str(asked.folder))
    table = everything[everything["signals"] >= FEWEST]
    few = everything[everything["signals"] < FEWEST].groupby("claim")["signals"].max().to_dict()
    statistics = pd.read_parquet(asked.folder / "results.parquet")
    known = cases(table)
    about = {"date": f"{date.today()}", **took(asked.folder)}
    listed = signals(asked.folder, statistics)
    ours = {claim.text for claim in OWN}
    counted = table[(table["method"] == "exact") & ~table["claim"].isin(ours)]
    exact = counted["verdict"].value_counts().to_dict()
    groups = {by: apart(asked.folder, by, "exact", {*few, *ours}) for by in ("dataset", "category")}
    print(json.dumps({**about, "exact": exact}))
    if asked.out:
        kept = {
            **about,
            "signals": listed,
            "exact": exact,
            "too_few_signals": few,
            "groups": groups,
            "rows": records(table),
        }
        asked.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if asked.docs:
        images = asked.docs.parent / "images"
        (images / "study-verdicts.png").write_bytes(style.png(verdicts(known)))
        (images / "study-forest.png").write_bytes(style.png(forest(known)))
        body = "\n\n".join(
            [
                START,
                f"Made {about['date']} from {about['cells']} cells of {len(listed)} signals: {about['fits']} hours "
                f"of fits, {about['maps and findings']} core-hours of maps and findings, {about['gigabytes']} GB.",
                *sentences(known),
                f"By `exact` alone, {exact.get('holds', 0)} of {sum(exact.values())} cases hold, "
                f"{exact.get('fails', 0)} fail and {exact.get('undecided', 0)} are undecided.",
                *([f"Left out, with fewer than {FEWEST} signals: {'; '.join(few)}."] if few else []),
                "![Verdict on each claim by layer and definition](images/study-verdicts.png)",
                "![Value and interval of each claim by layer and definition](images/study-forest.png)",
                "## Signals",
                markdown(listed),
                "## By data set and category (`exact`)",
                markdown(groups["dataset"]),
                markdown(groups["category"]),
                "## Every case",
                verdict_table(table),
                END,
            ]
        )
        page = asked.docs.read_text("utf-8")
        before, rest = page.split(START)
        asked.docs.write_text(before + body + rest.split(END)[1], "utf-8")


if __name__ == "__main__":
    main()
