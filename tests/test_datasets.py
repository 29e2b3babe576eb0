"""Data sets: small trees laid out as the real ones, read in one way; what is amiss in them is said once."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import xinc
from click_free import xinc as command
from xinc.errors import SignalError
from xinc.show.subjects import signal_name
from xinc.signals.clip import Clip
from xinc.signals.datasets import catalogue as datasets
from xinc.workflow.job import Analysing, Fitting, Source, explain_tasks

SIZE = (16, 32)
CATEGORIES = [
    {"id": 10, "name": "sky", "isthing": 0},
    {"id": 11, "name": "person", "isthing": 1},
    {"id": 13, "name": "car", "isthing": 1},
]


def picture(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (shade, shade, shade)).save(path)
    return path


def bands(values: list[int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A label map whose columns carry the values in equal shares."""
    return np.repeat(np.array(values), size[1] // len(values))[None].repeat(size[0], axis=0)


def mask(path: Path, values: list[int], kind: str = "I;16", size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plane = bands(values, size)
    if kind == "RGB":
        image = Image.fromarray(np.stack([plane & 255, plane >> 8 & 255, plane >> 16], axis=-1).astype(np.uint8))
    else:
        image = Image.fromarray(plane.astype(np.uint16 if kind == "I;16" else np.uint8))
    if kind == "P":
        image = image.convert("P")
    image.save(path)
    return path


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def named(clip: Clip) -> dict[int, tuple[str, str, int]]:
    assert clip.segments is not None
    return {s.id: (s.category, s.kind, s.instance) for s in clip.segments.table}


# --- Cityscapes-VPS: 30 frames, every fifth annotated, 0 road ... 18 bicycle, 255 void -------------------------------

VPS_VALUES = {
    4: [0, 255, 13_000, 13_001],
    9: [0, 255, 13_000, 13_001],
    14: [0, 255, 255, 13_001],  # car 0 leaves ...
    19: [0, 255, 255, 255],  # ... nobody is there ...
    24: [255, 255, 255, 255],  # ... nothing is annotated at all ...
    29: [0, 255, 13_000, 11_000],  # ... and car 0 comes back
}


def vps(root: Path, video: str = "0005", sequence: str = "frankfurt_000000", first: int = 1732) -> Path:
    for i in range(30):
        picture(root / "val/img_all" / f"{sequence}_{first + i:06d}_leftImg8bit.png", i)
    for n, (i, values) in enumerate(VPS_VALUES.items()):
        ending = "gtFine_color" if i == 19 else "final_mask"
        mask(root / "val/panoptic_inst" / f"{video}_{25 + n:04d}_{sequence}_{first + i:06d}_{ending}.png", values)
    return root


def as_coloured(root: Path) -> Path:
    """The same annotations as ``panoptic_video`` and JSON only, with colours as the published script chooses them."""
    colours = {0: 8_405_120, 13_000: 142, 13_001: 200, 11_000: 3_937_500}
    annotations = []
    for path in sorted((root / "val/panoptic_inst").glob("*.png")):
        ids = np.asarray(Image.open(path)).astype(int)
        mask(root / "val/panoptic_video" / path.name, [colours.get(int(v), 0) for v in ids[0, :: SIZE[1] // 4]], "RGB")
        infos = [
            {"id": colours[v], "category_id": v // 1000 if v >= 1000 else 10, "iscrowd": 0}
            for v in map(int, np.unique(ids))
            if v in colours
        ]
        annotations.append({"image_id": path.stem.rsplit("_", 2)[0], "file_name": path.name, "segments_info": infos})
        path.unlink()
    (root / "val/panoptic_inst").rmdir()
    write_json(
        root / "panoptic_gt_val_city_vps.json", {"images": [], "annotations": annotations, "categories": CATEGORIES}
    )
    return root


def test_cityscapes_vps(tmp_path: Path) -> None:
    root = vps(tmp_path)
    vps(tmp_path, "0015", "munster_000001", 100)
    assert datasets.recognise(root) == "Cityscapes-VPS"
    rows = datasets.listing(root)
    assert [(r.video, r.frames, r.labelled, r.segments, r.things, r.missing) for r in rows] == [
        ("val/0005", 30, 6, 4, 3, 0),
        ("val/0015", 30, 6, 4, 3, 0),
    ]
    assert datasets.summary(rows) == datasets.Summary("Cityscapes-VPS", 2, (3, 3), (30, 30), 0.2)
    clip = datasets.open(root, video="0015", size=(8, 16))
    assert (len(clip), clip.size, clip.fps) == (30, (8, 16), 17)
    assert clip.names[0] == "munster_000001_000100_leftImg8bit"
    assert clip.segments is not None
    assert clip.segments.frames == (4, 9, 14, 19, 24, 29)
    assert named(clip) == {
        0: ("other", "other", -1),
        7: ("road", "stuff", -1),
        24_000: ("person", "thing", 0),
        26_000: ("car", "thing", 0),
        26_001: ("car", "thing", 1),
    }


def test_an_instance_that_leaves_and_returns_stays_the_same(tmp_path: Path) -> None:
    clip = datasets.open(vps(tmp_path) / "val", size=(8, 16))
    assert clip.segments is not None
    seen = {i: 26_000 in plane for i, plane in clip.segments.labels.items()}
    assert seen == {4: True, 9: True, 14: False, 19: False, 24: False, 29: True}


def test_an_annotated_frame_in_which_nothing_is_annotated_is_other_throughout(tmp_path: Path) -> None:
    clip = datasets.open(vps(tmp_path), size=(8, 16))
    assert clip.segments is not None
    assert np.unique(clip.segments.labels[24]).tolist() == [0]


def test_cityscapes_vps_by_colours_and_json(tmp_path: Path) -> None:
    clip = datasets.open(as_coloured(vps(tmp_path)), size=(8, 16))
    assert clip.segments is not None
    assert clip.segments.frames == (4, 9, 14, 19, 24, 29)
    assert set(named(clip).values()) == {
        ("other", "other", -1),
        ("sky", "stuff", -1),
        ("car", "thing", 1),
        ("car", "thing", 2),
        ("person", "thing", 1),
    }
    assert [142 in plane for plane in clip.segments.labels.values()] == [True, True, False, False, False, True]
    assert datasets.listing(tmp_path)[0].things == 3


def test_colours_without_json_are_still_segments(tmp_path: Path) -> None:
    root = as_coloured(vps(tmp_path))
    (root / "panoptic_gt_val_city_vps.json").unlink()
    assert {c for c, _, _ in named(datasets.open(root)).values()} == {"other", "object"}


def test_without_all_frames_the_annotated_ones_are_read(tmp_path: Path) -> None:
    root = vps(tmp_path)
    for path in (root / "val/panoptic_inst").glob("*.png"):
        base, ending = path.stem.rsplit("_", 2)[0], "leftImg8bit" if "gtFine" in path.stem else "newImg8bit"
        picture(root / "val/img" / f"{base}_{ending}.png")
    for path in (root / "val/img_all").iterdir():
        path.unlink()
    (root / "val/img_all").rmdir()
    clip = datasets.open(root)
    assert clip.segments is not None
    assert (len(clip), clip.segments.frames, clip.fps) == (6, (0, 1, 2, 3, 4, 5), None)


def test_missing_frames_are_said_once_and_left_out(tmp_path: Path) -> None:
    root = vps(tmp_path)
    for i in (0, 9):  # one that nobody annotated and one that is annotated
        (root / f"val/img_all/frankfurt_000000_{1732 + i:06d}_leftImg8bit.png").unlink()
    assert (datasets.listing(root)[0].missing, datasets.listing(root)[0].labelled) == (2, 5)
    with pytest.warns(UserWarning, match=r"2 files of val/0005 are missing \(first: frankfurt_000000_001732\)") as said:
        clip = datasets.open(root)
    assert len(said) == 1
    assert clip.segments is not None
    assert (len(clip), clip.segments.frames) == (28, (3, 12, 17, 22, 27))
    assert named(clip)[26_001] == ("car", "thing", 1)


def test_missing_label_images_neither_lengthen_nor_shorten_a_video(tmp_path: Path) -> None:
    """The first and the third are gone: those left are ten frames apart, and ``img`` knows where the video begins."""
    root = unlabelled_vps(tmp_path, "val")
    vps(tmp_path)
    for i in (4, 14):
        next((root / "val/panoptic_inst").glob(f"*_{1732 + i:06d}_*")).unlink()
    row = datasets.listing(root)[0]
    assert (row.frames, row.labelled, row.missing) == (30, 4, 2)
    said = r"2 files of val/0005 are missing \(first: the label image of frankfurt_000000_001736\)"
    with pytest.warns(UserWarning, match=said) as notes:
        clip = datasets.open(root, size=(8, 16))
    assert len(notes) == 1
    assert clip.segments is not None
    assert clip.segments.frames == (9, 19, 24, 29)
    for path in (root / "val/img").iterdir():
        path.unlink()
    assert (datasets.listing(root)[0].frames, datasets.listing(root)[0].missing) == (25, 0)


def unlabelled_vps(root: Path, split: str = "test", video: str = "0005", first: int = 1732) -> Path:
    """A split as the published scripts leave it where no label is given away: all frames, and those of ``img``."""
    for i in range(30):
        picture(root / split / "img_all" / f"frankfurt_000000_{first + i:06d}_leftImg8bit.png", i)
    for n, i in enumerate(VPS_VALUES):
        ending = "leftImg8bit" if i == 19 else "newImg8bit"
        picture(root / split / "img" / f"{video}_{25 + n:04d}_frankfurt_000000_{first + i:06d}_{ending}.png", i)
    return root


def test_the_split_without_labels_is_listed_and_opens_without_segments(tmp_path: Path) -> None:
    root = vps(tmp_path)
    unlabelled_vps(root)
    unlabelled_vps(root, video="0010", first=4000)
    rows = datasets.listing(root)
    assert [(r.video, r.frames, r.labelled, r.segments, r.missing) for r in rows] == [
        ("test/0005", 30, 0, 0, 0),
        ("test/0010", 30, 0, 0, 0),
        ("val/0005", 30, 6, 4, 0),
    ]
    with pytest.warns(UserWarning, match="no frame of test/0010 is annotated; the clip has no segments") as said:
        clip = xinc.open(f"{root}:test/0010", size=(8, 16))
    assert len(said) == 1
    assert (len(clip), clip.segments, clip.fps) == (30, None, 17)
    assert clip.names[0] == "frankfurt_000000_004000_leftImg8bit"
    with pytest.raises(SignalError, match=r"name one of its videos, as .*:test/0005; there are 2"):
        xinc.open(f"{root}:0005")


def test_a_split_without_labels_alone_is_recognised(tmp_path: Path) -> None:
    unlabelled_vps(tmp_path)
    for root, name in ((tmp_path, "test/0005"), (tmp_path / "test", "0005")):
        assert datasets.recognise(root) == "Cityscapes-VPS"
        assert [(r.video, r.frames) for r in datasets.listing(root)] == [(name, 30)]
    for path in (tmp_path / "test/img_all").iterdir():
        path.unlink()
    (tmp_path / "test/img_all").rmdir()
    assert [(r.video, r.frames, r.labelled) for r in datasets.listing(tmp_path)] == [("test/0005", 6, 0)]


def test_videos_that_no_name_tells_are_thirty_numbers_of_a_sequence(tmp_path: Path) -> None:
    """Two of a sequence that touch, one of another sequence; a frame is missing."""
    folder = tmp_path / "test/img_all"
    numbers = [("frankfurt_000000", 100, 160), ("munster_000000", 0, 30)]
    for sequence, start, stop in numbers:
        for i in range(start, stop):
            picture(folder / f"{sequence}_{i:06d}_leftImg8bit.png")
    (folder / "frankfurt_000000_000110_leftImg8bit.png").unlink()
    assert [(r.video, r.frames, r.missing) for r in datasets.listing(tmp_path)] == [
        ("test/frankfurt_000000_000100", 29, 1),
        ("test/frankfurt_000000_000130", 30, 0),
        ("test/munster_000000_000000", 30, 0),
    ]


def test_pictures_of_other_names_or_plain_cityscapes_are_no_such_split(tmp_path: Path) -> None:
    picture(tmp_path / "mine/img_all/0.png")
    assert datasets.find(tmp_path / "mine") is None
    picture(tmp_path / "stills/img/aachen_000000_000019_leftImg8bit.png")
    assert datasets.recognise(tmp_path / "stills") == "Cityscapes"


def test_an_image_of_a_single_instance(tmp_path: Path) -> None:
    """One thing fills every annotated frame: nothing is left for ``other``, which is still in the table."""
    for i in range(30):
        picture(tmp_path / "val/img_all" / f"a_000000_{i:06d}_leftImg8bit.png")
    for n, i in enumerate(VPS_VALUES):
        mask(tmp_path / "val/panoptic_inst" / f"0001_{n:04d}_a_000000_{i:06d}_final_mask.png", [13_007])
    assert datasets.listing(tmp_path)[0].segments == 1
    assert named(datasets.open(tmp_path)) == {0: ("other", "other", -1), 26_007: ("car", "thing", 7)}


def test_label_images_a_column_short_are_fitted_and_said_once(tmp_path: Path) -> None:
    root = vps(tmp_path)
    for i in (4, 9):
        path = next((root / "val/panoptic_inst").glob(f"*_{1732 + i:06d}_*"))
        Image.fromarray(np.asarray(Image.open(path))[:, :-1].copy()).save(path)
    with pytest.warns(UserWarning, match="2 of 6 label images are not quite of the frames' size 16×32") as said:
        clip = datasets.open(root)
    assert len(said) == 1
    assert clip.segments is not None
    assert {plane.shape for plane in clip.segments.labels.values()} == {SIZE}


# --- VIPSeg --------------------------------------------------------------------------------------------------------

VIPSEG_NAMES = ["00002058", "00002059", "00002060"]


def vipseg(root: Path, pictures: str = "imgs", masks: str = "panomasks") -> Path:
    for video in ("1001_xyz", "26_abc"):
        for i, name in enumerate(VIPSEG_NAMES):
            picture(root / pictures / video / f"{name}.jpg")
            if masks == "panomasks":
                mask(root / masks / video / f"{name}.png", [0, 1, 6100, 6100 + i])
    return root


def test_vipseg_as_published(tmp_path: Path) -> None:
    root = vipseg(tmp_path)
    rows = datasets.listing(root)
    assert rows == [
        datasets.VideoRow("VIPSeg", "1001_xyz", 3, *SIZE, 3, 4, 3, 1, 0),
        datasets.VideoRow("VIPSeg", "26_abc", 3, *SIZE, 3, 4, 3, 1, 0),
    ]
    assert named(datasets.open(root, video="26_abc"))[6102] == ("person", "thing", 2)


def test_vipseg_values_of_no_class_are_void(tmp_path: Path) -> None:
    """Classes 1 and 2 are stuff, so 200 and 255 are no instances of them; 125 is past the last class."""
    root = vipseg(tmp_path)
    mask(root / "panomasks/26_abc/00002058.png", [124 * 100, 200, 255, 125])
    clip = datasets.open(root, video="26_abc", count=1)
    assert clip.segments is not None
    assert set(named(clip)) == {0, 12_400}
    assert (clip.segments.labels[0] == 0).mean() == 0.75


def test_vipseg_in_the_coco_style_layout(tmp_path: Path) -> None:
    """Both mask folders agree where both are there; with the coloured one alone, the JSON file gives the categories."""
    root = vipseg(tmp_path, "images", "panomasks")
    raw = datasets.open(root, video="1001_xyz")
    colours = {1: 7_895_160, 6100: 13_158_411, 6101: 500, 6102: 501}
    categories = [{"id": 0, "name": "wall", "isthing": 0}, {"id": 60, "name": "person", "isthing": 1}]
    videos = []
    for video in ("1001_xyz", "26_abc"):
        annotations = []
        for i, name in enumerate(VIPSEG_NAMES):
            values = [1, 6100, 6100 + i]
            mask(root / f"panomasksRGB/{video}/{name}.png", [0, *(colours[v] for v in values)], "RGB")
            infos = [
                {"id": colours[v], "category_id": 0 if v == 1 else 60, "iscrowd": 0} for v in dict.fromkeys(values)
            ]
            annotations.append({"image_id": name, "file_name": f"{name}.png", "segments_info": infos})
        videos.append({"video_id": video, "annotations": annotations})
    write_json(root / "panoptic_gt_VIPSeg_val.json", {"videos": [], "annotations": videos, "categories": categories})
    for path in (root / "panomasks").rglob("*.png"):
        path.unlink()
    for folder in (*(root / "panomasks").iterdir(), root / "panomasks"):
        folder.rmdir()
    coloured = datasets.open(root, video="1001_xyz")
    assert sorted(c[:2] for c in named(coloured).values()) == sorted(c[:2] for c in named(raw).values())
    assert raw.segments is not None
    assert coloured.segments is not None
    for i in range(3):
        back = {0: 0, **{colour: value for value, colour in colours.items()}}
        assert np.array_equal(np.vectorize(back.get)(coloured.segments.labels[i]), raw.segments.labels[i])
    assert [r.things for r in datasets.listing(root)] == [3, 3]


def test_a_video_without_annotation_opens_and_says_so(tmp_path: Path) -> None:
    root = vipseg(tmp_path)
    picture(root / "imgs/test_1/00000001.jpg")
    assert datasets.listing(root)[2] == datasets.VideoRow("VIPSeg", "test_1", 1, *SIZE, 0, 0, 0, 0, 0)
    with pytest.warns(UserWarning, match="no frame of test_1 is annotated") as said:
        assert datasets.open(root, video="test_1").segments is None
    assert len(said) == 1


@pytest.mark.filterwarnings("ignore:no frame of")
def test_a_video_whose_frames_are_gone_does_not_hide_the_others(tmp_path: Path) -> None:
    root = vipseg(tmp_path)
    for path in (root / "imgs/1001_xyz").iterdir():
        path.unlink()
    assert [(r.video, r.frames, r.labelled, r.missing) for r in datasets.listing(root)] == [
        ("1001_xyz", 0, 0, 3),
        ("26_abc", 3, 3, 0),
    ]
    assert datasets.listing(root)[0].height is None
    with (
        pytest.warns(UserWarning, match="3 files of 1001_xyz are missing"),
        pytest.raises(SignalError, match="0 frames"),
    ):
        datasets.open(root, video="1001_xyz")


def test_a_label_image_without_its_frame_is_said(tmp_path: Path) -> None:
    root = vipseg(tmp_path)
    (root / "imgs/1001_xyz/00002059.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 files of 1001_xyz are missing \(first: 00002059.png\)"):
        clip = datasets.open(root, video="1001_xyz")
    assert clip.segments is not None
    assert clip.segments.frames == (0, 1)


def test_frames_can_be_chosen_and_labels_follow(tmp_path: Path) -> None:
    clip = datasets.open(vps(tmp_path), start=4, every=5, size=(4, 8))
    assert clip.segments is not None
    assert (len(clip), clip.segments.frames, clip.fps) == (6, (0, 1, 2, 3, 4, 5), 17 / 5)
    assert datasets.open(tmp_path, count=3).segments is None
    with pytest.raises(SignalError, match="has no frame 30: it has 30 frames"):
        datasets.open(tmp_path, start=30)


# --- DAVIS, COCO panoptic, Cityscapes, plain folders ---------------------------------------------------------------


@pytest.mark.parametrize("resolution", ["480p", ""])
def test_davis(tmp_path: Path, resolution: str) -> None:
    for i in range(4):
        picture(tmp_path / "JPEGImages" / resolution / "bear" / f"{i:05d}.jpg")
    for i in (0, 2):
        size = SIZE if i else (SIZE[0], SIZE[1] - 2)
        mask(tmp_path / "Annotations" / resolution / "bear" / f"{i:05d}.png", [0, 1], "P", size)
    assert datasets.listing(tmp_path) == [datasets.VideoRow("DAVIS", "bear", 4, *SIZE, 2, 1, 1, 0, 0)]
    with pytest.warns(UserWarning, match="1 of 2 label images are not quite") as said:
        clip = datasets.open(tmp_path)
    assert len(said) == 1
    assert named(clip) == {0: ("other", "other", -1), 1: ("object", "thing", 1)}
    assert clip.segments is not None
    assert clip.segments.frames == (0, 2)


def coco(root: Path) -> Path:
    infos = [
        {"id": 70_000, "category_id": 11, "iscrowd": 0},
        {"id": 9, "category_id": 11, "iscrowd": 0},
        {"id": 8, "category_id": 11, "iscrowd": 1},
        {"id": 300, "category_id": 10, "iscrowd": 0},
    ]
    images = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in (139, 285, 632, 724)]
    annotations = [
        {"image_id": i, "file_name": f"{i:012d}.png", "segments_info": infos if i == 139 else []}
        for i in (139, 285, 632)
    ]
    for image in images[:2] + images[3:]:
        picture(root / "val2017" / str(image["file_name"]))
    mask(root / "annotations/panoptic_val2017/000000000139.png", [70_000, 9, 8, 300, 0, 12_345, 0, 0], "RGB")
    write_json(
        root / "annotations/panoptic_val2017.json",
        {"images": images, "annotations": annotations, "categories": CATEGORIES},
    )
    return root


@pytest.mark.filterwarnings("ignore:.*not on disk")
def test_coco_panoptic(tmp_path: Path) -> None:
    """One image is annotated, one lacks its label image, one is not on disk, one not annotated; 12345 is not listed."""
    rows = datasets.listing(coco(tmp_path))
    assert [(r.video, r.frames, r.labelled, r.segments, r.things, r.missing) for r in rows] == [
        ("000000000139", 1, 1, 4, 2, 0),
        ("000000000285", 1, 0, 0, 0, 1),
        ("000000000724", 1, 0, 0, 0, 0),
    ]
    assert named(datasets.open(tmp_path, video="000000000139")) == {
        0: ("other", "other", -1),
        8: ("person group", "stuff", -1),
        9: ("person", "thing", 2),
        300: ("sky", "stuff", -1),
        70_000: ("person", "thing", 1),
    }


def test_images_that_a_json_file_lists_but_are_not_there_are_said_once(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="1 of 4 images of .*panoptic_val2017.json are not on disk") as said:
        datasets.listing(coco(tmp_path))
    assert len(said) == 1


def cityscapes(root: Path) -> Path:
    for split, city in (("train", "aachen"), ("val", "munster")):
        picture(root / f"leftImg8bit/{split}/{city}/{city}_000000_000019_leftImg8bit.png")
        base = root / f"gtFine/{split}/{city}/{city}_000000_000019_gtFine"
        mask(base.with_name(base.name + "_instanceIds.png"), [7, 26_000, 26, 1])
        mask(base.with_name(base.name + "_labelIds.png"), [7, 26, 26, 1], "L")
    return root


def test_cityscapes(tmp_path: Path) -> None:
    rows = datasets.listing(cityscapes(tmp_path))
    assert rows[1] == datasets.VideoRow("Cityscapes", "munster_000000_000019", 1, *SIZE, 1, 3, 1, 2, 0)
    assert len(rows) == 2
    assert named(datasets.open(tmp_path, video="munster_000000_000019")) == {
        0: ("other", "other", -1),
        7: ("road", "stuff", -1),
        26: ("car group", "stuff", -1),
        26_000: ("car", "thing", 0),
    }


def test_folders_of_frames_and_masks(tmp_path: Path) -> None:
    for clip in ("one", "two"):
        for i in range(3):
            picture(tmp_path / clip / "frames" / f"{i}.png")
        mask(tmp_path / clip / "masks" / "1.png", [0, 7], "L")
    rows = datasets.listing(tmp_path)
    assert [(r.dataset, r.video, r.frames, r.labelled, r.segments) for r in rows] == [
        ("plain", "one", 3, 1, 1),
        ("plain", "two", 3, 1, 1),
    ]
    assert datasets.open(tmp_path / "two").segments is not None


def test_counting_segments_can_be_left_out(tmp_path: Path) -> None:
    rows = datasets.listing(vps(tmp_path), count=False)
    assert (rows[0].segments, rows[0].things, rows[0].stuff, rows[0].frames) == (None, None, None, 30)
    assert datasets.summary(rows).instances is None


def test_progress_names_each_video(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    datasets.listing(vipseg(tmp_path), progress=lambda *step: told.append(step))
    assert told == [("1001_xyz", 0, 2), ("26_abc", 1, 2)]


# --- from a data set to a run --------------------------------------------------------------------------------------


def test_a_video_is_opened_by_its_address(tmp_path: Path) -> None:
    clip = xinc.open(f"{vipseg(tmp_path)}:26_abc", size=(8, 16), start=1)
    direct = datasets.open(tmp_path, "26_abc", size=(8, 16), start=1)
    assert (clip.names, clip.source) == (direct.names, f"{tmp_path}:26_abc")
    assert torch.equal(clip.frames, direct.frames)
    assert named(clip) == named(direct)
    assert signal_name(clip.source) == f"26_abc of {tmp_path.name}"


def test_a_data_set_of_one_video_needs_no_name(tmp_path: Path) -> None:
    assert xinc.open(vps(tmp_path), count=5).source == f"{tmp_path}:val/0005"
    vps(tmp_path, "0015", "munster_000001", 100)
    assert xinc.open(f"{tmp_path}:0015", count=1).names == ("munster_000001_000100_leftImg8bit",)
    with pytest.raises(SignalError, match=rf"name one of its videos, as {tmp_path}:val/0005; there are 2"):
        xinc.open(tmp_path)


@pytest.mark.parametrize("address", ["{root}:none", "{root}/imgs:1001_xyz", "{root}/no:1001_xyz", "no:1001_xyz"])
def test_an_address_of_nothing_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(SignalError, match=r"there is no video 'none'|not laid out like|no file or folder"):
        xinc.open(address.format(root=vipseg(tmp_path)))


def test_a_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    picture(tmp_path / "a:b" / "0.png")
    picture(tmp_path / "c:d.png")
    assert len(xinc.open(tmp_path / "a:b")) == 1
    assert len(xinc.open(tmp_path / "c:d.png")) == 1


def test_a_video_of_a_data_set_brings_its_own_annotations(tmp_path: Path) -> None:
    with pytest.raises(SignalError, match=r"brings the annotations of its data set; leave .*panomasks out"):
        xinc.open(f"{vipseg(tmp_path)}:26_abc", segments=tmp_path / "panomasks")


def test_the_model_fits_what_the_address_means(tmp_path: Path) -> None:
    assert Fitting().chosen(Source(f"{vipseg(tmp_path / 'clips')}:26_abc")) == "nerv"
    assert Fitting().chosen(Source(f"{tmp_path / 'clips'}:26_abc", count=1)) == "ffn"
    assert Fitting().chosen(Source(f"{cityscapes(tmp_path / 'stills')}:aachen_000000_000019")) == "ffn"
    source = Source(f"{tmp_path / 'clips'}:26_abc")
    assert explain_tasks([source], Fitting(), Analysing())[0].name == "clips-26_abc"


def test_what_is_amiss_is_said_once_on_the_way_to_a_run(tmp_path: Path) -> None:
    (vipseg(tmp_path) / "imgs/1001_xyz/00002059.jpg").unlink()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        Source(f"{tmp_path}:1001_xyz").open()
    assert ["files of 1001_xyz are missing" in str(note.message) for note in said] == [True]


@pytest.mark.filterwarnings("ignore:.*are missing")
def test_the_command_lists_and_says_what_to_type_next(tmp_path: Path) -> None:
    root = vipseg(tmp_path / "my data")
    (root / "panomasks/1001_xyz/00002058.png").unlink()
    for name in VIPSEG_NAMES[1:]:
        (root / f"panomasks/1001_xyz/{name}.png").unlink()
    (root / "imgs/26_abc/00002059.jpg").unlink()
    ran = command("datasets", str(root), "--json", str(tmp_path / "rows.json"))
    assert ran.code == 0, ran
    assert json.loads((tmp_path / "rows.json").read_text()) == [asdict(row) for row in datasets.listing(root)]
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["video", "frames", "size", "segments", "things", "stuff", "labelled", "missing"] in lines
    assert ["1001_xyz", "3", "16×32", "0", "0", "0", "0", "0"] in lines
    assert ["26_abc", "2", "16×32", "3", "2", "1", "2", "1"] in lines
    assert ["VIPSeg", "2", "0", "to", "2", "2", "to", "3", "40", "%"] in lines
    assert f"xinc explain '{root}:26_abc' --out DIR" in ran.err
    ran = command("datasets", str(root), "--no-count")
    assert ["26_abc", "2", "16×32", "–", "–", "–", "2", "1"] in [line.split() for line in ran.out.splitlines()]
    assert command("datasets", str(tmp_path / "nowhere")).code == 2


# --- what cannot be read --------------------------------------------------------------------------------------------


def test_a_video_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(SignalError, match=r"name one of its videos, as .*:1001_xyz; there are 2: 1001_xyz, 26_abc"):
        datasets.open(vipseg(tmp_path))
    with pytest.raises(SignalError, match="there is no video 'xyz'; there are 2"):
        datasets.open(tmp_path, video="xyz")


def test_an_unknown_layout_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(SignalError, match="is not laid out like a data set that is known: Cityscapes-VPS"):
        datasets.listing(tmp_path)
    with pytest.raises(SignalError, match="there is no folder"):
        datasets.listing(tmp_path / "nowhere")


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).mkdir()
    with pytest.raises(SignalError, match="laid out like DAVIS, but holds no video"):
        datasets.listing(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not in COCO's format: it has no images, annotations, categories"),
        ('{"images": [], "categories": []}', "it has no annotations"),
    ],
)
def test_a_damaged_json_file_gives_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    (coco(tmp_path) / "annotations/panoptic_val2017.json").write_text(content)
    with pytest.raises(SignalError, match=message):
        datasets.listing(tmp_path)


def test_a_category_that_is_not_listed_gives_one_clear_line(tmp_path: Path) -> None:
    path = coco(tmp_path) / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"categories": CATEGORIES[:1]}))
    with pytest.raises(SignalError, match="incomplete: 11 is used but not given"):
        datasets.listing(tmp_path)


# --- the real pieces ------------------------------------------------------------------------------------------------


def test_real_pieces(shared: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert datasets.listing(shared / "data/davis_judo") == [
            datasets.VideoRow("plain", "davis_judo", 16, 480, 854, 4, 4, 4, 0, 0)
        ]
        assert datasets.listing(shared / "data/vipseg_1001") == [
            datasets.VideoRow("plain", "vipseg_1001", 45, 360, 640, 1, 44, 44, 0, 0)
        ]
        rows = datasets.listing(shared / "data/cityscapes")
    assert [(r.dataset, r.segments, r.things) for r in rows] == [("Cityscapes", 21, 13), ("Cityscapes", 20, 11)]
    clip = datasets.open(shared / "data/cityscapes", video="aachen_000003_000019", size=(128, 256))
    assert named(clip)[26_007] == ("car", "thing", 7)
    with pytest.warns(UserWarning, match="480×854"):
        assert len(datasets.open(shared / "data/davis_judo", size=(128, 256))) == 16
