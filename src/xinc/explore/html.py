"""The page as one file: styles and scripts in it, and, where there is no server, the networks and the frames too."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from xinc.canvas.trace import Canvas
from xinc.errors import RunError, TraceError
from xinc.explore.facts import Facts, layer_rows
from xinc.explore.network import Network, halved, pictures
from xinc.explore.still import FRAMES, still
from xinc.explore.wire import pack
from xinc.files import check_file, write_text
from xinc.run import Run
from xinc.show.page.html import themed
from xinc.signals.frames import spread

PAGE = (
    "dom.js", "colours.js", "wire.js", "state.js", "still.js", "sources.js", "small.js", "regions.js", "stage.js",
    "cloud.js", "neuron.js", "panels.js", "tour.js", "python.js", "app.js",
)  # fmt: skip
"""The page's modules; each uses names of those before it."""
ENGINE = ("activations.js", "convolution.js", "chain.js", "worker.js")
"""The network that runs in the page, a worker's script."""
NONE = 65_535
"""A pixel in no region, in the file's label maps."""
LARGEST = 200_000_000
"""Bytes of frames that a file page may hold; a browser opens no more with ease."""


def live_page(token: str) -> str:
    """The page that asks a server.

    Args:
        token: that the server wants with every question.
    """
    return _page("connect-src 'self'", f'<meta name="xinc-token" content="{escape(token, quote=True)}">', "")


def file_page(runs: Mapping[str, Run]) -> str:
    """The page with its networks in it: whoever opens the file needs nothing else, and nothing is sent anywhere.

    Weights are rounded to 16 bits; what the page shows is what the rounded network makes. Of a network that is no plain
    chain of layers it holds a few frames, with the maps of each layer's strongest neurons, and says so.

    Args:
        runs: by the key that addresses carry.

    Raises:
        RunError: a run's frames are too many.
        TraceError: a layer cannot be traced.
    """
    return _held({key: _run(key, run) for key, run in runs.items()})


def canvas_page(canvas: Canvas) -> str:
    """The page of anybody's network as it ran once; its own picture stands where a run has its signal.

    Raises:
        TraceError: what the network reads is too large, it does not make three colours, or a layer cannot be traced.
    """
    network = Network.of_plan(canvas.plan)
    if network is None and len(canvas.output) != 3:
        raise TraceError(
            f"the picture has {len(canvas.output)} channels, the page shows three colours; canvas.plot() draws any"
        )
    if network is not None and sum(array.nbytes for array in network.arrays.values()) > LARGEST:
        raise TraceError("what reaches the first layer is too large for a page; trace a smaller picture")
    height, width = canvas.size
    described: dict[str, Any] = {
        "title": f"A network of {height}×{width} pixels",
        "folder": "",
        "family": "",
        "parameters": None,
        "psnr": None,
        "size": [height, width],
        "frames": 1,
        "names": ["0"],
        "fps": None,
        "layers": layer_rows(canvas),
        "methods": ["exact"],
        "segments": [],
        "annotated": [],
        "groupings": [],
        "trust": {"rows": [], "says": []},
        "positions": [],
        "unique": {},
        "reference": False,
    }
    if network is not None:
        return _held({"network": ({**described, **_running("network", network)}, network.arrays)})
    held, arrays = still(canvas if canvas.method == "exact" else canvas.by("exact"), 0)
    return _held({"network": ({**described, "key": "network", "live": False, "still": [held]}, arrays)})


Described = tuple[dict[str, Any], dict[str, Any]]
"""What the page is told of a run, and its arrays by name."""


def _held(found: Mapping[str, Described]) -> str:
    values: dict[str, Any] = {"runs": [described for described, _ in found.values()]}
    for key, (_, arrays) in found.items():
        values |= {f"{key}/{name}": array for name, array in arrays.items()}
    data = base64.b64encode(pack(values)).decode()
    engine = f'<script type="text/plain" id="engine">{_engine()}</script>'
    return _page("connect-src 'none'", "", f'{engine}<script type="text/plain" id="data">{data}</script>')


def _running(key: str, network: Network) -> dict[str, Any]:
    return {"key": key, "live": False, "stages": network.stages, "input": network.input}


def export(runs: Mapping[str, Run], path: str | Path) -> Path:
    """Write :func:`file_page` to a file, whole or not at all.

    Raises:
        RunError: as :func:`file_page`; or the file cannot be written.
    """
    path = check_file(Path(path))
    page = file_page(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _run(key: str, run: Run) -> Described:
    size = 3 * len(run.clip) * run.clip.size[0] * run.clip.size[1]
    if size > LARGEST:
        raise RunError(
            f"{len(run.clip)} frames of {run.clip.size[0]}×{run.clip.size[1]} are too many for one file; leave --export"
            " out to open the page from a server"
        )
    network, facts = Network.of(halved(run)), Facts(run, run.canvas(0, "exact"))
    kept = list(range(len(run.clip))) if network is not None else spread(len(run.clip), FRAMES)
    described: dict[str, Any] = facts.describe()
    arrays: dict[str, Any] = dict(network.arrays) if network is not None else {}
    regions: dict[str, list[str]] = {}
    for grouping in [{"name": "segments", "frames": described["annotated"]}, *described["groupings"]]:
        name, frames = grouping["name"], grouping["frames"]
        frames[:] = [kept.index(t) for t in frames if t in kept]
        for frame in frames:
            if (found := facts.labels(name, kept[frame])) is not None:
                labels, regions[name] = found
                arrays[f"labels/{name}/{frame}"] = np.where(labels < 0, NONE, labels).astype(np.uint16)
    for name, frames in described["unique"].items():
        frames[:] = [kept.index(t) for t in frames if t in kept]
        arrays |= {f"unique/{name}/{t}": facts.unique(name, kept[t]) for t in frames}
    for frame, picture in enumerate(pictures(run)):
        if frame in kept:
            arrays[f"frame{kept.index(frame)}"] = np.frombuffer(picture, np.uint8)
    described |= {"regions": regions, "frames": len(kept), "names": [run.clip.names[t] for t in kept]}
    if network is not None:
        return {**described, **_running(key, network)}, arrays
    stills = []
    for number, frame in enumerate(kept):
        held, more = still(run.canvas(frame, "exact"), number)
        stills.append(held)
        arrays |= more
    return {**described, "key": key, "live": False, "still": stills}, arrays


def _page(connects: str, head: str, held: str) -> str:
    policy = (
        "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src blob:; "
        f"style-src 'unsafe-inline'; img-src data: blob:; {connects}"
    )
    script = "".join(_plain(_read("page", name)) for name in PAGE)
    parts = {
        "POLICY": policy,
        "HEAD": head,
        "STYLE": themed(_read("page", "page.css")),
        "HELD": held,
        "SCRIPT": script,
        "VERSION": version("xinc"),
    }
    return re.sub(r"<!--(\w+)-->", lambda found: parts[found[1]], _read("page", "page.html"))


def _engine() -> str:
    return "".join(_read("engine", name) for name in ENGINE)


def _read(folder: str, name: str) -> str:
    return (files("xinc.explore") / folder / name).read_text("utf-8")


def _plain(module: str) -> str:
    """A module's text without its imports and exports: all of them stand in one script."""
    alone = re.sub(r"^import .*?;\n", "", module, flags=re.MULTILINE)
    return re.sub(r"^export (?=(async )?(class|function|const|let)\b)", "", alone, flags=re.MULTILINE)
