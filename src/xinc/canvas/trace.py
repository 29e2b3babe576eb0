"""``trace``: from a network and an input to its canvas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from xinc.canvas.exact import exact
from xinc.canvas.exact import replay as foreign
from xinc.canvas.layer import Layer
from xinc.canvas.methods import method_named
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.output import Output
from xinc.canvas.network.plan import Branch, Plan, Stage
from xinc.canvas.network.recorder import record
from xinc.canvas.survey import LayerSurvey, survey
from xinc.errors import TraceError


class Canvas:
    """All contribution maps of a network for one input; a mapping from layer names to :class:`Layer`.

    Attributes:
        method: the definition of the maps.
        plan: the network as it ran.
    """

    def __init__(self, plan: Plan, method: str) -> None:
        self.plan, self.method = plan, method
        self._method = method_named(method)
        self._layers: dict[str, Layer] = {}

    @property
    def layers(self) -> list[str]:
        """Names of the layers in the order of the forward pass."""
        return [layer.name for layer in self.plan.layers]

    @property
    def output(self) -> Tensor:
        """What the network returned, ``(C, H, W)``."""
        return self.plan.output

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the maps."""
        return self.plan.size

    def survey(self) -> tuple[LayerSurvey, ...]:
        """Layers with their neurons, what their maps would take, and which methods can trace them, or why not."""
        return survey(self.plan)

    def residual(self, name: str) -> Tensor:
        """What a layer's neurons and its bias, added up, leave of the traced values behind it; no method is involved.

        Zero but for rounding, so it tells whether the network was read as it computes. On a plain chain the sum goes
        through shuffle and activation (section 3.2 of the paper).

        Returns:
            Plain chain: the shape of the next layer's input, or of the output; other layers: that of their output.

        Raises:
            TraceError: There is no such layer.
        """
        layer = self._known(name)
        if isinstance(layer, Branch):
            return foreign.residual(layer)
        return exact.residual(self.plan, [stage.name for stage in self.plan.stages].index(name))

    def _known(self, name: str) -> Stage | Branch:
        if name not in self.layers:
            raise TraceError(f"no layer is called {name!r}; this network has {', '.join(self.layers)}")
        return self.plan.layers[self.layers.index(name)]

    def __getitem__(self, name: str) -> Layer:
        if name not in self._layers:
            self._layers[name] = Layer(self._known(name), self.method, self._method.layer(self.plan, name))
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        height, width = self.size
        return f"Canvas({', '.join(self.layers)}; {height}x{width} pixels, method={self.method!r})"


def trace(
    module: nn.Module,
    *inputs: Any,
    method: str = "paper",
    size: Sequence[int] | None = None,
    output: Output | None = None,
    **keywords: Any,
) -> Canvas:
    """Trace a network on one input. It is run once, in eval mode; maps are computed when they are asked for.

    Args:
        module: any network that makes a picture: ours, or anyone's.
        inputs: what ``module.forward`` takes.
        method: ``"paper"``, ``"official"``, ``"exact"`` or ``"ablation"``.
        size: (H, W) of the picture, where a pixel-wise network returns pixels in a row and no grid of coordinates among
            its inputs and buffers tells it.
        output: index or key of the picture in what the network returns, or several, one after another:
            ``("heads", 1)``; the largest picture of three channels if not given.
        keywords: further keyword arguments of the module.

    Raises:
        TraceError: The network fails, or has no layer that this method can trace.
    """
    method_named(method)  # a wrong name fails before the network runs
    return Canvas(read_plan(record(module, *inputs, **keywords), size, output), method)
