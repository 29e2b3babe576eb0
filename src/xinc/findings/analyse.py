"""Every finding of section 4 for a run, computed once and kept in its results.

All reductions that a layer is asked for are made together, in the fewest passes over its maps; one layer of one frame
is held at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.canvas.joint.gram import LARGEST
from xinc.canvas.layer import Layer
from xinc.canvas.methods import DEFAULT, METHODS
from xinc.canvas.trace import Canvas
from xinc.errors import FindingError
from xinc.files import locked
from xinc.findings.analyses import ANALYSES, CLUSTERED, CLUSTERING, CUTS, FrameContext, Settings
from xinc.findings.optical_flow.flows import key_of
from xinc.findings.results import FOLDER, Results, digest, fingerprint
from xinc.findings.section4.layouts import LAYER, LAYOUTS, of_layer, of_layers
from xinc.findings.section4.motion import Flow
from xinc.findings.section4.regions import Regions
from xinc.findings.together.control import random_network
from xinc.signals.clip import Clip
from xinc.signals.frames import spread
from xinc.waiting import Progress, silent

if TYPE_CHECKING:
    import xarray as xr

    from xinc.run import Run


def default_frames(clip: Clip, count: int = 6) -> tuple[int, ...]:
    """Frames to analyse if nobody says: up to ``count`` annotated ones, and two inside the clip if those are few."""
    annotated = clip.segments.frames if clip.segments is not None else ()
    inside = {len(clip) // 3, 2 * len(clip) // 3} if len(annotated) < 2 else set()
    return tuple(sorted({annotated[i] for i in spread(len(annotated), count)} | inside))


def analyse(
    run: Run,
    *,
    methods: Sequence[str] = (DEFAULT,),
    layers: Sequence[str] | None = None,
    frames: Sequence[int] | None = None,
    findings: Sequence[str] | None = None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    flows: Mapping[int, Flow] | None = None,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Compute findings of a run and keep them in its ``results.zarr``; what is there for the same settings stays.

    Args:
        run: the run; one without a folder gets its results in memory.
        methods: definitions of the maps.
        layers: names; all where None.
        frames: indices; :func:`default_frames` where None.
        findings: keys of :data:`~xinc.findings.analyses.ANALYSES` and of
            :data:`~xinc.findings.section4.layouts.LAYOUTS`; the paper's where None, without layouts, which take UMAP
            some seconds. Frames for which one has no data (no segments, no frame before) are left out; where none is
            left, so is the finding.
        settings: of all findings.
        flows: what is known to move, by frame; optical flow where a frame has none.
        progress: told of each step.

    Returns:
        The results: ``tree["grouping/paper/block3"].ds`` and the like, each with a ``frame`` dimension, and
        ``tree["regions"].ds`` with the label maps ``labels (frame, grouping, y, x)``.

    Raises:
        FindingError: there is no such finding or frame; too few layers or neurons are to be laid out.
        TraceError: there is no such method or layer.
    """
    names = _known_findings(findings)
    results = Results(run.path / FOLDER if run.path is not None else None)
    task = _Task(run, known_frames(run.clip, frames), settings, flows or {}, results)
    known = layers or task.layers
    layouts = [name for name in LAYOUTS if name in names]
    asked = [name for name in ANALYSES if name in names or (name == "clusters" and layouts)]
    jobs = [
        job
        for method in methods
        for layer in known
        for name in asked
        if (job := task.job(name, method, layer)).frames
        and (not ANALYSES[name].signed or task.has_gram(method, layer))
        and not results.holds(job.group, job.key)
    ]
    report = progress or silent
    steps = list(dict.fromkeys((job.method, job.layer) for job in jobs))
    total = len(steps) + len(layouts) * len(methods)
    with locked(run.path, "analysing"):
        for number, (method, layer) in enumerate(steps):
            step = [job for job in jobs if (job.method, job.layer) == (method, layer)]
            parts: dict[str, list[xr.Dataset]] = {job.name: [] for job in step}
            for t in sorted({t for job in step for t in job.frames}):
                report(f"{method} maps of {layer}, frame {t}", number, total)
                for job, found in task.at_frame([job for job in step if t in job.frames], t):
                    parts[job.name].append(found)
            for job in step:
                results.put(job.group, ANALYSES[job.name].finish(_joined(parts[job.name], job)))
        task.keep_regions(any(ANALYSES[name].cuts for name in asked))
        for number, (method, name) in enumerate(product(methods, layouts), len(steps)):
            report(f"neurons by {method} in two dimensions", number, total)
            task.keep_layouts(name, method, known)
    report("findings are complete", total, total)
    return results.tree()


@dataclass(frozen=True)
class _Job:
    """A group that is to be made, and what its numbers depend on."""

    name: str
    method: str
    layer: str
    frames: Sequence[int]
    described: Mapping[str, Any]

    @property
    def group(self) -> str:
        return f"{self.name}/{self.method}/{self.layer}"

    @property
    def key(self) -> str:
        return digest(self.described)


@dataclass(eq=False)
class _Task:
    """What all jobs of a call share."""

    run: Run
    frames: tuple[int, ...]
    settings: Settings
    flows: Mapping[int, Flow]
    results: Results = field(default_factory=Results)

    @cached_property
    def scenes(self) -> dict[int, FrameContext]:
        clip, settings = self.run.clip, self.settings
        return {
            t: FrameContext(clip, t, settings, self.flows, self._clusters(t), partial(self._random, t))
            for t in self.frames
        }

    def _clusters(self, frame: int) -> dict[str, Regions]:
        """Clusters of colours and textures, where an earlier call made them of these frames."""
        held = self.results.get("regions")
        if held is None or held.attrs.get("digest") != self.regions_key:
            return {}
        made, names = json.loads(held.attrs["settings"]), tuple(map(str, range(self.settings.clusters)))
        planes = {name: held["labels"].sel(frame=frame, grouping=name).values.astype(np.int64) for name in CLUSTERED}
        return {name: Regions(name, plane, names, made[name]) for name, plane in planes.items()}

    def _random(self, frame: int, layer: str) -> Layer:
        """A layer of the same network with random weights, by the method that has signed maps."""
        return self.control.canvas(frame, DEFAULT)[layer]

    @cached_property
    def control(self) -> Run:
        """The same network with random weights."""
        return random_network(self.run, self.settings.seed)

    @cached_property
    def layers(self) -> list[str]:
        """All layers of the network, in the order of the forward pass."""
        return self.canvas(self.frames[0], DEFAULT).layers

    def has_gram(self, method: str, layer: str) -> bool:
        """Whether a layer's maps have signs, and few enough neurons to compare each with each."""
        known = METHODS.get(method)
        return bool(getattr(known, "signed", False)) and self.canvas(self.frames[0], method)[layer].shape[0] <= LARGEST

    @cached_property
    def shared(self) -> dict[str, Any]:
        """What every group depends on."""
        seen = sorted({*self.frames, *(max(t - 1, 0) for t in self.frames)})
        return {
            "xinc": version("xinc"),
            "network": fingerprint(self.run.model.state_dict().values()),
            "signal": fingerprint([self.run.clip[seen].frames]),
        }

    @cached_property
    def segments(self) -> str:
        """A short name of all segments of the clip: cells are as many as its frames have on average."""
        known = self.run.clip.segments
        if known is None:
            return ""
        planes = fingerprint(known.labels[t] for t in sorted(known.labels))
        return digest({"planes": planes, "table": [asdict(segment) for segment in known.table]})

    def read(self, reads: Sequence[str], frames: Sequence[int]) -> dict[str, Any]:
        """What is read, of settings, segments and flows of some frames: nothing else may change a finding's digest."""
        found: dict[str, Any] = {"settings": {k: v for k, v in asdict(self.settings).items() if k in reads}}
        if "segments" in reads:
            found["segments"] = self.segments
        if "flows" in reads:
            found["flows"] = {t: key_of(self.flows, t) for t in frames if t in self.flows}
        return found

    def canvas(self, frame: int, method: str) -> Canvas:
        return self.run.canvas(frame, method)

    def job(self, name: str, method: str, layer: str) -> _Job:
        analysis = ANALYSES[name]
        frames = analysis.frames(self.run.clip, self.frames)
        own = {"finding": name, "version": analysis.version, "method": method, "layer": layer, "frames": frames}
        return _Job(name, method, layer, frames, {**self.shared, **self.read(analysis.reads, frames), **own})

    def at_frame(self, jobs: Sequence[_Job], frame: int) -> Iterator[tuple[_Job, xr.Dataset]]:
        """The Datasets of one layer's jobs at one frame, from one set of reductions."""
        scene, (method, name) = self.scenes[frame], (jobs[0].method, jobs[0].layer)
        layer = self.canvas(frame, method)[name]
        before: Layer | None = None
        if any(ANALYSES[job.name].moving for job in jobs):
            before = self.canvas(frame - 1, method)[name]
        self._reduce(layer, scene, {wanted for job in jobs for wanted in ANALYSES[job.name].reductions})
        for job in jobs:
            yield job, ANALYSES[job.name].compute(layer, scene, before)

    def _reduce(self, layer: Layer, scene: FrameContext, wanted: set[str]) -> None:
        cuts = scene.regions if "regions" in wanted else [scene.grouping(name) for name in CUTS if name in wanted]
        layer.reduce(
            heatmap="heatmap" in wanted,
            totals="totals" in wanted,
            extremes="extremes" in wanted,
            pixels_per_neuron="pixels_per_neuron" in wanted,
            regions={r.grouping: r.labels for r in cuts},
            neurons_per_pixel=self.settings.areas if "neurons_per_pixel" in wanted else (),
            curve=self.settings.points if "curve" in wanted else 0,
        )

    @cached_property
    def regions_key(self) -> str:
        """What the label maps of these frames depend on."""
        signal = {k: v for k, v in self.shared.items() if k != "network"}
        return digest({**signal, **self.read((*CLUSTERING, "segments"), self.frames), "frames": self.frames})

    def keep_regions(self, wanted: bool) -> None:
        """Write the label maps beside the findings that were made with them."""
        if not wanted or self.results.holds("regions", self.regions_key):
            return
        import xarray as xr

        scenes = list(self.scenes.values())
        names = list(dict.fromkeys(r.grouping for scene in scenes for r in scene.regions))
        labels = np.full((len(scenes), len(names), *self.run.clip.size), -1, dtype=np.int32)
        for plane, scene in zip(labels, scenes, strict=True):
            for r in scene.regions:
                plane[names.index(r.grouping)] = r.labels
        settings = {r.grouping: dict(r.settings) for r in scenes[0].regions}
        dataset = xr.Dataset(
            {"labels": (("frame", "grouping", "y", "x"), labels, {"units": "region, -1 for none"})},
            coords={"frame": list(self.frames), "grouping": np.asarray(names)},
            attrs={"digest": self.regions_key, "settings": json.dumps(settings)},
        )
        self.results.put("regions", dataset)

    def keep_layouts(self, name: str, method: str, known: Sequence[str]) -> None:
        """Lay out the neurons of each layer, or of all together, by the vectors that were kept before."""
        vectors = {
            layer: data.isel(frame=0)
            for layer in self.layers
            if layer in known and (data := self.results.get(f"clusters/{method}/{layer}")) is not None
        }
        alone = name == LAYER.name
        for layout in [of_layer(v, self.layers) for v in vectors.values()] if alone else [of_layers(vectors)]:
            if not self.results.holds(layout.group, layout.key(self.settings)):
                self.results.put(layout.group, layout.make(self.settings))


def known_frames(clip: Clip, frames: Sequence[int] | None) -> tuple[int, ...]:
    """Frames in order, negative ones counted from the end; :func:`default_frames` where None.

    Raises:
        FindingError: the clip has no such frame, or none is chosen.
    """
    chosen = default_frames(clip) if frames is None else frames
    wrong = [t for t in chosen if not -len(clip) <= t < len(clip)]
    if wrong or not chosen:
        raise FindingError(f"frames {list(wrong)} cannot be analysed: the clip has frames 0 to {len(clip) - 1}")
    return tuple(sorted({t % len(clip) for t in chosen}))


def _known_findings(findings: Sequence[str] | None) -> Sequence[str]:
    known = (*ANALYSES, *LAYOUTS)
    wrong = [name for name in findings or () if name not in known]
    if wrong:
        raise FindingError(f"no finding {wrong[0]!r}; the findings are {', '.join(known)}")
    return [name for name, row in ANALYSES.items() if row.default] if findings is None else findings


def _joined(parts: Sequence[xr.Dataset], job: _Job) -> xr.Dataset:
    """The frames of a finding as one Dataset, with what it depends on in its attributes."""
    import pandas as pd
    import xarray as xr

    index = pd.Index(list(job.frames), name="frame")
    flows = list(dict.fromkeys(part.attrs["flow"] for part in parts if "flow" in part.attrs))
    for dimension in ("grouping", "region"):
        parts = _aligned(parts, dimension)
    joined = xr.concat(
        parts, dim=index, data_vars="all", coords="minimal", compat="override", join="exact", combine_attrs="override"
    )
    sources = {"flow": " and ".join(flows)} if flows else {}
    return joined.assign_attrs(sources, digest=job.key, made_with=json.dumps(job.described))


def _aligned(parts: Sequence[xr.Dataset], dimension: str) -> Sequence[xr.Dataset]:
    """Parts over all regions that any has: a frame that nobody annotated has no instances, so NaN, and counts of 0."""
    if any(dimension not in part.indexes for part in parts):
        return parts
    names = list(dict.fromkeys(name for part in parts for name in part[dimension].values))
    if all(len(part[dimension]) == len(names) for part in parts):
        return parts
    beside = [name for name, values in parts[0].coords.items() if values.dims == (dimension,) and name != dimension]
    words = {
        c: {n: v for part in parts for n, v in zip(part[dimension].values, part[c].values, strict=True)} for c in beside
    }
    counts = {name: 0 for name, values in parts[0].items() if values.dtype.kind == "i"}
    fill: dict[Any, Any] = {name: counts.get(name, np.nan) for name in parts[0]}
    return [
        part.drop_vars(beside)
        .reindex({dimension: names}, fill_value=fill)
        .assign_coords({c: (dimension, [words[c][n] for n in names]) for c in beside})
        for part in parts
    ]
