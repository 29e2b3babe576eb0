"""Two sweeps never write to one folder at a time, nor two workers to one cell."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from xinc.errors import StudyError
from xinc.sweep.place.place import WORK, Place

LOCK = f"{WORK}/lock.json"
BEAT = 2.0
"""Seconds between two beats of whoever holds a lock."""
PATIENCE = 3
"""Beats that are waited for before a lock is nobody's."""
WORKER_PATIENCE = 15
"""The same for workers: compiling a loop keeps a process's other threads waiting for as long."""


class Lock:
    """A file that its holder changes every few seconds; one that does not change is nobody's.

    No clocks are compared: whoever meets a lock watches whether it beats. A holder that was stopped for so long that
    another took over notices at its next beat.

    Args:
        place: the sweep's folder.
        name: of the file.
        wait: whether to wait for another holder rather than to say who it is.
        beat: seconds.
        patience: beats.
    """

    def __init__(
        self, place: Place, name: str = LOCK, *, wait: bool = False, beat: float = BEAT, patience: int = PATIENCE
    ) -> None:
        self._place, self._name, self._wait, self._beat, self._patience = place, name, wait, beat, patience
        self._own = uuid.uuid4().hex
        self._stop, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def _document(self, count: int) -> bytes:
        known = {"holder": self._own, "beat": count, "host": _host(), "process": os.getpid()}
        return json.dumps({**known, "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode()

    def __enter__(self) -> Self:
        taken = False
        while not self._place.create(self._name, self._document(0)):
            met = self._place.document(self._name)
            if self._lives(met):
                if not self._wait:
                    who = f"process {met.get('process')} on {met.get('host')}, {met.get('since')}"
                    raise StudyError(f"another sweep writes to {self._place.address} ({who}); stop it, or wait for it")
            elif self._place.document(self._name) == met:
                self._place.remove(self._name)
                taken = True
        if taken:  # somebody else may have seen the same dead lock, and removed ours for it
            time.sleep(self._beat)
            if self._place.document(self._name).get("holder") != self._own:
                raise StudyError(f"another sweep began in {self._place.address} at the same moment; start it again")
        self._thread.start()
        return self

    @property
    def is_lost(self) -> bool:
        """Whether another took it over."""
        return self._lost.is_set()

    def check(self) -> None:
        """Make sure that the lock is still held.

        Raises:
            StudyError: another took it over.
        """
        if self.is_lost:
            raise StudyError(f"another sweep took over {self._place.address} while this one stood still")

    def _lives(self, met: dict[str, Any]) -> bool:
        """Whether a lock's holder is there: its process on this machine, and its beat everywhere."""
        if met.get("host") == _host() and isinstance(met.get("process"), int):
            import psutil

            with suppress(OverflowError):  # no number of a process; os.kill(n, 0) would interrupt it on Windows
                if not psutil.pid_exists(met["process"]):
                    return False
        for _ in range(self._patience):
            time.sleep(self._beat)
            now = self._place.document(self._name)
            if now != met:
                return bool(now)  # it beats, or it was given back
        return False

    def _keep(self) -> None:
        count = 0
        while not self._stop.wait(self._beat):
            count += 1
            try:
                known = self._place.document(self._name)
                if known and known.get("holder") != self._own:
                    self._lost.set()
                    return
                self._place.write(self._name, self._document(count))
            except (OSError, StudyError):  # a full disk: the next beat may succeed, and the sweep itself says it
                continue

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if not self.is_lost:
            try:
                self._place.remove(self._name)
            except (OSError, StudyError):  # it cannot be written any more; nobody beats, so the lock is nobody's
                return


def _host() -> str:
    """This machine, and which of its numberings of processes this one belongs to: containers have their own."""
    space = Path("/proc/self/ns/pid")
    try:
        return f"{socket.gethostname()} {os.readlink(space)}"
    except OSError:
        return socket.gethostname()
