"""VIPSeg (Miao et al. 2022), as published (``imgs``) or in the 720p COCO-style layout (``images``).

``images/<video>/<frame>.jpg`` beside ``panomasks/<video>/<frame>.png``, whose numbers say class and instance; or, where
only the COCO-style files are there, ``panomasksRGB/<video>/<frame>.png`` with ``panoptic_gt_VIPSeg*.json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xinc.signals.datasets import coco
from xinc.signals.datasets.recording import LabelledVideo, Reader, by_stem, first_folder, folders, load_json
from xinc.signals.frames import frame_files
from xinc.signals.labels import Segment
from xinc.signals.segments import ENCODINGS

_PICTURES = ("images", "imgs")
_MASKS = ("panomasks", "panomasksRGB")


def _recordings(root: Path) -> Iterator[LabelledVideo]:
    pictures, masks = first_folder(root, _PICTURES), first_folder(root, _MASKS)
    if pictures is None or masks is None:
        return
    listed = _listed(root) if masks.name == "panomasksRGB" else {}
    for folder in folders(pictures):
        frames = tuple(frame_files(folder))
        labels, missing = by_stem(frames, sorted((masks / folder.name).glob("*.png")))
        table = listed.get(folder.name)
        encoding = ENCODINGS["vipseg" if masks.name == "panomasks" else "coco"]
        yield LabelledVideo(
            folder.name,
            frames,
            labels,
            encoding=coco.encoding_of(table) if table else encoding,
            table=table,
            missing=missing,
        )


def _listed(root: Path) -> dict[str, tuple[Segment, ...]]:
    """The segments of each video by the JSON files; nothing where there is none."""
    tables = {}
    for path in sorted(root.glob("panoptic_gt_VIPSeg*.json")):
        content = load_json(path, ("annotations", "categories"))
        for video in content["annotations"]:
            tables[str(video["video_id"])] = coco.table(video["annotations"], content["categories"])
    return tables


READER = Reader(
    layout="VIPSeg (images or imgs beside panomasks or panomasksRGB, a folder a video)",
    recognises=lambda root: first_folder(root, _PICTURES) is not None and first_folder(root, _MASKS) is not None,
    recordings=_recordings,
)
