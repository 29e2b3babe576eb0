"""A run: a fitted network, its signal and its history, as one folder.

::

    model.safetensors   the weights, in the published naming
    config.json         family, network, recipe, seed, sizes, how the run came about
    signal/             the frames that it represents
    history.csv         one row an epoch
    results.zarr, figures/, report.html   what tracing, analysing and reporting add
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from xinc import budget
from xinc.below import below
from xinc.damage import check_content, part_of
from xinc.documents import read_json
from xinc.errors import PlaceError, RunError, SignalError
from xinc.files import check_folder, digest_of, locked, move, new_folder, reason, write_bytes, write_text
from xinc.models.base import INR, Config, bits_per_pixel, count_parameters, decibels
from xinc.models.checkpoints import coded
from xinc.models.families import configure, family
from xinc.models.fitting.fit import CHECKPOINT, Epoch, FitTask, read_history, run_task
from xinc.models.fitting.watching import watching
from xinc.models.recipe import Recipe
from xinc.notation import Image, PerFrame
from xinc.options.schema import shortened
from xinc.options.tables import FIT, RECIPE, RUN
from xinc.signals.clip import Clip
from xinc.signals.storage import DOCUMENT, FRAMES

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from xinc.canvas.methods import Method
    from xinc.canvas.reductions.store import Store
    from xinc.canvas.trace import Canvas

FORMAT = 1
WEIGHTS = "model.safetensors"
SEALED = (DOCUMENT, FRAMES)
"""Files of a signal that know nothing of damage; PNG images do."""
REDUCTIONS = "reductions"
"""Folder of the reductions of a run's maps."""


@dataclass(frozen=True, eq=False)
class Run:
    """A network that represents a clip.

    Attributes:
        family: name of the network's family.
        model: the network, in evaluation mode.
        clip: the frames that it represents, as many as the network has.
        epochs: the history of its fit, one row an epoch; empty for imported networks.
        settings: what decided the fit (family, network, recipe, seed, digest of the frames), or how it was imported.
        path: the folder that it was saved to or loaded from, None if neither.
    """

    family: str
    model: INR
    clip: Clip
    epochs: tuple[Epoch, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        wanted = (self.config.frames, *self.config.size)
        if (len(self.clip), *self.clip.size) != wanted:
            raise RunError(
                f"the network makes {wanted[0]} frames of {wanted[1]}×{wanted[2]}, "
                f"the clip has {len(self.clip)} of {self.clip.size[0]}×{self.clip.size[1]}"
            )

    def __repr__(self) -> str:  # of all weights, epochs and settings it would be pages long
        place = "" if self.path is None else f", path={str(self.path)!r}"
        return f"Run({self.family!r}, clip={self.clip!r}, parameters={self.parameters:,}{place})"

    @property
    def config(self) -> Config:
        """The network's description."""
        return self.model.config

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch: epoch, psnr (dB), loss, learning_rate, seconds."""
        import pandas as pd

        return pd.DataFrame(self.epochs, columns=list(Epoch._fields))

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return count_parameters(self.model)

    def bits_per_pixel(self, bits: int = 8) -> float:
        """Size relative to the signal, at ``bits`` a parameter; see :func:`xinc.models.base.bits_per_pixel`."""
        return bits_per_pixel(self.parameters, len(self.clip) * self.clip.size[0] * self.clip.size[1], bits)

    def input(self, frame: int = 0) -> Tensor:
        """What the network takes for one frame.

        Raises:
            ModelError: there is no such frame.
        """
        return self.model.frame_input(frame)

    def canvas(self, frame: int = 0, method: str | Method = "exact") -> Canvas:
        """All contribution maps of one frame, lazily: ``trace(run.model, run.input(frame), method=method)``.

        Reductions of a run in a folder are kept there, in ``reductions/``: whichever command makes one, no other makes
        it again while the network stays as it is.

        Raises:
            ModelError: there is no such frame.
            TraceError: there is no such method.
        """
        from xinc.canvas.trace import Canvas, trace

        canvas = trace(self.model, self.input(frame), method=method, size=self.clip.size)
        if self.path is None or not isinstance(method, str):
            return canvas
        return Canvas(canvas.plan, method, self._stores(frame))

    def _stores(self, frame: int) -> Callable[[str, str], Store]:
        """The files of one frame's reductions, by method and layer."""
        from xinc.canvas.reductions.store import Store

        assert self.path is not None  # the caller looked
        folder, state = self.path / REDUCTIONS, hashlib.blake2b(f"{version('xinc')} {self.clip.size}".encode())
        for values in (*self.model.state_dict().values(), self.input(frame)):
            state.update(values.detach().cpu().contiguous().numpy().tobytes())
        key = state.hexdigest()[:24]
        return lambda method, layer: Store(folder / method / f"{layer}-{frame}.safetensors", f"{method}-{key}")

    @torch.no_grad()
    def render(self, frame: int = 0) -> Image:
        """The frame as the network shows it, ``(3, H, W)``, clamped to [0, 1].

        Raises:
            ModelError: there is no such frame.
        """
        return self.model.render(frame).clamp(0, 1)

    def psnr(self, frames: Iterable[int] | None = None) -> PerFrame:
        """Peak signal-to-noise ratio of each frame in dB, ``(T,)``, the network's values clamped to [0, 1].

        Args:
            frames: which ones, by number; all if not given.
        """
        chosen = range(len(self.clip)) if frames is None else frames
        errors = [(self.render(i) - self.clip.frame(i).to(self.model.device)).double().square().mean() for i in chosen]
        return decibels(torch.stack(errors)).cpu()

    def analyse(self, **how: Any) -> xr.DataTree:
        """:func:`xinc.findings.analyse.analyse` of this run: ``run.analyse()["grouping/exact/block3"]``."""
        found: xr.DataTree = below("findings.analyse", "analyse")(self, **how)
        return found

    def report(self, path: str | Path | None = None, **how: Any) -> Path:
        """:func:`xinc.show.report.report` on this run, into its own folder where ``path`` is None; the page's path."""
        page: Path = below("show.report", "report")(self, path, **how)
        return page

    def export(self, path: str | Path, bits: int = 8) -> Path:
        """The network in ``bits`` bits a weight, entropy-coded, as ``xinc import`` reads it; the file's path.

        Raises:
            ModelError: ``bits`` is not 2 to 8, or a weight is no finite number.
        """
        return coded.write(self.model, path, bits)

    def explore(self, *, server: bool = False, port: int | None = None) -> Any:
        """The page where one points at a pixel, inline in a notebook; ``.save(path)`` writes it as one file.

        Args:
            server: whether a server in this process answers (any method, all digits, larger clips; ``.close()`` ends
                it), not the network in the page itself.
            port: of the server; None for the usual one, or the next that is free.

        Raises:
            RunError: its frames are too many for a file, or the port is taken.
        """
        return below("explore.notebook", "explore_run")(self, server=server, port=port)

    def plot(self, figure: str, *, method: str | None = None) -> Figure:
        """A figure of the report, fit for a paper: ``run.plot("grouping").savefig("grouping.pdf")``.

        Args:
            figure: ``"grouping"``, ``"intensity"``, ``"gallery"``, ... ; a wrong name lists those that the run has.
            method: definition of the maps; the report's where None.

        Raises:
            RunError: the run was not analysed, or has no such figure.
        """
        found: Figure = below("show.plots", "plot_run")(self, figure, method)
        return found

    def _repr_html_(self) -> str:
        text: str = below("show.notebook", "of_run")(self)
        return text

    def save(self, folder: str | Path) -> Path:
        """Write the run; what tracing and analysing added to the folder stays. Returns the folder.

        Each part takes its place when it is complete, the description last.

        Raises:
            RunError: the folder cannot be written, or another process writes there.
        """
        folder = Path(folder)
        with locked(folder, "saving a run"):
            try:
                self._save(folder)
            except OSError as fault:
                raise PlaceError(f"{fault.filename or folder} cannot be written: {reason(fault)}") from None
        return folder

    def _save(self, folder: Path) -> None:
        with new_folder(folder) as made:
            self.clip.save(made)
            files = {f"signal/{name}": digest_of(made / name) for name in SEALED if (made / name).exists()}
            move(made, folder / "signal", made.parent)
        values = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        for name, data in (("history.csv", self.history.to_csv(index=False).encode()), (WEIGHTS, save_tensors(values))):
            write_bytes(folder / name, data)
            files[name] = digest_of(folder / name)
        description = {
            "format": FORMAT,
            "family": self.family,
            "config": self.config.to_dict(),
            "parameters": self.parameters,
            "bits_per_pixel": round(self.bits_per_pixel(), 4),
            "settings": self.settings,
            "files": files,
        }
        write_text(folder / "config.json", json.dumps(description, indent=1))


def load(folder: str | Path, device: torch.device | str = "cpu") -> Run:
    """Read a run that :meth:`Run.save` or :func:`fit` wrote.

    Args:
        folder: the run's folder.
        device: where the network goes.

    Raises:
        RunError: the folder does not hold a complete run, or a part of it is damaged.
    """
    folder = Path(folder)
    description = _read_description(folder)
    model = part_of(folder, "config.json", lambda: _network(description))
    for name in (WEIGHTS, "history.csv", *(f"signal/{part}" for part in SEALED)):
        if (digest := description.get("files", {}).get(name)) is not None:
            part_of(folder, name, partial(check_content, folder / name, digest))
    weights = part_of(folder, WEIGHTS, lambda: load_tensors((folder / WEIGHTS).read_bytes()))
    part_of(folder, WEIGHTS, lambda: model.load_state_dict(weights))
    clip = part_of(folder, "signal", lambda: Clip.load(folder / "signal"))
    epochs = part_of(folder, "history.csv", lambda: tuple(read_history(folder / "history.csv")))
    model = model.to(device).eval()
    return Run(description["family"], model, clip, epochs, description["settings"], folder)


def fit(
    name: str,
    clip: Clip,
    *,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    batch: int | None = None,
    seed: int = 0,
    frame: int = 0,
    device: torch.device | str | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    checkpoint_every: float = 20.0,
    psnr: float | None = None,
    minutes: float | None = None,
    params: float | None = None,
    bpp: float | None = None,
    **options: Any,
) -> Run:
    """Fit a network of a family to a clip.

    Networks of one frame (``ffn``, ``siren``) are fitted to ``frame``; the run's clip is that frame alone. On one
    machine the result depends on the arguments alone: a fit with ``out`` that was killed goes on from its last
    checkpoint and ends with the same bits as one that was not, and a finished one is read back.

    Args:
        name: family, a key of :data:`xinc.models.families.FAMILIES`.
        clip: the signal.
        recipe: how to fit; the family's own unless given, and the next three change it. The paper's is
            ``xinc.models.family(name).plain``.
        epochs: passes over the frames.
        learning_rate: Adam's, before the schedule.
        batch: frames (or pixels, for networks of one frame) in a step.
        seed: of the initial weights and the frames' order.
        frame: which frame a network of one frame represents.
        device: CUDA where there is one, unless said.
        out: folder to save the run in, and to keep checkpoints in while it is not finished.
        progress: show a bar with the PSNR and the time left.
        checkpoint_every: seconds between checkpoints.
        psnr: dB, mean over frames, at which the fit ends before its last epoch.
        minutes: after which it ends with the best network so far, whatever comes first.
        params: wanted number of parameters, or ``bpp`` bits a pixel; see :func:`xinc.models.families.configure`.
        bpp: see ``params``.
        **options: the family's own, such as ``fc_dim`` or ``width``, and the recipe's (``schedule``, ``parts``,
            ``betas``); :mod:`xinc.options.tables` lists them.

    Raises:
        ModelError: unknown family or option, a size that the family cannot make, or settings that do not converge.
        SignalError: the clip has no such frame.
        RunError: ``out`` holds a fit with other settings.
    """
    row = family(name)
    checked = FIT.check(
        {"seed": seed, "frame": frame, "checkpoint_every": checkpoint_every, "psnr": psnr, "minutes": minutes}
    )
    seed, frame = checked["seed"], checked["frame"]
    changes = {key: options.pop(key) for key in RECIPE if key in options}
    changes |= {"epochs": epochs, "learning_rate": learning_rate, "batch": batch}
    if row.still:
        if not -len(clip) <= frame < len(clip):
            raise SignalError(f"frame {frame} does not exist: the clip has frames 0 to {len(clip) - 1}")
        clip = clip[frame]
    config = configure(name, clip.size, len(clip), params=params, bpp=bpp, **options)
    recipe = (recipe or row.recipe).change(**changes)
    task = FitTask(row, config, recipe, clip.frames, seed, checked["psnr"], checked["minutes"])
    folder, settings = Path(out) if out is not None else None, task.describe()
    if folder is not None:
        check_folder(folder)
    with locked(folder, f"fitting a {name}"):
        if folder is not None and (folder / "config.json").exists():
            run = _finished(folder, settings)
        else:
            with watching(progress, f"{name} {clip.size[0]}×{clip.size[1]}", recipe.epochs) as watch:
                done = run_task(task, device=device, folder=folder, watch=watch, checkpoint_every=checkpoint_every)
            run = Run(name, done.model, clip, done.history, settings, folder)
            if folder is not None:
                run.save(folder)
        if folder is not None:
            (folder / CHECKPOINT).unlink(missing_ok=True)
    return run


def _finished(folder: Path, settings: dict[str, Any]) -> Run:
    """The run that the folder holds, if it is the one that was asked for."""
    kept = _read_description(folder)["settings"]
    differing = sorted(k for k in {*kept, *settings} if kept.get(k) != json.loads(json.dumps(settings.get(k))))
    if differing:
        key = differing[0]
        what = "other frames" if key == "frames" else f"{key} {kept.get(key)} instead of {settings.get(key)}"
        raise RunError(f"{folder} holds a finished run with {what}; choose another folder or delete it")
    return load(folder)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        unfinished = (folder / CHECKPOINT).exists()
        what = "an unfinished fit: give the same xinc fit again to go on" if unfinished else "no run (no config.json)"
        raise RunError(f"{folder} holds {what}")
    description: dict[str, Any] = part_of(folder, path.name, lambda: read_json(path))
    if not isinstance(description, dict) or not {"family", "config", "settings"} <= set(description):
        raise RunError(f"{path} does not describe a run")
    if description.get("format") != FORMAT:
        kept = shortened(description.get("format"))
        raise RunError(f"{folder} holds a run of format {kept}; this version reads {FORMAT}")
    description = part_of(folder, path.name, lambda: RUN.check(description))
    notes = description["settings"].get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise RunError(f"{path} is damaged: the notes in its settings are no texts")
    return description


def _network(description: dict[str, Any]) -> INR:
    row = family(description["family"])
    config = row.config.from_dict(description["config"])
    with torch.device("meta"):
        outline = row.model(config)
    held = sum(value.numel() for value in (*outline.parameters(), *outline.buffers()))
    budget.weights(f"the {row.name} that it describes", held)
    return row.model(config)
