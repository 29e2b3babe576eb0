"""``report.html``: one file that shows what was fitted, how well, what its neurons do, and how all that was made."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xinc.errors import RunError
from xinc.files import check_file, locked, reason, write_text
from xinc.findings.analyses import Settings
from xinc.findings.fidelity.trust import answer as trust_answer
from xinc.run import Run
from xinc.show import figures, style
from xinc.show.figures.maps import error_picture
from xinc.show.figures.sheet import spoken
from xinc.show.page.html import Drawing, EmbeddedPicture, Exhibit, Fit, Page, PageTable, View, render, written
from xinc.show.panels.fidelity import Trusted, kept
from xinc.show.panels.findings import PANELS, Exhibitor, FindingPanel
from xinc.show.panels.pruning import Pruned
from xinc.show.panels.replication import REPLICATION
from xinc.show.panels.sizes import sizes
from xinc.show.sentences import answer as story
from xinc.show.sentences.words import listing
from xinc.show.subjects import Subject, other_methods, panels, signal_name, subjects
from xinc.waiting import Progress, silent

"""Called with what is being made, and how many of how many parts are done."""

EXHIBITS: tuple[Exhibitor, ...] = (*PANELS, REPLICATION, Pruned(), Trusted())
"""What stands in the report, in this order; whatever the runs have no results of is left out."""

PACKAGES = ("torch", "numpy", "xarray", "scikit-learn", "scikit-image", "matplotlib")

EXPLORE = "explore.html"
"""The page where one points at a pixel, as the main job writes it beside a report, which links to it."""

INTRODUCTION = (
    "An implicit neural representation is a small network that was trained to output one picture or clip, and nothing "
    "else. This report asks which part of the network draws which part of the picture.",
    "A neuron’s contribution map says how much it adds to each pixel; the maps of all neurons of all layers are the "
    "implicit neural canvas (Padmanabhan et al., CVPR 2024). In a coordinate network a neuron is an input feature of a "
    "layer, in a convolutional one a kernel from one channel to another.",
    "There are several definitions of such a map. “exact” follows what a neuron adds through the true rest of the "
    "network, to first order; “paper” and “official” are the sums of weights and mean filters of the text and of its "
    "published code; “ablation” switches the neuron off and runs the network again: the truth, and the slowest. "
    "Figures with a switch can be seen by each definition that was computed.",
)


def report(
    runs: Run | Sequence[Run],
    out: str | Path | None = None,
    *,
    method: str | None = None,
    embed: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Write a report on runs that were analysed, and its figures as PNG, SVG and PDF files beside it.

    Args:
        runs: one or several; networks of the same frame are best compared.
        out: the file; ``report.html`` in the folder of the only run where None.
        method: definition of the maps that leads; ``"exact"`` where None, or what the runs have. Figures switch to the
            other definitions by which all runs were analysed.
        embed: whether UMAP lays out neurons that nobody laid out yet, by their kept vectors; it is kept for the next
            report, for several runs in the results of the first.
        progress: told of each part.

    Returns:
        The file.

    Raises:
        RunError: a run was not analysed with that method, or there is no folder to write to.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    if out is None and (len(runs) != 1 or runs[0].path is None):
        raise RunError("say where the report goes: several runs, or one without a folder, have no place of their own")
    path = check_file(Path(out) if out is not None else Path(str(runs[0].path)) / "report.html")
    with locked(path.parent, "writing a report"):
        page = compose(subjects(runs, method, embed=embed), progress)
        if (path.parent / EXPLORE).exists():
            page = replace(page, explore=EXPLORE)
        try:
            _save_figures(page, path.parent / "figures")
            write_text(path, render(page))
        except OSError as fault:
            raise RunError(f"{fault.filename or path} cannot be written: {reason(fault)}") from None
    return path


def _save_figures(page: Page, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for drawing in [*page.fit_drawings, *(v for e in page.exhibits for d in e.drawings for v in d.variants)]:
        style.keep_drawing(folder / drawing.name, drawing.svg, style.png(drawing.figure), style.pdf(drawing.figure))


def compose(found: Sequence[Subject], progress: Progress | None = None) -> Page:
    """Put the page together from runs with results."""
    from xinc import __version__

    tell = progress or silent
    tell("fits", 0, len(EXHIBITS) + 1)
    beside = [[replace(subject, method=method) for subject in found] for method in other_methods(found)]
    fits = [_fit(subject, i) for i, subject in enumerate(found)]
    views = [view for subject, fit in zip(found, fits, strict=True) for view in _views(subject, fit)]
    small = sizes(found, tell)
    exhibits: list[Exhibit] = [small] if small else []
    for done, kind in enumerate(EXHIBITS, 1):
        tell(kind.short.lower(), done, len(EXHIBITS) + 1)
        exhibit = kind.exhibit(found)
        if exhibit and isinstance(kind, FindingPanel):
            exhibit = _switched(exhibit, [t for own in beside if (t := kind.exhibit(own, f"-{own[0].method}"))])
        exhibits += [exhibit] if exhibit else []
    tell("done", len(EXHIBITS) + 1, len(EXHIBITS) + 1)
    names = list(dict.fromkeys(signal_name(s.run.clip.source) for s in found))
    networks = listing(_article(f) for f in dict.fromkeys(s.title.split(" · ")[0] for s in found))
    verb = "see" if len(found) > 1 else "sees"
    return Page(
        eyebrow=f"{datetime.date.today():%-d %B %Y} · maps by the method “{found[0].method}”",
        title=f"How {networks} {verb} {listing(names)}",
        answer=_answer(found),
        views=views,
        introduction=INTRODUCTION,
        fits=fits,
        fit_drawings=_fit_drawings(found),
        fit_says=[said for s in found for said in story.fitted(s.title, s.run.psnr().tolist(), s.run.history)],
        exhibits=exhibits,
        settings=_settings(found),
        footer=(
            f"Made by xinc {__version__}. Definitions: N. Padmanabhan, M. Gwilliam, P. Kumar, S. R. Maiya, M. Ehrlich, "
            "A. Shrivastava: Explaining the Implicit Neural Canvas, CVPR 2024."
        ),
        version=__version__,
        first_view=min(2, len(views) - 1),
        store=[v.right for v in views if v.right.key not in {p.key for f in fits for p in f.pictures}],
    )


def _switched(exhibit: Exhibit, twins: Sequence[Exhibit]) -> Exhibit:
    """An exhibit whose figures can be switched to other definitions of the maps, with the numbers of all."""
    others: dict[str, list[Drawing]] = {}
    for twin in twins:
        for drawing in twin.drawings:
            others.setdefault(drawing.name.removesuffix(f"-{drawing.method}"), []).append(drawing)
    drawings = [replace(drawing, others=tuple(others.get(drawing.name, ()))) for drawing in exhibit.drawings]
    return replace(exhibit, drawings=drawings, tables=[*exhibit.tables, *(t for twin in twins for t in twin.tables)])


def _article(name: str) -> str:
    """``"a NeRV"``, ``"an FFN"``: by how the first letter is spoken."""
    return f"{'an' if name[:1] in 'AEFHILMNORSX' and name[:2].isupper() else 'a'} {name}"


def _fit(subject: Subject, position: int) -> Fit:
    run, frame = subject.run, subject.frame
    scores = run.psnr()
    drawn = run.render(frame).permute(1, 2, 0).cpu().numpy()
    error = error_picture(subject.image, drawn)
    height, width = run.clip.size
    several = len(run.clip) > 1
    facts = [
        ("mean PSNR" if several else "PSNR", f"{float(scores.mean()):.2f} dB"),
        ("signal", f"{f'{len(run.clip)} × ' if several else ''}{height} × {width}"),
        ("parameters", written(run.parameters)),
    ]
    if run.epochs:
        facts += [("epochs", written(len(run.epochs))), ("time", duration(run.epochs[-1].seconds))]
    name = f"{run.clip.names[frame]} of {signal_name(run.clip.source)}"
    pictures = [
        EmbeddedPicture.of(f"p{position}-frame", subject.image, f"Frame {name}", f"Frame {run.clip.names[frame]}"),
        EmbeddedPicture.of(
            f"p{position}-drawn",
            drawn,
            f"Frame {name} as the {subject.title} draws it",
            f"Reconstruction, {float(scores[frame]):.2f} dB",
        ),
        EmbeddedPicture.of(
            f"p{position}-error",
            error,
            f"Absolute error of the {subject.title}, bright where it is large",
            f"Error, mean over colours; brightest {written(float(error.max()))} of a range of 1",
            style.ERROR,
        ),
    ]
    return Fit(subject.title, facts, pictures)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _views(subject: Subject, fit: Fit) -> list[View]:
    frame, drawn, error = fit.pictures
    drag = "Drag across the picture to compare it with the frame."
    views = [
        View(subject.title, "reconstruction", "reconstruction", f"{drawn.caption}. {drag}", frame, drawn),
    ]
    for name, data in subject.panels("intensity").items():
        tag = f"{subject.title}, {spoken(name)}"
        neurons = f"{written(_neurons(subject, name))} neurons" if _neurons(subject, name) else "neurons"
        heatmap = EmbeddedPicture.of(
            f"{frame.key}-{name}",
            np.asarray(data["heatmap"].values, dtype=np.float64),
            f"Sum of all contributions of {tag}",
            colours=style.CONTRIBUTION,
        )
        words = f"Where the {neurons} of {spoken(name)} contribute: the sum of their maps, black for none. {drag}"
        views.append(View(subject.title, spoken(name), tag, words, frame, heatmap))
    views.append(View(subject.title, "error", "error", f"{error.caption}. {drag}", frame, error))
    return views


def _neurons(subject: Subject, layer: str) -> int:
    data = subject.dataset("pixels_per_neuron", layer)
    return int(data.sizes["neuron"]) if data is not None else 0


def _fit_drawings(found: Sequence[Subject]) -> list[Drawing]:
    drawings = []
    histories = {s.title: s.run.history for s in found if s.run.epochs}
    if histories:
        drawings.append(
            Drawing.of(
                partial(figures.training, histories),
                "training",
                "PSNR during training",
                "How well the network drew its frames while it was trained, against epochs and against time on this "
                "machine. A curve that still rises at its end would gain from more epochs.",
            )
        )
    clips = {s.title: s.run.psnr().tolist() for s in found if len(s.run.clip) > 1}
    if clips:
        drawings.append(
            Drawing.of(
                partial(figures.psnr_by_frame, clips),
                "psnr",
                "PSNR of every frame",
                "How well each frame of the clip is drawn. A dip is a frame that is harder than its neighbours, such "
                "as a cut or fast motion.",
            )
        )
    return drawings


def _answer(found: Sequence[Subject]) -> list[str]:
    """Sentences: how well, what neurons go by, how the work is spread, and how far the maps can be trusted."""
    sentences = [story.fits([_described(s) for s in found])]
    if grouping := panels(found, "grouping"):
        sentences += story.grouping_answer(grouping)
    if intensity := panels(found, "intensity"):
        sentences += story.spread_answer(intensity, panels(found, "pixels_per_neuron"))
    return [*sentences, *trust_answer({s.title: kept(s) for s in found}, found[0].method)]


def _described(subject: Subject) -> story.FitToTell:
    run = subject.run
    return story.FitToTell(
        _article(subject.title.split(" · ")[0]),
        run.parameters,
        signal_name(run.clip.source),
        len(run.clip),
        run.clip.names[0],
        run.clip.size,
        float(run.psnr().mean()),
    )


def _settings(found: Sequence[Subject]) -> list[PageTable]:
    from importlib.metadata import version

    import pandas as pd

    settings = {s.title: {k: written(v) for k, v in _run_settings(s.run).items()} for s in found}
    keys = list(dict.fromkeys(key for own in settings.values() for key in own))
    fitted = pd.DataFrame([{"setting": k, **{t: own.get(k, "–") for t, own in settings.items()}} for k in keys])
    machine = {"machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"}
    machine |= {"Python": platform.python_version(), "xinc": version("xinc")}
    machine |= {package: version(package) for package in PACKAGES}
    versions = pd.DataFrame(machine.items(), columns=["part", "version"])
    tables = [
        PageTable.of(
            fitted,
            "How the networks were fitted",
            "Settings of each fit; the same settings give the same network.",
            "fits",
        ),
        PageTable.of(versions, "Versions and machine", "What computed this report.", "versions"),
    ]
    analysis = _analysis_settings(found)
    if analysis:
        rows = pd.DataFrame(analysis.items(), columns=["setting", "value"]).map(str)
        tables.insert(
            1, PageTable.of(rows, "How they were analysed", "The same for all networks of this report.", "analysis")
        )
    return tables


def _run_settings(run: Run) -> dict[str, Any]:
    kept = {k.removeprefix("recipe."): v for k, v in run.settings.items() if k != "frames"}
    plain = {k.removeprefix("config."): v for k, v in kept.items() if not isinstance(v, dict)}
    return {k.replace("_", " "): " ".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in plain.items()}


def _analysis_settings(found: Sequence[Subject]) -> dict[str, Any]:
    """Settings of all findings that are shown; each of them says which it reads."""
    import json

    known = [s.tree[path].attrs for s in found for path in s.paths if f"/{s.method}/" in path]
    read: dict[str, Any] = {}
    for attrs in known:
        read |= json.loads(attrs.get("made_with", "{}")).get("settings", {})
    ordered = {one.name: read[one.name] for one in fields(Settings) if one.name in read}
    return {"method": found[0].method, **ordered} if ordered else {}
