"""What hostile things are tried on: a picture, frames with masks, a run of each kind, a study; all tiny."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import xinc
from xinc.signals.clip import Clip
from xinc.signals.labels import Segment, Segments

SIZE, FRAMES = (16, 32), 3


def make(folder: Path) -> Path:
    """Write all of it into a folder, and give that."""
    rng = np.random.default_rng(0)
    (folder / "frames").mkdir(parents=True)
    for i in range(FRAMES):
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(folder / "frames" / f"{i:05d}.png")
    Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / "picture.png")
    frames = torch.from_numpy(rng.random((FRAMES, 3, *SIZE), dtype=np.float32))
    table = (Segment(0, "other", "other"), Segment(1, "toy", "thing", 0))
    masks = Segments({i: np.indices(SIZE)[1].astype(np.int32) // 16 for i in range(FRAMES)}, table)
    names = tuple(f"{i:05d}" for i in range(FRAMES))
    clip = Clip(frames, names, 25.0, masks, "frames")
    xinc.fit("nerv", clip, epochs=1, fc_dim=4, levels=3, strides=(4, 2), out=folder / "nerv")
    xinc.fit("ffn", clip, epochs=1, width=6, frequencies=4, out=folder / "ffn")
    (folder / "study.toml").write_text('[study]\nmodels = ["ffn"]\n[[signal]]\npath = "picture.png"\n')
    return folder
