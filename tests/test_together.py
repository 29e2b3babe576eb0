"""What neurons do together: matrices whose answer is known, a layer against its own maps, and the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_networks as tiny
import xinc
from tiny_runs import ANALYSING, runs
from xinc.errors import TraceError
from xinc.findings.analyse import analyse
from xinc.findings.together.together import cosines, dimensions, groups_of, together, unique_parts
from xinc.run import load
from xinc.show.report import report


def maps_of(kind: str) -> np.ndarray:
    """Maps ``(K, N)`` whose dimensions are known."""
    rng = np.random.default_rng(0)
    apart = np.linalg.qr(rng.normal(size=(40, 12)))[0].T
    return {
        "nothing in common": apart,
        "one picture": np.outer(rng.normal(size=12), apart[0]),
        "two that cancel": np.concatenate([apart, -apart]),
    }[kind]


@pytest.mark.parametrize(("kind", "wanted"), [("nothing in common", 12), ("one picture", 1), ("two that cancel", 12)])
def test_dimensions_of_maps_that_are_known(kind: str, wanted: float) -> None:
    maps = maps_of(kind)
    known, values, vectors = dimensions(maps @ maps.T)
    assert known["participation"] == pytest.approx(wanted)
    assert known["components_999"] == wanted
    np.testing.assert_allclose(vectors * values @ vectors.T, maps @ maps.T, atol=1e-9)
    diagonal = np.square(maps).sum(1)
    assert known["participation_apart"] == pytest.approx(diagonal.sum() ** 2 / np.square(diagonal).sum())


def test_unique_parts_are_residuals_of_regressions() -> None:
    maps = np.random.default_rng(1).normal(size=(6, 30))
    for k, part in enumerate(unique_parts(maps @ maps.T)):
        others = np.delete(maps, k, 0)
        fitted = np.linalg.lstsq(others.T, maps[k], rcond=None)[0] @ others
        assert part == pytest.approx(np.square(maps[k] - fitted).sum(), rel=1e-4)
    doubled = np.concatenate([maps, maps])
    assert unique_parts(doubled @ doubled.T).max() < 1e-3


def test_groups_know_who_shares_a_job() -> None:
    rng = np.random.default_rng(2)
    jobs = rng.normal(size=(3, 50))
    maps = np.concatenate([jobs[i] + 0.01 * rng.normal(size=(5, 50)) for i in range(3)] + [np.zeros((1, 50))])
    groups = groups_of(cosines(maps @ maps.T), np.square(maps).sum(1) > 0)
    assert groups[-1] == -1
    assert all(not set(groups[5 * i : 5 * i + 5]) & set(groups[5 * j : 5 * j + 5]) for i, j in ((0, 1), (1, 2), (0, 2)))


def test_a_layer_gives_what_its_maps_give() -> None:
    network, values, plan = tiny.decoder()
    layer = xinc.trace(network.float(), values.float(), size=plan.size)["block1"]
    data = together(layer)
    maps = layer.maps(range(layer.shape[0]), signed=True).double()
    flat = maps.flatten(1).numpy()
    known, _, vectors = dimensions(flat @ flat.T)
    assert float(data["participation"]) == pytest.approx(known["participation"], rel=1e-4)
    summed = maps.sum(0).abs().sum().item()
    assert float(data["cancelled"]) == pytest.approx(1 - summed / maps.abs().sum().item(), rel=1e-4)
    for r in range(2):
        wanted = np.einsum("k,kcyx->cyx", vectors[:, r], maps.numpy())
        principal = data["principal"].values[r]
        sign = np.sign((wanted * principal).sum())
        np.testing.assert_allclose(sign * principal, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    one, other = data["cancelling"].values[0]
    assert float(data["cancelling_cosine"][0]) == pytest.approx(
        flat[one] @ flat[other] / np.linalg.norm(flat[one]) / np.linalg.norm(flat[other]), rel=1e-3
    )
    with pytest.raises(TraceError, match="do not fit"):
        layer.mixtures(torch.ones(2, 1))


def test_it_stands_in_the_results_and_in_the_report(tmp_path: Path) -> None:
    shutil.copytree(runs()[0].path or "", tmp_path / "run")
    run = load(tmp_path / "run")
    tree = analyse(run, methods=("exact", "paper"), frames=(0, 2), findings=["together"], settings=ANALYSING.settings)
    assert set(tree["together"].children) == {"exact"}  # nothing of unsigned maps
    assert tree["together/exact/head"].ds["participation"].dims == ("frame",)
    page = report(run, tmp_path / "report.html", embed=False).read_text()
    assert "What do neurons do together?" in page
    assert (tmp_path / "figures" / "together-0.png").exists()
