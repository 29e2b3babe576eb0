"""The definitions of a contribution map: each is a row of a table, and a stream that computes it.

Sections refer to Padmanabhan et al., "Explaining the Implicit Neural Canvas", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from torch import Tensor

from xinc.canvas.ablation import ablation
from xinc.canvas.exact.exact import exact
from xinc.canvas.exact.replay import AblationStream, ExactStream
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.plan import Plan, Rest
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.paper.chain import official, paper
from xinc.canvas.paper.rules import rule_stream
from xinc.canvas.reductions.fold import Stream
from xinc.canvas.reductions.stream import DenseStream
from xinc.errors import TraceError
from xinc.notation import ColouredMaps, Maps


@runtime_checkable
class Method(Protocol):
    """A definition of the contribution map; :func:`method` makes one of a function."""

    @property
    def name(self) -> str:
        """As in ``trace(..., method=name)``."""
        ...

    def stream(self, plan: Plan, layer: str) -> Stream:
        """The maps of the layer of a name.

        Raises:
            TraceError: The method has no rule for what follows the layer.
        """
        ...


@dataclass(frozen=True)
class Definition:
    """A method of the package.

    Attributes:
        name: as in ``trace(..., method=name)``.
        chain: a layer's maps, from a plan and the layer's position in its chain.
        elsewhere: the same for a layer that is not on the chain.
        stems: whether it has maps of layers without places of their own.
        signed: whether its maps have a sign and colours, so that sums of them mean something.
    """

    name: str
    chain: Callable[[Plan, int], Stream]
    elsewhere: Callable[[Rest], Stream]
    stems: bool = True
    signed: bool = True

    def stream(self, plan: Plan, layer: str) -> Stream:
        """The maps of the layer of a name; see :meth:`Method.stream`."""
        place = plan.place(layer)
        if not isinstance(place, Rest):
            return self.chain(plan, place)
        if place.stem and not self.stems:
            raise TraceError(
                f"{layer} has no map by method {self.name!r}: it lies before or beside the blocks that the paper "
                "traces, and sums of weights and mean filters give its neurons no places; trace it with 'exact' or "
                "'ablation'"
            )
        if place.stem and not place.repeats:
            raise TraceError(
                f"what follows {layer} gives another picture when it is repeated; switch random operations off"
            )
        return self.elsewhere(place)


MapFunction = Callable[[Plan, LinearOperation, Sequence[int]], Tensor]
"""From the network, a layer and some of its neurons to their maps, ``(n, H, W)`` or, in colours, ``(n, C, H, W)``."""


class FunctionStream(DenseStream):
    """Maps of a user's function, which may give colours."""

    def maps(self, neurons: Sequence[int], window: Window | None = None) -> Maps:
        """Maps over a window, ``(n, h, w)``; of colours the sum of their absolute values."""
        maps = super().maps(neurons, window)
        return maps.abs().sum(1) if maps.ndim == 4 else maps

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed contribution to each colour, ``(n, C, h, w)``.

        Raises:
            TraceError: The function gives no colours.
        """
        maps = super().maps(neurons, window)
        if maps.ndim != 4:
            raise TraceError("these maps have no colours: the method gives (n, H, W), not (n, C, H, W)")
        return maps


@dataclass(frozen=True)
class FunctionMethod:
    """A method of a user's own: a function that gives the maps of some neurons."""

    name: str
    maps: MapFunction

    def stream(self, plan: Plan, layer: str) -> Stream:
        """The maps of the layer of a name, computed a few neurons at a time."""
        operation = plan.layer(layer)

        def compute(neurons: Sequence[int], window: Window) -> Tensor:
            maps = self.maps(plan, operation, neurons)
            if maps.shape[0] != len(neurons) or maps.ndim not in (3, 4) or tuple(maps.shape[-2:]) != plan.size:
                raise TraceError(
                    f"method {self.name!r} gave maps of shape {tuple(maps.shape)} for {len(neurons)} neurons of "
                    f"{layer}; give (n, H, W) or (n, C, H, W) with the picture's size {plan.size}"
                )
            return maps[..., window.y0 : window.y1, window.x0 : window.x1].float()

        return FunctionStream(compute, operation.neurons, plan.size)


def method(name: str) -> Callable[[MapFunction], FunctionMethod]:
    """Make a method of a function: ``trace(network, x, method=it)``.

    The function gets the plan, one of its layers and indices of neurons, and gives their maps: ``(n, H, W)``, or
    ``(n, C, H, W)`` for signed contributions to each colour. ``layer.planes(neurons)`` and ``layer.terms(neurons)`` are
    what each neuron adds to the layer's output.

    Example:
        >>> import torch, xinc
        >>> @xinc.method("plane")
        ... def plane(plan, layer, neurons):
        ...     planes = layer.planes(neurons)
        ...     return torch.nn.functional.interpolate(planes, size=plan.size)[:, 0]
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(2, 12, 3, padding=1), torch.nn.PixelShuffle(2))
        >>> canvas = xinc.trace(network, torch.randn(1, 2, 4, 6), method=plane)
        >>> canvas[canvas.layers[0]].maps([0, 5]).shape
        torch.Size([2, 8, 12])

    Args:
        name: of the method, shown where results are.
    """
    return lambda maps: FunctionMethod(name, maps)


METHODS: dict[str, Method] = {
    one.name: one
    for one in (
        Definition("paper", paper, partial(rule_stream, official=False), stems=False, signed=False),
        Definition("official", official, partial(rule_stream, official=True), stems=False, signed=False),
        Definition("exact", exact, ExactStream),
        Definition("ablation", ablation, AblationStream),
    )
}
"""The package's own definitions: section 3 of the text, the published code, first-order transport, the truth."""


def named_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Names of methods, each once, in their order.

    Raises:
        TraceError: There is no such method, or none is named.
    """
    chosen = tuple(dict.fromkeys(names))
    if not chosen:
        raise TraceError(f"--method names no definition of the maps; choose from {', '.join(METHODS)}")
    for name in chosen:
        method_of(name)
    return chosen


DEFAULT = "exact"
"""The method of who names none: its maps agree with ablation where the paper's do not (docs/methods.md)."""


def method_of(given: str | Method) -> Method:
    """The method of a name, or the method itself.

    Raises:
        TraceError: There is none of that name, or it is no method.
    """
    if isinstance(given, str):
        if given not in METHODS:
            raise TraceError(f"no method is called {given!r}; choose one of {', '.join(METHODS)}")
        return METHODS[given]
    if not isinstance(given, Method):
        raise TraceError(f"{given!r} is no method: it has no name and no stream(plan, layer); see xinc.method")
    return given


def has_sign(name: str) -> bool:
    """Whether maps by a method of ours have signs and colours: ``layer.maps(neurons, signed=True)``."""
    return bool(getattr(METHODS.get(name), "signed", False))
