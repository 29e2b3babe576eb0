"""Clips and segments: choosing frames, tables, and folders that give back what was saved, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xinc.errors import SignalError
from xinc.signals.clip import Clip
from xinc.signals.labels import OTHER, Segment, Segments


def describe(i: int) -> Segment:
    return Segment(i, "car" if i < 300_000 else "road", "thing" if i < 300_000 else "stuff", i if i < 300_000 else -1)


def make(frames: int = 6, annotated: tuple[int, ...] = (0, 2, 5), eight_bit: bool = False) -> Clip:
    values = torch.rand(frames, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = {i: np.full((4, 5), 0, np.int32) for i in annotated}
    for i, plane in labels.items():
        plane[:2] = 7
        plane[3, i % 5] = 400_000 if i else 70_000
    return Clip(
        frames=(values * 255).round() / 255 if eight_bit else values,
        names=tuple(f"f{i}" for i in range(frames)),
        fps=10.0,
        segments=Segments.of(labels, describe),
        source="made",
    )


def same(a: Clip, b: Clip) -> bool:
    tables = (a.segments is None) == (b.segments is None) and (
        a.segments is None
        or b.segments is None
        or (
            a.segments.table == b.segments.table
            and a.segments.frames == b.segments.frames
            and all(np.array_equal(a.segments.labels[i], b.segments.labels[i]) for i in a.segments.labels)
        )
    )
    return tables and torch.equal(a.frames, b.frames) and (a.names, a.fps, a.source) == (b.names, b.fps, b.source)


def test_a_table_lists_what_occurs_and_starts_with_other() -> None:
    segments = make().segments
    assert segments is not None
    assert [s.id for s in segments.table] == [0, 7, 70_000, 400_000]
    assert segments.table[0] == OTHER
    assert segments.frames == (0, 2, 5)


@given(st.slices(6) | st.lists(st.integers(-6, 5), min_size=1, max_size=8))
def test_a_sub_clip_holds_the_chosen_frames_and_their_segments(index: slice | list[int]) -> None:
    clip = make()
    chosen = list(range(6))[index] if isinstance(index, slice) else [range(6)[i] for i in index]
    if not chosen:
        with pytest.raises(IndexError, match="chooses no frame"):
            clip[index]
        return
    part = clip[index]
    assert part.names == tuple(f"f{i}" for i in chosen)
    assert torch.equal(part.frames, clip.frames[chosen])
    expected = {new: old for new, old in enumerate(chosen) if old in (0, 2, 5)}
    assert (part.segments.frames if part.segments else ()) == tuple(expected)
    for new, old in expected.items():
        assert part.segments is not None
        assert clip.segments is not None
        assert np.array_equal(part.segments.labels[new], clip.segments.labels[old])


def test_one_frame_a_stride_and_an_index_outside() -> None:
    clip = make()
    assert clip[3].names == ("f3",)
    assert clip[-1].names == ("f5",)
    assert clip[::5].fps == 2.0
    assert clip[1:2].segments is None
    with pytest.raises(IndexError):
        clip[6]
    assert [one.names[0] for one in clip] == list(clip.names)


def test_a_segment_that_is_not_in_the_chosen_frames_leaves_the_table() -> None:
    part = make()[2:]
    assert part.segments is not None
    assert [s.id for s in part.segments.table] == [0, 7, 400_000]


@pytest.mark.parametrize(
    ("frames", "names", "message"),
    [
        (torch.zeros(2, 4, 5, 5), ("a", "b"), "not \\(2, 4, 5, 5\\)"),
        (torch.zeros(0, 3, 5, 5), (), "not \\(0, 3, 5, 5\\)"),
        (torch.zeros(2, 3, 5, 5), ("a",), "2 frames have 1 names"),
    ],
)
def test_a_clip_refuses_frames_that_are_none(frames: torch.Tensor, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(SignalError, match=message):
        Clip(frames, names)


@pytest.mark.parametrize("where", [{9: (4, 5)}, {0: (5, 4)}])
def test_a_clip_refuses_label_maps_that_do_not_belong_to_it(where: dict[int, tuple[int, int]]) -> None:
    segments = Segments.of({i: np.zeros(shape, np.int32) for i, shape in where.items()}, describe)
    with pytest.raises(SignalError, match="does not belong"):
        Clip(torch.zeros(2, 3, 4, 5), ("a", "b"), segments=segments)


@pytest.mark.parametrize("eight_bit", [True, False])
def test_a_saved_clip_comes_back_exactly(tmp_path: Path, eight_bit: bool) -> None:
    clip = make(eight_bit=eight_bit)
    assert same(Clip.load(clip.save(tmp_path / "signal")), clip)
    assert (tmp_path / "signal/frames/00005.png").is_file() == eight_bit
    assert (tmp_path / "signal/frames.safetensors").is_file() != eight_bit


def test_a_saved_clip_reads_the_frames_that_are_asked_for_only(tmp_path: Path) -> None:
    clip = make(eight_bit=True)
    stored = Clip.load(clip.save(tmp_path))
    for i in (0, 1, 3, 5):
        (tmp_path / f"frames/{i:05d}.png").write_bytes(b"gone")
    assert torch.equal(stored.frame(-2), clip.frames[4])
    assert torch.equal(stored[2::2].frames, clip.frames[2::2])
    assert (len(stored), stored.size, repr(stored)) == (len(clip), clip.size, repr(clip))
    with pytest.raises(SignalError, match=r"00000\.png"):
        stored.frame(0)


@pytest.mark.parametrize("eight_bit", [True, False])
def test_a_clip_can_be_saved_over_itself(tmp_path: Path, eight_bit: bool) -> None:
    clip = make(eight_bit=eight_bit)
    Clip.load(clip.save(tmp_path)).save(tmp_path)
    assert same(Clip.load(tmp_path), clip)


def test_saving_over_another_clip_leaves_nothing_of_it(tmp_path: Path) -> None:
    make(eight_bit=True).save(tmp_path)
    bare = Clip(torch.full((1, 3, 2, 2), 0.3), ("x",))
    bare.save(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["clip.json", "frames.safetensors"]
    assert same(Clip.load(tmp_path), bare)


@pytest.mark.parametrize("part", ["clip.json", "frames.safetensors", "labels/00002.png"])
def test_a_missing_part_is_named(tmp_path: Path, part: str) -> None:
    make().save(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(SignalError, match=Path(part).name):
        Clip.load(tmp_path)


@pytest.mark.parametrize("part", ["clip.json", "frames.safetensors", "labels/00002.png"])
def test_a_damaged_part_is_named(tmp_path: Path, part: str) -> None:
    make().save(tmp_path)
    (tmp_path / part).write_bytes(b'{"half')
    with pytest.raises(SignalError, match=Path(part).name):
        Clip.load(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    make().save(tmp_path)
    description = json.loads((tmp_path / "clip.json").read_text())
    (tmp_path / "clip.json").write_text(json.dumps(description | {"format": 99}))
    with pytest.raises(SignalError, match="format 99"):
        Clip.load(tmp_path)
