"""Runs commands of the package in forks of one warm process, and strikes where it is told: at the n-th rename, say.

A line of JSON on standard input is a request, a line on standard output the answer::

    {"argv": ["trace", "run"], "root": "/folder", "strike": {"event": "os.rename", "at": 3, "with": "SIGKILL"}}
    {"code": -9, "events": ["os.rename run/x.partial", ...], "said": "..."}

Only what happens to files below ``root`` counts. ``with`` names a signal, which the process gets before the event takes
place, or an error of the system (``ENOSPC``), which this event and all later ones of the kind meet. The clock of the
commands stands still, so that times are no difference between two runs.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NAMES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")


def main() -> None:
    """Answer requests until standard input ends."""
    _warm()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_rehearse(request) if request.get("rehearse") else _answer(request)), flush=True)


def _warm() -> None:
    """Import what commands need, and run nothing: a fork must find no thread but its own."""
    import scipy.stats
    import skimage.segmentation
    import sklearn.cluster
    import xarray
    import zarr

    import xinc.cli
    import xinc.explore.html
    import xinc.findings.analyse
    import xinc.findings.fidelity.compare
    import xinc.findings.pruning.prune
    import xinc.run
    import xinc.show.report
    import xinc.workflow.evidence
    import xinc.workflow.job
    import xinc.workflow.removing
    import xinc.workflow.tracing

    del scipy, sklearn, skimage, xarray, zarr
    time.perf_counter = lambda: 0.0
    sys.modules["umap"] = types.SimpleNamespace(UMAP=_Layout)  # the real one compiles for longer than all else takes
    xinc.run.fit.__kwdefaults__["checkpoint_every"] = 0.0


class _Layout:
    """In place of UMAP: two columns of what is laid out."""

    def __init__(self, **_: Any) -> None:
        pass

    def fit_transform(self, values: Any) -> Any:
        return values[:, :2]


def _rehearse(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command in this process: what it imports and compiles, later forks have. One thread works, none is left."""
    os.chdir(request["root"])
    with tempfile.TemporaryDirectory() as scratch, Path(scratch, "said").open("w+") as said:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            log = Path(scratch, "events")
            listening = _listen(os.path.realpath(request["root"]), {}, os.open(log, os.O_WRONLY | os.O_CREAT))
            code = _command(request["argv"])
            listening.clear()
        said.seek(0)
        return {"code": code, "said": said.read(), "events": log.read_text(errors="replace").splitlines()}


def _command(argv: list[str]) -> int:
    """Run a command; its exit code."""
    from xinc.cli import app

    try:
        app(argv, prog_name="xinc")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        said, events = Path(scratch, "said"), Path(scratch, "events")
        child = os.fork()
        if not child:
            _run(request, said, events)
        _, status, usage = os.wait4(child, 0)
        return {
            "seconds": usage.ru_utime + usage.ru_stime,
            "code": os.waitstatus_to_exitcode(status),
            "said": said.read_text(errors="replace") if said.exists() else "",
            "events": events.read_text(errors="replace").splitlines() if events.exists() else [],
        }


def _run(request: dict[str, Any], said: Path, events: Path) -> None:
    """The command, in the fork; never returns."""
    for number in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(request.get("cwd", request["root"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _listen(os.path.realpath(request["root"]), request.get("strike") or {}, os.open(events, os.O_WRONLY | os.O_CREAT))
    code = 1
    try:
        code = _command(request["argv"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _listen(root: str, strike: dict[str, Any], log: int) -> list[bool]:
    """Watch what happens to files below a folder, until the list that is returned is cleared."""
    listening = [True]
    met = 0
    busy = False

    def hear(event: str, args: tuple[Any, ...]) -> None:
        nonlocal met, busy
        if busy or not listening or event not in ("open", *NAMES) or not args or isinstance(args[0], int):
            return
        if event == "open" and not int(args[2] or 0) & WRITES:
            return
        busy = True
        try:
            path = os.path.abspath(os.fsdecode(args[1] if event == "os.rename" else args[0]))
            if not path.startswith(root):
                return
            os.write(log, f"{event} {os.path.relpath(path, root)}\n".encode(errors="replace"))
            if strike.get("event") not in (event, "any"):
                return
            met += 1
            kind = str(strike["with"])
            if kind.startswith("SIG"):
                if met == strike["at"]:
                    os.kill(os.getpid(), getattr(signal, kind))
                    if kind == "SIGKILL":
                        time.sleep(10)
            elif met >= strike["at"]:
                number = getattr(errno, kind)
                raise OSError(number, os.strerror(number), path)
        finally:
            busy = False

    sys.addaudithook(hear)
    return listening


if __name__ == "__main__":
    main()
