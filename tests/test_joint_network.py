"""Joint pruning beyond one Gram matrix: sampled pixels, channels of many kernels, whole networks, a given loss."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import xinc
from tiny_runs import runs
from xinc.cli import app
from xinc.errors import FindingError, TraceError
from xinc.findings.pruning.cutting import Part, fade_out
from xinc.findings.pruning.kernels import Channels
from xinc.findings.pruning.network import MOST, Budget, divided
from xinc.findings.pruning.prune import CHOICES, Pruning, compare, pruned
from xinc.run import Run


@pytest.fixture(scope="module")
def nerv() -> Run:
    """A NeRV that knows its clip: what a random network loses says little."""
    from tiny_runs import clip

    return xinc.fit("nerv", clip(), epochs=400, fc_dim=6, levels=4, strides=(4, 2))


@pytest.fixture(scope="module")
def ffn() -> Run:
    return next(run for run in runs() if run.family == "ffn")


def kernels_gone(run: Run, names: list[str]) -> int:
    total = 0
    for name in names:
        part = Part.of(run, name)
        total += int((part.weights(run.model) == 0).all(1).sum())
    return total


def test_a_sample_of_pixels_is_the_gram_matrix_on_average(nerv: Run) -> None:
    layer = nerv.canvas(1)["block2"]
    whole = layer.gram()
    torch.testing.assert_close(layer.gram(pixels=10**6), whole)
    others = [layer] * 40  # each is sampled by a seed of its own
    mean = layer.gram(frames=others, pixels=200) / 41
    assert float((mean - whole).norm() / whole.norm()) < 0.1
    one = layer.gram(pixels=200)
    assert 0.001 < float((one - whole).norm() / whole.norm()) < 1
    with pytest.raises(TraceError, match="not both"):
        layer.gram(pixels=5, weight=torch.ones(32, 64))


def test_channels_are_made_up_for_by_least_squares(nerv: Run) -> None:
    part = Part.of(nerv, "block2")
    channels = Channels.of(nerv, part, None)
    assert np.allclose(channels.weight, part.layer.weight.flatten(1).numpy(), atol=1e-6)
    outputs = len(channels.weight)
    gone = [0, outputs + 0, 2 * outputs + 3]  # two kernels of output 0, one of output 3
    folded = channels.folded(gone)
    taps = channels.taps
    assert not folded[0, : 2 * taps].any()
    assert not folded[3, 2 * taps : 3 * taps].any()
    assert np.array_equal(folded[1], channels.weight[1])
    # An independent solution: weighted least squares of what output 0 computed.
    root = np.sqrt(channels.slopes[0].astype(np.float64))[:, None]
    patches = channels.patches.astype(np.float64) * root
    level = 1e-3 * (patches**2).sum() / patches.shape[1]
    stay = np.arange(2 * taps, patches.shape[1])
    pulled = np.concatenate([patches[:, stay], np.sqrt(level) * np.eye(len(stay))])
    goal = np.concatenate([patches @ channels.weight[0], np.sqrt(level) * channels.weight[0, stay]])
    expected = np.linalg.lstsq(pulled, goal, rcond=None)[0]
    assert np.allclose(folded[0, stay], expected, atol=1e-4 * np.abs(expected).max())


def test_the_first_kernel_of_a_channel_is_the_one_that_costs_least(nerv: Run) -> None:
    channels = Channels.of(nerv, Part.of(nerv, "block2"), None)
    order, losses = channels.losses()
    assert sorted(order.tolist()) == list(range(len(channels.weight) * channels.inputs))
    assert (np.diff(losses) >= 0).all()
    some, moments = next(channels.moments())
    cost = np.zeros((len(channels.weight), channels.inputs))
    for o, found in enumerate(moments):
        for i in range(channels.inputs):
            gone = np.arange(i * channels.taps, (i + 1) * channels.taps)
            stay = np.setdiff1d(np.arange(len(found)), gone)
            schur = found[np.ix_(gone, gone)] - found[np.ix_(gone, stay)] @ np.linalg.solve(
                found[np.ix_(stay, stay)], found[np.ix_(stay, gone)]
            )
            weight = channels.weight[o, gone]
            cost[o, i] = weight @ schur @ weight
    assert some == slice(0, len(channels.weight))
    o, i = np.unravel_index(cost.argmin(), cost.shape)
    assert order[0] == i * len(channels.weight) + o
    assert losses[0] == pytest.approx(cost.min(), rel=1e-6)


def test_layers_too_large_for_a_matrix_go_by_channels(nerv: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xinc.findings.pruning.kernels.BY_GRAM", 10)
    curves = compare(nerv, Pruning("block2", frames=(0, 1, 2)), ("joint", "magnitude"), 0.4)
    smaller = pruned(nerv, curves, "joint")
    kept = curves["psnr_signal"].sel(by="joint", share=0.4)
    assert smaller.psnr().tolist() == pytest.approx(kept.values.tolist(), abs=1e-3)
    assert float(kept.mean()) > float(curves["psnr_signal"].sel(by="magnitude", share=0.4).mean())
    count = Part.of(nerv, "block2").count
    assert kernels_gone(smaller, ["block2"]) == round(0.4 * count)


@pytest.mark.parametrize("family", ["nerv", "ffn"])
def test_a_budget_is_kept_to(family: str, nerv: Run, ffn: Run) -> None:
    run = nerv if family == "nerv" else ffn
    budget = Budget.of(run)
    goal = round(0.3 * budget.count)
    found = budget.pruned(goal)
    assert sum(found.removed.values()) == goal
    assert kernels_gone(found.run, list(found.removed)) >= goal
    assert all(found.removed[layer.part.name] <= MOST * layer.part.count for layer in budget.layers)
    before = [parameter.clone() for parameter in run.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


def test_one_budget_by_joint_spares_the_picture(nerv: Run) -> None:
    joint, magnitude = Budget.of(nerv), Budget.of(nerv, "magnitude")
    goal = round(0.3 * joint.count)
    kept = float(joint.pruned(goal).run.psnr().mean())
    assert kept > float(magnitude.pruned(goal).run.psnr().mean()) + 1


def test_losses_divide_a_budget(nerv: Run) -> None:
    budget = Budget.of(nerv, "magnitude")
    counts = divided(budget.layers, 50)
    assert sum(counts) == 50
    dearest = max(layer.losses[n - 1] for layer, n in zip(budget.layers, counts, strict=True) if n)
    cheapest = min(layer.losses[n] for layer, n in zip(budget.layers, counts, strict=True) if n < layer.part.count)
    assert dearest <= cheapest


def test_a_loss_that_is_given_is_kept_to(nerv: Run) -> None:
    budget = Budget.of(nerv)
    whole = float(nerv.psnr().mean())
    found = budget.within(0.5)
    assert whole - float(found.run.psnr().mean()) <= 0.5
    more = round(1.3 * sum(found.removed.values()))
    assert whole - float(budget.pruned(more, again=False).run.psnr().mean()) > 0.5
    with pytest.raises(FindingError, match="above 0"):
        budget.within(0)
    with pytest.raises(FindingError, match="no score is called"):
        Budget.of(nerv, "beauty")


def test_the_command_prunes_whole_networks_and_to_a_loss(nerv: Run, tmp_path: Path) -> None:
    folder = nerv.save(tmp_path / "nerv")

    def prune(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["prune", str(folder), *arguments])
        return done.exit_code, " ".join(done.output.split())

    code, said = prune("--by", "joint", "--fraction", "0.3", "--keep-shapes", "--out", str(tmp_path / "all"))
    assert code == 0, said
    assert "block1" in said
    total = sum(Part.of(nerv, name).count for name in ("block1", "block2", "head"))
    assert kernels_gone(xinc.load(tmp_path / "all"), ["block1", "block2", "head"]) >= round(0.3 * total) - 1
    code, said = prune("--layer", "block2", "--by", "joint", "--psnr-loss", "0.5", "--out", str(tmp_path / "loss"))
    assert code == 0, said
    lost = float(nerv.psnr().mean() - xinc.load(tmp_path / "loss").psnr().mean())
    assert 0 < lost <= 0.5
    for arguments, says in [
        (("--layer", "all", "--side", "output"), "leave --side out"),
        (("--layer", "all", "--psnr-loss", "-1"), "psnr_loss"),
        (("--layer", "all", "--fraction", "0"), "leaves nothing to choose"),
    ]:
        code, said = prune(*arguments)
        assert code == 2, said
        assert says in said


def test_fading_weights_end_at_zero_and_beat_removal(nerv: Run) -> None:
    budget = Budget.of(nerv, "magnitude")
    count = round(0.3 * budget.count)
    faded = fade_out(nerv, budget.chosen(count), 12)
    assert kernels_gone(faded, [part.name for part, _ in budget.chosen(count)]) >= count
    assert float(faded.psnr().mean()) > float(budget.pruned(count).run.psnr().mean())
    with pytest.raises(FindingError, match="give 1 or more"):
        fade_out(nerv, budget.chosen(count), 0)


def test_a_whole_network_is_compared_by_all_scores(nerv: Run, tmp_path: Path) -> None:
    nerv.save(tmp_path / "run")
    words = ["--layer", "all", "--fraction", "0.2", "--by", "joint", "--compare", "--finetune", "3"]
    ran = CliRunner().invoke(app, ["prune", str(tmp_path / "run"), *words, "--json", str(tmp_path / "rows.json")])
    assert ran.exit_code == 0, ran.output
    rows = json.loads((tmp_path / "rows.json").read_text())
    scores = {row["by"]: row for row in rows if "by" in row}
    assert set(scores) == {*CHOICES, "magnitude, fading"}
    assert scores["joint"]["psnr"] > scores["magnitude"]["psnr"]
    assert all(row["psnr_tuned"] >= (row["psnr"] or 0) for row in scores.values())
