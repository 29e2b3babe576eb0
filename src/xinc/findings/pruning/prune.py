"""Which neurons a network can do without: removed in the order of several scores, and what the picture loses.

Neurons of one layer go, the least first, all at once for each share, without training the network again. A score that
knows what matters keeps the picture for long.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from xinc.errors import FindingError, TraceError, XincWarning
from xinc.files import locked
from xinc.findings.analyse import known_frames
from xinc.findings.finding import Finding
from xinc.findings.pruning.cutting import Part, alive, packed, prune
from xinc.findings.pruning.joint import Moments, gram_of, removal
from xinc.findings.pruning.kernels import Channels, rewriting
from xinc.findings.results import FOLDER, Results, digest, fingerprint
from xinc.models.base import INR, apart, decibels
from xinc.notation import Indices, Values
from xinc.run import Run
from xinc.waiting import Progress, silent

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="pruning",
    question="How many neurons can go before the picture does?",
    section="none",
    figure="none",
    unit="dB",
    direction="the paper does not prune",
    null="a score keeps no more of the picture than a random order",
)
GROUP = FINDING.name
VERSION = 4
SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a layer that are removed."""


@dataclass(frozen=True)
class Pruning:
    """What is removed, and where the loss is looked at.

    Attributes:
        layer: name.
        unit: what goes together, a key of :data:`xinc.findings.pruning.cutting.UNITS`.
        frames: over which scores and losses are averaged; :func:`~xinc.findings.analyse.default_frames` where None.
        seed: of the score ``random``.
    """

    layer: str
    unit: str = "neurons"
    frames: tuple[int, ...] | None = None
    seed: int = 0

    def frames_of(self, run: Run) -> tuple[int, ...]:
        """The frames of a run.

        Raises:
            FindingError: it has not all of them.
        """
        return known_frames(run.clip, self.frames)


Score = Callable[[Run, Part, Sequence[int], int], Values]


def _totals(run: Run, part: Part, frames: Sequence[int], seed: int, *, method: str) -> Values:
    """Sum over pixels of |C|, mean over frames, summed over each unit's neurons."""
    layers = (run.canvas(t, method)[part.name] for t in frames)
    return np.mean([part.sums(layer.totals()) for layer in layers], axis=0)  # type: ignore[no-any-return]


def _magnitude(run: Run, part: Part, frames: Sequence[int], seed: int) -> Values:
    """Sum of the absolute weights (Li et al. 2017, Pruning Filters for Efficient ConvNets, section 3.1)."""
    return part.sums(part.weights(run.model).abs().double().sum(1))


def _random(run: Run, part: Part, frames: Sequence[int], seed: int) -> Values:
    return np.random.default_rng(seed).random(part.count)


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        **{method: partial(_totals, method=method) for method in ("exact", "paper", "official")},
        "magnitude": _magnitude,
        "random": _random,
    }
)
"""What a unit of neurons is worth: the totals of its maps by a method of the canvas, the sum of its absolute weights,
or nothing but chance."""


JOINT = "joint"
"""The order and the scales of :mod:`xinc.findings.pruning.joint`: neurons that stay make up for those that go."""
CHOICES = (*SCORES, JOINT)
"""What may decide which units go."""


def scores(run: Run, pruning: Pruning, by: str = "exact") -> Values:
    """What each unit of a layer is worth, ``(U,)``: the least go first.

    Raises:
        FindingError: there is no such score, unit or frame.
        TraceError: there is no such layer, or the method has no rule for it.
    """
    part = Part.of(run, pruning.layer, pruning.unit)
    check_choice(by, SCORES)
    return SCORES[by](run, part, pruning.frames_of(run), pruning.seed)


def check_choice(by: str, choices: Collection[str] = CHOICES) -> None:
    """Refuse what is no score.

    Raises:
        FindingError: there is no such score.
    """
    if by not in choices:
        raise FindingError(f"no score is called {by!r}; choose from {', '.join(CHOICES)}")


def check_loss(loss: float) -> None:
    """Refuse a loss that allows nothing.

    Raises:
        FindingError: it is not above zero.
    """
    if not loss > 0:
        raise FindingError(f"a loss of {loss:g} dB leaves nothing to choose; give one above 0, such as 0.5")


def check_fraction(fraction: float, example: float) -> None:
    """Refuse a share that leaves nothing to choose.

    Raises:
        FindingError: it is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise FindingError(
            f"fraction {fraction:g} leaves nothing to choose; give a share between 0 and 1, such as {example:g}"
        )


def order(worth: Values) -> Indices:
    """Units from the least to the greatest score; equal ones as they are numbered."""
    return np.argsort(worth, kind="stable")


def units_of(part: Part, fraction: float) -> int:
    """How many units of a layer a fraction is.

    Raises:
        FindingError: the fraction is not between 0 and 1, or so small that nothing would go.
    """
    check_fraction(fraction, 0.1)
    if not round(fraction * part.count):
        raise FindingError(
            f"fraction {fraction:g} of the {part.count} {part.called} of {part.name} is none; "
            f"give at least {np.ceil(1000 / part.count) / 1000:g}"
        )
    return round(fraction * part.count)


def compare(
    run: Run,
    pruning: Pruning,
    by: Sequence[str] = tuple(SCORES),
    fraction: float = 0.1,
    *,
    shares: Sequence[float] = SHARES,
    progress: Progress | None = None,
) -> xr.Dataset:
    """What the picture loses with growing shares of a layer, by one or several scores; kept in the run's results.

    Args:
        run: the run; its network stays as it is.
        pruning: what is removed.
        by: of :data:`CHOICES`. Where several are asked for, one whose method has no rule for this layer is left out
            with a warning.
        fraction: the share that matters most; one of those that are removed, whatever ``shares`` says.
        shares: of the layer's units; of those that come to the same number of units, one is kept.
        progress: told of each step.

    Returns:
        Dataset with the dimensions ``by, frame, share``, and ``unit`` for what goes together:

        * ``psnr_unpruned (by, frame, share)``: of the network's output against that of the whole network, dB; infinite
          where nothing changes;
        * ``psnr_signal (by, frame, share)``: against the frame, values clamped to [0, 1], dB, at most 100;
        * ``units (by, share)`` and ``neurons (by, share)``: how many were removed;
        * ``parameters (by, share)``: trained values of the whole network that are left, and ``packed (by, share)``:
          bytes of all of them, compressed;
        * ``score (by, unit)``, and ``scale (by, share, unit)``, the factors of those that stay: 1 but for ``joint``.

    Raises:
        FindingError: there is no such score, unit, fraction or frame.
        TraceError: there is no such layer, or the only score's method has no rule for it.
    """
    if not by:
        raise FindingError(f"nothing to compare; choose from {', '.join(CHOICES)}")
    for name in by:
        check_choice(name)
    part = Part.of(run, pruning.layer, pruning.unit)
    units_of(part, fraction)
    shares = tuple(sorted({round(share * part.count): share for share in (*shares, fraction)}.values()))
    task = _Removal(run, part, pruning.frames_of(run), pruning.seed, shares, pruning.frames)
    results = Results(run.path / FOLDER if run.path is not None else None)
    report = progress or silent
    found: dict[str, xr.Dataset] = {}
    with locked(run.path, "pruning"):
        for number, name in enumerate(by):
            report(f"{part.called} of {part.name} by {name}", number, len(by))
            try:
                found[name] = task.kept(results, name)
            except TraceError as refusal:
                if len(by) == 1:
                    raise
                warnings.warn(f"{part.name} has no score {name!r}: {refusal}", XincWarning, stacklevel=2)
    report("removed", len(by), len(by))
    return joined(found).assign_attrs(fraction=fraction)


def joined(found: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Curves of several scores as one Dataset; what only one of them has is NaN for the others."""
    import pandas as pd
    import xarray as xr

    index = pd.Index(list(found), name="by")
    return xr.concat(
        list(found.values()), dim=index, data_vars="all", coords="minimal", compat="override", join="outer",
        combine_attrs="override",
    )  # fmt: skip


class Losses:
    """What other networks lose against a run's, at some frames."""

    def __init__(self, run: Run, frames: Sequence[int]) -> None:
        self.frames = frames
        with torch.no_grad():
            self.whole = [run.model.render(t) for t in frames]
        self.signal = [run.clip.frame(t).to(run.model.device) for t in frames]

    def __call__(self, model: INR) -> tuple[list[float], list[float]]:
        """PSNR in dB, a frame each: against the run's own output, and, clamped to [0, 1], against the signal."""
        with torch.no_grad():
            made = [model.render(t) for t in self.frames]
        changed = [apart(picture, whole) for picture, whole in zip(made, self.whole, strict=True)]
        pairs = ((picture.clamp(0, 1), target) for picture, target in zip(made, self.signal, strict=True))
        return changed, [float(decibels((a - b).double().square().mean())) for a, b in pairs]


@dataclass(frozen=True, eq=False)
class _Removal:
    """What the curves of all scores share."""

    run: Run
    part: Part
    frames: tuple[int, ...]
    seed: int
    shares: tuple[float, ...]
    asked: tuple[int, ...] | None

    @cached_property
    def losses(self) -> Losses:
        """What a network loses against the run's."""
        return Losses(self.run, self.frames)

    def kept(self, results: Results, by: str) -> xr.Dataset:
        """The curve of a score, from the results if they have it."""
        described = {
            "xinc": version("xinc"),
            "version": VERSION,
            "network": fingerprint(self.run.model.state_dict().values()),
            "signal": fingerprint([self.run.clip[self.frames].frames]),
            **{name: getattr(self, name) for name in ("frames", "seed", "shares")},
            "layer": self.part.name,
            "unit": self.part.unit,
            "by": by,
            **({"asked": self.asked} if by == JOINT else {}),
        }
        group, key = f"{GROUP}/{self.part.unit}/{self.part.name}/{by}", digest(described)
        if results.holds(group, key) and (known := results.get(group)) is not None:
            return known.load()
        made = self._curve(by).assign_attrs(digest=key, made_with=json.dumps(described))
        results.put(group, made)
        return made

    def _curve(self, by: str) -> xr.Dataset:
        import xarray as xr

        counts = [round(share * self.part.count) for share in self.shares]
        worth, scales = self._ranked(by, counts)
        least, model = order(worth), copy.deepcopy(self.run.model)
        whole = model.get_parameter(self.part.parameter).detach().clone()
        left, small = self._elsewhere()
        rows: dict[str, list[Any]] = {"unpruned": [], "signal": [], "parameters": [], "packed": []}
        for count, factors in zip(counts, scales, strict=True):
            weight = model.get_parameter(self.part.parameter)
            with torch.no_grad():
                weight.copy_(whole)
            if by == JOINT and self.rewriting is not None:
                self.part.replace(model, self.rewriting.folded(least[:count]))
            self.part.scale(model, factors)
            self.part.remove(model, least[:count])
            unpruned, signal = self.losses(model)
            rows["unpruned"].append(unpruned)
            rows["signal"].append(signal)
            rows["parameters"].append(left + alive(weight))
            rows["packed"].append(small + packed(weight))
        data = {
            "psnr_unpruned": (("frame", "share"), np.array(rows["unpruned"]).T, {"units": "dB"}),
            "psnr_signal": (("frame", "share"), np.array(rows["signal"]).T, {"units": "dB"}),
            "units": ("share", counts),
            "neurons": ("share", [len(self.part.neurons(least[:count])) for count in counts]),
            "parameters": ("share", rows["parameters"], {"units": "trained values that are not zero"}),
            "packed": ("share", rows["packed"], {"units": "bytes"}),
            "score": ("unit", worth),
            "scale": (("share", "unit"), scales, {"units": "factor of what stays"}),
        }
        attrs = {
            **FINDING.attrs(),
            "layer": self.part.name,
            "unit": self.part.unit,
            "called": self.part.called,
            "count": self.part.count,
            "seed": self.seed,
            "asked_frames": list(self.asked or ()),
        }
        return xr.Dataset(data, {"frame": list(self.frames), "share": list(self.shares)}, attrs)

    def _ranked(self, by: str, counts: Sequence[int]) -> tuple[Values, Values]:
        """What each unit is worth ``(U,)``, and the units' factors for each number of removed ones ``(counts, U)``."""
        if by != JOINT:
            worth = SCORES[by](self.run, self.part, self.frames, self.seed)
            return worth, np.ones((len(counts), self.part.count))
        worth, ranks = np.empty(self.part.count), np.arange(self.part.count)
        if self.rewriting is not None:
            worth[self.rewriting.losses(max(counts))[0]] = ranks
            return worth, np.ones((len(counts), self.part.count))
        joint = removal(gram_of(self.run, self.part, self.asked), counts)
        worth[joint.order] = ranks
        return worth, np.stack([joint.scales[count] for count in counts])

    @cached_property
    def rewriting(self) -> Moments | Channels | None:
        """What makes up for neurons that go by other weights of those that stay."""
        return rewriting(self.run, self.part, self.asked)

    def _elsewhere(self) -> tuple[int, int]:
        """Values that are not zero, and bytes, of all other parameters."""
        others = [p for name, p in self.run.model.named_parameters() if name != self.part.parameter]
        return sum(map(alive, others)), sum(map(packed, others))


def pruned(run: Run, curves: xr.Dataset, by: str) -> Run:
    """The run without the fraction of a layer for which :func:`compare` was called; the given one stays as it is.

    Args:
        run: the run.
        curves: what :func:`compare` returned for it.
        by: which of its scores decides.

    Returns:
        A run without a folder, whose settings say what was pruned. Save it with :meth:`xinc.run.Run.save`.

    Raises:
        FindingError: the curves lack that score.
    """
    part, units = least(run, curves, by)
    scales = curves["scale"].sel(by=by, share=curves.attrs["fraction"]).values
    described = {"by": by, "fraction": curves.attrs["fraction"], "frames": curves["frame"].values.tolist()}
    described["seed"] = curves.attrs["seed"]
    if by == JOINT:
        asked = [int(t) for t in np.atleast_1d(curves.attrs["asked_frames"])]
        measured = rewriting(run, part, asked or None)
        if measured is not None:
            return prune(run, part, units, described, weight=measured.folded(units))
    return prune(run, part, units, described, scales if by == JOINT else None)


def least(run: Run, curves: xr.Dataset, by: str) -> tuple[Part, Indices]:
    """The units that go for the fraction of the curves."""
    if by not in curves["by"].values:
        raise FindingError(f"no curve by {by!r}; there are those by {', '.join(curves['by'].values)}")
    part = Part.of(run, curves.attrs["layer"], curves.attrs["unit"])
    return part, order(curves["score"].sel(by=by).values)[: units_of(part, curves.attrs["fraction"])]
