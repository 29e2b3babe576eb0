"""Opening images, videos and folders: every sort of input works, or gives one clear line."""

from __future__ import annotations

import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xinc.budget import Bound
from xinc.errors import SignalError
from xinc.signals import open as open_signal
from xinc.signals import samples
from xinc.signals.frames import natural_order
from xinc.signals.pictures import picture_size
from xinc.signals.preprocess import Geometry

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def unit(pixels: np.ndarray) -> torch.Tensor:
    """What a picture (H, W, 3) of bytes must become: (3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)


def save_video(
    path: Path, frames: list[np.ndarray], codec: str = "ffv1", pixel_format: str = "bgr0", faststart: bool = False
) -> Path:
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        for frame in frames:
            container.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(frame, format="rgb24" if frame.dtype == np.uint8 else "rgb48le")
                )
            )
        container.mux(stream.encode())
    return path


def noise(frames: int = 6, height: int = 16, width: int = 24) -> list[np.ndarray]:
    return list(RNG.integers(0, 256, (frames, height, width, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in (1, 2, 9, 10, 11):
        Image.fromarray(np.full((4, 6, 3), i, np.uint8)).save(tmp_path / f"frame{i}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_an_image_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    clip = open_signal(tmp_path / "a.png")
    assert torch.equal(clip.frames[0], unit(PICTURE))
    assert (clip.names, clip.fps, clip.size, len(clip)) == (("a",), None, (20, 30), 1)


def test_a_lossless_video_gives_its_frames_exactly(tmp_path: Path) -> None:
    frames = noise()
    clip = open_signal(save_video(tmp_path / "v.mkv", frames))
    assert clip.fps == 10
    assert clip.names == tuple(f"{i:05d}" for i in range(6))
    assert all(torch.equal(a, unit(b)) for a, b in zip(clip.frames, frames, strict=True))


def test_frames_can_be_chosen(tmp_path: Path, folder: Path) -> None:
    video = save_video(tmp_path / "v.mkv", noise(9))
    clip = open_signal(video, start=1, every=3, count=2)
    assert clip.names == ("00001", "00004")
    assert clip.fps == pytest.approx(10 / 3)
    assert torch.equal(clip.frames, open_signal(video).frames[[1, 4]])
    (video).unlink()
    assert open_signal(folder, start=1, every=2).names == ("frame2", "frame10")


def test_a_folder_is_read_in_natural_order(folder: Path) -> None:
    clip = open_signal(folder)
    assert clip.names == ("frame1", "frame2", "frame9", "frame10", "frame11")
    assert (clip.frames[:, 0, 0, 0] * 255).round().tolist() == [1, 2, 9, 10, 11]
    assert sorted(map(Path, ["b1", "a10", "a9", "a", "10", "9"]), key=natural_order) == [
        Path(n) for n in ["9", "10", "a", "a9", "a10", "b1"]
    ]


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


LUMA = PICTURE[..., 0]
ALPHA = PICTURE[..., 1]
ON_WHITE = PICTURE * (ALPHA / 255.0)[..., None] + 255.0 - ALPHA[..., None]


INDEXED = Image.fromarray(PICTURE).quantize(256)
WITH_ALPHA = Image.fromarray(np.dstack([PICTURE, ALPHA]))
CLEAR = Image.merge("LA", (Image.fromarray(LUMA), Image.new("L", (30, 20), 0)))
RED_INK = Image.merge("CMYK", [Image.new("L", (30, 20), v) for v in (0, 255, 255, 0)])


def flat(*colour: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("image", "suffix", "expected", "tolerance"),
    [
        pytest.param(Image.fromarray(LUMA), "png", grey(LUMA), 0, id="grey"),
        pytest.param(Image.fromarray(LUMA > 99), "png", grey((LUMA > 99) * np.uint8(255)), 0, id="1-bit"),
        pytest.param(Image.fromarray(LUMA.astype(np.uint16) * 257), "png", grey(LUMA), 1e-4, id="16-bit"),
        pytest.param(Image.fromarray(LUMA.astype(np.int32) * 257), "tif", grey(LUMA), 1e-4, id="32-bit"),
        pytest.param(Image.fromarray(LUMA.astype(np.float32) / 255), "tif", grey(LUMA), 1e-4, id="float"),
        pytest.param(WITH_ALPHA, "png", ON_WHITE, 1, id="RGBA"),
        pytest.param(CLEAR, "png", flat(255), 0, id="LA"),
        pytest.param(INDEXED, "png", np.asarray(INDEXED.convert("RGB")), 0, id="palette"),
        pytest.param(RED_INK, "jpg", flat(255, 0, 0), 3, id="CMYK"),
        pytest.param(Image.fromarray(flat(77)), "jpg", flat(77), 1, id="JPEG"),
        pytest.param(Image.fromarray(flat(1, 2, 3, size=(1, 1))), "png", flat(1, 2, 3, size=(1, 1)), 0, id="1-pixel"),
        pytest.param(Image.fromarray(flat(1, 2, 3, size=(1, 7))), "bmp", flat(1, 2, 3, size=(1, 7)), 0, id="1-row"),
    ],
)
def test_every_sort_of_picture_becomes_rgb(
    tmp_path: Path, image: Image.Image, suffix: str, expected: np.ndarray, tolerance: float
) -> None:
    path = tmp_path / f"a.{suffix}"
    image.save(path)
    clip = open_signal(path)
    assert clip.frames.dtype == torch.float32
    assert torch.allclose(clip.frames[0], unit(expected), rtol=0, atol=tolerance / 255 + 1e-7)


def test_colour_of_16_bits_is_read(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), PICTURE[..., ::-1].astype(np.uint16) * 257)
    assert torch.allclose(open_signal(tmp_path / "a.png").frames[0], unit(PICTURE), atol=1e-6)


def test_a_transparent_palette_is_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.save(tmp_path / "a.png", transparency=1)
    assert open_signal(tmp_path / "a.png").frames.unique().tolist() == [1.0]


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees counterclockwise
    Image.fromarray(PICTURE).save(tmp_path / "a.png", exif=exif)
    clip = open_signal(tmp_path / "a.png")
    assert torch.equal(clip.frames[0], unit(np.rot90(PICTURE, -1)))
    assert picture_size(tmp_path / "a.png") == clip.size


@pytest.mark.parametrize("suffix", ["gif", "png", "tif"])
def test_an_animation_gives_its_frames(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 6), (i * 80, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    clip = open_signal(tmp_path / f"a.{suffix}", start=1)
    assert clip.names == ("00001", "00002")
    assert torch.allclose(clip.frames[:, 0].mean((1, 2)) * 255, torch.tensor([80.0, 160.0]), atol=4)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size"),
    [
        ("ffv1", "yuv444p", (16, 24)),
        ("ffv1", "yuv444p10le", (17, 23)),
        ("ffv1", "yuv420p", (17, 23)),
        ("ffv1", "gray", (16, 24)),
        ("ffv1", "yuv444p", (1, 1)),
        ("libx264", "yuv420p10le", (16, 24)),
    ],
)
def test_every_sort_of_video_becomes_rgb(tmp_path: Path, codec: str, pixel_format: str, size: tuple[int, int]) -> None:
    frames = [np.full((*size, 3), 60 * i, np.uint8) for i in range(4)]
    clip = open_signal(save_video(tmp_path / "v.mkv", frames, codec, pixel_format))
    assert clip.size == size
    assert torch.allclose(clip.frames.mean((1, 2, 3)) * 255, torch.tensor([0.0, 60, 120, 180]), atol=3)


def test_ten_bits_are_kept(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 65535, 1024).astype(np.uint16)[None, :, None], 3, axis=2)
    seen = open_signal(save_video(tmp_path / "v.mkv", [ramp], "ffv1", "gbrp10le")).frames[0, 0, 0]
    assert torch.allclose(seen, torch.linspace(0, 1, 1024), atol=2 / 1023)
    assert len(seen.unique()) > 1000


def test_a_video_is_turned_as_its_header_says(tmp_path: Path) -> None:
    path = save_video(tmp_path / "v.mp4", noise(2), "libx264", "yuv444p")
    upright = open_signal(path).frames
    content = bytearray(path.read_bytes())
    # The track header's matrix: its 9 numbers stand 40 bytes after the box's name; these turn by 90 degrees.
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    turned = open_signal(path).frames
    assert torch.equal(turned, torch.rot90(upright, -1, (2, 3)))


def test_a_video_that_is_cut_short_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = save_video(tmp_path / "v.mkv", noise(10, 64, 64))
    whole = open_signal(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="v.mkv is cut short.*frames could be read where its header promises"):
        part = open_signal(path)
    assert 0 < len(part) < 10
    assert torch.equal(part.frames, whole.frames[: len(part)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_signal(path, count=2)) == 2


def test_a_cut_mp4_whose_header_comes_first_is_said_to_be_cut(tmp_path: Path) -> None:
    path = save_video(tmp_path / "v.mp4", noise(10, 64, 64), "libx264", "yuv420p", faststart=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="promises at least 10"):
        assert 0 < len(open_signal(path)) < 10


def test_a_damaged_video_says_so(tmp_path: Path) -> None:
    path = save_video(tmp_path / "v.mpg", noise(10, 64, 64), "mpeg2video", "yuv420p")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="v.mpg is (damaged|cut short)"):
        open_signal(path)


def test_fewer_frames_than_asked_for_are_said(folder: Path) -> None:
    with pytest.warns(UserWarning, match="gives 5 frames, not the 8 asked for"):
        assert len(open_signal(folder, count=8)) == 5


def text(path: Path) -> None:
    path.write_text("a line of text\n" * 50)


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(5000))


def half_png(path: Path) -> None:
    Image.fromarray(PICTURE).save(path)
    path.write_bytes(path.read_bytes()[:900])


def half_jpeg(path: Path) -> None:
    Image.fromarray(PICTURE).save(path, format="jpeg")
    path.write_bytes(path.read_bytes()[:-400])


def headless_mp4(path: Path) -> None:
    save_video(path, noise(6, 64, 64), "libx264", "yuv420p")
    path.write_bytes(path.read_bytes()[:-900])


def no_frames(path: Path) -> None:
    save_video(path, noise(2, 64, 64))
    path.write_bytes(path.read_bytes()[:700])


def sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))


def wild_floats(path: Path) -> None:
    Image.fromarray(np.linspace(0, 300, 12, dtype=np.float32).reshape(3, 4)).save(path)


def bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path)


def empty_folder(path: Path) -> None:
    path.mkdir()


def folder_of_folders(path: Path) -> None:
    (path / "left").mkdir(parents=True)


def mixed_sizes(path: Path) -> None:
    path.mkdir()
    for i in (4, 5):
        Image.new("RGB", (i, 3)).save(path / f"{i}.png")


def twins(path: Path) -> None:
    path.mkdir()
    for suffix in ("png", "jpg"):
        Image.new("RGB", (3, 3)).save(path / f"7.{suffix}")


def one_bad_frame(path: Path) -> None:
    mixed_sizes(path)
    (path / "4.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (text, "a.txt", "is a text file"),
        (text, "a.png", "not an image that Pillow can read"),
        (text, "a.mp4", "is a text file, not an image or a video"),
        (garbage, "a.bin", "neither an image nor a video"),
        (Path.touch, "a.png", "not an image"),
        (Path.touch, "a.mp4", "neither an image nor a video"),
        (half_png, "a.png", "a.png cannot be decoded.*truncated"),
        (half_jpeg, "a.jpg", "a.jpg cannot be decoded.*truncated"),
        (headless_mp4, "a.mp4", "neither an image nor a video"),
        (no_frames, "a.mkv", "holds no frame that can be decoded"),
        (sound, "a.wav", "has no video stream"),
        (wild_floats, "a.tif", "has values from 0 to 300"),
        (bomb, "a.png", "more pixels than Pillow opens safely"),
        (empty_folder, "a", "holds no image"),
        (folder_of_folders, "a", "it has folders \\(left\\): name one of them"),
        (mixed_sizes, "a", "mixes sizes: 4 is 3×4.*5 is 3×5"),
        (twins, "a", "7.jpg and 7.png: one frame twice"),
        (one_bad_frame, "a", "4.png is not an image"),
        (lambda path: None, "a.mp4", "no file or folder .*a.mp4, nor a sample of that name \\(bunny"),
        (lambda path: None, "", "no file or folder"),
    ],
)
def test_what_cannot_be_read_gives_one_clear_line(
    tmp_path: Path, make: Callable[[Path], object], name: str, message: str
) -> None:
    path = tmp_path / name
    if name:
        make(path)
    with pytest.raises(SignalError, match=message) as error:
        open_signal(path if name else "")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 5}, "has no frame 5: start lies past its end"),
        ({"start": -1}, "start is -1; give a whole number of at least 0"),
        ({"every": 0}, "every is 0"),
        ({"count": 0}, "count is 0"),
        ({"size": (0, 4)}, "not \\(0, 4\\)"),
        ({"size": (4, -4)}, "not \\(4, -4\\)"),
        ({"segments": "nowhere"}, "no label image or folder nowhere"),
    ],
)
def test_arguments_out_of_range_give_one_clear_line(folder: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SignalError, match=message):
        open_signal(folder, **arguments)  # type: ignore[arg-type]


def test_a_clip_that_does_not_fit_in_memory_is_refused_before_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xinc.budget.bound", lambda: Bound(3 * 2 * 4 * 6 * 3 * 4, "this machine has"))
    assert len(open_signal(folder, count=2)) == 2
    with pytest.raises(SignalError, match=r"would take .* of memory, this machine has .*choose frames"):
        open_signal(folder)


@pytest.mark.parametrize(
    ("source", "target", "box"),
    [
        ((720, 1280), (128, 256), (40, 0, 640, 1280)),
        ((1024, 2048), (128, 256), (0, 0, 1024, 2048)),
        ((480, 854), (128, 256), (26, 0, 427, 854)),
        ((272, 640), (128, 256), (0, 48, 272, 544)),
        ((512, 512), (64, 64), (0, 0, 512, 512)),
        ((1, 1), (128, 256), (0, 0, 1, 1)),
        ((1, 100), (100, 1), (0, 50, 1, 1)),
        ((5, 7), None, (0, 0, 5, 7)),
    ],
)
def test_the_crop_is_the_largest_centred_box_of_the_aspect(
    source: tuple[int, int], target: tuple[int, int] | None, box: tuple[int, int, int, int]
) -> None:
    assert Geometry.of(source, target).box == box


def test_reduction_is_bicubic_and_does_not_alias() -> None:
    """A ramp stays a ramp; stripes of one pixel become their mean, where a filter that does not widen shows moiré."""
    ramp = np.repeat(np.linspace(0, 1, 100, dtype=np.float32)[None, :, None], 3, axis=2).repeat(50, axis=0)
    small = Geometry.of((50, 100), (10, 20)).frame(ramp)
    assert torch.allclose(small[0, 5, 2:-2], torch.from_numpy(ramp[0, :, 0].reshape(20, 5).mean(1))[2:-2], atol=1e-5)
    stripes = np.zeros((50, 100, 3), np.uint8)
    stripes[:, ::2] = 255
    assert torch.allclose(Geometry.of((50, 100), (10, 20)).frame(stripes)[:, :, 2:-2], torch.tensor(0.5), atol=0.03)


@pytest.mark.parametrize("target", [(16, 32), (45, 90), (100, 37)])
def test_the_filter_is_the_antialiased_bicubic_one(target: tuple[int, int]) -> None:
    pixels = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    geometry = Geometry.of((48, 64), target)
    top, left, height, width = geometry.box
    cut = unit(pixels)[None, :, top : top + height, left : left + width]
    expected = torch.nn.functional.interpolate(cut, target, mode="bicubic", antialias=True)[0].clamp(0, 1)
    assert torch.allclose(geometry.frame(pixels), expected, atol=1e-5)


def test_values_stay_in_the_unit_interval() -> None:
    """Bicubic overshoots at an edge; what overshoots is cut."""
    edge = np.zeros((40, 40, 3), np.uint8)
    edge[:, 20:] = 255
    small = Geometry.of((40, 40), (16, 16)).frame(edge)
    assert (small.min().item(), small.max().item()) == (0.0, 1.0)


def test_frames_and_labels_share_one_geometry() -> None:
    """A picture that shows its own label map is still aligned with it after crop and resize."""
    labels = np.zeros((90, 160), np.int32)
    labels[30:70, 40:100] = 200
    geometry = Geometry.of(labels.shape, (20, 40))
    frame = geometry.frame(np.repeat(labels[..., None], 3, axis=2).astype(np.uint8))
    assert np.mean((frame[0].numpy() * 255 > 100) != (geometry.labels(labels) > 0)) < 0.02


@pytest.mark.parametrize("name", ["astronaut", "camera", "rocket", "coins"])
def test_the_photographs_of_scikit_image_open_by_name(name: str) -> None:
    clip = open_signal(name, size=(16, 32))
    assert clip.size == (16, 32)
    assert clip.source == name
    assert clip.frames.std() > 0.01


def test_bunny_opens_fast_enough() -> None:
    """33 frames at 128×256 in two seconds of one processor; counted so, a busy machine does not matter."""
    if not (samples.folder() / samples.CLIPS["bunny"].file).is_file():
        pytest.skip("the sample clips have not been fetched (scripts/fetch_samples.py)")
    open_signal("bunny", size=(128, 256), count=1)
    begun = time.process_time()
    clip = open_signal("bunny", size=(128, 256), count=33)
    assert time.process_time() - begun < 2
    assert (len(clip), clip.size, clip.fps) == (33, (128, 256), 25)
