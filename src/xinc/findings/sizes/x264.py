"""What x264 takes for the same frames at the same quality: the yardstick of a network's size."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xinc.models.base import decibels
from xinc.signals.clip import Clip

PRESET = "slow"
FORMATS: tuple[tuple[str, str], ...] = (("libx264", "yuv420p"), ("libx264", "yuv444p"), ("libx264rgb", "rgb24"))
"""Encoders and how they see colours, the usual first; the last, which alone is lossless, where no other is enough."""
STEP, COARSEST = 0.5, 51.0
"""Steps of x264's constant rate factor, and its greatest."""
INFORMATION = 6
"""NAL units of this type tell x264's version and settings, 700 bytes: no part of the film."""


@dataclass(frozen=True)
class Film:
    """A clip by x264.

    Attributes:
        size: in bytes, without container and without x264's note of its settings.
        psnr: mean over frames in dB, of RGB, as of a run.
        crf: constant rate factor, less is better.
        colours: pixel format.
    """

    size: int
    psnr: float
    crf: float
    colours: str


def at_quality(clip: Clip, psnr: float, tell: Callable[[str, int, int], None] = lambda *_: None) -> Film | None:
    """The smallest film by x264 that shows a clip at least as well.

    Args:
        clip: the frames.
        psnr: mean over frames in dB.
        tell: called with what is tried, and how many of how many tries are done.

    Returns:
        The film; None where this PyAV has no x264, or nothing of it is that good.
    """
    import av

    found: list[Film] = []
    for number, (encoder, colours) in enumerate(FORMATS):
        odd = any(side % 2 for side in clip.size)
        if encoder not in av.codecs_available or (colours == "yuv420p" and odd) or (colours == "rgb24" and found):
            continue
        steps = round(COARSEST / STEP)
        low, high, best = -1, steps + 1, None  # the finest is known to be too coarse, or nothing is
        while high - low > 1:
            middle = (low + high) // 2
            tell(f"x264, {colours}", number * 8 + min(7, int(np.log2(steps / max(1, high - low)))), 8 * len(FORMATS))
            film = encoded(clip, encoder, colours, middle * STEP)
            good = film.psnr >= psnr
            low, high, best = (middle, high, film) if good else (low, middle, best)
        found += [best] if best else []
    return min(found, key=lambda film: film.size, default=None)


def encoded(clip: Clip, encoder: str, colours: str, crf: float) -> Film:
    """Encode a clip, read it back, and measure both."""
    import av

    raw = io.BytesIO()
    with av.open(raw, "w", format="h264") as film:
        stream: Any = film.add_stream(encoder, rate=25)
        stream.height, stream.width = clip.size
        stream.pix_fmt = colours
        stream.options = {"crf": str(crf), "preset": PRESET, "tune": "psnr", "x264-params": "log-level=none"}
        for picture in _pictures(clip):
            frame: Any = av.VideoFrame.from_ndarray(picture, format="rgb24")
            film.mux(stream.encode(frame.reformat(format=colours, interpolation="LANCZOS", **_to(colours))))
        film.mux(stream.encode(None))
    return Film(len(_without_notes(raw.getvalue())), _psnr(clip, raw), crf, colours)


def _to(colours: str) -> dict[str, str]:
    """How RGB becomes luma and chroma of all 256 values; nothing where it stays RGB."""
    return {} if colours == "rgb24" else {"dst_colorspace": "ITU709", "dst_color_range": "JPEG"}


def _back(colours: str) -> dict[str, str]:
    return {name.replace("dst", "src"): value for name, value in _to(colours).items()}


def _pictures(clip: Clip) -> Iterator[NDArray[np.uint8]]:
    for t in range(len(clip)):
        yield (clip.frame(t).permute(1, 2, 0) * 255).round().clamp(0, 255).byte().contiguous().numpy()


def _psnr(clip: Clip, raw: io.BytesIO) -> float:
    """Mean over frames in dB of what a decoder makes of a film."""
    import av

    raw.seek(0)
    errors = []
    film: Any = av.open(raw, format="h264")
    with film:
        colours = str(film.streams.video[0].pix_fmt)
        back = {} if colours.startswith(("gbr", "rgb")) else _back(colours)
        for t, frame in enumerate(film.decode(video=0)):
            shown = frame.reformat(format="rgb24", interpolation="LANCZOS", **back).to_ndarray()
            shown = torch.from_numpy(shown).permute(2, 0, 1).double() / 255
            errors.append((shown - clip.frame(t)).square().mean())
    return float(decibels(torch.stack(errors)).mean())


def _without_notes(raw: bytes) -> bytes:
    """A film without the units that hold x264's note of its settings."""
    units = raw.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return b"".join(b"\0\0\1" + unit for unit in units if unit and unit[0] & 31 != INFORMATION)
