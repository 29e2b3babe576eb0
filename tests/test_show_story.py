"""Sentences follow the numbers: turn a number round, and the sentence turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from xinc.show.sentences import answer, words
from xinc.show.sentences import findings as story


def scores(**medians: float) -> xr.Dataset:
    values = np.array(list(medians.values()))[None] * np.ones((3, 1))
    return xr.Dataset({"score": (("neuron", "grouping"), values)}, coords={"grouping": list(medians)})


def heat(light: float, edges: float = 0.0) -> xr.Dataset:
    return xr.Dataset({"correlation_intensity": light, "partial_edges": edges})


def reach(share: float, silent: float = 0.0, dead: float = 0.0) -> xr.Dataset:
    return xr.Dataset({"sorted_share": ("position", [share] * 3), "silent": silent, "dead": dead})


def test_the_best_grouping_and_the_exception_are_named() -> None:
    said = story.groupings(
        {"NeRV": {"head": scores(rgb=0.6, gabor=0.5, grid=0.2), "block3": scores(rgb=0.3, gabor=0.5, grid=0.4)}}
    )
    assert said[0] == (
        "In NeRV block 3, neurons go by texture more than by anything else that was tried: median score 0.50."
    )
    assert said[1] == (
        "In NeRV head, neurons go by colour more than by anything else that was tried: median score 0.60."
    )
    assert said[2] == (
        "Grid cells, which know only place, explain least in half of the layers (1 of 2): 0.20 to 0.40; "
        "not in NeRV block 3."
    )


@pytest.mark.parametrize(
    ("instances", "matched", "parts"),
    [(0.5, 0.3, "the layer"), (0.1, 0.05, "the layer"), (0.1, 0.2, "no layer")],
)
def test_instances_are_compared_with_as_many_cells(instances: float, matched: float, parts: str) -> None:
    """A few large instances score lower than many small cells whatever is in the frame."""
    said = story.groupings({"FFN": {"layer1": scores(rgb=0.6, instances=instances, grid=0.4, grid_matched=matched)}})
    assert said[1] == f"Grid cells, which know only place, explain least in {parts}: 0.40."


def test_dead_neurons_have_no_say() -> None:
    data = scores(rgb=0.6, grid=0.2)
    data["score"][0] = np.nan
    assert story.medians(data) == {"rgb": 0.6, "grid": 0.2}
    data["score"][:] = np.nan
    assert story.groupings({"FFN": {"layer1": data}}) == []


@pytest.mark.parametrize(
    ("grid", "beginning"),
    [
        (0.2, "In the layer neurons go by colour more than by place: in FFN layer 2 the median neuron’s contribution"),
        (0.9, "Its neurons go by place at least as much as by what is there: in FFN layer 2"),
    ],
)
def test_the_answer_turns_with_the_grid(grid: float, beginning: str) -> None:
    (said,) = answer.grouping_answer({"FFN": {"layer2": scores(rgb=0.6, grid=grid)}})
    assert said.startswith(beginning)
    assert "60 %" in said
    assert f"{100 * grid:.0f} % between grid cells" in said


def test_intensity_says_who_follows_and_who_runs_against() -> None:
    said = story.intensity({"NeRV": {"head": heat(0.95, 0.3), "block1": heat(-0.72, 0.0)}})
    assert said[0] == (
        "NeRV head follows intensity most closely (r = 0.95, strongly); NeRV block 1 runs against it (r = −0.72)."
    )
    assert "half of the layers (1 of 2)" in said[1]
    assert story.intensity({"NeRV": {"head": heat(float("nan"))}}) == [
        "The frame or the heatmaps are flat, so there is nothing to correlate."
    ]


@pytest.mark.parametrize(("values", "order"), [((0.5, 0.2), "it falls"), ((0.2, 0.5), "it does not fall steadily")])
def test_reach_falls_or_does_not(values: tuple[float, float], order: str) -> None:
    head, block = values
    said = story.pixels_per_neuron({"NeRV": {"head": reach(head), "block3": reach(block, 0.4, 0.1)}})
    assert order in said[0]
    assert said[0].startswith("The median neuron of the NeRV represents about a fifth to about half of the pixels, ")
    assert said[1] == (
        "Neurons without a single such pixel are most frequent in NeRV block 3: 40 % of them; "
        "10 % have a map that is zero everywhere."
    )


def test_no_dead_neurons_is_said_too() -> None:
    assert story.pixels_per_neuron({"FFN": {"layer3": reach(0.3)}})[-1] == "Hardly any neuron is without such a pixel."


def test_bias_to_edges_is_a_range_over_layers() -> None:
    def share(*ratios: float) -> xr.Dataset:
        return xr.Dataset({"edge_ratio": ("area", list(ratios))}, coords={"area": [0.1, 0.5]})

    (said,) = story.neurons_per_pixel({"NeRV": {"head": share(1.0, 2.5), "block3": share(1.2, 3.0)}})
    assert "1.0 to 1.2 times as many at a threshold of 10 % and 2.5 to 3.0 times as many at a threshold of 50 %" in said
    assert "more neurons represent edges in some layers, not in all" in said
    (said,) = story.neurons_per_pixel({"NeRV": {"head": share(1.6, 2.5), "block3": share(1.7, 3.0)}})
    assert "far more neurons represent edges than the rest" in said


def test_motion_counts_layers_that_change_more_where_things_move() -> None:
    def moved(ratio: float) -> xr.Dataset:
        return xr.Dataset({"correlation": 0.4, "moving_ratio": ratio, "uncovered_ratio": float("nan")})

    said = story.motion({"NeRV": {"head": moved(3.0), "block3": moved(0.9)}})
    assert "0.9 to 3.0 times" in said[0]
    assert "half of the layers (1 of 2)" in said[0]
    several = story.motion({f"NeRV\n{t} to {t + 1}": {"head": moved(3.0), "block3": moved(1.5)} for t in (0, 4)})
    assert "in all 2 layers: 1.5 to 3.0 times as much, over 2 steps" in several[0]  # layers are counted, not steps
    assert not any("uncovers" in sentence for sentence in said)


def test_objects_without_two_of_a_kind_say_so() -> None:
    data = xr.Dataset(
        {"share": (("frame", "neuron", "region"), np.full((1, 4, 2), 0.5))}, coords={"category": ("region", ["a", "b"])}
    )
    assert "cannot show" in story.objects({"FFN": {"layer3": data}})[0]


def test_the_first_sentence_names_what_was_fitted() -> None:
    nerv = answer.FitToTell("a NeRV", 978_557, "Big Buck Bunny", 33, "00000", (128, 256), 27.31)
    ffn = answer.FitToTell("an FFN", 32_971, "Big Buck Bunny", 1, "00000", (128, 256), 31.88)
    assert answer.fits([nerv, ffn]) == (
        "A NeRV of 0.98 million parameters draws 33 frames of Big Buck Bunny at 128×256 with a PSNR of 27.3 dB; "
        "an FFN of 33 thousand parameters draws the first frame with a PSNR of 31.9 dB."
    )
    assert answer.fits([ffn]).startswith(
        "An FFN of 33 thousand parameters draws frame 00000 of Big Buck Bunny at 128×256"
    )
    still = replace(ffn, signal="aachen_000000_000019", frame="aachen_000000_000019_leftImg8bit")
    assert " draws a picture of aachen_000000_000019 at " in answer.fits([still])


@pytest.mark.parametrize(
    ("share", "text"), [(0.5, "50 %"), (0.031, "3.1 %"), (0.0, "0 %"), (0.0004, "0.04 %"), (1.0, "100 %")]
)
def test_per_cent(share: float, text: str) -> None:
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("given", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_listing(given: list[str], text: str) -> None:
    assert words.listing(given) == text


@pytest.mark.parametrize(
    ("values", "text"), [([0.5], "0.50"), ([0.501, 0.502], "0.50"), ([-0.4, 0.9], "−0.40 to 0.90")]
)
def test_span(values: list[float], text: str) -> None:
    assert words.span(values) == text


@pytest.mark.parametrize(
    ("r", "word"), [(0.95, "strongly"), (-0.6, "strongly"), (0.4, "moderately"), (0.2, "weakly"), (0.0, "hardly")]
)
def test_strength(r: float, word: str) -> None:
    assert words.strength(r) == word


@pytest.mark.parametrize(
    ("count", "whole", "text"),
    [
        (4, 4, "all 4 layers"),
        (1, 3, "one layer (1 of 3)"),
        (2, 3, "most layers (2 of 3)"),
        (2, 5, "some layers (2 of 5)"),
        (0, 3, "none of the 3 layers"),
        (1, 1, "the layer"),
    ],
)
def test_parts(count: int, whole: int, text: str) -> None:
    assert words.parts(count, whole) == text


@pytest.mark.parametrize(("share", "verb"), [(0.9, "mix"), (0.5, "overlap"), (0.1, "keep apart")])
def test_layers_mix_or_keep_apart(share: float, verb: str) -> None:
    data = xr.Dataset(
        {"entropy": ("neuron", [0.2, 0.2, 0.1, 0.1]), "mixing": share, "mixing_p": 0.005},
        coords={"layer": ("neuron", ["block1", "block1", "head", "head"])},
    )
    (said,) = story.over_layers({"NeRV": {"all layers": data}})
    most, least = (words.percent(share * ratio) for ratio in (4 / 3, 2 / 3))
    assert said == (
        f"In the NeRV, layers {verb}: the neighbours of a neuron are {words.percent(share)} as mixed over layers as at "
        f"random (p = 0.005), least around neurons of head ({least}), most around those of block 1 ({most})."
    )


def test_layers_that_never_meet_are_no_fault() -> None:
    data = xr.Dataset(
        {"entropy": ("neuron", [0.0, 0.0]), "mixing": 0.0}, coords={"layer": ("neuron", ["block1", "head"])}
    )
    assert story.mixing_by_layer(data) == {"block1": 0, "head": 0}


def test_commands_in_sentences_are_set_as_code() -> None:
    from xinc.show.page.html import told

    assert (
        told("a < b: ask `xinc verify <RUN>` & see") == "a &lt; b: ask <code>xinc verify &lt;RUN&gt;</code> &amp; see"
    )


def maps_of(*shares: float) -> xr.Dataset:
    """Maps that are alike on a share of their pixels, and zero elsewhere."""
    maps = np.stack([(np.arange(100) < 100 * share).astype(float).reshape(10, 10) for share in shares])
    data = xr.Dataset({"map": (("neuron", "y", "x"), maps)})
    return data.assign_attrs(rule="strongest", seed=0)


def test_a_gallery_says_how_far_its_neurons_paint() -> None:
    said = story.gallery({"NeRV": {"head": maps_of(0.8, 0.8), "block1": maps_of(0.1, 0.1, 0.1)}})
    assert said == [
        "How far a neuron paints depends on its layer: half of what the median neuron shown here gives lies on about a "
        "third of the pixels in NeRV head (40 %), and on a few in a hundred in NeRV block 1 (5.0 %).",
        "Shown are the neurons that contribute most.",
    ]
    assert story.gallery({"NeRV": {"head": maps_of(0.0)}}) == ["Shown are the neurons that contribute most."]


def likeness(near: float, **shared: tuple[float, float]) -> xr.Dataset:
    values: dict[str, float] = {"likeness": near, "likeness_random": 0.1}
    for way, (share, chance) in {"input": (np.nan, np.nan), "output": (np.nan, np.nan), **shared}.items():
        values |= {f"same_{way}": share, f"same_{way}_random": chance}
    return xr.Dataset(values)


def test_what_neurons_that_are_alike_have_in_common() -> None:
    said = story.alike({"NeRV": {"head": likeness(0.97, input=(0.6, 0.05), output=(0.3, 0.33))}})
    assert said[0].startswith("In NeRV head, nearly every neuron has a double: ")
    assert said[1] == (
        "Alike are above all neurons that read the same channel: a neuron shares with the one most like it its input "
        "channel in 60 % of cases (5.0 % by chance) and its output channel in 30 % of cases (33 % by chance)."
    )
    (alone,) = story.alike({"FFN": {"layer3": likeness(0.5)}})
    assert alone.startswith("In FFN layer 3, neurons have little in common")
    other = story.alike({"NeRV": {"head": likeness(0.8, input=(0.05, 0.05))}})
    assert "hardly more alike" in other[1]


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "nearly all"), (0.5, "about half"), (0.33, "about a third"), (0.25, "about a quarter"), (0.0, "hardly any")],
)
def test_shares_in_words(share: float, text: str) -> None:
    assert words.fraction(share) == text


def test_the_fit_says_how_even_it_is_and_whether_it_was_over() -> None:
    import pandas as pd

    rising = pd.DataFrame({"psnr": np.linspace(10, 30, 50)})
    (said,) = answer.fitted("NeRV", [30.0, 27.0, 31.0], rising)
    assert said == (
        "The NeRV draws some frames clearly better than others: frame 2 with 31.0 dB, frame 1 with 27.0 dB; its PSNR "
        "was still rising when the fit ended (+2.04 dB in its last tenth)."
    )
    flat = pd.DataFrame({"psnr": [30.0] * 50})
    assert answer.fitted("FFN", [30.0], flat) == [
        "The PSNR of the FFN had levelled off when the fit ended (+0.00 dB in its last tenth)."
    ]
    assert answer.fitted("FFN", [30.0], flat[:0]) == []


def test_a_page_holds_a_picture_once() -> None:
    from xinc.show.page.html import shared_pictures

    def drawn(data: str, place: str) -> str:
        address = f"data:image/png;base64,{data}"
        return f'<image xlink:href="{address}" id="i" width="4" height="2" transform="{place}" style="x"/>'

    page = f'<main id="content">{drawn("AAAA", "matrix(1)")}{drawn("BBBB", "m")}{drawn("AAAA", "matrix(2)")}</main>'
    shared = shared_pictures(page)
    assert shared.count("AAAA") == shared.count("BBBB") == 1
    assert drawn("BBBB", "m") in shared
    assert 'transform="matrix(2) translate(0 0) scale(4 2)"' in shared
    assert shared_pictures("<main >no picture</main>") == "<main >no picture</main>"
