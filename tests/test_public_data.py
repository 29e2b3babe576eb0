"""Public data as its notes describe it: what opens, with which segments, against the files' own numbers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xinc
from xinc.signals.classes import CAMVID, SCENE_PARSING

DAVIS = ["blackswan", "breakdance", "camel", "car-roundabout", "cows", "dance-twirl", "dog", "goat", "tennis"]


def opened(folder: Path, masks: str = "masks", encoding: str = "auto", **how: Any) -> xinc.Clip:
    signal = folder / "video.mp4" if (folder / "video.mp4").exists() else folder / "frames"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # guesses and strays that are said
        return xinc.open(signal, annotations=folder / masks, encoding=encoding, **how)


def numbers(folder: Path) -> set[int]:
    """All numbers in a folder of label images; colours as R + 256 G + 65536 B."""
    found: set[int] = set()
    for path in folder.glob("*.png"):
        plane = np.asarray(Image.open(path)).astype(np.int64)
        found |= {*np.unique(plane if plane.ndim == 2 else plane[..., :3] @ np.array([1, 256, 65536])).tolist()}
    return found


def segments_of(clip: xinc.Clip) -> list[tuple[str, str]]:
    assert clip.segments is not None
    return [(s.category, s.kind) for s in clip.segments.table[1:]]


@pytest.mark.parametrize("name", DAVIS)
def test_davis_has_one_object_in_every_frame(name: str, shared: Path) -> None:
    clip = opened(shared / "data" / "clips" / f"davis_{name}")
    assert clip.size == (480, 854)
    assert segments_of(clip) == [("object", "thing")]
    assert clip.segments is not None
    assert clip.segments.frames == tuple(range(len(clip)))


@pytest.mark.parametrize(
    ("folder", "masks", "objects", "frames"),
    [
        ("davis_schoolgirls_432", "masks", 7, 80),
        ("davis_dogs-jump_432", "masks", 3, 66),
        ("ytvos_003234408d", "masks", 5, 15),
        ("davis_gold-fish", "masks_osvos", None, None),
        ("sintel_alley_1", "masks", 55, 10),
    ],
)
def test_objects_that_last(folder: str, masks: str, objects: int | None, frames: int | None, shared: Path) -> None:
    place = shared / "data" / "clips" / folder
    clip = opened(place, masks)
    ids = numbers(place / masks) - {0}
    assert clip.segments is not None
    assert {s.id for s in clip.segments.table} - {0} == ids
    assert {kind for _, kind in segments_of(clip)} == {"thing"}
    if objects is not None:
        assert (len(ids), len(clip.segments.frames)) == (objects, frames)


def test_camvid_has_a_sky_and_no_void(shared: Path) -> None:
    place = shared / "data" / "clips" / "camvid_16E5"
    clip = opened(place, encoding="camvid")
    there = numbers(place / "masks")
    assert segments_of(clip) == [(CAMVID[n], "stuff") for n in sorted(there - {11})]
    sky = np.asarray(Image.open(sorted((place / "masks").glob("*.png"))[0])) == 0
    assert clip.segments is not None
    np.testing.assert_array_equal(clip.segments.labels[0] == 1, sky)
    with pytest.warns(UserWarning, match="0 being none of them"):  # a guess is doubted
        xinc.open(place / "frames", annotations=place / "masks")


def test_cityscapes_sequence_is_semantic(shared: Path) -> None:
    clip = opened(shared / "data" / "clips" / "cityscapes_seq_aachen0")
    found = segments_of(clip)
    assert ("road", "stuff") in found
    assert {kind for _, kind in found} == {"stuff"}
    assert all(not category.startswith("class") for category, _ in found)


@pytest.mark.parametrize("name", ["cityscapes_aachen_000001", "cityscapes_aachen_000002"])
def test_cityscapes_photographs_are_panoptic(name: str, shared: Path) -> None:
    place = shared / "data" / "photos" / name
    found = segments_of(opened(place))
    assert ("road", "stuff") in found
    assert found.count(("car", "thing")) == sum(n // 1000 == 26 for n in numbers(place / "masks"))


@pytest.mark.parametrize("name", ["coco_000000142238", "coco_000000439180"])
@pytest.mark.parametrize("way", ["folder", "json"])
def test_coco_panoptic_knows_stuff_from_things(name: str, way: str, shared: Path) -> None:
    place = shared / "data" / "photos" / name
    content = json.loads((place / "panoptic.json").read_text())
    things = {c["id"]: bool(c["isthing"]) for c in content["categories"]}
    named = {c["id"]: c["name"] for c in content["categories"]}
    (annotation,) = (a for a in content["annotations"] if a["file_name"] == f"{name.removeprefix('coco_')}.png")
    clip = xinc.open(place) if way == "folder" else xinc.open(place / "frames", annotations=place / "panoptic.json")
    wanted = {
        (i["id"], named[i["category_id"]] if not i["iscrowd"] else f"{named[i['category_id']]} group",
         "thing" if things[i["category_id"]] and not i["iscrowd"] else "stuff")
        for i in annotation["segments_info"]
    }  # fmt: skip
    assert clip.segments is not None
    assert {(s.id, s.category, s.kind) for s in clip.segments.table[1:]} == wanted


@pytest.mark.parametrize("name", ["cocostuff_000000000139", "cocostuff_000000000785", "cocostuff_000000001268"])
def test_cocostuff_counts_from_zero(name: str, shared: Path) -> None:
    place = shared / "data" / "photos" / name
    things = opened(place, encoding="instances")
    assert things.segments is not None
    assert {s.id - 1 for s in things.segments.table[1:]} == numbers(place / "masks") - {255}
    classes = opened(place, "labels", encoding="classes")
    assert segments_of(classes) == [(f"class {n}", "stuff") for n in sorted(numbers(place / "labels") - {255})]
    with pytest.warns(UserWarning, match="0 being none of them"):
        xinc.open(place / "frames", annotations=place / "masks")


def test_scene_parsing_has_names(shared: Path) -> None:
    place = shared / "data" / "photos" / "sceneparsing_1"
    clip = opened(place, encoding="sceneparsing")
    assert segments_of(clip) == [(SCENE_PARSING[n], "stuff") for n in sorted(numbers(place / "masks") - {0})]


def test_ade20k_has_classes_and_instances(shared: Path) -> None:
    place = shared / "data" / "photos" / "ade20k_16869"
    clip = opened(place, encoding="ade20k")
    (path,) = (place / "masks").glob("*.png")
    red, green, blue = np.moveaxis(np.asarray(Image.open(path)).astype(int)[..., :3], -1, 0)
    classes = red // 10 * 256 + green
    wanted = {*zip(classes[classes > 0].tolist(), blue[classes > 0].tolist(), strict=True)}
    assert clip.segments is not None
    assert {divmod(s.id, 256) for s in clip.segments.table[1:]} == wanted


def test_a_clip_without_annotations_opens(shared: Path) -> None:
    clip = xinc.open(shared / "data" / "clips" / "video_basketballpass" / "frames")
    assert (len(clip), clip.segments) == (16, None)
