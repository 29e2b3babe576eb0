"""What neurons do together: matrices whose answer is known, a layer against its own maps, and the report."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import tiny_networks as tiny
import xinc
from tiny_runs import ANALYSING, runs
from xinc.errors import TraceError
from xinc.findings.analyse import analyse
from xinc.findings.pruning.cutting import Part
from xinc.findings.pruning.joint import gram_of
from xinc.findings.replication.claims import OWN
from xinc.findings.replication.replicate import Replication, replicate
from xinc.findings.together.control import random_network
from xinc.findings.together.together import (
    OVER_FRAMES,
    cosines,
    dimensions,
    groups_of,
    over_frames,
    together,
    unique_parts,
)  # fmt: skip
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


def test_the_control_is_the_same_network_with_random_weights() -> None:
    run = runs()[0]
    random, again, other = random_network(run), random_network(run), random_network(run, 1)
    for one, two, three, own in zip(*(r.model.parameters() for r in (random, again, other, run)), strict=True):
        assert one.shape == own.shape
        assert torch.equal(one, two)
        assert not torch.equal(one, three)
        if own.numel() > 500:
            assert float(one.std()) == pytest.approx(float(own.std()), rel=0.15)
    assert torch.equal(random.input(1), run.input(1))
    layer, control = run.canvas(1, "exact")["block2"], random.canvas(1, "exact")["block2"]
    found = together(layer, control)
    maps = control.maps(range(control.shape[0]), signed=True).double()
    flat = maps.flatten(1).numpy()
    assert float(found["participation_random"]) == pytest.approx(
        dimensions(flat @ flat.T)[0]["participation"], rel=1e-4
    )
    lost = 1 - float(maps.sum(0).abs().sum() / maps.abs().sum())
    assert float(found["cancelled_random"]) == pytest.approx(lost, rel=1e-4)


def test_intervals_over_frames_are_those_of_student() -> None:
    values = {name: ("frame", [1.0, 2.0, 6.0]) for name in OVER_FRAMES}
    found = over_frames(xr.Dataset(values))
    mean, half = 3.0, 4.302652729911275 * 2.6457513110645907 / 3**0.5  # t of 2 degrees of freedom, by a table
    assert float(found["participation_mean"]) == pytest.approx(mean)
    assert float(found["participation_low"]) == pytest.approx(mean - half)
    assert float(found["participation_high"]) == pytest.approx(mean + half)
    alone = over_frames(xr.Dataset({name: ("frame", [2.0]) for name in OVER_FRAMES}))
    assert np.isnan(float(alone["cancelled_low"]))
    assert float(alone["cancelled_mean"]) == 2


def test_our_own_claims_stand_where_results_hold_them(tmp_path: Path) -> None:
    shutil.copytree(runs()[0].path or "", tmp_path / "run")
    run = load(tmp_path / "run")
    how = Replication(("exact",), layers=("head",), frames=(0, 2), draws=20, settings=ANALYSING.settings)
    assert not set(replicate([run], how)["claim"]) & {claim.text for claim in OWN}
    tree = analyse(run, methods=("exact",), frames=(0, 2), findings=["together"], settings=ANALYSING.settings)
    table = replicate([run], how).set_index("claim")
    values = tree["together/exact/head"].to_dataset()
    row = table.loc[OWN[0].text]
    share = values["participation"].values / values.sizes["neuron"]
    assert row["value"] == pytest.approx(share.mean())
    assert min(share) <= row["low"] <= row["high"] <= max(share)
    assert table.loc[OWN[2].text, "value"] == pytest.approx(float(values["cancelled"].mean()))


def test_a_gram_matrix_is_kept_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(runs()[0].path or "", tmp_path / "run")
    run = load(tmp_path / "run")
    part = Part.of(run, "block2")
    first = gram_of(run, part, [0, 2])

    def never(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr("xinc.canvas.layer.Layer.gram", never)
    kept = gram_of(load(tmp_path / "run"), part, [0, 2])
    np.testing.assert_allclose(kept, first, rtol=1e-6, atol=1e-6 * np.abs(first).max())
    with pytest.raises(AssertionError, match="made again"):
        gram_of(run, part, [0, 1])
