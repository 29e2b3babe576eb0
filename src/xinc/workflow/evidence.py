"""Evidence on runs as the command line asks for it: findings, comparison with ablation, claims, pruning, the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinc.errors import FindingError
from xinc.findings.results import FOLDER
from xinc.run import Run, load
from xinc.workflow.stages import Stage, silent

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


def analyse_folder(
    folder: Path,
    methods: Sequence[str],
    *,
    layers: Sequence[str] | None = None,
    frames: Sequence[int] | None = None,
    findings: Sequence[str] | None = None,
    settings: Mapping[str, Any],
    flows: str | None = None,
    stage: Stage = silent,
) -> Path:
    """Compute findings of a run into its results, and give their folder.

    Args:
        folder: of the run.
        methods: definitions of the maps.
        layers: names; all where None.
        frames: indices; those that the findings choose where None.
        findings: names; the paper's where None.
        settings: changes of :class:`xinc.findings.analyses.Settings`.
        flows: where optical flow comes from, see :func:`xinc.findings.optical_flow.flows.chosen_flows`.
        stage: shows a long step.

    Raises:
        XincError: the run, a name, a frame or a setting is wrong.
    """
    from xinc.findings.analyse import analyse
    from xinc.findings.analyses import Settings
    from xinc.findings.optical_flow.flows import chosen_flows

    chosen, run = Settings().change(settings), load(folder)
    flows_of = chosen_flows(flows, [run.clip]) if flows else None
    with stage("Analysing") as progress:
        analyse(
            run,
            methods=methods,
            layers=layers,
            frames=frames,
            findings=findings,
            settings=chosen,
            flows=flows_of(run.clip) if flows_of else None,
            progress=progress,
        )
    return folder / FOLDER


def report_on(folders: Sequence[Path], out: Path | None, method: str | None = None, *, stage: Stage = silent) -> Path:
    """Write the report on some runs, and give its path; errors as :func:`xinc.show.report.report`."""
    from xinc.show.report import report

    runs = [load(folder) for folder in folders]
    with stage("Writing the report") as progress:
        return report(runs, out, method=method, progress=progress)


@dataclass(frozen=True)
class Verified:
    """What a comparison with ablation comes to: a row a layer and method, and sentences."""

    rows: list[dict[str, Any]]
    sentences: list[str]


def verify_folder(folder: Path, *, out: Path | None = None, stage: Stage = silent, **asked: Any) -> Verified:
    """Compare a run's maps with ablation.

    Args:
        folder: of the run.
        out: folder of the results where it is not the run's.
        stage: shows a long step.
        asked: fields of :class:`xinc.findings.fidelity.compare.Verification`.

    Raises:
        XincError: the run, a method, layer, frame or number is wrong.
    """
    from xinc.findings.fidelity.compare import Verification, verify
    from xinc.findings.fidelity.trust import conclusion, rows

    wanted, run = Verification(**asked), load(folder)
    with stage("Comparing with ablation") as progress:
        known = verify(run, wanted, out=out, progress=progress)
    return Verified(rows(known), list(conclusion(known)))


@dataclass(frozen=True, eq=False)
class Claims:
    """The table of claims, for people: parts with a heading, sentences, and what the signs mean."""

    table: pd.DataFrame
    parts: list[tuple[str, list[dict[str, Any]]]]
    sentences: list[str]
    legend: str

    def records(self) -> list[dict[str, Any]]:
        """The rows under stable names, NaN as None."""
        from xinc.findings.replication.verdicts import records

        return records(self.table)

    def save(self, out: Path) -> Path:
        """Keep the table as ``.md``, ``.csv`` or ``.json``, in a folder as all three."""
        from xinc.show.panels.replication import save

        return save(self.table, out)


def replicate_folders(
    folders: Sequence[Path | str],
    methods: Sequence[str],
    *,
    layers: Sequence[str] | None = None,
    frames: Sequence[int] | None = None,
    seed: int = 0,
    flows: str | None = None,
    out: Path | None = None,
    stage: Stage = silent,
) -> Claims:
    """Measure the paper's claims on runs, or on all cells of one sweep.

    Args:
        folders: of the runs; one alone may be a sweep's, or its address.
        methods: definitions of the maps.
        layers: names; all where None.
        frames: indices; those that the findings choose where None.
        seed: of everything that is drawn.
        flows: where optical flow comes from.
        out: where the table will be kept; a form that is not known is refused before anything is computed.
        stage: shows a long step.

    Raises:
        XincError: a run, method, layer, frame or form is wrong.
    """
    from xinc.canvas.methods import named_methods
    from xinc.findings.analyses import Settings
    from xinc.findings.optical_flow.flows import chosen_flows
    from xinc.findings.replication.replicate import Replication, replicate
    from xinc.show.panels.replication import check_form
    from xinc.sweep.replication import is_sweep, replicate_sweep

    methods = named_methods(methods)
    if out is not None:
        check_form(out)
    if len(folders) == 1 and is_sweep(str(folders[0])):
        table = replicate_sweep(str(folders[0]), seed=seed)
        return _claims(table[table["method"].isin(methods)], methods)
    runs = [load(folder) for folder in folders]
    flows_of = chosen_flows(flows, [run.clip for run in runs]) if flows else None
    plan = Replication(methods, layers, frames, settings=Settings(seed=seed), flows=flows_of)
    with stage("Measuring the claims") as progress:
        table = replicate(runs, plan, progress=progress)
    return _claims(table, methods)


def _claims(table: pd.DataFrame, methods: Sequence[str]) -> Claims:
    from xinc.findings.replication.verdicts import by_claim, cases
    from xinc.show.panels.replication import LEGEND, heading, lines, sentences

    known = cases(table)
    parts = [(heading(claim, rows), lines(rows, methods)) for claim, rows in by_claim(known)]
    return Claims(table, parts, list(sentences(known)), LEGEND)


@dataclass(frozen=True)
class Attributed:
    """Effects of neurons on one number, greatest first.

    Attributes:
        value: the number, for the whole picture as it is.
        what: what it is, in words.
        layers: one row a layer: neurons, sum of effects, sum of absolute effects, share of the latter.
        rows: one row a neuron, greatest absolute effect first.
    """

    value: float
    what: str
    layers: list[dict[str, Any]]
    rows: list[dict[str, Any]]


def attribute_folder(folder: Path, to: str, frame: int = 0) -> Attributed:
    """The first-order effect of every neuron of a run on a number made of one frame.

    Args:
        folder: of the run.
        to: ``"error"`` (mean squared error to the clip's frame), ``"pixel:Y,X"`` (sum of its colours) or
            ``"region:LABEL"`` (mean of all colours over a segment, by id or category).
        frame: which one.

    Raises:
        FindingError: there is no such number, pixel, segment or frame.
    """
    import torch

    run = load(folder)
    if not 0 <= frame < len(run.clip):
        raise FindingError(f"frame {frame} does not exist: the clip has frames 0 to {len(run.clip) - 1}")
    number, what = _number_of(run, to, frame)
    canvas = run.canvas(frame, "exact")
    table = canvas.attribute(number)
    sizes = table["effect"].abs()
    layers = [
        {
            "layer": name,
            "neurons": len(part),
            "effect": float(part["effect"].sum()),
            "absolute": float(part["effect"].abs().sum()),
            "share": float(part["effect"].abs().sum() / max(float(sizes.sum()), 1e-30)),
        }
        for name, part in table.groupby("layer", sort=False)
    ]
    ordered = table.loc[sizes.sort_values(ascending=False, kind="stable").index]
    with torch.no_grad():
        value = float(number(canvas.output))
    rows = [{str(key): known for key, known in row.items()} for row in ordered.to_dict("records")]
    return Attributed(value, what, layers, rows)


def _number_of(run: Run, to: str, frame: int) -> tuple[Callable[[Tensor], Tensor], str]:
    kind, _, rest = to.partition(":")
    height, width = run.clip.size
    if to == "error":
        target = run.clip.frame(frame).to(run.model.device)
        return lambda y: (y - target).square().mean(), f"mean squared error of frame {frame}"
    if kind == "pixel":
        parts = rest.split(",")
        if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
            raise FindingError(f"--to {to} is no pixel; write it as pixel:Y,X, such as pixel:40,100")
        y, x = (int(part) for part in parts)
        if y >= height or x >= width:
            raise FindingError(f"pixel {y},{x} lies outside the picture of {height}×{width} pixels")
        return lambda picture: picture[:, y, x].sum(), f"sum of the colours of pixel {y},{x} of frame {frame}"
    if kind == "region" and rest:
        inside, name = _segment(run, rest, frame)
        count = max(1, int(inside.sum()))
        return lambda y: (y * inside.to(y)).sum() / (count * len(y)), f"mean colour of {name} in frame {frame}"
    raise FindingError(f"--to {to} is no number of the picture; choose error, pixel:Y,X or region:LABEL")


def _segment(run: Run, label: str, frame: int) -> tuple[Tensor, str]:
    import torch

    segments = run.clip.segments
    if segments is None or frame not in segments.labels:
        annotated = f"frames {', '.join(map(str, segments.frames))} have them" if segments else "the clip has none"
        raise FindingError(f"frame {frame} has no segments: {annotated}")
    plane = segments.labels[frame]
    chosen = [s for s in segments.table if str(s.id) == label or s.category == label]
    chosen = [s for s in chosen if (plane == s.id).any()]
    if not chosen:
        there = ", ".join(f"{s.id} ({s.category})" for s in segments.table if (plane == s.id).any())
        raise FindingError(f"no segment {label!r} is in frame {frame}; there are {there}")
    inside = torch.zeros(plane.shape)
    for segment in chosen:
        inside[torch.from_numpy(plane == segment.id)] = 1
    return inside, chosen[0].category if len(chosen) == 1 else f"{len(chosen)} segments of {label}"
