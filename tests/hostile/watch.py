"""The parent's side: calls go to the process that forks, and how they ended comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import Wanted

TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Ended:
    """How a call ended.

    Attributes:
        code: exit code, None where it was killed.
        out, err: the ends of what it printed.
        traceback: of what should have been one line, None.
        late: whether it ran longer than it may.
        killed: by which signal.
        seconds: of a processor that it took.
        megabytes: by how much it grew.
    """

    code: int | None
    out: str
    err: str
    traceback: str | None
    late: bool
    killed: int | None
    seconds: float
    megabytes: int

    def fault(self, wanted: Wanted) -> str | None:
        """What is wrong with that end, None if nothing."""
        if self.late:
            return f"still ran after {self.seconds} s"
        if self.traceback or self.killed is not None or self.code not in (0, 2):
            last = (self.traceback or self.err).strip().splitlines() or [""]
            return f"ended with {self.code} (signal {self.killed}): {last[-1][:300]}"
        if self.code == 2 and not self.refusal:
            return f"refused without a line: {self.err[-300:]}"
        if wanted == "refused" and self.code == 0:
            return f"was accepted: {self.out.strip()[-200:]}"
        if wanted == "works" and self.code == 2:
            return f"was refused: {self.refusal}"
        return None

    @property
    def refusal(self) -> str:
        """The line that a refusal says."""
        lines = [line for line in self.err.splitlines() if line.startswith("xinc: ")]
        usage = [line for line in self.err.splitlines() if line.startswith("│")]
        return lines[-1] if len(lines) == 1 else " ".join(usage) if "Usage: xinc" in self.err else ""


class Watch:
    """The process that forks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(
        self, words: Sequence[str], *, seconds: int = 5, megabytes: int = 1024, folder: Path | None = None
    ) -> Ended:
        call = {
            "words": [*words],
            "seconds": seconds,
            "megabytes": megabytes,
            "folder": str(folder) if folder else None,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return Ended(**answer)


@contextmanager
def watching() -> Iterator[Watch]:
    """A process that runs calls until the end of the block."""
    quiet = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    source = os.environ.get("XINC_SOURCE", str(TESTS.parent / "src"))
    with subprocess.Popen(
        [sys.executable, "-m", "hostile.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=TESTS,
        env={**os.environ, **quiet, "PYTHONPATH": source, "CUDA_VISIBLE_DEVICES": ""},
        text=True,
    ) as process:
        yield Watch(process)
        assert process.stdin is not None
        process.stdin.close()
