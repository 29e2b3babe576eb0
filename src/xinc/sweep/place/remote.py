"""Addresses that fsspec knows, such as ``s3://bucket/study``: opened, listed, and copied to this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from xinc.errors import StudyError


def is_remote(address: str) -> bool:
    """Whether an address lies elsewhere than on a disk."""
    return "://" in address and not address.startswith("file://")


@contextmanager
def said(address: str) -> Iterator[None]:
    """Whatever a store's library raises, as one line; a missing file stays what it is.

    Raises:
        StudyError: the address cannot be used.
    """
    try:
        yield
    except (StudyError, FileNotFoundError, FileExistsError):
        raise
    except Exception as fault:  # each store has a library with classes of its own, and most share no base
        text = (str(fault).splitlines() or [""])[0] or type(fault).__name__
        raise StudyError(f"{address} cannot be used: {text}") from None


def open_remote(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        StudyError: no file system of that name is installed.
    """
    import fsspec

    with said(address):
        # Others write there too: a listing that is kept would hide what they did.
        filesystem, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
        return filesystem, str(path).rstrip("/")


def scratch() -> Path:
    """The user's own folder for what is on its way, on this machine's disk.

    Raises:
        StudyError: it belongs to somebody else.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"xinc-sweep-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and (folder.is_symlink() or folder.stat().st_uid != user):
        raise StudyError(f"{folder} belongs to somebody else; set TMPDIR to a folder of your own")
    return folder


def listing(filesystem: Any, path: str) -> dict[str, Mapping[str, Any]]:
    """What is known of each file under a path, by its name in there; of a file, itself under an empty name."""
    try:
        found = filesystem.find(path, detail=True)
    except FileNotFoundError:
        return {}
    files = {str(name)[len(path) :].strip("/"): about for name, about in found.items() if about["type"] == "file"}
    return {name: about for name, about in files.items() if ".." not in PurePosixPath(name).parts}


def download(filesystem: Any, path: str, names: Sequence[str], folder: Path) -> None:
    """Copy files of a remote folder; the local one is there whole or not at all."""
    part = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}")
    part.mkdir(parents=True)
    try:
        targets = [str(part / name) for name in names]
        for target in targets:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        if names:
            filesystem.get([f"{path}/{name}" for name in names], targets)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def fetched(address: str) -> str:
    """A signal or its annotations on this machine: the address itself where it is a local one.

    A file or folder elsewhere is copied once and copied again when it has changed there. Of ``FOLDER:VIDEO`` the whole
    data set is copied.

    Raises:
        StudyError: there is nothing, it does not fit on this machine's disk, or the address cannot be used.
    """
    if not is_remote(address):
        return address.removeprefix("file://")
    whole, video = split_video(address)
    filesystem, path = open_remote(whole)
    with said(whole):
        files = listing(filesystem, path)
        if not files:
            raise StudyError(f"there is nothing at {whole}")
        state = hashlib.blake2b(whole.encode(), digest_size=12)
        for name, about in sorted(files.items()):
            version = next((about[key] for key in ("ETag", "etag", "md5Hash", "mtime", "created") if key in about), "")
            state.update(f"{name} {about['size']} {version}".encode())
        room, needed = shutil.disk_usage(scratch()).free, sum(int(about["size"]) for about in files.values())
        name = PurePosixPath(path).name
        folder = scratch() / "signals" / state.hexdigest()
        if not folder.exists():
            if needed > room:
                raise StudyError(f"{whole} has {needed:,} bytes; {scratch()} has room for {room:,}")
            parent = path.removesuffix(f"/{name}")
            download(filesystem, parent, [f"{name}/{file}".rstrip("/") for file in files], folder)
    return f"{folder / name}:{video}" if video else str(folder / name)


def split_video(address: str) -> tuple[str, str]:
    """``FOLDER:VIDEO`` as two; the second is empty where no video is named."""
    start = address.find("://") + 3 if "://" in address else 0
    folder, colon, video = address[start:].rpartition(":")
    return (address[:start] + folder, video) if colon and folder else (address, "")
