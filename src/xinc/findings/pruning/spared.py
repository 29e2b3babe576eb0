"""What pruning comes to: the table, and how much of a layer each score spares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.findings.pruning.cutting import alive, packed
from xinc.findings.pruning.prune import Losses
from xinc.run import Run

if TYPE_CHECKING:
    import xarray as xr

TENTH = 0.1
"""Share whose loss is told in words, or the nearest that was tried."""


def rows(curves: xr.Dataset, shares: Sequence[float] | None = None) -> list[dict[str, Any]]:
    """The table of :func:`compare`, one row a score and share, for people and for JSON.

    Args:
        curves: what :func:`compare` returns.
        shares: some of its shares; all where None.

    Returns:
        Dicts with ``layer``, ``unit`` (a key of :data:`~xinc.findings.pruning.cutting.UNITS`), ``by``, ``fraction``,
        ``neurons`` (removed), ``psnr_unpruned``, ``psnr_signal`` (dB, mean over frames; None where infinite),
        ``parameters`` (not zero), ``bytes`` (compressed) and ``finetune`` (steps, 0).
    """
    found = []
    for name in curves.by.values.tolist():
        for share in curves.share.values.tolist() if shares is None else shares:
            here = curves.sel({"by": name, "share": share})
            if np.isnan(float(here.neurons)):  # a share that only another score was tried at
                continue
            row: dict[str, Any] = {"layer": curves.attrs["layer"], "unit": curves.attrs["unit"], "by": name}
            row |= {"fraction": share, "neurons": int(here.neurons)}
            for key in ("psnr_unpruned", "psnr_signal"):
                value = float(here[key].mean("frame"))
                row[key] = value if np.isfinite(value) else None
            row |= {"parameters": int(here.parameters), "bytes": int(here.packed), "finetune": 0}
            found.append(row)
    return found


def tuned_row(run: Run, tuned: Run, curves: xr.Dataset, by: str) -> dict[str, Any]:
    """The row of a network that was fine-tuned after pruning, with the keys of :func:`rows`."""
    (row,) = rows(curves.sel({"by": [by]}), [curves.attrs["fraction"]])
    losses = np.mean(Losses(run, curves["frame"].values.tolist())(tuned.model), axis=1)
    parameters = list(tuned.model.parameters())
    row |= {"psnr_unpruned": float(losses[0]), "psnr_signal": float(losses[1])}
    row |= {"parameters": sum(map(alive, parameters)), "bytes": sum(map(packed, parameters))}
    return {**row, "finetune": tuned.settings["pruned.finetune"]}


def spared(curves: xr.Dataset, by: str, loss: float = 1.0) -> float:
    """The share of a layer that can go before the picture has lost some dB to the signal, mean over frames.

    Between the shares that were tried, the loss is taken to grow evenly; only whole units go.
    """
    psnr = curves["psnr_signal"].sel(by=by).mean("frame").dropna("share")
    lost, units = psnr.values[0] - psnr.values, curves["units"].sel({"by": by, "share": psnr["share"]}).values
    over = np.flatnonzero(lost > loss)
    step = slice(over[0] - 1, over[0] + 1) if len(over) else slice(-1, None)
    return float(np.floor(np.interp(loss, lost[step], units[step])) / curves.attrs["count"])


def conclusion(curves: xr.Dataset, layer: str | None = None) -> str:
    """What the numbers of :func:`~xinc.findings.pruning.compare` say: what each score spares the picture.

    Args:
        curves: what it returned.
        layer: what to call the layer.
    """
    what = f"the {curves.attrs['called']} of {layer or curves.attrs['layer']}"
    found = {by: spared(curves, by) for by in curves["by"].values.tolist()}
    most = float(curves["units"].max()) / curves.attrs["count"]
    shares = {by: f"{'at least ' if x >= most else ''}{100 * x:.2g} %" for by, x in found.items()}
    one = "whichever score chooses it" if len(found) > 1 else f"if {next(iter(found))} chooses it"
    first = (
        f"Before the picture has lost 1 dB, {_ranked(found, shares, f' of {what} can go')}."
        if any(found.values())
        else f"Even one of {what} costs the picture more than 1 dB, {one}."
    )
    tried = curves["share"].values[curves["neurons"].notnull().all("by").values & (curves["share"].values > 0)]
    share = float(tried[np.argmin(np.abs(tried - TENTH))])
    kept = {by: float(curves["psnr_unpruned"].sel({"by": by, "share": share}).mean()) for by in found}
    numbers = {by: f"{x:.1f}" for by, x in kept.items()}
    return f"{first} Without {100 * share:.2g} % of them it keeps {_ranked(kept, numbers, ' dB to the unpruned one')}."


def _ranked(values: Mapping[str, float], written: Mapping[str, str], what: str) -> str:
    """``"17 % of what by exact; 13 % by paper, 3 % at random"``, the greatest first."""
    order = sorted(values, key=lambda by: -values[by])
    first, *rest = [(written[by], "at random" if by == "random" else f"by {by}") for by in order]
    others = ", ".join(" ".join(one) for one in rest)
    return f"{first[0]}{what} {first[1]}{'; ' if others else ''}{others}"
