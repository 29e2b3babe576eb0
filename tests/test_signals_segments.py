"""Segments from label images: what their numbers mean, which frame they belong to, sloppy and hopeless sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xinc.errors import SignalError
from xinc.signals import open as open_signal
from xinc.signals.classes import CITYSCAPES, CITYSCAPES_TRAIN, VIPSEG, VIPSEG_THINGS
from xinc.signals.clip import Clip
from xinc.signals.labels import Segment
from xinc.signals.segments import ENCODINGS, common_stem


def save_frames(folder: Path, names: list[str], size: tuple[int, int] = (8, 12)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size[::-1], (9, 99, 199)).save(folder / f"{name}.png")
    return folder


def save_labels(path: Path, values: list[int], layout: str = "L", size: tuple[int, int] = (8, 12)) -> Path:
    """A label image whose columns carry the values, each over an equal share of the width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plane = np.repeat(np.array(values), -(-size[1] // len(values)))[None, : size[1]].repeat(size[0], axis=0)
    if layout == "RGB":
        image = Image.fromarray(np.stack([plane & 255, plane >> 8 & 255, plane >> 16], axis=-1).astype(np.uint8))
    elif layout == "P":
        image = Image.fromarray(plane.astype(np.uint8), "P")
        image.putpalette([i for v in range(256) for i in (v, 255 - v, v)])
    else:
        image = Image.fromarray(plane.astype({"L": np.uint8, "I;16": np.uint16}[layout]))
    image.save(path)
    return path


def table(clip: Clip) -> dict[int, tuple[str, str, int]]:
    assert clip.segments is not None
    return {s.id: (s.category, s.kind, s.instance) for s in clip.segments.table[1:]}


def opened(tmp_path: Path, values: list[int], layout: str, encoding: str = "auto") -> Clip:
    save_frames(tmp_path / "frames", ["a"])
    labels = save_labels(tmp_path / "labels" / "a.png", values, layout)
    return open_signal(tmp_path / "frames", segments=labels, encoding=encoding)


@pytest.mark.parametrize(
    ("layout", "values", "expected"),
    [
        pytest.param(
            "I;16",
            [0, 3, 7, 24, 26_000, 26_003],
            {
                7: ("road", "stuff", -1),
                24: ("person group", "stuff", -1),
                26_000: ("car", "thing", 0),
                26_003: ("car", "thing", 3),
            },
            id="cityscapes",
        ),
        pytest.param(
            "I;16",
            [0, 1, 124, 6100, 6101, 6101],
            {
                1: ("wall", "stuff", -1),
                124: ("train", "stuff", -1),
                6100: ("person", "thing", 0),
                6101: ("person", "thing", 1),
            },
            id="vipseg",
        ),
        pytest.param(
            "I;16",
            [255, 0, 10, 13_002],
            {7: ("road", "stuff", -1), 23: ("sky", "stuff", -1), 26_002: ("car", "thing", 2)},
            id="cityscapes-vps",
        ),
        pytest.param(
            "RGB",
            [0, 5, 70_000, 9_000_000],
            {i: ("object", "thing", i) for i in (5, 70_000, 9_000_000)},
            id="coco without JSON",
        ),
        pytest.param("P", [0, 1, 2, 255], {i: ("object", "thing", i) for i in (1, 2)}, id="palette with void"),
        pytest.param("P", [0, 44], {44: ("object", "thing", 44)}, id="one object"),
        pytest.param("L", [0, 255], {255: ("object", "thing", 255)}, id="foreground mask"),
        pytest.param("L", [0, 1, 2], {i: ("object", "thing", i) for i in (1, 2)}, id="grey indices"),
        pytest.param("I;16", [0, 300, 301], {300: ("door", "thing", 0), 301: ("door", "thing", 1)}, id="vipseg doors"),
        pytest.param("L", [0], {}, id="nothing annotated"),
    ],
)
def test_what_numbers_mean_is_found_from_them(
    tmp_path: Path,
    layout: str,
    values: list[int],
    expected: dict[int, tuple[str, str, int]],
) -> None:
    clip = opened(tmp_path, values, layout)
    assert table(clip) == expected
    assert clip.segments is not None
    assert clip.segments.table[0] == Segment(0, "other", "other")
    assert set(np.unique(clip.segments.labels[0])) <= {0, *expected}


def test_an_encoding_can_be_said(tmp_path: Path) -> None:
    """Eight bits of plain class numbers could be objects; only the user knows that they are Cityscapes classes."""
    assert table(opened(tmp_path, [7, 8, 0], "L"))[7][0] == "object"
    assert table(opened(tmp_path, [7, 8, 0], "L", "cityscapes")) == {
        7: ("road", "stuff", -1),
        8: ("sidewalk", "stuff", -1),
    }
    with pytest.raises(SignalError, match="no label encoding 'citscapes'; choose one of auto, cityscapes"):
        opened(tmp_path, [7], "L", "citscapes")


def test_the_class_tables_are_the_published_ones() -> None:
    assert len(VIPSEG) == 124
    assert (VIPSEG[1], VIPSEG[3], VIPSEG[49], VIPSEG[61], VIPSEG[124]) == ("wall", "door", "car", "person", "train")
    assert len(VIPSEG_THINGS) == 58
    assert {3, 49, 61, 124} <= VIPSEG_THINGS
    assert not {1, 2, 19, 29} & VIPSEG_THINGS
    assert (CITYSCAPES[7], CITYSCAPES[24], CITYSCAPES[33]) == ("road", "person", "bicycle")
    assert [CITYSCAPES[i] for i in CITYSCAPES_TRAIN][::6] == ["road", "traffic light", "rider", "bicycle"]
    assert set(ENCODINGS) == {
        *("cityscapes", "vipseg", "cityscapes-vps", "coco", "objects"),
        *("instances", "classes", "sceneparsing", "camvid", "ade20k"),
    }


@pytest.mark.parametrize(
    ("frame", "label"),
    [
        ("aachen_000000_000019_leftImg8bit", "aachen_000000_000019_gtFine_instanceIds"),
        ("aachen_000000_000019_leftImg8bit", "aachen_000000_000019_gtCoarse_instanceIds"),
        ("0005_0025_frankfurt_000000_001736_newImg8bit", "0005_0025_frankfurt_000000_001736_final_mask"),
        ("0005_0028_frankfurt_000000_001751_leftImg8bit", "0005_0028_frankfurt_000000_001751_gtFine_color"),
        ("00012", "12"),
        ("plain", "plain"),
    ],
)
def test_a_frame_and_its_label_image_share_a_stem(frame: str, label: str) -> None:
    assert common_stem(frame) == common_stem(label)


def test_frames_of_one_stem_are_told_apart() -> None:
    assert len({common_stem(n) for n in ("a_1", "a_2", "a_01", "1", "10", "leftImg8bit")}) == 6


def test_label_images_belong_to_the_frames_of_their_stem(tmp_path: Path) -> None:
    """Partly annotated, with a label image too many, and label images that stay where frames are skipped."""
    frames = save_frames(tmp_path / "frames", [f"{i:05d}" for i in range(6)])
    for i in (0, 2, 5, 9):
        save_labels(tmp_path / "labels" / f"{i}.png", [0, i + 1], "P")
    clip = open_signal(frames, segments=tmp_path / "labels")
    assert clip.segments is not None
    assert {i: int(plane.max()) for i, plane in clip.segments.labels.items()} == {0: 1, 2: 3, 5: 6}
    part = open_signal(frames, start=1, every=2, segments=tmp_path / "labels")
    assert part.segments is not None
    assert {i: int(plane.max()) for i, plane in part.segments.labels.items()} == {2: 6}


def test_cityscapes_annotations_are_no_frames_and_the_right_one_is_read(tmp_path: Path) -> None:
    for scene in ("a_000000_000019", "a_000001_000019"):
        save_frames(tmp_path, [f"{scene}_leftImg8bit"])
        save_labels(tmp_path / f"{scene}_gtFine_instanceIds.png", [7, 26_001], "I;16")
        save_labels(tmp_path / f"{scene}_gtFine_labelIds.png", [7, 26], "L")
        save_labels(tmp_path / f"{scene}_gtFine_color.png", [7, 26], "RGB")
    clip = open_signal(tmp_path, segments=tmp_path)
    assert len(clip) == 2
    assert table(clip) == {7: ("road", "stuff", -1), 26_001: ("car", "thing", 1)}
    one = open_signal(tmp_path / "a_000001_000019_leftImg8bit.png", segments=tmp_path)
    assert table(one) == table(clip)


def test_one_image_and_one_label_image_need_no_common_name(tmp_path: Path) -> None:
    save_frames(tmp_path, ["photo"])
    labels = save_labels(tmp_path / "masks" / "other.png", [0, 1])
    assert table(open_signal(tmp_path / "photo.png", segments=labels)) == {1: ("object", "thing", 1)}


def test_a_label_map_that_is_a_pixel_off_is_fitted_and_said_once(tmp_path: Path) -> None:
    frames = save_frames(tmp_path / "frames", ["1", "2", "3"], (48, 86))
    for i in (1, 2, 3):
        save_labels(tmp_path / "labels" / f"{i}.png", [0, 1], "P", (48, 85 if i > 1 else 86))
    with pytest.warns(UserWarning, match="2 of 3 label images are not quite of the frames' size 48×86") as said:
        clip = open_signal(frames, size=(24, 43), segments=tmp_path / "labels")
    assert len(said) == 1
    assert clip.segments is not None
    for plane in clip.segments.labels.values():
        assert plane.shape == (24, 43)
        assert abs(int((plane == 1).sum()) - 24 * 43 // 2) <= 24


def test_labels_are_cropped_as_the_frames_are(tmp_path: Path) -> None:
    """The outer sixths of a 1:3 picture are cut for a target of 1:2, with what they show."""
    save_frames(tmp_path, ["a"], (10, 30))
    labels = save_labels(tmp_path / "labels" / "a.png", [1, 2, 2, 2, 2, 3], "P", (10, 30))
    clip = open_signal(tmp_path / "a.png", size=(5, 10), segments=labels)
    assert table(clip) == {2: ("object", "thing", 2)}
    assert clip.segments is not None
    assert clip.segments.labels[0].tolist() == [[2] * 10] * 5


def bad_size(path: Path) -> None:
    save_labels(path / "a.png", [0, 1], "P", (8, 20))


def truncated(path: Path) -> None:
    save_labels(path / "a.png", [0, 1], "P", (8, 12)).write_bytes(b"\x89PNG\r\n")


def floats(path: Path) -> None:
    path.mkdir()
    Image.fromarray(np.ones((8, 12), np.float32)).save(path / "a.tif")


def other_names(path: Path) -> None:
    save_labels(path / "mask_a.png", [0, 1])


def mixed(path: Path) -> None:
    save_labels(path / "a.png", [0, 1], "P")
    save_labels(path / "b.png", [0, 1], "RGB")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bad_size, r"a.png is 8×20 \(height × width\) but its frame is 8×12; resize the label image"),
        (truncated, "a.png is not an image"),
        (floats, "a.tif is no label image: its mode is F"),
        (other_names, "no label image .* has the stem of a frame: label images such as mask_a.png, frames such as a;"),
        (mixed, r"several kinds \(palette, rgb\)"),
        (Path.mkdir, "holds no label image"),
        (lambda path: None, "no label image or folder"),
    ],
)
def test_labels_that_cannot_be_used_give_one_clear_line(tmp_path: Path, make: object, message: str) -> None:
    assert callable(make)
    frames = save_frames(tmp_path / "frames", ["a", "b"])
    make(tmp_path / "labels")
    with pytest.raises(SignalError, match=message) as error:
        open_signal(frames, segments=tmp_path / "labels")
    assert "\n" not in str(error.value)


def test_real_vipseg(shared: Path) -> None:
    data = shared / "data/vipseg_1001"
    clip = open_signal(data / "frames", size=(128, 256), count=3, segments=data / "masks")
    assert clip.segments is not None
    assert clip.segments.frames == (0,)
    assert len(clip.segments.table) == 45
    assert np.unique(clip.segments.labels[0]).tolist() == [s.id for s in clip.segments.table]


def test_real_davis_with_a_mask_of_853_columns(shared: Path) -> None:
    data = shared / "data/davis_judo"
    with pytest.warns(UserWarning, match=r"1 of 4 label images are not quite .* 480×854 \(first: 00005.png\)") as said:
        clip = open_signal(data / "frames", size=(128, 256), segments=data / "masks")
    assert len(said) == 1
    assert clip.segments is not None
    assert clip.segments.frames == (0, 5, 8, 13)
    assert [s.id for s in clip.segments.table] == [0, 1, 2, 3, 4]


def test_real_cityscapes(shared: Path) -> None:
    data = shared / "data/cityscapes"
    clip = open_signal(data, size=(128, 256), segments=data)
    assert clip.segments is not None
    assert clip.segments.frames == (0, 1)
    assert {s.category for s in clip.segments.table if s.kind == "thing"} >= {"person", "rider", "car", "bicycle"}
    (road,) = (s.id for s in clip.segments.table if s.category == "road")
    assert np.mean([plane == road for plane in clip.segments.labels.values()]) == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    ("encoding", "values", "wanted"),
    [
        ("instances", [0, 1, 255], [("object", "thing", 0), ("object", "thing", 1)]),
        ("classes", [0, 3, 255], [("class 0", "stuff", -1), ("class 3", "stuff", -1)]),
        ("sceneparsing", [0, 1, 150], [("wall", "stuff", -1), ("flag", "stuff", -1)]),
        ("camvid", [0, 10, 11], [("sky", "stuff", -1), ("bicyclist", "stuff", -1)]),
    ],
)
def test_numbers_that_count_from_zero_are_no_void(
    encoding: str, values: list[int], wanted: list[tuple[str, str, int]], tmp_path: Path
) -> None:
    segments = opened(tmp_path, values, "L", encoding).segments
    assert segments is not None
    found = [(s.category, s.kind, s.instance) for s in segments.table if s.id]
    assert found == wanted


def test_ade20k_keeps_classes_and_instances(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "frames").mkdir()
    Image.new("RGB", (4, 2)).save(tmp_path / "frames" / "a.png")
    labels = np.zeros((2, 4, 3), np.uint8)
    labels[0, :2], labels[1, :2], labels[:, 2] = (10, 44, 3), (10, 44, 4), (0, 7, 0)
    Image.fromarray(labels).save(tmp_path / "a.png")
    segments = open_signal(tmp_path / "frames", annotations=tmp_path / "a.png", encoding="ade20k").segments
    assert segments is not None
    found = [(s.category, s.kind, s.instance) for s in segments.table if s.id]
    assert found == [("class 7", "stuff", -1), ("class 300", "thing", 3), ("class 300", "thing", 4)]
    with pytest.raises(SignalError, match="two names of one thing"):
        open_signal(tmp_path / "frames", segments=tmp_path / "a.png", annotations=tmp_path / "a.png")
