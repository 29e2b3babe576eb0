"""What is in a run, a checkpoint or a module: how each becomes a network with an input, ready to be surveyed."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xinc import budget
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.output import Output
from xinc.canvas.recording.recorder import record, unwrapped
from xinc.canvas.survey import LayerSurvey, recording_bytes, survey
from xinc.errors import CheckpointError, ModelError, TraceError
from xinc.models.base import INR, count_parameters
from xinc.models.checkpoints.files import IN_FOLDERS
from xinc.models.checkpoints.importing import Checkpoint, open_checkpoint, outline
from xinc.run import load

TensorShape = tuple[int, ...]
REFERENCE = re.compile(r"[\w.]+:[\w.]+")
"""``package.module:name``; a path that is not there, such as ``C:\\nets\\a.pth``, is none."""


@dataclass(frozen=True)
class Inspected:
    """What is looked at.

    Attributes:
        facts: what is known of it, a word and what it says each.
        module: the network; None where none can be made of it.
        inputs: what the network is called with.
        size: ``(H, W)`` of the picture, where that must be told.
        tensors: name, shape and number of values of each of a checkpoint's tensors.
    """

    facts: tuple[tuple[str, str], ...]
    module: nn.Module | None
    inputs: tuple[Any, ...] = ()
    size: tuple[int, int] | None = None
    tensors: tuple[tuple[str, TensorShape, int], ...] = ()


def subject(
    target: str, *, frame: int = 0, size: tuple[int, int] | None = None, shapes: Sequence[TensorShape] = ()
) -> Inspected:
    """Find out what a word on the command line names, and make a network of it.

    Args:
        target: a run's folder, a checkpoint, or ``package.module:name`` of a module or of a function that makes one.
        frame: of a run.
        size: ``(H, W)`` of the picture, for networks that make any size.
        shapes: of random inputs of a module, where nothing else tells its inputs.

    Raises:
        XincError: there is no such thing, or no network can be made of it; the message says why.
    """
    path = Path(target)
    if (path / "config.json").is_file() or (path.is_dir() and not any((path / name).is_file() for name in IN_FOLDERS)):
        return _of_run(path, frame)
    if path.exists():
        return _of_checkpoint(open_checkpoint(path), size)
    if REFERENCE.fullmatch(target):
        return _of_code(target, frame, size, shapes)
    raise CheckpointError(
        f"there is no run or checkpoint {target}; a module is named by where it is imported from: package.module:name"
    )


@dataclass(frozen=True)
class Surveyed:
    """What one forward pass says of a network.

    Attributes:
        layers: of the canvas.
        before: layers before and beside it, with the numbers of their neurons.
        explained: share of the trained parameters that belong to a layer; None without parameters.
        left: names of the others on which the picture depends, with their shares, greatest first.
    """

    layers: tuple[LayerSurvey, ...] = ()
    before: tuple[tuple[str, int], ...] = ()
    explained: float | None = None
    left: tuple[tuple[str, float], ...] = ()


def layers_of(found: Inspected, *, output: Output | None = None) -> Surveyed:
    """The layers of a subject's network, from one forward pass; none where there is no network.

    Args:
        found: the subject.
        output: which of several outputs is the picture, see :func:`~xinc.canvas.network.output.find_picture`.

    Raises:
        TraceError: the network fails, cannot be traced, or would not fit in memory.
    """
    if found.module is None:
        return Surveyed()
    need = recording_bytes(found.module, *found.inputs)
    if need is not None:
        budget.recording(need)
    plan = read_plan(record(found.module, *found.inputs), found.size, output)
    total = sum(weight.values for weight in plan.weights)
    left = [(weight.name, weight.values / total) for weight in plan.weights if weight.layer is None and weight.used]
    return Surveyed(
        survey(plan),
        tuple((rest.operation.name, rest.operation.neurons) for rest in plan.stems),
        sum(weight.values for weight in plan.weights if weight.layer) / total if total else None,
        tuple(sorted(left, key=lambda one: -one[1])),
    )


def _of_run(folder: Path, frame: int) -> Inspected:
    run = load(folder)
    height, width = run.clip.size
    facts = [
        ("run", str(folder)),
        ("family", run.family),
        ("signal", f"{len(run.clip)} frames of {height}×{width}"),
        ("parameters", f"{run.parameters:,}, {run.bits_per_pixel():.2f} bits a pixel at 8 bits each"),
        ("network", described(run.config.to_dict())),
    ]
    facts += [("note", note) for note in run.settings.get("notes", ())]
    return Inspected(tuple(facts), run.model, (run.input(frame),), run.clip.size)


def _of_checkpoint(checkpoint: Checkpoint, size: tuple[int, int] | None) -> Inspected:
    weights = checkpoint.weights
    tensors = tuple((name, tuple(value.shape), value.numel()) for name, value in weights.items())
    facts = [
        ("checkpoint", str(checkpoint.path)),
        ("tensors", f"{len(tensors)} with {sum(values for *_, values in tensors):,} values"),
    ]
    try:
        network = outline(checkpoint, size)
    except CheckpointError as reason:
        told = [("family", checkpoint.family or "unknown"), *(("note", note) for note in checkpoint.notes)]
        return Inspected((*facts, *told, ("no layers", str(reason))), None, tensors=tensors)
    config = network.model.config
    facts += [
        ("family", f"{checkpoint.family}, by {'its own description' if checkpoint.config else 'the names'}"),
        ("parameters", f"{count_parameters(network.model):,}"),
        ("network", described(network.known)),
        ("looked at", f"{config.frames} frame{'s' * (config.frames > 1)} of {config.size[0]}×{config.size[1]}"),
    ]
    if network.open:
        facts.append(("left open", f"{', '.join(network.open)}: xinc import chooses by the fit to the signal"))
    facts += [("note", note) for note in network.notes]
    return Inspected(tuple(facts), network.model, (network.model.frame_input(0),), config.size, tensors)


def _of_code(target: str, frame: int, size: tuple[int, int] | None, shapes: Sequence[TensorShape]) -> Inspected:
    module, inputs = load_module(target)
    if inputs is None and isinstance(module, INR) and not shapes:
        inputs, size = (module.frame_input(frame),), size or module.config.size
    if inputs is None:
        _check_inputs(module, shapes)
        budget.inputs(shapes)
        inputs = tuple(random_inputs(module, shapes))
    facts = (
        ("module", f"{target}, a {type(module).__name__}"),
        ("parameters", f"{count_parameters(module):,}"),
        ("inputs", ", ".join("×".join(map(str, x.shape)) for x in inputs if isinstance(x, Tensor)) or "none"),
    )
    return Inspected(facts, module, inputs, size)


def load_module(reference: str) -> tuple[nn.Module, tuple[Any, ...] | None]:
    """Import a network by name; the working folder is looked in too, as by ``python -m``.

    Args:
        reference: ``package.module:name`` of a module, or of something that gives one, or one with its inputs, when it
            is called without arguments.

    Returns:
        The network, and its inputs where the code gives them.

    Raises:
        ModelError: there is no such name, the code fails, or gives no module.
    """
    place, _, name = reference.partition(":")
    with _working_folder():
        found = _run_code(reference, lambda: attrgetter(name)(importlib.import_module(place)))
        made = found if isinstance(found, nn.Module) else _run_code(reference, lambda: found())
    module, *given = made if isinstance(made, tuple | list) and made else (made,)
    try:
        network = unwrapped(module)
    except TraceError as reason:
        raise ModelError(f"{reference} gives no network: {reason}") from None
    if not given:
        return network, None
    inputs = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    return network, tuple(inputs)


def _run_code(reference: str, code: Callable[[], Any]) -> Any:
    try:
        return code()
    except Exception as fault:  # whatever their code raises
        lines = str(fault).strip().splitlines() or [""]
        raise ModelError(
            f"{reference} cannot be had ({type(fault).__name__}: {lines[0]}); "
            "write it as package.module:name, a torch module or a function without arguments that makes one"
        ) from None


@contextmanager
def _working_folder() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _check_inputs(module: nn.Module, shapes: Sequence[TensorShape]) -> None:
    """Whether as many inputs are given as the network's forward asks for."""
    try:
        inspect.signature(module.forward).bind(*shapes)
    except TypeError:
        asked = [p.name for p in inspect.signature(module.forward).parameters.values() if p.default is p.empty]
        raise ModelError(
            f"{type(module).__name__} takes {', '.join(asked) or 'no input'}; give --input-shape, such as 1x16x8x8, "
            "once for each of them, or name a function that returns the module and its inputs"
        ) from None


def random_inputs(module: nn.Module, shapes: Sequence[TensorShape]) -> Iterator[Tensor]:
    """Standard normal inputs, the same each time, in the network's precision and on its device."""
    generator = torch.Generator().manual_seed(0)
    parameter = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    for shape in shapes:
        yield torch.randn(shape, generator=generator).to(parameter)


def described(settings: dict[str, Any]) -> str:
    """A configuration as people read it."""

    def value(item: Any) -> str:
        return " ".join(map(value, item)) if isinstance(item, tuple | list) else str(item)

    return ", ".join(
        f"{name} {value(item)}"
        for name, item in settings.items()
        if name not in ("size", "frames") and item not in ((), None)
    )
