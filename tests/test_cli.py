"""The command line: what it passes on, and that bad input gets one clear line and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from PIL import Image

import xinc as package
from click_free import one_line, xinc
from tiny_runs import folder, runs
from xinc.errors import SignalError, XincWarning
from xinc.findings.analyses import Settings
from xinc.models.families import FAMILIES
from xinc.workflow import job as workflow
from xinc.workflow.job import Source, natural_size, step_of

COMMANDS = ("demo", "explain", "fit", "trace", "analyse", "report")


@pytest.fixture(scope="module")
def nerv() -> Path:
    runs()
    return folder() / "nerv"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(path)
    return path


def test_help_lists_every_command() -> None:
    said = xinc("--help").out
    assert all(command in said for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    ran = xinc(command, "--help")
    assert ran.code == 0
    assert "Usage: xinc " + command in " ".join(ran.out.split())


def test_version() -> None:
    assert xinc("--version").out.strip() == package.__version__


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, xinc.cli; print(*{'torch', 'numpy', 'matplotlib', 'xarray', 'pandas', 'rich'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain", "/no/such/file.mp4"), "no file or folder /no/such/file.mp4"),
        (("explain", "{empty}"), "holds no image"),
        (("explain", "{broken}"), "broken.png"),
        (("explain", "{text}"), "notes.txt"),
        (("explain", "{picture}", "--size", "12"), "--size 12 is not a size"),
        (("explain", "{picture}", "--size", "0x12"), "--size 0x12 is not a size"),
        (("explain", "{picture}", "--model", "transformer"), "'transformer'"),
        (("explain", "{picture}", "--model", "nerv"), "gives one frame"),
        (("explain", "{picture}", "--set", "width"), "--set width is not an option"),
        (("explain", "{picture}", "--set", "colour=3"), "no option 'colour'"),
        (("explain", "{picture}", "--epochs", "0"), "epochs cannot be 0; give a whole number from 1"),
        (("explain", "{picture}", "--start", "7"), "has no frame 7"),
        (("explain", "{picture}", "{picture}", "--annotations", "{picture}"), "--annotations belong to one signal"),
        (("explain", "{picture}", "--annotations", "/no/labels.png"), "/no/labels.png"),
        (("fit", "{picture}", "--model", "ffn", "--frame", "3", "--out", "{out}"), "frame 3 does not exist"),
        (("report", "{empty}"), "no run"),
        (("report", "/no/run"), "/no/run"),
        (("analyse", "{empty}"), "no run"),
        (("analyse", "{nerv}", "--findings", "beauty"), "'beauty'"),
        (("analyse", "{nerv}", "--frames", "99"), "99"),
        (("analyse", "{nerv}", "--set", "rul=random"), "an analysis has no option 'rul'; did you mean rule?"),
        (("explain", "{picture}", "--set", "rule=best"), "the option rule cannot be 'best'; give one of strongest,"),
        (("analyse", "{nerv}", "--frames", "1-3"), "'1-3' is not a frame"),
        (("trace", "{nerv}", "--layers", "block9"), "'block9'"),
        (("trace", "{nerv}", "--frames", "99"), "99"),
        (("trace", "{nerv}", "--method", "guess"), "'guess'"),
        (("report", "{nerv}", "--method", "official"), "has no results of method 'official'"),
        (("explain", "{picture}", "--method", "exact,guess"), "no method is called 'guess'"),
        (("analyse", "{nerv}", "--method", ","), "names nothing"),
    ],
)
def test_bad_input_gets_one_line(
    arguments: tuple[str, ...], words: str, picture: Path, nerv: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(picture.read_bytes()[:80])
    (tmp_path / "notes.txt").write_text("no picture")
    places = {
        "picture": picture,
        "nerv": nerv,
        "out": tmp_path / "out",
        "empty": tmp_path / "empty",
        "broken": tmp_path / "broken.png",
        "text": tmp_path / "notes.txt",
    }
    filled = [argument.format(**places) for argument in arguments]
    extra = ["--out", str(tmp_path / "out")] if arguments[0] == "explain" else []
    assert words in one_line(xinc(*filled, *extra))


def test_interrupting_ends_with_130(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "explain", stop)
    ran = xinc("explain", str(picture))
    assert ran.code == 130
    assert "goes on from there" in ran.err


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(workflow, "explain", fail)
    assert isinstance(xinc("explain", str(picture)).error, ZeroDivisionError)


def test_explain_passes_everything_on(monkeypatch: pytest.MonkeyPatch, picture: Path, tmp_path: Path) -> None:
    seen = []

    def explain(tasks: object, out: Path, **_: object) -> Path:
        seen.append((tasks, out))
        return out / "report.html"

    monkeypatch.setattr(workflow, "explain", explain)
    arguments = ["--size", "16x32", "--every", "2", "--start", "1", "--count", "5", "--epochs", "7", "--seed", "3"]
    arguments += [
        "--frames",
        "0,4:10:3",
        "--method",
        "exact",
        "--set",
        "strides=4,2",
        "--set",
        "bpp=2.5",
        "--set",
        "activation=relu",
        "--set",
        "rule=random",
        "--set",
        "areas=0.2",
    ]
    ran = xinc("explain", "bunny", str(picture), "--out", str(tmp_path), *arguments)
    assert ran.code == 0, ran
    assert str(tmp_path / "report.html") in "".join(ran.out.split("\n"))
    ((tasks, out),) = seen
    assert out == tmp_path
    assert [task.name for task in tasks] == ["bunny", "picture"]
    assert tasks[0].source == Source("bunny", (16, 32), 2, 1, 5)
    assert (tasks[0].fitting.epochs, tasks[0].fitting.seed) == (7, 3)
    assert tasks[0].fitting.options == {"strides": (4, 2), "bpp": 2.5, "activation": "relu"}
    assert (tasks[0].analysing.methods, tasks[0].analysing.frames) == (("exact",), (0, 4, 7))
    assert (tasks[0].analysing.settings.rule, tasks[0].analysing.settings.areas) == ("random", (0.2,))


def test_options_of_networks_and_settings_of_findings_share_no_name() -> None:
    names = {one.name for one in fields(Settings)}
    for family in FAMILIES.values():
        assert not names & {*family.options(), "params", "bpp"}


def test_fit_makes_a_run_and_reads_it_back(picture: Path, tmp_path: Path) -> None:
    arguments = (
        "fit",
        str(picture),
        "--model",
        "ffn",
        "--out",
        str(tmp_path / "run"),
        "--epochs",
        "2",
        "--set",
        "width=8",
    )
    first = xinc(*arguments)
    assert first.code == 0, first
    run = package.load(tmp_path / "run")
    assert run.clip.size == (20, 30)
    assert len(run.epochs) == 2
    assert f"mean PSNR {float(run.psnr().mean()):.2f} dB" in first.err
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert xinc(*arguments).code == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert "epochs 2 instead of 3" in one_line(xinc(*arguments[:-3], "3", *arguments[-2:]))


def test_trace_keeps_reductions_and_maps(nerv: Path) -> None:
    ran = xinc("trace", str(nerv), "--layers", "head,block2", "--frames", "1", "--save-maps")
    assert ran.code == 0, ran
    run = package.load(nerv)
    layer = package.trace(run.model, run.input(1))["block2"]
    data = xr.open_zarr(nerv / "results.zarr", group="trace/exact/block2", consolidated=False)
    assert data["heatmap"].sel(frame=1).values == pytest.approx(layer.heatmap().numpy())
    assert data["total"].sel(frame=1).values == pytest.approx(layer.totals().numpy())
    assert (data["pixels"].sel(frame=1).values == layer.pixels_per_neuron().numpy()).all()
    assert float(data["threshold"].sel(frame=1, area=0.5)) == pytest.approx(layer.threshold(0.5))
    assert data["share"].sel(frame=1, area=0.5).values == pytest.approx(layer.neurons_per_pixel(0.5).numpy())
    maps = xr.open_zarr(nerv / "results.zarr", group="maps/exact/block2", consolidated=False)["map"]
    assert maps.dims == ("frame", "neuron", "y", "x")
    assert maps[0].values == pytest.approx(layer.maps(range(layer.shape[0])).numpy())


def test_saved_maps_go_on_where_they_were_interrupted(nerv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xinc.canvas.layer import Layer

    arguments = ("trace", str(nerv), "--layers", "block1", "--frames", "0,1", "--save-maps")
    computed: list[int] = []
    real = Layer.maps

    def counted(self: Layer, neurons: range, **options: bool) -> object:
        computed.append(len(neurons))
        if len(computed) == 2:
            raise KeyboardInterrupt
        return real(self, neurons, **options)

    monkeypatch.setattr(Layer, "maps", counted)
    assert xinc(*arguments).code == 130
    kept = next((nerv / ".partial").glob("*.going-on"))
    assert zarr.open_group(kept, mode="r").attrs["written"] == 1
    assert not (nerv / "results.zarr/maps/exact/block1").exists(), "maps that are not all there are no results"
    assert xinc(*arguments).code == 0
    assert len(computed) == 3, "the first frame was computed again"
    assert not (nerv / ".partial").exists()
    maps = xr.open_zarr(nerv / "results.zarr", group="maps/exact/block1", consolidated=False)["map"]
    run = package.load(nerv)
    layer = package.trace(run.model, run.input(1))["block1"]
    assert maps.sel(frame=1).values == pytest.approx(real(layer, range(layer.shape[0])).numpy())


def test_analyse_and_report_run_on_a_folder(nerv: Path, tmp_path: Path) -> None:
    ran = xinc(
        "analyse", str(nerv), "--findings", "intensity", "--layers", "head", "--frames", "1", "--method", "official"
    )
    assert ran.code == 0, ran
    for rule in ("random", "strongest"):
        ran = xinc("analyse", str(nerv), "--findings", "gallery", "--method", "official", "--set", f"rule={rule}")
        assert ran.code == 0, ran
    ran = xinc("report", str(nerv), "--method", "official", "--out", str(tmp_path / "page.html"))
    assert ran.code == 0, ran
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "intensity" in page
    assert "Shown are the neurons that contribute most." in page


def test_our_warnings_are_notes_and_those_of_libraries_are_not(monkeypatch: pytest.MonkeyPatch, picture: Path) -> None:
    def warn(*_: object, **__: object) -> Path:
        warnings.warn_explicit("frames are missing", XincWarning, "anywhere.py", 1)
        warnings.warn_explicit("lazy default", UserWarning, workflow.__file__, 1)
        warnings.warn_explicit("old name", DeprecationWarning, workflow.__file__, 2)
        return Path("report.html")

    monkeypatch.setattr(workflow, "explain", warn)
    assert xinc("explain", str(picture)).err.strip() == "note: frames are missing"


@pytest.mark.parametrize(
    ("size", "step", "expected"),
    [
        ((720, 1280), 16, (128, 240)),
        ((128, 256), 16, (128, 256)),
        ((1024, 2048), 1, (128, 256)),
        ((20, 30), 1, (20, 30)),
        ((20, 30), 16, (16, 32)),
        ((1, 1), 1, (1, 1)),
        ((4000, 10), 1, (3620, 9)),
        ((3, 5), 16, (16, 16)),
    ],
)
def test_natural_size_keeps_the_aspect(size: tuple[int, int], step: int, expected: tuple[int, int]) -> None:
    assert natural_size(size, step) == expected


def test_the_demonstration_is_what_was_promised() -> None:
    nerv_task, ffn_task = workflow.demo_tasks()
    assert (nerv_task.fitting.model, nerv_task.source.size) == ("nerv", (128, 256))
    assert nerv_task.source.count is not None
    assert nerv_task.source.count >= 30
    assert (ffn_task.fitting.model, ffn_task.source.count) == ("ffn", 1)
    assert ffn_task.fitting.epochs is None, "the paper's number of steps"
    quick, _ = workflow.demo_tasks(quick=True)
    assert (quick.fitting.epochs or 0) < (nerv_task.fitting.epochs or 0)


def test_the_model_is_chosen_by_the_signal(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for i in range(2):
        Image.new("RGB", (32, 16)).save(tmp_path / "frames" / f"{i}.png")
    choose = workflow.Fitting().chosen
    assert choose(Source(str(picture))) == "ffn"
    assert choose(Source(str(tmp_path / "frames"))) == "nerv"
    assert choose(Source(str(tmp_path / "frames"), count=1)) == "ffn"
    assert workflow.Fitting("siren").chosen(Source(str(picture))) == "siren"
    with pytest.raises(SignalError, match="no file or folder"):
        choose(Source("/no/such"))


def test_sides_fit_the_strides() -> None:
    assert (step_of("ffn"), step_of("nerv"), step_of("hnerv")) == (1, 16, 64)


def test_every_command_that_takes_annotations_takes_their_encoding() -> None:
    import typer

    from xinc.cli import app

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--annotations" in options) <= ("--encoding" in options), name


@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
def test_tables_are_written_by_the_ending_of_their_file(ending: str, nerv: Path, tmp_path: Path) -> None:
    import pandas as pd

    file = tmp_path / f"rows.{ending}"
    ran = xinc("inspect", str(nerv), "--json", str(file))
    assert ran.code == 0, ran.err
    table = {"json": pd.read_json, "csv": pd.read_csv, "parquet": pd.read_parquet}[ending](file)
    assert table["layer"].tolist() == ["block1", "block2", "head"]
    assert table["neurons"].min() > 0


def test_files_are_readable_as_the_umask_says(nerv: Path, tmp_path: Path) -> None:
    run = package.load(nerv)
    before = os.umask(0o027)
    try:
        run.save(tmp_path / "run")
    finally:
        os.umask(before)
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert set(modes.values()) == {"0o640"}, modes


def test_loops_are_compiled_without_a_home_and_beside_a_read_only_package(tmp_path: Path) -> None:
    code = (
        "import os; from unittest import mock\n"
        "with mock.patch('os.access', return_value=False):\n"
        "    import xinc.canvas.kernels\n"
        "print(os.environ['NUMBA_CACHE_DIR'])"
    )
    home = {**os.environ, "TMPDIR": str(tmp_path)}
    home.pop("NUMBA_CACHE_DIR", None)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=home, check=True)
    assert ran.stdout.strip().startswith(str(tmp_path))
