"""Every question that the page asks, answered for any network, method and size by the package itself.

Names and meanings are those of the page's own engine (``engine/worker.js``): one front end asks either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.layer import Layer
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.trace import Canvas
from xinc.errors import RunError, TraceError
from xinc.explore.chain import RunnableChain
from xinc.explore.facts import Facts, share_of
from xinc.explore.jobs import Watch
from xinc.explore.kept import Canvases, Held, LatestMaps
from xinc.explore.still import cells
from xinc.findings.pruning.without import without
from xinc.findings.together.together import unique_parts
from xinc.run import Run
from xinc.signals.frames import spread

COURSE = 24
"""Frames of a clip at which a neuron's course is taken, at most."""
LINE_VALUES = 2**25
"""Values of a box's maps that are held at once."""


@dataclass(frozen=True)
class Viewpoint:
    """What is looked at.

    Attributes:
        run: key of the run.
        frame: number.
        layer: name.
        method: definition of the maps.
    """

    run: str
    frame: int
    layer: str = ""
    method: str = "exact"


@dataclass(frozen=True)
class Spot:
    """Pixels of a frame: a box, or a region of a label map.

    Attributes:
        box: ``y0, x0, y1, x1``, ends excluded; the whole picture if not given.
        grouping: ``"segments"`` or a grouping that the results keep; then ``region`` is the label.
        region: see ``grouping``.
    """

    box: tuple[int, int, int, int] | None = None
    grouping: str = ""
    region: int = 0


@dataclass(eq=False)
class Answers:
    """The live answers to the page's questions.

    Attributes:
        runs: by key.
    """

    runs: Mapping[str, Run]
    _canvases: Canvases = field(default_factory=Canvases)
    _described: dict[str, dict[str, Any]] = field(default_factory=dict)
    _maps: LatestMaps = field(default_factory=LatestMaps)

    def describe(self) -> list[dict[str, Any]]:
        """What is known of each run, see :meth:`xinc.explore.facts.Facts.describe`; ``key`` is its name here."""
        for key in self.runs:
            if key not in self._described:
                self._described[key] = {"key": key, **self._facts(Viewpoint(key, 0)).describe(), "live": True}
        return list(self._described.values())

    def run(self, view: Viewpoint) -> Run:
        """The run that a view names.

        Raises:
            TraceError: there is none of that name, or it has no such frame.
            RunError: its folder is gone.
        """
        if view.run not in self.runs:
            raise TraceError(f"no run is called {view.run!r}; there are {', '.join(self.runs)}")
        run = self.runs[view.run]
        if run.path is not None and not (run.path / "config.json").exists():
            raise RunError(f"{run.path} is gone; it was moved or deleted since the page was opened")
        if not 0 <= view.frame < len(run.clip):
            raise TraceError(f"there is no frame {view.frame}; the clip has frames 0 to {len(run.clip) - 1}")
        return run

    def held(self, view: Viewpoint) -> Held:
        """The canvas of a view's frame and method; the last few are kept.

        Raises:
            TraceError: there is no such run or method.
            ModelError: there is no such frame.
        """
        return self._canvases.get((view.run, view.frame, view.method), self.run(view))

    def canvas(self, view: Viewpoint) -> Canvas:
        """The canvas of a view's frame and method."""
        return self.held(view).canvas

    def layer(self, view: Viewpoint) -> Layer:
        """The view's layer."""
        return self.canvas(view)[view.layer]

    def chain(self, view: Viewpoint) -> RunnableChain:
        """The view's network as a chain.

        Raises:
            TraceError: it is none.
        """
        chain = self.held(view).chain
        if chain is None:
            raise TraceError("this network is no plain chain of layers with three colours; look at maps one by one")
        return chain

    def picture(self, view: Viewpoint) -> dict[str, Any]:
        """``original`` and ``picture``, what the network makes, ``(3, H, W)`` each."""
        return {"original": self.run(view).clip.frame(view.frame), "picture": self.canvas(view).plan.output}

    def at(self, view: Viewpoint, place: Spot) -> dict[str, Any]:
        """What every neuron adds to the mean colour of some pixels.

        Returns:
            ``terms (K, 3)`` with method ``exact``: signed; else ``sizes (K,)``, the mean of |C|. ``value (3,)``, the
            picture's mean colour there; with ``exact`` of a chain ``bias (3,)``, what the layer's bias adds.
        """
        window, inside = self._inside(view, place)
        picture = self.canvas(view).plan.output
        cropped = picture[:, window.y0 : window.y1, window.x0 : window.x1]
        weights = inside.to(picture.device) / inside.sum()
        value = (cropped * weights).sum((1, 2))
        chain = self.held(view).chain
        if view.method == "exact" and chain is None and len(picture) == 3:
            whole = torch.zeros(picture.shape[1:], device=picture.device)
            whole[window.y0 : window.y1, window.x0 : window.x1] = weights
            each = [self._effects(view, torch.eye(3, device=whole.device)[c, :, None, None] * whole) for c in range(3)]
            return {"terms": torch.stack(each, 1), "value": value}
        if view.method == "exact" and chain is not None:
            terms, bias = chain.pull(chain.position(view.layer), window, torch.eye(3)[:, :, None, None] * weights)
            return {"terms": terms, "bias": bias, "value": value}
        return {"sizes": self._sizes(self.layer(view), window, inside), "value": value}

    def map(
        self, view: Viewpoint, neuron: int, width: int = 0, *, quick: bool = False, watch: Watch | None = None
    ) -> dict[str, Any]:
        """A neuron's map.

        Args:
            view: its layer and method.
            neuron: its number.
            width: average it over square cells to so many columns at most; 0 leaves it.
            quick: a coarse one will do where the true one takes long.
            watch: ends the work when nobody waits.

        Returns:
            ``map (3, h, w)``, signed, with ``exact``, else ``(1, h, w)``; ``coarse``: whether it is a quick one, see
            :meth:`xinc.explore.chain.RunnableChain.map`.
        """
        held = self.held(view)
        if view.method == "exact" and held.chain is not None:
            self._checked(view, {view.layer: [neuron]})
            found, coarse = self._chain_map(held.chain, view, neuron, quick=quick, watch=watch or Watch())
            return {"map": shrunk(found, width), "coarse": coarse}
        (found,) = held.canvas[view.layer].maps([neuron], signed=view.method == "exact")
        return {"map": shrunk(found.reshape(-1, *held.canvas.size), width), "coarse": False}

    def _chain_map(
        self, chain: RunnableChain, view: Viewpoint, neuron: int, *, quick: bool = False, watch: Watch
    ) -> tuple[Tensor, bool]:
        """A neuron's map, and whether it is a coarse one."""
        known, position = self._maps.get((view, neuron)), chain.position(view.layer)
        if known is not None:
            return known, False
        coarse = quick and chain.gains_by_coarseness(position)
        found = chain.map(position, neuron, coarse=coarse, watch=watch)
        if not coarse:
            self._maps.put((view, neuron), found)
        return found, coarse

    def course(self, view: Viewpoint, neuron: int, watch: Watch) -> dict[str, Any]:
        """A neuron over time: ``frames (n,)`` and ``totals (n,)``, sum over pixels of |C| in each."""
        frames = spread(len(self.run(view).clip), COURSE)
        totals = []
        for frame in frames:
            watch()
            found = self.map(replace(view, frame=frame), neuron, watch=watch)["map"]
            totals.append(float(found.abs().sum()))
        return {"frames": np.array(frames), "totals": np.array(totals, np.float32)}

    def kernel(self, view: Viewpoint, neuron: int) -> dict[str, Any]:
        """``kernel``: a neuron's own weights, ``(kh, kw)``, or a feature's outgoing ones ``(1, C_out)``."""
        layer = self.canvas(view).plan.layer(view.layer)
        self._checked(view, {view.layer: [neuron]})
        return {"kernel": layer.weight[:, neuron][None] if layer.kind == "linear" else layer.kernels[neuron]}

    def without(self, view: Viewpoint, chosen: Mapping[str, Sequence[int]], only: bool = False) -> dict[str, Any]:
        """The network run without some neurons, or without all others of their layers.

        Returns:
            ``picture (3, H, W)``, the truth; ``predicted (3, H, W)``, the picture minus their signed maps: first order.
        """
        chain = self._checked(view, chosen)
        if chain is None:
            return self._without(view, chosen, only=only)
        predicted = chain.plan.output.clone()
        for layer, neurons in chosen.items():
            position = chain.position(layer)
            predicted += chain.push(position, chain.scales(position, neurons, only=only) - 1)
        return {"picture": chain.without(chosen, only=only), "predicted": predicted}

    def group(self, view: Viewpoint, neurons: Sequence[int]) -> dict[str, Any]:
        """``map (3, H, W)``: the sum of some neurons' signed maps."""
        chain = self._checked(view, {view.layer: neurons})
        if chain is None:
            return {"map": self.layer(view).sum(list(neurons))}
        position = chain.position(view.layer)
        return {"map": chain.push(position, chain.scales(position, neurons, only=True))}

    def gram(self, view: Viewpoint, neuron: int) -> dict[str, Any]:
        """``products (K,)``: inner products of a neuron's signed map with those of all neurons of its layer."""
        chain = self._checked(view, {view.layer: [neuron]})
        if chain is None:
            return {"products": self._effects(view, self.layer(view).maps([neuron], signed=True)[0])}
        position = chain.position(view.layer)
        one, _ = self._chain_map(chain, view, neuron, watch=Watch())
        return {"products": chain.pull(position, Window.whole(chain.plan.size), one[None])[0][:, 0]}

    def unique(self, view: Viewpoint, watch: Watch) -> dict[str, Any]:
        """``shares (K,)``: of each neuron's energy, what no other neurons of the layer make up for.

        From the run's results, else by a Gram matrix of the frame.

        Raises:
            TraceError: the layer has too many neurons for one.
        """
        known = self._facts(view).unique(view.layer, view.frame)
        if known is not None:
            return {"shares": known}
        watch()
        gram = self.layer(view).gram().numpy()
        return {"shares": share_of(unique_parts(gram), np.diag(gram))}

    def heat(self, view: Viewpoint, watch: Watch) -> dict[str, Any]:
        """``heat (H, W)``: sum over neurons of |C|; ``totals (K,)``: sum over pixels."""
        found = self.layer(view).reduce(heatmap=True, totals=True, progress=watch)
        return {"heat": found.heatmap, "totals": found.totals, "step": 1}

    def density(self, view: Viewpoint, area: float, watch: Watch) -> dict[str, Any]:
        """``share (H, W)``: of the neurons above the threshold of ``area``, and ``threshold`` (section 4.4)."""
        found = self.layer(view).reduce(neurons_per_pixel=(area,), thresholds=(area,), progress=watch)
        return {"share": found.neurons_per_pixel[area], "threshold": found.thresholds[area]}

    def principal(self, view: Viewpoint, count: int, watch: Watch) -> dict[str, Any]:
        """The leading independent pictures of a layer's signed maps.

        Subspace iteration on the operator ``u -> sum_k u_k T_k`` and its transpose; no map is held.

        Returns:
            ``pictures (count, 3, H, W)``, ``squares (count,)``: their energies, ``vectors (count, K)``.
        """
        chain = self.chain(view)
        position = chain.position(view.layer)
        generator = torch.Generator().manual_seed(1)
        vectors = torch.randn(count + 4, chain.plan.stages[position].neurons, generator=generator)
        rounds, everywhere = 6, Window.whole(chain.plan.size)
        for number in range(rounds):
            vectors = torch.linalg.qr(vectors.T)[0].T
            pictures = torch.stack([_watched(watch, chain.push, position, vector) for vector in vectors])
            if number < rounds - 1:
                pulled = [_watched(watch, chain.pull, position, everywhere, one[None]) for one in pictures]
                vectors = torch.stack([terms[:, 0] for terms, _ in pulled])
        squares = pictures.square().sum((1, 2, 3))
        order = squares.argsort(descending=True)[:count]
        return {"pictures": pictures[order], "squares": squares[order], "vectors": vectors[order]}

    def labels(self, view: Viewpoint, grouping: str) -> dict[str, Any]:
        """``labels (H, W)`` of a grouping at the frame, -1 for none, and ``names``; empty where there are none."""
        found = self._facts(view).labels(grouping, view.frame)
        return {"labels": found[0], "names": found[1]} if found else {"names": []}

    def _facts(self, view: Viewpoint) -> Facts:
        return Facts(self.run(view), self.canvas(view))

    def _inside(self, view: Viewpoint, place: Spot) -> tuple[Window, Tensor]:
        """A window of the picture, and which of its pixels are meant, ``(h, w)`` of ones and zeros.

        Raises:
            TraceError: there are none.
        """
        height, width = self.canvas(view).size
        if place.grouping:
            found = self._facts(view).labels(place.grouping, view.frame)
            inside = (
                torch.from_numpy(found[0] == place.region) if found else torch.zeros(height, width, dtype=torch.bool)
            )
            rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
            if not len(rows):
                raise TraceError(f"frame {view.frame} has no region {place.region} of {place.grouping}")
            window = Window(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
            return window, inside[window.y0 : window.y1, window.x0 : window.x1].float()
        y0, x0, y1, x1 = place.box or (0, 0, height, width)
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise TraceError(f"box {y0},{x0},{y1},{x1} lies outside the picture of {height}×{width}, or is empty")
        return Window(y0, y1, x0, x1), torch.ones(y1 - y0, x1 - x0)

    def _sizes(self, layer: Layer, window: Window, inside: Tensor) -> Tensor:
        """Mean of |C| over pixels of a window, ``(K,)``."""
        if layer.shape[0] * window.pixels <= LINE_VALUES:
            values = layer.line(slice(window.y0, window.y1), slice(window.x0, window.x1)).abs()
            return (values * inside).sum((1, 2)) / inside.sum()
        labels = np.full(layer.shape[1:], -1, dtype=np.int64)
        labels[window.y0 : window.y1, window.x0 : window.x1][inside.numpy() > 0] = 0
        sums = layer.region_sums(labels)
        assert isinstance(sums, Tensor)
        return sums[:, 0] / inside.sum()

    def _effects(self, view: Viewpoint, cotangent: Tensor) -> Tensor:
        """Sum over pixels and colours of a picture times each neuron's signed map, ``(K,)``; any network."""
        table = self.canvas(view).attribute(lambda y: (y * cotangent).sum())
        own = table.loc[table["layer"] == view.layer].sort_values("neuron")
        return torch.from_numpy(own["effect"].to_numpy(np.float32, copy=True))

    def _without(self, view: Viewpoint, chosen: Mapping[str, Sequence[int]], *, only: bool) -> dict[str, Any]:
        """As :meth:`without`, of a network that is no chain: its weights set to zero, and run again."""
        canvas = self.canvas(view)
        predicted = canvas.output.clone()
        for name, neurons in chosen.items():
            layer = canvas[name]
            gone = sorted(set(range(layer.shape[0])) - set(neurons)) if only else list(neurons)
            predicted -= layer.sum(gone)
        with torch.no_grad():
            picture = without(self.run(view), chosen, only=only).model.render(view.frame)
        return {"picture": picture, "predicted": predicted}

    def _checked(self, view: Viewpoint, chosen: Mapping[str, Sequence[int]]) -> RunnableChain | None:
        """The chain, or None of another network, if it has all these neurons.

        Raises:
            TraceError: there is no such layer or neuron.
        """
        canvas = self.canvas(view)
        for layer, neurons in chosen.items():
            count = canvas[layer].shape[0]
            wrong = [k for k in neurons if not 0 <= k < count]
            if wrong:
                raise TraceError(f"{layer} has no neuron {wrong[0]}; its neurons are 0 to {count - 1}")
        return self.held(view).chain


def shrunk(values: Tensor, width: int) -> Tensor:
    """``(C, H, W)`` averaged over square cells to at most ``width`` columns; as it is for 0."""
    return cells(values[None], -(-values.shape[2] // width) if width else 1)[0]


def _watched(watch: Watch, function: Callable[..., Any], *arguments: Any) -> Any:
    watch()
    return function(*arguments)
