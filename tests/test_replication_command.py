"""``xinc replicate``: the table for people and programs, the part of the report, and what it refuses."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import xinc as package
from click_free import Ran, xinc
from tiny_runs import clip
from xinc.canvas.layer import Layer
from xinc.errors import FindingError
from xinc.findings.analyse import analyse
from xinc.findings.analyses import Settings
from xinc.findings.replication.claims import CLAIMS, MIXING
from xinc.findings.replication.replicate import COLUMNS, METHODS, Replication, replicate
from xinc.findings.replication.verdicts import Case, cases, count, records
from xinc.show.panels.replication import REPLICATION, cell, markdown, number, save, sentences
from xinc.show.report import report
from xinc.show.subjects import Subject, subjects
from xinc.signals.labels import Segments

LAYERS, FRAMES = ("head", "layer3", "layer2"), (1, 2)
KEYS = [
    "claim", "model", "layer", "method", "statistic", "value", "low", "high", "paper", "verdict", "signals", "neurons",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Study:
    folder: Path
    runs: tuple[str, ...]
    ran: Ran
    rows: list[dict[str, Any]]

    def command(self, *options: str) -> tuple[str, ...]:
        asked = ("--method", "paper,exact", "--layers", ",".join(LAYERS), "--frames", "1,2")
        return ("replicate", *self.runs, *asked, *options)


def strict(file: Path) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(file.read_text("utf-8"), parse_constant=refuse)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two seeds of a NeRV and an FFN, measured by two methods."""
    folder = tmp_path_factory.mktemp("study")
    small: dict[str, Any] = {"epochs": 1, "fc_dim": 6, "levels": 4, "strides": (4, 2)}
    package.fit("nerv", clip(), seed=0, out=folder / "a", **small)
    package.fit("nerv", clip(), seed=1, out=folder / "b", **small)
    package.fit("ffn", clip(), epochs=2, width=12, frequencies=8, out=folder / "still")
    made = Study(folder, tuple(str(folder / name) for name in ("a", "b", "still")), Ran(0, "", "", None), [])
    ran = xinc(*made.command("--json", str(folder / "table.json")))
    assert ran.code == 0, ran
    return dataclasses.replace(made, ran=ran, rows=strict(folder / "table.json"))


def test_rows_have_the_promised_keys_and_values(study: Study) -> None:
    assert list(COLUMNS) == KEYS
    assert all(list(row) == KEYS for row in study.rows)
    assert {row["method"] for row in study.rows} == {"paper", "exact"}
    assert {(row["model"], row["layer"]) for row in study.rows} == {
        ("nerv", "head"),
        ("ffn", "layer3"),
        ("ffn", "layer2"),
    }
    assert {row["verdict"] for row in study.rows} <= {"holds", "fails", "undecided"}
    bare = [row for row in study.rows if row["low"] is None]
    assert bare, "a p-value has no interval"
    assert all(row["statistic"].endswith("(p)") and row["high"] is None for row in bare)
    ranges = {(claim.text, claim.statistic): claim.paper for claim in (*CLAIMS, MIXING)}
    for row in study.rows:
        wanted = ranges[row["claim"], row["statistic"]]
        low, high = (row["low"], row["high"]) if row["low"] is not None else (row["value"], row["value"])
        inside, outside = wanted.low <= low and high <= wanted.high, high < wanted.low or low > wanted.high
        assert row["verdict"] == ("holds" if inside else "fails" if outside else "undecided"), row
        assert row["paper"] == str(wanted)


def test_runs_of_one_signal_are_seeds_and_are_compared(study: Study) -> None:
    def named(text: str, layer: str) -> dict[str, Any]:
        return next(row for row in study.rows if row["claim"] == text and row["layer"] == layer)

    heat = named("heatmaps follow intensity", "head")
    head = package.load(study.runs[0])
    neurons = package.trace(head.model, head.input(0))["head"].shape[0]
    assert (heat["signals"], heat["neurons"]) == (1, 2 * neurons)
    assert named("heatmaps follow intensity", "layer3")["signals"] == 1
    assert {row["layer"] for row in study.rows if row["claim"] == MIXING.text} == {"head"}


def test_the_same_numbers_as_in_python(study: Study) -> None:
    runs = [package.load(folder) for folder in study.runs]
    table = replicate(runs, Replication(("paper", "exact"), LAYERS, FRAMES))
    assert records(table) == study.rows


def test_people_can_read_it_in_a_hundred_columns(study: Study) -> None:
    lines = study.ran.out.splitlines()
    assert max(map(len, lines)) <= 100
    text = " ".join(study.ran.out.split())
    assert all(row["claim"] in text for row in study.rows)
    assert text.count("✓") == sum(row["verdict"] == "holds" for row in study.rows)
    assert text.count("✗") == sum(row["verdict"] == "fails" for row in study.rows)
    assert "signals: 1 of NeRV and 1 of FFN" in text
    cells = [line for line in lines if any(mark in line for mark in "✓✗")]
    assert all(line.count("[") == line.count("]") for line in cells), "a cell is broken"
    said = " ".join(study.ran.err.split())
    assert "✗ none of it does" in said
    assert f"Of {len(cases(pd.DataFrame(study.rows)))} cases" in said


def test_nothing_is_computed_twice(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a map is computed again")

    monkeypatch.setattr(Layer, "maps", refuse)
    monkeypatch.setattr(Layer, "reduce", refuse)
    again = xinc(*study.command("--json", str(study.folder / "again.json"), "--out", str(study.folder / "kept")))
    assert again.code == 0, again
    assert (study.folder / "again.json").read_bytes() == (study.folder / "table.json").read_bytes()
    assert again.out.startswith(study.ran.out.rstrip("\n")[:2000])
    assert sorted(path.name for path in (study.folder / "kept").iterdir()) == [
        "replication.csv",
        "replication.json",
        "replication.md",
    ]
    assert strict(study.folder / "kept" / "replication.json") == study.rows
    assert len(pd.read_csv(study.folder / "kept" / "replication.csv")) == len(study.rows)


def test_the_report_has_the_table(study: Study) -> None:
    found = subjects([package.load(folder) for folder in study.runs])
    exhibit = REPLICATION.exhibit(found)
    assert exhibit is not None
    (table,) = exhibit.tables
    rows = pd.read_csv(io.BytesIO(base64.b64decode(table.csv)))
    key = ["claim", "statistic", "model", "layer", "method"]
    both = rows.merge(pd.DataFrame(study.rows), on=key)
    assert len(both) == len(rows) == len(study.rows)
    assert both["value_x"].to_numpy() == pytest.approx(both["value_y"].to_numpy())
    assert (both["verdict_x"] == both["verdict_y"]).all()
    assert [drawing.name for drawing in exhibit.drawings] == ["replication-0", "replication-1"]
    marks = exhibit.drawings[0].svg
    assert "heatmaps follow intensity" in marks
    assert "from left to right: paper, exact" in marks
    assert "where the paper puts it" in exhibit.drawings[1].svg


def test_a_report_of_several_runs_shows_it_and_one_without_does_not(study: Study) -> None:
    page = report(package.load(study.runs[2]), study.folder / "page" / "report.html").read_text("utf-8")
    assert '<section id="replication"' in page
    assert (study.folder / "page" / "figures" / "replication-1.png").exists()
    run = dataclasses.replace(package.load(study.runs[2]), path=None)
    tree = analyse(run, findings=["intensity"], layers=["layer3"])
    assert REPLICATION.exhibit([Subject("FFN", run, tree, "exact")]) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("/no/run",), "/no/run"),
        (("{empty}",), "no run"),
        (("{run}", "{empty}"), "no run"),
        (("{run}", "--method", "guess"), "'guess'"),
        (("{run}", "--method", "paper,guess"), "'guess'"),
        (("{run}", "--method", ","), "',' names nothing; give names separated by commas"),
        (("{run}", "--layers", "block9"), "no layer is called 'block9': the networks have"),
        (("{run}", "--layers", "layer3,block9"), "'block9'"),
        (("{run}", "--frames", "99"), "no run has frame 99"),
        (("{run}", "--frames", "soon"), "'soon' is not a frame"),
        (("{run}", "--out", "table.xlsx"), "table.xlsx is no form of table; end it in .md, .csv and .json"),
    ],
)
def test_bad_input_gets_one_line(
    arguments: tuple[str, ...], words: str, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed before it was checked")

    monkeypatch.setattr(Layer, "maps", refuse)
    places = {"run": study.runs[2], "empty": str(tmp_path)}
    ran = xinc("replicate", *(argument.format(**places) for argument in arguments))
    assert ran.code == 2, ran
    (line,) = ran.err.strip().splitlines()
    assert line.startswith("xinc: ")
    assert words in line


def test_no_run_at_all_is_refused() -> None:
    ran = xinc("replicate")
    assert ran.code == 2
    assert "RUN" in ran.err
    with pytest.raises(FindingError, match="at least one"):
        replicate([])


def row(verdict: str, method: str, **other: Any) -> dict[str, Any]:
    claim = other.pop("claim", CLAIMS[0])
    values = {"value": 0.5, "low": 0.4, "high": 0.6, "signals": 2, "neurons": 10, "model": "ffn", "layer": "layer3"}
    return {"claim": claim.text, "statistic": claim.statistic, "method": method, "verdict": verdict} | values | other


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        (("holds", "holds", "holds"), "holds"),
        (("fails", "fails"), "fails"),
        (("holds", "fails", "undecided"), "depends"),
        (("holds", "undecided"), "undecided"),
        (("undecided", "fails"), "undecided"),
        (("undecided",), "undecided"),
        (("no data",), "undecided"),
    ],
)
def test_a_case_is_what_its_methods_agree_on(verdicts: tuple[str, ...], outcome: str) -> None:
    rows = {method: row(verdict, method) for method, verdict in zip(METHODS, verdicts, strict=False)}
    assert Case(CLAIMS[0], "ffn", "layer3", rows).outcome == outcome


def test_sentences_count_and_name_what_holds_fails_and_depends() -> None:
    one, two, three = CLAIMS[0], CLAIMS[2], CLAIMS[4]
    verdicts = {one: ("holds", "holds"), two: ("fails", "fails"), three: ("holds", "fails")}
    table = pd.DataFrame(
        [row(v, m, claim=c) for c, both in verdicts.items() for m, v in zip(METHODS, both, strict=False)]
    )
    found = cases(table)
    assert count(found) == {"holds": 1, "fails": 1, "depends": 1, "undecided": 0}
    first, holds, fails, depends = sentences(found)
    assert first.startswith("Of 3 cases")
    assert "1 holds under every definition, 1 fails under every definition" in first
    assert one.text in holds
    assert two.text in fails
    assert f"{three.text} (FFN layer 3)" in depends
    assert "under" not in sentences(cases(table[table["method"] == "paper"]))[0]


def test_markdown_is_a_table_with_every_case() -> None:
    table = pd.DataFrame([row("holds", "paper"), row("fails", "exact"), row("undecided", "paper", layer="layer2")])
    lines = markdown(table).splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {7}
    assert "| FFN layer 3 | 2 | ✓ 0.50 [0.40, 0.60] | ✗ 0.50 [0.40, 0.60] |" in lines[2]
    assert lines[3].startswith("|  |  | FFN layer 2 | 2 | ? 0.50 [0.40, 0.60] | – |")


def test_numbers_are_short() -> None:
    found = [number(v) for v in (0.5, -0.0123, 12.345, 1234.5, 0.0, None, float("nan"))]
    assert found == ["0.50", "−0.012", "12.3", "1234", "0.00", "–", "–"]
    assert cell({"verdict": "fails", "value": 0.01, "low": None, "high": None}) == "✗ 0.010"


def test_a_file_has_the_form_of_its_name(tmp_path: Path) -> None:
    table = pd.DataFrame([row("holds", "paper", value=float("nan"))])
    assert strict(save(table, tmp_path / "deep" / "a.json"))[0]["value"] is None
    assert save(table, tmp_path / "a.md").read_text("utf-8").startswith("| claim |")
    with pytest.raises(FindingError, match="no form of table"):
        save(table, tmp_path / "a.docx")


def test_frames_with_and_without_segments_are_analysed_together() -> None:
    whole = clip()
    assert whole.segments is not None
    some = dataclasses.replace(whole, segments=Segments({1: whole.segments.labels[1]}, whole.segments.table))
    run = package.fit("nerv", some, epochs=1, fc_dim=6, levels=4, strides=(4, 2))
    quick = Settings(clusters=4, restarts=1, shifts=2, shuffles=1, sample=8)
    tree = analyse(run, frames=(0, 1), layers=["head"], findings=["grouping", "grouping_baseline"], settings=quick)
    found = tree["grouping/exact/head"].to_dataset()
    scores = found["score"].sel(grouping="instances").values
    assert np.isnan(scores[0]).all()
    assert np.isfinite(scores[1]).all()
    assert np.isfinite(found["score"].sel(grouping="rgb").values).all()
    assert found["regions"].sel(grouping="instances").values.tolist()[0] == 0
    assert set(found["region_grouping"].values) == {"rgb", "gabor", "grid", "instances", "grid_matched"}
    alone = analyse(run, frames=(1,), layers=["head"], findings=["grouping"], settings=quick)
    np.testing.assert_array_equal(scores[1], alone["grouping/exact/head"]["score"].sel(grouping="instances").values[0])


def test_the_documents_show_the_committed_study() -> None:
    root = Path(__file__).resolve().parents[1]
    study = json.loads((root / "benchmarks" / "results" / "replication.json").read_text("utf-8"))
    pages = [(root / name).read_text("utf-8") for name in ("docs/replication.md", "benchmarks/results/replication.md")]
    for kept in ("rows", "control"):
        assert all(list(row) == KEYS for row in study[kept])
        table = pd.DataFrame(study[kept])
        assert all(markdown(table) in page for page in pages)
        assert all(sentences(cases(table))[0] in page for page in pages)
    assert all(f"| {run['run']} |" in page for run in study["runs"] for page in pages)
