"""What moves in a synthetic scene, as its makers know it: the truth that estimated flow is compared with."""

from __future__ import annotations

import numpy as np

from xinc.findings.section4.motion import Flow
from xinc.signals.synthetic import Scene


def known_flow(scene: Scene, frame: int) -> Flow:
    """The true flow into a frame of a synthetic scene: each object moves as one, so its step is known where it is now.

    An object that was out of sight in the frame before has no known step; all of it is uncovered.

    Args:
        scene: the synthetic scene.
        frame: from 1.
    """
    planes = scene.clip.segments.labels if scene.clip.segments is not None else {}
    here, there = planes[frame], planes[frame - 1]
    velocity = np.zeros((2, *here.shape), dtype=np.float32)
    for segment in np.intersect1d(here, there):
        velocity[:, here == segment] = scene.flow[frame - 1][:, there == segment][:, :1]
    return Flow(velocity, np.asarray(scene.uncovered[frame]), "truth")
