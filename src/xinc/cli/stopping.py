"""Ctrl-C and SIGTERM end a command in a moment, also while a compiled loop works that hears no signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 3.0
"""Seconds after which a command that did not hear a signal is ended: whatever it writes is whole or absent anyway."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = "Stopped. What was saved stays; the same command goes on from there."


class Stop(KeyboardInterrupt):
    """A signal to end was heard.

    Attributes:
        code: of the command's exit: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stop` at a signal to end; leave the process where Python does not get to raise it, or at a second.

    Python hears signals between two of its own steps, and a compiled loop is one step, however long. The system tells
    a thread of ours at once, by a pipe. Signals that the process was told to ignore stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        again = heard.is_set()
        heard.set()
        if not again:
            raise Stop(number)

    read, write = os.pipe()
    os.set_blocking(write, False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number, known in before.items():
        if known is not signal.SIG_IGN:
            signal.signal(number, stop)
    threading.Thread(target=_watch, args=(read, heard), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken)
        for number, known in before.items():
            signal.signal(number, known)
        os.close(write)


def _watch(read: int, heard: threading.Event) -> None:
    """End the process if a signal is not heard in time, or comes twice."""
    met = 0
    while byte := os.read(read, 1):
        if byte[0] not in SIGNALS:
            continue
        met += 1
        if met > 1 or not heard.wait(GRACE):
            os.write(2, f"\n{STOPPED}\n".encode())
            os._exit(128 + byte[0])
    os.close(read)
