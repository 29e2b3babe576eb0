"""What the commands of the documents name: pictures, clips, data sets, runs, checkpoints; small, made when named."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

SIZE, FRAMES = (32, 64), 17


def picture(t: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A ramp with a bright square that moves, and a ripple."""
    y, x = np.indices(size) / np.array(size)[:, None, None]
    square = (abs(x - 0.2 - 0.03 * t) < 0.12) & (abs(y - 0.5) < 0.25)
    planes = [np.where(square, 0.9, 0.3 * x), 0.4 * y, 0.2 + 0.2 * np.sin(20 * x + 0.3 * t)]
    return Image.fromarray((np.stack(planes, -1) * 255).astype(np.uint8))


def mask(t: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """The square is object 1, the floor object 2."""
    y, x = np.indices(size) / np.array(size)[:, None, None]
    square = (abs(x - 0.2 - 0.03 * t) < 0.12) & (abs(y - 0.5) < 0.25)
    return Image.fromarray((square + 2 * (y > 0.8) * ~square).astype(np.uint8))


def pictures(folder: Path, of: Callable[[int], Image.Image] = picture, count: int = 6, ending: str = "png") -> None:
    folder.mkdir(parents=True)
    for t in range(count):
        of(t).save(folder / f"{t:05}.{ending}")


def video(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = SIZE
        for t in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_image(picture(t))))
        container.mux(stream.encode())


def data_set(folder: Path) -> None:
    pictures(folder / "JPEGImages" / "VIDEO", ending="jpg")
    pictures(folder / "Annotations" / "VIDEO", mask)


@cache
def fitted(family: str) -> Path:
    """A run that was analysed by ``exact``, made once."""
    import xinc
    from xinc.findings.analyses import Settings

    folder = Path(tempfile.mkdtemp(prefix="xinc-documents-"))
    pictures(folder / "frames", count=FRAMES if family == "nerv" else 1)
    size = {"fc_dim": 6} if family == "nerv" else {"width": 12, "frequencies": 8}
    run = xinc.fit(family, xinc.open(folder / "frames"), epochs=2, out=folder / family, **size)
    quick = Settings(clusters=4, restarts=1, shifts=2, shuffles=1, sample=8, count=4)
    run.analyse(frames=[0, 1][: len(run.clip)], findings=["grouping", "intensity", "clusters"], settings=quick)
    return folder / family


def run(family: str) -> Callable[[Path], object]:
    return lambda path: shutil.copytree(fitted(family), path)


def checkpoint(path: Path) -> None:
    """An HNeRV as the published code stores it in 8 bits, of the clip ``clip.mp4``."""
    import torch

    import xinc

    made = xinc.fit("hnerv", xinc.open("clip.mp4", size=SIZE), epochs=1, fc_dim=12, strides=(4, 2, 2, 2), seed=0)

    def stored(value: torch.Tensor) -> dict[str, torch.Tensor]:
        low, scale = value.min(), (value.max() - value.min()).clamp_min(1e-9) / 255
        return {"quant": ((value - low) / scale).round().to(torch.uint8), "min": low, "scale": scale}

    state = made.model.state_dict()
    embedding = state.pop("embedding")
    torch.save({"embed": stored(embedding), "model": {k: stored(v) for k, v in state.items()}}, path)


def chosen(path: Path) -> None:
    path.write_text(json.dumps({"block3": [3, 17]}))


def study(path: Path) -> None:
    """The study file that the page shows, of small networks."""
    page = (Path(__file__).resolve().parents[1] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    text = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert text
    quick = re.sub(r"\[128, 256\]", "[32, 64]", text[1]).replace("fc_dim = 24", "fc_dim = 6").replace("[0, 1]", "[0]")
    few = '["exact"]\nepochs = 1\nfindings = { clusters = 4, restarts = 1, shifts = 2, shuffles = 1 }'
    quick = quick.replace('["exact", "paper"]', few)
    path.write_text(quick, encoding="utf-8")


def module(path: Path) -> None:
    path.write_text(
        "import torch\n\n\ndef network():\n"
        "    linear, shape = torch.nn.Linear(4, 8 * 4 * 6), torch.nn.Unflatten(1, (8, 4, 6))\n"
        "    return torch.nn.Sequential(linear, shape, torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3, padding=1))\n"
    )


INPUTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "clip.mp4": (r"clip\.mp4|quant_vid", video),
    "photo.jpg": (r"photo\.jpg", lambda path: picture(0).save(path)),
    "photo.png": (r"study\.toml", lambda path: picture(0).save(path)),
    "frames": (r"\bframes/", pictures),
    "masks": (r"\bmasks/", lambda path: pictures(path, mask)),
    "DATA": (r"\bDATA\b", data_set),
    "clips/toy/frames": (r"study\.toml", pictures),
    "clips/toy/masks": (r"study\.toml", lambda path: pictures(path, mask)),
    "study.toml": (r"study\.toml", study),
    "quant_vid.pth": (r"quant_vid\.pth", checkpoint),
    "selection.json": (r"selection\.json", chosen),
    "mine.py": (r"\bmine:", module),
    "RUN": (r"(?<!--out )\bRUN\b", run("nerv")),
    "run": (r"(?:analyse|report) run\b(?!-)|load\(\"run\"\)|run/results", run("nerv")),
    "nerv": (r"(?<=prune )nerv\b|load\(\"nerv\"\)", run("nerv")),
    "xinc-demo/nerv": (r"xinc-demo/nerv", run("nerv")),
    "xinc-demo/ffn": (r"xinc-demo/ffn", run("ffn")),
}
"""Name -> the words of a command that need it, and what makes it."""


def prepare(place: Path, words: str) -> None:
    """Make what a command needs and nobody made yet."""
    for name, (needs, make) in INPUTS.items():
        path = place / name
        if re.search(needs, words) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
