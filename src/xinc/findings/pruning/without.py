"""A run without the neurons that somebody chose: by hand, or on the page where one points at a pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xinc.documents import read_json
from xinc.errors import FindingError
from xinc.findings.pruning.cutting import Part, prune
from xinc.options.schema import shortened
from xinc.run import Run

LARGEST = 2**22
"""Bytes of a file of chosen neurons."""
Chosen = Mapping[str, Sequence[int]]
"""Neurons by layer: ``{"block3": [3, 17]}``."""


def without(run: Run, chosen: Chosen, *, only: bool = False) -> Run:
    """The run without some neurons: its network with their weights at zero, biases kept; the given run stays as it is.

    >>> import xinc
    >>> run = xinc.fit("ffn", xinc.open("astronaut", size=(16, 24)), epochs=1, width=12, frequencies=8)
    >>> smaller = xinc.without(run, {"layer2": [3, 7]})
    >>> smaller.canvas()["layer2"].totals()[[3, 7]].tolist()
    [0.0, 0.0]

    Args:
        run: any.
        chosen: neurons by layer, as the page copies them; ``canvas[name].neurons`` has their numbers.
        only: remove all *others* of these layers.

    Returns:
        A run without a folder, to render, trace, analyse or save.

    Raises:
        TraceError: there is no such layer.
        FindingError: there is no such neuron, nothing is chosen, or a layer's weight is no parameter of its own.
    """
    if not any(len(neurons) for neurons in chosen.values()):
        raise FindingError('no neuron is chosen; give them by layer, such as {"block3": [3, 17]}')
    for name, neurons in chosen.items():
        part = Part.of(run, name)
        units = _checked(part, neurons)
        if only:
            units = np.setdiff1d(np.arange(part.count), units)
        run = prune(run, part, units, {"by": "hand"})
    return run


def _checked(part: Part, neurons: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    units = np.unique(np.asarray(neurons, dtype=np.int64))
    wrong = units[(units < 0) | (units >= part.count)]
    if len(wrong):
        raise FindingError(f"{part.name} has no neuron {wrong[0]}; its neurons are 0 to {part.count - 1}")
    return units


def read_chosen(path: Path) -> Chosen:
    """Neurons by layer from a JSON file, as the page saves it.

    Raises:
        FindingError: the file is no such thing.
    """
    how = 'give neurons by layer, such as {"block3": [3, 17]}'
    if path.exists() and not path.is_file():
        raise FindingError(f"{path} is no file; {how}")
    try:
        found = read_json(path, LARGEST)
    except ValueError as damage:
        raise FindingError(f"{path} is no JSON that can be read ({damage!s:.160}); {how}") from None
    if not isinstance(found, dict):
        raise FindingError(f"{path} holds no layers; {how}")
    for name, neurons in found.items():
        if not isinstance(neurons, list) or not all(type(k) is int and abs(k) < 2**62 for k in neurons):
            raise FindingError(f"{path}: the neurons of {shortened(name)} are no list of whole numbers; {how}")
    return found
