"""The page as one file: styles and scripts in it, and, where there is no server, the networks and the frames too."""

from __future__ import annotations

import base64
import os
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
from xinc.explore.wire import pack
from xinc.run import Run
from xinc.show.page.html import themed

PAGE = ("dom.js", "colours.js", "wire.js", "state.js", "sources.js", "stage.js", "panels.js", "app.js")
"""The page's modules; each uses names of those before it."""
ENGINE = ("activations.js", "convolution.js", "chain.js", "worker.js")
"""The network that runs in the page, a worker's script."""
NONE = 65_535
"""A pixel in no region, in the file's label maps."""
NO_CHAIN = "a page cannot run this network, which is no plain chain of layers with functions that it knows"
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

    Weights are rounded to 16 bits; what the page shows is what the rounded network makes.

    Args:
        runs: by the key that addresses carry.

    Raises:
        RunError: a network is no plain chain of layers that the page can run, or its frames are too many.
    """
    return _held({key: _run(key, run) for key, run in runs.items()})


def canvas_page(canvas: Canvas) -> str:
    """The page of anybody's network as it ran once; its own picture stands where a run has its signal.

    Raises:
        TraceError: the network is no plain chain of layers that the page can run, or what it reads is too large.
    """
    network = Network.of_plan(canvas.plan)
    if network is None:
        raise TraceError(f"{NO_CHAIN}; canvas.plot() draws any network")
    if sum(array.nbytes for array in network.arrays.values()) > LARGEST:
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
        "reference": False,
    }
    return _held({"network": ({**described, **_running("network", network)}, network.arrays)})


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
    path = Path(path)
    if path.is_dir():
        raise RunError(f"{path} is a folder; name a file, such as {path / 'page.html'}")
    page, part = file_page(runs), path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(page, encoding="utf-8")
    os.replace(part, path)
    return path


def _run(key: str, run: Run) -> Described:
    size = 3 * len(run.clip) * run.clip.size[0] * run.clip.size[1]
    if size > LARGEST:
        raise RunError(
            f"{len(run.clip)} frames of {run.clip.size[0]}×{run.clip.size[1]} are too many for one file; leave --export"
            " out to open the page from a server"
        )
    network = Network.of(halved(run))
    if network is None:
        raise RunError(f"{NO_CHAIN}; leave --export out to use a server")
    facts = Facts(run, run.canvas(0, "exact"))
    arrays: dict[str, Any] = dict(network.arrays)
    regions: dict[str, list[str]] = {}
    names = {"segments": facts.annotated()} | {one["name"]: one["frames"] for one in facts.groupings()}
    for grouping, frames in names.items():
        for frame in frames:
            if (found := facts.labels(grouping, frame)) is not None:
                labels, regions[grouping] = found
                arrays[f"labels/{grouping}/{frame}"] = np.where(labels < 0, NONE, labels).astype(np.uint16)
    for frame, picture in enumerate(pictures(run)):
        arrays[f"frame{frame}"] = np.frombuffer(picture, np.uint8)
    return {**facts.describe(), **_running(key, network), "regions": regions}, arrays


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
