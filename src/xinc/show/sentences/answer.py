"""What a report says at its top: how well, what neurons go by, how the work is spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xinc.notation import spoken
from xinc.show.figures.sheet import Panels
from xinc.show.sentences.findings import by_grouping, medians
from xinc.show.sentences.words import Extremes, fraction, magnitude, numbers, parts, percent, span
from xinc.signals.segments import common_stem

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FitToTell:
    """What the first sentence needs to know of a network."""

    network: str
    parameters: int
    signal: str
    frames: int
    frame: str
    size: tuple[int, int]
    psnr: float


def fits(found: Sequence[FitToTell]) -> str:
    """The first sentence: what was fitted, and how well."""
    clauses = []
    for i, fit in enumerate(found):
        known = next((f for f in found[:i] if (f.signal, f.size) == (fit.signal, fit.size)), None)
        if fit.frames > 1:
            what = f"{fit.frames} frames"
        elif known is None:
            alone = common_stem(fit.frame) == fit.signal.split(" of ")[0]
            what = "a picture" if alone else f"frame {fit.frame}"
        else:
            what = "the first frame" if known.frame == fit.frame and known.frames > 1 else f"frame {fit.frame}"
        where = "" if known else f" of {fit.signal} at {fit.size[0]}×{fit.size[1]}"
        size = f"{fit.network} of {magnitude(fit.parameters)} parameters"
        clauses.append(f"{size} draws {what}{where} with a PSNR of {fit.psnr:.1f} dB")
    sentence = f"{'; '.join(clauses)}."
    return sentence[0].upper() + sentence[1:]


RISING = 0.2
"""dB in the last tenth of a fit from which on more epochs would be worth their time."""


def fitted(network: str, psnr: Sequence[float], history: pd.DataFrame) -> list[str]:
    """What the fit came to: how evenly frames are drawn, and whether it was over.

    Args:
        network: its title.
        psnr: of each frame in dB.
        history: one row an epoch, with ``psnr`` in dB.
    """
    said = []
    if len(psnr) > 1:
        best, worst = max(psnr), min(psnr)
        even = "all frames about equally well" if best - worst < 1 else "some frames clearly better than others"
        said.append(
            f"the {network} draws {even}: frame {psnr.index(best)} with {best:.1f} dB, frame {psnr.index(worst)} with "
            f"{worst:.1f} dB"
        )
    if len(history) >= 10:
        curve = history["psnr"].to_numpy()
        gained = float(curve[-1] - curve[-1 - len(curve) // 10])
        end = "it was still rising" if gained >= RISING else "it had levelled off"
        subject = "its PSNR" if said else f"the PSNR of the {network}"
        said.append(f"{subject} {end.removeprefix('it ')} when the fit ended ({gained:+.2f} dB in its last tenth)")
    return [f"{text[0].upper()}{text[1:]}." for text in ["; ".join(said)] if text]


def grouping_answer(panels: Panels) -> list[str]:
    """The second sentence: do neurons go by content or by place?"""
    scores = {
        f"{network} {spoken(name)}": medians(d) for network, layers in panels.items() for name, d in layers.items()
    }
    both = {layer: s for layer, s in scores.items() if "grid" in s and len(s) > 1}
    if not both:
        return []
    best = {layer: max((k for k in s if not k.startswith("grid")), key=s.__getitem__) for layer, s in both.items()}
    content = [layer for layer in both if both[layer][best[layer]] > both[layer]["grid"]]
    chosen = content or list(both)
    kinds = [best[layer] for layer in chosen]
    kind = max(set(kinds), key=lambda k: (kinds.count(k), k))
    those = [layer for layer in chosen if best[layer] == kind]
    example = max(those, key=lambda layer: both[layer][kind] - both[layer]["grid"])
    there, grid = both[example][kind], both[example]["grid"]
    example_said = (
        f"in {example} the median neuron’s contribution strays from an even spread by {percent(there)} "
        f"between {REGIONS.get(kind, kind)} and by {percent(grid)} between grid cells"
    )
    if not content:
        return [f"Its neurons go by place at least as much as by what is there: {example_said}."]
    where = parts(len(content), len(both))
    return [f"In {where} neurons go by {by_grouping(kind)} more than by place: {example_said}."]


REGIONS = {"instances": "objects", "rgb": "clusters of colour", "gabor": "clusters of texture"}


def spread_answer(heat: Panels, reach: Panels) -> list[str]:
    """The third sentence: do heatmaps follow intensity, and over how many pixels does a neuron reach?"""
    light = numbers(heat, lambda d: float(d["correlation_intensity"]))
    said = []
    if light:
        follow = [layer for layer, r in light.items() if r >= 0.3]
        said.append(
            f"contributions gather where the picture is bright in {parts(len(follow), len(light))}: "
            f"correlation {span(light.values())}"
        )
    pixels = numbers(reach, lambda d: float(d["sorted_share"].median()))
    if pixels:
        ends = Extremes.of(pixels)
        least = f" down to {fraction(ends.least)} in {ends.low} ({percent(ends.least)})" if len(pixels) > 1 else ""
        most = f"{fraction(ends.most)} of the pixels in {ends.high} ({percent(ends.most)})"
        said.append(f"the median neuron serves {most}{least}")
    sentence = "; ".join(said)
    return [f"{sentence[0].upper()}{sentence[1:]}."] if sentence else []
