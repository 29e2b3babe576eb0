"""Fitting: deterministic, exact after a kill, the best network kept, clear errors."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import xinc
from xinc import Clip, models
from xinc.errors import ModelError, RunError
from xinc.models.families import family
from xinc.models.fitting.fit import CHECKPOINT, Epoch, FitTask, Fitted, run_task
from xinc.models.recipe import SCHEDULES, Recipe
from xinc.workflow.job import RECIPES, Fitting

OPTIONS = {
    "ffn": {"width": 48},
    "siren": {"width": 16},
    "nerv": {"fc_dim": 6},
    "hnerv": {"fc_dim": 16, "strides": (4, 2, 2), "kernels": (3, 3, 3)},
}


def scene(frames: int, size: tuple[int, int] = (32, 32)) -> Tensor:
    """A disc that moves over a ramp: something that small networks can learn within seconds."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
    pictures = []
    for i in range(frames):
        disc = ((y - 0.5) ** 2 + (x - 0.2 - 0.6 * i / max(1, frames - 1)) ** 2 < 0.03).float()
        pictures.append(torch.stack([x * (1 - disc), y * (1 - disc), disc]))
    return torch.stack(pictures)


def task(name: str, *, epochs: int = 6, seed: int = 0, **recipe: object) -> FitTask:
    row = models.family(name)
    frames = scene(1 if row.still else 5)
    config = models.configure(name, (32, 32), len(frames), **OPTIONS[name])
    return FitTask(row, config, row.recipe.change(epochs=epochs, **recipe), frames, seed)


def same(one: Fitted, other: Fitted) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    weights = a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return weights and [r[:4] for r in one.history] == [r[:4] for r in other.history]


class KilledError(Exception):
    pass


def kill_after(epoch: int) -> object:
    def watch(row: Epoch) -> None:
        if row.epoch == epoch:
            raise KilledError

    return watch


@pytest.mark.parametrize("name", models.FAMILIES)
def test_equal_tasks_give_equal_networks_and_seeds_differ(name: str) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = run_task(task(name)), run_task(task(name)), run_task(task(name, seed=1))
    assert same(first, again)
    assert not same(first, other)
    assert torch.equal(torch.random.get_rng_state(), before), "a fit leaves the caller's random state alone"


@pytest.mark.parametrize("name", models.FAMILIES)
@pytest.mark.parametrize("epoch", [2, 5])
def test_a_killed_fit_goes_on_to_the_same_bits(name: str, epoch: int, tmp_path: Path) -> None:
    whole = run_task(task(name))
    with pytest.raises(KilledError):
        run_task(task(name), folder=tmp_path, watch=kill_after(epoch), checkpoint_every=0)
    seen: list[int] = []
    resumed = run_task(task(name), folder=tmp_path, watch=lambda row: seen.append(row.epoch))
    assert seen[0] == epoch, "goes on from the last checkpoint, which the kill came just before"
    assert same(whole, resumed)


def test_seconds_go_on_counting_over_a_kill(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run_task(task("nerv"), folder=tmp_path, watch=kill_after(4), checkpoint_every=0)
    rows = run_task(task("nerv"), folder=tmp_path).history
    assert [r.epoch for r in rows] == [1, 2, 3, 4, 5, 6]
    assert all(a.seconds < b.seconds for a, b in pairwise(rows))


def test_a_kill_while_writing_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KilledError):
        run_task(task("nerv"), folder=tmp_path, watch=kill_after(4), checkpoint_every=0)
    kept = (tmp_path / CHECKPOINT).read_bytes()

    def half_written(path: Path, data: memoryview) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half_written)
        with pytest.raises(KilledError):
            run_task(task("nerv"), folder=tmp_path, checkpoint_every=0)
    assert (tmp_path / CHECKPOINT).read_bytes() == kept
    assert same(run_task(task("nerv"), folder=tmp_path), run_task(task("nerv")))


@pytest.mark.parametrize(
    ("name", "epochs", "wanted"), [("ffn", 40, 26), ("siren", 40, 24), ("nerv", 150, 20), ("hnerv", 100, 20)]
)
def test_fits_learn_the_scene(name: str, epochs: int, wanted: float) -> None:
    job = task(name, epochs=epochs)
    fitted = run_task(job)
    with torch.no_grad():
        errors = [(fitted.model.render(i) - frame).square().mean() for i, frame in enumerate(job.frames)]
    reached = -10 * math.log10(float(torch.stack(errors).mean()))
    assert reached > wanted
    assert fitted.history[-1].psnr > fitted.history[0].psnr + 5
    assert not fitted.model.training


def test_the_best_network_is_kept_not_the_last() -> None:
    """A learning rate that jumps about: the last step is far from the best one."""
    job = task("ffn", epochs=40, learning_rate=0.3, schedule="constant", parts=1)
    fitted = run_task(job)
    with torch.no_grad():
        error = float((fitted.model.render(0) - job.frames[0]).square().mean())
    losses = [row.loss for row in fitted.history]
    assert error == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) < 0.9 * losses[-1]


def test_batches_see_each_frame_once_an_epoch() -> None:
    seen: list[int] = []
    job = task("nerv", epochs=3)
    model_class = job.family.model

    def spying(config: object) -> models.INR:
        model = model_class(config)
        plain = model.items

        def items(frames: Tensor) -> object:
            inner = plain(frames)
            return replace(inner, predict=lambda chosen: (seen.extend(chosen.tolist()), inner.predict(chosen))[1])

        model.items = items  # type: ignore[method-assign]
        return model

    run_task(replace(job, family=replace(job.family, model=spying), recipe=replace(job.recipe, batch=2)))
    epochs = [seen[:5], seen[10:15]]  # an evaluation follows each epoch
    assert [sorted(e) for e in epochs] == [list(range(5))] * 2
    assert epochs[0] != epochs[1]


def test_schedules_start_warm_and_end_cold() -> None:
    cosine = SCHEDULES["cosine_0.1"]
    assert cosine(0) == pytest.approx(0.1)
    assert cosine(0.1) == pytest.approx(1)
    assert cosine(0.55) == pytest.approx(0.5)
    assert cosine(1) == pytest.approx(0, abs=1e-12)
    assert SCHEDULES["cosine"](0.05) == pytest.approx(1)
    assert SCHEDULES["constant"](0.7) == 1


def test_another_task_is_refused_with_what_differs(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run_task(task("nerv"), folder=tmp_path, watch=kill_after(3), checkpoint_every=0)
    with pytest.raises(RunError, match=re.escape("unfinished fit with recipe.epochs 6 instead of 9")):
        run_task(task("nerv", epochs=9), folder=tmp_path)
    with pytest.raises(RunError, match="other frames"):
        run_task(replace(task("nerv"), frames=scene(5).flip(0)), folder=tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(RunError, match="not a readable checkpoint"):
        run_task(task("nerv"), folder=tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"format": 1, "task": Malicious()}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match="not a readable checkpoint"):
        run_task(task("nerv"), folder=tmp_path)
    assert not (tmp_path / "executed").exists()


def test_errors() -> None:
    with pytest.raises(ModelError, match=re.escape("made for frames (5, 3, 32, 32), the clip has (4, 3, 32, 32)")):
        run_task(replace(task("nerv"), frames=scene(4)))
    with pytest.raises(ModelError, match="choose a learning rate below"):
        run_task(replace(task("ffn"), frames=scene(1) * 1e30))  # its squared error is no float32
    with pytest.raises(ModelError, match="the option schedule cannot be 'step'"):
        Recipe(1, 1e-3, schedule="step")
    with pytest.raises(ModelError, match="epochs cannot be 0"):
        Recipe(0, 1e-3)


def moving_clip() -> Clip:
    y, x = np.indices((16, 32)) / 16.0
    frames = [np.stack([np.sin(3 * x + t), np.cos(2 * y - t), x * y / 2]) / 2 + 0.5 for t in range(3)]
    return Clip(torch.from_numpy(np.stack(frames)).float(), ("0", "1", "2"))


def test_a_fit_ends_where_it_is_good_enough(tmp_path: Path) -> None:
    how: dict[str, Any] = {"epochs": 400, "fc_dim": 6, "levels": 4, "strides": (4, 2)}
    run = xinc.fit("nerv", moving_clip(), psnr=22.0, out=tmp_path / "run", **how)
    assert 1 < len(run.epochs) < 400
    assert float(run.psnr().mean()) >= 22.0
    again = xinc.fit("nerv", moving_clip(), psnr=22.0, out=tmp_path / "run", **how)  # the same command reads it back
    assert len(again.epochs) == len(run.epochs)
    with pytest.raises(RunError, match=r"until.psnr 22.0 instead of 30.0"):
        xinc.fit("nerv", moving_clip(), psnr=30.0, out=tmp_path / "run", **how)
    whole = xinc.fit("nerv", moving_clip(), epochs=4, psnr=99.0, **{k: v for k, v in how.items() if k != "epochs"})
    assert len(whole.epochs) == 4


def test_a_fit_ends_after_some_minutes() -> None:
    run = xinc.fit("nerv", moving_clip(), epochs=100_000, minutes=0.02, fc_dim=6, levels=4, strides=(4, 2))
    assert 1 <= len(run.epochs) < 100_000
    assert run.epochs[-1].seconds < 10
    with pytest.raises(ModelError, match="minutes"):
        xinc.fit("nerv", moving_clip(), minutes=0)


def test_commands_take_targets_and_recipes(tmp_path: Path) -> None:
    from click_free import one_line
    from click_free import xinc as command

    ran = command("fit", "astronaut", "--model", "ffn", "--size", "16x16", "--psnr", "12", "--out", str(tmp_path / "r"))
    assert ran.code == 0, ran.err
    assert " epochs" in ran.out + ran.err
    bad = command("fit", "astronaut", "--model", "ffn", "--recipe", "slow", "--out", str(tmp_path / "s"))
    assert one_line(bad) == "xinc: no recipe is called 'slow'; choose from fast, paper"
    assert not (tmp_path / "s").exists()
    paper = Fitting("ffn", recipe="paper")
    assert RECIPES[paper.recipe](family("ffn")).epochs == family("ffn").plain.epochs
