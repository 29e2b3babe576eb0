"""Whole channels that go with one budget, what makes up for them, and networks that become smaller by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import xinc
from tiny_runs import clip, runs
from xinc.cli import app
from xinc.errors import ModelError
from xinc.findings.pruning.cutting import Part, cut, prune, size_of
from xinc.findings.pruning.joint import Moments, patches
from xinc.findings.pruning.network import Budget, costs_of, least_of, parts_of
from xinc.models.base import count_parameters
from xinc.run import Run


@pytest.fixture(scope="module")
def nerv() -> Run:
    """A NeRV that knows its clip: what a random network loses says little."""
    return xinc.fit("nerv", clip(), epochs=400, fc_dim=6, levels=4, strides=(4, 2))


def without_units(run: Run) -> Run:
    """The run without the first two units of every layer after the first."""
    for layer in run.canvas().layers[1:]:
        run = prune(run, Part.of(run, layer, "inputs"), [0, 1], {"by": "hand"})
    return run


@pytest.mark.parametrize("run", runs(), ids=lambda run: run.family)
def test_what_nothing_reads_is_cut_out_of_every_family(run: Run, tmp_path: Path) -> None:
    pruned = without_units(run)
    smaller = cut(pruned)
    before, after = size_of(pruned), size_of(smaller)
    assert after.values < before.values
    assert after.reaching == before.reaching
    for frame in range(len(run.clip)):
        torch.testing.assert_close(smaller.model.render(frame), pruned.model.render(frame), rtol=0, atol=1e-5)
    again = xinc.load(smaller.save(tmp_path / "smaller"))
    assert again.model.config == smaller.model.config
    torch.testing.assert_close(again.model.render(0), smaller.model.render(0))
    assert (tmp_path / "smaller" / "model.safetensors").stat().st_size < 4 * before.values + 4000
    assert again.canvas().layers == run.canvas().layers
    assert cut(run) is run, "nothing goes where everything is read"


def test_a_frequency_goes_when_neither_sine_nor_cosine_is_read() -> None:
    run = next(run for run in runs() if run.family == "ffn")
    count = run.model.config.frequencies
    pruned = prune(run, Part.of(run, "layer1"), [1, 2, 2 + count], {"by": "hand"})
    smaller = cut(pruned)
    assert smaller.model.config.frequencies == count - 1
    torch.testing.assert_close(smaller.model.render(0), pruned.model.render(0), rtol=0, atol=1e-5)


def test_widths_are_those_of_all_hidden_layers() -> None:
    with pytest.raises(ModelError, match="4 linear layers have 3 widths"):
        xinc.models.networks.siren.SirenConfig((8, 8), 1, layers=4, widths=(3, 4))


def test_channels_that_go_are_made_up_for_by_the_taps_of_all_others(nerv: Run) -> None:
    part = Part.of(nerv, "block2", "inputs")
    moments = Moments.of(nerv, part, range(len(nerv.clip)))
    module = nerv.model.get_submodule(part.layer.module)
    read: list[torch.Tensor] = []
    handle = module.register_forward_hook(lambda _, inputs, __: read.append(patches(module, inputs[0].detach())))
    for frame in range(len(nerv.clip)):
        nerv.model.render(frame)
    handle.remove()
    seen = torch.cat(read).double().numpy()
    gone = [1, 3]
    folded = moments.folded(gone, damping=1e-9)
    columns = np.arange(seen.shape[1]).reshape(part.count, -1)
    stay = np.delete(columns, gone, 0).ravel()
    best, *_ = np.linalg.lstsq(seen[:, stay], seen @ moments.weight.T, rcond=None)
    error = np.square(seen @ (moments.weight - folded).T).sum()
    assert not folded[:, columns[gone].ravel()].any()
    assert error <= 1.01 * np.square(seen @ moments.weight.T - seen[:, stay] @ best).sum()
    dropped = np.square(seen[:, columns[gone].ravel()] @ moments.weight[:, columns[gone].ravel()].T).sum()
    assert error < 0.9 * dropped, "making up for them helps"


def test_the_first_channel_to_go_costs_least(nerv: Run) -> None:
    part = Part.of(nerv, "block2", "inputs")
    moments = Moments.of(nerv, part, None)
    order, losses = moments.losses(1)

    def loss(unit: int) -> float:
        change = moments.weight - moments.folded([unit], damping=1e-4)
        damped = moments.features + 1e-4 * np.trace(moments.features) / len(moments.features) * np.eye(
            len(moments.features)
        )
        return float(np.trace(change.T @ moments.slopes @ change @ damped)) / moments.places

    each = [loss(unit) for unit in range(part.count)]
    assert int(order[0]) == int(np.argmin(each))
    assert losses[0] == pytest.approx(min(each), rel=0.02)


def test_costs_are_what_the_file_loses(nerv: Run) -> None:
    parts = parts_of(nerv, "inputs")
    for part, cost in zip(parts, costs_of(parts, nerv.model), strict=True):
        smaller = cut(prune(nerv, part, [0], {"by": "hand"}))
        assert count_parameters(nerv.model) - count_parameters(smaller.model) == cost, part.name


def test_a_budget_of_parameters_is_kept_to(nerv: Run) -> None:
    budget = Budget.of(nerv, unit="inputs", parameters=True)
    goal = round(0.3 * budget.count)
    found = budget.pruned(goal)
    assert budget.costs is not None
    assert goal - max(budget.costs) < budget.spent(found) <= goal
    smaller = cut(found.run)
    assert count_parameters(smaller.model) < 0.85 * count_parameters(nerv.model)
    rival = budget.by_other("magnitude", 0).pruned(goal)
    assert float(found.run.psnr().mean()) > float(rival.run.psnr().mean()) + 1


def test_the_least_losses_for_their_cost_go_first() -> None:
    losses = [np.array([1.0, 2.0, 9.0, 9.0]), np.array([3.0, 30.0, 30.0, 30.0])]
    assert least_of(losses, 2) == [2, 0]
    assert least_of(losses, 11, costs=[1, 10]) == [1, 1], "3 for 10 before 2 for 1, and no more than 11"


def test_the_command_takes_channels_of_all_layers_and_the_file_shrinks(nerv: Run, tmp_path: Path) -> None:
    folder = nerv.save(tmp_path / "nerv")

    def files(*arguments: str) -> tuple[Run, str]:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        done = CliRunner().invoke(app, ["prune", str(folder), "--by", "joint", *arguments, "--out", str(out)])
        assert done.exit_code == 0, done.output
        return xinc.load(out), " ".join(done.output.split())

    smaller, said = files("--whole", "--parameters", "--fraction", "0.3")
    assert "the file holds" in said
    assert "input channels" in said
    assert sum(smaller.model.config.widths) < sum(nerv.model.config.widths)
    whole, _ = files("--whole", "--parameters", "--fraction", "0.3", "--keep-shapes")
    assert whole.model.config.widths == nerv.model.config.widths
    torch.testing.assert_close(whole.model.render(0), smaller.model.render(0), rtol=0, atol=1e-5)
    one, _ = files("--layer", "block2", "--whole", "--fraction", "0.3")
    assert one.model.config.widths[1] < nerv.model.config.widths[1]
    for arguments, says in [
        (("--layer", "block2", "--parameters"), "of all layers"),
        (("--whole", "--side", "output"), "of one layer"),
        (("--layer", "block2", "--neurons", "x.json"), "in one way"),
    ]:
        done = CliRunner().invoke(app, ["prune", str(folder), *arguments])
        assert done.exit_code == 2
        assert says in " ".join(done.output.split())
