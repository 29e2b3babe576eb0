"""Sentences follow the numbers: turn a number round, and the sentence turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

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
    assert said[0] == "Grouping pixels by texture explains contributions best in NeRV block 3: median score 0.50."
    assert said[1] == "Grouping pixels by colour explains contributions best in NeRV head: median score 0.60."
    assert said[2] == (
        "Grid cells, which know only place, explain least in 1 of 2 layers (0.20 to 0.40); not in NeRV block 3."
    )


@pytest.mark.parametrize(
    ("instances", "matched", "parts"),
    [(0.5, 0.3, "the layer"), (0.1, 0.05, "the layer"), (0.1, 0.2, "no layer")],
)
def test_instances_are_compared_with_as_many_cells(instances: float, matched: float, parts: str) -> None:
    """A few large instances score lower than many small cells whatever is in the frame."""
    said = story.groupings({"FFN": {"layer1": scores(rgb=0.6, instances=instances, grid=0.4, grid_matched=matched)}})
    assert said[1] == f"Grid cells, which know only place, explain least in {parts} (0.40)."


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
    (said,) = story.grouping_answer({"FFN": {"layer2": scores(rgb=0.6, grid=grid)}})
    assert said.startswith(beginning)
    assert "60 %" in said
    assert f"{100 * grid:.0f} % between grid cells" in said


def test_intensity_says_who_follows_and_who_runs_against() -> None:
    said = story.intensity({"NeRV": {"head": heat(0.95, 0.3), "block1": heat(-0.72, 0.0)}})
    assert said[0] == (
        "NeRV head follows intensity most closely (r = 0.95, strongly); NeRV block 1 runs against it (r = −0.72)."
    )
    assert "1 of 2 layers" in said[1]
    assert story.intensity({"NeRV": {"head": heat(float("nan"))}}) == [
        "The frame or the heatmaps are flat, so there is nothing to correlate."
    ]


@pytest.mark.parametrize(("values", "order"), [((0.5, 0.2), "this falls"), ((0.2, 0.5), "this does not fall steadily")])
def test_reach_falls_or_does_not(values: tuple[float, float], order: str) -> None:
    head, block = values
    said = story.pixels_per_neuron({"NeRV": {"head": reach(head), "block3": reach(block, 0.4, 0.1)}})
    assert order in said[0]
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
    assert "1.0 to 1.2 times as many at 10 % and 2.5 to 3.0 times as many at 50 %" in said


def test_motion_counts_layers_that_change_more_where_things_move() -> None:
    def moved(ratio: float) -> xr.Dataset:
        return xr.Dataset({"correlation": 0.4, "moving_ratio": ratio, "uncovered_ratio": float("nan")})

    said = story.motion({"NeRV": {"head": moved(3.0), "block3": moved(0.9)}})
    assert "0.9 to 3.0 times" in said[0]
    assert "1 of 2 layers" in said[0]
    assert not any("uncovers" in sentence for sentence in said)


def test_objects_without_two_of_a_kind_say_so() -> None:
    data = xr.Dataset(
        {"share": (("frame", "neuron", "region"), np.full((1, 4, 2), 0.5))}, coords={"category": ("region", ["a", "b"])}
    )
    assert "cannot show" in story.objects({"FFN": {"layer3": data}})[0]


def test_the_first_sentence_names_what_was_fitted() -> None:
    nerv = story.FitToTell("a NeRV", 978_557, "Big Buck Bunny", 33, "00000", (128, 256), 27.31)
    ffn = story.FitToTell("an FFN", 32_971, "Big Buck Bunny", 1, "00000", (128, 256), 31.88)
    assert story.fits([nerv, ffn]) == (
        "A NeRV of 0.98 million parameters draws 33 frames of Big Buck Bunny at 128×256 with a PSNR of 27.3 dB; "
        "an FFN of 33 thousand parameters draws the first frame with a PSNR of 31.9 dB."
    )
    assert story.fits([ffn]).startswith(
        "An FFN of 33 thousand parameters draws frame 00000 of Big Buck Bunny at 128×256"
    )
    still = replace(ffn, signal="aachen_000000_000019", frame="aachen_000000_000019_leftImg8bit")
    assert " draws a picture of aachen_000000_000019 at " in story.fits([still])


@pytest.mark.parametrize(
    ("share", "text"), [(0.5, "50 %"), (0.031, "3.1 %"), (0.0, "0 %"), (0.0004, "0.04 %"), (1.0, "100 %")]
)
def test_per_cent(share: float, text: str) -> None:
    assert story.percent(share) == text


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_listing(words: list[str], text: str) -> None:
    assert story.listing(words) == text


@pytest.mark.parametrize(
    ("values", "text"), [([0.5], "0.50"), ([0.501, 0.502], "0.50"), ([-0.4, 0.9], "−0.40 to 0.90")]
)
def test_span(values: list[float], text: str) -> None:
    assert story.span(values) == text


@pytest.mark.parametrize(
    ("r", "word"), [(0.95, "strongly"), (-0.6, "strongly"), (0.4, "moderately"), (0.2, "weakly"), (0.0, "hardly")]
)
def test_strength(r: float, word: str) -> None:
    assert story.strength(r) == word


@pytest.mark.parametrize(
    ("count", "whole", "text"),
    [(4, 4, "all 4 layers"), (1, 3, "1 of 3 layers"), (0, 3, "none of the 3 layers"), (1, 1, "the layer")],
)
def test_parts(count: int, whole: int, text: str) -> None:
    assert story.parts(count, whole) == text


@pytest.mark.parametrize(("share", "verb"), [(0.9, "mix"), (0.5, "overlap"), (0.1, "keep apart")])
def test_layers_mix_or_keep_apart(share: float, verb: str) -> None:
    data = xr.Dataset(
        {"entropy": ("neuron", [0.2, 0.2, 0.1, 0.1]), "mixing": share, "mixing_p": 0.005},
        coords={"layer": ("neuron", ["block1", "block1", "head", "head"])},
    )
    (said,) = story.over_layers({"NeRV": {"all layers": data}})
    most, least = (story.percent(share * ratio) for ratio in (4 / 3, 2 / 3))
    assert said == (
        f"In the NeRV, layers {verb}: the neighbours of a neuron are {story.percent(share)} as mixed over layers as at "
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
