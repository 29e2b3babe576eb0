"""A run's network and frames as numbers that the page's own engine runs: weights at 16 bits, no state precomputed."""

from __future__ import annotations

import io
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xinc.canvas.network.plan import Plan
from xinc.explore.chain import RunnableChain
from xinc.models.base import Pixelwise
from xinc.models.networks.ffn import FFN
from xinc.models.parts import LAYOUTS
from xinc.run import Run

RUNNABLE = (
    "identity",
    "relu",
    "relu6",
    "leaky_relu",
    "gelu",
    "gelu_tanh",
    "silu",
    "sigmoid",
    "tanh",
    "tanh_unit",
    "softplus",
    "elu",
    "hardswish",
    "sin",
    "cos",
    "affine",
)
"""Activations that the engine knows (``engine/activations.js``)."""


def halved(run: Run) -> Run:
    """The run with its weights rounded to 16 bits, as the page has them; biases and inputs stay at 32."""
    model = deepcopy(run.model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter.copy_(parameter.half().float())
    return replace(run, model=model)


@dataclass(frozen=True)
class Network:
    """A network that the page can run.

    Attributes:
        stages: the chain, as ``engine/chain.js`` describes it, without its weights.
        arrays: ``weight<n>`` (f2) and ``bias<n>`` (f4) of each stage, and its inputs.
        input: how the inputs are made.
    """

    stages: list[dict[str, Any]]
    arrays: dict[str, Any]
    input: dict[str, Any]

    @classmethod
    def of(cls, run: Run) -> Network | None:
        """The network of a run; None where it is no plain chain, or has a function that the page does not know."""
        plan = run.canvas(0, "exact").plan
        source = _coordinates(run, plan.stages[0].input) if plan.pixelwise and plan.stages else _tensors(run)
        return None if source is None else cls._made(plan, *source)

    @classmethod
    def of_plan(cls, plan: Plan) -> Network | None:
        """A network as it ran once: what reached its first layer is kept as it is. None as in :meth:`of`."""
        chain = RunnableChain.of(plan)
        if chain is None:
            return None
        return cls._made(plan, {"kind": "tensor"}, {"inputs": chain.grid(0)[None].cpu().numpy().astype(np.float32)})

    @classmethod
    def _made(cls, plan: Plan, source: dict[str, Any], inputs: dict[str, Any]) -> Network | None:
        chain = RunnableChain.of(plan)
        if chain is None or any(stage.activation.name not in RUNNABLE for stage in plan.stages):
            return None
        arrays: dict[str, Any] = {}
        for n, stage in enumerate(plan.stages):
            arrays[f"weight{n}"] = stage.weight.detach().cpu().numpy().astype(np.float16)
            arrays[f"bias{n}"] = stage.bias_or_zero.detach().cpu().numpy().astype(np.float32)
        return cls(chain.describe(), arrays | inputs, source)


def _tensors(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """What reaches the first stage, of every frame."""
    first = [run.canvas(t, "exact").plan.stages[0].input for t in range(len(run.clip))]
    return {"kind": "tensor"}, {"inputs": torch.stack(first).detach().cpu().numpy().astype(np.float32)}


def _coordinates(run: Run, seen: Tensor) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Rows and columns of a pixel-wise network, and its Fourier frequencies; None where that is not what it sees."""
    model = run.model
    if not isinstance(model, Pixelwise):
        return None
    order = LAYOUTS[getattr(model.config, "layout", "axes_yx")][1]
    down, across = (0, 1) if order == "yx" else (1, 0)
    rows, columns = model.grid[:, 0, down].cpu(), model.grid[0, :, across].cpu()
    arrays: dict[str, Any] = {"rows": rows.numpy(), "columns": columns.numpy()}
    pair = [rows[:, None].expand(model.grid.shape[:2]), columns[None].expand(model.grid.shape[:2])]
    features = torch.stack(pair if order == "yx" else pair[::-1], -1).flatten(0, 1)
    if isinstance(model, FFN):
        arrays["frequencies"] = model.positional_encoding.B.cpu().numpy()
        angles = 2 * torch.pi * features.double() @ model.positional_encoding.B.cpu().double().T
        features = torch.cat([angles.sin(), angles.cos()], -1).float()
    if features.shape != seen.shape or not torch.allclose(features, seen.cpu(), atol=1e-3):
        return None
    return {"kind": "coordinates", "order": order}, arrays


def pictures(run: Run, budget: int = 6_000_000) -> list[bytes]:
    """The frames as WebP files, exact to 8 bits where all of them take ``budget`` bytes at most, else nearly so."""
    frames = [_bytes(run, t) for t in range(len(run.clip))]
    files = [_webp(frame, lossless=True) for frame in frames]
    return files if sum(map(len, files)) <= budget else [_webp(frame, lossless=False) for frame in frames]


def _bytes(run: Run, frame: int) -> NDArray[np.uint8]:
    values = run.clip.frame(frame).clamp(0, 1).mul(255).round().byte()
    return np.ascontiguousarray(values.permute(1, 2, 0).cpu().numpy())


def _webp(frame: NDArray[np.uint8], *, lossless: bool) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(frame).save(out, "WEBP", lossless=lossless, quality=80 if lossless else 95, method=4)
    return out.getvalue()
