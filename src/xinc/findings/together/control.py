"""The control of what neurons do together: the same network with random weights."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from xinc.run import Run


def random_network(run: Run, seed: int = 0) -> Run:
    """The run with every weight and bias drawn anew from a normal distribution of the tensor's own mean and spread.

    What a network of this shape does before it has learnt anything of its signal; inputs, fixed frequencies and
    activations stay.

    Args:
        run: any.
        seed: of what is drawn.

    Returns:
        A run without a folder.
    """
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(run.model)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = parameter.std(correction=0) if parameter.numel() > 1 else parameter.abs().mean()
            drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.copy_(parameter.mean() + spread * drawn)
    return replace(run, model=model.eval(), path=None)
