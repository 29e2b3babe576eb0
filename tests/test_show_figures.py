"""Figures: each is drawn from what its analysis really returns, says what it should, and cuts nothing off."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from fake_layer import FakeLayer
from xinc.findings.section4.choose import gallery
from xinc.findings.section4.clusters import clusters
from xinc.findings.section4.distribution import neurons_per_pixel, pixels_per_neuron
from xinc.findings.section4.grouping import grouping
from xinc.findings.section4.intensity import intensity
from xinc.findings.section4.motion import Flow, motion
from xinc.findings.section4.objects import objects
from xinc.findings.section4.regions import Clustering, grid_like, rgb
from xinc.notation import neuron_name
from xinc.show import figures, style
from xinc.show.figures.motion import colour_wheel, flow_colours
from xinc.show.figures.neurons import REST, _picks, category_marks
from xinc.show.figures.sheet import Scale, Strip, Tile, sheet, shrunk, spoken, stretched
from xinc.signals.labels import Segment, Segments

SIZE = (24, 48)
FEW = Clustering(4, 1)


def frame() -> Tensor:
    """A bright disc on a ramp: colours, an edge, texture."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE[0]), torch.linspace(-2, 2, SIZE[1]), indexing="ij")
    disc = ((x - 0.4) ** 2 + y**2 < 0.4).float()
    return torch.stack([disc, 0.5 + 0.25 * x, 0.5 + 0.3 * torch.sin(9 * x) * (1 - disc)]).clamp(0, 1)


def layer(name: str, neurons: int, seed: int = 0) -> FakeLayer:
    """Maps that follow colours, with noise; every fifth neuron is dead."""
    rng = np.random.default_rng(seed)
    maps = np.einsum("kc,chw->khw", rng.random((neurons, 3)), frame().numpy()) * rng.random((neurons, *SIZE)) ** 2
    maps[::5] = 0
    return FakeLayer(maps.astype(np.float32), name)


NETWORKS = {
    "NeRV": [layer("head", 6), layer("block3", 12, 1), layer("block2", 20, 2), layer("block1", 30, 3)],
    "FFN": [layer("layer3", 10, 4), layer("layer2", 15, 5), layer("layer1", 15, 6)],
}
IMAGE = frame().permute(1, 2, 0).numpy()
FRAMES = {"NeRV": IMAGE, "FFN": IMAGE}
SEGMENTS = Segments(
    {t: (np.indices(SIZE)[1] // 12).astype(np.int32) for t in (0, 5)},
    (
        Segment(0, "other", "other"),
        Segment(1, "car", "thing", 0),
        Segment(2, "car", "thing", 1),
        Segment(3, "sky", "stuff"),
    ),
)


def panels(analysis) -> dict[str, dict[str, xr.Dataset]]:
    return {network: {one.name: analysis(one) for one in layers} for network, layers in NETWORKS.items()}


def moved(one: FakeLayer) -> xr.Dataset:
    velocity = np.zeros((2, *SIZE), np.float32)
    velocity[0, :, 20:30] = 3
    flow = Flow(velocity, np.zeros(SIZE, bool), "truth")
    before = FakeLayer(np.roll(one.dense, 3, axis=2), one.name)
    return motion(one, before, frame(), frame(), flow, rolls=5)


def positions() -> xr.Dataset:
    data = clusters(NETWORKS["NeRV"][2], rgb(frame(), FEW))
    rng, count = np.random.default_rng(0), data.sizes["neuron"]
    return xr.Dataset(
        {"position": (("neuron", "dimension"), rng.normal(size=(count, 2)))},
        coords={
            "member": ("neuron", ["a", "b"] * (count // 2)),
            **{name: ("neuron", np.arange(count)) for name in ("index", "input", "output")},
        },
    )


def layered(sizes: dict[str, int] | None = None) -> xr.Dataset:
    """Positions of neurons of several layers, in the order of the forward pass."""
    counts = sizes or {"block1": 40, "block2": 30, "head": 6}
    names = np.repeat(list(counts), list(counts.values()))
    position = np.random.default_rng(0).normal(size=(len(names), 2))
    coords = {"member": ("neuron", names), "layer": ("neuron", names)}
    return xr.Dataset({"position": (("neuron", "dimension"), position)}, coords=coords)


def over_time(one: FakeLayer) -> xr.Dataset:
    parts = [objects(one, SEGMENTS, t, frame()) for t in SEGMENTS.frames]
    index = pd.Index(list(SEGMENTS.frames), name="frame")
    return xr.concat(parts, index, data_vars="all", coords="minimal", compat="override", combine_attrs="override")


def grouped(one: FakeLayer) -> xr.Dataset:
    data = grouping(one, [rgb(frame(), FEW), grid_like(SIZE, 8)])
    return data.assign(shifted=("grouping", [0.2, 0.3]))


FIGURES = {
    "gallery": lambda: figures.gallery(panels(lambda one: gallery(one, count=8)), FRAMES),
    "groupings": lambda: figures.groupings(panels(grouped)),
    "intensity": lambda: figures.intensity(panels(lambda one: intensity(one, frame())), FRAMES),
    "pixels_per_neuron": lambda: figures.pixels_per_neuron(panels(pixels_per_neuron)),
    "neurons_per_pixel": lambda: figures.neurons_per_pixel(panels(lambda one: neurons_per_pixel(one, frame()))),
    "sorted": lambda: figures.sorted_contributions(panels(lambda one: neurons_per_pixel(one, frame()))),
    "instances": lambda: figures.instances(panels(lambda one: objects(one, SEGMENTS, 0, frame()))),
    "instances_over_time": lambda: figures.instances_over_time(
        {"NeRV": {n.name: over_time(n) for n in NETWORKS["NeRV"][:2]}}
    ),
    "motion": lambda: figures.motion(
        {"NeRV\n4 to 5": {n.name: moved(n) for n in NETWORKS["NeRV"]}}, {"NeRV\n4 to 5": IMAGE}
    ),
    "umap": lambda: figures.umap(positions(), dict.fromkeys((("a", 0), ("b", 1), ("a", 2), ("b", 3)), IMAGE[..., 0])),
    "umap_layers": lambda: figures.umap_layers({"NeRV": {"all layers": layered()}, "FFN": {"all layers": layered()}}),
    "psnr": lambda: figures.psnr_by_frame({"NeRV": [27.0, 28.0, 26.5]}),
}


@pytest.fixture(scope="module", params=FIGURES)
def drawn(request: pytest.FixtureRequest) -> Figure:
    return FIGURES[request.param]()


def texts(figure: Figure) -> list[Text]:
    """Every text that is drawn; ticks beyond the limits of an axis are made but not drawn."""
    FigureCanvasAgg(figure).draw()
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    hidden = set()
    for axes in figure.axes:
        if not axes.get_visible() or not axes.axison:
            hidden |= {id(t) for axis in (axes.xaxis, axes.yaxis) for t in axis.findobj(Text)}
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            span = high - low
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not low - 1e-9 * span <= tick.get_loc() <= high + 1e-9 * span:
                    hidden |= {id(tick.label1), id(tick.label2)}
    return [t for t in found if id(t) not in hidden]


def test_nothing_is_cut_off(drawn: Figure) -> None:
    with style.drawing():
        page = drawn.bbox
        for text in texts(drawn):
            box = text.get_window_extent()
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
            assert inside, f"{text.get_text()!r} reaches {box} outside {page}"


def test_axes_say_what_they_show(drawn: Figure) -> None:
    for axes in drawn.axes:
        if axes.axison and axes.get_visible() and axes.lines + axes.collections + axes.patches:
            place = axes.get_subplotspec()
            below = place is not None and not place.is_last_row() and axes.get_shared_x_axes().get_siblings(axes)[1:]
            beside = place is not None and not place.is_first_col()
            words = axes.get_xlabel() or [t for t in axes.get_xticklabels() if t.get_text()]
            assert words or below, "an x axis has no words"
            assert axes.get_ylabel() or beside or place is None, "the first y axis of a row has no label"


def test_becomes_markup_that_follows_the_theme(drawn: Figure) -> None:
    markup = style.inline(style.svg(drawn, "name"), "name", "what <it> shows")
    assert markup.startswith("<svg ")
    assert 'role="img" aria-label="what &lt;it&gt; shows"' in markup
    assert "var(--ink, #1d2129)" in markup
    bare = markup.replace("var(--ink, #1d2129)", "")
    assert style.INK.light not in bare, "a colour of the palette does not follow the theme"
    assert 'id="figure_1"' not in markup
    assert "<style" not in markup


def test_the_same_figure_gives_the_same_bytes() -> None:
    one, two = (FIGURES["groupings"]() for _ in range(2))
    assert style.svg(one, "a") == style.svg(two, "a")
    assert style.png(one, 40) == style.png(two, 40)


def test_a_figure_leaves_matplotlibs_settings_alone() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    FIGURES["groupings"]()
    assert dict(mpl.rcParams) == before


def test_a_layer_keeps_its_colour_in_all_line_figures() -> None:
    one, two = FIGURES["pixels_per_neuron"](), FIGURES["sorted"]()
    colours = [{line.get_label(): line.get_color() for line in f.axes[0].lines} for f in (one, two)]
    assert colours[0] == colours[1]
    assert list(colours[0]) == [f"{n} {spoken(x.name)}" for n, layers in NETWORKS.items() for x in layers]


def test_pixels_per_neuron_is_drawn_in_per_cent() -> None:
    data = panels(pixels_per_neuron)
    line = FIGURES["pixels_per_neuron"]().axes[0].lines[0]
    assert line.get_ydata() == pytest.approx(100 * data["NeRV"]["head"]["sorted_share"].values)


def test_boxes_are_the_quartiles_of_living_neurons() -> None:
    scores = grouped(NETWORKS["NeRV"][0])["score"].sel(grouping="rgb").values
    quartiles = np.quantile(scores[np.isfinite(scores)], [0.25, 0.5, 0.75])
    axes = FIGURES["groupings"]().axes[0]
    box = axes.patches[0].get_path().vertices[:, 1]
    assert (box.min(), box.max()) == pytest.approx((quartiles[0], quartiles[2]))
    assert axes.lines[4].get_ydata()[0] == pytest.approx(quartiles[1])


def test_neurons_per_pixel_share_one_scale_over_layers() -> None:
    figure = FIGURES["neurons_per_pixel"]()
    limits = {}
    for axes in figure.axes:
        for image in axes.images:
            limits.setdefault(image.get_clim(), []).append(image)
    assert sorted(len(images) for images in limits.values()) == [7, 7]


def test_flow_colours_follow_the_wheel() -> None:
    right, up, still = np.array([1.0, 0]), np.array([0, -1.0]), np.array([0.0, 0])
    colours = flow_colours(np.stack([right, up, still], axis=1)[:, None, :], 1.0)[0]
    wheel = colour_wheel(101)
    assert colours[0] == pytest.approx(wheel[50, 100, :3], abs=0.03)
    assert colours[1] == pytest.approx(wheel[0, 50, :3], abs=0.03)
    assert colours[2] == pytest.approx([1, 1, 1])


def test_pictures_of_one_sheet_have_one_size_and_one_bar_a_scale() -> None:
    scale = Scale(style.CONTRIBUTION, 0, 1, "contribution")
    wide = np.random.default_rng(0).random((10, 40))
    figure = sheet(
        [
            Strip([Tile(wide, "a", scale), Tile(wide, "b", scale)], "first"),
            Strip([None, Tile(wide, "", scale)]),
        ]
    )
    page, bar = figure.axes
    boxes = [image.get_extent() for image in page.images]
    assert len(boxes) == 3
    assert len({(round(right - left, 6), round(bottom - top, 6)) for left, right, bottom, top in boxes}) == 1
    left, right, bottom, top = boxes[0]
    assert (right - left) / (bottom - top) == pytest.approx(4)
    assert np.array(figure.get_size_inches()) == pytest.approx([page.get_xlim()[1], page.get_ylim()[0]])
    assert boxes[2][0] == pytest.approx(boxes[1][0]), "an empty place keeps its width"
    assert bar.get_xlabel() == "contribution"


def test_large_pictures_are_averaged_down_and_keep_their_mean() -> None:
    image = np.random.default_rng(1).random((640, 1280))
    small = shrunk(image)
    assert small.shape == (256, 512)
    assert small.mean() == pytest.approx(image.mean(), rel=1e-5)
    assert shrunk(image[:100, :100]) is not None
    assert shrunk(image[:100, :100]).shape == (100, 100)


def test_stretching_a_flat_map_gives_zeros() -> None:
    assert not stretched(np.full((3, 3), 7.0)).any()
    assert stretched(np.array([[2.0, 4.0]])).tolist() == [[0.0, 1.0]]


def test_categories_of_several_instances_come_first_and_colours_run_out_late() -> None:
    names = ["road", "car", "car", *(f"kind {i}" for i in range(12)), "unseen"]
    marks = category_marks(names, np.array([50, 1, 1, *range(20, 8, -1), 0]))
    assert list(marks)[:3] == ["car", "road", "kind 0"]
    assert "unseen" not in marks
    looks = list(marks.values())
    assert len(set(looks[:10])) == 10
    assert set(looks[10:]) == {REST}
    assert [mark.filled for mark in looks[:10]] == [True] * 5 + [False] * 5


def test_every_layer_has_its_points_its_colour_and_its_count() -> None:
    data = layered()
    axes = FIGURES["umap_layers"]().axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["head (6)", "block 2 (30)", "block 1 (40)"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("UMAP 1", "UMAP 2")
    drawn_ = {points.get_label(): points for points in axes.collections}
    for name, points in drawn_.items():
        own = data["position"].values[data["member"].values == name]
        np.testing.assert_array_equal(np.asarray(points.get_offsets()), own)
    assert len({tuple(points.get_facecolor()[0]) for points in drawn_.values()}) == 3
    above = sorted(drawn_, key=lambda name: drawn_[name].get_zorder())
    assert above == ["block1", "block2", "head"], "many points would hide a few"


def test_every_rule_shows_another_neuron_where_there_is_one() -> None:
    data = xr.Dataset(
        {"chosen": (("rule", "pick"), [[4, 2, 1], [4, 2, 3], [4, 9, 7], [2, -1, -1]])},
        coords={"rule": ["strongest", "typical", "different", "random"]},
    )
    assert _picks(data) == [("strongest", 4), ("typical", 2), ("different", 9), ("random", 2)]


@pytest.mark.parametrize("name", ["instances", "instances_over_time"])
def test_every_share_lies_inside_its_axes(name: str) -> None:
    figure = FIGURES[name]()
    FigureCanvasAgg(figure).draw()
    shares = [(float(y), axes.get_ylim()) for axes in figure.axes for line in axes.lines for y in line.get_ydata()]
    assert any(np.isfinite(y) for y, _ in shares)
    assert all(low <= y < high / 1.05 for y, (low, high) in shares if np.isfinite(y))


@pytest.mark.parametrize(("neuron", "kernel", "name"), [(137, (6, 49), "137 (6→49)"), (12, (12, -1), "feature 12")])
def test_neurons_are_named_by_what_they_are(neuron: int, kernel: tuple[int, int], name: str) -> None:
    assert neuron_name(neuron, kernel) == name


def test_a_gallery_of_maps_with_a_sign_is_in_colour() -> None:
    """Grey where a neuron adds nothing, brighter where it adds to a colour."""
    data = gallery(NETWORKS["NeRV"][0], count=2)
    coloured = np.zeros((data.sizes["neuron"], 3, *SIZE))
    coloured[:, 0, :, 24:] = 2.0
    figure = figures.gallery({"NeRV": {"head": data.assign(signed=(("neuron", "colour", "y", "x"), coloured))}}, FRAMES)
    pictures = [np.asarray(one.get_array()) for one in figure.axes[0].get_images()]
    assert pictures[-1].shape == (*SIZE, 3)
    assert pictures[-1][0, 0].tolist() == [0.5, 0.5, 0.5]
    assert pictures[-1][0, -1].tolist() == [1.0, 0.5, 0.5]
    assert "takes away" in [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()]


@pytest.mark.parametrize("name", list(FIGURES))
def test_on_a_phone_nothing_is_cut_off(name: str) -> None:
    """A figure is laid out for the width of a phone, or left as wide as it is for swiping."""
    with style.phone():
        figure = FIGURES[name]()
    width, height = figure.get_size_inches()
    assert width <= style.PHONE + 0.01 or name in ("umap", "pruning", "verdicts", "forest")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    with style.drawing():
        box = figure.get_tightbbox(canvas.get_renderer())
    assert box.x0 > -0.05
    assert box.x1 < width + 0.05
    assert box.y0 > -0.05
    assert box.y1 < height + 0.05
    assert style.page_width() == style.WIDTH


@pytest.mark.parametrize(("layer_", "name"), [("block3", "block 3"), ("head", "head"), ("layer12", "layer 12")])
def test_layers_are_spoken(layer_: str, name: str) -> None:
    assert spoken(layer_) == name
