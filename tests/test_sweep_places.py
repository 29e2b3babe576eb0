"""Where a sweep keeps its runs: a real S3 server, disks that are full or read-only, files that were cut off, locks."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from click_free import one_line, xinc
from swept import TINY, copied, make_swept, numbers, results, study_in, threads
from xinc.errors import StudyError
from xinc.sweep import cells as making
from xinc.sweep import sweep as module
from xinc.sweep.place.damage import mend
from xinc.sweep.place.lock import LOCK, Lock
from xinc.sweep.place.objects import MARK, _in_order
from xinc.sweep.place.opening import open_place
from xinc.sweep.place.place import CELL, WORK
from xinc.sweep.place.remote import fetched, scratch
from xinc.sweep.study import read_study
from xinc.sweep.sweep import status, sweep
from xinc.sweep.table import TABLE


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished sweep: its study file and its folder."""
    return make_swept(tmp_path_factory.mktemp("swept"))


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "cluster", threads)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """A server that speaks S3 on this machine: the environment that leads to it."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'xinc[s3]'")
    moto = pytest.importorskip("moto.server", reason="moto's server is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    port = running.get_host_and_port()[1]
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    running.stop()


@pytest.fixture
def bucket(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket's address."""
    import s3fs

    for name, value in server.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem(use_listings_cache=False)
    filesystem.mkdir("studies")
    yield "s3://studies"
    filesystem.rm("studies", recursive=True)


def store(address: str) -> Any:
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False)


# Addresses


def test_signals_and_runs_at_addresses_give_what_folders_give(
    swept: tuple[Path, Path], bucket: str, tmp_path: Path
) -> None:
    """By the same study file, but for its path: the same keys, weights, numbers, and claims."""
    path, out = swept
    store(bucket).put(str(path.parent / "pictures"), "studies/pictures", recursive=True)
    there = study_in(tmp_path, TINY.replace('"pictures/*.png"', '"s3://studies/pictures/p0*"'))
    keys = [[cell.key for cell in making.cells_of(read_study(one))] for one in (there, path)]
    assert keys[0] == keys[1][:2]
    end = sweep(read_study(there), f"{bucket}/out")
    assert (end.done, end.failed) == (2, {})
    store(bucket).get("studies/out", str(tmp_path / "got"), recursive=True)
    wanted = numbers(out)
    pd.testing.assert_frame_equal(numbers(tmp_path / "got"), wanted[wanted["signal"] == "p0"])
    assert results(tmp_path / "got") == {name: one for name, one in results(out).items() if name.startswith("p0/")}
    assert not store(bucket).exists(f"studies/out/{WORK}/p0")
    assert {row["state"] for row in status(f"{bucket}/out")} == {"done"}
    pd.testing.assert_frame_equal(pd.read_parquet(f"{bucket}/out/{TABLE}"), pd.read_parquet(tmp_path / "got" / TABLE))
    claims = []
    for i, one in enumerate((f"{bucket}/out", str(tmp_path / "got"))):
        file = tmp_path / f"claims{i}.json"
        assert xinc("replicate", one, "--method", "exact", "--json", str(file)).code == 0
        claims.append(json.loads(file.read_text()))
    assert claims[0] == claims[1]
    assert "neurons of different seeds are alike" in {row["claim"] for row in claims[0]}
    assert sweep(read_study(there), f"{bucket}/out").done == 2


def test_a_cell_goes_on_at_an_address_when_its_machine_is_lost(
    swept: tuple[Path, Path], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = copied(swept, tmp_path / "own")
    place, cell = open_place(f"{bucket}/out"), making.cells_of(read_study(path))[0]

    def lost(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(making, "statistics", lost)
        with pytest.raises(KeyboardInterrupt):
            making.make(cell, place)
    assert place.document(f"{WORK}/{cell.name}/{MARK}")["steps"] == 2
    shutil.rmtree(scratch())
    monkeypatch.setattr("xinc.run.run_task", lambda *_, **__: pytest.fail("a network was fitted again"))
    monkeypatch.setattr("xinc.findings.results.Results.put", lambda *_: pytest.fail("a finding was made again"))
    assert set(making.make(cell, place)["seconds"]) == {"fit", "exact layer3", "statistics"}
    assert making.is_done(cell, place)


def test_what_was_cut_off_at_an_address_is_made_again(swept: tuple[Path, Path], bucket: str, tmp_path: Path) -> None:
    path, out = copied(swept, tmp_path / "own")
    files = store(bucket)
    files.put(str(out), "studies/out", recursive=True)
    chunk = next(name for name in files.find("studies/out/p1/wide-0/results.zarr/moments") if "/c/" in name)
    files.pipe_file(chunk, files.cat_file(chunk)[:-1])
    files.rm("studies/out/p0/wide-1/model.safetensors")
    assert sweep(read_study(path), f"{bucket}/out").failed == {}
    files.get("studies/out", str(tmp_path / "got"), recursive=True)
    assert results(tmp_path / "got") == results(out)


def test_documents_follow_what_they_describe() -> None:
    data = ["r.zarr/a/b/x/c/0", "w"]
    files = ["r.zarr/a/b/zarr.json", "config.json", "r.zarr/a/b/x/zarr.json", "r.zarr/zarr.json", *data]
    assert _in_order(files) == [
        data,
        ["r.zarr/a/b/x/zarr.json"],
        ["r.zarr/a/b/zarr.json"],
        ["r.zarr/zarr.json"],
        ["config.json"],
    ]


def test_an_address_that_cannot_be_used_is_one_line(swept: tuple[Path, Path], bucket: str, tmp_path: Path) -> None:
    path = str(swept[0])
    assert "bucket does not exist" in one_line(xinc("sweep", path, "--out", "s3://nowhere/out"))
    assert "cannot be used" in one_line(xinc("sweep", path, "--out", "gopher://x/out"))
    assert "no sweep's folder" in one_line(xinc("sweep", "status", f"{bucket}/nothing"))
    for signal, words in (("s3://studies/none.png", "nothing at"), ("s3://studies/*.gif", "nothing matches")):
        study = study_in(tmp_path, TINY.replace('"pictures/*.png"', f'"{signal}"'))
        line = one_line(xinc("sweep", str(study), "--out", str(tmp_path / "out")))
        assert words in line
        assert "line 21" in line


def test_a_changed_signal_is_fetched_again(bucket: str) -> None:
    files = store(bucket)
    files.pipe_file("studies/a/b.png", b"one")
    first = fetched("s3://studies/a")
    assert fetched("s3://studies/a") == first
    assert (Path(first) / "b.png").read_bytes() == b"one"
    files.pipe_file("studies/a/b.png", b"two")
    assert (Path(fetched("s3://studies/a")) / "b.png").read_bytes() == b"two"
    assert Path(fetched("s3://studies/a/b.png")).read_bytes() == b"two"


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_one_of_many_creates_a_file(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    address = str(tmp_path / "place") if kind == "folder" else f"{request.getfixturevalue('bucket')}/place"
    place, won = open_place(address), []
    tasks = [threading.Thread(target=lambda i=i: won.append(place.create("x/y", b"%d" % i))) for i in range(8)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert sorted(won) == [False] * 7 + [True]


# Locks


def test_who_was_stopped_for_long_notices_that_another_took_over(tmp_path: Path) -> None:
    place = open_place(str(tmp_path))
    with Lock(place, beat=0.05) as first:
        first.check()
        first._place.write(LOCK, json.dumps({"holder": "another", "beat": 1}).encode())
        first._thread.join(5)
        with pytest.raises(StudyError, match="took over"):
            first.check()
    assert place.document(LOCK)["holder"] == "another"


def test_a_worker_waits_for_another_that_makes_the_same_cell(tmp_path: Path) -> None:
    place, order = open_place(str(tmp_path)), []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with Lock(place, "cell.lock", wait=True, beat=0.05):
            inside.set()
            leave.wait(10)
            order.append("first")

    def second() -> None:
        with Lock(place, "cell.lock", wait=True, beat=0.05):
            order.append("second")

    tasks = [threading.Thread(target=one) for one in (first, second)]
    tasks[0].start()
    assert inside.wait(10)
    tasks[1].start()
    tasks[1].join(0.5)
    assert tasks[1].is_alive()
    leave.set()
    for task in tasks:
        task.join(10)
    assert order == ["first", "second"]


# Disks


def last_line(*arguments: str) -> str:
    """The one line of refusal, after those that said how far it was."""
    ran = xinc(*arguments, columns=300)
    assert ran.code == 2, ran
    *before, line = ran.err.strip().splitlines()
    assert line.startswith("xinc: ")
    assert not [text for text in before if "of 4 cells" not in text]
    return line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte; skips where this process may mount none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: that takes the rights of root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_sweep_with_one_line(swept: tuple[Path, Path], small_disk: Path) -> None:
    """And when there is room again, the same command ends with the same numbers."""
    path, out = swept[0], small_disk / "out"
    assert "cannot be written: No space left on device" in last_line("sweep", str(path), "--out", str(out))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert xinc("sweep", str(path), "--out", str(out)).code == 0
    pd.testing.assert_frame_equal(numbers(out), numbers(swept[1]))
    assert results(out) == results(swept[1])


def test_a_folder_that_cannot_be_written_is_one_line(swept: tuple[Path, Path], small_disk: Path) -> None:
    path = str(swept[0])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "cannot be written: Read-only file system" in one_line(xinc("sweep", path, "--out", str(small_disk)))


@pytest.mark.parametrize("step", ["fit", "table"])
def test_a_disk_that_is_full_at_any_step_stops_the_sweep(
    swept: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path, out = swept[0], tmp_path / "out"
    full = OSError(28, os.strerror(28))

    def refuse(*given: Any, **_: object) -> None:
        if step == "table" and TABLE not in given[0].name:
            given[0].write_bytes(given[1])
        else:
            raise full

    where = {
        "fit": "xinc.run.save_tensors",
        "table": "xinc.sweep.place.disk._synced",
    }
    with monkeypatch.context() as patch:
        patch.setattr(where[step], refuse)
        assert "No space left on device" in last_line("sweep", str(path), "--out", str(out))
    assert sweep(read_study(path), str(out)).failed == {}
    pd.testing.assert_frame_equal(numbers(out), numbers(swept[1]))


# Damage


@pytest.mark.parametrize("part", ["chunk", "lost chunk", "array", "group", "weights", "frames"])
def test_a_finished_cell_that_was_damaged_is_made_again(swept: tuple[Path, Path], tmp_path: Path, part: str) -> None:
    path, out = copied(swept, tmp_path / "own")
    cell = out / "p1" / "wide-0"
    group = cell / "results.zarr" / "grouping" / "exact" / "layer3"
    chunk = next(p for p in group.rglob("*") if p.is_file() and "/c/" in str(p))
    file = {
        "chunk": chunk,
        "lost chunk": chunk,
        "array": next(group.glob("*/zarr.json")),
        "group": group / "zarr.json",
        "weights": cell / "model.safetensors",
        "frames": next(p for p in (cell / "signal").rglob("*") if p.is_file() and p.name != "clip.json"),
    }[part]
    if part == "lost chunk":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert sweep(read_study(path), str(out)).failed == {}
    assert results(out) == results(swept[1])
    pd.testing.assert_frame_equal(numbers(out), numbers(swept[1]))


@pytest.mark.parametrize("part", ["chunk", "group", "checkpoint", "weights"])
def test_work_that_was_damaged_is_made_again(swept: tuple[Path, Path], tmp_path: Path, part: str) -> None:
    """A power cut may leave files shorter than they were written: the first attempt finds them, the next goes on."""
    path, out = copied(swept, tmp_path / "own")
    work = out / WORK / "p1" / "wide-0"
    work.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(out / "p1" / "wide-0", work)
    (work / CELL).unlink()
    group = work / "results.zarr" / "moments" / "exact" / "layer3"
    if part == "checkpoint":
        (work / "config.json").unlink()
        (work / "fit.ckpt").write_bytes(b"PK\3\4 cut")
    else:
        file = {
            "chunk": next(p for p in group.rglob("*") if p.is_file() and "/c/" in str(p)),
            "group": group / "zarr.json",
            "weights": work / "model.safetensors",
        }[part]
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert sweep(read_study(path), str(out)).failed == {}
    assert results(out) == results(swept[1])


def test_what_can_be_read_is_kept(swept: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = copied(swept, tmp_path / "own")
    cell = out / "p0" / "wide-1"
    before = {p: p.read_bytes() for p in cell.rglob("*") if p.is_file()}
    mend(cell)
    assert {p: p.read_bytes() for p in cell.rglob("*") if p.is_file()} == before
