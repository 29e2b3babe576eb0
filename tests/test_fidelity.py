"""How well maps predict ablation: against networks whose weights were really zeroed, by hand, number by number."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from torch import Tensor, nn

import test_golden as golden
import test_rules as rules
import test_show_figures as shown
import tiny_networks as tiny
import xinc as package
from click_free import xinc
from tiny_runs import clip
from xinc.canvas.exact import tail
from xinc.canvas.layer import Layer
from xinc.canvas.network.plan import Plan
from xinc.canvas.trace import Canvas
from xinc.errors import FindingError, TraceError
from xinc.findings.analyse import analyse
from xinc.findings.fidelity import compare as fidelity
from xinc.findings.fidelity import deletion
from xinc.findings.fidelity.compare import Compared, Fidelity, Verification, compare, summary, verify
from xinc.findings.fidelity.deletion import ORDERS, SHARES, area, curves
from xinc.findings.fidelity.trust import conclusion, rows
from xinc.run import Run
from xinc.show import report as page
from xinc.show.figures import fidelity as figures
from xinc.show.panels.fidelity import Trusted
from xinc.show.subjects import subjects

NUMBERS = ["correlation_median", "correlation_p10", "undefined", "totals_rank", "low", "high"]
KEYS = ["layer", "method", "neurons", *NUMBERS]
NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor, Plan]]] = {"decoder": tiny.decoder, "mlp": tiny.mlp}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, Plan]:
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny NeRV."""
    path = tmp_path_factory.mktemp("runs") / "nerv"
    package.fit("nerv", clip(), epochs=2, fc_dim=6, levels=4, strides=(4, 2), out=path)
    return path


@pytest.fixture
def run(fitted: Path, tmp_path: Path) -> Run:
    """A copy of it: what is added here stays here."""
    shutil.copytree(fitted, tmp_path / "nerv")
    return package.load(tmp_path / "nerv")


QUICK = Verification(neurons=5, frames=(0, 2), layers=("block2", "head"))


# What is measured


def test_every_number_is_the_one_by_hand(network: tuple[nn.Module, Tensor, Plan]) -> None:
    module, values, plan = network
    stage = plan.stages[1]
    found = compare(plan, stage.name, ("exact", "ablation"), Verification(neurons=4, seed=3))
    assert found.index.tolist() == sorted(np.random.default_rng(3).permutation(stage.neurons)[:4].tolist())
    for n, k in enumerate(found.index.tolist()):
        lost = tiny.loss_by_hand(module, values, plan, stage, [k]).abs().sum(0).numpy()
        slope = tiny.slope_by_hand(module, values, plan, stage, k).abs().sum(0).numpy()
        assert found.truth[n] == pytest.approx(lost.sum(), rel=1e-6)
        assert found.total[:, n] == pytest.approx([slope.sum(), lost.sum()], rel=1e-5)
        by_hand = np.corrcoef(slope.ravel(), lost.ravel())[0, 1]
        assert found.correlation[:, n] == pytest.approx([by_hand, 1], abs=1e-6)
        assert by_hand < 1 - 1e-5, "a linear network would not tell the two apart"


def test_a_small_case_computed_on_paper() -> None:
    """One pixel row, two features, no nonlinearity: exact is the truth, the paper's sum of weights is not."""
    module = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0], [0.5, -2.0]]))
    values = torch.tensor([[1.0, 1.0], [2.0, 0.0], [3.0, 5.0], [4.0, 2.0]])
    plan = package.trace(module, values, size=(2, 2)).plan
    (name,) = (stage.name for stage in plan.stages)
    found = compare(plan, name, ("paper", "exact"), Verification(neurons=9))
    assert found.index.tolist() == [0, 1]
    assert found.truth == pytest.approx([2.5 * 10, 4 * 8])  # sum_c |W| times sum_p z
    assert found.total == pytest.approx(np.array([[0.5 * 10, 0 * 8], [2.5 * 10, 4 * 8]]))
    assert found.correlation[:, 0] == pytest.approx([1, 1])
    assert np.isnan(found.correlation[0, 1]), "weights that cancel leave the paper without a map"
    assert found.correlation[1, 1] == pytest.approx(1)


def test_summaries_of_known_numbers() -> None:
    nan = float("nan")
    correlation = np.array([[0.1, 0.5, nan, 0.9], [0.3, 0.7, nan, nan]])
    total, truth = np.array([[1.0, 3, 0, 4], [0, 0, 2, 0]]), np.array([[1.0, 1, 3, 2], [0, 1, 0, 2]])
    found = summary(correlation, total, truth, 0)
    assert found["correlation_median"] == pytest.approx(0.5)
    assert found["correlation_p10"] == pytest.approx(0.1 + 0.4 * 0.2)
    assert found["undefined"] == pytest.approx(3 / 8)
    assert found["totals_rank"] == pytest.approx(stats.spearmanr([1, 3, 2, 4], [1, 2, 3, 4]).statistic)
    assert 0.1 <= found["low"] < 0.5 < found["high"] <= 0.9
    assert found == summary(correlation, total, truth, 0)


def test_a_method_without_maps_has_no_summary() -> None:
    found = summary(np.full((1, 3), np.nan), np.full((1, 3), np.nan), np.ones((1, 3)), 0)
    assert found.pop("undefined") == 1
    assert np.isnan(list(found.values())).all()


def test_exact_beats_the_paper(network: tuple[nn.Module, Tensor, Plan]) -> None:
    _, _, plan = network
    everything = Verification(neurons=10**6)
    found = compare(plan, plan.stages[0].name, ("paper", "exact"), everything)
    paper, exact = np.nanmedian(found.correlation, axis=1)
    assert exact > max(0.9, paper + 0.02)
    ranks = [stats.spearmanr(total, found.truth).statistic for total in found.total]
    assert ranks[1] > max(0.8, ranks[0] + 0.1)


def test_neurons_that_a_rectifier_hides_are_undefined() -> None:
    torch.manual_seed(1)
    module = tiny.TinyMLP((6, 16, 12, 3), torch.relu).double()
    for layer in module.layers:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    plan = package.trace(module, torch.randn(30, 6, dtype=torch.float64), size=(5, 6)).plan
    stage = plan.stages[1]
    hidden = (stage.weight.sum(0) < 0).numpy()
    idle = (stage.input == 0).all(0).numpy()
    found = compare(plan, stage.name, ("official", "exact"), Verification(neurons=16))
    assert 0 < hidden.sum() < 16
    assert np.isnan(found.correlation[0]).tolist() == (hidden | idle).tolist()
    assert np.isnan(found.correlation[1]).tolist() == idle.tolist()
    numbers = summary(found.correlation[:1], found.total[:1], found.truth[None], 0)
    assert numbers["undefined"] == pytest.approx((hidden | idle).mean())


def test_a_refusal_is_kept_and_the_others_go_on() -> None:
    plan = package.trace(rules.Refused(), rules.image().float(), method="exact").plan
    found = compare(plan, "a", ("paper", "exact"), Verification(neurons=2))
    assert "has no rule for operation 'max_pool2d'" in found.refused["paper"]
    assert np.isnan(found.correlation[0]).all()
    assert np.isfinite(found.correlation[1]).all()


def test_no_more_than_a_few_maps_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, plan = tiny.decoder()
    name, (height, width) = plan.stages[0].name, plan.size
    whole = compare(plan, name, ("paper", "exact"), Verification(neurons=11))
    sizes: list[int] = []
    real = Layer.maps

    def watched(self: Layer, neurons: Any, **options: bool) -> Tensor:
        maps = real(self, neurons, **options)
        sizes.append(maps.numel())
        return maps

    monkeypatch.setattr(Layer, "maps", watched)
    monkeypatch.setattr(fidelity, "HELD_VALUES", 3 * height * width)
    found = compare(plan, name, ("paper", "exact"), Verification(neurons=11))
    assert max(sizes) == 3 * height * width
    assert len(sizes) == 3 * 4
    assert found.correlation == pytest.approx(whole.correlation)
    assert found.total == pytest.approx(whole.total)


def test_big_pictures_are_ablated_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, plan = tiny.mlp()
    scores = np.arange(float(plan.stages[1].neurons))

    def all_of_it() -> tuple[Tensor, Tensor, Any]:
        layer = Canvas(plan, "ablation")["layer2"]
        return layer.maps([0, 3, 5]), layer.totals(), curves(plan, "layer2", scores)

    whole = all_of_it()
    widths: list[int] = []
    real = tail.LinearTail.neurons

    def watched(self: tail.LinearTail, neurons: Sequence[int]) -> Tensor:
        widths.append(self.window.shape[0])
        return real(self, neurons)

    monkeypatch.setattr(tail.LinearTail, "neurons", watched)
    monkeypatch.setattr(tail, "HELD_VALUES", 2 * 3 * plan.size[1] * max(s.outputs for s in plan.stages[1:]))
    for made, wanted in zip(all_of_it(), whole, strict=True):
        np.testing.assert_allclose(np.asarray(made), np.asarray(wanted), rtol=1e-6)
    assert max(widths) == 2 < plan.size[0]


# Curves


def without(module: nn.Module, values: Tensor, plan: Plan, name: str, neurons: Sequence[int]) -> float:
    stage = next(stage for stage in plan.stages if stage.name == name)
    return -10 * float(tiny.loss_by_hand(module, values, plan, stage, neurons).square().mean().log10())


def test_curves_equal_networks_whose_weights_were_zeroed(network: tuple[nn.Module, Tensor, Plan]) -> None:
    module, values, plan = network
    for stage in plan.stages:
        scores = np.random.default_rng(1).random(stage.neurons)
        made = curves(plan, stage.name, scores)
        assert made.shape == (len(ORDERS), len(SHARES))
        assert (made[:, 0] == np.inf).all()
        everything = without(module, values, plan, stage.name, range(stage.neurons))
        assert made[:, -1] == pytest.approx([everything] * 2, abs=1e-6)
        count = round(0.4 * stage.neurons)
        greatest = np.argsort(scores)[::-1][:count].tolist()
        least = np.argsort(scores)[:count].tolist()
        at = SHARES.index(0.4)
        by_hand = [without(module, values, plan, stage.name, chosen) for chosen in (greatest, least)]
        assert made[:, at] == pytest.approx(by_hand, abs=1e-6)


def test_layers_off_the_chain_have_curves() -> None:
    network = rules.Refused()
    plan = package.trace(network, rules.image().float(), method="exact").plan
    layer = plan.layer("a")
    made = curves(plan, "a", np.arange(layer.neurons, dtype=np.float64))
    weight = network.get_parameter(f"{layer.module}.weight")
    with torch.no_grad():
        weight.zero_()
        left = package.trace(network, rules.image().float(), method="exact").output
    error = float((left - plan.output).double().square().mean())
    assert made[:, -1] == pytest.approx([-10 * np.log10(error)] * 2, abs=1e-3)


def test_ranking_by_the_truth_keeps_the_picture_longest() -> None:
    _, _, plan = tiny.decoder()
    truth = Canvas(plan, "ablation")["block1"].totals().double().numpy()
    greatest, least = area(curves(plan, "block1", truth))
    random = area(curves(plan, "block1", np.random.default_rng(0).random(len(truth))))
    assert least > random.max() > random.min() > greatest


def test_the_area_is_the_mean_over_shares_up_to_the_ceiling() -> None:
    assert area(np.full(len(SHARES), 20.0)) == pytest.approx(20)
    assert area(np.full(len(SHARES), np.inf)) == pytest.approx(deletion.CEILING)
    assert area(40 * np.array(SHARES)) == pytest.approx(20)


# Runs


def test_a_run_is_compared_frame_by_frame(run: Run) -> None:
    found = verify(run, QUICK)
    assert list(found.compared) == list(found.deleted) == ["block2", "head"]
    data = found.compared["block2"]
    for t, frame in enumerate((0, 2)):
        plan = package.trace(run.model, run.input(frame)).plan
        one = compare(plan, "block2", fidelity.METHODS, QUICK)
        assert data["correlation"].values[:, t] == pytest.approx(one.correlation, nan_ok=True)
        assert data["ablation_total"].values[t] == pytest.approx(one.truth)
        assert data["neuron"].values.tolist() == one.index.tolist()
    removed = found.deleted["head"]["psnr"].sel(ranking="exact", frame=2)
    totals = sum(
        package.trace(run.model, run.input(t), method="exact")["head"].totals().double().numpy() for t in (0, 2)
    )
    assert removed.values == pytest.approx(curves(package.trace(run.model, run.input(2)).plan, "head", totals))


def test_seeds_reproduce_and_differ(run: Run) -> None:
    plain = Run(run.family, run.model, run.clip)
    one, same, other = (
        verify(plain, Verification(neurons=5, layers=("block2",), seed=seed, curves=False)).compared["block2"]
        for seed in (0, 0, 1)
    )
    xr.testing.assert_identical(one, same)
    assert one["neuron"].values.tolist() != other["neuron"].values.tolist()


def test_nothing_is_computed_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def counted(name: str, real: Callable[..., xr.Dataset]) -> Callable[..., xr.Dataset]:
        def call(self: Any, layer: str, wanted: Sequence[str]) -> xr.Dataset:
            asked.append((f"{name} {layer}", tuple(wanted)))
            return real(self, layer, wanted)

        return call

    for name in ("compare", "delete"):
        monkeypatch.setattr(fidelity._Comparison, name, counted(name, getattr(fidelity._Comparison, name)))
    few = Verification(("exact",), ("head",), 5, (0,), curves=False)
    verify(run, few)
    assert asked == [("compare head", ("exact",))]
    verify(run, Verification(("paper", "exact"), ("head",), 5, (0,)))
    assert asked[1:] == [("compare head", ("paper",)), ("delete head", ("paper", "exact", "random"))]
    asked.clear()
    kept = verify(run, Verification(("exact", "paper"), ("head",), 5, (0,)))
    assert asked == []
    fresh = verify(Run(run.family, run.model, run.clip), Verification(("exact", "paper"), ("head",), 5, (0,)))
    xr.testing.assert_allclose(kept.compared["head"], fresh.compared["head"])
    xr.testing.assert_allclose(kept.deleted["head"], fresh.deleted["head"])
    asked.clear()
    verify(run, Verification(("exact",), ("head",), 5, (1,)))
    assert [name for name, _ in asked] == ["compare head", "delete head"], "another frame is another measurement"
    with torch.no_grad():
        next(run.model.parameters()).mul_(1.01)
    asked.clear()
    verify(run, few)
    assert asked == [("compare head", ("exact",))], "another network is another measurement"


def test_refusals_reach_the_table_and_the_sentences(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Canvas.__getitem__

    def refuse(self: Canvas, name: str) -> Layer:
        if self.method == "paper" and name == "block2":
            raise TraceError("no rule for it")
        return real(self, name)

    monkeypatch.setattr(Canvas, "__getitem__", refuse)
    found = verify(run, Verification(("paper", "exact"), ("block2", "head"), 4, (0,)))
    table = {(row["layer"], row["method"]): row for row in rows(found)}
    assert [table["block2", "paper"][key] for key in NUMBERS] == [None] * 6
    assert table["head", "paper"]["totals_rank"] is not None
    assert "paper has no maps of block 2: no rule for it." in conclusion(found)
    assert np.isnan(found.deleted["block2"]["psnr"].sel(ranking="paper")).all()


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (Verification(neurons=0), FindingError, "sample at least 1"),
        (Verification(methods=()), FindingError, "no method"),
        (Verification(methods=("guess",)), TraceError, "'guess'"),
        (Verification(layers=("head", "block9")), TraceError, "'block9'"),
        (Verification(frames=(7,)), FindingError, "frames 0 to 2"),
        (Verification(frames=()), FindingError, "frames 0 to 2"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(run: Run, asked: Verification, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        verify(run, asked)
    assert not (Path(str(run.path)) / "results.zarr" / "fidelity").exists()


# Words


def known(**methods: tuple[float, float, float]) -> xr.Dataset:
    """A comparison with these medians, ranks and undefined shares."""
    medians, ranks, undefined = (np.array(values) for values in zip(*methods.values(), strict=True))
    ones = np.ones((len(methods), 1, 4))
    total = ones.copy()
    for m, share in enumerate(undefined):
        total[m, 0, : round(4 * share)] = 0
    numbers = {"correlation_median": medians, "totals_rank": ranks, "undefined": undefined}
    numbers |= dict.fromkeys(("low", "high", "correlation_p10"), medians)
    return xr.Dataset(
        {
            "correlation": (("method", "frame", "neuron"), np.where(total > 0, medians[:, None, None], np.nan)),
            "total": (("method", "frame", "neuron"), total),
            "ablation_total": (("frame", "neuron"), np.array([[3.0, 3, 2, 2]])),
            **{key: ("method", values) for key, values in numbers.items()},
        },
        coords={"method": list(methods), "neuron": range(4), "frame": [0], "refused": ("method", [""] * len(methods))},
    )


def test_the_conclusion_follows_the_numbers() -> None:
    layers = {
        "layer1": known(exact=(0.95, 0.99, 0), paper=(0.2, 0.1, 0), official=(0.95, 0.5, 0), half=(0.95, 0.95, 0)),
        "layer2": known(exact=(0.97, 0.98, 0), paper=(0.3, 0.5, 0), official=(0.92, 0.0, 0.5), half=(0.1, 0.95, 0)),
    }
    said = conclusion(Fidelity(layers))
    assert said[0] == (
        "Trust exact in every layer: its maps and totals agree with ablation (median correlation 0.950 to 0.970, "
        "rank of totals 0.980 to 0.990)."
    )
    assert said[1].startswith("Do not take paper for what a neuron does")
    assert "median correlation 0.200 to 0.300, rank of totals 0.100 to 0.500" in said[1]
    assert said[2].startswith("Do not take official")
    assert said[3].startswith(
        "Trust half in layer 1 (median correlation 0.950, rank of totals 0.950), but not in layer 2"
    )
    assert said[4] == (
        "In layer 2, official leaves 50 % of the sampled neurons without a map; removing one of them changes the "
        "picture 1.50 times as much as removing another."
    )
    assert len(said) == 5
    (alone,) = conclusion(Fidelity({"layer1": known(official=(0.95, 0.5, 0))}))
    assert alone.startswith("official shows where neurons act, but do not rank neurons by it")


def removed(layers: Sequence[str]) -> dict[str, xr.Dataset]:
    share = np.array(SHARES)
    good = np.stack([10 - 5 * share, 70 - 60 * share])
    psnr = np.stack([good, np.full_like(good, 25) - 10 * share])[:, None]
    coords = {"ranking": ["exact", "random"], "frame": [0], "order": list(ORDERS), "share": list(SHARES)}
    return {name: xr.Dataset({"psnr": (("ranking", "frame", "order", "share"), psnr)}, coords) for name in layers}


def test_the_curves_are_told_at_a_tenth() -> None:
    said = conclusion(Fidelity({"head": known(exact=(1, 1, 0))}, removed(["head"])))
    assert said[-1] == (
        "Without the 10 % of neurons of head that count least, the picture keeps ≥ 60.0 dB by exact and 24.0 dB at "
        "random."
    )
    two = removed(["head", "block3"])
    two["block3"] = two["block3"] - 20
    assert conclusion(Fidelity({}, two)) == [
        "Without the 10 % of neurons of each layer that count least, the picture keeps 44.0 to ≥ 60.0 dB by exact and "
        "4.0 to 24.0 dB at random."
    ]


# Figures and report

PANELS = {
    "NeRV": {n: known(paper=(0.5, 0.2, 0), official=(0.4, -0.1, 0.5), exact=(1, 1, 0)) for n in ("head", "block3")},
    "FFN": {n: known(exact=(0.9, 0.8, 0), ablation=(1, 1, 0)) for n in ("layer3", "layer2", "layer1")},
}
FIGURES = {
    "agreement": lambda: figures.agreement(PANELS),
    "deletion": lambda: figures.deletion({network: removed(list(own)) for network, own in PANELS.items()}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_complete_and_follow_the_theme(name: str) -> None:
    drawn = FIGURES[name]()
    shown.test_nothing_is_cut_off(drawn)
    shown.test_axes_say_what_they_show(drawn)
    shown.test_becomes_markup_that_follows_the_theme(drawn)


def test_figures_show_the_numbers() -> None:
    maps, ranks = FIGURES["agreement"]().axes
    assert sorted(float(line.get_ydata()[0]) for line in ranks.lines if line.get_marker() == "o") == [
        0.8,
        0.8,
        0.8,
        1,
        1,
    ]
    assert [text.get_text() for text in maps.texts] == ["50 % no map"] * 2
    head = FIGURES["deletion"]().axes[0]
    assert max(line.get_ydata().max() for line in head.lines) == deletion.CEILING
    assert len(head.lines) == 3


def test_the_report_has_a_part_where_there_are_results(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Trusted() in page.EXHIBITS
    analyse(run, frames=(0,), layers=("head",), findings=("intensity",))
    assert Trusted().exhibit(subjects([run])) is None
    found = verify(run, QUICK)
    monkeypatch.setattr(page, "EXHIBITS", (Trusted(),))  # the others take their time
    seen = shown_page(page.report(run, tmp_path / "report.html"))
    assert "fidelity" in [attrs["id"] for attrs in seen.all("section")]
    text = " ".join(" ".join(seen.text).split())
    outermost_first = ({n: part[n] for n in ("head", "block2")} for part in (found.compared, found.deleted))
    for sentence in conclusion(Fidelity(*outermost_first)):
        assert sentence in text
    labels = {attrs["aria-label"] for attrs in seen.all("svg") if "ablation" in attrs["aria-label"]}
    assert len(labels) == 1, "one figure, wide and for phones"
    assert any(attrs.get("download") == "fidelity.csv" for attrs in seen.all("a"))


def shown_page(path: Path) -> Any:
    from test_report import Seen

    seen = Seen()
    seen.feed(path.read_text("utf-8"))
    return seen


# The command


def test_the_command_prints_and_writes_the_same_rows(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "rows.json"
    arguments = ("verify", str(run.path), "--layers", "block2,head", "--neurons", "5", "--frames", "0,2")
    ran = xinc(*arguments, "--json", str(file))
    assert ran.code == 0, ran
    written = json.loads(file.read_text("utf-8"))
    assert [list(row) for row in written] == [KEYS] * 6
    found = verify(run, QUICK)
    assert written == rows(found)
    assert [(row["layer"], row["method"], row["neurons"]) for row in written[:3]] == [
        ("block2", method, 5) for method in ("paper", "official", "exact")
    ]
    said = " ".join(ran.out.split())
    assert "official" in said
    for sentence in conclusion(found):
        assert sentence in said
    assert "Comparing with ablation" in ran.err


@pytest.mark.parametrize(("neurons", "counted"), [(5, False), (10_000, True)])
def test_people_can_read_the_table_in_eighty_columns(neurons: int, counted: bool, run: Run) -> None:
    """Every row stands on one line, with the numbers of the JSON; no word of the heading is folded."""
    asked = Verification(neurons=neurons, frames=(0,), layers=("block2", "head"), curves=False)
    arguments = ("--layers", "block2,head", "--neurons", str(neurons), "--frames", "0", "--no-curves")
    ran = xinc("verify", str(run.path), *arguments, columns=80)
    lines = [line.split() for line in ran.out.splitlines()]
    words = ["layer", "method", *(["neurons"] if counted else []), "correlation", "p10", "undefined", "totals"]
    heading = lines.index(words)
    assert ("neurons a layer" in " ".join(lines[0])) is not counted
    assert max(map(len, ran.out.splitlines()[: heading + 8])) <= 80
    for line, row in zip(lines[heading + 2 :], rows(verify(run, asked)), strict=False):
        number = {key: f"{row[key]:.3f}".replace("-", "−") for key in KEYS[3:]}
        middle = [number["correlation_median"], f"[{number['low']},", f"{number['high']}]"]
        whole = [row["layer"], row["method"], *([str(row["neurons"])] if counted else []), *middle]
        share = f"{100 * row['undefined']:.0f}"
        assert line == [*whole, number["correlation_p10"], share, "%", number["totals_rank"]]


@pytest.mark.parametrize("missing", [True, False])
def test_a_method_without_maps_is_a_row_of_dashes(missing: bool) -> None:
    from xinc.cli.commands.verify import _shown

    row: dict[str, Any] = {"layer": "up", "method": "paper", "neurons": 5, **dict.fromkeys(KEYS[3:])}
    if not missing:  # one neuron, say: a median without an interval
        row |= {"correlation_median": -0.5, "undefined": 0.25}
    found = list(_shown(row, counted=True).values())
    assert found[:3] == ["up", "paper", 5]
    assert found[3:] == ([None] * 4 if missing else ["−0.500 [–, –]", None, "25 %", None])


def test_the_command_without_curves(run: Run) -> None:
    ran = xinc("verify", str(run.path), "--method", "exact", "--neurons", "3", "--layers", "head", "--no-curves")
    assert ran.code == 0, ran
    assert "the picture keeps" not in ran.out
    assert not (Path(str(run.path)) / "results.zarr" / fidelity.DELETION).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "guess"), "'guess'"),
        (("--method", ","), "names nothing"),
        (("--layers", "block9"), "'block9'"),
        (("--frames", "99"), "99"),
        (("--frames", "x"), "'x' is not a frame"),
        (("--neurons", "0"), "neurons cannot be 0"),
    ],
)
def test_bad_input_gets_one_line(arguments: tuple[str, ...], words: str, fitted: Path) -> None:
    ran = xinc("verify", str(fitted), *arguments)
    assert ran.code == 2, ran
    (line,) = ran.err.strip().splitlines()[-1:]
    assert line.startswith("xinc: ")
    assert words in line
    assert "Traceback" not in ran.out + ran.err


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    ran = xinc("verify", str(tmp_path))
    assert ran.code == 2
    assert "no run" in ran.err


# The design study's networks


def test_the_published_networks_bear_out_the_design_study(shared: Path) -> None:
    """Median correlation: exact 0.999 in NeRV block 3, 0.987 and 0.93 in FFN layers 2 and 1; official hides 45 %."""

    def judged(module: type[nn.Module], name: str, layer: str, fed: str, *how: Any) -> Compared:
        arrays = np.load(shared / "golden" / f"{name}.npz")
        weights = {key[7:]: torch.from_numpy(arrays[key]) for key in arrays if key.startswith("weight.")}
        canvas = package.trace(module(weights, *how), torch.from_numpy(arrays[fed]), size=(128, 256))
        return compare(canvas.plan, layer, ("official", "exact"), Verification(neurons=12))

    block3 = judged(golden.Decoder, "nerv_bunny", "block3", "embedding", (8, 16))
    layer2 = judged(golden.Perceptron, "ffn_0005", "layer2", "coordinates")
    layer1 = judged(golden.Perceptron, "ffn_0005", "layer1", "coordinates")
    official, exact = np.nanmedian(block3.correlation, axis=1)
    assert exact >= 0.99
    assert official == pytest.approx(0.59, abs=0.12)
    assert np.nanmedian(layer2.correlation[1]) >= 0.98
    assert np.nanmedian(layer1.correlation[1]) >= 0.92
    assert 0.25 < np.isnan(layer2.correlation[0]).mean() < 0.75
    assert np.isfinite(layer2.correlation[1]).all()
