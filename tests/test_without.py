"""Neurons that somebody chose are switched off: those and no others, from Python and from the page's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import xinc
from tiny_runs import runs
from xinc.cli import app
from xinc.errors import XincError


def test_without_removes_what_was_chosen_and_nothing_else() -> None:
    run = runs()[0]
    smaller = xinc.without(run, {"block2": [3, 5], "head": [1]})
    canvas, left = run.canvas(1), smaller.canvas(1)
    changed = {name: (left.plan.layer(name).weight != canvas.plan.layer(name).weight) for name in canvas}
    assert not changed["block1"].any()
    outputs = canvas.plan.layer("block2").outputs
    gone = torch.zeros_like(changed["block2"])
    for k in (3, 5):
        gone[k % outputs, k // outputs] = True
    assert torch.equal(changed["block2"], gone & (canvas.plan.layer("block2").weight != 0))
    assert smaller.settings["pruned.by"] == "hand"
    only = xinc.without(run, {"head": [0, 2]}, only=True)
    others = [k for k in range(canvas["head"].shape[0]) if k not in (0, 2)]
    assert torch.equal(only.render(0), xinc.without(run, {"head": others}).render(0))


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({}, "no neuron is chosen"),
        ({"head": [10**6]}, "has no neuron"),
        ({"head": [-1]}, "has no neuron -1"),
        ({"tail": [1]}, "tail"),
    ],
)
def test_without_names_what_is_not_there(chosen: dict[str, list[int]], says: str) -> None:
    with pytest.raises(XincError, match=says):
        xinc.without(runs()[0], chosen)


def test_the_command_takes_the_pages_selection(tmp_path: Path) -> None:
    run, file = runs()[0], tmp_path / "selection.json"
    file.write_text('{"block2": [3, 5]}')
    given = ["prune", str(run.path), "--neurons", str(file), "--out", str(tmp_path / "smaller")]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert torch.equal(xinc.load(tmp_path / "smaller").render(0), xinc.without(run, {"block2": [3, 5]}).render(0))
    for text, says in [
        ("[1]", "holds no layers"),
        ("{", "is no JSON"),
        ('{"block2": ["x"]}', "no list of whole numbers"),
    ]:
        file.write_text(text)
        refused = CliRunner().invoke(app, ["prune", str(run.path), "--neurons", str(file)])
        assert refused.exit_code == 2
        assert says in " ".join(refused.output.split())
    both = CliRunner().invoke(app, ["prune", str(run.path), "--layer", "block2", "--neurons", str(file)])
    assert both.exit_code == 2
    assert "--neurons FILE" in " ".join(both.output.split())


def test_what_is_left_is_a_run_like_any_other(tmp_path: Path) -> None:
    run = runs()[0]
    smaller = xinc.without(run, {"block2": [3, 5]})
    assert smaller.psnr().shape == run.psnr().shape
    back = xinc.load(smaller.save(tmp_path / "smaller"))
    found = back.analyse(findings=["intensity"], frames=[0], layers=["block2"])
    assert "intensity/exact/block2" in {node.path.strip("/") for node in found.subtree}
    assert back.plot("intensity").axes
    assert torch.equal(back.canvas(0)["block2"].totals()[[3, 5]], torch.zeros(2))
    assert back.export(tmp_path / "it.xinc").stat().st_size > 100
