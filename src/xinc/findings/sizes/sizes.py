"""The size of a network, measured: coded into a file, read back, its frames compared, beside x264 at equal quality."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from xinc.errors import PlaceError
from xinc.findings.results import FOLDER, Results, digest, fingerprint
from xinc.findings.sizes.x264 import PRESET, Film, at_quality
from xinc.models.checkpoints.coded import VERSION, decode, encode
from xinc.run import Run

GROUP = "sizes"


@dataclass(frozen=True)
class FileSize:
    """What a run's network takes.

    Attributes:
        bits: of a weight before entropy coding.
        size: of the file, in bytes.
        parameters: trained values.
        pixels: frames × height × width.
        trained: mean PSNR over frames in dB of the network as it was trained.
        psnr: of the network as it is read back from the file.
        film: x264 at that quality; None where this PyAV has none, or it does not come to that quality.
    """

    bits: int
    size: int
    parameters: int
    pixels: int
    trained: float
    psnr: float
    film: Film | None

    def per_pixel(self, size: int | None = None) -> float:
        """Bits a pixel of so many bytes; of the file's where None."""
        return 8 * (self.size if size is None else size) / self.pixels

    def rows(self) -> list[dict[str, Any]]:
        """The table: what, bytes, bits a pixel, PSNR in dB."""
        known = [
            ("as trained, 32 bits a weight", 4 * self.parameters, self.trained),
            (f"{self.bits} bits a weight, coded", self.size, self.psnr),
        ]
        if self.film is not None:
            name = f"x264, preset {PRESET}, {self.film.colours}, CRF {self.film.crf:g}"
            known.append((name, self.film.size, self.film.psnr))
        return [
            {"what": what, "bytes": size, "bits a pixel": self.per_pixel(size), "PSNR (dB)": psnr}
            for what, size, psnr in known
        ]


def measure(run: Run, bits: int = 8, tell: Callable[[str, int, int], None] = lambda *_: None) -> FileSize:
    """Code a run's network, read it back, and find what x264 takes for the same frames at that quality.

    What was measured is kept in the run's results until network or frames are others.

    Args:
        run: any.
        bits: of a weight before entropy coding, 2 to 8.
        tell: called with what is done, and how many of how many parts are.

    Raises:
        ModelError: ``bits`` is out of range, or the network has weights that are no finite numbers.
    """
    import xarray as xr

    results = Results(run.path / FOLDER if run.path is not None else None)
    frames = [run.clip.frame(t) for t in range(len(run.clip))]
    key = digest({"coded": VERSION, "bits": bits, "run": fingerprint([*run.model.state_dict().values(), *frames])})
    kept = results.attrs(f"{GROUP}/{bits}")
    if kept.get("digest") == key:
        return _read(kept)
    tell("coding", 0, 1)
    data = encode(run.model, bits)
    back = replace(run, model=decode(data, "the coded network").model().to(run.model.device))
    psnr = float(back.psnr().mean())
    pixels = len(frames) * run.clip.size[0] * run.clip.size[1]
    film = at_quality(run.clip, psnr, tell)
    found = FileSize(bits, len(data), run.parameters, pixels, float(run.psnr().mean()), psnr, film)
    with suppress(PlaceError):  # a run that may only be read is measured all the same, each time
        results.put(f"{GROUP}/{bits}", xr.Dataset(attrs={"size": json.dumps(asdict(found)), "digest": key}))
    return found


def _read(attrs: dict[str, Any]) -> FileSize:
    fields = json.loads(attrs["size"])
    film = fields.pop("film")
    return FileSize(**fields, film=None if film is None else Film(**film))
