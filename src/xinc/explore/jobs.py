"""Two threads that work for the page: one for quick questions, one for long ones, which stop when nobody waits.

Torch and the compiled kernels use all processors for one question, so more threads would only share them. A question
calls :meth:`Watch.__call__` between its parts: there it ends if it was given up. What a page asks ahead, before
anybody wants to see it, makes way there for what is asked in earnest, and begins again later.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


class GivenUp(Exception):  # noqa: N818 - not a fault
    """Nobody waits for this answer any more."""


@dataclass(eq=False)
class Watch:
    """What a question asks between its parts; any arguments, so that it serves as a progress callback.

    Attributes:
        given_up: set when nobody waits any more.
        make_way: whether the work should begin again later.
    """

    given_up: threading.Event = field(default_factory=threading.Event)
    make_way: Callable[[], bool] = lambda: False

    def __call__(self, *_: Any) -> None:
        """Go on, or not.

        Raises:
            GivenUp: nobody waits for the answer, or others wait for theirs.
        """
        if self.given_up.is_set() or self.make_way():
            raise GivenUp


@dataclass(eq=False)
class _Pending:
    work: Callable[[Watch], Any]
    watch: Watch
    ahead: bool
    future: Future[Any] = field(default_factory=Future)

    def run(self) -> bool:
        """Answer; whether that is done with."""
        if not self.future.running() and not self.future.set_running_or_notify_cancel():
            return True
        try:
            self.future.set_result(self.work(self.watch))
        except BaseException as fault:
            # What was raised goes round in a circle (job, future, fault, frames); its maps must not wait for the
            # collector, which counts objects and not gigabytes.
            traceback.clear_frames(fault.__traceback__)
            if isinstance(fault, GivenUp) and self.ahead and not self.watch.given_up.is_set():
                return False
            self.future.set_exception(fault)
        return True


class Lane:
    """A thread with its questions, answered newest first: an older one is the less likely to be wanted.

    What is asked ahead waits until nothing else does, and goes in the order of asking.
    """

    def __init__(self, name: str) -> None:
        self._waiting: deque[_Pending] = deque()
        self._ahead: deque[_Pending] = deque()
        self._some = threading.Condition()
        self._stopped = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def ask(self, work: Callable[[Watch], Any], *, ahead: bool = False) -> Any:
        """The answer of ``work``; when the caller is cancelled, what has not begun never does, and a watch stops."""
        watch = Watch(make_way=lambda: bool(self._waiting)) if ahead else Watch()
        job = _Pending(work, watch, ahead)
        with self._some:
            (self._ahead if ahead else self._waiting).append(job)
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
            for job in (*self._waiting, *self._ahead):
                job.watch.given_up.set()
                job.future.cancel()
            self._some.notify()

    def _work(self) -> None:
        while True:
            with self._some:
                while not (self._waiting or self._ahead or self._stopped):
                    self._some.wait()
                if self._stopped:
                    return
                job = self._waiting.pop() if self._waiting else self._ahead.popleft()
            if not job.run():
                with self._some:
                    self._ahead.appendleft(job)
