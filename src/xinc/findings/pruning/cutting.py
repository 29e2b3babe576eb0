"""Taking neurons out of a network: which weights are theirs, what is left, and the smaller network as a run.

A neuron is gone when the weights that carry its term are zero; biases stay, as in ablation. Channels and features that
nothing reads any more can then be cut out (:func:`cut`): the same pictures from smaller tensors.
"""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xinc.canvas.network.linear_ops import LinearOperation
from xinc.damage import is_free
from xinc.errors import FindingError, RunError
from xinc.findings.results import fingerprint
from xinc.models.base import INR, count_parameters
from xinc.models.families import family
from xinc.models.fitting.tune import tune
from xinc.notation import Indices
from xinc.run import Run

HELD_VALUES = 1 << 18
"""Values of the signal that one pass backwards covers."""

Grouped = Callable[[LinearOperation, Tensor, Tensor], Tensor]
UNITS: Mapping[str, Grouped] = MappingProxyType(
    {
        "neurons": lambda layer, i, o: torch.arange(len(i)),
        "inputs": lambda layer, i, o: i,
        "outputs": lambda layer, i, o: o // math.prod(layer.upscale),
    }
)
"""What goes together, as the unit of each neuron: ``neurons`` go one by one; ``inputs`` are channels that a convolution
reads, with all kernels that read them; ``outputs`` are channels that a block makes, as they leave its pixel shuffle,
with all kernels that make them."""


@dataclass(frozen=True, eq=False)
class Part:
    """A layer's neurons as parts of a weight, and as units that go together.

    Attributes:
        layer: as it was traced.
        parameter: name of the weight among the network's parameters.
        unit: a key of :data:`UNITS`.
    """

    layer: LinearOperation
    parameter: str
    unit: str

    @classmethod
    def of(cls, run: Run, name: str, unit: str = "neurons") -> Part:
        """The neurons of a run's layer.

        Raises:
            TraceError: there is no such layer.
            FindingError: there is no such unit, or the layer's weight is no parameter of the network's own.
        """
        if unit not in UNITS:
            raise FindingError(f"neurons cannot go as {unit!r}; choose from {', '.join(UNITS)}")
        layer = run.canvas(0).plan.layer(name)
        parameter = f"{layer.module}.weight"
        if not is_plain(layer, dict(run.model.named_parameters()).get(parameter)):
            raise FindingError(f"{name} cannot be pruned: its weight is no plain parameter of {layer.module!r}")
        if layer.kind == "linear":  # an input feature with all its weights is whole already
            if unit == "outputs":
                raise FindingError(
                    f"neurons of {name} are input features; outputs go as neurons of the layer behind it"
                )
            unit = "neurons"
        return cls(layer, parameter, unit)

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def called(self) -> str:
        """What a unit is called, in the plural."""
        single = "neurons" if self.layer.kind == "linear" else "kernels"
        return {"neurons": single, "inputs": "input channels", "outputs": "output channels"}[self.unit]

    @property
    def folds(self) -> bool:
        """Whether what goes is all that is read of a value, and can be folded into the weights of what stays."""
        return self.layer.kind == "linear" or self.unit == "inputs"

    @cached_property
    def members(self) -> Indices:
        """The unit of each neuron, ``(K,)``."""
        return np.asarray(UNITS[self.unit](self.layer, *self.layer.pairs()), dtype=np.int64)

    @property
    def count(self) -> int:
        """Number of units."""
        return int(self.members.max()) + 1

    def sums(self, values: Tensor) -> NDArray[np.float64]:
        """Sums over each unit of a number a neuron: ``(K,)`` to ``(U,)``."""
        return np.bincount(self.members, values.detach().double().cpu().numpy(), self.count).astype(np.float64)

    def neurons(self, units: Sequence[int] | Indices) -> Indices:
        """The neurons of some units, ascending."""
        return np.flatnonzero(np.isin(self.members, np.asarray(units, dtype=np.int64)))

    def weights(self, model: nn.Module) -> Tensor:
        """Each neuron's weights in a network, ``(K, n)``: its kernel, or its column."""
        weight = model.get_parameter(self.parameter).detach()
        if self.layer.kind == "linear":
            return weight.T
        inputs, outputs = (part.to(weight.device) for part in self.layer.pairs())
        return weight[outputs, inputs].flatten(1)

    @torch.no_grad()
    def remove(self, model: nn.Module, units: Sequence[int] | Indices) -> None:
        """Set the weights of some units to zero, in place."""
        weight = model.get_parameter(self.parameter)
        chosen = torch.as_tensor(self.neurons(units), device=weight.device)
        inputs, outputs = (part.to(weight.device)[chosen] for part in self.layer.pairs())
        if self.layer.kind == "linear":
            weight[:, inputs] = 0
        else:
            weight[outputs, inputs] = 0

    @torch.no_grad()
    def scale(self, model: nn.Module, factors: NDArray[np.float64]) -> None:
        """Multiply the weights of each unit by its factor ``(U,)``, in place; 0 removes it."""
        weight = model.get_parameter(self.parameter)
        each = torch.as_tensor(factors[self.members]).to(weight)
        inputs, outputs = (part.to(weight.device) for part in self.layer.pairs())
        if self.layer.kind == "linear":
            weight.mul_(each)
        else:
            weight[outputs, inputs] *= each[:, None, None]

    @torch.no_grad()
    def replace(self, model: nn.Module, weight: NDArray[np.float64]) -> None:
        """Give the layer another weight in place: with as many values, those of each output together."""
        own = model.get_parameter(self.parameter)
        own.copy_(torch.from_numpy(weight).reshape(own.shape))


def is_plain(layer: LinearOperation, parameter: Tensor | None) -> bool:
    """Whether a layer used the parameter as it is, with outputs first and every input in every kernel."""
    weight = layer.weight
    if parameter is None or layer.kind == "transposed" or layer.pairs()[0].max() + 1 != weight.shape[1]:
        return False
    return parameter.shape == weight.shape and torch.equal(parameter, weight)


def is_counted(layer: LinearOperation) -> bool:
    """Whether a budget for the whole network covers a layer: features, and kernels of more than one tap."""
    return layer.kind == "linear" or layer.weight[0, 0].numel() > 1


def cut(run: Run) -> Run:
    """The run with the channels and features that no weight reads cut out: the same pictures, a smaller file.

    Families whose layers have widths of their own allow it, so all of ours; the run itself where nothing can go.
    """
    model = run.model.narrower()
    return run if model is run.model else Run(run.family, model, run.clip, run.epochs, dict(run.settings))


class NetworkSize(NamedTuple):
    """How large a network is.

    Attributes:
        values: all trained values, as a file holds them.
        parameters: trained values that are not zero.
        reaching: those of them that change any frame: as many as a network needs from which everything is cut that only
            feeds removed neurons.
        packed: bytes of all trained values in float32, each tensor compressed by DEFLATE (gzip, zip).
    """

    values: int
    parameters: int
    reaching: int
    packed: int


def size_of(run: Run) -> NetworkSize:
    """How large a run's network is."""
    parameters = list(run.model.parameters())
    values = count_parameters(run.model)
    return NetworkSize(values, sum(map(alive, parameters)), _reaching(run), sum(map(packed, parameters)))


def alive(values: Tensor) -> int:
    """Number of values that are not zero."""
    return int(torch.count_nonzero(values.detach()))


def packed(values: Tensor) -> int:
    """Bytes of values in float32, compressed by DEFLATE."""
    return len(zlib.compress(values.detach().float().cpu().contiguous().numpy().tobytes()))


def _reaching(run: Run) -> int:
    """Parameters that are not zero and have a gradient in any frame, under fixed random weights of the pixels."""
    model = copy.deepcopy(run.model)
    model.zero_grad()
    items = model.items(run.clip.frames.to(model.device))
    random = torch.Generator().manual_seed(0)
    numbers = torch.arange(len(items.targets), device=model.device)
    for some in numbers.split(max(1, HELD_VALUES // items.targets[0].numel())):  # type: ignore[no-untyped-call]
        made = items.predict(some)
        made.backward(torch.rand(made.shape, generator=random).to(made))  # type: ignore[no-untyped-call]
    grown = [(p, p.grad) for p in model.parameters() if p.grad is not None]
    return sum(alive((p != 0) & (gradient != 0)) for p, gradient in grown)


def prune(
    run: Run,
    part: Part,
    units: Sequence[int] | Indices,
    described: Mapping[str, Any],
    scales: NDArray[np.float64] | None = None,
    weight: NDArray[np.float64] | None = None,
) -> Run:
    """The run without some units of a layer; the given one stays as it is.

    Args:
        run: the run.
        part: its layer.
        units: which go.
        scales: factors of all units ``(U,)`` that make up for what goes; None leaves the others as they are.
        weight: another weight of the layer that makes up for what goes; None leaves it.
        described: how they were chosen; kept in the settings as ``pruned.<key>``. What an earlier pruning left there
            moves to ``pruned.earlier``.

    Returns:
        A run without a folder.
    """
    model = copy.deepcopy(run.model)
    if weight is not None:
        part.replace(model, weight)
    if scales is not None:
        part.scale(model, scales)
    part.remove(model, units)
    before = {k: v for k, v in run.settings.items() if k.startswith("pruned.")}
    earlier = [*before.pop("pruned.earlier", ()), *([_sentence(before)] if before else [])]
    own = {
        "pruned.layer": part.name,
        "pruned.unit": part.unit,
        "pruned.units": len(units),
        **{f"pruned.{key}": value for key, value in described.items()},
        "pruned.network": fingerprint(run.model.state_dict().values()),
        **({"pruned.earlier": earlier} if earlier else {}),
    }
    kept = {k: v for k, v in run.settings.items() if k not in before and k != "pruned.earlier"}
    return Run(run.family, model.eval(), run.clip, run.epochs, {**kept, **own})


def _sentence(settings: Mapping[str, Any]) -> str:
    found = {key.removeprefix("pruned."): value for key, value in settings.items()}
    return f"{found['units']} {found['unit']} of {found['layer']} by {found.get('by', 'hand')}"


def fine_tune(pruned: Run, steps: int, seed: int = 0, watch: Callable[[int], None] | None = None) -> Run:
    """Train on with every weight that is zero held at zero; see :func:`xinc.models.fitting.tune.tune`.

    Args:
        pruned: the run.
        steps: of the optimiser.
        seed: of the frames' order.
        watch: told the number of steps done.

    Returns:
        A run without a folder, never worse than the given one.

    Raises:
        FindingError: there is no step to do.
    """
    if steps < 1:
        raise FindingError(f"{steps} steps of fine-tuning cannot be done; give 1 or more, or leave it out")
    model: INR = copy.deepcopy(pruned.model)
    tune(model, pruned.clip.frames, family(pruned.family).recipe, steps, seed=seed, watch=watch)
    return Run(pruned.family, model, pruned.clip, pruned.epochs, {**pruned.settings, "pruned.finetune": steps})


def fade_out(run: Run, chosen: Sequence[tuple[Part, Indices]], steps: int, seed: int = 0) -> Run:
    """Train on while the weights of some units fade to zero: a rival of removing them at once and training after.

    Args:
        run: the whole network; it stays as it is.
        chosen: parts of it with the units that go.
        steps: of the optimiser, as many as :func:`fine_tune` would get.
        seed: of the frames' order.

    Returns:
        A run without a folder.

    Raises:
        FindingError: there is no step to do.
    """
    if steps < 1:
        raise FindingError(f"{steps} steps cannot make anything fade; give 1 or more")
    model, fading = copy.deepcopy(run.model), {}
    for part, units in chosen:
        weight = model.get_parameter(part.parameter)
        marked = copy.deepcopy(model)
        with torch.no_grad():
            marked.get_parameter(part.parameter).fill_(1.0)
        part.remove(marked, units)
        fading[part.parameter] = (marked.get_parameter(part.parameter) == 0).to(weight.device)
    tune(model, run.clip.frames, family(run.family).recipe, steps, seed=seed, fading=fading)
    return Run(run.family, model, run.clip, run.epochs, {**run.settings, "pruned.finetune": steps})


def check_free(folder: Path) -> None:
    """Make sure that nothing is overwritten.

    Raises:
        RunError: there is something in the folder.
    """
    if (folder / "config.json").exists():
        raise RunError(f"{folder} holds a run already; choose another folder or delete it")
    if not is_free(folder):
        raise RunError(f"{folder} is there already and not empty; choose another folder or delete it")
