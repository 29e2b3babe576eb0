"""Two threads that work for the page: one for quick questions, one for long ones, which stop when nobody waits.

Torch and the compiled kernels use all processors for one question, so more threads would only share them. A long
question calls :meth:`Watch.__call__` between its parts: there it ends if it was given up.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


class GivenUp(Exception):  # noqa: N818 - not a fault
    """Nobody waits for this answer any more."""


@dataclass(eq=False)
class Watch:
    """What a long question asks between its parts; any arguments, so that it serves as a progress callback.

    Attributes:
        given_up: set when nobody waits any more.
    """

    given_up: threading.Event = field(default_factory=threading.Event)

    def __call__(self, *_: Any) -> None:
        """Go on, or not.

        Raises:
            GivenUp: nobody waits for the answer.
        """
        if self.given_up.is_set():
            raise GivenUp


@dataclass(eq=False)
class _Pending:
    work: Callable[[Watch], Any]
    watch: Watch = field(default_factory=Watch)
    future: Future[Any] = field(default_factory=Future)

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work(self.watch))
        except BaseException as fault:
            self.future.set_exception(fault)


class Lane:
    """A thread with its questions, answered newest first: an older one is the less likely to be wanted."""

    def __init__(self, name: str) -> None:
        self._waiting: deque[_Pending] = deque()
        self._some = threading.Condition()
        self._stopped = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def ask(self, work: Callable[[Watch], Any]) -> Any:
        """The answer of ``work``; when the caller is cancelled, what has not begun never does, and a watch stops."""
        job = _Pending(work)
        with self._some:
            self._waiting.append(job)
            self._some.notify()
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.watch.given_up.set()
            job.future.cancel()
            raise

    def stop(self) -> None:
        """End the thread when its question is answered, or given up."""
        with self._some:
            self._stopped = True
            for job in self._waiting:
                job.watch.given_up.set()
                job.future.cancel()
            self._some.notify()

    def _work(self) -> None:
        while True:
            with self._some:
                while not (self._waiting or self._stopped):
                    self._some.wait()
                if self._stopped:
                    return
                job = self._waiting.pop()
            job.run()
