"""A run's canvas, reduced into its results, and whole maps for those who want them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xinc.canvas.layer import Layer
from xinc.canvas.methods import DEFAULT
from xinc.errors import RunError
from xinc.files import locked, reason
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


def trace_run(
    run: Run, tracing: Tracing, *, save_maps: bool = False, out: Path | None = None, stage: Stage = silent
) -> Path:
    """Reduce a run's canvas into ``trace/METHOD/LAYER`` of its results; maps into ``maps/METHOD/LAYER`` when asked.

    Groups that hold the same already are not made again.

    Args:
        run: a run with a folder.
        tracing: what.
        save_maps: keep all maps too: neurons × height × width × 4 bytes a frame before compression.
        out: folder of the results where it is not the run's, which may then be one that can only be read.
        stage: shows a long step.

    Returns:
        The results' folder.

    Raises:
        RunError: the run has no folder, or the maps do not fit on its disk.
        TraceError, ModelError: there is no such method, layer or frame.
    """
    place = out or run.path
    if place is None:
        raise RunError("results need a place: save the run first, run.save(folder)")
    frames = tracing.frames if tracing.frames is not None else default_frames(run.clip)
    with locked(place, "tracing"):
        canvases = {t: run.canvas(t, tracing.method) for t in frames}
        results, network = Results(place / FOLDER), fingerprint(run.model.state_dict().values())
        for name in tracing.layers or next(iter(canvases.values())).layers:
            layers = {t: canvas[name] for t, canvas in canvases.items()}
            with stage(f"Tracing {name}") as progress:
                _keep_reductions(network, tracing, layers, results, progress)
            if save_maps:
                with stage(f"Saving maps of {name}") as progress:
                    save_layer_maps(layers, network, results, progress)
    return place / FOLDER


def trace_folder(
    folder: Path, tracing: Tracing, *, save_maps: bool = False, out: Path | None = None, stage: Stage = silent
) -> Path:
    """:func:`trace_run` of the run in a folder."""
    return trace_run(load(folder), tracing, save_maps=save_maps, out=out, stage=stage)


def _keep_reductions(
    network: str, tracing: Tracing, layers: Mapping[int, Layer], results: Results, progress: Progress
) -> None:
    import xarray as xr

    first = next(iter(layers.values()))
    group = f"trace/{tracing.method}/{first.name}"
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


def save_layer_maps(layers: Mapping[int, Layer], network: str, results: Results, progress: Progress) -> None:
    """All maps of a layer, ``map (frame, neuron, y, x)`` float32, compressed; goes on where it was interrupted.

    Args:
        layers: the layer's, by frame.
        network: a short name of the network's weights.
        results: where they go, as ``maps/METHOD/LAYER``; on a disk.
        progress: told of each step.

    Raises:
        RunError: they do not fit on the disk.
    """
    first = next(iter(layers.values()))
    neurons, height, width = first.shape
    block = max(1, (1 << 22) // (height * width))
    steps = [(row, t, start) for row, t in enumerate(layers) for start in range(0, neurons, block)]
    wanted = {
        "layer": first.name,
        "method": first.method,
        "frames": list(layers),
        "network": network,
        "shape": [len(layers), neurons, height, width],
        "written": len(steps),
    }
    group = f"maps/{first.method}/{first.name}"
    if results.attrs(group) == wanted:
        return
    assert results.folder is not None  # the caller looked
    _check_room(first, len(layers), results.folder)
    try:
        with results.making(group, lasting=True) as made:
            array, attrs = _array_of_maps(made, wanted, block)
            for number, (row, t, start) in enumerate(steps):
                progress("", number, len(steps))
                if number < int(attrs["written"]):
                    continue
                chosen = range(start, min(neurons, start + block))
                array[row, chosen.start : chosen.stop] = layers[t].maps(chosen).cpu().numpy()
                attrs["written"] = number + 1
    except OSError as fault:
        raise RunError(f"maps of {first.name} cannot be written to {results.folder}: {reason(fault)}") from None
    progress("", len(steps), len(steps))


def _check_room(layer: Layer, frames: int, folder: Path) -> None:
    import shutil

    neurons, height, width = layer.shape
    size, free = 4 * neurons * height * width * frames, shutil.disk_usage(folder.parent).free
    if size > free:
        raise RunError(f"maps of {layer.name} take up to {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free")


def _array_of_maps(made: Path, wanted: Mapping[str, Any], block: int) -> tuple[Any, Any]:
    """The array that maps are written to, and attributes that say how many steps are; what suits stays."""
    import shutil

    import zarr

    for left in made.rglob("*.partial"):  # of a chunk that a kill cut short
        left.unlink()
    with suppress(Exception):  # damaged by a power cut, say: it is made anew
        group = zarr.open_group(made, mode="r+")
        if {**group.attrs, "written": wanted["written"]} == wanted:
            return group["map"], group.attrs
    for left in made.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    group, frames = zarr.open_group(made, mode="a"), np.array(wanted["frames"])
    shape = wanted["shape"]
    names = ("frame", "neuron", "y", "x")
    array = group.create_array(
        "map", shape=shape, chunks=(1, block, *shape[2:]), dtype="float32", dimension_names=names
    )
    group.create_array("frame", data=frames, dimension_names=("frame",))
    group.attrs.update({**wanted, "written": 0})
    return array, group.attrs
