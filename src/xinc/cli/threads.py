"""How the threads of a command wait for each other, which has to be said before torch is loaded."""

from __future__ import annotations

from collections.abc import MutableMapping

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""A thread that waits sleeps. By default it spins, and beside one busy program it takes the core that others need:
exact maps of a NeRV of the paper's size took 24 s instead of 3 s on two cores; so they take 4.5 s."""


def let_threads_sleep(environment: MutableMapping[str, str]) -> None:
    """Choose how threads wait, unless the environment says so itself: then nothing is changed. Empty says nothing."""
    if not any(environment.get(name) for name in WAITING):
        environment.update(WAITING)
