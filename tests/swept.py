"""Tiny studies, and what sweeps of them are compared by."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xinc.sweep.table import TABLE

TINY = """
[study]
models = ["ffn"]
seeds = [0, 1]
epochs = 2
methods = ["exact"]
layers = ["layer3"]
draws = 20

[study.settings]
restarts = 1
shifts = 2
sample = 8
clusters = 3

[[model]]
name = "wide"
family = "ffn"
width = 12

[[signal]]
path = "pictures/*.png"
models = ["wide"]
"""


def pictures(folder: Path, count: int = 2) -> Path:
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (16, 24, 3), np.uint8)).save(folder / "pictures" / f"p{i}.png")
    return folder


def study_in(folder: Path, text: str = TINY) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


@contextmanager
def threads(scheduler: str | None, workers: int | None, memory: int) -> Iterator[Any]:
    """A cluster of one thread in this process: its workers start at once, and count as workers elsewhere do."""
    import torch
    from distributed import Client, LocalCluster

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as local,
        Client(local) as client,
    ):
        try:
            yield client
        finally:
            torch.set_num_threads(before)


def copied(swept: tuple[Path, Path], folder: Path) -> tuple[Path, Path]:
    shutil.copytree(swept[0].parent, folder, dirs_exist_ok=True)
    return folder / "study.toml", folder / "out"


def numbers(out: Path | str) -> pd.DataFrame:
    """The table of a sweep without how long it took."""
    table = pd.read_parquet(f"{out}/{TABLE}")
    return table[table["statistic"] != "seconds"].reset_index(drop=True)


def results(out: Path) -> dict[str, bytes]:
    """Every weight, and every number of every finding, to the bit."""
    import zarr

    found = {str(p.relative_to(out)): p.read_bytes() for p in out.glob("*/*/model.safetensors")}
    for document in out.glob("*/*/results.zarr/**/zarr.json"):
        if '"node_type": "array"' in document.read_text():
            values = zarr.open_array(document.parent, mode="r")[...]
            whole = np.asarray(values)
            found[str(document.parent.relative_to(out))] = (
                repr(whole.tolist()).encode() if whole.dtype.kind in "OT" else whole.tobytes()
            )
    return found


def make_swept(folder: Path) -> tuple[Path, Path]:
    """A finished sweep of four cells: its study file and its folder."""
    from xinc.sweep import sweep as module
    from xinc.sweep.study import read_study

    path, out = study_in(pictures(folder)), folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "cluster", threads)
        seen: list[tuple[int, int]] = []
        end = module.sweep(read_study(path), str(out), report=lambda now: seen.append((now.done, len(now.failed))))
    assert (end.done, end.cells, end.failed) == (4, 4, {})
    assert seen[0] == (0, 0)
    assert seen[-1] == (4, 0)
    return path, out
