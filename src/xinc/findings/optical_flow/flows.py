"""Optical flow in place of DIS (Fig. 9): files that were made elsewhere, or RAFT's when a frame is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from xinc import budget
from xinc.errors import FindingError
from xinc.findings.optical_flow import raft
from xinc.findings.results import fingerprint
from xinc.findings.section4.motion import Flow, FlowField
from xinc.notation import Array
from xinc.signals.clip import Clip
from xinc.signals.segments import common_stem

FlowsOf = Callable[[Clip], Mapping[int, Flow]]
"""What moves in a clip, by frame."""

SUFFIXES = (".flo", ".npy")
FARTHEST = 1e6
"""Pixels that anything can move: Middlebury's files say 10^9 where nothing is known."""
_MAGIC = 202021.25
"""First number of a .flo file (Baker et al., Middlebury 2007)."""


@dataclass(frozen=True, eq=False)
class Computed(Mapping[int, Flow]):
    """Flow into every frame of a clip but the first, computed each time that it is asked for.

    Attributes:
        clip: the clip.
        estimate: from the earlier and the later frame, ``(3, H, W)`` in [0, 1].
        made_by: the estimator and what its flow depends on besides the frames.
    """

    clip: Clip
    estimate: Callable[[Tensor, Tensor], Flow]
    made_by: str

    def __getitem__(self, frame: int) -> Flow:
        if frame not in self:
            raise KeyError(frame)
        return self.estimate(self.clip.frame(frame - 1), self.clip.frame(frame))

    def __contains__(self, frame: object) -> bool:
        return frame in range(1, len(self.clip))

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, len(self.clip)))

    def __len__(self) -> int:
        return len(self.clip) - 1


def key_of(flows: Mapping[int, Flow], frame: int) -> str:
    """A short name of a frame's flow, equal where it is the same.

    Flow that is computed is named by what computes it: to look for kept results need not compute it, and the last bits
    of one machine are not those of another.
    """
    if isinstance(flows, Computed):
        return flows.made_by
    flow = flows[frame]
    return f"{flow.source} {fingerprint([flow.velocity, flow.uncovered])}"


def chosen_flows(choice: str, clips: Sequence[Clip]) -> FlowsOf:
    """Optical flow by a word or a path, as the command line takes it; a path that exists wins over a word.

    Args:
        choice: a folder for :func:`read_flows`; ``"raft"``, ``"raft-small"`` or a file of weights for
            :func:`xinc.findings.optical_flow.raft.load`.
        clips: whose flow will be asked for.

    Raises:
        FindingError: it is neither, no clip has two frames, a folder would serve clips of several sources, or RAFT is
            not to be had.
        CheckpointError: a file holds no weights of RAFT.
    """
    path = Path(choice)
    moving = [clip for clip in clips if len(clip) > 1]
    if not moving:
        raise FindingError(f"{choice} finds no optical flow between frames where there is one frame; leave --flows out")
    if path.is_dir():
        if len({clip.source for clip in moving}) > 1:
            raise FindingError(f"the flows in {path} belong to one clip; give runs of different clips one by one")
        return lambda clip: read_flows(path, clip.names, clip.size) if len(clip) > 1 else {}
    if choice not in raft.NAMES and not path.is_file():
        raise FindingError(
            f"there is no folder of flows {path}, nor a file of weights; RAFT goes by {' or '.join(raft.NAMES)}"
        )
    estimator = raft.load(path if path.is_file() else choice)
    return lambda clip: Computed(clip, estimator, estimator.made_by)


def read_flows(folder: Path, names: Sequence[str], size: tuple[int, int]) -> dict[int, Flow]:
    """The flows in a folder by the frame that they belong to.

    A file has the stem of the *later* frame of a pair and holds, for each of its pixels, where that is in the frame
    before: (x, y) in pixels of the file's own size, as ``flow(later, earlier)`` gives it. What it uncovers is unknown.

    Args:
        folder: of ``.flo`` files (Middlebury) or ``.npy`` files ``(H, W, 2)`` or ``(2, H, W)``.
        names: the frames' names, in order.
        size: ``(H, W)`` of the frames; flow of the same aspect is resized.

    Raises:
        FindingError: there is no such folder, no file belongs to a frame, a file is unreadable or of another aspect.
    """
    if not folder.is_dir():
        raise FindingError(f"there is no folder of flows {folder}")
    files = {common_stem(p.stem): p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES}
    matched = {i: files[stem] for i, name in enumerate(names) if i and (stem := common_stem(name)) in files}
    if not matched:
        raise FindingError(
            f"no .flo or .npy file in {folder} has the stem of a frame after the first, such as {names[-1]}"
        )
    return {i: Flow(-_fitted(_read(path), size, path), np.zeros(size, bool), "given") for i, path in matched.items()}


def _read(path: Path) -> Array:
    """Displacements ``(2, H, W)``, x and y."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        found = _read_flo(path) if path.suffix == ".flo" else _read_npy(path)
    except FindingError:
        raise
    except Exception as damage:  # the header of an array is read as Python, which a damaged one can break anywhere
        raise FindingError(f"{path} cannot be read as optical flow ({_short(damage)})") from None
    if found.ndim == 3 and found.shape[0] != 2 and found.shape[2] == 2:
        found = found.transpose(2, 0, 1)
    if found.ndim != 3 or found.shape[0] != 2 or not found.size or not np.isfinite(found).all():
        raise FindingError(f"{path} is no optical flow: give finite numbers of shape (H, W, 2), not {found.shape}")
    if float(np.abs(found).max()) > FARTHEST:
        raise FindingError(
            f"{path} moves a pixel by {np.abs(found).max():.3g} pixels; give flow in pixels of the frames"
        )
    return found


def _short(damage: BaseException) -> str:
    return f"{(str(damage).splitlines() or [type(damage).__name__])[0]:.120}"


def _read_flo(path: Path) -> Array:
    head = np.fromfile(path, "<f4", 1), np.fromfile(path, "<i4", 2, offset=4)
    if head[0].size < 1 or head[0][0] != _MAGIC or head[1].size < 2:
        raise ValueError("it does not begin as a .flo file does")
    width, height = (int(n) for n in head[1])
    if min(width, height) < 1 or path.stat().st_size < 12 + 8 * width * height:
        raise ValueError(f"its header says {height}×{width} pixels, which it does not hold")
    budget.flow(path, height, width)
    return np.fromfile(path, "<f4", 2 * width * height, offset=12).reshape(height, width, 2)


def _read_npy(path: Path) -> Array:
    """A file's numbers, as much as it has: its header may say anything."""
    held = np.lib.format.open_memmap(path, mode="r")
    if held.ndim != 3 or held.dtype.kind not in "fiu" or 2 not in (held.shape[0], held.shape[2]):
        raise ValueError(f"it holds {held.dtype} of shape {held.shape}, not numbers of shape (H, W, 2)")
    budget.flow(path, held.size // 2, 1)
    return np.array(held)


def _fitted(flow: Array, size: tuple[int, int], path: Path) -> FlowField:
    """The flow on a grid of another size, in pixels of that grid."""
    import cv2

    height, width = flow.shape[1:]
    if abs(height * size[1] / (width * size[0]) - 1) > 0.02:
        raise FindingError(
            f"{path} is {height}×{width} (height × width), which is no multiple of the frames' {size[0]}×{size[1]}; "
            "make the flow of the frames that the network was fitted to"
        )
    scale = np.array([size[1] / width, size[0] / height], dtype=np.float32)[:, None, None]
    planes = [cv2.resize(np.ascontiguousarray(p, np.float32), size[::-1], interpolation=cv2.INTER_AREA) for p in flow]
    return np.asarray(np.stack(planes) * scale, dtype=np.float32)
