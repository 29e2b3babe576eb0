"""Threads of a command sleep while they wait, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

from xinc.cli.threads import WAITING, let_threads_sleep


def test_the_environment_has_the_last_word() -> None:
    mine = {"OMP_WAIT_POLICY": "ACTIVE"}
    let_threads_sleep(mine)
    assert mine == {"OMP_WAIT_POLICY": "ACTIVE"}
    nothing: dict[str, str] = {"HOME": "/"}
    let_threads_sleep(nothing)
    assert nothing == {"HOME": "/", **WAITING}
    empty = {"OMP_WAIT_POLICY": ""}
    let_threads_sleep(empty)
    assert empty == WAITING


def test_it_is_said_before_torch_is_loaded() -> None:
    code = "import sys, os, xinc.cli; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False", "PASSIVE"]
