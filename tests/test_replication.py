from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import xarray as xr

import xinc
from fake_layer import FakeLayer
from xinc.errors import FindingError
from xinc.findings.analyses import ANALYSES, Settings
from xinc.findings.finding import LayerLike
from xinc.findings.replication.claims import CLAIMS, MIXING, Claim, Range
from xinc.findings.replication.evidence import Evidence, Measured
from xinc.findings.replication.replicate import COLUMNS, Replication, combine, mixing_of, replicate
from xinc.findings.section4.clusters import clusters
from xinc.findings.section4.grouping import grouping
from xinc.findings.section4.moments import moments
from xinc.findings.section4.motion import Flow
from xinc.findings.section4.regions import Regions, grid_like, shuffled
from xinc.findings.statistics import Interval
from xinc.signals.clip import Clip
from xinc.signals.labels import OTHER, Segment, Segments

RNG = np.random.default_rng(0)
SIZE = (16, 32)
QUICK = Settings(clusters=4, restarts=2, shifts=3, shuffles=1, sample=8)
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
LIGHT = IMAGE.sum(0).numpy()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors here are tiny: threads would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def evidence(
    datasets: dict[str, Callable[[LayerLike], xr.Dataset]],
    layers: dict[str, np.ndarray],
    *,
    pixelwise: bool = False,
    seed: int = 0,
) -> Evidence:
    """Evidence of one frame from dense maps."""
    tree = {
        f"/{finding}/paper/{name}": make(FakeLayer(maps, name=name)).expand_dims("frame")
        for finding, make in datasets.items()
        for name, maps in layers.items()
    }
    return Evidence(xr.DataTree.from_dict(tree), "paper", tuple(layers), tuple(layers), pixelwise, draws=60, seed=seed)


def claim(text: str, statistic: str = "") -> Claim:
    (found,) = [c for c in (*CLAIMS, MIXING) if text in c.text and statistic in c.statistic]
    return found


def verdict(row: Claim, about: Evidence, layer: str) -> str:
    measured = row.measure(about, layer)
    assert measured is not None
    return row.paper.verdict(combine([measured], 200, 0))


@pytest.mark.parametrize(
    ("paper", "found", "expected"),
    [
        (Range(low=0), Interval(0.5, 0.1, 0.9), "holds"),
        (Range(low=0), Interval(0.5, -0.1, 0.9), "undecided"),
        (Range(low=0), Interval(-0.5, -0.9, -0.1), "fails"),
        (Range(0.4, 0.6), Interval(0.5, 0.45, 0.55), "holds"),
        (Range(0.4, 0.6), Interval(0.5, 0.3, 0.55), "undecided"),
        (Range(0.4, 0.6), Interval(0.8, 0.7, 0.9), "fails"),
        (Range(low=0.05), Interval(0.2, np.nan, np.nan), "holds"),
        (Range(low=0.05), Interval(0.01, np.nan, np.nan), "fails"),
        (Range(low=0), Interval(np.nan, np.nan, np.nan), "no data"),
    ],
)
def test_verdicts_follow_the_whole_interval(paper: Range, found: Interval, expected: str):
    assert paper.verdict(found) == expected


def test_ranges_read_as_the_paper_puts_them():
    assert [str(Range(low=0)), str(Range(high=2)), str(Range(0.4, 0.6))] == ["> 0", "< 2", "0.4 to 0.6"]


def test_combining_signals_carries_the_spread_between_them_and_within():
    within = [Measured(0.0, RNG.normal(0, 1, 500), 10)]
    alone = combine(within, 2000, 0)
    assert alone.value == 0
    assert alone.high - alone.low == pytest.approx(2 * 1.96, rel=0.15)
    constant = [Measured(v, np.full(50, v), 10) for v in (-3.0, 3.0)]
    between = combine(constant, 2000, 0)
    assert (between.value, between.low, between.high) == (0, -3, 3)
    many = combine([Measured(0.0, RNG.normal(0, 1, 500), 10) for _ in range(16)], 2000, 0)
    assert many.high - many.low < 0.5 * (alone.high - alone.low)


def test_statistics_over_neurons_average_frames_and_resample_neurons():
    values = RNG.normal(5, 1, size=(3, 400))
    measured = evidence({}, {}).over_neurons(values)
    assert measured.value == pytest.approx(np.median(values, axis=1).mean())
    assert measured.draws.std() == pytest.approx(np.sqrt(np.pi / 2) / np.sqrt(400) / np.sqrt(3), rel=0.4)
    values[:, 7] = np.nan
    assert np.isfinite(evidence({}, {}).over_neurons(values).value)


def test_colour_bound_neurons_confirm_and_place_bound_ones_refute_the_grouping_claims():
    labels = (RNG.random(SIZE) * 8).astype(np.int64)
    colours = Regions("rgb", labels, tuple(map(str, range(8))))
    cells = grid_like(SIZE, 8)

    def by_region(regions: Regions) -> np.ndarray:
        gains = RNG.random((20, regions.count)) ** 3
        return gains[:, regions.labels] + 0.01 * RNG.random((20, *SIZE))

    row = claim("grid cells explain contributions less than RGB")
    for maps, expected in ((by_region(colours), "holds"), (by_region(cells), "fails")):
        about = evidence({"grouping": lambda layer: grouping(layer, [colours, cells])}, {"head": maps})
        assert verdict(row, about, "head") == expected
    control = Regions("rgb", shuffled(colours, 1).labels, colours.names)
    about = evidence({"grouping": lambda layer: grouping(layer, [control, cells])}, {"head": by_region(colours)})
    assert verdict(row, about, "head") != "holds"


def test_intensity_and_edge_claims_find_what_is_there_and_not_noise():
    still = {"moments": lambda layer: moments(layer, IMAGE)}
    follows = evidence(still, {"head": RNG.random((30, 1, 1)) * LIGHT + 0.1 * RNG.random((30, *SIZE))})
    noise = evidence(still, {"head": RNG.random((30, *SIZE))})
    assert verdict(claim("heatmaps follow intensity"), follows, "head") == "holds"
    assert verdict(claim("heatmaps follow edges beyond intensity"), follows, "head") != "holds"
    ratio = claim("FFN's neurons are not biased to edges").measure(noise, "head")
    assert ratio is not None
    assert ratio.value == pytest.approx(1, abs=0.15)


def test_motion_claims_hold_where_fluctuation_is_on_flow():
    velocity = np.zeros((2, *SIZE), np.float32)
    velocity[0, 4:12, 8:16] = 2
    flow = Flow(velocity, np.zeros(SIZE, bool), "truth")
    flow.uncovered[4:12, 6:8] = True
    maps = RNG.random((30, *SIZE)) + 3
    strength = 0.05 + (flow.speed > 0) + flow.uncovered
    before = FakeLayer(maps + strength * RNG.choice([-1, 1], size=maps.shape) * RNG.random(maps.shape), "head")
    about = evidence(
        {"moments_motion": lambda layer: moments(layer, IMAGE, areas=(), before=before, flow=flow)}, {"head": maps}
    )
    for text in ("concentrated where things move", "follows speed", "on uncovered background", "as much as what moves"):
        assert verdict(claim(text), about, "head") == "holds", text


def test_claims_about_two_layers_compare_neighbours():
    still = {"moments": lambda layer: moments(layer, IMAGE)}
    noise = RNG.random((30, *SIZE))
    about = evidence(still, {"layer1": noise, "layer2": noise + 3, "layer3": LIGHT + 0.1 * noise}, pixelwise=True)
    row = claim("last layer follows intensity more closely")
    assert [row.where(about, name) for name in about.layers] == [False, False, True]
    assert verdict(row, about, "layer3") == "holds"
    assert row.measure(about, "layer1") is None


def test_mixing_tells_like_networks_from_unlike_ones():
    gabor = Regions("gabor", np.repeat(np.arange(4), 128).reshape(SIZE), tuple("0123"))
    made = {"clusters": lambda layer: clusters(layer, gabor)}
    one, same = (evidence(made, {"head": RNG.random((40, *SIZE))}) for _ in range(2))
    other = evidence(made, {"head": RNG.random((40, *SIZE)) * (1 + 9 * (gabor.labels == 2))})
    alike, apart = mixing_of([one, same], "head"), mixing_of([one, other], "head")
    assert alike is not None
    assert apart is not None
    assert MIXING.paper.verdict(combine([alike], 200, 0)) == "holds"
    assert MIXING.paper.verdict(combine([apart], 200, 0)) == "fails"
    assert mixing_of([one], "head") is None


def clip(seed: int, frames: int) -> Clip:
    pixels = torch.rand(frames, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
    labels = {}
    for t in range(frames):
        plane = np.ones(SIZE, dtype=np.int32)
        plane[:8, t : t + 8], plane[10:, 3 * t : 3 * t + 9], plane[:4, 24:] = 2, 3, 4
        labels[t] = plane
    table = (
        OTHER,
        Segment(1, "road", "stuff"),
        Segment(2, "car", "thing", 0),
        Segment(3, "car", "thing", 1),
        Segment(4, "sky", "stuff"),
    )
    return Clip(pixels, tuple(map(str, range(frames))), segments=Segments(labels, table))


def test_every_claim_is_measured_on_real_runs():
    video, still = clip(0, 4), clip(1, 1)
    runs = [
        xinc.fit("nerv", video, epochs=1, fc_dim=6, strides=(2,), seed=0),
        xinc.fit("nerv", video, epochs=1, fc_dim=6, strides=(2,), seed=1),
        xinc.fit("nerv", clip(2, 4), epochs=1, fc_dim=6, strides=(2,)),
        xinc.fit("ffn", still, epochs=1, width=8),
    ]
    steps: list[str] = []
    plan = Replication(("paper",), frames=(1, 2, 3), draws=20, settings=QUICK)
    table = replicate(runs, plan, progress=lambda text, done, total: steps.append(text))
    assert tuple(table.columns) == COLUMNS
    assert set(table["claim"]) == {c.text for c in (*CLAIMS, MIXING)}
    assert set(table["method"]) == {"paper"}
    assert set(table["verdict"]) <= {"holds", "fails", "undecided"}
    assert (table["low"] <= table["high"])[table["low"].notna()].all()
    assert table["low"].isna().sum() == table["statistic"].str.endswith("(p)").sum()
    heat = table[table["claim"] == "heatmaps follow intensity"].set_index("layer")
    assert heat.index.tolist() == ["head", "block1", "layer3", "layer2", "layer1"]
    assert heat.loc["head", "signals"] == 2
    assert heat.loc["layer3", ["model", "signals", "neurons"]].tolist() == ["ffn", 1, 8]
    seeds = table[table["claim"] == MIXING.text]
    assert set(seeds["signals"]) == {1}
    assert set(table[table["claim"].str.startswith("nearly half")]["layer"]) == {"layer2"}
    assert any("block1" in text for text in steps)


def test_claims_need_known_analyses():
    assert {name for row in (*CLAIMS, MIXING) for name in row.needs} <= set(ANALYSES)


def test_nothing_to_replicate_on_is_said():
    with pytest.raises(FindingError, match="at least one"):
        replicate([])
    run = xinc.fit("ffn", clip(1, 1), epochs=1, width=8)
    with pytest.raises(FindingError, match="block9"):
        replicate([run], Replication(layers=("block9",)))
