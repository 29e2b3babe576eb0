"""Optical flow whose header lies, and arrays that are something else."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hostile import Case

MAGIC = struct.pack("<f", 202021.25)


def npy(header: str, content: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    told = header.encode()
    size = struct.pack(
        "<H" if version == 1 else "<I",
        (len(told) if length is None else length) & (0xFFFF if version == 1 else 0xFFFFFFFF),
    )
    return b"\x93NUMPY" + bytes([version, 0]) + size + told + content


def saying(shape: str, kind: str = "'<f4'", order: str = "False", content: bytes = bytes(64)) -> bytes:
    return npy(f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}}}\n", content)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def archived() -> bytes:
    file = io.BytesIO()
    np.savez(file, flow=np.zeros((16, 32, 2), np.float32))
    return file.getvalue()


def zeros() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("flow.npy", saying("(1,)") + bytes(64 << 20))
    return file.getvalue()


def flows() -> Iterator[tuple[str, bytes]]:
    """Ending and what, content."""
    yield "flo|of 2^31 squared", MAGIC + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bytes(64)
    yield "flo|of a million squared", MAGIC + struct.pack("<ii", 10**6, 10**6) + bytes(64)
    yield "flo|of a negative size", MAGIC + struct.pack("<ii", -4, -4) + bytes(256)
    yield "flo|of no size", MAGIC + struct.pack("<ii", 0, 0)
    yield "flo|that ends early", MAGIC + struct.pack("<ii", 32, 16) + bytes(100)
    yield "flo|with another beginning", bytes(12) + bytes(8 * 16 * 32)
    yield "flo|of three bytes", b"PIE"
    yield "flo|that is empty", b""
    yield "flo|of nan", MAGIC + struct.pack("<ii", 32, 16) + np.full((16, 32, 2), np.nan, "<f4").tobytes()
    yield "flo|of inf", MAGIC + struct.pack("<ii", 32, 16) + np.full((16, 32, 2), np.inf, "<f4").tobytes()
    yield "flo|of another aspect", MAGIC + struct.pack("<ii", 3, 40) + bytes(8 * 120)
    yield "npy|of 10^18 values", saying("(1000000000, 500000000, 2)")
    yield "npy|of 2^40 rows", saying("(1099511627776, 1, 2)")
    yield "npy|of a negative shape", saying("(-16, 32, 2)")
    yield "npy|whose shape overflows", saying("(4294967296, 4294967296, 2)")
    yield "npy|whose shape is a word", saying("'many'")
    yield "npy|whose shape has points", saying("(16.0, 32.0, 2.0)")
    yield "npy|of no axes", saying("()")
    yield "npy|of a shape of brackets", saying("(" * 5000 + ")" * 5000)
    yield "npy|of words", saying("(1, 1, 2)", "'<U4'")
    yield "npy|of times", saying("(1, 1, 2)", "'<M8[s]'")
    yield "npy|of records", saying("(1, 1, 2)", "[('x', '<f4'), ('y', '<f4')]")
    yield "npy|of nothing", saying("(1, 1, 2)", "'|V0'")
    yield "npy|of complex numbers", saved(np.zeros((16, 32, 2), np.complex64))
    yield "npy|of objects", saved(np.array([{"a": 1}] * 8, dtype=object).reshape(2, 2, 2))
    yield "npy|of truth values", saved(np.zeros((16, 32, 2), bool))
    yield "npy|of nan", saved(np.full((16, 32, 2), np.nan))
    yield "npy|of one axis", saved(np.zeros(2048, np.float32))
    yield "npy|of three components", saved(np.zeros((16, 32, 3), np.float32))
    yield "npy|of no rows", saved(np.zeros((0, 32, 2), np.float32))
    yield "npy|of numbers that overflow", saved(np.full((16, 32, 2), 1e308))
    yield "npy|with code for a header", npy("__import__('os').system('true')\n")
    yield "npy|with a header of 4 GB", npy("{}", version=2, length=2**32 - 1)
    yield "npy|of version 9", npy("{}", version=9)
    yield "npy|with an empty header", npy("")
    yield "npy|that is empty", b""
    yield "npy|that is a pickle", b"\x80\x04cos\nsystem\n."
    yield "npy|that is an archive", archived()
    yield "npy|that is an archive of zeros", zeros()


def cases() -> Iterator[Case]:
    words = ("analyse", "{base}/nerv", "--layers", "head", "--frames", "1", "--findings", "motion", "--flows", "{at}")
    for told, content in flows():
        ending, what = told.split("|")

        def make(folder: Path, name: str = f"00001.{ending}", content: bytes = content) -> None:
            (folder / name).write_bytes(content)

        yield Case(f"flow: .{ending} {what}", words, make)
