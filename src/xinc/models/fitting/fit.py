"""Fitting a network to frames: deterministic by seed, resumable to the bit, the best network kept."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import math
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xinc import budget
from xinc.errors import ModelError, RunError
from xinc.files import write_bytes
from xinc.models.base import INR, KEPT_FEATURES, Config, Items, Pixelwise, count_parameters, decibels
from xinc.models.checkpoints.pickles import read_zip
from xinc.models.families import Family
from xinc.models.passes import values_of_a_pass
from xinc.models.recipe import SCHEDULES, Recipe
from xinc.options.schema import shortened

FORMAT = 1
CHECKPOINT = "fit.ckpt"
NEAR = 0.5
"""dB: from how near to the wanted PSNR an epoch's own error says that all frames are to be judged."""


class Epoch(NamedTuple):
    """One row of a fit's history.

    Attributes:
        epoch: number of epochs done, from 1.
        psnr: in dB, mean over frames, of what the epoch's steps predicted before they learnt from it.
        loss: mean squared error of the same.
        learning_rate: of the epoch's last step.
        seconds: since the fit began, over all its parts.
    """

    epoch: int
    psnr: float
    loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class FitTask:
    """Everything that decides a fit's result: two fits of equal tasks give equal networks on one machine.

    Attributes:
        family: row of the table of families.
        config: the network.
        recipe: how it is fitted.
        frames: ``(T, 3, H, W)`` in [0, 1]; T is 1 for networks of one frame.
        seed: of the initial weights and of the order of the frames.
        psnr: dB, mean over frames, at which it is good enough; None for all epochs.
        minutes: after which it ends, with the best network so far; None for all epochs. It then depends on the machine.
    """

    family: Family
    config: Config
    recipe: Recipe
    frames: Tensor = field(repr=False)
    seed: int = 0
    psnr: float | None = None
    minutes: float | None = None

    def describe(self) -> dict[str, Any]:
        """The same as plain values, the frames as a digest: what a checkpoint must agree with."""
        digest = hashlib.sha256(self.frames.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        settings = {"family": self.family.name, "seed": self.seed, "frames": digest}
        settings |= {f"until.{k}": v for k in ("psnr", "minutes") if (v := getattr(self, k)) is not None}
        settings |= {f"config.{k}": v for k, v in self.config.to_dict().items()}
        return settings | {f"recipe.{k}": v for k, v in dataclasses.asdict(self.recipe).items()}


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves.

    Attributes:
        model: the best network seen, in evaluation mode.
        history: one row an epoch.
    """

    model: INR
    history: tuple[Epoch, ...]


Watcher = Callable[[Epoch], None]


def place_of(device: torch.device | str | None) -> torch.device:
    """Where to compute: CUDA where there is one, unless said.

    Raises:
        ModelError: there is no such device here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        if place.type == "meta":
            raise RuntimeError("it computes nothing")
        torch.empty(1, device=place)
    except Exception as reason:  # torch raises many classes for devices that are not there
        raise ModelError(
            f"the device {shortened(str(device))} cannot be used here ({type(reason).__name__}); give cpu"
            + (", or cuda" if torch.cuda.is_available() else "")
        ) from None
    return place


class _State:
    """The moving parts of a fit, which a checkpoint holds."""

    def __init__(self, task: FitTask, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.seed)
            model = task.family.model(task.config)
        self.model: INR = model.to(device)
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), lr=task.recipe.learning_rate, betas=task.recipe.betas, fused=True
        )
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = _copy(self.model)
        self.best_loss = math.inf

    def keep_if_best(self, loss: float) -> None:
        """Remember the present weights if no others gave a smaller error."""
        if loss < self.best_loss:
            self.best_loss, self.best = loss, _copy(self.model)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": [tuple(row) for row in self.history],
            "best": self.best,
            "best_loss": self.best_loss,
        }

    def load(self, values: dict[str, Any]) -> None:
        self.model.load_state_dict(values["model"])
        self.optimiser.load_state_dict(values["optimiser"])
        self.history = [Epoch(*row) for row in values["history"]]
        self.best, self.best_loss = values["best"], values["best_loss"]


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def run_task(
    task: FitTask,
    *,
    device: torch.device | str | None = None,
    folder: Path | None = None,
    watch: Watcher | None = None,
    checkpoint_every: float = 20.0,
) -> Fitted:
    """Fit a network, or go on where an interrupted fit of the same task stopped.

    Args:
        task: what to fit, and how.
        device: where to compute; CUDA where there is one, unless said.
        folder: where ``fit.ckpt`` is kept while the fit is not finished; None keeps nothing.
        watch: called after each epoch.
        checkpoint_every: seconds between checkpoints; 0 keeps one after every epoch.

    Raises:
        ModelError: frames and configuration disagree, or the error is no longer a number.
        RunError: the folder holds an unfinished fit with other settings.
    """
    _check(task)
    afford(task)
    place = place_of(device)
    state = _State(task, place)
    path = folder / CHECKPOINT if folder else None
    described = task.describe()
    if path and path.exists():
        state.load(read_checkpoint(path, described))
    frames = task.frames.to(place)
    with deterministic():
        items = state.model.items(frames)
        begun, saved = time.perf_counter() - (state.history[-1].seconds if state.history else 0), time.perf_counter()
        for epoch in range(len(state.history), task.recipe.epochs):
            errors, rate = _run_epoch(task, state, items, epoch)
            loss = float(errors.mean())
            if not math.isfinite(loss):
                raise ModelError(
                    f"the fit lost its footing in epoch {epoch + 1}: the error is {loss}; "
                    f"choose a learning rate below {task.recipe.learning_rate:g}"
                )
            errors = errors.mean(0, keepdim=True) if task.family.still else errors
            row = Epoch(epoch + 1, float(decibels(errors).mean()), loss, rate, time.perf_counter() - begun)
            state.history.append(row)
            if watch:
                watch(row)
            if _reached(task, state, items, row):
                break
            if path and (time.perf_counter() - saved >= checkpoint_every):
                write_checkpoint(path, {"format": FORMAT, "task": described, **state.to_dict()})
                saved = time.perf_counter()
    state.model.load_state_dict(state.best)
    return Fitted(state.model.eval(), tuple(state.history))


def _reached(task: FitTask, state: _State, items: Items, row: Epoch) -> bool:
    """Whether a fit may end before its last epoch; the present weights are then judged over everything."""
    late = task.minutes is not None and row.seconds >= 60 * task.minutes
    near = task.psnr is not None and row.psnr >= task.psnr - NEAR
    if not late and not near:
        return False
    errors = _errors(task, state, items)
    state.keep_if_best(float(errors.mean()))
    errors = errors.mean(0, keepdim=True) if task.family.still else errors
    return late or (task.psnr is not None and float(decibels(errors).mean()) >= task.psnr)


@torch.no_grad()
def _errors(task: FitTask, state: _State, items: Items) -> Tensor:
    """Squared error of each item under the present weights, ``(N,)`` float64."""
    size = max(task.recipe.batch_of(len(items.targets)), 8)
    parts = torch.arange(len(items.targets), device=items.targets.device).split(size)  # type: ignore[no-untyped-call]
    return torch.cat([squared_errors(items, part) for part in parts]).double().cpu()


def _check(task: FitTask) -> None:
    wanted = (task.config.frames, 3, *task.config.size)
    if tuple(task.frames.shape) != wanted:
        raise ModelError(f"the network is made for frames {wanted}, the clip has {tuple(task.frames.shape)}")


def afford(task: FitTask) -> None:
    """Whether the fit can be held, by the network's shape alone: nothing is made yet.

    Raises:
        ModelError: it would hold more than a step may.
    """
    count, size = task.config.frames, task.config.size
    with torch.device("meta"):
        model = task.family.model(task.config)
    parameters, made = count_parameters(model), values_of_a_pass(model, model.frame_input(0)) or 0
    pixels = count * size[0] * size[1]
    items, each = (pixels, made / pixels) if isinstance(model, Pixelwise) else (count, made)
    kept = items * model.feature_count if isinstance(model, Pixelwise) else 0
    held = 24.0 * pixels + 4 * min(kept, KEPT_FEATURES)
    what = f"a {task.family.name} to {count} frame{'s' * (count != 1)} of {size[0]:,}×{size[1]:,}"
    budget.fit(what, parameters, each * max(task.recipe.batch_of(items), 4), held)


def _run_epoch(task: FitTask, state: _State, items: Items, epoch: int) -> tuple[Tensor, float]:
    """All batches of one epoch. Returns the squared error that its steps met, an item each, and the last rate."""
    recipe, schedule = task.recipe, SCHEDULES[task.recipe.schedule]
    count = len(items.targets)
    size = recipe.batch_of(count)
    batches = list(batches_of(count, size, task.seed, epoch, items.targets.device))
    errors = items.targets.new_zeros(count)
    rate = recipe.learning_rate
    for step, chosen in enumerate(batches):
        rate = recipe.learning_rate * schedule((epoch + step / len(batches)) / recipe.epochs)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        each = squared_errors(items, chosen)
        loss = each.mean()
        if len(batches) == 1:  # the error is that of the present weights over everything
            state.keep_if_best(loss.item())
        state.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step()
        errors[chosen] = each.detach()
    if len(batches) > 1 and _evaluates(epoch + 1, recipe.epochs):
        state.keep_if_best(float(_errors(task, state, items).mean()))
    return errors.double().cpu(), rate


def squared_errors(items: Items, chosen: Tensor | slice) -> Tensor:
    """Mean squared error of each chosen item, ``(B,)``."""
    difference = items.predict(chosen) - items.targets[chosen]
    return difference.square().flatten(1).mean(1)


def batches_of(count: int, size: int, seed: int, epoch: int, device: torch.device) -> Iterator[Tensor | slice]:
    """Items in an order that only the seed and the epoch decide, so that a resumed fit needs no random state."""
    if size == count:
        yield slice(None)
        return
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(count, generator=generator).to(device)
    yield from order.split(size)  # type: ignore[no-untyped-call]


def _evaluates(done: int, epochs: int) -> bool:
    """About twenty times in a fit, most of them late, and after the last epoch."""
    return done == epochs or done % max(1, epochs // 20) == 0


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic kernels on CUDA; the CPU's are."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def write_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Write all or nothing: a kill in the middle leaves the previous checkpoint."""
    made = io.BytesIO()  # torch turns a full disk into errors of its own
    torch.save(values, made)
    write_bytes(path, made.getbuffer())


def read_checkpoint(path: Path, described: dict[str, Any]) -> dict[str, Any]:
    """Read an unfinished fit.

    Raises:
        RunError: it is unreadable, or belongs to another task; the message names the settings that differ.
    """
    try:
        values: dict[str, Any] = read_zip(path)[0]
        with zipfile.ZipFile(path) as archive:  # torch reads an archive without comparing its check sums
            if archive.testzip():
                raise ValueError("a part of it is not what was written")
        if values["format"] != FORMAT:
            raise KeyError(f"format {values['format']}")
        kept = values["task"]
        kinds = {"task": dict, "model": dict, "optimiser": dict, "history": list, "best": dict, "best_loss": float}
        if wrong := [name for name, kind in kinds.items() if not isinstance(values[name], kind)]:
            raise TypeError(wrong[0])
    except Exception as damage:  # a damaged file can break any step of reading it
        raise RunError(
            f"{path} is not a readable checkpoint ({type(damage).__name__}); delete it to fit anew"
        ) from None
    differing = [k for k in sorted(set(kept) | set(described)) if kept.get(k) != described.get(k)]
    if differing:
        changes = ", ".join(
            "other frames" if k == "frames" else f"{k} {kept.get(k)} instead of {described.get(k)}" for k in differing
        )
        raise RunError(f"{path.parent} holds an unfinished fit with {changes}; choose another folder or delete it")
    return values


def read_history(path: Path) -> Iterator[Epoch]:
    """Rows of a ``history.csv``; none where there is none."""
    if not path.exists():  # nothing is computed from it
        return
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        number, *values = line.split(",")
        yield Epoch(int(number), *map(float, values))
