"""The analyses of section 4 as rows of a table: what each asks of a layer and of a frame, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from xinc.canvas.layer import Layer
from xinc.findings.finding import Finding, LayerLike
from xinc.findings.section4 import choose, clusters, distribution, grouping, intensity, moments, motion, objects
from xinc.findings.section4.motion import Flow
from xinc.findings.section4.regions import Clustering, Regions, gabor, grid_like, instances, rgb
from xinc.findings.together import together
from xinc.options.tables import FINDINGS
from xinc.signals.clip import Clip

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Settings:
    """What the findings depend on besides network and frames; the paper's choices where it names them.

    Attributes:
        clusters: k of the RGB and Gabor clusters, and the number of grid cells.
        restarts: of k-means.
        seed: of k-means, samples, displacements and random choices.
        areas: of Fig. 7's thresholds.
        points: of resampled curves.
        rule: by which a gallery chooses neurons, and how many (``count``).
        shifts: displaced copies of each grouping to compare with, ``shuffles`` with pixels shuffled.
        sample: neurons of that comparison.
        embedded: neurons of a layer that UMAP lays out, drawn by the seed where there are more.

    Raises:
        FindingError: a number is too small, an area is no share, or there is no such rule.
    """

    clusters: int = 32
    restarts: int = 10
    seed: int = 0
    areas: tuple[float, ...] = (0.1, 0.5)
    points: int = 256
    rule: str = "different"
    count: int = 6
    shifts: int = 20
    shuffles: int = 5
    sample: int = 128
    embedded: int = 3000

    def __post_init__(self) -> None:
        for name, value in FINDINGS.check({one.name: getattr(self, one.name) for one in fields(self)}).items():
            object.__setattr__(self, name, value)

    def change(self, options: Mapping[str, Any]) -> Settings:
        """These settings with some of them replaced; a single number will do for ``areas``.

        Raises:
            FindingError: there is no such setting, or it cannot have that value.
        """
        return replace(self, **FINDINGS.check(options))


@dataclass(eq=False)
class FrameContext:
    """What analyses of one frame share: its picture, its regions, what moved. Computed when first asked for."""

    clip: Clip
    frame: int
    settings: Settings
    flows: Mapping[int, Flow] = field(default_factory=dict)
    made: dict[str, Regions] = field(default_factory=dict)
    control: Callable[[str], Layer] | None = None
    """The layer of a name in a network of the same shape with random weights."""

    @property
    def image(self) -> Tensor:
        """``(3, H, W)`` in [0, 1]."""
        return self.clip.frame(self.frame)

    @property
    def annotated(self) -> bool:
        """Whether the frame has segments."""
        return self.clip.segments is not None and self.frame in self.clip.segments.labels

    @property
    def regions(self) -> tuple[Regions, ...]:
        """RGB and Gabor clusters and as many grid cells; where annotated, instances and as many cells as instances."""
        return tuple(self.grouping(name) for name in CUTS if self.annotated or name not in ANNOTATED)

    def grouping(self, name: str) -> Regions:
        """The regions of one grouping, made when first asked for."""
        if name not in self.made:
            self.made[name] = replace(CUTS[name](self), grouping=name)
        return self.made[name]

    def clustering(self) -> Clustering:
        """How colours and textures are clustered."""
        s = self.settings
        return Clustering(s.clusters, s.restarts, s.seed)

    @cached_property
    def flow(self) -> Flow:
        """What moved since the frame before."""
        return self.flows.get(self.frame) or motion.dis_flow(self.clip.frame(self.frame - 1), self.image)


def _instances(scene: FrameContext) -> Regions:
    assert scene.clip.segments is not None  # annotated frames only
    return instances(scene.clip.segments, scene.frame)


def _matched_cells(scene: FrameContext) -> Regions:
    assert scene.clip.segments is not None
    # One number for the whole clip, so that cells keep their places from frame to frame.
    seen = np.mean([len(np.unique(plane)) for plane in scene.clip.segments.labels.values()])
    return grid_like(scene.clip.size, max(1, round(float(seen))))


CUTS: Mapping[str, Callable[[FrameContext], Regions]] = MappingProxyType(
    {
        "instances": _instances,
        "rgb": lambda scene: rgb(scene.image, scene.clustering()),
        "gabor": lambda scene: gabor(scene.image, scene.clustering()),
        "grid": lambda scene: grid_like(scene.clip.size, scene.settings.clusters),
        "grid_matched": _matched_cells,
    }
)
"""Grouping to how a frame is cut."""
CLUSTERING = ("clusters", "restarts", "seed")
"""Settings that decide colour and texture clusters."""
CLUSTERED = ("rgb", "gabor")
"""Groupings that k-means makes, which takes longer than all others."""
ANNOTATED = frozenset({"instances", "grid_matched"})
"""Groupings of frames with segments."""


@dataclass(frozen=True)
class Analysis:
    """A finding as a row: what it needs and how it is computed.

    Attributes:
        finding: what it asks.
        compute: from a layer, the scene, and the same layer at the frame before where ``moving``.
        reads: what its numbers depend on besides network and frames: settings by name, ``segments``, ``flows``.
        reductions: arguments of :meth:`Layer.reduce` that it will use; a grouping's name stands for sums over its
            regions, ``regions`` for those of all groupings.
        moving: whether it compares with the frame before; frames without one are left out.
        annotated: whether it needs segments; frames without are left out.
        once: whether the first frame is enough.
        default: whether it is made if nobody names it.
        signed: whether it needs signed maps of a layer whose Gram matrix can be held; others are left out.
        finish: what is added once all frames are there.
        version: raised when its numbers change meaning, so that kept results are made again.
    """

    finding: Finding
    compute: Callable[[LayerLike, FrameContext, LayerLike | None], xr.Dataset]
    reads: tuple[str, ...] = ()
    reductions: tuple[str, ...] = ()
    moving: bool = False
    annotated: bool = False
    once: bool = False
    default: bool = True
    signed: bool = False
    finish: Callable[[xr.Dataset], xr.Dataset] = lambda found: found
    version: int = 1

    @property
    def cuts(self) -> bool:
        """Whether it looks at regions."""
        return not {"regions", *CUTS}.isdisjoint(self.reductions)

    def frames(self, clip: Clip, frames: Sequence[int]) -> list[int]:
        """Which of the frames it can be computed for."""
        known = clip.segments.labels if clip.segments is not None else {}
        fitting = [t for t in frames if (t > 0 or not self.moving) and (t in known or not self.annotated)]
        return fitting[:1] if self.once else fitting


def _gallery(layer: LayerLike, scene: FrameContext, _: LayerLike | None) -> xr.Dataset:
    s = scene.settings
    return choose.gallery(layer, s.rule, s.count, regions=scene.grouping("rgb"), seed=s.seed)


def _baseline(layer: LayerLike, scene: FrameContext, _: LayerLike | None) -> xr.Dataset:
    s = scene.settings
    return grouping.baseline(layer, scene.regions, shifts=s.shifts, shuffles=s.shuffles, neurons=s.sample, seed=s.seed)


def _objects(layer: LayerLike, scene: FrameContext, _: LayerLike | None) -> xr.Dataset:
    assert scene.clip.segments is not None  # `annotated` frames only
    found = objects.objects(layer, scene.clip.segments, scene.frame, scene.image, seed=scene.settings.seed)
    count, speed = found.sizes["region"], np.full(found.sizes["region"], np.nan)
    if scene.frame > 0:
        speed = motion.instance_speed(scene.flow, scene.grouping("instances").labels, count)
    return found.assign(speed=("region", speed, {"units": "pixels a frame"}))


def _motion(layer: LayerLike, scene: FrameContext, before: LayerLike | None) -> xr.Dataset:
    assert before is not None  # `moving` analyses only
    return motion.motion(
        layer, before, scene.clip.frame(scene.frame - 1), scene.image, scene.flow, seed=scene.settings.seed
    )


def _moments(layer: LayerLike, scene: FrameContext, _: LayerLike | None) -> xr.Dataset:
    s = scene.settings
    return moments.moments(layer, scene.image, areas=s.areas, seed=s.seed)


def _moments_motion(layer: LayerLike, scene: FrameContext, before: LayerLike | None) -> xr.Dataset:
    return moments.moments(layer, scene.image, areas=(), before=before, flow=scene.flow, seed=scene.settings.seed)


def _together(layer: LayerLike, scene: FrameContext, _: LayerLike | None) -> xr.Dataset:
    assert isinstance(layer, Layer)  # `signed` analyses get layers of the canvas
    return together.together(layer, scene.control(layer.name) if scene.control is not None else None)


ANALYSES: Mapping[str, Analysis] = MappingProxyType(
    {
        "gallery": Analysis(
            choose.FINDING, _gallery, (*CLUSTERING, "rule", "count"), ("totals", "rgb"), once=True, version=2
        ),
        "grouping": Analysis(
            grouping.FINDING,
            lambda layer, scene, _: grouping.grouping(layer, scene.regions),
            (*CLUSTERING, "segments"),
            ("totals", "regions"),
        ),
        "grouping_baseline": Analysis(
            grouping.FINDING, _baseline, (*CLUSTERING, "segments", "shifts", "shuffles", "sample")
        ),
        "intensity": Analysis(
            intensity.FINDING,
            lambda layer, scene, _: intensity.intensity(layer, scene.image),
            reductions=("heatmap",),
        ),
        "pixels_per_neuron": Analysis(
            distribution.PIXELS_PER_NEURON,
            lambda layer, scene, _: distribution.pixels_per_neuron(layer, points=scene.settings.points),
            ("points",),
            ("totals", "pixels_per_neuron"),
        ),
        "neurons_per_pixel": Analysis(
            distribution.NEURONS_PER_PIXEL,
            lambda layer, scene, _: distribution.neurons_per_pixel(
                layer, scene.image, areas=scene.settings.areas, points=scene.settings.points
            ),
            ("areas", "points"),
            ("neurons_per_pixel", "curve"),
        ),
        "objects": Analysis(
            objects.FINDING, _objects, ("seed", "segments", "flows"), ("totals", "instances"), annotated=True
        ),
        "motion": Analysis(motion.FINDING, _motion, ("seed", "flows"), moving=True),
        "clusters": Analysis(
            clusters.FINDING,
            lambda layer, scene, _: clusters.clusters(layer, scene.grouping("gabor")),
            CLUSTERING,
            ("gabor", "extremes"),
        ),
        "together": Analysis(
            together.FINDING, _together, ("seed",), default=False, signed=True, finish=together.over_frames, version=2
        ),
        "moments": Analysis(
            moments.FINDING, _moments, ("areas", "seed"), ("totals", "neurons_per_pixel"), default=False
        ),
        "moments_motion": Analysis(moments.FINDING, _moments_motion, ("seed", "flows"), moving=True, default=False),
    }
)
