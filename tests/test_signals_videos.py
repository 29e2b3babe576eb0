"""Video files as players show them: the whole display matrix, no cover art, transparency on white."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import xinc
from xinc.errors import SignalError

QUARTERS = np.zeros((32, 48, 3), np.uint8)
QUARTERS[:16, :24], QUARTERS[:16, 24:], QUARTERS[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def film(path: Path, codec: str, layout: str, picture: np.ndarray, source: str = "rgb24") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = picture.shape[1], picture.shape[0], layout
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=source)))
        container.mux(stream.encode())
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into the track header (ISO 14496-12, 8.3.2; version 0)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((1, 0, 0, 1), None),
        ((-1, 0, 0, 1), Image.Transpose.FLIP_LEFT_RIGHT),
        ((1, 0, 0, -1), Image.Transpose.FLIP_TOP_BOTTOM),
        ((-1, 0, 0, -1), Image.Transpose.ROTATE_180),
        ((0, 1, -1, 0), Image.Transpose.ROTATE_270),
        ((0, -1, 1, 0), Image.Transpose.ROTATE_90),
        ((0, 1, 1, 0), Image.Transpose.TRANSPOSE),
        ((0, -1, -1, 0), Image.Transpose.TRANSVERSE),
    ],
)
def test_the_whole_display_matrix_is_applied(
    matrix: tuple[int, int, int, int], turn: Image.Transpose | None, tmp_path: Path
) -> None:
    path = with_matrix(film(tmp_path / "a.mp4", "mpeg4", "yuv420p", QUARTERS), *matrix)
    image = Image.fromarray(QUARTERS)
    right = np.asarray(image if turn is None else image.transpose(turn)) / 255
    shown = xinc.open(path).frames[0].permute(1, 2, 0).numpy()
    assert shown.shape == right.shape
    assert np.abs(shown - right).mean() < 0.05


def test_transparent_video_is_shown_on_white(tmp_path: Path) -> None:
    picture = np.zeros((32, 48, 4), np.uint8)
    picture[..., 0], picture[:, 24:, 3] = 200, 255
    path = film(tmp_path / "a.mov", "qtrle", "argb", picture, "rgba")
    layer = Image.fromarray(picture, "RGBA")
    right = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    shown = xinc.open(path).frames[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(shown, np.asarray(right) / 255, atol=1 / 255)


def test_a_cover_is_not_the_clip(tmp_path: Path) -> None:
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as container:
        container.add_stream("pcm_s16le", rate=8000)
        cover = _png(tmp_path)
        container.add_attachment("cover.png", "image/png", cover)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(container.streams.audio[0].encode(sound))
    with pytest.raises(SignalError, match="cover"):
        xinc.open(path)


def _png(folder: Path) -> bytes:
    Image.fromarray(QUARTERS).save(folder / "cover.png")
    return (folder / "cover.png").read_bytes()
