"""The main job as functions: a signal becomes a fitted network, its canvas, its findings and a report."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xinc.canvas.methods import DEFAULT, named_methods
from xinc.errors import FindingError, ModelError, RunError, SignalError, XincWarning
from xinc.files import check_folder, locked
from xinc.findings.analyses import Settings
from xinc.models.families import Family, family
from xinc.models.fitting.fit import place_of
from xinc.models.networks.decoder import DECODERS, for_all
from xinc.models.recipe import Recipe
from xinc.options.tables import FIT, RECIPE, SET_FINDINGS, SOURCE, settable
from xinc.run import Run, fit
from xinc.signals.clip import Clip
from xinc.signals.datasets import catalogue as datasets
from xinc.signals.pictures import is_picture, picture_size
from xinc.signals.reading import locate, open
from xinc.workflow.stages import Stage, silent

PIXELS = 128 * 256
"""Pixels of a frame at the paper's size: what a signal is reduced to where no size is given."""
VERIFIED = 32
"""Neurons of a layer that the main job removes, to say how far its maps can be trusted."""
STILLS, CLIPS = "ffn", "nerv"
DEMO_EPOCHS = 80
"""Enough for 28 dB on the paper's NeRV of 33 frames, in about a minute and a half on two processors."""


@dataclass(frozen=True)
class Source:
    """A signal as it is asked for.

    Attributes:
        path: file, folder, video of a data set (``FOLDER:VIDEO``) or the name of a sample.
        size: ``(H, W)``; None keeps the aspect at about the paper's number of pixels.
        every: take every n-th frame.
        start: first frame.
        count: number of frames; None for all.
        annotations: label image, or folder of them.
        encoding: what their numbers mean.
    """

    path: str
    size: tuple[int, int] | None = None
    every: int = 1
    start: int = 0
    count: int | None = None
    annotations: str | None = None
    encoding: str = "auto"

    def __post_init__(self) -> None:
        for name, value in SOURCE.check({name: getattr(self, name) for name in SOURCE}).items():
            object.__setattr__(self, name, value)

    def open(self, step: int = 1) -> Clip:
        """Open the signal; sides are multiples of ``step`` where the size is left open.

        Raises:
            SignalError: it is missing, unreadable or empty.
        """
        size = self.size or natural_size(self.found_size(), step)
        return open(self.path, size, self.every, self.start, self.count, self.annotations, self.encoding)

    def found_size(self) -> tuple[int, int]:
        """``(H, W)`` of its frames as they are."""
        if video := datasets.find(self.path):
            return picture_size(video[1].frames[0]) if video[1].frames else (1, 1)
        return open(self.path, None, 1, self.start, 1).size

    def is_clip(self) -> bool:
        """Whether there may be more than one frame: a folder or a video, and not one frame asked for."""
        if video := datasets.find(self.path):
            return self.count != 1 and len(video[1].frames) > 1
        found = locate(self.path)
        return self.count != 1 and (found.is_dir() or not is_picture(found))


def natural_size(size: tuple[int, int], step: int = 1, pixels: int = PIXELS) -> tuple[int, int]:
    """The size nearest to a signal's own aspect with at most about ``pixels`` pixels, never larger than it is.

    Args:
        size: ``(H, W)`` of the signal.
        step: both sides become multiples of it.
        pixels: the paper's 128×256 by default.
    """
    shrink = min(1.0, math.sqrt(pixels / (size[0] * size[1])))
    height, width = (max(step, round(side * shrink / step) * step) for side in size)
    return height, width


@dataclass(frozen=True)
class Fitting:
    """How a signal's network is fitted.

    Attributes:
        model: name of the family; None for an FFN of an image, a NeRV of a clip.
        seed: of the fit.
        epochs: None for the family's own number; also the next two.
        learning_rate: Adam's.
        batch: frames in a step.
        frame: which frame a network of one frame represents; None for the first annotated one, else the first.
        device: None for CUDA where there is one.
        options: the family's own, ``params`` or ``bpp``, and the recipe's; see :mod:`xinc.options.tables`.
        psnr: dB at which the fit ends before its last epoch.
        minutes: after which it ends.
        recipe: a key of :data:`RECIPES`: ours, or that of the family's paper, which takes many times as long.

    Raises:
        ModelError: there is no such family, option or device, or an option cannot have that value.
    """

    model: str | None = None
    seed: int = 0
    epochs: int | None = None
    learning_rate: float | None = None
    batch: int | None = None
    frame: int | None = None
    device: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    psnr: float | None = None
    minutes: float | None = None
    recipe: str = "fast"

    def __post_init__(self) -> None:
        if self.model is not None:
            family(self.model)
        if self.device is not None:
            place_of(self.device)
        FIT.check({"seed": self.seed, "frame": self.frame, "psnr": self.psnr, "minutes": self.minutes})
        if self.recipe not in RECIPES:
            raise ModelError(f"no recipe is called {self.recipe!r}; choose from {', '.join(RECIPES)}")
        options = settable(self.model).check(self.options)
        for name in ("epochs", "learning_rate", "batch"):
            given = getattr(self, name)
            value = given if given is None else RECIPE.check({name: given})[name]
            if value is not None and name in options:
                raise ModelError(f"{name} is given twice, as an option of its own and by --set; give it once")
            object.__setattr__(self, name, options.pop(name, value))
        object.__setattr__(self, "options", options)

    def chosen(self, source: Source) -> str:
        """The family, chosen by the signal where nobody did.

        Raises:
            ModelError: there is no such family.
        """
        return self.model if self.model is not None else CLIPS if source.is_clip() else STILLS


RECIPES: Mapping[str, Callable[[Family], Recipe]] = MappingProxyType(
    {"fast": lambda row: row.recipe, "paper": lambda row: row.plain}
)
"""How a family is fitted: as we do, or as its paper does."""


def step_of(model: str) -> int:
    """What a frame's sides must be multiples of for a family's default network."""
    return math.prod(family(model).options().get("strides", (1,)))


@dataclass(frozen=True)
class Analysing:
    """How fitted networks are analysed.

    Attributes:
        methods: definitions of the maps, the leading one first.
        frames: indices; None for those that the findings choose.
        options: changes of :class:`xinc.findings.analyses.Settings`.
        embed: whether UMAP lays out the neurons of the outermost layer, and those of all layers together (Fig. 10).

    Raises:
        FindingError: there is no such setting, or it cannot have that value.
        TraceError: there is no such method, or none.
    """

    methods: tuple[str, ...] = (DEFAULT, "paper")
    frames: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    embed: bool = True

    def __post_init__(self) -> None:
        _ = self.settings  # a wrong one is said before anything is fitted
        named_methods(self.methods)

    @property
    def settings(self) -> Settings:
        """All settings of the findings."""
        return Settings().change(self.options)


@dataclass(frozen=True)
class Task:
    """One network to explain: its signal, its fit, its analysis."""

    name: str
    source: Source
    fitting: Fitting = Fitting()
    analysing: Analysing = Analysing()


def fit_signal(source: Source, fitting: Fitting, out: Path, *, progress: bool = False) -> Run:
    """Open a signal and fit a network to it; goes on where an earlier fit into the same folder stopped.

    Args:
        source: the signal.
        fitting: how.
        out: folder of the run.
        progress: show a bar.

    Raises:
        SignalError, ModelError, RunError: as :func:`xinc.open` and :func:`xinc.fit`.
    """
    check_folder(out)
    model = fitting.chosen(source)
    clip = source.open(step_of(model))
    if not family(model).still and len(clip) == 1:
        raise SignalError(
            f"{source.path} gives one frame, a {model} represents clips; choose --model ffn or more frames"
        )
    if source.size is None and model in DECODERS and clip.size != (common := for_all(clip.size)):
        warnings.warn(
            f"frames are {clip.size[0]}×{clip.size[1]}, which not every family makes: with --size "
            f"{common[0]}x{common[1]} {' and '.join(DECODERS)} can be compared",
            XincWarning,
            stacklevel=2,
        )
    annotated = clip.segments.frames if clip.segments is not None else ()
    return fit(
        model,
        clip,
        epochs=fitting.epochs,
        learning_rate=fitting.learning_rate,
        batch=fitting.batch,
        seed=fitting.seed,
        frame=fitting.frame if fitting.frame is not None else (*annotated, 0)[0],
        device=fitting.device,
        out=out,
        progress=progress,
        psnr=fitting.psnr,
        minutes=fitting.minutes,
        recipe=RECIPES[fitting.recipe](family(model)),
        **fitting.options,
    )


def analyse_run(run: Run, analysing: Analysing, stage: Stage = silent) -> None:
    """Compute the findings of a run, and compare some maps with ablation; what is there for the same settings stays."""
    from xinc.findings.analyse import analyse, default_frames
    from xinc.findings.fidelity.compare import Verification, verify

    name = run.path.name if run.path else run.family
    how: dict[str, Any] = {
        "methods": analysing.methods,
        "frames": None if len(run.clip) == 1 else analysing.frames,
        "settings": analysing.settings,
    }
    with stage(f"Analysing {name}") as progress:
        analyse(run, **how, progress=progress)
    with stage(f"Comparing maps of {name} with ablation") as progress:
        judged = [method for method in analysing.methods if method != "ablation"]
        asked = default_frames(run.clip) if how["frames"] is None else how["frames"]
        if judged:
            verify(run, Verification(judged, neurons=VERIFIED, frames=asked[:1], curves=False), progress=progress)
    if analysing.embed:
        how["methods"] = analysing.methods[:1]  # UMAP takes longer than all else: the leading definition is laid out
        layers = run.canvas(0).layers
        try:
            with stage(f"Comparing neurons of {name}") as progress:
                analyse(run, **how, findings=("embedding",), layers=layers[-1:], progress=progress)
            with stage(f"Comparing layers of {name}") as progress:
                analyse(run, **how, findings=("embedding_layers",), progress=progress)
        except FindingError as reason:
            warnings.warn(f"{name} has no picture of neurons that are alike: {reason}", XincWarning, stacklevel=2)


def explain(tasks: Sequence[Task], out: Path, *, stage: Stage = silent, progress: bool = False) -> Path:
    """The main job: fit, trace, analyse and report; what is there already from an earlier call is not made again.

    Args:
        tasks: the networks, all with the same method.
        out: folder; of the run where there is one task, else of the runs, each in a folder of its own.
        stage: shows a long step.
        progress: show a bar while fitting.

    Returns:
        The report's path.

    Raises:
        XincError: a signal, a setting or a folder does not fit; the message says which.
    """
    with locked(out, "explaining a signal"):
        runs = []
        for task in tasks:
            folder = out if len(tasks) == 1 else out / task.name
            run = fit_signal(task.source, task.fitting, folder, progress=progress)
            analyse_run(run, task.analysing, stage)
            runs.append(run)
        from xinc.show.report import EXPLORE, report

        explorable(runs, out / EXPLORE, stage)
        analysing = tasks[0].analysing
        with stage("Writing the report") as said:
            return report(runs, out / "report.html", method=analysing.methods[0], embed=analysing.embed, progress=said)


def explorable(runs: Sequence[Run], path: Path, stage: Stage = silent) -> None:
    """Write the page where one points at a pixel; a network that no page can run, or a long clip, gets a note."""
    from xinc.explore.html import export

    try:
        with stage("Writing the page to point at pixels"):
            export({run.path.name if run.path else run.family: run for run in runs}, path)
    except RunError as reason:
        path.unlink(missing_ok=True)
        warnings.warn(f"there is no page to point at pixels beside the report: {reason}", XincWarning, stacklevel=2)


def demo_tasks(quick: bool = False) -> list[Task]:
    """The demonstration: a NeRV of Big Buck Bunny and an FFN of its first frame; smaller, and not as well, if quick."""
    size, frames = ((64, 128), 16) if quick else ((128, 256), 33)
    clip = Source("bunny", size, every=4, count=frames)
    nerv, ffn = Fitting("nerv", epochs=DEMO_EPOCHS), Fitting("ffn")
    settings: dict[str, Any] = {}
    if quick:
        nerv, ffn = replace(nerv, epochs=70, options={"fc_dim": 24}), replace(ffn, epochs=300)
        settings = {"restarts": 2, "shifts": 5, "sample": 32}
    seen = Analysing(frames=(0, frames // 2), options=settings, embed=not quick)
    return [Task("nerv", clip, nerv, seen), Task("ffn", replace(clip, count=1), ffn, seen)]


def divided(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options by name: those of a network and its fit, and settings of the findings."""
    findings = {k: v for k, v in options.items() if k in SET_FINDINGS}
    return {k: v for k, v in options.items() if k not in findings}, findings


def explain_tasks(sources: Sequence[Source], fitting: Fitting, analysing: Analysing) -> list[Task]:
    """A task a signal, each under a name of its own."""
    names: list[str] = []
    for source in sources:
        stem = Path(source.path).stem.replace(":", "-") or "signal"
        names.append(stem if stem not in names else f"{stem}-{len(names) + 1}")
    return [Task(name, source, fitting, analysing) for name, source in zip(names, sources, strict=True)]
