"""Runs of tiny networks, fitted and analysed in a moment: what reports and commands are tried on."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch

from xinc.run import Run
from xinc.signals.clip import Clip
from xinc.signals.labels import Segment, Segments
from xinc.workflow.job import Analysing, analyse_run
from xinc.workflow.job import fit as fit_run

SIZE, FRAMES = (32, 64), 3
ANALYSING = Analysing(
    frames=(0, 2),
    options={"clusters": 4, "restarts": 1, "shifts": 2, "shuffles": 1, "sample": 8, "count": 4},
    embed=False,
)


def clip() -> Clip:
    """A bright square that moves over a ramp, with its masks."""
    y, x = np.indices(SIZE) / np.array(SIZE)[:, None, None]
    frames, labels = [], {}
    for t in range(FRAMES):
        square = (abs(x - 0.3 - 0.1 * t) < 0.12) & (abs(y - 0.5) < 0.25)
        ball = (x - 0.8) ** 2 + (y - 0.3) ** 2 < 0.02
        frames.append(
            np.stack([np.where(square, 0.9, 0.3 * x), np.where(ball, 0.8, 0.4 * y), 0.2 + 0.2 * np.sin(20 * x)])
        )
        labels[t] = (square + 2 * ball + 3 * ((y > 0.8) & ~square)).astype(np.int32)
    table = (
        Segment(0, "other", "other"),
        Segment(1, "toy", "thing", 0),
        Segment(2, "toy", "thing", 1),
        Segment(3, "floor", "stuff"),
    )
    tensor = torch.from_numpy(np.stack(frames)).float()
    return Clip(tensor, tuple("abc"), 25.0, Segments(labels, table), "toys/frames")


@cache
def folder() -> Path:
    """A folder that lives as long as the tests: several files of them use what is made once."""
    made = Path(tempfile.mkdtemp(prefix="xinc-tests-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def runs() -> list[Run]:
    """A NeRV of the clip and an FFN of its first frame, with their findings."""
    made = [
        fit_run("nerv", clip(), epochs=2, fc_dim=6, levels=4, strides=(4, 2), out=folder() / "nerv"),
        fit_run("ffn", clip(), epochs=3, width=12, frequencies=8, out=folder() / "ffn"),
    ]
    for run in made:
        analyse_run(run, ANALYSING)
    return made


@cache
def page_of_runs() -> Path:
    """The report on them."""
    from xinc.show.report import report

    return report(runs(), folder() / "page" / "report.html", embed=False)
