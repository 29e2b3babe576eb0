"""Networks that several measurements share: a recipe besides the families' own, and the paper's FFN."""

from pathlib import Path

import numpy as np
import torch

from xinc.models.checkpoints.importing import open_checkpoint
from xinc.models.networks.ffn import FFN, FFNConfig
from xinc.models.recipe import Recipe
from xinc.run import Run
from xinc.signals.clip import Clip

STEEP = Recipe(epochs=60, learning_rate=5e-3, batch=1, schedule="cosine", betas=(0.9, 0.95))
"""A NeRV's quickest way to a high PSNR, and to large terms: five times the paper's learning rate."""


def published(path: Path) -> Run:
    """The paper's FFN of 128 x 256 pixels, with its own output as its signal; ``.npz`` holds ``weight.NAME`` arrays."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            names = [name for name in file.files if name.startswith("weight.")]
            weights = {name.removeprefix("weight."): torch.from_numpy(file[name]) for name in names}
    else:
        weights = open_checkpoint(path).weights
    model = FFN(FFNConfig((128, 256), 1)).eval()
    model.load_state_dict(weights)
    with torch.no_grad():
        frame = model.render(0).clamp(0, 1)
    return Run("ffn", model, Clip(frame[None], ("published",), 1.0, None, "its own output"))
