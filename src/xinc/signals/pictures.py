"""Image files as arrays: pictures as RGB, label images as the numbers that are stored in them.

Every sort of picture becomes RGB: grey is repeated, a palette is looked up, transparency is composited on white (as a
browser page shows it), CMYK and YCbCr are converted by Pillow, EXIF rotation is applied. Grey images of 16 or 32 bits
keep their precision; 16-bit colour is read at 8 bits, because Pillow does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from xinc import budget
from xinc.errors import SignalError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".jp2", ".tga", ".avif"}
)
ANIMATED = frozenset({"GIF", "PNG", "WEBP", "TIFF", "AVIF"})
"""Formats in which several images in one file are frames (an MPO photograph's second image is not)."""
FILMS = frozenset({".mjpeg", ".mjpg"})
"""Names of films that begin as a picture does: one JPEG after another."""

Pixels = NDArray[np.uint8] | NDArray[np.float32]


@cache
def formats() -> tuple[str, ...]:
    """Formats that Pillow reads itself: for PostScript it would start another program."""
    Image.init()
    return tuple(name for name in Image.ID if name != "EPS")


def is_picture(path: Path) -> bool:
    """Whether the file is an image by its name or by its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix.lower() in FILMS:
        return False
    try:
        with Image.open(_file(path), formats=formats()):
            return True
    except (OSError, ValueError, SyntaxError):
        return False


def read_rgb(path: Path) -> Pixels:
    """The picture, (H, W, 3): bytes, or float32 in [0, 1] where it has more than 8 bits.

    Raises:
        SignalError: the file is missing, is no image, is truncated, or has values without a known range.
    """
    with _opened(path) as image:
        return _rgb(image, path)


def picture_size(path: Path) -> tuple[int, int]:
    """(H, W) of the picture that :func:`read_rgb` gives, by the file's header alone.

    Raises:
        SignalError: the file is missing or is no image.
    """
    with _opened(path) as image:
        width, height = image.size
        sideways = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return (width, height) if sideways else (height, width)


def read_animation(path: Path) -> Iterator[tuple[str, Pixels]]:
    """Each frame of an animated GIF, PNG, WebP or of a TIFF of several pages, by number; other images by their stem.

    Raises:
        SignalError: as :func:`read_rgb`.
    """
    with _opened(path) as image:
        count = getattr(image, "n_frames", 1) if image.format in ANIMATED else 1
        for i in range(count):
            image.seek(i)
            yield (f"{i:05d}" if count > 1 else path.stem), _rgb(image, path)


def read_ids(path: Path) -> tuple[NDArray[np.int32], str]:
    """The numbers stored in a label image, (H, W), and its layout: ``"palette"``, ``"grey"`` or ``"rgb"``.

    A palette image gives its indices, not its colours; an RGB image gives R + 256 G + 65536 B. Where a grey or palette
    image is transparent, the number is 0.

    Raises:
        SignalError: the file is missing, is no image, is truncated, or its pixels are not whole numbers.
    """
    with _opened(path) as image:
        if image.mode in {"RGB", "RGBA"}:
            bands = np.asarray(image, dtype=np.int32)
            return bands[..., 0] + (bands[..., 1] << 8) + (bands[..., 2] << 16), "rgb"
        if image.mode == "P":
            return np.asarray(image).astype(np.int32), "palette"
        if image.mode in {"LA", "PA"}:  # what is transparent is no segment
            numbers, opacity = (np.asarray(band).astype(np.int32) for band in image.split())
            return np.where(opacity > 0, numbers, 0), "grey" if image.mode == "LA" else "palette"
        if image.mode in {"1", "L", "I"} or image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.int32), "grey"
        raise SignalError(
            f"{path} is no label image: its mode is {image.mode}; save whole numbers as grey, palette or RGB"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(_file(path), formats=formats()) as image:
                budget.picture(path, image.height, image.width)
                yield image
    except FileNotFoundError:
        raise SignalError(f"there is no file {path}") from None
    except UnidentifiedImageError:
        if _is_postscript(path):
            raise SignalError(f"{path} is PostScript, which takes another program to draw; save it as PNG") from None
        raise SignalError(f"{path} is not an image that Pillow can read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SignalError(f"{path} has more pixels than Pillow opens safely; make it smaller") from None
    except (OSError, ValueError, SyntaxError, EOFError) as damage:
        raise SignalError(f"{path} cannot be decoded ({damage}); it may be truncated") from None


def _is_postscript(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"%!PS", b"\xc5\xd0\xd3\xc6")


def _file(path: Path) -> Path:
    """A path that may be opened: a pipe would never end, and a device never give a picture."""
    if path.exists() and not path.is_file():
        raise SignalError(f"{path} is no file; name an image, a video or a folder of frames")
    return path


def _rgb(image: Image.Image, path: Path) -> Pixels:
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I") or turned.mode == "F":
        return _deep_grey(np.asarray(turned, dtype=np.float32), turned.mode, path)
    if turned.has_transparency_data:
        layer = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(turned.convert("RGB"))


def _deep_grey(values: NDArray[np.float32], mode: str, path: Path) -> NDArray[np.float32]:
    top = 1.0 if mode == "F" else 65535.0
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):
        raise SignalError(f"{path} has values from {low:g} to {high:g}; save its values as 0 to {top:g} of mode {mode}")
    return np.repeat((values / np.float32(top))[..., None], 3, axis=2)
