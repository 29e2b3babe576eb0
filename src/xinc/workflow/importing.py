"""Somebody else's weights become a run: checked before anything long starts, and measured afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xinc.damage import is_free
from xinc.errors import RunError
from xinc.imported import run_of
from xinc.models.checkpoints.importing import open_checkpoint
from xinc.models.families import family
from xinc.options.tables import IMPORTS
from xinc.run import Run
from xinc.signals.clip import Clip
from xinc.signals.frames import spread
from xinc.workflow.job import Source
from xinc.workflow.stages import Stage, silent


def import_run(
    path: str | Path,
    name: str | None,
    source: Source,
    out: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    stage: Stage = silent,
) -> Run:
    """Make a run of a checkpoint; nothing that is in its file is executed, and nothing in ``out`` is overwritten.

    Args:
        path: the weights; see :func:`xinc.models.checkpoints.importing.open_checkpoint`.
        name: family, a key of :data:`xinc.models.families.FAMILIES`; None for what the file says, or its names tell.
        source: the signal that the network represents. Decoders decide its size; for networks that make any, it is
            reduced as for a fit where no size is given.
        out: folder of the run, which must be empty or absent.
        settings: fields of the family's configuration that are known, such as ``{"activation": "relu"}``.
        stage: shows a long step.

    Raises:
        RunError: there is something in the folder already.
        CheckpointError: the file is unreadable or of another family.
        ModelError: unknown family or setting, or the network does not make frames of the size asked for.
        SignalError: the signal cannot be opened.
    """
    if name is not None:
        IMPORTS[family(name).name].check(settings or {})  # a wrong word is said before a large file is read
    checkpoint = open_checkpoint(path)
    name = name or checkpoint.told_family
    still, known = family(name).still, IMPORTS[name].check(settings or {})
    if not is_free(out):
        raise RunError(f"{out} exists and is not empty; an import never overwrites: choose another folder for the run")
    whole = replace(source, count=1 if still else source.count)

    def open_at(size: tuple[int, int] | None) -> Clip:
        with stage("Opening the signal"):
            return replace(whole, size=size).open()

    found = source.found_size()
    with stage("Reading the network"):
        run = run_of(checkpoint, name, open_at, found, source.size, known)
    with stage("Saving the run"):
        run.save(out)
    return replace(run, path=out)


def psnr_of_some(run: Run, count: int, *, stage: Stage = silent) -> Tensor:
    """Peak signal-to-noise ratio in dB of at most ``count`` frames spread over the clip, first and last among them."""
    chosen, found = spread(len(run.clip), max(1, count)), []
    with stage("Comparing with the signal") as progress:
        for number, frame in enumerate(chosen):
            progress(f"frame {frame}", number, len(chosen))
            found.append(run.psnr([frame]))
    return torch.cat(found)
