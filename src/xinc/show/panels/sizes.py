"""How small the networks are: as files of few bits, beside x264 at equal quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xinc.errors import ModelError
from xinc.findings.sizes.sizes import FileSize, measure
from xinc.show.page.html import Exhibit, PageTable
from xinc.show.subjects import Subject

MEANING = (
    "Weights are quantised between the least and the greatest of each channel, as published codes do, and "
    "entropy-coded with the description of the network into one file, from which the PSNR was measured again. x264 has "
    "the same frames at the coarsest setting that shows them at least as well; its size is that of the bare film. Bits "
    "a pixel count all frames."
)


VERDICTS = (
    (3.0, "far larger than"), (1.1, "larger than"), (0.9, "about as large as"), (0.33, "smaller than"),
    (0.0, "far smaller than"),
)  # fmt: skip
"""Least size, as a multiple of a film's, and its words."""


def sizes(found: Sequence[Subject], tell: Callable[[str, int, int], None]) -> Exhibit | None:
    """The part of the report; None where no network can be coded."""
    import pandas as pd

    measured: dict[str, FileSize] = {}
    for subject in found:
        try:
            measured[subject.title] = measure(subject.run, tell=tell)
        except ModelError:  # a network that diverged has no size
            continue
    if not measured:
        return None
    rows = pd.DataFrame([{"network": title, **row} for title, size in measured.items() for row in size.rows()])
    table = PageTable.of(rows, "Numbers", MEANING, "sizes", open=True)
    return Exhibit("size", "Size", "Ours", "How small is it?", [_told(*each) for each in measured.items()], [], [table])


def amount(size: int) -> str:
    """Bytes as people say them: ``"12.3 kB"``."""
    for unit, name in ((1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.{1 if size < 100 * unit else 0}f} {name}"
    return f"{size} bytes"


def _told(title: str, size: FileSize) -> str:
    """The sentences about one network."""
    lost = size.trained - size.psnr
    kept = f"{size.trained:.1f} dB as it was trained" if abs(lost) >= 0.05 else "as before"
    stored = (
        f"stored in {size.bits} bits a weight and entropy-coded it takes {amount(size.size)}, {size.per_pixel():.2f} "
        f"bits a pixel, and draws with {size.psnr:.1f} dB ({kept})"
    )
    film = size.film
    if film is None:
        return f"For the {title}, x264 is not here or does not come to its quality: {stored}."
    ratio = size.size / film.size
    verdict = next(words for least, words in VERDICTS if ratio >= least)
    times = max(ratio, 1 / ratio)
    return (
        f"The {title} is {verdict} a film by x264 that shows the same frames as well: {stored}; the film has "
        f"{film.psnr:.1f} dB in {amount(film.size)}, {size.per_pixel(film.size):.2f} bits a pixel: "
        f"{times:.{0 if times >= 10 else 1}f} times {'less' if ratio > 1 else 'more'}."
    )
