"""A run's network as a small file, and how small and how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xinc.run import load
from xinc.workflow.stages import Stage, silent

NAME = "network.xinc"
"""The file in a run's folder, where none is named."""


def export_folder(
    folder: Path, out: Path | None = None, bits: int = 8, *, measured: bool = True, stage: Stage = silent
) -> tuple[Path, list[dict[str, Any]]]:
    """Write the network of a run; see :meth:`xinc.run.Run.export`.

    Args:
        folder: of the run.
        out: the file; :data:`NAME` in the run's folder where None.
        bits: of a weight before entropy coding, 2 to 8.
        measured: whether the file is read back and compared with the signal, and with x264.
        stage: shows a long step.

    Returns:
        The file, and rows of what was measured: what, bytes, bits a pixel, PSNR in dB.

    Raises:
        RunError, ModelError: the folder holds no run, or its network cannot be coded.
    """
    run = load(folder)
    path = run.export(folder / NAME if out is None else out, bits)
    if not measured:
        return path, []
    from xinc.findings.sizes.sizes import measure

    with stage("Measuring it, and x264 beside it") as progress:
        return path, measure(run, bits, progress).rows()
