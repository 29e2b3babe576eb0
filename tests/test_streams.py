"""What the command line prints where not every character can be shown."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from xinc.cli import streams


@pytest.mark.parametrize(
    ("text", "plain"), [("128×256 → 3 dB", "128x256 -> 3 dB"), ("neuron’s", "neuron's"), ("Ärger Ω", "Arger ?")]
)
def test_characters_that_a_stream_has_not_are_written_plainly(
    text: str, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    streams.write_what_can_be()
    print(text, end="")
    shown.flush()
    assert shown.buffer.getvalue().decode() == plain  # type: ignore[attr-defined]


def test_names_that_are_no_characters_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", shown)
    streams.write_what_can_be()
    print("clip-\udcff.mp4", end="")
    shown.flush()
    assert shown.buffer.getvalue() == b"clip-?.mp4"  # type: ignore[attr-defined]


def test_a_command_speaks_on_a_terminal_without_utf8(tmp_path: os.PathLike[str]) -> None:
    command = [sys.executable, "-m", "xinc", "1×2"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    said = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "1x2" in said.stderr
    assert "Traceback" not in said.stderr
