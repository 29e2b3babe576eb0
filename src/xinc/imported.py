"""Somebody else's weights and their signal as a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from xinc.errors import ModelError
from xinc.models.checkpoints.importing import Checkpoint, import_network, open_checkpoint
from xinc.models.families import family
from xinc.options.tables import IMPORTS
from xinc.run import Run
from xinc.signals.clip import Clip


def import_checkpoint(
    path: str | Path,
    name: str | None,
    signal: Clip | str | Path,
    *,
    size: tuple[int, int] | None = None,
    out: str | Path | None = None,
    **settings: Any,
) -> Run:
    """Turn somebody else's weights into a run, without executing anything that is in their file.

    Known are what :meth:`xinc.run.Run.export` writes,
    the NeRV and HNeRV code's checkpoints (plain, 8-bit, with the ConvNeXt encoder), the original NeRV's, the
    paper's FFN and SIRENs of the common packages. What the weights' shapes leave open is chosen by the fit to the
    signal; the run's ``settings["notes"]`` say what was chosen, converted and left out.

    Args:
        path: the weights.
        name: family, a key of :data:`xinc.models.families.FAMILIES`; None for what the file says, or its names tell.
        signal: the clip that the network represents, or a path (or sample) that :func:`xinc.open` knows: it is cropped
            and resized to what the network makes.
        size: ``(H, W)`` for networks that make any size (ffn, siren); the signal's own unless said.
        out: folder to save the run in.
        **settings: fields of the family's configuration that are known, such as ``activation="relu"``.

    Raises:
        CheckpointError: the file is unreadable or of another family; the message lists what differs.
        ModelError: unknown family or setting, or the signal has a size that the network does not make.
        SignalError: the signal cannot be opened.
    """
    from xinc.signals.reading import open as open_clip

    checkpoint = open_checkpoint(path)
    name = name or checkpoint.told_family
    row = family(name)
    IMPORTS[name].check(settings)
    if isinstance(signal, Clip):
        whole = signal[0] if row.still else signal
        run = run_of(checkpoint, name, lambda _: whole, whole.size, whole.size, settings)
    else:
        count = 1 if row.still else None
        found = open_clip(signal, count=1).size
        run = run_of(checkpoint, name, lambda made: open_clip(signal, size=made, count=count), found, size, settings)
    return replace(run, path=run.save(out)) if out is not None else run


def run_of(
    checkpoint: Checkpoint,
    name: str,
    open_at: Callable[[tuple[int, int] | None], Clip],
    found: tuple[int, int],
    asked: tuple[int, int] | None,
    settings: Mapping[str, Any],
) -> Run:
    """A run of somebody else's weights and their signal.

    A portrait clip is tried as a NeRV's loader turns it too: with rows and columns exchanged. What fits better stays.

    Args:
        checkpoint: the weights.
        name: family.
        open_at: the signal in a size ``(H, W)``, None for its own.
        found: size of the signal as it is.
        asked: size that somebody wants.
        settings: fields of the family's configuration that are known.

    Raises:
        CheckpointError, ModelError, SignalError: as :func:`import_checkpoint`.
    """
    runs, refused = [], []
    for turned in (False, True) if name == "nerv" and found[0] > found[1] else (False,):
        try:
            made = checkpoint.frame_size(
                name, found[::-1] if turned else found, asked[::-1] if turned and asked else asked
            )
            clip = open_at(made[::-1] if turned and made else made)
            clip = clip.transposed() if turned else clip
            network = import_network(checkpoint, name, clip.frames, settings)
        except ModelError as reason:
            refused.append(reason)
            continue
        notes = [*network.notes, *([TURNED] if turned else [])]
        kept = {"imported": str(checkpoint.path), "psnr": round(network.psnr, 2), "notes": notes}
        runs.append((network.psnr, Run(name, network.model, clip, (), kept)))
    if not runs:
        raise refused[0]
    return max(runs, key=lambda run: run[0])[1]


TURNED = (
    "the network shows the frames with rows and columns exchanged, as the original NeRV's loader turns portrait clips"
)
