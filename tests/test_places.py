"""Where files may go and what they may be called: looked at before work begins, and shown as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xinc
from click_free import xinc as command
from tiny_runs import runs
from xinc.errors import RunError, SignalError
from xinc.files import ASIDE, LOCK, check_file, check_folder, locked, move, new_folder, replacing, tidy, write_text
from xinc.signals.pictures import is_picture, read_rgb
from xinc.signals.reading import locate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(str(runs()[1].path), tmp_path / "run"))


def bound() -> list[str]:
    """Root may write anywhere, unless that is taken from it."""
    if os.getuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and nothing here can take that from it")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


BAD = {
    "a file": (lambda t: (t / "x").write_text(""), "x", "is no folder"),
    "below a file": (lambda t: (t / "x").write_text(""), "x/y/z", "x is no folder"),
    "a pipe": (lambda t: os.mkfifo(t / "x"), "x", "is no folder"),
    "a loop of links": (lambda t: (t / "x").symlink_to(t / "x"), "x", "cannot be written: "),
    "below a loop": (lambda t: (t / "x").symlink_to(t / "x"), "x/y", "cannot be written: "),
    "a long name": (lambda t: None, "x" * 300, "cannot be written: file name too long"),
    "a null byte": (lambda t: None, "x\0y", "cannot be written: "),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_place_that_will_not_do_is_refused_in_a_line(kind: str, tmp_path: Path) -> None:
    make, name, told = BAD[kind]
    make(tmp_path)
    with pytest.raises(RunError, match=re.escape(told)):
        check_folder(tmp_path / name)
    if kind != "a file":
        with pytest.raises(RunError):
            check_file(tmp_path / name)


def test_files_are_not_written_over_folders_and_devices(tmp_path: Path) -> None:
    for path, told in ((tmp_path, "is a folder; name a file"), (Path("/dev/null"), "is a device, pipe or socket")):
        with pytest.raises(RunError, match=told):
            check_file(path)
    assert Path("/dev/null").is_char_device()
    assert check_file(tmp_path / "new/deep/file") == tmp_path / "new/deep/file"


@pytest.mark.parametrize(
    "argv",
    [
        ("fit", "{signal}", "--model", "ffn", "--out", "{file}/run"),
        ("explain", "{signal}", "--out", "{file}"),
        ("trace", "{run}", "--out", "{file}/x"),
        ("verify", "{run}", "--json", "{folder}"),
        ("verify", "{run}", "--json", "/dev/null"),
        ("report", "{run}", "--out", "{folder}"),
        ("explore", "{run}", "--export", "{file}/page.html"),
        ("prune", "{run}", "--layer", "layer2", "--out", "{file}"),
        ("import", "{run}/model.safetensors", "--as", "ffn", "--signal", "{signal}", "--out", "{file}/x"),
        ("replicate", "{run}", "--out", "{file}/table.md"),
    ],
)
def test_commands_refuse_bad_places_before_they_work(
    argv: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xinc.run.Run.canvas", None)
    monkeypatch.setattr("xinc.run.run_task", None)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "signal.png")
    known = {"signal": tmp_path / "signal.png", "file": tmp_path / "file", "folder": tmp_path / "folder", "run": folder}
    done = command(*(part.format(**known) for part in argv))
    assert done.code == 2, done
    assert done.err.strip().count("\n") == 0, done.err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_not_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png" if kind == "pipe" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(SignalError, match="is a device, pipe or socket"):
        locate(path)
    with pytest.raises(SignalError, match="is no file"):
        read_rgb(path)
    pruned = command("prune", str(runs()[1].path), "--neurons", str(path))
    assert (pruned.code, pruned.err.count("is no file")) == (2, 1)


def test_no_program_of_others_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.eps"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(subprocess, "Popen", None)
    assert not is_picture(path)
    with pytest.raises(SignalError, match="is PostScript, which takes another program to draw; save it as PNG"):
        read_rgb(path)


STRANGE = [
    "[bold red]x [b",
    "$\\frac{$ $x_1$",
    "<script>alert(1)</script>".replace("/", "∕"),
    "\"quoted\" 'name' & more",
    "\udcff\udcfe bytes",
    "x" * 200,
    "-dash\nline",
]


@pytest.mark.usefixtures("page_alone")
@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_are_shown_as_they_are(name: str, tmp_path: Path) -> None:
    """One signal and one run by every name: read, analysed, drawn, reported."""
    signal_file = tmp_path / f"{name}.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(signal_file)
    clip = xinc.open(signal_file)
    run = xinc.fit("ffn", clip, epochs=2, width=4, frequencies=2, out=tmp_path / name)
    assert (tmp_path / name / "model.safetensors").exists()
    run.analyse(frames=(0,), findings=["pixels_per_neuron"])
    done = command("report", str(tmp_path / name))
    assert done.code == 0, done.err
    assert "<script>alert(1)" not in (tmp_path / name / "report.html").read_text(encoding="utf-8")
    missing = command("trace", str(tmp_path / name / "none"))
    assert missing.code == 2
    assert "holds no run" in missing.err


# One writer


def test_a_second_process_is_told_who_writes_and_for_how_long(folder: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from xinc.files import locked\n"
         "with locked(__import__('pathlib').Path(sys.argv[1]), 'tracing'):\n print('in', flush=True); time.sleep(60)",
         folder], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    done = command("trace", str(folder))
    assert done.code == 2
    told = re.escape(f"{folder} is being written by tracing (process {child.pid} on ")
    assert re.search(told + r"\S+, for \d+ s\); wait for it, or stop it", done.err), done.err
    child.kill()
    child.wait()
    with locked(folder, "testing"):
        assert json.loads((folder / LOCK).read_text())["process"] == os.getpid()
    assert not (folder / LOCK).exists()


def test_what_a_kill_leaves_is_cleared_and_what_lives_is_left(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "figures").mkdir()
    left = [tmp_path / f".a.png.{dead.pid}.partial", tmp_path / f"figures/.b.svg.{dead.pid}.partial"]
    kept = [tmp_path / f".c.{os.getppid()}.partial", tmp_path / "mine.partial", tmp_path / ".x.partial"]
    for path in (*left, *kept):
        path.write_text("")
    (tmp_path / ASIDE / f"{dead.pid}-0").mkdir(parents=True)
    (tmp_path / ASIDE / "results.zarr%2Fa%2Fb.old").mkdir()
    (tmp_path / ASIDE / "results.zarr%2Fa%2Fb.old/x").write_text("of value")
    (tmp_path / "results.zarr/a").mkdir(parents=True)
    tidy(tmp_path)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)
    assert (tmp_path / "results.zarr/a/b/x").read_text() == "of value"
    assert not (tmp_path / ASIDE).exists()


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    with pytest.raises(TypeError), replacing(path) as part:
        part.write_text(7)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    (tmp_path / "link").symlink_to(path)
    write_text(tmp_path / "link", "new \udcff")
    assert (tmp_path / "link").is_symlink()
    assert path.read_text() == "new \ufffd"
    write_text(tmp_path / ("ü" * 127), "")
    with new_folder(tmp_path) as made:
        (made / "x").write_text("")
        move(made, path, made.parent)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a", "link", "ü" * 127])


# A machine that fails


def test_a_run_that_may_only_be_read_is_traced_verified_and_reported_elsewhere(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    script = (
        "import sys; from xinc.cli import app\n"
        "for argv in eval(sys.argv[1]):\n"
        "    try: app(argv)\n"
        "    except SystemExit as end: print('code', end.code)\n"
    )
    run, few = str(folder), ["--frames", "0", "--layers", "layer2"]
    commands = [
        ["trace", run, *few],
        ["trace", run, *few, "--out", f"{home}/t"],
        ["verify", run, *few, "--neurons", "2", "--method", "exact", "--no-curves", "--out", f"{home}/v"],
        ["report", run, "--out", f"{home}/r/report.html"],
    ]
    done = subprocess.run(
        [*bound(), sys.executable, "-c", script, repr(commands)], capture_output=True, text=True,
        env={**os.environ, "MPLCONFIGDIR": str(home)},
    )  # fmt: skip
    assert re.findall(r"code (\d)", done.stdout) == ["2", "0", "0", "0"], done.stdout + done.stderr
    assert "may only be read; give another folder with --out" in done.stderr
    assert (home / "t/results.zarr/trace/exact/layer2").is_dir()
    assert (home / "v/results.zarr/fidelity/layer2").is_dir()
    assert (home / "r/report.html").exists()


def test_a_folder_deleted_underneath_is_said_and_not_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xinc.canvas.layer import Layer

    real = Layer.reduce

    def deleting(self: Layer, **how: object) -> object:
        shutil.rmtree(folder, ignore_errors=True)
        return real(self, **how)

    monkeypatch.setattr(Layer, "reduce", deleting)
    done = command("trace", str(folder))
    assert done.code == 2
    assert "cannot be written: its folder is gone" in done.err
    assert not folder.exists()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_in_a_compiled_loop(kind: signal.Signals, tmp_path: Path) -> None:
    """A loop of C that releases the interpreter, and hears nothing for a minute."""
    script = (
        "import torch, typer; from xinc.cli.app import app\n"
        "@app.command()\n"
        "def spin():\n"
        "    import ctypes, time\n"
        "    print('in', flush=True)\n"
        "    ends = time.monotonic() + 60\n"
        "    lib = ctypes.CDLL(None)\n"
        "    class Spec(ctypes.Structure): _fields_ = [('s', ctypes.c_long), ('n', ctypes.c_long)]\n"
        "    while time.monotonic() < ends: lib.pause_forever if False else lib.clock_nanosleep(1, 0, "
        "ctypes.byref(Spec(60, 0)), None)\n"
        "app(['spin'])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "in\n"
    begun = time.monotonic()
    child.send_signal(kind)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 128 + kind
    assert time.monotonic() - begun < 15
    assert "Stopped. What was saved stays" in said
    assert "Traceback" not in said
