"""Sweeps on a scheduler and workers that were started by hand, and what becomes of them when those are killed.

``XINC_SWEEP_KILLS=50`` asks for the long mode: so many kills of workers, schedulers and clients, at random moments.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

import cluster_faults as faults
from click_free import one_line, xinc
from swept import make_swept, numbers, results
from xinc.sweep.place.lock import LOCK
from xinc.sweep.place.opening import open_place
from xinc.sweep.place.place import CELL, WORK
from xinc.sweep.study import read_study
from xinc.sweep.sweep import status, sweep

KILLS = int(os.environ.get("XINC_SWEEP_KILLS", "0"))
long = pytest.mark.skipif(not KILLS, reason="XINC_SWEEP_KILLS says how many kills to make; none if it is not set")
TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src"
WAIT = 250.0
"""Seconds for what takes a few on a quiet machine."""


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


@dataclass
class Cluster:
    """A scheduler and workers, each a process of this machine that is started as on any cluster."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.faults = self.folder / "faults"
        self.faults.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        own = {
            **os.environ,
            "FAULTS": str(self.faults),
            "PYTHONPATH": os.pathsep.join(map(str, (SOURCE, TESTS))),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s",
            **self.environment,
        }
        log = (self.folder / "log").open("ab")
        return subprocess.Popen([sys.executable, "-m", *command], env=own, cwd=self.folder, stdout=log, stderr=log)

    def start_scheduler(self) -> None:
        where = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self.scheduler = self.start("dask", "scheduler", *where)
        until(self.answers, "the scheduler answers")

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def start_worker(self) -> None:
        how = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", str(TESTS / "cluster_faults.py"))
        where = ("--local-directory", str(self.folder / "local"), "--death-timeout", "600")  # that of their start too
        self.workers.append(self.start("dask", "worker", self.address, *how, *where))

    def mend(self) -> None:
        """Start what is dead again, as the system would that runs jobs."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.start_scheduler()
        for worker in [worker for worker in self.workers if worker.poll() is not None]:
            self.workers.remove(worker)
            self.start_worker()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While what dies is started again."""
        stop = threading.Event()

        def keep() -> None:
            while not stop.wait(0.2):
                self.mend()

        thread = threading.Thread(target=keep)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def client(self, study: Path, out: Path) -> subprocess.Popen[bytes]:
        return self.start("xinc.cli", "sweep", str(study), "--out", str(out), "--scheduler", self.address)

    def stop(self) -> None:
        for process in filter(None, (*self.workers, self.scheduler)):
            process.kill()
            process.wait()

    def begin(self) -> None:
        """Forget what was killed and finished before, and mend what is dead."""
        for path in self.faults.iterdir():
            path.unlink()
        self.mend()

    def killed(self) -> list[str]:
        return [path.name.split("-")[1] for path in self.faults.glob(f"{faults.KILLED}-*")]

    def made_twice(self) -> list[str]:
        """What was finished more than once."""
        noted = self.faults / "finished"
        lines = noted.read_text().splitlines() if noted.exists() else []
        return [what for what, times in Counter(lines).items() if times > 1]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sweep that nothing disturbed: its study file and its folder."""
    return make_swept(tmp_path_factory.mktemp("swept"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    running.start_scheduler()
    for _ in range(2):
        running.start_worker()
    yield running
    running.stop()


def has_begun(out: Path) -> Callable[[], bool]:
    return lambda: any(out.glob(f"{WORK}/*/*/fit.json"))


def ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(WAIT)


def assert_undisturbed(out: Path, swept: tuple[Path, Path]) -> None:
    pd.testing.assert_frame_equal(numbers(out), numbers(swept[1]))
    assert results(out) == results(swept[1])
    assert {row["state"] for row in status(str(out))} == {"done"}
    assert not open_place(str(out)).has(LOCK)


@long
def test_workers_die_in_every_step_and_nothing_is_lost_or_made_twice(
    swept: tuple[Path, Path], cluster: Cluster, tmp_path: Path
) -> None:
    """In fit, trace, write, publish and gather; the sweep ends without help, with the numbers of a quiet one."""
    cluster.begin()
    for step in faults.STEPS:
        (cluster.faults / step).touch()
    with cluster.kept():
        end = sweep(read_study(swept[0]), str(tmp_path / "out"), scheduler=cluster.address)
    assert end.failed == {}
    assert sorted(cluster.killed()) == sorted(faults.STEPS)
    assert_undisturbed(tmp_path / "out", swept)
    assert cluster.made_twice() == []


@long
@pytest.mark.parametrize("victim", ["client", "scheduler"])
def test_a_client_or_scheduler_dies_and_the_same_command_goes_on(
    swept: tuple[Path, Path], cluster: Cluster, tmp_path: Path, victim: str
) -> None:
    """While it ran, no other sweep could write there. What its workers still do is waited for, not done twice."""
    cluster.begin()
    path, out = swept[0], tmp_path / "out"
    (cluster.faults / faults.SLOW).touch()
    first = cluster.client(path, out)
    until(has_begun(out), "a cell was begun")
    if victim == "client":
        assert "another sweep writes" in one_line(xinc("sweep", str(path), "--out", str(out)))
        first.kill()
        assert ended(first) == -signal.SIGKILL
    else:
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        assert ended(first) == 2
        assert "the same command goes on" in (cluster.folder / "log").read_text()
    (cluster.faults / faults.SLOW).unlink()
    with cluster.kept():
        end = sweep(read_study(path), str(out), scheduler=cluster.address)
    assert end.failed == {}
    assert_undisturbed(out, swept)
    assert cluster.made_twice() == []


def test_no_scheduler_is_one_line(swept: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xinc.sweep.cluster.CONNECT", 0.5)
    asked = ("sweep", str(swept[0]), "--out", str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9")
    ran = xinc(*asked, columns=300)
    assert ran.code == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in ran.err.splitlines()[-1]


# The long mode

JUMPS = """
import os, time
real = time.time
def jumping():
    try:
        with open(os.environ["JUMPS"]) as file:
            return real() + float(file.read() or 0)
    except OSError:
        return real()
time.time = jumping
"""


@long
def test_clocks_that_jump_change_nothing(swept: tuple[Path, Path], tmp_path: Path) -> None:
    """A day forth, then two back, for every process of a sweep on this machine."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPS)
    own = {
        "JUMPS": str(tmp_path / "jumps"),
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "clock", SOURCE))),
    }
    out = tmp_path / "out"
    command = [sys.executable, "-m", "xinc.cli", "sweep", str(swept[0]), "--out", str(out), "--workers", "2"]
    running = subprocess.Popen(command, env={**os.environ, **own})
    until(has_begun(out), "a cell was begun")
    (tmp_path / "jumps").write_text("86400")
    until(lambda: running.poll() is not None or any(out.glob(f"*/*/{CELL}")), "a cell was done")
    (tmp_path / "jumps").write_text("-172800")
    assert ended(running) == 0
    assert_undisturbed(out, swept)


@long
def test_a_sweep_on_this_machine_that_was_killed_goes_on(swept: tuple[Path, Path], tmp_path: Path) -> None:
    """The command with all its workers, whenever another cell is done."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "xinc.cli", "sweep", str(swept[0]), "--out", str(out), "--workers", "1"]
    for done in (1, 2):
        process = subprocess.Popen(command, start_new_session=True)
        until(lambda done=done: len(list(out.glob(f"*/*/{CELL}"))) >= done, f"{done} cells are done")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, check=False).returncode == 0
    assert_undisturbed(out, swept)


@long
@pytest.mark.parametrize("victim", ["workers", "client"])
def test_a_job_ends_with_ten_seconds_of_warning(
    swept: tuple[Path, Path], cluster: Cluster, tmp_path: Path, victim: str
) -> None:
    """SIGTERM, then SIGKILL for what is still there."""
    cluster.begin()
    path, out = swept[0], tmp_path / "out"
    (cluster.faults / faults.SLOW).touch()
    first = cluster.client(path, out)
    until(has_begun(out), "a cell was begun")
    warned = list(cluster.workers) if victim == "workers" else [first]
    for process in warned:
        process.terminate()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(process.poll() is None for process in warned):
        time.sleep(0.1)
    for process in warned:
        process.kill()
    (cluster.faults / faults.SLOW).unlink()
    with cluster.kept():
        ended(first)
        assert sweep(read_study(path), str(out), scheduler=cluster.address).failed == {}
    assert_undisturbed(out, swept)
    assert cluster.made_twice() == []


@long
@pytest.mark.timeout(0)
def test_many_kills_of_workers_schedulers_and_clients(
    swept: tuple[Path, Path], cluster: Cluster, tmp_path: Path
) -> None:
    """At random moments, sweep after sweep, until there were as many as were asked for."""
    rng, kills, sweeps = random.Random(0), Counter[str](), 0
    while kills.total() < KILLS:
        sweeps, out = sweeps + 1, tmp_path / f"out{sweeps}"
        cluster.begin()
        client = cluster.client(swept[0], out)
        with cluster.kept():
            while kills.total() < KILLS and len(list(out.glob(f"*/*/{CELL}"))) != 4:
                if client.poll() is not None:
                    client = cluster.client(swept[0], out)
                    until(lambda client=client, out=out: client.poll() is not None or has_begun(out)(), "it goes on")
                time.sleep(rng.uniform(0.2, 4))
                victim = rng.choices(("worker", "scheduler", "client"), (6, 1, 2))[0]
                process = {"client": client, "scheduler": cluster.scheduler}.get(victim) or rng.choice(cluster.workers)
                if process.poll() is None:
                    process.kill()
                    kills[victim] += 1
            while ended(client) != 0:
                client = cluster.client(swept[0], out)
        assert_undisturbed(out, swept)
        assert cluster.made_twice() == []
        shutil.rmtree(out)
    print(f"{dict(kills)} killed in {sweeps} sweeps")
