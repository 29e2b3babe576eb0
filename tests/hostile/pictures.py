"""Pictures, films and label images that lie about their size, are bombs, or are no pictures at all."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from hostile import Case, put

TINY = ("--model", "ffn", "--size", "8x8", "--epochs", "1", "--set", "width=4")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int = 2, height: int = 2, depth: int = 8, colour: int = 2, rows: bytes | None = None, *more: bytes
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = zlib.compress(bytes(height * (1 + 3 * width)) if rows is None else rows)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    """So many zeros, compressed."""
    packer = zlib.compressobj(1)
    parts = [packer.compress(bytes(2**20)) for _ in range(size >> 20)]
    return b"".join(parts) + packer.flush()


def saved(form: str, mode: str = "RGB", size: tuple[int, int] = (16, 16)) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(file, form)
    return file.getvalue()


def large(folder: Path) -> None:
    """Eighty million pixels in a quarter of a megabyte."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    data = zeros(9000 * 27001 + 2**20)
    (folder / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def tiff(*entries: tuple[int, int, int, int], next_: int = 0, count: int | None = None) -> bytes:
    """A little-endian TIFF with one directory of (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory = struct.pack("<H", len(entries) if count is None else count) + body + struct.pack("<I", next_)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(64)


def of_tiff(width: int, height: int, **more: int) -> list[tuple[int, int, int, int]]:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 150, 277: 1, 278: height, 279: width * height}
    return [(tag, 4, 1, value & 0xFFFFFFFF) for tag, value in tags.items()]


def lies() -> Iterator[tuple[str, str, bytes]]:
    """What, the file's name, its content."""
    yield "of 2^31 by 2^31 pixels", "x.png", png(2**31 - 1, 2**31 - 1, rows=b"")
    yield "of no pixel", "x.png", png(0, 0, rows=b"")
    yield "of sixty thousand squared, in one bit", "x.png", png(60_000, 60_000, 1, 0, b"")
    yield "with no data", "x.png", png(4000, 4000, rows=b"")
    yield "with a colour type that is none", "x.png", png(2, 2, 8, 5)
    yield "with a palette that is absent", "x.png", png(2, 2, 8, 3, bytes(6))
    yield "with a text of zeros", "x.png", png(2, 2, 8, 2, None, chunk(b"zTXt", b"k\0\0" + zeros(256 << 20)))
    yield "with a profile of zeros", "x.png", png(2, 2, 8, 2, None, chunk(b"iCCP", b"k\0\0" + zeros(256 << 20)))
    yield (
        "with two hundred thousand frames",
        "x.png",
        png(2, 2, 8, 2, None, chunk(b"acTL", struct.pack(">II", 200_000, 0))),
    )
    yield "with a chunk of 2^31 bytes", "x.png", png()[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT"
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "JPEG2000"):
        whole = saved(form)
        ending = {"JPEG": "jpg", "JPEG2000": "jp2", "TIFF": "tif"}.get(form, form.lower())
        yield f"half of a {form}", f"x.{ending}", whole[: len(whole) // 2]
        yield f"the head of a {form}", f"x.{ending}", whole[:20]
    yield "of a film that is a word", "x.mp4", b"\0\0\0\x18ftypisom" + bytes(200)
    yield "an AVI of which only the head is there", "x.avi", b"RIFF\xff\xff\xff\x7fAVI LIST" + bytes(300)
    yield "a Matroska without an end", "x.mkv", b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 400
    yield "GIF of 65,535 squared", "x.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\1\0\0;"
    yield (
        "BMP of 2^31",
        "x.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 1, 1, 0, 0),
    )
    yield (
        "BMP of a negative width",
        "x.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, -4, -4, 1, 24, 0, 0, 1, 1, 0, 0) + bytes(64),
    )
    yield (
        "BMP with run lengths without end",
        "x.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 4, 4, 1, 8, 1, 0, 1, 1, 0, 0) + b"\0\2\xff\xff" * 50,
    )
    yield "PPM of 10^8 squared", "x.ppm", b"P6 99999999 99999999 255 "
    yield "PPM of a negative size", "x.ppm", b"P6 -1 -1 255 "
    yield "PPM with a maximum of 0", "x.ppm", b"P6 2 2 0 " + bytes(12)
    yield "PPM with comments without end", "x.ppm", b"P6 " + b"#" * 2_000_000
    yield "PGM of letters", "x.pgm", b"P2 a b c"
    yield "TIFF of 2^31", "x.tif", tiff(*of_tiff(2**31 - 1, 2**31 - 1))
    yield "TIFF whose pages go in a circle", "x.tif", tiff(*of_tiff(2, 2), next_=8)
    yield "TIFF of 65,535 entries", "x.tif", tiff(*of_tiff(2, 2), count=65535)
    yield "TIFF of no entry", "x.tif", tiff()
    yield (
        "TIFF whose data lie elsewhere",
        "x.tif",
        tiff(*[(t, k, n, 2**31 if t == 273 else v) for t, k, n, v in of_tiff(2, 2)]),
    )
    yield "TIFF with a count of 2^32", "x.tif", tiff(*of_tiff(2, 2), (270, 2, 2**32 - 1, 8))
    for what, value in (("nan", np.nan), ("inf", np.inf), ("negative", -1.0)):
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8), value, np.float32)).save(file, "TIFF")
        yield f"TIFF of {what} values", "x.tif", file.getvalue()
    jpeg = bytearray(saved("JPEG"))
    place = jpeg.find(b"\xff\xc0") + 5
    yield "JPEG of 65,500 squared", "x.jpg", bytes(jpeg[:place]) + b"\xff\xdc\xff\xdc" + bytes(jpeg[place + 4 :])
    for name, content in TEXTS.items():
        yield f"a text: {name}", name, content


TEXTS = {
    "x.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "x.m3u8": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
    "x.ffconcat": b"ffconcat version 1.0\nfile picture.png\n",
    "x.mpd": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "x.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "x.txt": b"no picture",
    "x.html": b"<html></html>",
    "x.json": b"{}",
    "x.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    "x.pdf": b"%PDF-1.4\n",
    "empty.png": b"",
    "nothing": b"\0" * 4096,
    "noise.mp4": bytes(np.random.default_rng(1).integers(0, 255, 5000, dtype=np.uint8)),
}


def labels() -> Iterator[tuple[str, bytes]]:
    yield "of 2^31 by 2^31 pixels", png(2**31 - 1, 2**31 - 1, rows=b"")
    yield "of another size", saved("PNG", "L", (99, 3))
    yield "cut in the middle", saved("PNG", "L")[:60]
    yield "of floats", saved("TIFF", "F")
    yield "that is a text", b"1 2 3"
    yield "empty", b""
    yield "in CMYK", saved("TIFF", "CMYK")
    yield "of nothing", png(0, 0, rows=b"")


def twins(folder: Path) -> None:
    (folder / "f").mkdir()
    for name in ("a.png", "a.bmp"):
        (folder / "f" / name).write_bytes(saved(name[2:].upper()))


def mixed(folder: Path) -> None:
    (folder / "f").mkdir()
    for i, size in enumerate(((16, 16), (8, 16))):
        (folder / "f" / f"{i}.png").write_bytes(saved("PNG", "RGB", size))


MAY_BE_SHOWN = ("frames", "circle", "text of zeros", "profile", "negative width", "runs", "palette", "entries", "2^32")
"""What Pillow mends."""


def cases() -> Iterator[Case]:
    for what, name, content in lies():
        words = ("fit", "{at}/" + name, *TINY, "--out", "{at}/run")
        mended = any(one in what for one in MAY_BE_SHOWN)
        yield Case(f"picture {what}", words, put(name, content), "either" if mended else "refused")
    yield Case("picture of eighty million pixels", ("fit", "{at}/x.png", *TINY, "--out", "{at}/run"), large)
    yield Case("folder of twins", ("fit", "{at}/f", *TINY, "--out", "{at}/run"), twins)
    yield Case("folder of mixed sizes", ("fit", "{at}/f", *TINY, "--out", "{at}/run"), mixed)
    fit = ("fit", "{base}/picture.png", *TINY, "--out", "{at}/run", "--annotations", "{at}/labels.png")
    for what, content in labels():
        yield Case(f"label image {what}", fit, put("labels.png", content))
    for size in ("100000000000000000000x8", "1048576x1048576", "100000x100000", "0x8", "8x0", "8", "-8x8"):
        words = ("fit", "{base}/picture.png", "--model", "ffn", "--epochs", "1", "--out", "{at}/run", "--size", size)
        yield Case(f"a size of {size}", words)
