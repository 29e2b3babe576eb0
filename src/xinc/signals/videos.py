"""Video files as arrays, through PyAV (FFmpeg's libraries, so every codec that FFmpeg reads)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from xinc import budget
from xinc.errors import SignalError, XincWarning
from xinc.signals.pictures import Pixels

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


LISTS = frozenset({"tty", "hls", "concat", "dash", "sdp", "imf"})
"""Formats of FFmpeg's that are texts, or name other files and addresses."""


@dataclass(frozen=True)
class Video:
    """A video file that can be read from its start, once for each call of :meth:`frames`."""

    path: Path
    fps: float | None
    announced: int
    """How many frames the header promises at least; 0 where it does not say."""
    end: float | None
    """Seconds at which the header says that the pictures end; None where it only knows when the sound does."""

    @classmethod
    def open(cls, path: Path) -> Video:
        """Look at a file's header.

        Raises:
            SignalError: the file is missing, is no video, or has no video stream.
        """
        with _container(path) as container:
            stream = _stream(container, path)
            budget.picture(path, getattr(stream, "height", 0) or 0, getattr(stream, "width", 0) or 0)
            rate, end = stream.average_rate, _end(container, stream)
            promised = (end or 0) * float(rate or 0) * 0.9  # Matroska counts no frames
            return cls(path, float(rate) if rate else None, stream.frames or int(promised), end)

    def frames(self) -> Iterator[Pixels]:
        """Every frame, (H, W, 3): bytes, or float32 in [0, 1] for more than 8 bits; shown as players do.

        The file's display matrix is applied, mirrors too; transparency is composited on white; cover art is skipped. A
        file that ends early gives the frames before that; frames that the decoder had to mend are kept. A warning
        after the last frame says either.

        Raises:
            SignalError: not one frame can be decoded.
        """
        import av

        decoded = mended = 0
        seen, trouble = 0.0, ""
        with _container(self.path) as container:
            stream = _stream(container, self.path)
            stream.thread_type = "AUTO"
            try:
                for frame in container.decode(stream):
                    decoded += 1
                    mended += frame.is_corrupt
                    seen = max(seen, frame.time or 0.0)
                    yield _rgb(frame)
            except av.FFmpegError as error:
                trouble = f" ({error.strerror})"
        if not decoded:
            raise SignalError(f"{self.path} holds no frame that can be decoded{trouble}")
        if trouble or (decoded < self.announced and not self._reached(seen)):
            promise = f" where its header promises at least {self.announced}" if self.announced else ""
            warnings.warn(
                f"{self.path} is cut short{trouble}: {decoded} frames could be read{promise}", XincWarning, stacklevel=4
            )
        if mended:
            warnings.warn(
                f"{self.path} is damaged: {mended} of {decoded} frames may look wrong", XincWarning, stacklevel=4
            )

    def _reached(self, seconds: float) -> bool:
        """Whether a frame at that time is the last: frames come at any rate, and edits leave some of them out."""
        slack = max(3 / (self.fps or 1.0), 0.02 * (self.end or 0.0))
        return self.end is not None and seconds >= self.end - slack


def _end(container: InputContainer, stream: VideoStream) -> float | None:
    """When a film ends, by its own track's header; by the file's where nothing else is in it."""
    if stream.duration is not None and stream.time_base is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))  # Matroska's, of one track
    if tag:
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])
    alone = len(container.streams) == 1 and container.duration
    return container.duration / 1e6 if alone and container.duration else None


def _container(path: Path) -> InputContainer:
    import av

    if _is_tiled(path):
        raise SignalError(
            f"{path} is a picture in tiles (HEIC), of which each would be read as a picture; save it as PNG or TIFF"
        )
    if _is_text(path):  # FFmpeg draws texts as films of a terminal, and opens what playlists name
        raise SignalError(f"{path} is a text file, not an image or a video")
    try:
        container = av.open(f"file:{path}")  # a name may look like a protocol of FFmpeg's
    except FileNotFoundError:
        raise SignalError(f"there is no file {path}") from None
    except (av.FFmpegError, OSError) as error:
        raise SignalError(f"{path} is neither an image nor a video that can be read ({error.strerror})") from None
    if container.format.name in LISTS:
        container.close()
        raise SignalError(
            f"{path} is a {container.format.name} list of other files, not a video; name the video itself"
        )
    return container


def _is_text(path: Path) -> bool:
    """Whether a file begins as texts do: nothing but characters, and it is no raw film (YUV4MPEG2) either."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    return bool(head) and not head.startswith(b"YUV4MPEG2") and not any(c < 32 and c not in b"\t\n\r\f" for c in head)


def _is_tiled(path: Path) -> bool:
    """Whether a file is a HEIF picture put together from others: an item of type ``grid`` (ISO 23008-12, 6.6.2.3)."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return False
    brands = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"avif")
    return head[4:8] == b"ftyp" and any(brand in head[8:64] for brand in brands) and b"grid\0" in head


def _stream(container: InputContainer, path: Path) -> VideoStream:
    import av

    attached = av.stream.Disposition.attached_pic
    films = [stream for stream in container.streams.video if not stream.disposition & attached]
    if not films:
        cover = "; the picture in it is a cover" if container.streams.video else ""
        raise SignalError(f"{path} has no video stream{cover}")
    return films[0]


def _rgb(frame: VideoFrame) -> Pixels:
    deep = any(component.bits > 8 for component in frame.format.components)
    clear = any(component.is_alpha for component in frame.format.components)
    layout = ("rgba64le" if clear else "rgb48le") if deep else ("rgba" if clear else "rgb24")
    pixels: NDArray[np.generic] = _upright(frame.to_ndarray(format=layout), frame)
    top = 65535 if deep else 255
    if clear:
        alpha = pixels[..., 3:].astype(np.float32) / np.float32(top)
        white = np.float32(top) * (1 - alpha)
        pixels = np.rint(pixels[..., :3].astype(np.float32) * alpha + white).astype(pixels.dtype)
    return np.divide(pixels, 65535, dtype=np.float32) if deep else np.ascontiguousarray(pixels, dtype=np.uint8)


def _upright(pixels: NDArray[np.generic], frame: VideoFrame) -> NDArray[np.generic]:
    """The stored picture as it is to be shown: x' = a x + c y, y' = b x + d y of FFmpeg's display matrix, by quarters.

    A matrix (int32, 16.16 fixed point, rows ``a b u``, ``c d v``, ``x y w``) may mirror, which no angle says.
    """
    try:
        data = cast("Mapping[str, bytes]", frame.side_data)["DISPLAYMATRIX"]
    except KeyError:
        return pixels
    (a, b, _), (c, d, _), _ = np.frombuffer(bytes(data), np.int32).reshape(3, 3).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
