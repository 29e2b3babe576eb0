"""A process that runs commands in forks of itself, each under limits of time and memory, and says how each ended.

Everything heavy is imported once, before the forks. A fork may map so many bytes more than its parent has mapped, so
that whoever asks for more gets a ``MemoryError`` and no machine suffers.

    python -m hostile.child < calls.jsonl        # {"words": [...], "seconds": 5, "megabytes": 1024} a line
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

PRELOADED = (
    *("xinc.cli", "xinc.workflow.job", "xinc.workflow.evidence", "xinc.workflow.exploring", "xinc.workflow.importing"),
    *("xinc.workflow.inspecting", "xinc.workflow.removing", "xinc.workflow.tracing", "xinc.findings.analyse"),
    *("xinc.findings.fidelity.compare", "xinc.findings.replication.replicate", "xinc.findings.pruning.prune"),
    *("xinc.findings.pruning.network", "xinc.show.report", "xinc.show.panels.pruning", "xinc.sweep.sweep"),
    *("xinc.findings.optical_flow.flows", "xinc.explore.html", "xinc.explore.server", "xinc.imported"),
    *("av", "cv2", "sklearn.cluster", "skimage.draw", "skimage.filters", "zarr", "xarray", "pandas", "torch"),
    *("torch.func", "torch.utils.flop_counter", "typer.testing", "rich.progress", "rich.table"),
)
CODE = "__python__"
"""In place of a command: Python, to see that the watch sees."""
PATIENCE = 40
"""Seconds by the clock for one of a processor: other programs run beside the tests."""


def mapped(field: str = "VmSize") -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field + ":")).split()[1]) * 1024


def run(words: list[str]) -> dict[str, Any]:
    """In the fork: the command, and what it left behind."""
    from click_free import xinc

    if words[0] == CODE:
        exec(words[1])
    before = mapped("VmRSS")
    ran = xinc(*words)
    error = ran.error
    trace = None
    if error is not None and not isinstance(error, SystemExit):
        trace = "".join(traceback.format_exception(error))[-1500:]
    said = {"out": ran.out[-2000:], "err": ran.err[-2000:], "traceback": trace}
    return {"code": ran.code, **said, "megabytes": max(0, mapped("VmHWM") - before) >> 20}


def watched(call: dict[str, Any]) -> dict[str, Any]:
    """Fork, run, wait: how it ended, in how many seconds of a processor and more megabytes."""
    read, write = os.pipe()
    begun = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.close(read)
        try:
            os.setsid()
            if call.get("folder"):
                os.chdir(call["folder"])
            resource.setrlimit(resource.RLIMIT_AS, (mapped() + (call["megabytes"] << 20),) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (call["seconds"], call["seconds"] + 1))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)
                os.dup2(nowhere.fileno(), 1)
            found = run(call["words"])
        except BaseException as fault:
            found = {"code": None, "out": "", "err": "", "traceback": f"{type(fault).__name__}: {fault}"[:500]}
            found["megabytes"] = 0
        os.write(write, json.dumps(found).encode("utf-8", "replace"))
        os._exit(0)
    os.close(write)
    content, late = b"", False
    while True:
        left = begun + PATIENCE * call["seconds"] - time.perf_counter()
        ready, _, _ = select.select([read], [], [], max(0.0, left))
        if not ready:
            late = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            break
        part = os.read(read, 1 << 16)
        if not part:
            break
        content += part
    os.close(read)
    _, status, usage = os.wait4(pid, 0)
    found = json.loads(content) if content else {"code": None, "out": "", "err": "", "traceback": None, "megabytes": 0}
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    late = late or killed in (signal.SIGXCPU, signal.SIGKILL)
    return {**found, "late": late, "killed": killed, "seconds": round(usage.ru_utime + usage.ru_stime, 2)}


def warm_up() -> None:
    """Once what every fork would do: compiled loops are loaded, libraries have set themselves up."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for words in (["fit", "astronaut", "--model", "ffn", "--size", "8x8", "--epochs", "1", "--set", "width=4"],):
            run([*words, "--out", folder])
        for words in (["trace", folder], ["verify", folder, "--neurons", "1", "--method", "exact"], ["fit", "none"]):
            run(words)


def main() -> None:
    import importlib

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in PRELOADED:
        importlib.import_module(name)
    warm_up()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        answers.write(json.dumps(watched(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
