"""From a frame as it was found to a frame of the wanted size, as in the paper: centre crop, then bicubic.

The paper resizes and crops all videos to 128×256 (section 4.1); its published pipeline cuts a 720×1280 frame to
640×1280 and reduces that by a bicubic filter. :class:`Geometry` says the same for any size: the largest centred box of
the target's aspect, then a resize. One geometry moves frames and label maps alike, so that they stay aligned.

The bicubic filter is Pillow's, on planes of floating point numbers: it widens with the reduction factor (OpenCV's does
not, and aliases at 5 to 1), rounds nothing to bytes, agrees with torch's antialiased filter to 1e-5, and as it uses one
thread it takes half of that one's time on a busy machine.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xinc.errors import SignalError, XincWarning
from xinc.notation import Size
from xinc.signals.labels import LabelMap
from xinc.signals.pictures import Pixels


@dataclass(frozen=True)
class Geometry:
    """How pixels of a source size reach a target size: crop a box, then resize it.

    Attributes:
        source: (H, W) of the frames as found.
        target: (H, W) wanted.
        box: (top, left, height, width) of the crop in the source.
    """

    source: Size
    target: Size
    box: tuple[int, int, int, int]

    @classmethod
    def of(cls, source: Size, target: Size | None) -> Geometry:
        """The largest centred box of the target's aspect; everything as it is where ``target`` is None.

        Raises:
            SignalError: the target is not two numbers of at least 1.
        """
        if target is None:
            return cls(source, source, (0, 0, *source))
        if len(target) != 2 or any(int(n) != n or n < 1 for n in target):
            raise SignalError(f"a size is two whole numbers of at least 1, height and width, not {target}")
        height, width = source
        aspect = target[1] / target[0]
        crop_height = min(height, max(1, round(width / aspect)))
        crop_width = min(width, max(1, round(height * aspect)))
        top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
        return cls(source, (int(target[0]), int(target[1])), (top, left, crop_height, crop_width))

    def frame(self, pixels: Pixels) -> Tensor:
        """One picture (H, W, 3), bytes or unit floats, as a float32 tensor (3, H', W') in [0, 1]."""
        top, left, height, width = self.box
        cut = pixels[top : top + height, left : left + width]
        scale = np.float32(255 if pixels.dtype == np.uint8 else 1)
        if (height, width) == self.target:
            return torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1), dtype=np.float32) / scale)
        wanted = (self.target[1], self.target[0])
        planes = [
            np.asarray(Image.fromarray(cut[..., c].astype(np.float32)).resize(wanted, Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        return torch.from_numpy(np.clip(np.stack(planes) / scale, 0, 1))

    def labels(self, plane: LabelMap) -> LabelMap:
        """One label map (H, W) of the source's size, by the nearest pixel of the same box: (H', W')."""
        top, left, height, width = self.box
        rows = top + _nearest(height, self.target[0])
        columns = left + _nearest(width, self.target[1])
        return np.ascontiguousarray(plane[np.ix_(rows, columns)])


def fit_labels(planes: dict[Path, LabelMap], size: Size) -> dict[Path, LabelMap]:
    """Bring label maps that are a pixel or two off (853 wide for 854) to the frames' size; said once, as a warning.

    Raises:
        SignalError: a label map is off by more than 2 pixels and 1 %.
    """
    slack = [max(2, n // 100) for n in size]
    fitted, sloppy = {}, []
    for path, plane in planes.items():
        if plane.shape != size:
            off = [abs(a - b) for a, b in zip(plane.shape, size, strict=True)]
            if off[0] > slack[0] or off[1] > slack[1]:
                raise SignalError(
                    f"{path} is {plane.shape[0]}×{plane.shape[1]} (height × width) but its frame is "
                    f"{size[0]}×{size[1]}; resize the label image by nearest neighbour to the frame's size"
                )
            sloppy.append(path.name)
            plane = plane[np.ix_(_nearest(plane.shape[0], size[0]), _nearest(plane.shape[1], size[1]))]
        fitted[path] = plane
    if sloppy:
        warnings.warn(
            f"{len(sloppy)} of {len(planes)} label images are not quite of the frames' size {size[0]}×{size[1]} "
            f"(first: {sloppy[0]}); resized by nearest neighbour",
            XincWarning,
            stacklevel=4,
        )
    return fitted


def _nearest(source: int, target: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Index of the source pixel whose extent holds the centre of each target pixel."""
    return ((np.arange(target) + 0.5) * source / target).astype(np.intp)
