"""From an address to a place."""

from __future__ import annotations

from pathlib import Path

from xinc.sweep.place.disk import Disk
from xinc.sweep.place.objects import Objects
from xinc.sweep.place.place import Place
from xinc.sweep.place.remote import is_remote


def open_place(address: str) -> Place:
    """The place of a sweep.

    Args:
        address: a folder, or an address that fsspec knows; ``file://`` is a folder too.
    """
    if is_remote(address):
        return Objects(address.rstrip("/"))
    return Disk(address, Path(address.removeprefix("file://")).expanduser().absolute())
