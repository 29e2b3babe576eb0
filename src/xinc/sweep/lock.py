"""Two sweeps never write to one folder at a time."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Self

from xinc.errors import StudyError
from xinc.sweep.place import WORK, Place

LOCK = f"{WORK}/lock.json"
BEAT = 2.0
"""Seconds between two beats of the sweep that holds the lock."""


class Lock:
    """A file that its holder changes every few seconds; one that does not change is nobody's.

    No clocks are compared: whoever meets a lock watches whether it beats.
    """

    def __init__(self, place: Place, beat: float = BEAT) -> None:
        self._place, self._beat = place, beat
        self._own = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def _document(self, count: int) -> bytes:
        known = {"holder": self._own, "beat": count, "host": socket.gethostname(), "process": os.getpid()}
        return json.dumps({**known, "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode()

    def __enter__(self) -> Self:
        met = self._place.document(LOCK)
        if met and self._lives(met):
            who = f"process {met.get('process')} on {met.get('host')}, {met.get('since')}"
            raise StudyError(f"another sweep writes to {self._place.address} ({who}); stop it, or wait for it")
        self._place.write(LOCK, self._document(0))
        if self._place.document(LOCK).get("holder") != self._own:
            raise StudyError(f"another sweep began in {self._place.address} at the same moment; start it again")
        self._thread.start()
        return self

    def _lives(self, met: dict[str, Any]) -> bool:
        if met.get("host") == socket.gethostname() and isinstance(met.get("process"), int):
            try:
                os.kill(met["process"], 0)
            except ProcessLookupError:
                return False
            except (PermissionError, OverflowError):
                pass
        time.sleep(3 * self._beat)
        return self._place.document(LOCK).get("beat") != met.get("beat")

    def _keep(self) -> None:
        count = 0
        while not self._stop.wait(self._beat):
            count += 1
            try:
                self._place.write(LOCK, self._document(count))
            except OSError:  # a full disk: the next beat may succeed, and the sweep itself says it
                continue

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._place.remove(LOCK)
