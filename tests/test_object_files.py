"""Objects in JSON files: polygons and run lengths, over images and videos, against masks that NumPy draws."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import xinc
from xinc.errors import SignalError

SIZE = (12, 16)
CATEGORIES = [{"id": 1, "name": "dog", "isthing": 1}, {"id": 7, "name": "grass", "isthing": 0}]


def frames(folder: Path, count: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.full((*SIZE, 3), 60 * i, np.uint8)).save(folder / f"{i:04d}.png")
    return folder


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths down the columns, by counting one pixel after another."""
    counts, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def packed(counts: list[int]) -> str:
    """COCO's string for run lengths, from its description: differences to two before, five bits a character."""
    text = ""
    for n, count in enumerate(counts):
        left = count - (counts[n - 2] if n > 2 else 0)
        while True:
            bits, left = left & 31, left >> 5
            more = left != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


def box(y0: int, x0: int, y1: int, x1: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


DOG, MOVED = box(2, 3, 7, 9), box(4, 5, 9, 11)


def outline(mask: NDArray[np.bool_], how: str) -> Any:
    if how == "polygon":
        ys, xs = np.nonzero(mask)
        y0, x0, y1, x1 = int(ys.min()), int(xs.min()), int(ys.max()) + 1, int(xs.max()) + 1
        return [[x0, y0, x1, y0, x1, y1, x0, y1]]
    return {"size": [*SIZE], "counts": runs(mask) if how == "runs" else packed(runs(mask))}


def images_file(path: Path, how: str, **more: Any) -> Path:
    content = {
        "images": [{"id": 5 + i, "file_name": f"{i:04d}.png", "height": SIZE[0], "width": SIZE[1]} for i in range(2)],
        "categories": CATEGORIES,
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "segmentation": outline(DOG, how), **more},
            {"id": 2, "image_id": 6, "category_id": 1, "segmentation": outline(MOVED, how), **more},
        ],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("how", ["polygon", "runs", "string"])
def test_objects_of_images_lie_where_they_were_drawn(how: str, tmp_path: Path) -> None:
    clip = xinc.open(frames(tmp_path / "f"), annotations=images_file(tmp_path / "a.json", how, track_id=4))
    assert clip.segments is not None
    assert [(s.category, s.kind, s.instance) for s in clip.segments.table[1:]] == [("dog", "thing", 1)]
    for frame, mask in ((0, DOG), (1, MOVED)):
        np.testing.assert_array_equal(clip.segments.labels[frame], mask.astype(np.int32))


def test_without_tracks_each_annotation_is_an_object(tmp_path: Path) -> None:
    clip = xinc.open(frames(tmp_path / "f"), annotations=images_file(tmp_path / "a.json", "runs"))
    assert clip.segments is not None
    assert [(s.category, s.instance) for s in clip.segments.table[1:]] == [("dog", 1), ("dog", 2)]


def test_run_lengths_of_a_hard_mask_come_back(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random(SIZE) > 0.5
    content = json.loads(images_file(tmp_path / "a.json", "runs").read_text())
    content["annotations"] = content["annotations"][:1]
    content["annotations"][0]["segmentation"] = outline(mask, "string")
    (tmp_path / "a.json").write_text(json.dumps(content))
    clip = xinc.open(frames(tmp_path / "f"), annotations=tmp_path / "a.json")
    assert clip.segments is not None
    np.testing.assert_array_equal(clip.segments.labels[0] > 0, mask)


def test_tracks_of_videos_keep_their_object(tmp_path: Path) -> None:
    content = {
        "videos": [
            {"id": 1, "file_names": ["other/0000.jpg", "other/9999.jpg"]},
            {"id": 2, "file_names": ["mine/0000.jpg", "mine/0001.jpg"]},
        ],
        "categories": CATEGORIES,
        "annotations": [
            {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [outline(box(0, 0, 2, 2), "runs")] * 2},
            {"id": 8, "video_id": 2, "category_id": 1, "segmentations": [outline(DOG, "runs"), None]},
            {"id": 9, "video_id": 2, "category_id": 7, "segmentations": [outline(box(0, 0, 12, 16), "runs")] * 2},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    clip = xinc.open(frames(tmp_path / "f"), annotations=tmp_path / "a.json")
    assert clip.segments is not None
    assert [s.category for s in clip.segments.table[1:]] == ["dog", "grass"]
    np.testing.assert_array_equal(clip.segments.labels[0], np.where(DOG, 1, 2))  # the small one on the large one
    np.testing.assert_array_equal(clip.segments.labels[1], np.full(SIZE, 2))


def panoptic(folder: Path) -> dict[str, Any]:
    """Two frames with grass and a dog each, as colours, and what the JSON file says of them."""
    masks = folder / "masks"
    masks.mkdir(parents=True)
    for i in range(2):
        colours = np.zeros((*SIZE, 3), np.uint8)
        colours[:] = (200, 3, 0)
        colours[DOG] = (17, 4, 1)
        Image.fromarray(colours).save(masks / f"{i:04d}.png")
    infos = [{"id": 200 + 3 * 256, "category_id": 7}, {"id": 17 + 4 * 256 + 65536, "category_id": 1}]
    return {
        "images": [{"id": i, "file_name": f"{i:04d}.jpg"} for i in range(2)],
        "categories": CATEGORIES,
        "annotations": [{"image_id": i, "file_name": f"{i:04d}.png", "segments_info": infos} for i in range(2)],
    }


@pytest.mark.parametrize("way", ["data set", "annotations"])
def test_a_panoptic_file_beside_its_colours_says_what_is_stuff(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    frames(folder / "frames")
    (folder / "panoptic.json").write_text(json.dumps(panoptic(folder)))
    clip = (
        xinc.open(folder) if way == "data set" else xinc.open(folder / "frames", annotations=folder / "panoptic.json")
    )
    assert clip.segments is not None
    assert [(s.category, s.kind) for s in clip.segments.table[1:]] == [("grass", "stuff"), ("dog", "thing")]
    np.testing.assert_array_equal(clip.segments.labels[1] == 17 + 4 * 256 + 65536, DOG)


def test_colours_without_a_file_are_doubted(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    panoptic(folder)
    with pytest.warns(UserWarning, match="taken for an object each; a panoptic JSON file says which are stuff"):
        clip = xinc.open(frames(folder / "frames"), annotations=folder / "masks")
    assert clip.segments is not None
    assert {s.kind for s in clip.segments.table[1:]} == {"thing"}


def test_colours_of_driving_keep_their_classes(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    plane = np.full(SIZE, 7)
    plane[DOG] = 26001
    Image.fromarray(np.stack([plane & 255, plane >> 8, plane * 0], -1).astype(np.uint8)).save(masks / "0000.png")
    clip = xinc.open(frames(tmp_path / "f", 1), annotations=masks)
    assert clip.segments is not None
    assert [(s.category, s.kind) for s in clip.segments.table[1:]] == [("road", "stuff"), ("car", "thing")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotations": 3}, "its annotations are none"),
        ({"categories": []}, "lists no category 1, which an object has"),
        ({"images": [{"id": 5, "file_name": "else.png"}, {"id": 6, "file_name": "where.png"}]}, "names no frame"),
        ({"counts": [1, 2]}, "run lengths that do not fill a frame of 12×16"),
        ({"counts": [10**30]}, "run lengths that do not fill a frame of 12×16"),
        ({"counts": "ooooooooooooooooo"}, "run lengths that do not fill a frame of 12×16"),
        ({"counts": [-1, 193]}, "run lengths that do not fill a frame of 12×16"),
        ({"size": [10**9, 10**9]}, "run lengths of size"),
        ({"polygon": [["a", "b"]]}, "a polygon that is no list"),
    ],
)
def test_a_file_that_cannot_be_used_gives_one_line(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = images_file(tmp_path / "a.json", "runs")
    content = json.loads(path.read_text())
    for key, value in change.items():
        if key in content:
            content[key] = value
        elif key == "polygon":
            content["annotations"][0]["segmentation"] = value
        else:
            content["annotations"][0]["segmentation"][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(SignalError, match=re.escape(words)):
        xinc.open(frames(tmp_path / "f"), annotations=path)


def test_classes_have_the_names_that_a_file_gives(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.where(DOG, 2, 0).astype(np.uint8)).save(masks / "0000.png")
    (masks / "classes.txt").write_text("sky\nsea\nsand\n")
    clip = xinc.open(frames(tmp_path / "f", 1), annotations=masks, encoding="classes")
    assert clip.segments is not None
    assert [s.category for s in clip.segments.table[1:]] == ["sky", "sand"]
