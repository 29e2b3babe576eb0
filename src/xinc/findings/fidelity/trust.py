"""Which method to trust in which layer: the table and the sentences that the comparison with ablation comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.findings.fidelity.compare import RANDOM, Fidelity
from xinc.findings.fidelity.deletion import CEILING, ORDERS
from xinc.notation import Values, spoken

if TYPE_CHECKING:
    import xarray as xr

GOOD = 0.9
"""Correlation and rank agreement from which on a method's word is taken for the ablation's."""
SHARE = 0.1
"""Share of a layer's neurons whose removal is told in words."""
KEYS = ("correlation_median", "correlation_p10", "undefined", "totals_rank", "low", "high")


def rows(found: Fidelity) -> list[dict[str, Any]]:
    """The table, one row a layer and method, for people and for JSON.

    Returns:
        Dicts with ``layer``, ``method``, ``neurons`` (sampled), ``correlation_median``, ``correlation_p10``,
        ``undefined`` (share), ``totals_rank``, ``low``, ``high`` (95 % bootstrap interval of the median); None where a
        number is undefined, everywhere where the method has no maps of the layer.
    """
    return [
        {
            "layer": layer,
            "method": method,
            "neurons": data.sizes["neuron"],
            **{key: None if why else _number(data[key].sel({"method": method})) for key in KEYS},
        }
        for layer, data in found.compared.items()
        for method, why in zip(data["method"].values.tolist(), data["refused"].values.tolist(), strict=True)
    ]


def _number(value: xr.DataArray) -> float | None:
    return float(value) if np.isfinite(value) else None


def conclusion(found: Fidelity) -> list[str]:
    """Sentences: which method to trust in which layer, what the others are for, what they hide, how well they prune."""
    return [
        *(_verdict(own) for own in _methods(found.compared)),
        *_vanished(found.compared),
        *_pruned(found.deleted),
        *refusals(found),
    ]


CLOSE = 0.95
"""Median correlation from which on maps are taken for the ablation's without a word of caution."""


def answer(held: Mapping[str, Fidelity], method: str) -> list[str]:
    """What the top of a report says: how the leading method's maps agree with ablation, where not, and what then.

    Args:
        held: comparisons by network; those that were not made are empty.
        method: that leads.

    Returns:
        Sentences; none where nothing was compared.
    """
    measured = [
        (network, row["layer"], row["method"], row["correlation_median"])
        for network, own in held.items()
        for row in rows(own)
        if row["correlation_median"] is not None
    ]
    own = [value for _, _, name, value in measured if name == method]
    if not own:
        return []
    sentence = (
        f"How far to trust it: where neurons were removed and the network run again, maps by {method} showed what was "
        f"lost with a median correlation of {_span(np.array(own))}"
    )
    others = {
        name: _span(np.array([value for _, _, which, value in measured if which == name]))
        for _, _, name, _ in measured
        if name != method
    }
    beside = "; ".join(f"maps by {name} reach {span}" for name, span in others.items())
    sentences = [f"{sentence}{f' ({beside})' if beside else ''}."]
    poor = [(network, layer) for network, layer, name, value in measured if name == method and value < CLOSE]
    if poor:
        where = _listed(
            [f"{spoken(layer)} of the {network}" if len(held) > 1 else spoken(layer) for network, layer in poor]
        )
        sentences.append(
            f"Below {CLOSE} lies {where}: for what its neurons do, ask `xinc analyse RUN --method ablation --layers "
            f"{','.join(dict.fromkeys(layer for _, layer in poor))}`."
        )
    return sentences


def refusals(found: Fidelity) -> Iterator[str]:
    """A line for each layer of which a method has no maps, with the reason."""
    for layer, data in found.compared.items():
        for method, why in zip(data["method"].values.tolist(), data["refused"].values.tolist(), strict=True):
            if why:
                yield f"{method} has no maps of {spoken(layer)}: {why}."


@dataclass(frozen=True)
class _Method:
    """A method's numbers, by layer: median correlation, rank of totals, share of undefined correlations."""

    name: str
    layers: tuple[str, ...]
    maps: Values
    ranks: Values
    undefined: Values

    def worded(self, chosen: Any) -> str:
        """The numbers of some layers."""
        return f"median correlation {_span(self.maps[chosen])}, rank of totals {_span(self.ranks[chosen])}"

    def named(self, chosen: Any) -> str:
        """The names of some layers."""
        return _listed([spoken(name) for name, here in zip(self.layers, chosen, strict=True) if here])


def _methods(compared: Mapping[str, xr.Dataset]) -> Iterator[_Method]:
    """Each method over the layers of which it has maps."""
    for method in dict.fromkeys(name for data in compared.values() for name in data["method"].values.tolist()):
        here = {layer: data.sel({"method": method}) for layer, data in compared.items()}
        own = {layer: data for layer, data in here.items() if not str(data["refused"].values)}
        maps, ranks, undefined = (
            np.array([float(data[key]) for data in own.values()], dtype=np.float64)
            for key in ("correlation_median", "totals_rank", "undefined")
        )
        if own:
            yield _Method(method, tuple(own), maps, ranks, undefined)


def _verdict(method: _Method) -> str:
    """The sentence about a method."""
    maps = (method.maps >= GOOD) & (method.undefined < 1 - GOOD)
    good, every = maps & (method.ranks >= GOOD), np.ones_like(maps)
    if good.all():
        where = "every layer" if len(good) > 1 else spoken(method.layers[0])
        return f"Trust {method.name} in {where}: its maps and totals agree with ablation ({method.worded(every)})."
    if good.any():
        return (
            f"Trust {method.name} in {method.named(good)} ({method.worded(good)}), but not in {method.named(~good)} "
            f"({method.worded(~good)})."
        )
    if maps.all():
        return (
            f"{method.name} shows where neurons act, but do not rank neurons by it: its totals do not follow "
            f"ablation’s ({method.worded(every)})."
        )
    return f"Do not take {method.name} for what a neuron does: it departs from ablation ({method.worded(every)})."


def _vanished(compared: Mapping[str, xr.Dataset]) -> Iterator[str]:
    """Sentences about neurons that a method leaves without a map although the picture misses them."""
    for layer, data in compared.items():
        truth = data["ablation_total"].sum("frame").values
        for method in data["method"].values.tolist():
            gone = (data["total"].sel({"method": method}) == 0).all("frame").values
            if gone.mean() < 1 - GOOD or gone.all() or not truth[~gone].mean() > 0:
                continue
            cost = truth[gone].mean() / truth[~gone].mean()
            yield (
                f"In {spoken(layer)}, {method} leaves {100 * gone.mean():.0f} % of the sampled neurons without a map; "
                f"removing one of them changes the picture {cost:.2f} times as much as removing another."
            )


def _pruned(deleted: Mapping[str, xr.Dataset]) -> Iterator[str]:
    """What the picture keeps without a tenth of a layer's neurons, chosen as least by each ranking, over layers."""
    kept = [at_share(data, SHARE) for data in deleted.values()]
    words = []
    for name in dict.fromkeys(name for own in kept for name in own):
        values = [own[name] for own in kept if name in own]
        ends = [("≥ " if end >= CEILING else "") + f"{end:.1f}" for end in (min(values), max(values))]
        span = ends[0] if ends[0] == ends[1] else " to ".join(ends)
        words.append(f"{span} dB {'at random' if name == RANDOM else 'by ' + name}")
    if words:
        which = f"neurons of {'each layer' if len(kept) > 1 else spoken(next(iter(deleted)))} that count least"
        yield f"Without the {100 * SHARE:.0f} % of {which}, the picture keeps {_listed(words)}."


def at_share(data: xr.Dataset, share: float) -> dict[str, float]:
    """PSNR in dB, at most :data:`CEILING`, without the least of a layer's neurons, by ranking; mean over frames."""
    psnr = data["psnr"].clip(max=CEILING).mean("frame").sel({"share": share})
    least = {
        # A random order has no least neurons: both of its directions are draws.
        name: own.mean() if name == RANDOM else own.sel({"order": ORDERS[1]})
        for name, own in ((str(name), psnr.sel({"ranking": name})) for name in psnr["ranking"].values)
    }
    return {name: float(value) for name, value in least.items() if np.isfinite(value)}


def _span(values: Values) -> str:
    """Least to greatest, rounded; one number where they are the same."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "undefined"
    ends = [f"{end:.3f}".replace("-", "−") for end in (finite.min(), finite.max())]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
