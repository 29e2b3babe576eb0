"""Plain Cityscapes: every finely annotated image is a recording of one frame.

``leftImg8bit/<split>/<city>/*_leftImg8bit.png`` and ``gtFine/<split>/<city>/*_gtFine_instanceIds.png``, or all of them
in one folder: files are found by name wherever they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xinc.signals.datasets.recording import LabelledVideo, Reader
from xinc.signals.pictures import SUFFIXES
from xinc.signals.segments import ENCODINGS, common_stem, is_label_name

_PICTURES = "**/*_leftImg8bit.*"


def _recordings(root: Path) -> Iterator[LabelledVideo]:
    labels = {common_stem(p.stem): p for p in root.glob("**/*_gtFine_instanceIds.png")}
    for picture in sorted(root.glob(_PICTURES), key=lambda p: p.name):
        name = common_stem(picture.stem)
        yield LabelledVideo(
            name, (picture,), {0: labels[name]} if name in labels else {}, encoding=ENCODINGS["cityscapes"]
        )


def _recognises(root: Path) -> bool:
    """Whether every picture is named as Cityscapes names them: one such file among others makes no data set."""
    if (root / "leftImg8bit").is_dir():
        return True
    if next(root.glob(_PICTURES), None) is None:
        return False
    pictures = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and not is_label_name(p.stem))
    return all(p.stem.endswith("_leftImg8bit") for p in pictures)


READER = Reader(
    layout="Cityscapes (*_leftImg8bit.png and *_gtFine_instanceIds.png)",
    recognises=_recognises,
    recordings=_recordings,
)
