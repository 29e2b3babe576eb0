"""Annotations with rough edges, from the clip to the findings, the claims and the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import xinc
from xinc.findings.analyse import analyse
from xinc.findings.analyses import ANALYSES, Settings
from xinc.findings.replication.replicate import Replication, replicate
from xinc.run import Run
from xinc.show.report import report
from xinc.signals.clip import Clip
from xinc.signals.labels import OTHER, Segment, Segments

SIZE, FRAMES = (16, 32), 4
QUICK = Settings(clusters=4, restarts=1, shifts=2, shuffles=1, sample=6, count=3)
TABLE = (OTHER, Segment(1, "car", "thing", 0), Segment(2, "car", "thing", 1))


def plane(*values: int) -> np.ndarray:
    """A label map of equal columns."""
    return np.repeat(np.array(values, np.int32), SIZE[1] // len(values))[None].repeat(SIZE[0], axis=0)


def single() -> Segments:
    """One thing, and nothing else anywhere."""
    return Segments({t: plane(1) for t in (1, 3)}, TABLE[:2])


def empty() -> Segments:
    """Annotated, but no segment in any frame."""
    return Segments({t: plane(0) for t in (1, 3)}, TABLE[:1])


def returning() -> Segments:
    """A thing leaves, then nothing at all is there, then it comes back."""
    return Segments({0: plane(0, 1, 2, 0), 1: plane(0, 0, 2, 0), 2: plane(0), 3: plane(1, 0, 0, 2)}, TABLE)


def none() -> None:
    """Nobody annotated anything."""


@pytest.fixture(scope="module")
def fitted() -> Run:
    frames = torch.rand(FRAMES, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    clip = Clip(frames, tuple("abcd"), segments=returning())
    return xinc.fit("nerv", clip, epochs=1, fc_dim=6, strides=(2,))


def with_segments(run: Run, segments: Segments | None, folder: Path) -> Run:
    clip = Clip(run.clip.frames[:], run.clip.names, None, segments, "rough")
    return xinc.load(Run(run.family, run.model, clip).save(folder))


def objects_of(tree: xr.DataTree) -> xr.Dataset:
    return tree["objects/exact/head"].to_dataset().load()


@pytest.mark.usefixtures("page_alone")
@pytest.mark.parametrize("segments", [single, empty, returning, none])
def test_findings_claims_and_page_are_made(
    segments: Callable[[], Segments | None], fitted: Run, tmp_path: Path
) -> None:
    """Nothing is refused, and no claim is made of what cannot be known."""
    run = with_segments(fitted, segments(), tmp_path / "run")
    tree = analyse(run, frames=range(FRAMES), findings=list(ANALYSES), layers=["head"], settings=QUICK)
    assert ("objects" in tree.children) == (segments() is not None)
    table = replicate([run], Replication(("paper",), ["head"], range(FRAMES), draws=20, settings=QUICK))
    assert np.isfinite(table["value"]).all()
    assert "Fig. 4" in report([run], tmp_path / "page.html", embed=False).read_text("utf-8")


def test_what_a_single_instance_gets_is_everything(fitted: Run, tmp_path: Path) -> None:
    run = with_segments(fitted, single(), tmp_path)
    share = objects_of(analyse(run, findings=["objects"], layers=["head"]))["share"]
    assert share.sizes["region"] == 2
    assert np.isnan(share.sel(region="other")).all()
    np.testing.assert_allclose(share.sel(region="car 0"), 1)


def test_without_any_segment_other_gets_everything(fitted: Run, tmp_path: Path) -> None:
    run = with_segments(fitted, empty(), tmp_path)
    share = objects_of(analyse(run, findings=["objects"], layers=["head"]))["share"]
    assert share["region"].values.tolist() == ["other"]
    np.testing.assert_allclose(share, 1)


def test_an_instance_that_leaves_is_unknown_while_it_is_away(fitted: Run, tmp_path: Path) -> None:
    run = with_segments(fitted, returning(), tmp_path)
    share = objects_of(analyse(run, frames=range(FRAMES), findings=["objects"], layers=["head"]))["share"]
    away = np.isnan(share).all("neuron").sel(region="car 0")
    assert away.values.tolist() == [False, True, True, False]
    np.testing.assert_allclose(share.sum("region"), 1, rtol=1e-5)
