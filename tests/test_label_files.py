"""Label files as strangers have them: other numbers, other companions, other modes. What is guessed is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xinc
from xinc.signals.datasets import catalogue
from xinc.signals.pictures import read_ids

SIZE = (16, 24)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(path.name)).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def label(path: Path, ids: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plane = np.zeros(SIZE, np.uint8)
    for n, value in enumerate(ids):
        plane[:, 2 * n : 2 * n + 2] = value
    Image.fromarray(plane).save(path)


def frames(folder: Path, count: int, first: int = 0) -> Path:
    for t in range(first, first + count):
        picture(folder / f"{t:05d}.png")
    return folder


def test_label_images_counted_from_1_belong_to_frames_counted_from_0(tmp_path: Path) -> None:
    frames(tmp_path / "frames", 4)
    for t in range(4):
        label(tmp_path / "labels" / f"{t + 1}.png", [t + 1])
    with pytest.warns(UserWarning, match=r"numbered from 1, the frames from 0: 1.png is taken for frame 0"):
        clip = xinc.open(tmp_path / "frames", segments=tmp_path / "labels")
    assert clip.segments is not None
    assert clip.segments.frames == (0, 1, 2, 3)
    assert [int(clip.segments.labels[t][0, 0]) for t in range(4)] == [1, 2, 3, 4]
    with pytest.warns(UserWarning, match="numbered from 1"):
        some = xinc.open(tmp_path / "frames", every=2, segments=tmp_path / "labels")
    assert some.segments is not None
    assert [int(some.segments.labels[t][0, 0]) for t in range(2)] == [1, 3]


@pytest.mark.parametrize(("numbers", "first"), [([1, 3], 0), ([0, 1, 2], 0), ([1, 2, 3], 1)])
def test_numbers_that_fit_are_taken_as_they_are(tmp_path: Path, numbers: list[int], first: int) -> None:
    frames(tmp_path / "frames", 4, first)
    for n in numbers:
        label(tmp_path / "labels" / f"{n}.png", [n + 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip = xinc.open(tmp_path / "frames", segments=tmp_path / "labels")
    assert clip.segments is not None
    assert {int(plane[0, 0]) - 1 - first for plane in clip.segments.labels.values()} == {n - first for n in numbers}
    assert set(clip.segments.frames) == {n - first for n in numbers}


def test_label_images_of_no_frame_are_named(tmp_path: Path) -> None:
    frames(tmp_path / "frames", 3)
    for name in ("0", "1", "2", "notes", "old"):
        label(tmp_path / "labels" / f"{name}.png", [1])
    with pytest.warns(UserWarning, match=r"notes.png, old.png in .* belong to no frame"):
        xinc.open(tmp_path / "frames", segments=tmp_path / "labels")


def test_a_transparent_grey_mask_is_read(tmp_path: Path) -> None:
    values = np.zeros((*SIZE, 2), np.uint8)
    values[:, :12] = (7, 255)
    values[:, 12:] = (9, 0)
    Image.fromarray(values, "LA").save(tmp_path / "mask.png")
    ids, layout = read_ids(tmp_path / "mask.png")
    assert layout == "grey"
    assert (ids[:, :12] == 7).all()
    assert not ids[:, 12:].any()


def test_a_guess_that_may_be_wrong_is_said(tmp_path: Path) -> None:
    frames(tmp_path / "frames", 1)
    label(tmp_path / "labels" / "0.png", list(range(8)))
    with pytest.warns(UserWarning, match=r"numbers 0 to 7, and are read as objects.*say encoding classes"):
        xinc.open(tmp_path / "frames", segments=tmp_path / "labels")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip = xinc.open(tmp_path / "frames", segments=tmp_path / "labels", encoding="classes")
    assert clip.segments is not None
    assert len(clip.segments.table) == 9  # other, and eight classes: 0 is one of them


def test_segments_print_in_a_line(tmp_path: Path) -> None:
    frames(tmp_path / "frames", 2)
    label(tmp_path / "labels" / "0.png", [1, 2])
    clip = xinc.open(tmp_path / "frames", segments=tmp_path / "labels")
    assert repr(clip.segments) == "Segments(on 1 frames: object 1, object 2)"


def test_frames_beside_masks_are_one_clip_whatever_they_are_called(tmp_path: Path) -> None:
    for t in range(3):
        picture(tmp_path / "clip" / "frames" / f"aachen_{t:06d}_000019_leftImg8bit.png")
        label(tmp_path / "clip" / "masks" / f"aachen_{t:06d}_000019_gtFine_instanceIds.png", [23])
    (row,) = catalogue.listing(tmp_path / "clip")
    assert (row.dataset, row.frames, row.labelled) == ("plain", 3, 3)


def test_one_file_named_as_cityscapes_does_not_hide_the_others(tmp_path: Path) -> None:
    for name in ("0", "1", "2"):
        picture(tmp_path / "mixed" / "pictures" / f"{name}.png")
    picture(tmp_path / "mixed" / "pictures" / "aachen_000000_000019_leftImg8bit.png")
    with pytest.raises(xinc.XincError):
        catalogue.recognise(tmp_path / "mixed")
    for name in ("0", "1", "2"):
        label(tmp_path / "labels" / f"{name}.png", [1])
    label(tmp_path / "labels" / "aachen_000000_000019_gtFine_instanceIds.png", [1])
    clip = xinc.open(frames(tmp_path / "frames", 3), segments=tmp_path / "labels", encoding="objects")
    assert clip.segments is not None
    assert clip.segments.frames == (0, 1, 2)
