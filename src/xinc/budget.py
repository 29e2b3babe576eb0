"""How much memory a step may hold, and how much it will: asked before anything is allocated, in this one place.

A step may hold what ``--memory`` says or, where nobody says anything, what this machine, its container or its shell
has. What it will hold are estimates of the greatest parts, in bytes: each names them in a comment.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xinc.errors import FindingError, ModelError, RunError, SignalError, TraceError, XincError

LEAST, MOST = 2**26, 2**50
"""What ``--memory`` may be, in bytes."""
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_asked: list[int] = []


@dataclass(frozen=True)
class Bound:
    """Bytes that a step may hold, and whose word that is."""

    bytes: int
    whose: str


def limit_to(text: str | None) -> None:
    """Let no step of this process hold more than that: ``"2GB"``, ``"800 MB"``, a number of bytes; None lifts it.

    Raises:
        RunError: it is no amount of memory, or less than 64 MB.
    """
    _asked.clear()
    if text is None:
        return
    found = re.fullmatch(r"\s*(\d{1,16}(?:\.\d{1,9})?)\s*([kmgt]?)i?b?\s*", text.lower(), re.ASCII)
    value = float(found[1]) * 2 ** _UNITS[found[2]] if found else 0
    if not LEAST <= value <= MOST:
        raise RunError(f"--memory {text[:60]!r} is no amount of memory; give at least 64 MB, such as 800MB or 4GB")
    _asked.append(int(value))


def bound() -> Bound:
    """What a step may hold."""
    bounds = [Bound(_machine(), "this machine has"), *_of_container(), *_of_shell()]
    bounds += [Bound(_asked[0], "--memory allows")] if _asked else []
    return min(bounds, key=lambda one: one.bytes)


def _machine() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return MOST


def _of_container() -> list[Bound]:
    for path in _CONTAINER:
        try:
            return [Bound(int(Path(path).read_text()), "this container has")]
        except (OSError, ValueError):  # no container, or one without a limit ("max")
            continue
    return []


def _of_shell() -> list[Bound]:
    """What ``ulimit -v`` leaves, beside what is mapped already."""
    if sys.platform != "linux":
        return []
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return [Bound(max(0, limit - mapped), "this shell leaves (ulimit -v)")]


def afford(need: float, what: str, remedy: str, error: type[XincError]) -> None:
    """Refuse a step that would hold more than it may.

    Args:
        need: bytes.
        what: the step, with its own numbers.
        remedy: what to give instead.
        error: class of the refusal.

    Raises:
        XincError: it would.
    """
    most = bound()
    if need > most.bytes:
        raise error(f"{what} would take {in_bytes(need)} of memory, {most.whose} {in_bytes(most.bytes)}; {remedy}")


def in_bytes(number: float) -> str:
    """Bytes as people read them."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 1e6 else f"{value:.1e} {unit}"


def picture(path: Path, height: int, width: int, planes: int = 24) -> None:
    """A picture that is about to be decoded: Pillow's copy and its conversion, our bytes, planes of floats.

    Raises:
        SignalError: it is too large.
    """
    afford(
        planes * height * width, f"to open {path} of {height:,}×{width:,} pixels", "make it smaller first", SignalError
    )


def frames(path: Path, count: int, height: int, width: int) -> None:
    """Frames of a clip: each as it comes, all of them stacked, and room to work; 12 bytes a pixel each.

    Raises:
        SignalError: they are too many, or too large.
    """
    afford(
        36.0 * count * height * width,
        f"{count:,} frame{'s' * (count != 1)} of {path} with {height:,}×{width:,} pixels",
        "give a smaller size, or choose frames (every, start, count)",
        SignalError,
    )


def label_images(path: Path, count: int, height: int, width: int) -> None:
    """Label images that are read together: numbers as they are and as ids, 4 bytes each, and one to look up.

    Raises:
        SignalError: they are too many, or too large.
    """
    afford(
        16.0 * count * height * width,
        f"{count:,} label image{'s' * (count != 1)} around {path} with {height:,}×{width:,} pixels",
        "make them smaller, or choose frames (every, start, count)",
        SignalError,
    )


def flow(path: Path, height: int, width: int) -> None:
    """Optical flow of one frame: two floats a pixel, with a copy in another order.

    Raises:
        FindingError: it is too large.
    """
    afford(16.0 * height * width, f"to read {path} of {height:,}×{width:,} pixels", "make it smaller", FindingError)


def tensors(path: Path, values: int, error: type[XincError]) -> None:
    """Tensors of a file as they are stored and in float32.

    Raises:
        XincError: they are too large.
    """
    afford(8.0 * values, f"{path} with {values:,} values", "take a smaller file, or a larger machine", error)


def weights(what: str, parameters: int) -> None:
    """A network that is loaded: its parameters and those of the file.

    Raises:
        ModelError: it is too large.
    """
    afford(8.0 * parameters, f"{what} with {parameters:,} parameters", "give a smaller one", ModelError)


def fit(what: str, parameters: int, made: float, held: float) -> None:
    """A fit: weights, gradients, Adam's two averages, the best weights and a copy for the checkpoint; a batch's values.

    Args:
        what: network and signal.
        parameters: of the network.
        made: bytes that a batch makes on its way forward; gradients take as many.
        held: bytes of what it is fitted to.

    Raises:
        ModelError: it would hold too much.
    """
    afford(
        24.0 * parameters + 2 * made + held,
        f"to fit {what} with {parameters:,} parameters",
        "give fewer parameters (a smaller width, params or bpp), a smaller batch or a smaller --size",
        ModelError,
    )


def recording(made: int) -> None:
    """A forward pass of which all values are kept.

    Raises:
        TraceError: they are too many.
    """
    remedy = "look at it with a smaller --size or --input-shape"
    afford(made, "one forward pass, whose values are kept,", remedy, TraceError)


def inputs(shapes: Sequence[tuple[int, ...]]) -> None:
    """Random inputs of a network, float32.

    Raises:
        TraceError: they are too large.
    """
    told = ", ".join("×".join(map(str, shape)) for shape in shapes)
    afford(4.0 * sum(map(math.prod, shapes)), f"inputs of shape {told:.60}", "give a smaller --input-shape", TraceError)


def reductions(neurons: int, held: int) -> None:
    """What a pass over a layer's maps collects.

    Raises:
        TraceError: it is too much.
    """
    afford(
        held,
        f"what is collected of {neurons:,} neurons",
        "ask for fewer regions (clusters), points or areas, or for fewer layers",
        TraceError,
    )
