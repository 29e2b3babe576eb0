"""A run's canvas, reduced into its results, and whole maps for those who want them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xinc.canvas.layer import Layer
from xinc.canvas.methods import DEFAULT
from xinc.errors import RunError
from xinc.findings.analyse import default_frames
from xinc.findings.results import FOLDER, Results, digest, fingerprint
from xinc.run import Run, load
from xinc.waiting import Progress
from xinc.workflow.stages import Stage, silent

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Tracing:
    """What ``xinc trace`` computes.

    Attributes:
        method: definition of the maps.
        layers: names; None for all.
        frames: indices; None for those that the findings choose.
        areas: thresholds of the neurons per pixel.
        points: of the sorted curve.
    """

    method: str = DEFAULT
    layers: tuple[str, ...] | None = None
    frames: tuple[int, ...] | None = None
    areas: tuple[float, ...] = (0.1, 0.5)
    points: int = 256


def trace_run(run: Run, tracing: Tracing, *, save_maps: bool = False, stage: Stage = silent) -> Path:
    """Reduce a run's canvas into ``trace/METHOD/LAYER`` of its results; maps into ``maps/METHOD/LAYER`` when asked.

    Groups that hold the same already are not made again.

    Args:
        run: a run with a folder.
        tracing: what.
        save_maps: keep all maps too: neurons × height × width × 4 bytes a frame before compression.
        stage: shows a long step.

    Returns:
        The results' folder.

    Raises:
        RunError: the run has no folder, or the maps do not fit on its disk.
        TraceError, ModelError: there is no such method, layer or frame.
    """
    if run.path is None:
        raise RunError("results need a place: save the run first, run.save(folder)")
    frames = tracing.frames if tracing.frames is not None else default_frames(run.clip)
    canvases = {t: run.canvas(t, tracing.method) for t in frames}
    results = Results(run.path / FOLDER)
    for name in tracing.layers or next(iter(canvases.values())).layers:
        layers = {t: canvas[name] for t, canvas in canvases.items()}
        with stage(f"Tracing {name}") as progress:
            _keep_reductions(run, tracing, layers, results, progress)
        if save_maps:
            with stage(f"Saving maps of {name}") as progress:
                save_layer_maps(layers, run.path / FOLDER, progress)
    return run.path / FOLDER


def trace_folder(folder: Path, tracing: Tracing, *, save_maps: bool = False, stage: Stage = silent) -> Path:
    """:func:`trace_run` of the run in a folder."""
    return trace_run(load(folder), tracing, save_maps=save_maps, stage=stage)


def _keep_reductions(
    run: Run, tracing: Tracing, layers: Mapping[int, Layer], results: Results, progress: Progress
) -> None:
    import xarray as xr

    first = next(iter(layers.values()))
    group = f"trace/{tracing.method}/{first.name}"
    network = fingerprint(run.model.state_dict().values())
    key = digest({"network": network, "areas": tracing.areas, "points": tracing.points, "frames": list(layers)})
    if results.holds(group, key):
        return
    parts = []
    for number, layer in enumerate(layers.values()):
        progress("", number, len(layers))
        parts.append(_reduced(layer, tracing))
    joined = xr.concat(parts, dim="frame").assign_coords(frame=list(layers))
    results.put(group, joined.assign_attrs(digest=key, layer=first.name, method=first.method))
    progress("", len(layers), len(layers))


def _reduced(layer: Layer, tracing: Tracing) -> xr.Dataset:
    """The reductions of one layer of one frame."""
    import xarray as xr

    r = layer.reduce(
        heatmap=True,
        totals=True,
        pixels_per_neuron=True,
        neurons_per_pixel=tracing.areas,
        thresholds=tracing.areas,
        curve=tracing.points,
    )
    assert r.heatmap is not None
    assert r.totals is not None
    assert r.pixels_per_neuron is not None
    assert r.curve is not None
    table = layer.neurons
    shares = torch.stack([r.neurons_per_pixel[area] for area in tracing.areas])
    return xr.Dataset(
        {
            "heatmap": (("y", "x"), r.heatmap.numpy(), {"units": "sum of |C| over neurons"}),
            "total": ("neuron", r.totals.numpy(), {"units": "sum of |C| over pixels"}),
            "pixels": ("neuron", r.pixels_per_neuron.numpy(), {"units": "pixels above 1/K of their total"}),
            "share": (("area", "y", "x"), shares.numpy(), {"units": "share of neurons above the threshold"}),
            "threshold": ("area", [r.thresholds[area] for area in tracing.areas], {"units": "|C|"}),
            "curve": ("position", r.curve[1].numpy(), {"units": "|C|, descending"}),
        },
        coords={
            **{name: ("neuron", table[name].to_numpy()) for name in ("neuron", "input", "output")},
            "area": list(tracing.areas),
            "position": r.curve[0].numpy(),
        },
    )


def save_layer_maps(layers: Mapping[int, Layer], folder: Path, progress: Progress) -> None:
    """All maps of a layer, ``map (frame, neuron, y, x)`` float32, compressed; goes on where it was interrupted.

    Raises:
        RunError: they do not fit on the disk.
    """
    import shutil

    import zarr

    first = next(iter(layers.values()))
    neurons, height, width = first.shape
    size = 4 * neurons * height * width * len(layers)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise RunError(f"maps of {first.name} take up to {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free")
    block = max(1, (1 << 22) // (height * width))
    group = zarr.open_group(folder, path=f"maps/{first.method}/{first.name}", mode="a")
    shape = (len(layers), neurons, height, width)
    wanted: dict[str, Any] = {"layer": first.name, "method": first.method, "frames": list(layers), "shape": list(shape)}
    if {k: group.attrs.get(k) for k in wanted} != wanted:
        group.create_array(
            "map",
            shape=shape,
            chunks=(1, block, height, width),
            dtype="float32",
            dimension_names=("frame", "neuron", "y", "x"),
            overwrite=True,
        )
        group.create_array("frame", data=np.array(list(layers)), dimension_names=("frame",), overwrite=True)
        group.attrs.update({**wanted, "written": 0})
    array: Any = group["map"]
    steps = [(row, t, start) for row, t in enumerate(layers) for start in range(0, neurons, block)]
    for number, (row, t, start) in enumerate(steps):
        progress("", number, len(steps))
        if number < int(str(group.attrs["written"])):
            continue
        chosen = range(start, min(neurons, start + block))
        array[row, chosen.start : chosen.stop] = layers[t].maps(chosen).cpu().numpy()
        group.attrs["written"] = number + 1
    progress("", len(steps), len(steps))
