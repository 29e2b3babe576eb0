"""Torch files and safetensors that are bombs, lie, are damaged, or would run code."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from hostile import Case, put

REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STOP, MARK, REDUCE = b".", b"(", b"R"


def number(value: int) -> bytes:
    return b"I%d\n" % value


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def numbers(values: tuple[int, ...]) -> bytes:
    return MARK + b"".join(map(number, values)) + b"t"


def stored(kind: str = "Float", key: str = "0", count: int = 1) -> bytes:
    """A storage by its persistent id."""
    return (
        MARK
        + text("storage")
        + b"ctorch\n%sStorage\n" % kind.encode()
        + text(key)
        + text("cpu")
        + number(count)
        + b"tQ"
    )


def tensor(size: bytes, stride: bytes, offset: bytes = b"I0\n", storage: bytes = b"") -> bytes:
    return REBUILD + MARK + (storage or stored()) + offset + size + stride + b"I00\nNtR"


def shaped(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, storage: bytes = b"") -> bytes:
    return tensor(numbers(size), numbers(stride), number(offset), storage)


def named(values: Mapping[str, bytes]) -> bytes:
    return b"}" + MARK + b"".join(text(key) + value for key, value in values.items()) + b"u"


def zipped(content: bytes, storages: Mapping[str, bytes] = {"0": b"\0" * 4}, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a/data.pkl", content)
        archive.writestr("a/version", "3\n")
        for key, value in storages.items():
            archive.writestr(f"a/data/{key}", value)
    return file.getvalue()


def zeros(method: int, name: str, megabytes: int) -> Callable[[Path], object]:
    """An archive of zeros in one part."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / "m.pth", "w", method, compresslevel=1) as archive:
            archive.writestr("a/data.pkl", named({"w": shaped((1,), (1,))}) + STOP)
            with archive.open(f"a/{name}", "w", force_zip64=True) as part:
                for _ in range(megabytes):
                    part.write(bytes(2**20))

    return make


def nested(depth: int, opened: bytes, closed: bytes) -> bytes:
    return opened * depth + closed * depth + STOP


def calls(code: bytes) -> dict[str, bytes]:
    """Ways to have a function called that unpickling offers."""
    return {
        "reduce": b"c" + code + b"(X\x04\0\0\0trueltR.".replace(b"l", b""),
        "inst": MARK + text("true") + b"i" + code + STOP,
        "obj": MARK + b"c" + code + text("true") + b"o.",
        "newobj": b"\x80\x02c" + code + MARK + text("true") + b"t\x81.",
        "newobj_ex": b"\x80\x04c" + code + MARK + text("true") + b"t}\x92.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + MARK + text("true") + b"tR.",
        "build": b"}(" + text("__class__") + b"c" + code + b"ub.",
        "persistent id": b"c" + code + MARK + text("true") + b"tRQ.",
    }


SAME_HASH = 2**61 - 1
LIST_IN_MEMO = b"]q\0(" + b"N" * 100_000 + b"e0"


def bombs() -> Iterator[tuple[str, bytes]]:
    yield "lists, deeply nested", nested(300_000, b"]", b"a"[:0])[:-1] + b"a" * 299_999 + STOP
    yield "dictionaries, deeply nested", b"}" + (text("model") + b"}") * 100_000 + b"s" * 100_000 + STOP
    yield "tuples, deeply nested", b")" + b"\x85" * 1_000_000 + STOP
    doubled = (
        b"}q\0("
        + text("k")
        + b"Nu"
        + b"".join(
            b"}r"
            + struct.pack("<I", i)
            + b"("
            + text("a")
            + b"j"
            + struct.pack("<I", i - 1)
            + text("b")
            + b"j"
            + struct.pack("<I", i - 1)
            + b"u"
            for i in range(1, 60)
        )
    )
    yield "dictionaries that name one another twice", doubled + STOP
    yield (
        "lists that name one another twice",
        b"]q\0"
        + b"".join(
            b"](j%sj%ser%s" % (struct.pack("<I", i - 1), struct.pack("<I", i - 1), struct.pack("<I", i))
            for i in range(1, 60)
        )
        + STOP,
    )
    keys = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "generator", "params")
    yield "a dictionary within itself", b"}q\0(" + b"".join(text(key) + b"h\0" for key in keys) + b"u."
    yield "a list within itself", b"]q\0h\0a."
    yield (
        "numbers of one hash",
        b"}("
        + b"".join(b"\x8a\x0b" + (SAME_HASH * i).to_bytes(11, "little", signed=True) + b"N" for i in range(1, 300_000))
        + b"u.",
    )
    yield (
        "tuples of one hash",
        b"}("
        + b"".join(
            b"\x8a\x0b" + (SAME_HASH * i).to_bytes(11, "little", signed=True) + b"\x85N" for i in range(1, 200_000)
        )
        + b"u.",
    )
    yield (
        "a set of one hash",
        b"\x80\x04\x8f("
        + b"".join(b"\x8a\x0b" + (SAME_HASH * i).to_bytes(11, "little", signed=True) for i in range(1, 300_000))
        + b"\x90.",
    )
    yield (
        "a frozen set of one hash",
        b"\x80\x04("
        + b"".join(b"\x8a\x0b" + (SAME_HASH * i).to_bytes(11, "little", signed=True) for i in range(1, 300_000))
        + b"\x91.",
    )
    yield "copies of a list as sizes", LIST_IN_MEMO + b"](" + b"ctorch\nSize\nh\0\x85R" * 20_000 + b"e."
    yield (
        "copies of a list as dictionaries",
        LIST_IN_MEMO + b"](" + b"ccollections\nOrderedDict\nh\0\x85R" * 20_000 + b"e.",
    )
    yield "names of a million objects", b"".join(b"ca\n%x\n0" % i for i in range(700_000)) + b"N."
    yield "a number of four million bytes", b"\x8b" + struct.pack("<i", 4_000_000) + b"\x7f" * 4_000_000 + STOP
    yield "a number of a million digits", b"I" + b"9" * 1_000_000 + b"\n."
    yield "a string longer than the file", b"\x8d" + struct.pack("<Q", 2**62) + b"abc."
    yield "bytes longer than the file", b"\x8e" + struct.pack("<Q", 2**62) + b"abc."
    yield "a bytearray of 2^40 bytes", b"\x96" + struct.pack("<Q", 2**40) + b"abc."
    yield "a buffer from elsewhere", b"\x97."
    yield "a frame of 2^62 bytes", b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N."
    yield "a place in the memo that is none", b"r" + struct.pack("<I", 2**32 - 1) + b"j" + struct.pack("<I", 7) + STOP
    yield "an empty stack", b"a."
    yield "no end", b"]" * 9
    yield "an opcode that is none", b"\xff."
    yield "an extension code", b"\x82\x01."
    yield "a protocol of the future", b"\x80\x63N."
    yield "nothing", STOP


def lies() -> Iterator[tuple[str, bytes]]:
    """Tensors that are not what they say, and names that no network has."""
    sizes: dict[str, bytes] = {
        "expanded strides": shaped((10**6, 10**6), (0, 0)),
        "sizes whose product overflows": shaped((2**33, 2**33), (0, 0)),
        "a negative size": shaped((-1, -1), (1, 1)),
        "a negative stride": shaped((1,), (-1,)),
        "a negative offset": shaped((1,), (1,), -5),
        "an offset beyond the storage": shaped((1,), (1,), 2**40),
        "a stride beyond the storage": shaped((1, 1), (2**62, 2**62)),
        "seventy axes": shaped((1,) * 70, (1,) * 70),
        "fewer strides than sizes": shaped((1, 1), (1,)),
        "sizes that are words": tensor(MARK + text("a") + b"t", numbers((1,))),
        "sizes that are none": tensor(b"N", b"N"),
        "sizes that are huge": tensor(b"(\x8a\x10" + b"\x7f" * 16 + b"t", numbers((1,))),
        "a storage that is none": REBUILD + MARK + b"N" + b"I0\n" + numbers((1,)) * 2 + b"I00\nNtR",
        "a storage elsewhere": shaped((1,), (1,), storage=stored(key="../../../../etc/passwd")),
        "a storage of another type": shaped((1,), (1,), storage=stored("Quantum")),
        "a persistent id that is a word": REBUILD
        + MARK
        + text("storage")
        + b"Q"
        + b"I0\n"
        + numbers((1,)) * 2
        + b"I00\nNtR",
        "a storage of 2^60 values": shaped((1,), (1,), storage=stored(count=2**60)),
        "one number": shaped((), ()),
        "nothing in it": shaped((0,), (1,)),
        "complex numbers": shaped((0, 3), (1, 1), storage=stored("ComplexFloat")),
    }
    for what, code in sizes.items():
        yield what, named({"net.0.linear.weight": code}) + STOP
    yield "weights without a name", shaped((1,), (1,)) + STOP
    yield "a name of a million parts", named({"model." * 1_000_000 + "w": shaped((1,), (1,))}) + STOP
    yield "a list of weights", b"](" + shaped((1,), (1,)) * 3 + b"e."
    yield "a word", text("weights") + STOP
    yield "quantised words", named({"w": named({"quant": text("a"), "min": text("b"), "scale": text("c")})}) + STOP
    yield "quantised by nothing", named({"w": named({"quant": b"N", "min": b"N", "scale": b"N"})}) + STOP


def one_storage_many_tensors() -> bytes:
    half = shaped((2**20,), (1,), storage=stored("Half"))
    return zipped(named({f"w{i}": half for i in range(20_000)}) + STOP, {"0": bytes(2**21)})


def safetensors(header: bytes, content: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + content


def entry(dtype: str = "F32", shape: object = (1,), ends: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": ends}


def headers() -> Iterator[tuple[str, bytes]]:
    def of(**entries: object) -> bytes:
        return safetensors(json.dumps(entries).encode(), bytes(4))

    yield "a header of 2^63 bytes", safetensors(b"{}", length=2**63)
    yield "a header of 99 MB", safetensors(b"{}", length=99_000_000)
    yield "no header", safetensors(b"")
    yield "a header that is no JSON", safetensors(b"{]")
    yield "a header of brackets", safetensors(b'{"a":' + b"[" * 100_000)
    yield "a header of 17 MB", safetensors(b"{" + b" " * 17_000_000 + b"}")
    yield "a list for a header", safetensors(b"[1]  ")
    yield "offsets beyond the file", of(w=entry(shape=(10**9,), ends=(0, 4 * 10**9)))
    yield "offsets that are negative", of(w=entry(ends=(-4, 0)))
    yield "offsets backwards", of(w=entry(ends=(4, 0)))
    yield "one place twice", of(v=entry(), w=entry())
    yield "a shape that overflows", of(w=entry(shape=(2**40, 2**40)))
    yield "a shape of words", of(w=entry(shape=("a",)))
    yield "a shape unlike its place", of(w=entry(shape=(7,)))
    yield "a type that is none", of(w=entry("F99"))
    yield "metadata that is a number", of(__metadata__=3, w=entry())
    yield "an entry that is none", of(w=None)
    yield "a name of a hundred thousand letters", of(**{"w" * 100_000: entry()})
    yield "holes", safetensors(json.dumps({"w": entry(ends=(8, 12))}).encode(), bytes(12))


def cases() -> Iterator[Case]:
    words = ("inspect", "{at}/m.pth")
    for what, content in bombs():
        yield Case(f"bomb: {what}", words, put("m.pth", zipped(content)))
    for what, content in list(bombs())[:8]:
        yield Case(f"bomb, bare: {what}", words, put("m.pth", content))
    for code in (b"os\nsystem\n", b"builtins\neval\n", b"posix\nsystem\n"):
        for what, content in calls(code).items():
            told = code.decode().replace("\n", " ")
            yield Case(f"code: {told}by {what}", words, put("m.pth", zipped(content)))
    for what, content in lies():
        yield Case(f"lie: {what}", words, put("m.pth", zipped(content)), "either")
    yield Case("lie: twenty thousand tensors of one storage", words, put("m.pth", one_storage_many_tensors()))
    deflated = zipfile.ZIP_DEFLATED
    yield Case("archive: compressed zeros as a storage", words, zeros(deflated, "data/0", 400))
    yield Case("archive: compressed zeros as a pickle", words, zeros(deflated, "more/data.pkl", 400))
    yield Case("archive: empty", words, put("m.pth", b"PK\5\6" + bytes(18)))
    yield Case(
        "archive: a storage is missing", words, put("m.pth", zipped(named({"w": shaped((1,), (1,))}) + STOP, {}))
    )
    odd = zipped(named({"w": shaped((1,), (1,))}) + STOP, {"0": b"abc"})
    yield Case("archive: a storage of three bytes", words, put("m.pth", odd))
    whole = zipped(named({f"net.{i}.linear.weight": shaped((1, 1), (1, 1)) for i in range(3)}) + STOP)
    for share in (3, 20, len(whole) // 2, len(whole) - 10):
        yield Case(f"archive: its first {share} bytes", words, put("m.pth", whole[:share]))
    for place in range(10, len(whole), len(whole) // 12):
        yield Case(f"archive: byte {place} is wrong", words, put("m.pth", changed(whole, place)), "either")
    old = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, old, _use_new_zipfile_serialization=False)
    for place in range(5, len(old.getvalue()), len(old.getvalue()) // 15):
        yield Case(f"legacy: its first {place} bytes", words, put("m.pth", old.getvalue()[:place]))
        yield Case(f"legacy: byte {place} is wrong", words, put("m.pth", changed(old.getvalue(), place)), "either")
    for what, content in headers():
        yield Case(f"safetensors: {what}", ("inspect", "{at}/m.safetensors"), put("m.safetensors", content), "either")


def changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
