"""Joint pruning of anybody's network: one budget for all layers, measured by random signs, all layers at once.

What a layer's neurons can do for each other takes the values that reach it and the picture's derivatives at its output.
Both come from a trace and one pass backwards a probe, which serves every layer, whatever lies behind it (skips, norms,
attention). Features of a linear layer are folded into those that stay (:class:`~.joint.Moments`), kernels of a
convolution into the other kernels of their output channel (:class:`~.kernels.Channels`).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xinc.canvas.exact.sweep import Sweep
from xinc.canvas.joint.probes import random_signs
from xinc.canvas.network.linear_ops import LinearOperation, margins
from xinc.canvas.network.output import Output
from xinc.canvas.network.plan import Plan
from xinc.canvas.trace import trace
from xinc.errors import FindingError
from xinc.findings.pruning.cutting import is_counted, is_plain
from xinc.findings.pruning.joint import PLACES, Moments, sampled_places
from xinc.findings.pruning.kernels import PROBES, Channels
from xinc.findings.pruning.network import MOST, least_of
from xinc.findings.pruning.prune import check_fraction
from xinc.models.base import apart
from xinc.notation import Floats, Indices, Values

Inputs = Sequence[Any]


@dataclass(frozen=True, eq=False)
class PrunedModule:
    """A network without the neurons that the picture misses least.

    Attributes:
        module: a copy, its parameters of the shapes that they had; what went is zero.
        removed: the neurons that went, by layer.
        counts: the neurons that there were, by layer.
        psnr: of its picture against that of the whole network, dB, for each of the inputs; infinite where they agree.
    """

    module: nn.Module
    removed: Mapping[str, Indices]
    counts: Mapping[str, int]
    psnr: tuple[float, ...]


@dataclass(frozen=True)
class _Asked:
    """How a network is traced.

    Attributes:
        inputs: what ``forward`` takes, once for each picture.
        size: as of :func:`xinc.trace`.
        output: as of :func:`xinc.trace`.
    """

    inputs: Sequence[Inputs]
    size: Sequence[int] | None
    output: Output | None

    def plans(self, module: nn.Module) -> list[Plan]:
        return [trace(module, *one, size=self.size, output=self.output).plan for one in self.inputs]


def prune_module(
    module: nn.Module,
    *inputs: Any,
    fraction: float = 0.3,
    others: Sequence[Inputs] = (),
    again: bool = True,
    size: Sequence[int] | None = None,
    output: Output | None = None,
    seed: int = 0,
) -> PrunedModule:
    """Remove a share of all neurons of a network, those that stay making up for them; ``xinc.prune``.

    >>> import torch, xinc
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    >>> smaller = xinc.prune(network, torch.randn(48, 2), size=(6, 8), fraction=0.25)
    >>> sum(len(neurons) for neurons in smaller.removed.values())
    4

    Args:
        module: any network that makes a picture; it stays as it is.
        inputs: what ``module.forward`` takes.
        fraction: share of all features and kernels that goes.
        others: further inputs, such as other frames, over which it is measured too.
        again: measure each layer again when those behind it are pruned; without, one measurement serves all.
        size: as of :func:`xinc.trace`.
        output: as of :func:`xinc.trace`.
        seed: of the probes.

    Raises:
        FindingError: the fraction is not between 0 and 1, or no layer's weight is a plain parameter of the network.
        TraceError: as :func:`xinc.trace`.
    """
    check_fraction(fraction, 0.3)
    asked, smaller = _Asked((tuple(inputs), *map(tuple, others)), size, output), copy.deepcopy(module)
    plans = asked.plans(smaller)
    weights = _plain_weights(smaller, plans[0])
    if not weights:
        raise FindingError("no layer of this network can be pruned: none has a plain parameter for its weight")
    known = _measured(plans, list(weights), seed)
    counts = {name: plans[0].layer(name).neurons for name in weights}
    ranked = {name: known[name].losses(round(MOST * count)) for name, count in counts.items()}
    budget = round(fraction * sum(len(order) for order, _ in ranked.values()))
    numbers = dict(zip(ranked, least_of([losses for _, losses in ranked.values()], budget), strict=True))
    removed: dict[str, Indices] = {}
    for name in reversed(list(weights)):
        count = numbers[name]
        if again and count and removed:
            known = _measured(asked.plans(smaller), [name], seed)
            order = known[name].losses(count)[0]
        else:
            order = ranked[name][0]
        removed[name] = np.sort(order[:count])
        if count:
            parameter = smaller.get_parameter(weights[name])
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(known[name].folded(removed[name])).reshape(parameter.shape))
    found = {name: removed[name] for name in weights}
    pictures = zip(asked.plans(smaller), plans, strict=True)
    return PrunedModule(smaller, found, counts, tuple(apart(after.output, before.output) for after, before in pictures))


def _plain_weights(module: nn.Module, plan: Plan) -> dict[str, str]:
    """The layers that can be pruned, each with the name of its parameter, in the order of the forward pass.

    Features of linear layers, kernels of more than one tap; a weight that two layers share is left alone.
    """
    parameters = dict(module.named_parameters())
    found = {}
    for layer in plan.layers:
        for name in (f"{layer.module}.weight", layer.module):
            if is_counted(layer) and is_plain(layer, parameters.get(name)):
                found[layer.name] = name
                break
    shared = Counter(found.values())
    return {layer: name for layer, name in found.items() if shared[name] == 1}


@dataclass(eq=False)
class _Sums:
    """What is summed of one layer over pictures and probes."""

    layer: LinearOperation
    features: Values | None = None
    slopes: Values | None = None
    places: int = 0
    patches: list[Floats] = field(default_factory=list)
    squares: list[Floats] = field(default_factory=list)

    def add(self, layer: LinearOperation, slopes: Iterator[Tensor], seed: int) -> None:
        """One picture: the layer as it ran, and the picture's derivatives at its output by each probe."""
        if layer.contraction is not None:
            values = layer.values.double().cpu().numpy()
            if self.features is None or self.slopes is None:
                self.features, self.slopes = (np.zeros((n, n)) for n in (layer.inputs, layer.outputs))
            self.features += values.T @ values
            for slope in slopes:
                rows = layer.rows(slope).double().cpu().numpy()
                self.slopes += rows.T @ rows / PROBES
            self.places += len(values)
            return
        square = sum((slope.detach().square() / PROBES for slope in slopes), torch.zeros(layer.shape))
        grid = square.reshape(layer.outputs, -1).cpu()
        places = sampled_places(grid.shape[1], PLACES, seed)
        call = {key: layer.call[key] for key in ("stride", "dilation") if key in layer.call}
        seen = F.unfold(_padded(layer), layer.weight.shape[2:], **call)[0].T
        self.patches.append(seen[places].float().cpu().numpy())
        scale = np.float32(grid.shape[1] / len(places))
        self.squares.append(grid[:, places].float().numpy() * scale)

    def found(self) -> Moments | Channels:
        """What its neurons can do for each other."""
        weight = self.layer.weight.detach().double().cpu().numpy()
        if self.features is not None and self.slopes is not None:
            return Moments(self.features, self.slopes, weight, self.places)
        taps = int(np.prod(weight.shape[2:]))
        return Channels(
            np.concatenate(self.patches), np.concatenate(self.squares, 1), weight.reshape(len(weight), -1), taps
        )


def _padded(layer: LinearOperation) -> Tensor:
    """What a convolution reads, with the zeros round it."""
    rows, columns = margins(layer.call, layer.weight.shape[2:])
    return F.pad(layer.values, (*columns, *rows))


def _measured(plans: Sequence[Plan], names: Sequence[str], seed: int) -> dict[str, Moments | Channels]:
    """Layers of a network as it ran on several inputs, from :data:`~.kernels.PROBES` passes backwards each."""
    sums = {name: _Sums(plans[0].layer(name)) for name in names}
    for number, plan in enumerate(plans):
        sweep = Sweep.of(plan)
        index = {layer.name: n for n, layer in enumerate(sweep.layers)}
        signs = list(random_signs(plan.size, PROBES, seed + number, sweep.image))
        slopes = [sweep.slopes(probe) for probe in signs]
        for name, own in sums.items():
            at = index[name]
            layer = plan.layer(name)
            own.add(layer, (one[at].reshape(layer.shape) for one in slopes), seed + number)
    return {name: own.found() for name, own in sums.items()}
