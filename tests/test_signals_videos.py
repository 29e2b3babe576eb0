"""Video files as players show them: the whole display matrix, no cover art, transparency on white."""

from __future__ import annotations

import struct
import warnings
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


def moving(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (32, 48, 3), np.uint8) for _ in range(count)]


def timed(path: Path, times: list[float], sound: float = 0.0, codec: str = "mpeg4") -> Path:
    """A film whose frames are shown at given seconds, and a sound track of some seconds beside it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        tones = container.add_stream("aac", rate=8000) if sound else None
        for time, picture in zip(times, moving(len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tones is not None:
            for n in range(int(sound * 8000 / 1024)):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts, silence.time_base = 8000, 1024 * n, Fraction(1, 8000)
                container.mux(tones.encode(silence))
            container.mux(tones.encode())
    return path


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.webm"])
def test_a_whole_file_is_never_said_to_be_cut(name: str, tmp_path: Path) -> None:
    steady = [n / 10 for n in range(10)]
    codec = "libvpx" if name.endswith("webm") else "mpeg4"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(xinc.open(timed(tmp_path / name, [*steady, 5.0], codec=codec))) == 11  # any rate
        if not name.endswith("webm"):
            assert len(xinc.open(timed(tmp_path / name, steady, sound=6.0))) == 10  # longer sound


def test_frames_that_an_edit_leaves_out_are_not_missed(tmp_path: Path) -> None:
    """The first half of a film by its edit list (ISO 14496-12, 8.6.6; version 0), as phones trim."""
    path = timed(tmp_path / "a.mp4", [n / 10 for n in range(20)])
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    (lasts,) = struct.unpack(">I", data[at : at + 4])
    data[at : at + 4] = struct.pack(">I", lasts // 2)
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 9 <= len(xinc.open(path)) <= 12


def test_jpegs_in_a_row_are_a_film(tmp_path: Path) -> None:
    path = tmp_path / "a.mjpeg"
    with path.open("wb") as file:
        for shade in range(0, 100, 10):
            Image.new("RGB", (48, 32), (shade, shade, shade)).save(file, "JPEG", quality=95)
    clip = xinc.open(path)
    np.testing.assert_allclose(clip.frames.mean((1, 2, 3)) * 255, np.arange(0, 100, 10), atol=1.5)


def test_a_picture_in_tiles_is_refused_by_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    meta = b"\0" * 8 + b"infe\2\0\0\0\0\1\0\0grid\0"
    path.write_bytes(
        struct.pack(">I4s4sI4s", 20, b"ftyp", b"heic", 0, b"mif1") + struct.pack(">I4s", len(meta) + 8, b"meta") + meta
    )
    with pytest.raises(SignalError, match=r"picture in tiles \(HEIC\).*PNG or TIFF"):
        xinc.open(path)


def test_colours_of_interlaced_film_belong_to_their_field(tmp_path: Path) -> None:
    """Even rows red, odd rows blue: in 4:2:0 each field has colours of its own."""
    rows = np.zeros((32, 48, 3), np.uint8)
    rows[0::2], rows[1::2] = (220, 30, 30), (30, 30, 220)
    fields = [
        av.VideoFrame.from_ndarray(np.ascontiguousarray(rows[n::2]), format="rgb24").reformat(format="yuv420p")
        for n in (0, 1)
    ]
    planes = [[np.asarray(plane).reshape(-1, plane.line_size)[:, : plane.width] for plane in f.planes] for f in fields]
    woven = [np.stack([top, bottom], 1).reshape(-1, top.shape[1]) for top, bottom in zip(*planes, strict=True)]
    whole = np.concatenate([plane.reshape(-1, 48) for plane in woven])
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"x264-params": "tff=1:qp=1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="yuv420p")))
        container.mux(stream.encode())
    shown = xinc.open(path).frames[0].permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(shown[4:-4, 4:-4], rows[4:-4, 4:-4], atol=6)
