"""The numbers of one layer that the report's tables show, by finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.show.figures.sheet import spoken
from xinc.show.sentences import findings as story
from xinc.show.sentences.words import listing

if TYPE_CHECKING:
    import xarray as xr


def grouping_row(data: xr.Dataset) -> dict[str, Any]:
    """Median scores of each grouping, and what moved regions score."""
    found = story.medians(data)
    counts = {str(k): int(n) for k, n in zip(data["grouping"].values, data["regions"].values, strict=True)}
    scores: dict[str, Any] = {}
    for kind, score in found.items():
        scores[f"{kind}, {counts[kind]} regions"] = score
        if "shifted" in data:
            scores[f"{kind}, moved"] = float(data["shifted"].sel(grouping=kind))
            scores[f"{kind}, p"] = float(data["p_value"].sel(grouping=kind))
    return {"neurons": data.sizes["neuron"], **scores, "dead neurons": int(data["dead"])}


def intensity_row(data: xr.Dataset) -> dict[str, Any]:
    """Correlations of the heatmap with intensity and edges."""
    return {
        "r with intensity": float(data["correlation_intensity"]),
        "r with edges": float(data["correlation_edges"]),
        "partial r with intensity": float(data["partial_intensity"]),
        "partial r with edges": float(data["partial_edges"]),
    }


def pixels_row(data: xr.Dataset) -> dict[str, Any]:
    """How many pixels neurons represent."""
    shares = 100 * data["sorted_share"]
    return {
        "neurons": data.sizes["neuron"],
        "median pixels (%)": float(shares.median()),
        "90th percentile (%)": float(np.quantile(shares, 0.9)),
        "without a pixel (%)": 100 * float(data["silent"]),
        "map all zero (%)": 100 * float(data["dead"]),
    }


def neurons_row(data: xr.Dataset) -> dict[str, Any]:
    """How many neurons pixels have, by threshold."""
    found: dict[str, Any] = {}
    for area in data["area"].values:
        at, name = data.sel(area=area), f"{100 * float(area):.0f} %"
        found[f"median share at {name} (%)"] = 100 * float(at["share"].median())
        found[f"edges : rest at {name}"] = float(at["edge_ratio"])
        found[f"partial r with edges at {name}"] = float(at["partial_edges"])
    return found


def objects_row(data: xr.Dataset) -> dict[str, Any]:
    """How instances share neurons, and how stable that is."""
    from xinc.findings.section4.objects import category_grouping, stability
    from xinc.findings.statistics import median

    share = data["share"].values
    ratio, p = category_grouping(share[0], [str(c) for c in data["category"].values])
    return {
        "neurons": data.sizes["neuron"],
        "annotated frames": data.sizes["frame"],
        "instances": int((data["area"].isel(frame=0).values > 0).sum()),
        "category ratio": ratio,
        "p of category": p,
        "stability over time": median(stability(share)) if len(share) > 1 else float("nan"),
    }


def motion_row(data: xr.Dataset) -> dict[str, Any]:
    """How change goes with speed."""
    names = {
        "r with speed": "correlation",
        "p": "p_value",
        "partial r": "partial",
        "moving : still": "moving_ratio",
        "uncovered : still": "uncovered_ratio",
    }
    return {title: float(data[name]) for title, name in names.items()}


def layers_row(data: xr.Dataset) -> dict[str, Any]:
    """How far layers mix."""
    own = {f"{spoken(name)}": ratio for name, ratio in story.mixing_by_layer(data).items()}
    return {
        "neurons": data.sizes["neuron"],
        "mixing": float(data["mixing"]),
        "p": float(data["mixing_p"]),
        "around neurons of": listing(f"{name} {ratio:.2f}" for name, ratio in own.items()),
    }


def _ends(data: xr.Dataset, name: str) -> str:
    """An interval over frames as ``"23 to 27"``; a dash where there was one frame."""
    low, high = (float(data.get(f"{name}_{end}", np.nan)) for end in ("low", "high"))
    return f"{max(low, 1):.0f} to {high:.0f}" if np.isfinite(low) else "–"


def together_row(data: xr.Dataset) -> dict[str, Any]:
    """Effective dimensions, what cancels, and what is unique."""
    return {
        "neurons": data.sizes["neuron"],
        "effective dimension": float(data["participation"]),
        "over frames": _ends(data, "participation"),
        "with nothing in common": float(data["participation_apart"]),
        "with random weights": float(data.get("participation_random", np.nan)),
        "95 % of the energy": int(data["components_95"]),
        "99.9 % of the energy": int(data["components_999"]),
        "cancelled (%)": 100 * float(data["cancelled"]),
        "unique part (%)": 100 * float(data["unique"].sum() / data["energy"].sum()),
    }
