"""Sentences on what neurons do together."""

from __future__ import annotations

import numpy as np

from xinc.show.figures.sheet import Panels
from xinc.show.sentences.words import fractions, listing, numbers, percent, span


def together(panels: Panels) -> list[str]:
    """How many pictures a layer paints, how much of it cancels, and how much each neuron has to itself."""
    effective = numbers(panels, lambda d: float(d["participation"]))
    apart = numbers(panels, lambda d: float(d["participation_apart"]))
    most = numbers(panels, lambda d: float(d["components_95"]))
    random = numbers(panels, lambda d: float(d.get("participation_random", np.nan)))
    sizes = numbers(panels, lambda d: float(d.sizes["neuron"]))
    ratio = max((effective[name] / sizes[name] for name in effective), default=1.0)
    fewer = "far fewer" if ratio < 0.2 else "fewer" if ratio < 0.8 else "about as many"
    said = [
        f"A layer paints {fewer} independent pictures {'than' if ratio < 0.8 else 'as'} it has neurons: "
        + listing(
            f"{name} about {effective[name]:.0f} ({most[name]:.0f} hold 95 % of the energy of its "
            f"{sizes[name]:,.0f} neurons; maps with nothing in common would make {apart[name]:.0f}"
            + (f", random weights {random[name]:.0f}" if name in random else "")
            + ")"
            for name in effective
        )
        + "."
    ]
    ends = numbers(panels, lambda d: float(d.get("participation_low", np.nan)))
    if ends:
        tops = numbers(panels, lambda d: float(d["participation_high"]))
        said.append(
            "Over frames it lies between "
            + listing(f"{max(low, 1):.0f} and {tops[name]:.0f} in {name}" for name, low in ends.items())
            + " (95 % intervals of the mean)."
        )
    cancelled = numbers(panels, lambda d: float(d["cancelled"]))
    own = numbers(panels, lambda d: float(d["unique"].sum() / d["energy"].sum()))
    said.append(
        f"Neurons undo {fractions(cancelled.values())} of a heatmap in each other "
        f"({span([100 * value for value in cancelled.values()], '.0f')} %): "
        "what stands there is not what the layer adds up to."
    )
    said.append(
        f"What no others could make up for is {percent(min(own.values()))} of the energy"
        + (f" in {min(own, key=own.__getitem__)}" if len(own) > 1 else "")
        + (f" and {percent(max(own.values()))} in {max(own, key=own.__getitem__)}" if len(own) > 1 else "")
        + "."
    )
    return said
