"""One thread that works for the page: quick questions go before long ones, and what nobody waits for any more stops.

Torch and the compiled kernels use all processors for one question, so more threads would only share them; and forward
derivatives are process-wide state. A long question calls :meth:`Watch.__call__` between its parts: there it ends if it
was given up, and lets quick ones go first.
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
        make_way: answers the quick questions that wait.
    """

    given_up: threading.Event = field(default_factory=threading.Event)
    make_way: Callable[[], None] = lambda: None

    def __call__(self, *_: Any) -> None:
        """Go on, or not.

        Raises:
            GivenUp: nobody waits for the answer.
        """
        self.make_way()
        if self.given_up.is_set():
            raise GivenUp


@dataclass(eq=False)
class _Job:
    work: Callable[[Watch], Any]
    watch: Watch
    future: Future[Any] = field(default_factory=Future)

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work(self.watch))
        except BaseException as fault:
            self.future.set_exception(fault)


class Worker:
    """The thread. Both kinds of questions are answered newest first: an older one is the less likely to be wanted."""

    def __init__(self) -> None:
        self._quick: deque[_Job] = deque()
        self._long: deque[_Job] = deque()
        self._some = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="xinc-explore", daemon=True)
        self._thread.start()

    async def ask(self, work: Callable[[Watch], Any], *, long: bool = False) -> Any:
        """The answer of ``work``; when the caller is cancelled, work that has not begun never does, and long work
        stops at its next part."""  # noqa: D205, D209
        job = _Job(work, Watch(make_way=self._answer_quick) if long else Watch())
        with self._some:
            (self._long if long else self._quick).append(job)
            self._some.notify()
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.watch.given_up.set()
            job.future.cancel()
            raise

    def stop(self) -> None:
        """End the thread when its question is answered."""
        with self._some:
            self._stopped = True
            for job in (*self._quick, *self._long):
                job.future.cancel()
            self._some.notify()

    def _work(self) -> None:
        while True:
            with self._some:
                while not (self._quick or self._long or self._stopped):
                    self._some.wait()
                if self._stopped:
                    return
                job = (self._quick or self._long).pop()
            job.run()

    def _answer_quick(self) -> None:
        while True:
            with self._some:
                if not self._quick:
                    return
                job = self._quick.pop()
            job.run()
