"""Explain implicit neural representations: which neuron paints which pixel, and how much of it.

The whole surface is here; everything is imported when it is first used, so ``import xinc`` costs nothing.

>>> import xinc
>>> image = xinc.open("astronaut", size=(32, 64))  # or your image, video or folder of frames
>>> run = xinc.fit("ffn", image, epochs=2, width=16, frequencies=8)
>>> canvas = run.canvas(0, "exact")
>>> canvas.layers
['layer1', 'layer2', 'layer3']
>>> canvas["layer2"].heatmap().shape
torch.Size([32, 64])
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xinc.canvas.layer import Layer
    from xinc.canvas.methods import method
    from xinc.canvas.trace import Canvas, trace
    from xinc.canvas.trace import attribute_to as attribute
    from xinc.errors import XincError
    from xinc.findings.pruning.modules import prune_module as prune
    from xinc.findings.pruning.without import without
    from xinc.run import Run, fit, load
    from xinc.signals.clip import Clip
    from xinc.signals.reading import open

try:
    __version__ = version("xinc")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Canvas",
    "Clip",
    "Layer",
    "Run",
    "XincError",
    "__version__",
    "attribute",
    "fit",
    "load",
    "method",
    "open",
    "prune",
    "trace",
    "without",
]

_HOMES: dict[str, str | tuple[str, str]] = {
    "Canvas": "xinc.canvas.trace",
    "Clip": "xinc.signals.clip",
    "Layer": "xinc.canvas.layer",
    "Run": "xinc.run",
    "XincError": "xinc.errors",
    "attribute": ("xinc.canvas.trace", "attribute_to"),
    "fit": "xinc.run",
    "load": "xinc.run",
    "method": "xinc.canvas.methods",
    "open": "xinc.signals.reading",
    "prune": ("xinc.findings.pruning.modules", "prune_module"),
    "trace": "xinc.canvas.trace",
    "without": "xinc.findings.pruning.without",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'xinc' has no attribute {name!r}")
    home = _HOMES[name]
    module, inner = home if isinstance(home, tuple) else (home, name)
    value = getattr(import_module(module), inner)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
