"""``trace``: from a network and an input to its canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from xinc.below import below
from xinc.canvas.exact.cones import fold_together, together
from xinc.canvas.joint.attribution import Scalar, attribute
from xinc.canvas.joint.probes import PROBES, energies
from xinc.canvas.layer import Layer
from xinc.canvas.methods import DEFAULT, Method, method_of
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.output import Output
from xinc.canvas.network.plan import Plan
from xinc.canvas.recording.recorder import record
from xinc.canvas.reductions.passes import Reductions
from xinc.canvas.reductions.store import Store
from xinc.canvas.survey import LayerSurvey, survey
from xinc.notation import Image

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Stores = Callable[[str, str], Store | None]
"""Where the reductions of a layer are kept, by the names of the method and the layer."""


class Canvas:
    """All contribution maps of a network for one input; a mapping from layer names to :class:`Layer`.

    Attributes:
        method: name of the definition of the maps.
        plan: the network as it ran.
    """

    def __init__(self, plan: Plan, method: str | Method, stores: Stores | None = None) -> None:
        self._stores = stores
        self._method = method_of(method)
        self.plan, self.method = plan, self._method.name
        self._layers: dict[str, Layer] = {}

    def by(self, method: str | Method) -> Canvas:
        """The same network, as it ran, under another definition of the maps; it is not run again.

        Raises:
            TraceError: There is no such method.
        """
        return Canvas(self.plan, method, self._stores if isinstance(method, str) else None)

    @property
    def layers(self) -> list[str]:
        """Names of the layers in the order of the forward pass."""
        return [layer.name for layer in self.plan.layers]

    @property
    def stems(self) -> list[str]:
        """Names of the layers before and beside those of the canvas: stems, latents, an embedding, modulators.

        Their neurons are the features that they read, or the entries of the embedding, and have no places of their own:
        ``canvas[name]`` gives their maps by ``exact`` and ``ablation``.
        """
        return [rest.operation.name for rest in self.plan.stems]

    @property
    def output(self) -> Image:
        """What the network returned, ``(C, H, W)``."""
        return self.plan.output

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the maps."""
        return self.plan.size

    def survey(self) -> tuple[LayerSurvey, ...]:
        """Layers with their neurons, what their maps would take, and which methods can trace them, or why not."""
        return survey(self.plan)

    def attribute(self, to: Scalar) -> pd.DataFrame:
        """The first-order effect of every neuron of every layer on a number that is made of the picture.

        Args:
            to: from the picture ``(C, H, W)`` to one number, by torch's operations: ``lambda y: y[:, 3:8].mean()``.

        Returns:
            One row a neuron: layer, module, neuron, input, output, effect. An effect is what the number would lose
            without the neuron's term, to first order; whatever the canvas's method.

        Raises:
            TraceError: ``to`` gives no single number, or one that does not depend on the picture.
        """
        return attribute(self.plan, to)

    def energies(
        self, regions: Mapping[str, Tensor] | None = None, probes: int = PROBES, seed: int = 0
    ) -> pd.DataFrame:
        """``sum T^2`` over pixels and colours of every neuron of every layer, estimated by random signs, all at once.

        One pass backwards a probe serves the whole network, whatever lies between a layer and the picture;
        :meth:`Layer.energy` sums where a layer's own maps can be had at that price.

        Args:
            regions: planes ``(H, W)`` by name, 1 inside; the whole picture where None.
            probes: passes a region.
            seed: of the signs.

        Returns:
            One row a neuron and region: layer, module, neuron, input, output, region, energy, and error, the relative
            standard error ``sqrt(2 / probes)``.

        Raises:
            TraceError: There is no probe, or a region is no plane of the picture.
        """
        return energies(self.plan, regions, probes, seed)

    def sums(
        self, layers: Sequence[str] | None = None, progress: Callable[[float], None] | None = None
    ) -> dict[str, Reductions]:
        """Heatmaps and totals of several layers, in the fewest ways through the network.

        Off the chain, ``exact`` goes back through the network once for all layers whose rest is local; each layer
        remembers what was made.

        Args:
            layers: names; all of :attr:`layers` where None.
            progress: called with the share of such a way that was done since the last call.

        Returns:
            By name, an object with ``heatmap`` ``(H, W)`` and ``totals`` ``(K,)``.

        Raises:
            TraceError: There is no such layer, or it cannot be traced.
        """
        found = {name: self[name] for name in (self.layers if layers is None else layers)}
        local = {name: layer for name, layer in found.items() if layer.by_windows}
        rests = [rest for rest in self.plan.others if rest.operation.name in local]
        for group in together(rests):
            for name, folded in fold_together(group, progress).items():
                local[name].take(folded)
        return {name: layer.reduce(heatmap=True, totals=True) for name, layer in found.items()}

    def explore(self) -> Any:
        """The page where one points at a pixel, inline in a notebook; ``.save(path)`` writes it as one file.

        Raises:
            TraceError: the picture has not three colours, or a layer cannot be traced.
        """
        return below("explore.notebook", "explore_canvas")(self)

    def plot(self) -> Figure:
        """The picture, and the heatmap of each layer, as a Matplotlib figure."""
        found: Figure = below("show.plots", "plot_canvas")(self)
        return found

    def _repr_html_(self) -> str:
        text: str = below("show.notebook", "of_canvas")(self)
        return text

    def residual(self, name: str) -> Tensor:
        """What a layer's neurons and its bias, added up, leave of the traced values behind it; no method is involved.

        Zero but for rounding, so it tells whether the network was read as it computes. On a plain chain the sum goes
        through shuffle and activation (section 3.2 of the paper).

        Returns:
            Plain chain: the shape of the next layer's input, or of the output; other layers: that of their output.

        Raises:
            TraceError: There is no such layer.
        """
        self.plan.layer(name)  # a wrong name is said
        return self.plan.residual(name)

    def __getitem__(self, name: str) -> Layer:
        if name not in self._layers:
            store = self._stores(self.method, name) if self._stores is not None else None
            self._layers[name] = Layer(self.plan.layer(name), self.method, self._method.stream(self.plan, name), store)
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        height, width = self.size
        return f"Canvas({', '.join(self.layers)}; {height}x{width} pixels, method={self.method!r})"


def attribute_to(
    module: nn.Module,
    *inputs: Any,
    to: Scalar,
    size: Sequence[int] | None = None,
    output: Output | None = None,
    keywords: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """:meth:`Canvas.attribute` of anybody's network on one input, ``xinc.attribute``.

    >>> import torch, xinc
    >>> network = torch.nn.Conv2d(2, 3, 3, padding=1)
    >>> effects = xinc.attribute(network, torch.randn(1, 2, 4, 6), to=lambda picture: picture[0].mean())
    >>> len(effects), list(effects.columns)
    (6, ['layer', 'module', 'neuron', 'input', 'output', 'effect'])

    Args:
        module: any network that makes a picture.
        inputs: what ``module.forward`` takes.
        to: from the picture ``(C, H, W)`` to one number, by torch's operations.
        size: as of :func:`trace`.
        output: as of :func:`trace`.
        keywords: keyword arguments of the module.

    Raises:
        TraceError: As :func:`trace`; or ``to`` gives no single number that depends on the picture.
    """
    return trace(module, *inputs, method="exact", size=size, output=output, keywords=keywords).attribute(to)


def trace(
    module: nn.Module,
    *inputs: Any,
    method: str | Method = DEFAULT,
    size: Sequence[int] | None = None,
    output: Output | None = None,
    keywords: Mapping[str, Any] | None = None,
    **more: Any,
) -> Canvas:
    """Trace a network on one input. It is run once, in eval mode; maps are computed when they are asked for.

    Args:
        module: any network that makes a picture: ours, or anyone's.
        inputs: what ``module.forward`` takes.
        method: ``"exact"``, ``"paper"``, ``"official"`` or ``"ablation"``; or a definition of your own, see
            :func:`xinc.method`.
        size: (H, W) of the picture, where a pixel-wise network returns pixels in a row and no grid of coordinates among
            its inputs and buffers tells it.
        output: index or key of the picture in what the network returns, or several, one after another:
            ``("heads", 1)``; the largest picture of three channels if not given.
        keywords: keyword arguments of the module, whatever they are called: ``keywords={"size": 3}`` reaches a
            ``forward`` that takes ``size`` itself.
        more: keyword arguments of the module that are not called like one of the above.

    Raises:
        TraceError: The network fails, or has no layer that this method can trace.
    """
    chosen = method_of(method)  # a wrong name fails before the network runs
    recording = record(module, *inputs, **{**(keywords or {}), **more})
    return Canvas(read_plan(recording, size, output), chosen)
