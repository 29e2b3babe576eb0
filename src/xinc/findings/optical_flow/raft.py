"""Optical flow by RAFT (Teed and Deng, ECCV 2020), as torchvision keeps it. It is the extra ``xinc[raft]``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xinc.errors import CheckpointError, FindingError
from xinc.findings.results import fingerprint
from xinc.findings.section4.motion import Flow, there_and_back
from xinc.models.checkpoints.files import read_file
from xinc.models.checkpoints.names import weights_in
from xinc.notation import Array

NAMES: Mapping[str, str] = MappingProxyType({"raft": "raft_large", "raft-small": "raft_small"})
"""How a user calls a network, and how torchvision does."""
STEP, SMALLEST = 8, 128
"""Sides that RAFT takes are multiples of 8 pixels and no shorter than 128: its features are on an eighth of the grid,
which it halves three times."""


@dataclass(frozen=True, eq=False)
class Raft:
    """RAFT with its weights: call it with two frames.

    Attributes:
        network: takes two batches ``(N, 3, H, W)`` in [-1, 1] and returns refinements of ``(N, 2, H, W)``, where each
            pixel of the first is in the second: (x, y) in pixels.
        source: ``"RAFT"`` or ``"RAFT small"``.
    """

    network: nn.Module
    source: str

    @cached_property
    def made_by(self) -> str:
        """What the flow depends on besides the frames."""
        return f"{self.source} {fingerprint(self.network.state_dict().values())}"

    @torch.inference_mode()
    def __call__(self, previous: Tensor | Array, current: Tensor | Array) -> Flow:
        """Flow into the later frame, with what it uncovers, as :func:`xinc.findings.section4.motion.dis_flow` gives it.

        Args:
            previous: ``(3, H, W)`` in [0, 1], the earlier frame.
            current: the later frame.
        """
        place = next((weights.device for weights in self.network.parameters()), torch.device("cpu"))
        earlier, later = (torch.as_tensor(frame, dtype=torch.float32, device=place) for frame in (previous, current))
        height, width = later.shape[1:]
        top, left, bottom, right = margins((height, width))
        pair = nn.functional.pad(torch.stack([later, earlier]) * 2 - 1, (left, right, top, bottom), mode="replicate")
        found = self.network(pair, pair.flip(0))[-1][..., top : top + height, left : left + width]
        back, forth = np.ascontiguousarray(found.permute(0, 2, 3, 1).cpu().numpy(), dtype=np.float32)
        return there_and_back(back, forth, self.source)


def margins(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels to add at the top, left, bottom and right so that both sides suit RAFT."""
    more = [max(SMALLEST, -(-side // STEP) * STEP) - side for side in size]
    return more[0] // 2, more[1] // 2, more[0] - more[0] // 2, more[1] - more[1] // 2


def load(weights: str | Path) -> Raft:
    """RAFT with weights, on CUDA where there is one.

    Args:
        weights: ``"raft"`` or ``"raft-small"`` for those of torchvision, which downloads them once and keeps them in
            torch's cache; or the path of a file of them, safetensors or a torch file, read as data only.

    Raises:
        FindingError: torchvision is not to be had, or its weights are not.
        CheckpointError: the file is missing, damaged, or holds no weights of RAFT under torchvision's names.
    """
    models = _torchvision()
    if isinstance(weights, Path):
        name, network = _from_file(weights, models)
    else:
        name, network = weights, models.get_model(NAMES[weights], weights=None)
        network.load_state_dict(_downloaded(NAMES[weights], models))
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Raft(network.to(place).eval(), name.replace("raft", "RAFT").replace("-", " "))


def _torchvision() -> Any:
    """The module ``torchvision.models``."""
    remedy = "have both from one place: pip install 'xinc[raft]' in a new environment"
    try:
        from torchvision import models
    except ModuleNotFoundError:
        raise FindingError("optical flow by RAFT needs torchvision: pip install 'xinc[raft]'") from None
    except (ImportError, RuntimeError, AttributeError, OSError) as reason:  # it was built for another torch
        raise FindingError(
            f"optical flow by RAFT needs a torchvision that fits torch {torch.__version__}; the one here does not "
            f"({_first_line(reason)}); {remedy}"
        ) from None
    return models


def _downloaded(name: str, models: Any) -> Mapping[str, Tensor]:
    """The weights that torchvision publishes."""
    published = models.get_model_weights(name).DEFAULT
    try:
        with redirect_stdout(sys.stderr):  # torch says on standard output, which is for results, that it downloads
            found: Mapping[str, Tensor] = published.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
    except Exception as reason:  # the network, the cache and the file have errors of their own
        raise FindingError(
            f"the weights of RAFT cannot be had ({_first_line(reason)}); fetch {published.url} where there is a "
            "network, and give the file: --flows FILE"
        ) from None
    return found


def _from_file(path: Path, models: Any) -> tuple[str, nn.Module]:
    """The network whose weights a file holds, and its name."""
    found = weights_in(read_file(path)[0], path)
    for name, theirs in NAMES.items():
        network: nn.Module = models.get_model(theirs, weights=None)
        if _shapes(network.state_dict().items()) == _shapes(found.items()):
            if not all(bool(torch.isfinite(values).all()) for values in found.values()):
                raise CheckpointError(f"{path} is damaged: not all of its weights are finite; fetch it again")
            network.load_state_dict(found)
            return name, network
    raise CheckpointError(
        f"{path} holds no weights of RAFT as torchvision names them; give a file that torchvision publishes, or the "
        f"state_dict() of its {' or '.join(NAMES.values())}"
    )


def _shapes(weights: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: getattr(values, "shape", None) for name, values in weights}


def _first_line(reason: BaseException) -> str:
    return f"{(str(reason).splitlines() or [type(reason).__name__])[0]:.160}"
