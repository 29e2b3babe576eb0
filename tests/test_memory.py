"""Reductions never hold neurons x pixels, and the test that says so would see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("memory_child.py")
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")


def cases(*arguments: str) -> dict[str, tuple[int, int]]:
    """Bytes of all maps, and of the growth of a fresh process, of each case."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHILD.parents[1] / "src")}
    done = subprocess.run(
        [sys.executable, str(CHILD), *arguments], capture_output=True, text=True, check=True, env=environment
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row["case"]: (row["maps"], row["grown"]) for row in rows}


def fits(name: str, maps: int, grown: int) -> bool:
    """Whether memory grew by less than all maps; off the chain what a pixel sees of a layer takes room too."""
    return grown < (4 * maps if name.startswith("off the chain") else maps)


def test_no_method_holds_all_maps() -> None:
    found = cases()
    assert len(found) == 9
    assert {name: numbers for name, numbers in found.items() if not fits(name, *numbers)} == {}


def test_a_stream_that_holds_all_maps_is_seen() -> None:
    found = cases("hold")
    assert len(found) == 9
    assert {name: numbers for name, numbers in found.items() if fits(name, *numbers)} == {}
