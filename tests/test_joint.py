"""Effects on any number, energies, sums and the Gram matrix, against differences and against maps that are all held."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tiny_networks as tiny
import xinc
from click_free import one_line
from click_free import xinc as command
from foreign_models import specimen
from tiny_runs import runs
from xinc.canvas.joint import gram as module
from xinc.errors import TraceError
from xinc.findings.pruning.cutting import Part
from xinc.findings.pruning.joint import Moments, removal
from xinc.findings.pruning.prune import Pruning, compare, pruned


def squared(picture: Tensor) -> Tensor:
    return (picture - 0.3).square().mean()


def corner(picture: Tensor) -> Tensor:
    return picture[1, :2, :3].mean()


@pytest.mark.parametrize("to", [squared, corner])
@pytest.mark.parametrize("make", [tiny.decoder, tiny.mlp])
def test_effects_are_differences_of_the_number(make: Callable[[], Any], to: Callable[[Tensor], Tensor]) -> None:
    network, values, plan = make()
    table = xinc.attribute(network, values, to=to, size=plan.size)
    step = 1e-5
    for stage in plan.stages:
        effects = table[table["layer"] == stage.name]["effect"].to_numpy()
        assert len(effects) == stage.neurons
        for k in range(0, stage.neurons, 3):
            sides = []
            for factor in (1 + step, 1 - step):
                with tiny.scaled(network, stage, [k], factor):
                    sides.append(float(to(tiny.picture(network, values, plan))))
            assert effects[k] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("name", ["residual", "instance_norm", "hand_attention", "transposed", "two_heads", "warped"])
def test_effects_off_the_chain_pair_the_slope_with_every_term(name: str) -> None:
    network = specimen(name).double()
    canvas = xinc.trace(network.module, *network.inputs, method="exact", **network.options)
    picture = canvas.output.clone().requires_grad_()
    (slope,) = torch.autograd.grad(squared(picture), picture)
    table = canvas.attribute(squared)
    assert list(dict.fromkeys(table["layer"])) == [*canvas.stems, *canvas.layers]
    for layer in (*canvas.stems, *canvas.layers):
        terms = canvas[layer].maps(range(canvas[layer].shape[0]), signed=True)
        wanted = (terms * slope).sum((1, 2, 3))
        effects = torch.from_numpy(table[table["layer"] == layer]["effect"].to_numpy().copy())
        torch.testing.assert_close(effects, wanted.to(effects), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("to", "words"),
    [(lambda y: y, "one number"), (lambda y: 3.0, "one number"), (lambda y: y.detach().mean(), "does not depend")],
)
def test_what_is_no_number_of_the_picture_is_said(to: Callable[[Tensor], Any], words: str) -> None:
    network, values, plan = tiny.decoder()
    with pytest.raises(TraceError, match=words):
        xinc.attribute(network, values, to=to, size=plan.size)


def traced(make: Callable[[], Any] = tiny.decoder) -> xinc.Canvas:
    network, values, plan = make()
    return xinc.trace(network.float(), values.float(), method="exact", size=plan.size)


@pytest.mark.parametrize("make", [tiny.decoder, tiny.mlp])
def test_the_gram_matrix_is_that_of_all_maps(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_VALUES", 1 << 9)  # several bands
    canvas = traced(make)
    weight = torch.rand(canvas.size)
    for name in canvas.layers:
        layer = canvas[name]
        maps = layer.maps(range(layer.shape[0]), signed=True).double()
        flat = maps.flatten(1)
        torch.testing.assert_close(
            layer.gram(), flat @ flat.T, rtol=1e-5, atol=1e-6 * float(flat.square().sum(1).max())
        )
        wide = (maps * weight.double().sqrt()).flatten(1)
        close = {"rtol": 1e-5, "atol": 1e-6 * float(flat.square().sum(1).max())}
        torch.testing.assert_close(layer.gram(weight=weight), wide @ wide.T, **close)
        torch.testing.assert_close(layer.gram(frames=[layer]), 2 * layer.gram(), **close)
        torch.testing.assert_close(layer.energy(), torch.diagonal(layer.gram()), **close)
        assert layer.energy().error == 0
        some = [0, 2, layer.shape[0] - 1]
        torch.testing.assert_close(layer.sum(some), maps[some].sum(0).float(), rtol=1e-5, atol=1e-5)
        assert layer.sum([]).abs().max() == 0


def test_a_gram_matrix_that_is_wrong_would_be_seen() -> None:
    layer = traced()["block1"]
    flat = layer.maps(range(layer.shape[0]), signed=True).double().flatten(1)
    absolute = flat.abs() @ flat.abs().T
    assert (layer.gram() - absolute).abs().max() > 1e-2 * absolute.max()


NETWORKS = ["instance_norm", "hand_attention", "multihead", "residual", "modulated"]


@pytest.mark.parametrize("name", NETWORKS)
def test_probes_agree_with_sums_of_squares_within_their_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = specimen(name)
    canvas = xinc.trace(network.module.float(), *network.inputs, method="exact", **network.options)
    for layer in (canvas[rest.operation.name] for rest in canvas.plan.others):
        monkeypatch.setattr(module.ExactStream, "takes_a_product_each", False)
        wanted = layer.energy()
        monkeypatch.setattr(module.ExactStream, "takes_a_product_each", True)
        estimate = layer.energy()
        known = wanted > 1e-9 * wanted.max()
        off = ((estimate - wanted) / wanted)[known] / estimate.error
        assert float(off.abs().max()) < 4.5
        assert float(off.square().mean().sqrt()) < 2


def test_probes_of_another_network_are_far_off(monkeypatch: pytest.MonkeyPatch) -> None:
    network = specimen("instance_norm")
    canvas = xinc.trace(network.module.float(), *network.inputs, method="exact", **network.options)
    layer = canvas[canvas.plan.others[0].operation.name]
    monkeypatch.setattr(module.ExactStream, "takes_a_product_each", True)
    estimate = layer.energy()
    monkeypatch.setattr(module.ExactStream, "takes_a_product_each", False)
    off = (estimate.flip(0) - layer.energy()) / layer.energy() / estimate.error
    assert float(off.abs().max()) > 5


def test_what_cannot_be_asked_is_said() -> None:
    network, values, plan = tiny.decoder()
    paper = xinc.trace(network.float(), values.float(), method="paper")["block1"]
    for ask in (paper.gram, paper.energy, lambda: paper.sum([0])):
        with pytest.raises(TraceError, match="method='exact'"):
            ask()
    exact = traced()["block1"]
    with pytest.raises(TraceError, match="shape"):
        exact.gram(weight=torch.ones(2, 3))
    with pytest.raises(TraceError, match="at least 0"):
        exact.energy(-torch.ones(exact.shape[1:]))
    with pytest.raises(TraceError, match="no neuron"):
        exact.sum([10**6])
    assert plan.size == tuple(exact.shape[1:])
    assert isinstance(np.asarray(exact.gram()), np.ndarray)
    assert isinstance(network, nn.Module)


def test_the_command_names_layers_and_neurons(tmp_path: Path) -> None:
    run = runs()[0]
    assert run.path is not None
    done = command("attribute", str(run.path), "--to", "region:toy", "--frame", "1", "--json", str(tmp_path / "a.json"))
    assert done.code == 0, done.err
    rows = json.loads((tmp_path / "a.json").read_text())
    canvas = run.canvas(1)
    assert len(rows) == sum(canvas[name].shape[0] for name in (*canvas.stems, *canvas.layers))
    assert run.clip.segments is not None
    plane = torch.from_numpy(np.isin(run.clip.segments.labels[1], (1, 2)))
    best = rows[0]
    terms = canvas[best["layer"]].maps([best["neuron"]], signed=True)[0]
    assert best["effect"] == pytest.approx(float(terms[:, plane].mean()), rel=1e-4)
    assert "block1" in done.out


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("eror", "choose error"),
        ("pixel:3", "pixel:Y,X"),
        ("pixel:999,0", "outside the picture"),
        ("region:cat", "no segment 'cat'"),
        ("region:", "choose error"),
    ],
)
def test_a_wrong_number_is_one_line(to: str, words: str) -> None:
    assert words in one_line(command("attribute", str(runs()[0].path), "--to", to))


# Pruning


def quadratic(gram: np.ndarray, scales: np.ndarray) -> float:
    """What the picture changes by, squared and to first order, when neurons are scaled."""
    return float((scales - 1) @ gram @ (scales - 1))


def spread(units: int = 12, rank: int = 7) -> np.ndarray:
    maps = np.random.default_rng(0).standard_normal((units, rank)) * np.linspace(0.2, 2, units)[:, None]
    return maps @ maps.T + 1e-3 * np.eye(units)


def test_compensation_is_least_squares_over_those_that_stay() -> None:
    gram = spread()
    known = removal(gram, [0, 3, 6], damping=1e-12)
    assert (known.scales[0] == 1).all()
    for count in (3, 6):
        gone, scales = known.order[:count], known.scales[count]
        stays = np.setdiff1d(np.arange(12), gone)
        assert (scales[gone] == 0).all()
        # s minimises (s - 1)' G (s - 1) with s = 0 for those that are gone.
        wanted = np.zeros(12)
        wanted[stays] = 1 + np.linalg.solve(gram[np.ix_(stays, stays)], gram[np.ix_(stays, gone)] @ np.ones(count))
        np.testing.assert_allclose(scales, wanted, atol=1e-6)
        plain = (~np.isin(np.arange(12), gone)).astype(float)
        assert quadratic(gram, scales) <= quadratic(gram, plain)


def test_the_first_to_go_costs_least_of_all() -> None:
    gram = spread()
    costs = [quadratic(gram, removal_of(gram, k)) for k in range(12)]
    assert removal(gram, [1], damping=1e-12).order[0] == int(np.argmin(costs))


def removal_of(gram: np.ndarray, k: int) -> np.ndarray:
    stays = np.setdiff1d(np.arange(len(gram)), [k])
    scales = np.zeros(len(gram))
    scales[stays] = 1 + np.linalg.solve(gram[np.ix_(stays, stays)], gram[stays, k])
    return scales


def test_many_units_go_as_few_do() -> None:
    """Beyond 64 removed units, what is gone is left out of the matrices."""
    gram = spread(150, 90)
    known = removal(gram, [130])
    level = 1e-4 * np.trace(gram) / 150
    gone, stays = known.order[:130], np.sort(known.order[130:])
    wide = gram + level * np.eye(150)
    wanted = 1 + np.linalg.solve(wide[np.ix_(stays, stays)], wide[np.ix_(stays, gone)] @ np.ones(130))
    np.testing.assert_allclose(known.scales[130][stays], wanted, rtol=1e-5, atol=1e-6)
    assert sorted(known.order.tolist()) == list(range(150))


@pytest.mark.parametrize(("family", "layer"), [("nerv", "block2"), ("ffn", "layer2")])
def test_joint_pruning_keeps_more_of_the_picture(family: str, layer: str) -> None:
    run = next(run for run in runs() if run.family == family)
    curves = compare(run, Pruning(layer), ("magnitude", "exact", "joint"), 0.4, shares=(0.2, 0.4))
    kept = {by: float(curves["psnr_unpruned"].sel(by=by, share=0.4).mean()) for by in curves["by"].values}
    assert kept["joint"] > max(kept["exact"], kept["magnitude"])
    smaller = pruned(run, curves, "joint")
    with torch.no_grad():
        error = (smaller.model.render(0) - run.model.render(0)).double().square().mean()
    wanted = float(curves["psnr_unpruned"].sel(by="joint", share=0.4, frame=curves["frame"][0]))
    if int(curves["frame"][0]) == 0:
        assert -10 * np.log10(float(error)) == pytest.approx(wanted, abs=1e-3)
    assert smaller.settings["pruned.by"] == "joint"


def test_whole_channels_go_jointly_too() -> None:
    run = next(run for run in runs() if run.family == "nerv")
    curves = compare(run, Pruning("block2", "inputs"), ("magnitude", "joint"), 0.4, shares=(0.4,))
    kept = {by: float(curves["psnr_unpruned"].sel(by=by, share=0.4).mean()) for by in curves["by"].values}
    assert kept["joint"] >= kept["magnitude"]


def test_features_that_go_are_folded_into_the_others() -> None:
    """A feature that is a sum of two others goes first, and costs nothing; folding is a least-squares fit."""
    rng = np.random.default_rng(0)
    z, weight = rng.normal(size=(50, 5)), rng.normal(size=(3, 5))
    moments = Moments(z.T @ z, np.eye(3), weight)
    stay = [0, 2, 3]
    best = np.linalg.lstsq(z[:, stay], z @ weight.T, rcond=None)[0]
    np.testing.assert_allclose(moments.folded([1, 4], 1e-9)[:, stay], best.T, atol=1e-5)
    losses = [float(np.square(z @ (moments.folded([k]) - weight).T).sum()) for k in range(5)]
    assert moments.order(1)[0] == np.argmin(losses)
    cut = [float(np.square(z[:, k, None] * weight[:, k]).sum()) for k in range(5)]
    assert (np.array(losses) <= np.array(cut)).all(), "folding is never worse than none"
    z[:, 3] = 2 * z[:, 0] - z[:, 1]
    moments = Moments(z.T @ z, np.eye(3), weight)
    first = int(moments.order(1, 1e-9)[0])
    assert first in (0, 1, 3)
    np.testing.assert_allclose(z @ moments.folded([first], 1e-9).T, z @ weight.T, atol=1e-5)


def test_moments_are_those_of_the_features_and_of_the_derivatives() -> None:
    run = next(run for run in runs() if run.family == "ffn")
    layer = run.canvas(0)["layer2"]._operation
    moments = Moments.of(run, Part.of(run, "layer2"), None)
    z = layer.input.double().numpy()
    np.testing.assert_allclose(moments.features, z.T @ z, rtol=1e-4, atol=1e-6)
    assert moments.slopes.shape == (layer.outputs, layer.outputs)
    assert not run.model.get_submodule(layer.module)._forward_hooks
