"""Fig. 9: do contributions change where things move?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xinc.findings.finding import Finding, LayerLike, as_image, numpy
from xinc.findings.section4.intensity import edges_of, intensity_of
from xinc.findings.section4.regions import LUMA
from xinc.findings.statistics import partial_correlation, pearson, permutation_p, spearman
from xinc.notation import Array, Mask

if TYPE_CHECKING:
    import xarray as xr

FINDING = Finding(
    name="motion",
    question="Do contributions change where things move, and where movement uncovers background?",
    section="4.5",
    figure="Fig. 9",
    unit="mean fluctuation where things move over the mean where they do not",
    direction="fluctuation is concentrated around flow, on uncovered background as much as on what moves",
    null="ratio 1, correlation 0; the same flow rolled to another place",
)
MOVING = 0.5
"""Speed in pixels a frame from which a pixel counts as moving."""
SMALLEST = 16
"""Side in pixels under which DIS flow has no patch to match."""

FlowField = NDArray[np.float32]


@dataclass(frozen=True)
class Flow:
    """What moved between a frame and the one before it, on the grid of the later one.

    Attributes:
        velocity: ``(2, H, W)`` float32, (x, y) pixels a frame: how what is seen here got here.
        uncovered: ``(H, W)`` bool: background that the earlier frame did not show here.
        source: ``"DIS"``, ``"RAFT"``, ``"RAFT small"`` or ``"given"``.
    """

    velocity: FlowField
    uncovered: Mask
    source: str

    @property
    def speed(self) -> NDArray[np.float32]:
        """``(H, W)`` pixels a frame."""
        return np.asarray(np.hypot(self.velocity[0], self.velocity[1]))


def dis_flow(previous: Tensor | Array, current: Tensor | Array) -> Flow:
    """Optical flow by OpenCV's DIS (dense inverse search, medium preset) on grey 8-bit frames.

    Args:
        previous: ``(3, H, W)`` in [0, 1], the earlier frame.
        current: the later frame.

    Returns:
        The flow; frames under 16 pixels a side are searched at a multiple of their size.
    """
    height, width = numpy(current).shape[1:]
    factor = -(-SMALLEST // min(height, width))
    earlier, later = (_grey_bytes(frame, factor) for frame in (previous, current))
    back, forth = (_search(a, b, (height, width)) / factor for a, b in ((later, earlier), (earlier, later)))
    return there_and_back(back, forth, "DIS")


def there_and_back(back: FlowField, forth: FlowField, source: str) -> Flow:
    """The flow of two searches, one from the later frame to the earlier one and one the other way.

    Uncovered pixels are those whose way back to the earlier frame and forth again does not come home (Sundaram et al.,
    ECCV 2010): ``|b + f(p + b)|^2 > 0.01 (|b|^2 + |f|^2) + 0.5``.

    Args:
        back: ``(H, W, 2)`` float32, (x, y) pixels: where each pixel of the later frame is in the earlier one.
        forth: where each pixel of the earlier frame is in the later one.
        source: what searched.
    """
    import cv2

    height, width = back.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    home = cv2.remap(forth, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gap, scale = ((back + home) ** 2).sum(axis=2), (back**2).sum(axis=2) + (home**2).sum(axis=2)
    return Flow(np.ascontiguousarray(-back.transpose(2, 0, 1)), gap > 0.01 * scale + 0.5, source)


def _grey_bytes(frame: Tensor | Array, factor: int) -> NDArray[np.uint8]:
    grey = np.rint(as_image(frame) @ LUMA * 255).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(grey.repeat(factor, axis=0).repeat(factor, axis=1))


def _search(start: NDArray[np.uint8], end: NDArray[np.uint8], size: tuple[int, int]) -> FlowField:
    """Displacement from ``start`` to ``end``, ``(H, W, 2)``, in pixels of the given arrays."""
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    # `calc` takes any array to write to; its stub does not know None.
    found = np.asarray(search.calc(start, end, np.zeros((*start.shape, 2), np.float32)), dtype=np.float32)
    rows, columns = start.shape[0] // size[0], start.shape[1] // size[1]
    return found[rows // 2 :: rows, columns // 2 :: columns]


def motion(
    layer: LayerLike,
    before: LayerLike,
    previous: Tensor | Array,
    current: Tensor | Array,
    flow: Flow | None = None,
    *,
    rolls: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    """A layer's fluctuation from one frame to the next, beside the flow between them.

    Args:
        layer: the layer at the later frame.
        before: the same layer at the frame before.
        previous: the frame before, ``(3, H, W)`` in [0, 1].
        current: the later frame.
        flow: what moved; by :func:`dis_flow` where None.
        rolls: random displacements of the flow for ``p_value``.
        seed: of the rolls.

    Returns:
        Dataset of

        - ``fluctuation (y, x)``: sum over neurons of | |C_t| - |C_{t-1}| |;
        - ``velocity (axis, y, x)``: x and y, pixels a frame; ``speed (y, x)``; ``uncovered (y, x)`` bool;
        - the numbers of :func:`concentration`;
        - ``p_value``: how often the speed rolled to another place correlates with the fluctuation at least as well.
    """
    import xarray as xr

    flow = flow or dis_flow(previous, current)
    fluctuation = numpy(layer.change(before)).astype(np.float64)
    numbers = concentration(fluctuation, flow, intensity_of(current), edges_of(current))
    null = _rolled(fluctuation, flow.speed, rolls, seed)
    numbers["p_value"] = permutation_p(numbers["correlation"], null)
    plane = ("y", "x")
    return xr.Dataset(
        {
            "fluctuation": (
                plane,
                fluctuation.astype(np.float32),
                {"units": "sum of | |C_t| - |C_t-1| | over neurons"},
            ),
            "velocity": (("axis", *plane), flow.velocity, {"units": "pixels a frame"}),
            "speed": (plane, flow.speed, {"units": "pixels a frame"}),
            "uncovered": (plane, flow.uncovered, {"units": "background not shown by the frame before"}),
            **{name: ((), value, {"units": UNITS[name]}) for name, value in numbers.items()},
        },
        coords={"axis": ("axis", np.asarray(["x", "y"]))},
        attrs={**FINDING.attrs(), "layer": layer.name, "method": layer.method, "flow": flow.source, "seed": seed},
    )


UNITS: Mapping[str, str] = {
    "correlation": "Pearson correlation",
    "rank_correlation": "rank correlation",
    "partial": "Pearson correlation, intensity and edges taken out",
    "moving_ratio": FINDING.unit,
    "top_ratio": "mean fluctuation on the fastest 10 % of pixels over the mean elsewhere",
    "uncovered_ratio": "mean fluctuation on uncovered background over the mean on what stays",
    "p_value": "share of rolled flows",
}


def concentration(fluctuation: Array, flow: Flow, light: Array, edges: Array) -> dict[str, float]:
    """How fluctuation follows speed; every ratio is NaN where one of its two sides is empty.

    Returns:
        ``correlation``, ``rank_correlation`` with the speed; ``partial`` given intensity and edges; ``moving_ratio``:
        mean over pixels faster than 0.5 over the mean over what stays (neither fast nor uncovered); ``top_ratio``: mean
        over the fastest tenth over the mean elsewhere; ``uncovered_ratio``: mean over uncovered pixels over that of
        what stays.
    """
    speed = flow.speed
    moving = (speed > MOVING) & ~flow.uncovered
    still = ~moving & ~flow.uncovered
    fastest = (speed >= np.quantile(speed, 0.9)) & (speed > 0)
    return {
        "correlation": pearson(fluctuation, speed),
        "rank_correlation": spearman(fluctuation, speed),
        "partial": partial_correlation(fluctuation, speed, [light, edges]),
        "moving_ratio": _ratio(fluctuation, moving, still),
        "top_ratio": _ratio(fluctuation, fastest, ~fastest),
        "uncovered_ratio": _ratio(fluctuation, flow.uncovered, still),
    }


def _ratio(plane: Array, these: Mask, those: Mask) -> float:
    if not these.any() or not those.any():
        return float("nan")
    base = float(plane[those].mean())
    return float(plane[these].mean() / base) if base > 0 else float("nan")


def _rolled(fluctuation: Array, speed: Array, rolls: int, seed: int) -> NDArray[np.float64]:
    """Correlations of the fluctuation with the speed rolled around both borders by random offsets.

    One Fourier transform gives the correlation at every offset. Offsets are at least an eighth of each side.
    """
    rng = np.random.default_rng(seed)
    dy, dx = (rng.integers(n // 8, n - n // 8 + 1, size=rolls) % n for n in speed.shape)
    first, second = (np.asarray(v, dtype=np.float64) - np.mean(v) for v in (fluctuation, speed))
    products = np.fft.irfft2(np.fft.rfft2(first) * np.conj(np.fft.rfft2(second)), s=speed.shape)
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return products[dy, dx] / norm if norm > 0 else np.full(rolls, np.nan)


def instance_speed(flow: Flow, labels: Array, count: int) -> NDArray[np.float64]:
    """Mean speed of each region, ``(count,)`` pixels a frame; NaN where a region has no pixel."""
    labels = np.asarray(labels)
    inside = labels >= 0
    pixels = np.bincount(labels[inside], minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.bincount(labels[inside], weights=flow.speed[inside], minlength=count) / pixels
