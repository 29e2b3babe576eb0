"""A synthetic clip whose truth is known to the pixel: textured objects move over a photograph.

It is the positive control of the analyses: what they must find (objects, motion, uncovered background) is given with
every frame. Objects move by whole pixels, so masks, flow and uncovered regions are exact and nothing is interpolated:
``frames[t + 1]`` at ``p + flow[t](p)`` equals ``frames[t]`` at ``p`` wherever that point is still seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from xinc.errors import SignalError
from xinc.notation import Mask, Size
from xinc.signals import samples
from xinc.signals.clip import Clip
from xinc.signals.labels import LabelMap, Segment, Segments
from xinc.signals.pictures import read_rgb
from xinc.signals.preprocess import Geometry

Index = NDArray[np.intp]

_LEAST = 32
_PHOTOGRAPHS = ("coffee", "chelsea", "astronaut", "rocket")
_SHAPES: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], Mask]] = {
    "disc": lambda y, x: y**2 + x**2 <= 1,
    "square": lambda y, x: np.maximum(abs(y), abs(x)) <= 0.85,
    "diamond": lambda y, x: abs(y) + abs(x) <= 1,
}
"""Category to shape, over coordinates from -1 to 1."""


@dataclass(frozen=True)
class _Thing:
    """What an object is made of, and where it goes: from ``start`` to ``far`` and back, centres in shares of the frame.

    ``radius`` is a share of the frame's height.
    """

    category: str
    instance: int
    texture: str
    tint: tuple[float, float, float]
    radius: float
    start: tuple[float, float]
    far: tuple[float, float]


_THINGS = (
    _Thing("square", 1, "grass", (0.7, 1.0, 0.5), 0.19, (0.66, 0.40), (0.66, 0.40)),
    _Thing("disc", 1, "brick", (0.8, 0.5, 1.0), 0.17, (0.30, 0.15), (0.34, 0.28)),
    _Thing("disc", 2, "gravel", (0.4, 0.8, 1.0), 0.15, (0.78, 0.62), (0.62, 0.47)),
    _Thing("diamond", 1, "brick", (1.0, 0.9, 0.3), 0.17, (0.28, 0.90), (0.22, 1.18)),
)
"""Back to front. The square stands still, the second disc passes over it, the diamond leaves the frame and returns."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip and the truth about it.

    Attributes:
        clip: frames (T, 3, H, W) with a label map for every frame: each object is a thing, the photograph is ``other``.
        flow: (T - 1, 2, H, W), float32: how many pixels what is seen in frame t moves until frame t + 1, along x
            (channel 0) and y (channel 1), as optical-flow programs give it.
        uncovered: (T, H, W), bool: pixels of frame t that show what was hidden, or out of sight, in frame t - 1; none
            in frame 0.
    """

    clip: Clip
    flow: NDArray[np.float32]
    uncovered: Mask

    def shuffled(self, seed: int = 0) -> Scene:
        """The control: the same frames, with the truth moved elsewhere by a random cyclic shift.

        Label maps, flow and uncovered regions keep their sizes, shapes and relations to each other, but no longer lie
        where the frames show them: an analysis that still finds them finds something else.
        """
        height, width = self.clip.size
        rng = np.random.default_rng(seed)
        # A quarter to three quarters of the frame, so that nothing stays where it was.
        shift = tuple(int(rng.integers(n // 4, n - n // 4 + 1)) for n in (height, width))
        segments = self.clip.segments
        if segments is not None:
            moved = {i: np.roll(plane, shift, (0, 1)) for i, plane in segments.labels.items()}
            segments = Segments(moved, segments.table)
        return Scene(
            clip=replace(self.clip, segments=segments, source=f"{self.clip.source}, shuffled by {shift}"),
            flow=np.roll(self.flow, shift, (2, 3)),
            uncovered=np.roll(self.uncovered, shift, (1, 2)),
        )


def scene(size: Size = (128, 256), frames: int = 16, seed: int = 0) -> Scene:
    """Four textured objects over a photograph: two of one category, one that stands still, one that leaves and returns.

    Args:
        size: (H, W) in pixels, at least 32 each.
        frames: number of frames.
        seed: which photograph it is, where objects start, which parts of textures they show; the same seed gives the
            same scene.

    Raises:
        SignalError: the size is below 32, or there is no frame.
    """
    if min(size) < _LEAST or frames < 1:
        raise SignalError(
            f"a synthetic scene has at least one frame of at least {_LEAST}×{_LEAST} pixels, not "
            f"{frames} of {size[0]}×{size[1]}"
        )
    rng = np.random.default_rng(seed)
    photograph = read_rgb(samples.path(_PHOTOGRAPHS[seed % len(_PHOTOGRAPHS)]))
    background = Geometry.of((photograph.shape[0], photograph.shape[1]), size).frame(photograph).numpy()
    stamps = [_stamp(thing, size, rng) for thing in _THINGS]
    paths = [_path(thing, size, frames, rng) for thing in _THINGS]

    pictures = np.repeat(background[None], frames, axis=0)
    owner = np.zeros((frames, *size), np.int32)
    for i, ((mask, texture), path) in enumerate(zip(stamps, paths, strict=True), start=1):
        for t in range(frames):
            inside, (rows, columns) = _placed(mask, path[t], size)
            pictures[t][:, rows, columns] = texture[:, *inside]
            owner[t, rows, columns] = i
    steps = np.stack([np.zeros((frames - 1, 2), int), *(np.diff(path, axis=0) for path in paths)], axis=1)
    flow = np.zeros((frames - 1, 2, *size), np.float32)
    for t in range(frames - 1):
        flow[t] = steps[t, owner[t]][..., ::-1].transpose(2, 0, 1)
    things = dict(enumerate(_THINGS, start=1))
    labels = {t: owner[t] for t in range(frames)}
    return Scene(
        clip=Clip(
            frames=torch.from_numpy(pictures),
            names=tuple(f"{t:05d}" for t in range(frames)),
            segments=Segments.of(labels, lambda i: Segment(i, things[i].category, "thing", things[i].instance)),
            source=f"synthetic scene, seed {seed}",
        ),
        flow=flow,
        uncovered=_uncovered(owner, steps),
    )


def _stamp(thing: _Thing, size: Size, rng: np.random.Generator) -> tuple[Mask, NDArray[np.float32]]:
    """An object's shape (s, s) and colours (3, s, s)."""
    side = max(5, round(2 * thing.radius * size[0]))
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, side)], indexing="ij")
    picture = read_rgb(samples.path(thing.texture))
    # Textures are shown at a quarter of their size, so that a small object shows bricks and not one brick.
    cut = min(4 * side, *picture.shape[:2])
    top, left = (int(rng.integers(0, n - cut + 1)) for n in picture.shape[:2])
    texture = Geometry.of((cut, cut), (side, side)).frame(picture[top : top + cut, left : left + cut]).numpy()
    return _SHAPES[thing.category](y, x), texture / texture.max() * np.array(thing.tint, np.float32)[:, None, None]


def _path(thing: _Thing, size: Size, frames: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Top left corner (T, 2) of an object's stamp, in whole pixels: to the far point in half the time, and back."""
    share = 1 - abs(1 - 2 * np.arange(frames) / frames)
    start = np.array(thing.start) + rng.uniform(-0.03, 0.03, 2)
    centre = start + share[:, None] * np.subtract(thing.far, thing.start)
    return np.rint(centre * size - thing.radius * size[0]).astype(np.intp)


def _placed(mask: Mask, corner: NDArray[np.intp], size: Size) -> tuple[tuple[Index, Index], tuple[Index, Index]]:
    """Where a stamp's pixels are: rows and columns in the stamp and in the frame, of those that lie in the frame."""
    rows, columns = np.nonzero(mask)
    y, x = rows + corner[0], columns + corner[1]
    inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
    return (rows[inside], columns[inside]), (y[inside], x[inside])


def _uncovered(owner: LabelMap, steps: NDArray[np.intp]) -> Mask:
    """(T, H, W): whether what a pixel shows was not seen in the frame before, at the place where it was then."""
    frames, height, width = owner.shape
    y, x = np.indices((height, width))
    uncovered = np.zeros(owner.shape, np.bool_)
    for t in range(1, frames):
        moved = steps[t - 1, owner[t]]
        before_y, before_x = y - moved[..., 0], x - moved[..., 1]
        inside = (before_y >= 0) & (before_y < height) & (before_x >= 0) & (before_x < width)
        before = owner[t - 1, before_y.clip(0, height - 1), before_x.clip(0, width - 1)]
        uncovered[t] = ~inside | (before != owner[t])
    return uncovered
