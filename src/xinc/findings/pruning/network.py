"""Joint pruning of a whole network with one budget: the kernels of all layers are ranked by what the picture loses.

Losses of all layers are in one unit, the squared change of the picture to first order after those that stay made up for
what goes, so one threshold divides the budget. Layers are then pruned from the last to the first, each measured again
on the network as it is by then: what a kernel is worth depends on what follows it, not on what lies before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import nn

from xinc.errors import FindingError
from xinc.findings.pruning.cutting import Part, is_counted, prune
from xinc.findings.pruning.joint import Moments, gram_of, removal, sampled
from xinc.findings.pruning.kernels import Channels, rewriting
from xinc.findings.pruning.prune import JOINT, SCORES, check_choice, check_loss
from xinc.notation import Indices, Values
from xinc.run import Run
from xinc.signals.frames import spread
from xinc.waiting import Progress, silent

MOST = 0.98
"""Share of a layer's neurons that can go: without all of them nothing reaches the picture."""

SEARCHES = 14
"""Halvings of the number that can go for a loss, at most."""

CLOSE = 0.02
"""How near the number is searched for, relative to itself."""

JUDGED = 33
"""Frames by which the search judges a network; in the end all do."""

STEP_BACK = 0.97
"""Share of the removed neurons that still go where all frames lost more than those judged."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """A layer's neurons in the order in which they go.

    Attributes:
        part: the layer.
        order: neurons, the first to go first ``(K,)``.
        losses: what the picture loses by each ``(K,)``, never falling.
        measured: what makes up for those that go: scales for each number of them, channels or features. None for
            single scores.
    """

    part: Part
    order: Indices
    losses: Values
    measured: Mapping[int, Values] | Channels | Moments | None = None

    def prune(self, run: Run, count: int) -> Run:
        """The run without the first ``count``."""
        gone, described = self.order[:count], {"by": JOINT if self.measured is not None else "score"}
        if self.measured is None or not count:
            return prune(run, self.part, gone, described)
        if isinstance(self.measured, Mapping):
            return prune(run, self.part, gone, described, self.measured[count])
        return prune(run, self.part, gone, described, weight=self.measured.folded(gone))


def ranked(run: Run, part: Part, frames: Sequence[int] | None) -> Ranked:
    """A layer's neurons by joint pruning: features of an MLP, kernels by their Gram matrix, or a channel at a time."""
    measured = rewriting(run, part, frames)
    if measured is not None:
        return Ranked(part, *measured.losses(round(MOST * part.count)), measured)
    found = removal(gram_of(run, part, frames), range(int(MOST * part.count) + 1))
    return Ranked(part, found.order, np.maximum.accumulate(found.losses), found.scales)


def scored(run: Run, part: Part, by: str, frames: Sequence[int] | None, seed: int) -> Ranked:
    """A layer's neurons by a score of :data:`~xinc.findings.pruning.prune.SCORES`."""
    worth = SCORES[by](run, part, sampled(run, frames), seed)
    order = np.argsort(worth, kind="stable")
    return Ranked(part, order, worth[order])


def parts_of(run: Run, unit: str = "neurons") -> list[Part]:
    """The layers of a network that one budget covers, in the order of the forward pass.

    Features of every linear layer of an MLP; of a decoder kernels of more than one tap, as in the literature, or the
    channels that they read.
    """
    layers = run.canvas(0).plan.layers
    return [Part.of(run, layer.name, unit) for layer in layers if is_counted(layer)]


def costs_of(parts: Sequence[Part], model: nn.Module) -> list[int]:
    """The parameters that go with a unit of each layer: its own, and those that make it and nothing else.

    A channel that nothing reads any more takes what makes it along, biases too: the file shrinks by so much.
    """
    own = [model.get_parameter(part.parameter).numel() // part.count for part in parts]
    if any(part.unit == "neurons" and not part.folds for part in parts):
        return own
    trained = [name for name, value in model.named_parameters() if name.endswith(".weight") and value.dim() > 1]
    makers = {after: before for before, after in pairwise(trained)}
    for number, part in enumerate(parts):
        if (maker := makers.get(part.parameter)) is not None:
            rows = model.get_parameter(maker)
            own[number] += (rows.numel() + len(rows)) // part.count
    return own


def divided(layers: Sequence[Ranked], budget: int, costs: Sequence[int] | None = None) -> list[int]:
    """How many neurons of each layer go: those with the least losses of all, at most :data:`MOST` of a layer."""
    return least_of([layer.losses for layer in layers], budget, costs)


def least_of(losses: Sequence[Values], budget: int, costs: Sequence[int] | None = None) -> list[int]:
    """How many of each layer's losses, which never fall, are among the least of all.

    Args:
        losses: of each layer's units, in the order in which they go.
        budget: how many go; with ``costs``, what they may cost in all.
        costs: of a unit of each layer: the least losses for what they cost go first.
    """
    each = np.array([1] * len(losses) if costs is None else costs)
    allowed = [own[: int(MOST * len(own))] for own in losses]
    whose = np.repeat(np.arange(len(allowed)), [len(own) for own in allowed])
    least = np.argsort(np.concatenate(allowed) / each[whose], kind="stable")
    taken = whose[least[: int(np.searchsorted(each[whose[least]].cumsum(), budget, side="right"))]]
    return [int(count) for count in np.bincount(taken, minlength=len(allowed))]


@dataclass(frozen=True, eq=False)
class Whole:
    """A network that was pruned with one budget.

    Attributes:
        run: what is left, without a folder.
        removed: neurons that went, by layer.
    """

    run: Run
    removed: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Budget:
    """A network's layers, ranked once: what goes for any budget, and what that costs.

    Attributes:
        run: the whole network.
        layers: those that it covers.
        by: what decides.
        frames: over which it is measured; spread over the clip where None.
        costs: parameters that go with a unit of each layer, where the budget counts parameters; else it counts units.
    """

    run: Run
    layers: Sequence[Ranked]
    by: str
    frames: Sequence[int] | None
    costs: Sequence[int] | None = None

    @classmethod
    def of(
        cls,
        run: Run,
        by: str = JOINT,
        frames: Sequence[int] | None = None,
        seed: int = 0,
        progress: Progress = silent,
        *,
        unit: str = "neurons",
        parameters: bool = False,
    ) -> Budget:
        """Rank all layers.

        Args:
            run: the whole network.
            by: what decides.
            frames: over which it is measured; spread over the clip where None.
            seed: of the score ``random``.
            progress: told of each layer.
            unit: what goes together: ``"neurons"``, or ``"inputs"``, the channels that layers read.
            parameters: whether the budget counts parameters, not units.

        Raises:
            FindingError: there is no such score, or the network has no layer to prune.
        """
        check_choice(by)
        parts, found = parts_of(run, unit), []
        if not parts:
            raise FindingError("this network has no layer of kernels or features that one budget could cover")
        for number, part in enumerate(parts):
            progress(f"measuring {part.name}", number, len(parts))
            found.append(ranked(run, part, frames) if by == JOINT else scored(run, part, by, frames, seed))
        progress("measured", len(parts), len(parts))
        return cls(run, found, by, frames, costs_of(parts, run.model) if parameters else None)

    def by_other(self, name: str, seed: int) -> Budget:
        """The same layers, ranked by another score.

        Raises:
            TraceError: its method has no rule for a layer.
        """
        unit = self.layers[0].part.unit if self.layers[0].part.layer.kind != "linear" else "neurons"
        return Budget.of(self.run, name, self.frames, seed, unit=unit, parameters=self.costs is not None)

    @property
    def count(self) -> int:
        """Units of all layers, or their parameters."""
        return self._cost([layer.part.count for layer in self.layers])

    def spent(self, found: Whole) -> int:
        """Units that went, or their parameters."""
        return self._cost([found.removed[layer.part.name] for layer in self.layers])

    def _cost(self, counts: Sequence[int]) -> int:
        costs = self.costs or [1] * len(self.layers)
        return sum(cost * count for cost, count in zip(costs, counts, strict=True))

    def pruned(self, budget: int, *, again: bool = True, progress: Progress = silent) -> Whole:
        """The network without the neurons that cost least.

        Args:
            budget: how many go.
            again: measure each layer again when those behind it are pruned; without, this takes seconds.
            progress: told of each layer.
        """
        run, numbers = self.run, divided(self.layers, budget, self.costs)
        measured_anew = again and self.by == JOINT
        for step, (layer, count) in enumerate(reversed(list(zip(self.layers, numbers, strict=True)))):
            progress(f"pruning {layer.part.name}", step, len(numbers))
            if count:
                own = (
                    ranked(run, Part.of(run, layer.part.name, layer.part.unit), self.frames)
                    if measured_anew and step
                    else layer
                )
                run = own.prune(run, count)
        progress("pruned", len(numbers), len(numbers))
        return Whole(run, {layer.part.name: count for layer, count in zip(self.layers, numbers, strict=True)})

    def chosen(self, budget: int) -> list[tuple[Part, Indices]]:
        """Each layer with the neurons that go, by the first ranking."""
        numbers = divided(self.layers, budget, self.costs)
        return [(layer.part, layer.order[:count]) for layer, count in zip(self.layers, numbers, strict=True) if count]

    def within(self, loss: float, progress: Progress = silent) -> Whole:
        """The network without as many neurons as can go before the picture has lost ``loss`` dB, over all frames.

        The number is found by halving on :data:`JUDGED` frames, with the order of the whole network. The network is
        then measured anew layer by layer, which spares the picture more; all frames decide, and fewer go until they
        agree.

        Raises:
            FindingError: the loss is not above zero, or even one neuron costs more.
        """
        check_loss(loss)
        some = spread(len(self.run.clip), JUDGED)
        judged = float(self.run.psnr(some).mean())
        low, high = 0, int(MOST * self.count)
        for step in range(SEARCHES):
            progress("searching", step, SEARCHES)
            if high - low <= max(1, CLOSE * low):
                break
            middle = (low + high) // 2
            if judged - float(self.pruned(middle, again=False).run.psnr(some).mean()) <= loss:
                low = middle
            else:
                high = middle
        whole, count = float(self.run.psnr().mean()), low
        while count:
            for again in (True, False) if self.by == JOINT and count == low else (False,):
                found = self.pruned(count, again=again, progress=progress)
                if whole - float(found.run.psnr().mean()) <= loss:
                    return found
            count = int(STEP_BACK * count)
        raise FindingError(f"not even {high} of {self.count:,} neurons can go for {loss:g} dB; allow more")
