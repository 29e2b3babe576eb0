"""Training a fitted network on, with the weights that are zero held at zero, or with some of them fading away."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import chain, count, islice

import torch
from torch import Tensor

from xinc.errors import ModelError
from xinc.models.base import INR, Items
from xinc.models.fitting.fit import batches_of, deterministic, squared_errors
from xinc.models.recipe import SCHEDULES, Recipe

FADED = 1e-3
"""What is left of a fading weight after half of the steps."""

CAUTION = 0.2
"""Share of the recipe's learning rate: a network that is fitted would be thrown off by all of it."""


def tune(
    model: INR,
    frames: Tensor,
    recipe: Recipe,
    steps: int,
    *,
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
    fading: Mapping[str, Tensor] | None = None,
) -> None:
    """Change a network's weights in place by some steps of Adam; keeps the given ones where those were better.

    Weights that fade are decayed, and no others: to a thousandth over the first half of the steps, then they are zero,
    so that what they do is handed on while the network trains (targeted decay, as in AIRe, Schardong et al. 2025).

    The learning rate follows the recipe's schedule over the steps, from :data:`CAUTION` of the recipe's. On one machine
    the result depends on the arguments alone.

    Args:
        model: the network.
        frames: ``(T, 3, H, W)`` in [0, 1], what it represents.
        recipe: how its family is fitted.
        steps: of the optimiser, a batch each.
        seed: of the order of frames or pixels.
        watch: told the number of steps done.
        fading: which weights of a parameter fade, true where they do, by its name. The network is then never put back.

    Raises:
        ModelError: the error is no longer a number.
    """
    held = [(p, p == 0) for p in model.parameters()]
    rate, schedule = CAUTION * recipe.learning_rate, SCHEDULES[recipe.schedule]
    parameters = dict(model.named_parameters())
    gone = [(parameters[name], mask.to(parameters[name].device)) for name, mask in (fading or {}).items()]
    half = max(1, steps // 2)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate, betas=recipe.betas, fused=True)
    with deterministic():
        items = model.items(frames.to(model.device))
        before, loss = {k: v.detach().clone() for k, v in model.state_dict().items()}, _loss(items)
        total = len(items.targets)
        epochs = (batches_of(total, recipe.batch_of(total), seed, epoch, model.device) for epoch in count())
        for step, chosen in enumerate(islice(chain.from_iterable(epochs), steps)):
            for group in optimiser.param_groups:
                group["lr"] = rate * schedule(step / steps)
            optimiser.zero_grad()
            squared_errors(items, chosen).mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            with torch.no_grad():
                for parameter, zero in held:
                    parameter[zero] = 0
                for parameter, mask in gone:
                    parameter[mask] *= FADED ** (1 / half) if step < half else 0.0
            if watch:
                watch(step + 1)
        after = _loss(items)
    if not math.isfinite(after):
        raise ModelError(f"fine-tuning lost its footing: the error is {after} after {steps} steps; give fewer")
    if after > loss and not gone:
        model.load_state_dict(before)


@torch.no_grad()
def _loss(items: Items) -> float:
    """Mean squared error over everything."""
    numbers = torch.arange(len(items.targets), device=items.targets.device)
    size = max(1, (1 << 20) // items.targets[0].numel())
    parts = numbers.split(size)  # type: ignore[no-untyped-call]
    return float(torch.cat([squared_errors(items, part) for part in parts]).mean())
