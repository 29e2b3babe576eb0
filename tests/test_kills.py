"""Commands that are killed, stopped or starved of disk at any step: the same command then ends as if nothing had been.

Each command runs in a fork of one warm process (``fault_server.py``), which is struck at a chosen step: a rename, or
any other change below the folder. Then the same command is given again, and the folder must be the one that an
undisturbed command leaves, byte for byte. A few strikes are tried each time; ``XINC_KILLS=all`` tries over a hundred,
half of them at renames, and says how many.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ALL = os.environ.get("XINC_KILLS") == "all"
SETTINGS = [f"--set={pair}" for pair in ("clusters=3", "restarts=1", "shifts=1", "shuffles=1", "sample=6", "count=2")]
FOUND = "--findings=pixels_per_neuron,intensity,grouping"
NERV = ["--model=nerv", "--size=16x32", "--epochs=3", "--set=fc_dim=4", "--set=levels=2", "--set=strides=2,2"]
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "fit": ("start", ["fit", "clip/frames", *NERV, "--annotations=clip/masks", "--out=run"]),
    "trace": ("fitted", ["trace", "run", "--save-maps", "--frames=0,1", "--layers=head"]),
    "analyse": ("fitted", ["analyse", "run", FOUND, "--frames=0,1", "--layers=head", *SETTINGS]),
    "verify": ("fitted", ["verify", "run", "--neurons=4", "--frames=0", "--layers=head", "--method=exact"]),
    "prune": ("fitted", ["prune", "run", "--layer=head", "--fraction=0.3", "--frames=0", "--out=small"]),
    "report": ("analysed", ["report", "run", "--out=report.html"]),
    "explain": ("start", ["explain", "clip/frames/000.png", "--size=16x32", "--epochs=3", "--method=exact",
                          "--set=width=4", "--set=frequencies=2", *SETTINGS, "--out=job"]),
    "explore": ("analysed", ["explore", "run", "--export=page.html"]),
}  # fmt: skip
"""By name: what is there when it begins, and the command."""
LONG = dict.fromkeys(COMMANDS, (16, 9)) | {"explain": (8, 4)}
"""How many kills at renames and at other steps are tried in the long mode."""
SHORT = {"fit": 1, "trace": 1, "prune": 1}
"""How many kills of each are tried each time."""


class Struck:
    """The warm process, and folders as they are before each command."""

    def __init__(self, home: Path) -> None:
        self.home = home
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fault_server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        _signal(home / "start")
        self._ready = {"start"}
        self._whole: dict[str, tuple[dict[str, bytes], list[str]]] = {}

    def run(self, root: Path, argv: Sequence[str], *, rehearse: bool = False, **strike: Any) -> dict[str, Any]:
        """A command in a folder, struck or not; in the process itself where it is to learn it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {"argv": list(argv), "root": str(root), "strike": strike or None, "rehearse": rehearse}
        print(json.dumps(request), file=self._server.stdin, flush=True)
        found: dict[str, Any] = json.loads(self._server.stdout.readline())
        return found

    def folder(self, state: str, name: str) -> Path:
        """A fresh copy of what is there before a command."""
        if state not in self._ready:
            before, command = {"fitted": ("start", "fit"), "analysed": ("fitted", "analyse")}[state]
            done = self.run(self.folder(before, state), COMMANDS[command][1], rehearse=True)
            assert done["code"] == 0, done["said"]
            self._ready.add(state)
        shutil.rmtree(self.home / name, ignore_errors=True)
        return Path(shutil.copytree(self.home / state, self.home / name))

    def whole(self, command: str) -> tuple[dict[str, bytes], list[str]]:
        """What an undisturbed command leaves, and its steps."""
        if command not in self._whole:
            state, argv = COMMANDS[command]
            root = self.folder(state, f"{command}-whole")
            done = self.run(root, argv, rehearse=True)
            assert done["code"] == 0, done["said"]
            done = self.run(self.folder(state, f"{command}-whole"), argv)
            assert done["code"] == 0, done["said"]
            self._whole[command] = contents(root), done["events"]
        return self._whole[command]

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.kill()
        self._server.wait()


def _signal(root: Path) -> None:
    """Two frames of a square that moves, with masks."""
    y, x = np.indices((16, 32))
    for folder in ("frames", "masks"):
        (root / "clip" / folder).mkdir(parents=True)
    for t in range(2):
        square = (abs(x - 10 - 6 * t) < 4) & (abs(y - 8) < 4)
        frame = np.stack([np.where(square, 230, 4 * x), 8 * y, 128 + 60 * np.sin(x / 3)], -1).astype(np.uint8)
        Image.fromarray(frame).save(root / f"clip/frames/{t:03d}.png")
        Image.fromarray(square.astype(np.uint8)).save(root / f"clip/masks/{t:03d}.png")


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder by name; links and pipes there are none."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Struck]:
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    found = Struck(tmp_path_factory.mktemp("kills"))
    yield found
    found.close()


def spread(count: int, most: int) -> list[int]:
    """Steps from 1 to ``count``, at most so many, the first and last among them."""
    return sorted({round(step) for step in np.linspace(1, count, min(count, most))}) if count else []


def ends_alike(struck: Struck, command: str, **strike: Any) -> str:
    """Strike a command, give it again, and compare; returns what the struck one said."""
    state, argv = COMMANDS[command]
    wanted, _ = struck.whole(command)
    root = struck.folder(state, "struck")
    hit = struck.run(root, argv, **strike)
    assert hit["code"] != 0, f"{strike} did not strike {command}"
    again = struck.run(root, argv)
    assert again["code"] == 0, f"{command} after {strike}: {again['said']}"
    assert not re.search(r"damaged|[Ww]arning|\.partial|not recognized", again["said"]), (
        f"{command} after {strike}: {again['said']}"
    )
    found = contents(root)
    assert sorted(found) == sorted(wanted), f"{command} after {strike}: {sorted(found.keys() ^ wanted.keys())}"
    differing = [name for name in found if found[name] != wanted[name]]
    assert not differing, f"{command} after {strike}: {differing}"
    return str(hit["said"])


@pytest.mark.parametrize("command", COMMANDS if ALL else SHORT)
def test_a_killed_command_given_again_ends_alike(
    struck: Struck, command: str, record_property: pytest.RecordProperty
) -> None:
    """Killed before a rename, and between other steps: the power may go at any of them."""
    _, events = struck.whole(command)
    renames = sum(event.startswith("os.rename ") for event in events)
    assert renames, "it writes nothing by renames"
    strikes = [("os.rename", at) for at in spread(renames, LONG[command][0] if ALL else SHORT[command])]
    strikes += [("any", at) for at in spread(len(events), LONG[command][1] if ALL else 0)]
    for event, at in strikes:
        ends_alike(struck, command, event=event, at=at, **{"with": "SIGKILL"})
    if ALL:
        print(f"{command}: {renames} renames, {len(events)} steps, {len(strikes)} kills")


@pytest.mark.parametrize("command", COMMANDS if ALL else ["trace"])
@pytest.mark.parametrize("fault", ["ENOSPC", "SIGTERM", "SIGINT"])
def test_a_full_disk_or_a_signal_is_said_in_a_line_and_costs_nothing(struck: Struck, command: str, fault: str) -> None:
    _, events = struck.whole(command)
    opened = sum(event.startswith("open ") for event in events)
    for at in spread(opened, 3) if ALL else [max(1, opened // 2)]:
        said = ends_alike(struck, command, event="open", at=at, **{"with": fault})
        assert "Traceback" not in said, said
        last = said.strip().splitlines()[-1]
        assert "No space left on device" in last or "no space left on device" in last or last.startswith("Stopped."), (
            said
        )
