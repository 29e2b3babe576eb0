"""Pruning: the right weights go and nothing else, the scores are what they say, and the smaller network is a run."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import xinc as package
from click_free import one_line, xinc
from tiny_runs import SIZE, clip
from xinc.canvas import ablation
from xinc.errors import FindingError, RunError, TraceError
from xinc.findings.pruning.cutting import Part, check_free, fine_tune, size_of
from xinc.findings.pruning.prune import CHOICES, Pruning, compare, order, pruned, scores, units_of
from xinc.findings.pruning.spared import conclusion, rows, spared
from xinc.models.families import family
from xinc.run import Run
from xinc.show.panels.pruning import Pruned, keep_figure
from xinc.show.subjects import Subject

NERV = {"fc_dim": 6, "levels": 4, "strides": (4, 2), "reduction": 1.5, "floor": 3}
FFN = {"width": 12, "frequencies": 8}


def network(name: str, seed: int = 0) -> Run:
    """A random network of the tiny clip, or of its first frame."""
    row, signal = family(name), clip()
    signal = signal[0] if row.still else signal
    torch.manual_seed(seed)
    options = FFN if row.still else NERV
    model = row.model(row.config.make(SIZE, len(signal), **options))
    return Run(name, model.eval(), signal)


@pytest.fixture(scope="module")
def nerv() -> Run:
    return network("nerv")


@pytest.fixture(scope="module")
def ffn() -> Run:
    return network("ffn")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruning") / "nerv"
    package.fit("nerv", clip(), epochs=25, out=folder, **NERV)
    return folder


@pytest.fixture
def run_of(nerv: Run, ffn: Run) -> Callable[[str], Run]:
    return {"nerv": nerv, "ffn": ffn}.__getitem__


def changed(before: Run, after: Run) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers that differ, and where."""
    ours, theirs = before.model.state_dict(), after.model.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        if not torch.equal(value, theirs[name]):
            yield name, value != theirs[name]


def test_the_weights_of_kernels_go_and_nothing_else(nerv: Run) -> None:
    curves = compare(nerv, Pruning("block2", frames=(1,)), ("random",), 0.25)
    after = pruned(nerv, curves, "random")
    ((name, where),) = changed(nerv, after)
    weight = after.model.get_parameter(name)
    assert name == "decoder.2.conv.upconv.0.weight"
    outputs, count = weight.shape[0], 0.25 * weight.shape[0] * weight.shape[1]
    gone = {int(i) * outputs + int(o) for o, i, *_ in where.nonzero()}
    assert gone == set(np.argsort(curves["score"].values[0], kind="stable")[: round(count)].tolist())
    assert (weight[where] == 0).all()
    assert where.flatten(2).all(2).sum() == where.flatten(2).any(2).sum() == round(count), "kernels go whole"


def test_the_columns_of_features_go_and_nothing_else(ffn: Run) -> None:
    after = pruned(ffn, compare(ffn, Pruning("layer2"), ("magnitude",), 0.25), "magnitude")
    ((name, where),) = changed(ffn, after)
    weight = ffn.model.state_dict()[name]
    least = np.argsort(weight.abs().sum(0).numpy())[:3]
    assert name == "net.1.linear.weight"
    assert where.all(0).nonzero().flatten().tolist() == sorted(least.tolist())
    assert not where[:, [k for k in range(12) if k not in least]].any()


@pytest.mark.parametrize(("unit", "axis", "size"), [("inputs", 1, 1), ("outputs", 0, 4)])
def test_whole_channels_go_with_all_their_kernels(nerv: Run, unit: str, axis: int, size: int) -> None:
    part = Part.of(nerv, "block2", unit)
    after = copy.deepcopy(nerv.model)
    part.remove(after, [1])
    zero = (after.get_parameter(part.parameter) == 0).flatten(2).all(2)
    assert zero.any(1 - axis).nonzero().flatten().tolist() == list(range(size, 2 * size))
    assert zero.all(1 - axis).sum() == size
    assert len(part.neurons([1])) == int(zero.sum())


@pytest.mark.parametrize(
    ("name", "layer", "unit"),
    [
        ("ffn", "layer1", "neurons"),
        ("ffn", "layer2", "neurons"),
        ("ffn", "layer3", "neurons"),
        ("nerv", "block1", "neurons"),
        ("nerv", "block2", "inputs"),
        ("nerv", "block2", "outputs"),
        ("nerv", "head", "neurons"),
    ],
)
def test_the_picture_is_the_one_without_the_terms(
    run_of: Callable[[str], Run], name: str, layer: str, unit: str
) -> None:
    run = run_of(name)
    curves = compare(run, Pruning(layer, unit, frames=(0,)), ("magnitude",), 0.4)
    after, part = pruned(run, curves, "magnitude"), Part.of(run, layer, unit)
    plan = package.trace(run.model, run.input(0), size=SIZE).plan
    least = order(curves["score"].values[0])[: units_of(part, 0.4)]
    wanted = ablation.remover(plan, layer)(part.neurons(least).tolist())
    with torch.no_grad():
        made = after.model.render(0)
    assert float((made - plan.output).abs().max()) > 1e-4, "removing them changes the picture"
    assert torch.allclose(made, wanted, atol=1e-5)
    error = float((wanted - plan.output).double().square().mean())
    assert float(curves["psnr_unpruned"].sel(share=0.4).squeeze()) == pytest.approx(-10 * np.log10(error), abs=1e-2)


def test_scores_are_those_of_the_canvas(nerv: Run) -> None:
    totals = [package.trace(nerv.model, nerv.input(t), method="paper")["block2"].totals().double() for t in (0, 2)]
    mean = (totals[0] + totals[1]) / 2
    assert scores(nerv, Pruning("block2", frames=(0, 2)), "paper") == pytest.approx(mean.numpy())
    stage = Part.of(nerv, "block2").layer
    by_hand = np.zeros(4)
    for k, value in enumerate(mean.tolist()):
        by_hand[k // stage.outputs] += value
    assert scores(nerv, Pruning("block2", "inputs", frames=(0, 2)), "paper") == pytest.approx(by_hand)


def test_magnitude_is_the_sum_of_absolute_weights(nerv: Run, ffn: Run) -> None:
    weight = nerv.model.get_parameter("decoder.1.conv.upconv.0.weight").detach().double()
    kernels = [float(weight[o, i].abs().sum()) for i in range(weight.shape[1]) for o in range(weight.shape[0])]
    assert scores(nerv, Pruning("block1"), "magnitude") == pytest.approx(np.array(kernels))
    columns = ffn.model.get_parameter("net.0.linear.weight").detach().double().abs().sum(0)
    assert scores(ffn, Pruning("layer1"), "magnitude") == pytest.approx(columns.numpy())


def test_chance_is_decided_by_the_seed(ffn: Run) -> None:
    first, again, other = (scores(ffn, Pruning("layer2", seed=seed), "random") for seed in (1, 1, 2))
    assert (first == again).all()
    assert (order(first) != order(other)).any()


def test_exact_keeps_what_magnitude_takes_for_small() -> None:
    """Features that are large where the next layer has small weights, and the reverse."""
    run = network("ffn")
    with torch.no_grad():
        into, out = run.model.get_parameter("net.0.linear.weight"), run.model.get_parameter("net.1.linear.weight")
        into[:6] *= 20
        out[:, :6] /= 4
        into[6:] /= 20
    curves = compare(run, Pruning("layer2"), ("exact", "magnitude"), 0.5)
    kept = {row["by"]: row["psnr_unpruned"] for row in rows(curves, [0.5])}
    assert kept["exact"] > kept["magnitude"] + 10


def test_sizes_count_what_is_left(nerv: Run) -> None:
    part = Part.of(nerv, "block2", "inputs")
    after = Run("nerv", copy.deepcopy(nerv.model), nerv.clip)
    part.remove(after.model, [0, 2])
    before, left = size_of(nerv), size_of(after)
    column = part.layer.outputs * 9
    assert before.parameters == before.reaching == nerv.parameters
    assert left.parameters == nerv.parameters - 2 * column
    # Nobody reads what block 1 makes for these channels any more: 16 kernels rows and biases of each.
    made = nerv.model.get_parameter("decoder.1.conv.upconv.0.weight")[:16].numel() + 16
    assert left.reaching == nerv.parameters - 2 * column - 2 * made
    assert left.packed < before.packed - 6 * column


def test_curves_start_with_the_whole_network_and_are_counted(nerv: Run) -> None:
    curves = compare(nerv, Pruning("block2", "inputs", frames=(0, 1)), ("random",), 0.3)
    assert curves["units"].values[0].tolist() == [0, 1, 2, 3, 4][: curves.sizes["share"]]
    assert np.isinf(curves["psnr_unpruned"].values[0, :, 0]).all()
    signal = curves["psnr_signal"].values[0, :, 0]
    assert signal == pytest.approx(nerv.psnr()[[0, 1]].numpy(), abs=1e-4)
    first, *others = rows(curves)
    assert first["psnr_unpruned"] is None
    assert first["parameters"] == nerv.parameters
    assert all(row["parameters"] == nerv.parameters - row["neurons"] * 9 for row in others)
    assert 0.3 in [row["fraction"] for row in others], "the share that was asked for is kept"
    assert list(first) == [
        *("layer", "unit", "by", "fraction", "neurons", "psnr_unpruned"),
        *("psnr_signal", "parameters", "bytes", "finetune"),
    ]


def test_what_can_go_for_a_decibel(nerv: Run) -> None:
    curves = compare(nerv, Pruning("block2", frames=(0,)), ("exact", "random"), 0.1).load()
    share, units = curves["share"].values, curves["units"].values
    for row in range(2):  # one loses 4 dB a layer, the other 2
        curves["psnr_signal"].values[row, 0] = 30 - (4 - 2 * row) * units[row] / curves.attrs["count"]
    assert len(share) == len(units[0])
    assert spared(curves, "exact") == pytest.approx(0.25, abs=1 / curves.attrs["count"])
    assert spared(curves, "random") == pytest.approx(0.5, abs=1 / curves.attrs["count"])
    curves["psnr_signal"].values[1] = 30
    assert "at least 90 % of the kernels of block2 can go at random; 25 % by exact" in conclusion(curves)


def test_fine_tuning_keeps_the_mask_and_improves(fitted: Path) -> None:
    run = package.load(fitted)
    smaller = pruned(run, compare(run, Pruning("block2"), ("random",), 0.5), "random")
    tuned, again = (fine_tune(smaller, 150, seed=3) for _ in range(2))
    for name, value in smaller.model.state_dict().items():
        assert (tuned.model.state_dict()[name][value == 0] == 0).all()
        assert torch.equal(tuned.model.state_dict()[name], again.model.state_dict()[name])
    assert float(tuned.psnr().mean()) > float(smaller.psnr().mean()) + 0.3
    assert tuned.settings["pruned.finetune"] == 150
    assert size_of(tuned).parameters == size_of(smaller).parameters
    assert [n for n, _ in changed(run, smaller)] == ["decoder.2.conv.upconv.0.weight"], "the pruned one stays"


def test_fine_tuning_is_never_worse(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xinc.models.fitting import tune

    monkeypatch.setattr(tune, "CAUTION", 200.0)
    run = package.load(fitted)
    assert list(changed(run, fine_tune(run, 3))) == []


def test_a_pruned_run_is_kept_and_the_source_stays(fitted: Path, tmp_path: Path) -> None:
    weights = (fitted / "model.safetensors").read_bytes()
    file, out = tmp_path / "rows.json", tmp_path / "smaller"
    common = ("--layer", "head", "--frames", "0,2", "--json", str(file))
    ran = xinc("prune", str(fitted), *common, "--fraction", "0.25", "--compare", "--out", str(out))
    assert ran.code == 0, ran
    assert (fitted / "model.safetensors").read_bytes() == weights
    found = json.loads(file.read_text())
    assert {row["by"] for row in found} == set(CHOICES)
    smaller = package.load(out)
    wanted = pruned(
        package.load(fitted), compare(package.load(fitted), Pruning("head", frames=(0, 2)), fraction=0.25), "exact"
    )
    assert torch.equal(smaller.render(1), wanted.render(1))
    kept = {key: smaller.settings[f"pruned.{key}"] for key in ("layer", "by", "fraction", "units", "frames")}
    assert kept == {"layer": "head", "by": "exact", "fraction": 0.25, "units": 2, "frames": [0, 2]}
    assert smaller.settings["recipe.epochs"] == 25
    assert xinc("trace", str(out), "--layers", "head", "--frames", "0").code == 0
    # A second pruning remembers the first.
    again = xinc("prune", str(out), "--layer", "block2", "--by", "magnitude", "--out", str(tmp_path / "twice"))
    assert again.code == 0, again
    assert package.load(tmp_path / "twice").settings["pruned.earlier"] == ["2 neurons of head by exact"]
    assert "holds a run already" in one_line(xinc("prune", str(fitted), "--layer", "head", "--out", str(out)))


def test_results_are_kept_and_not_made_again(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = package.load(fitted)
    first = compare(run, Pruning("block1"), ("magnitude",), 0.1)

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(np, "argsort", fail)
    assert compare(run, Pruning("block1"), ("magnitude",), 0.2).drop_attrs().equals(first.drop_attrs())
    with pytest.raises(AssertionError, match="made again"):
        compare(run, Pruning("block1", frames=(1,)), ("magnitude",), 0.1)


@pytest.mark.usefixtures("page_alone")
def test_the_report_shows_the_curves(fitted: Path) -> None:
    run = package.load(fitted)
    compare(run, Pruning("block2", "inputs"), ("paper", "magnitude"), 0.25)
    from xinc.findings.results import FOLDER, Results

    exhibit = Pruned().exhibit([Subject("NeRV", run, Results(fitted / FOLDER).tree(), "paper")])
    assert exhibit is not None
    assert any("input channels of NeRV block 2" in sentence for sentence in exhibit.says)
    assert {"paper", "magnitude"} <= {row[3] for row in exhibit.tables[0].rows}
    assert "input channels" in exhibit.drawings[0].svg
    assert keep_figure(run, "block2").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RunError, match="prune it first"):
        keep_figure(run, "block9")
    assert Pruned().exhibit([Subject("NeRV", run, Results(None).tree(), "paper")]) is None


def test_the_page_on_pruning_runs(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "pruning.md").read_text()
    first, anybody = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(fitted.parent)
    exec(compile(first.replace("block3", "block2").replace("steps=100", "steps=2"), "pruning.md", "exec"), {})
    made: dict[str, Any] = {}
    exec(compile(anybody, "pruning.md", "exec"), made)
    assert sum(len(neurons) for neurons in made["smaller"].removed.values()) == round(0.3 * (2 + 64 + 64))
    assert package.load("nerv-smaller").settings["pruned.finetune"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layer", "block9"), "no layer is called 'block9'"),
        (("--layer", "block2", "--fraction", "1.5"), "fraction cannot be 1.5"),
        (("--layer", "block2", "--fraction", "0"), "fraction 0 "),
        (("--layer", "block2", "--fraction", "0.001"), "is none; give at least 0.0"),
        (("--layer", "block2", "--by", "beauty"), "no score is called 'beauty'"),
        (("--layer", "block2", "--frames", "99"), "99"),
        (("--layer", "block2", "--whole", "--side", "left"), "--side left"),
        (("--layer", "block2", "--finetune", "-3"), "finetune cannot be -3"),
    ],
)
def test_bad_input_gets_one_line(arguments: tuple[str, ...], words: str, fitted: Path) -> None:
    assert words in one_line(xinc("prune", str(fitted), *arguments))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    check_free(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        check_free(tmp_path)
    with pytest.raises(RunError, match="not empty"):
        check_free(tmp_path / "notes.txt")


def test_what_cannot_go(ffn: Run, nerv: Run) -> None:
    with pytest.raises(FindingError, match="input features"):
        Part.of(ffn, "layer2", "outputs")
    assert Part.of(ffn, "layer2", "inputs").unit == "neurons"
    with pytest.raises(FindingError, match="cannot go as 'rows'"):
        Part.of(nerv, "head", "rows")
    with pytest.raises(TraceError, match="no layer"):
        scores(nerv, Pruning("block7"))
