"""Sweeps: study files, cells that resume, failures that stop nothing, locks, tables, and claims over all cells."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from click_free import one_line, xinc
from swept import TINY, copied, make_swept, numbers, pictures, study_in, threads
from xinc.errors import StudyError
from xinc.findings.replication.claims import OWN
from xinc.findings.replication.evidence import Measured
from xinc.run import load as xinc_load
from xinc.sweep import sweep as module
from xinc.sweep.cells import cells_of
from xinc.sweep.paths import content
from xinc.sweep.place.lock import Lock
from xinc.sweep.place.opening import open_place
from xinc.sweep.place.place import CELL, WORK, Place
from xinc.sweep.replication import Seeds, combine, replicate_sweep
from xinc.sweep.study import read_study
from xinc.sweep.sweep import plan, status, sweep
from xinc.sweep.table import TABLE


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cluster", threads)


# Study files


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[study]\nmodles = ["ffn"]\n[[signal]]\npath = "bunny"', 2, "did you mean models"),
        ('[[signal]]\npath = "bunny"\nseeds = [-1]', 3, "whole numbers from 0 to"),
        ('[[signal]]\npath = "bunny"\nepochs = nan', 3, "whole number from 1 to"),
        ('[[signal]]\npath = "bunny"\nsize = [0, 4]', 3, "height and width"),
        ('[[signal]]\npath = "bunny"\nmodels = ["nrev"]', 3, "did you mean nerv"),
        ('[study]\nmethods = ["exakt"]\n[[signal]]\npath = "bunny"', 2, "did you mean exact"),
        ('[[signal]]\nname = "x"', 1, "no path"),
        ('[[signal]]\npath = "*.nothing"', 1, "nothing matches"),
        ('[[signal]]\npath = "bunny"\n\n[[signal]]\npath = "bunny"', 4, "stands in line 1 already"),
        ('[[model]]\nname = "a"\nfamily = "gan"\n[[signal]]\npath = "bunny"', 3, "no family 'gan'"),
        ('[[model]]\nname = "../a"\nfamily = "ffn"\n[[signal]]\npath = "bunny"', 1, "can be a folder's"),
        ("[studdy]\n", 1, "did you mean study"),
        ('[study.settings]\nshifts = 2\nrestarts = 0\n[[signal]]\npath = "bunny"', 3, "restarts cannot be 0"),
        ('[study]\nsettings = {restart = 1}\n[[signal]]\npath = "bunny"', 2, "did you mean restarts"),
        ('[study]\nfindings = ["togehter"]\n[[signal]]\npath = "bunny"', 2, "did you mean together"),
        ('[[model]]\nname = "a"\nfamily = "ffn"\nwidht = 3\n[[signal]]\npath = "bunny"', 4, "did you mean width"),
        ('signal = "bunny"', 1, "is no table"),
        ("[study]\nseeds = [0]", 1, "no signal"),
        ('[study]\ndraws = 1000000000000\n[[signal]]\npath = "bunny"', 2, "from 1 to 100,000"),
        ('[[signal]]\npath = "bunny"\nseeds = ["0"]', 3, "of the fits; give whole numbers"),
        ('[[signal]]\npath = "bunny"\nencoding = "coko"', 3, "give one of auto"),
        (f'[[signal]]\npath = "bunny"\nseeds = {[*range(60_000)]}\nmodels = ["ffn", "siren"]', 1, "at most 100,000"),
    ],
)
def test_a_wrong_study_is_said_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(StudyError, match=f"line {line}: .*{words}"):
        read_study(study_in(tmp_path, text))


def test_what_is_no_study_is_one_line(tmp_path: Path) -> None:
    for content_, words in ((b"[study", "no TOML"), (b"\xff\xfe", "cannot be read")):
        path = tmp_path / "s.toml"
        path.write_bytes(content_)
        assert words in one_line(xinc("sweep", str(path), "--out", str(tmp_path / "o")))
    assert "cannot be read" in one_line(xinc("sweep", str(tmp_path / "none.toml"), "--out", "o"))
    assert "--out" in one_line(xinc("sweep", str(study_in(pictures(tmp_path)))))


def test_options_of_all_and_of_one_and_patterns(tmp_path: Path) -> None:
    pictures(tmp_path)
    text = TINY + '[[signal]]\npath = "bunny"\ncount = 3\nseeds = [7]\nmodels = ["nerv", "ffn"]\nsize = "32x64"\n'
    study = read_study(study_in(tmp_path, text))
    cells = cells_of(study)
    assert [cell.name for cell in cells] == [
        *(f"p{i}/wide-{s}" for i in (0, 1) for s in (0, 1)),
        "bunny/nerv-7",
        "bunny/ffn-7",
    ]
    assert cells[0].signal.path == str((tmp_path / "pictures" / "p0.png").resolve())
    assert (cells[-1].source.count, cells[-1].source.size, cells[0].source.size) == (3, (32, 64), None)
    assert cells[0].fitting().options == {"width": 12}


def test_a_cells_key_reads_content_and_settings_and_no_more(tmp_path: Path) -> None:
    pictures(tmp_path)
    keys = lambda text=TINY: [cell.key for cell in cells_of(read_study(study_in(tmp_path, text)))]  # noqa: E731
    before = keys()
    assert len(set(before)) == 4
    assert keys(TINY.replace("seeds = [0, 1]", "seeds = [1, 0]")) == [before[1], before[0], before[3], before[2]]
    assert keys(TINY + 'category = "x"\n') == before
    assert keys(TINY.replace("[study.settings]", "[study.findings]")) == before  # as it was spelled once
    assert not set(keys(TINY.replace("clusters = 3", "clusters = 4"))) & set(before)
    Image.new("RGB", (24, 16)).save(tmp_path / "pictures" / "p0.png")
    assert [a == b for a, b in zip(keys(), before, strict=True)] == [False, False, True, True]
    assert content(str(tmp_path / "pictures")) != content(str(tmp_path))


# Sweeps


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished sweep: its study file and its folder."""
    return make_swept(tmp_path_factory.mktemp("swept"))


def test_cells_are_runs_and_the_table_has_a_row_a_statistic(swept: tuple[Path, Path]) -> None:
    from xinc.run import load

    _, out = swept
    table = numbers(out)
    assert set(table["signal"]) == {"p0", "p1"}
    assert set(table["seed"]) == {0, 1}
    run = load(out / "p0" / "wide-1")
    row = table[(table.signal == "p0") & (table.seed == 1) & (table.statistic == "PSNR (dB)")]
    assert row["value"].item() == pytest.approx(float(run.psnr().mean()), abs=1e-4)
    claims = table[table["claim"] != ""]
    assert (claims["method"] == "exact").all()
    assert (claims["low"] <= claims["high"] + 1e-9)[claims["low"].notna()].all()
    assert all(row["state"] == "done" for row in status(str(out)))
    assert not (out / WORK / "lock.json").exists()


@pytest.mark.usefixtures("here")
def test_the_same_sweep_again_makes_nothing(
    swept: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = copied(swept, tmp_path)
    monkeypatch.setattr(module, "make", lambda *_: pytest.fail("a finished cell was made again"))
    assert sweep(read_study(path), str(out)).done == 4
    assert plan(read_study(path), str(out)).missing == ()


@pytest.mark.usefixtures("here")
def test_a_changed_setting_of_the_findings_fits_nothing_again(
    swept: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xinc.models.fitting import fit

    path, out = copied(swept, tmp_path)
    before = {p: p.read_bytes() for p in out.glob("*/*/model.safetensors")}
    monkeypatch.setattr(fit, "run_task", lambda *_, **__: pytest.fail("a network was fitted again"))
    path.write_text(TINY.replace("shifts = 2", "shifts = 3"))
    assert sweep(read_study(path), str(out)).failed == {}
    assert {p: p.read_bytes() for p in out.glob("*/*/model.safetensors")} == before
    assert len(numbers(out)) == len(numbers(swept[1]))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("damage", ["table", "statistics", "cell", "weights", "between renames"])
def test_what_was_damaged_is_made_again_with_the_same_numbers(
    swept: tuple[Path, Path], tmp_path: Path, damage: str
) -> None:
    path, out = copied(swept, tmp_path)
    cell = out / "p1" / "wide-0"
    if damage == "between renames":
        (out / WORK / "p1").mkdir(parents=True, exist_ok=True)
        os.replace(cell, out / WORK / "p1" / "wide-0.old")
    else:
        name = {"table": out / TABLE, "statistics": cell / "statistics.parquet", "cell": cell / CELL}
        file = name.get(damage, cell / "model.safetensors")
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        if damage == "weights":
            (cell / CELL).unlink()
    if damage == "statistics":
        with pytest.warns(UserWarning, match="damaged"):
            end = sweep(read_study(path), str(out))
    else:
        end = sweep(read_study(path), str(out))
    assert (end.done, end.failed) == (4, {})
    pd.testing.assert_frame_equal(numbers(out), numbers(swept[1]))


@pytest.mark.usefixtures("here")
def test_one_failure_stops_nothing_and_is_kept_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out, tries = study_in(pictures(tmp_path), TINY + "seeds = [0]\n"), tmp_path / "out", []
    real = module.make

    def make(cell: Any, place: Place, device: str | None) -> dict[str, Any]:
        if cell.name == "p0/wide-0":
            tries.append(cell.name)
            raise RuntimeError("out of luck")
        return real(cell, place, device)

    monkeypatch.setattr(module, "make", make)
    end = sweep(read_study(path), str(out))
    assert end.failed == {"p0/wide-0": "RuntimeError: out of luck"}
    assert (end.done, len(tries)) == (1, 3)
    rows = {row["cell"]: row for row in status(str(out))}
    assert (rows["p0/wide-0"]["state"], rows["p1/wide-0"]["state"]) == ("failed", "done")
    monkeypatch.setattr(module, "make", real)
    assert sweep(read_study(path), str(out)).failed == {}
    assert all(row["state"] == "done" for row in status(str(out)))


def test_a_dry_run_prints_cells_and_what_they_take(swept: tuple[Path, Path], tmp_path: Path) -> None:
    path, _ = swept
    done = xinc("sweep", str(path), "--out", str(tmp_path / "new"), "--dry-run", "--json", str(tmp_path / "plan.json"))
    assert done.code == 0
    rows = json.loads((tmp_path / "plan.json").read_text())
    assert [row["state"] for row in rows] == ["missing"] * 4
    assert "core-hours" in done.err
    assert not (tmp_path / "new").exists()


def test_a_layer_that_no_network_has_is_said(tmp_path: Path) -> None:
    path = study_in(pictures(tmp_path), TINY.replace("layer3", "layr3"))
    line = one_line(xinc("sweep", str(path), "--out", str(tmp_path / "out"), "--dry-run"))
    assert "line 21: no layer is called 'layr3'; did you mean layer3?" in line


def test_status_of_no_sweep_is_one_line(tmp_path: Path) -> None:
    assert "no sweep's folder" in one_line(xinc("sweep", "status", str(tmp_path)))
    assert "name the sweep's folder" in one_line(xinc("sweep", "status"))


def test_two_sweeps_never_write_to_one_folder(tmp_path: Path) -> None:
    place = open_place(str(tmp_path))
    with Lock(place, beat=0.05), pytest.raises(StudyError, match="another sweep writes"), Lock(place, beat=0.2):
        pass
    place.write(f"{WORK}/lock.json", json.dumps({"holder": "x", "beat": 3, "host": "elsewhere", "process": 1}).encode())
    with Lock(place, beat=0.05):  # nobody beats: its holder is gone
        assert place.document(f"{WORK}/lock.json")["process"] == os.getpid()
    assert not place.has(f"{WORK}/lock.json")


# Claims over a sweep


def test_intervals_grow_from_neurons_to_seeds_to_signals() -> None:
    rng = np.random.default_rng(0)

    def measured(value: float) -> Measured:
        return Measured(value, value + 0.01 * rng.standard_normal(100), 10)

    alike = [Seeds(str(i), (measured(1), measured(1))) for i in range(6)]
    seeds = [Seeds(str(i), (measured(0.5), measured(1.5))) for i in range(6)]
    signals = [Seeds(str(i), (measured(i / 2.5), measured(i / 2.5))) for i in range(6)]
    widths = []
    for case in (alike, seeds, signals):
        known = combine(case, 500, 0)
        assert known.value == pytest.approx(1, abs=0.02)
        assert known.low < 1 < known.high
        widths.append(known.high - known.low)
    assert widths[0] < 0.02 < 5 * widths[0] < widths[1] < widths[2]
    # The standard error of a mean over 6 signals, each uniform over 0 ... 2 in steps of 0.4.
    assert widths[2] == pytest.approx(2 * 1.96 * np.std([i / 2.5 for i in range(6)]) / np.sqrt(6), rel=0.2)


def test_claims_are_measured_on_all_cells_of_a_sweep(swept: tuple[Path, Path]) -> None:
    table = replicate_sweep(str(swept[1]), draws=50)
    row = table[(table.statistic.str.startswith("correlation of heatmap")) & (table.layer == "layer3")].iloc[0]
    own = numbers(swept[1])
    own = own[own.statistic.str.startswith("correlation of heatmap")]
    assert row["value"] == pytest.approx(own.groupby("signal")["value"].mean().mean(), abs=1e-6)
    assert row["signals"] == 2
    assert set(table["verdict"]) <= {"holds", "fails", "undecided", "no data"}
    apart = replicate_sweep(str(swept[1]), by="signal", draws=20)
    assert set(apart["group"]) == {"p0", "p1"}
    with pytest.raises(StudyError, match="grouped by"):
        replicate_sweep(str(swept[1]), by="weather")


@pytest.mark.usefixtures("here")
def test_our_own_claims_are_measured_where_a_study_names_their_finding(
    swept: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the networks that are there; of one frame each, so that only signals and seeds differ."""
    path, out = copied(swept, tmp_path)
    path.write_text(TINY.replace('methods = ["exact"]', 'methods = ["exact"]\nfindings = ["together"]'))
    monkeypatch.setattr("xinc.run.run_task", lambda *_, **__: pytest.fail("a network was fitted again"))
    assert sweep(read_study(path), str(out)).failed == {}
    table = replicate_sweep(str(out), draws=50)
    paper = replicate_sweep(str(swept[1]), draws=50)
    ours = table[table["claim"].isin([claim.text for claim in OWN])]
    assert len(ours) == len(OWN)
    pd.testing.assert_frame_equal(table.drop(ours.index).reset_index(drop=True), paper)
    trees = [
        xinc_load(out / f"p{i}" / f"wide-{s}").analyse(findings=["together"], layers=["layer3"])
        for i in (0, 1)
        for s in (0, 1)
    ]
    cancelled = [float(tree["together/exact/layer3"]["cancelled"].mean()) for tree in trees]
    row = ours[ours["claim"] == "most of a heatmap cancels"].iloc[0]
    assert row["value"] == pytest.approx(np.mean(cancelled), abs=1e-6)
    assert min(cancelled) - 1e-9 <= row["low"] < row["value"] < row["high"] <= max(cancelled) + 1e-9
    said = xinc("replicate", str(out), "--method", "exact", "--json", str(tmp_path / "claims.json"))
    assert said.code == 0
    rows = json.loads((tmp_path / "claims.json").read_text())
    assert {claim.text for claim in OWN} <= {row["claim"] for row in rows}


def test_one_run_with_one_number_has_no_interval() -> None:
    alone = Measured(2.0, np.empty(0), 5)
    assert np.isnan(combine([Seeds("a", (alone,))], 50, 0).low)
    known = combine([Seeds("a", (alone,)), Seeds("b", (Measured(4.0, np.empty(0), 5),))], 500, 0)
    assert (known.low, known.value, known.high) == (2.0, 3.0, 4.0)
