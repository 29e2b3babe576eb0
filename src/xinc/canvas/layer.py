"""A layer of the canvas: all maps of its neurons, computed when asked, and their reductions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from xinc.below import below
from xinc.canvas.exact.cones import ConeTables
from xinc.canvas.exact.replay import ExactStream
from xinc.canvas.joint.gram import energy, gram, mixtures, sampled_gram, signed, summed
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.reductions.fold import Folded, Pass, Stream
from xinc.canvas.reductions.passes import PassProgress, Reducer, Reductions
from xinc.canvas.reductions.store import Store
from xinc.canvas.reductions.stream import CHUNK_VALUES
from xinc.errors import TraceError
from xinc.notation import (
    ColouredMaps,
    CountPerNeuron,
    Curve,
    Gram,
    GroupMaps,
    Image,
    Maps,
    Mixtures,
    MixtureWeights,
    PerNeuron,
    Plane,
    RegionSums,
    TopNeurons,
    TopValues,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

Labels = Mapping[str, ArrayLike] | ArrayLike


class Layer:
    """The contribution maps of one layer under one method, K neurons on H x W pixels.

    Nothing heavy happens before a value is asked for; every reduction is computed once and remembered. A layer may be
    used from several threads, those of Dask too: reductions are made one at a time, maps side by side.

    Attributes:
        name: ``"block3"``, ``"head"``, ``"layer2"``.
        method: name of the definition of the maps.
        shape: ``(K, H, W)``.
    """

    def __init__(self, operation: LinearOperation, method: str, stream: Stream, store: Store | None = None) -> None:
        self.name, self.method = operation.name, method
        self.shape = (stream.neurons, *stream.size)
        self._operation, self._stream = operation, stream
        self._reducer, self._reducing = Reducer(stream, store), Lock()

    def __repr__(self) -> str:
        neurons, height, width = self.shape
        return f"Layer({self.name!r}, {neurons} neurons on {height}x{width} pixels, method={self.method!r})"

    @property
    def module(self) -> str:
        """Qualified name of the module in the traced network."""
        return self._operation.module

    @property
    def neurons(self) -> pd.DataFrame:
        """One row a neuron: layer, neuron, module, input, output (-1 for an MLP's input features)."""
        import pandas as pd

        return pd.DataFrame(self._operation.labels())[["layer", "neuron", "module", "input", "output"]]

    def maps(self, neurons: ArrayLike | Tensor, *, signed: bool = False) -> Maps | ColouredMaps:
        """Maps of some neurons.

        Args:
            neurons: indices, negative ones count from the end.
            signed: with method ``exact`` the contribution to each colour, with its sign.

        Returns:
            ``(n, H, W)`` float32, or ``(n, 3, H, W)`` if signed.

        Raises:
            TraceError: A neuron does not exist, or the method has no colours.
        """
        chosen = self._indices(neurons)
        if not signed:
            return self._stream.maps(chosen)
        coloured = getattr(self._stream, "coloured", None)
        if coloured is None:
            raise TraceError(
                f"maps of method {self.method!r} have no colours; trace with method='exact' for signed maps"
            )
        result: Tensor = coloured(chosen)
        return result

    def at(self, y: int, x: int) -> PerNeuron:
        """Every neuron's contribution to one pixel, ``(K,)`` float32; only what that pixel sees is computed.

        >>> import torch, xinc
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(2, 12, 3, padding=1), torch.nn.PixelShuffle(2))
        >>> layer = xinc.trace(network, torch.randn(1, 2, 4, 6), method="exact")["head"]
        >>> layer.shape, layer.at(3, 5).shape
        ((24, 8, 12), torch.Size([24]))

        Raises:
            TraceError: The pixel lies outside the picture.
        """
        return self.line(y, x)[:, 0, 0]

    def line(self, y: int | slice, x: int | slice) -> Maps:
        """Every neuron's contribution to a row, a column or a patch of pixels, ``(K, h, w)`` float32.

        Raises:
            TraceError: It reaches outside the picture.
        """
        (y0, y1), (x0, x1) = (_span(s, n, axis) for s, n, axis in zip((y, x), self.shape[1:], "yx", strict=True))
        return self._stream.maps(range(self.shape[0]), Window(y0, y1, x0, x1))

    def reduce(self, *, progress: PassProgress | None = None, **wanted: Any) -> Reductions:
        """Compute several reductions in the fewest passes over the maps.

        Args:
            progress: called with a pass's name and the share done since the last call.
            wanted: by the names of :data:`~xinc.canvas.reductions.table.REDUCTIONS`, which says what they are:
                ``heatmap``, ``totals``, ``extremes``, ``pixels_per_neuron`` as flags; ``regions`` as a dict of label
                maps ``(H, W)``, integers, negative is no region; ``neurons_per_pixel`` and ``thresholds`` as areas
                between 0 and 1; ``curve`` as a number of points, ``top`` as a number of leading neurons; ``change`` as
                the same layer on another frame.

        Returns:
            Attributes of the same names.

        Raises:
            TraceError: There is no such reduction; labels are not whole numbers of the picture's size, an area is not
                between 0 and 1, a layer to compare with is another one.
        """
        if (previous := wanted.get("change")) is not None:
            wanted["change"] = self._comparable(previous)
        with self._reducing:
            return self._reducer.reduce(wanted, progress)

    @property
    def by_windows(self) -> bool:
        """Whether all its maps come from one way back through the network, which other layers may share."""
        return isinstance(self._stream, ExactStream) and isinstance(self._stream.tables, ConeTables)

    def take(self, folded: Folded) -> None:
        """Remember heatmap and totals that were made together with those of other layers."""
        self._reducer.take("sums", folded)

    def heatmap(self) -> Plane:
        """Sum over neurons of |C|, ``(H, W)`` (Fig. 5)."""
        result: Plane = self.reduce(heatmap=True).heatmap
        return result

    def totals(self) -> PerNeuron:
        """Sum over pixels of |C|, ``(K,)``."""
        result: PerNeuron = self.reduce(totals=True).totals
        return result

    def region_sums(self, labels: Labels) -> RegionSums | dict[str, RegionSums]:
        """Sum of |C| over each region of a label map: S_kg of section 4.2.

        >>> import numpy, torch, xinc
        >>> network = torch.nn.Conv2d(2, 3, 3, padding=1)
        >>> layer = xinc.trace(network, torch.randn(1, 2, 4, 6), method="exact")["head"]
        >>> halves = numpy.arange(24).reshape(4, 6) // 12
        >>> layer.region_sums(halves).shape  # six kernels, two regions
        torch.Size([6, 2])

        Args:
            labels: ``(H, W)`` integers 0..G-1, negative is no region; or a dict of label maps, in one pass.

        Returns:
            ``(K, G)``, or a dict of them.

        Raises:
            TraceError: Labels are not whole numbers of the picture's size.
        """
        if isinstance(labels, Mapping):
            found = self.reduce(regions=labels).regions
            return {name: found[name] for name in labels}
        result: Tensor = self.reduce(regions={"": labels}).regions[""]
        return result

    def pixels_per_neuron(self) -> CountPerNeuron:
        """Number of pixels of which a neuron holds more than 1/K of the total, ``(K,)`` (Fig. 6)."""
        result: CountPerNeuron = self.reduce(pixels_per_neuron=True).pixels_per_neuron
        return result

    def threshold(self, area: float = 0.1) -> float:
        """The |C| at which the running sum of all values, descending, reaches 1 - area of the total (section 4.4)."""
        return float(self.reduce(thresholds=(area,)).thresholds[area])

    def neurons_per_pixel(self, area: float = 0.1) -> Plane:
        """Share of the neurons whose |C| exceeds the threshold of ``area``, ``(H, W)`` (Fig. 7)."""
        result: Tensor = self.reduce(neurons_per_pixel=(area,)).neurons_per_pixel[area]
        return result

    def sorted_curve(self, points: int = 256) -> Curve:
        """|C| of all neurons and pixels in descending order, ``(2, points)``: rank as a share, value (Fig. 18)."""
        result: Tensor = self.reduce(curve=points).curve
        return result

    def leaders(self, count: int = 3) -> tuple[TopNeurons, TopValues]:
        """The neurons with the greatest |C| of each pixel and their values, ``(H, W, count)`` each."""
        leaders, values = self.reduce(top=count).top
        return leaders, values

    def change(self, previous: Layer) -> Plane:
        """``F(p) = sum_k | |C_k(p)| - |C'_k(p)| |`` against the same layer on another frame, ``(H, W)`` (Fig. 9).

        Raises:
            TraceError: The other layer has another shape or method.
        """
        result: Tensor = self.reduce(change=previous).change
        return result

    def gram(
        self, frames: Sequence[Layer] | None = None, weight: Plane | None = None, pixels: int | None = None
    ) -> Gram:
        """The Gram matrix of the signed maps, ``G_kl = sum T_k T_l`` over pixels and colours: what neurons do together.

        It is made in bands of rows and holds K rows of maps at a time; K x K numbers come out.

        Args:
            frames: the same layer on other frames, summed too.
            weight: of the pixels ``(H, W)``, not negative; None for ones.
            pixels: of each frame, about so many at random, the products scaled to all of them; all where None. A few
                times as many products (pixels, colours, frames) as neurons give its leading part well.

        Returns:
            ``(K, K)`` float64.

        Raises:
            TraceError: The method has no signed maps, a layer to add is another one, there are too many neurons, or
                pixels are sampled and weighted both.
        """
        if pixels is not None and weight is not None:
            raise TraceError("pixels are sampled or weighted, not both; leave one of them out")
        layers = [self, *(frames or ())]
        streams = [signed(self._comparable(layer), "a Gram matrix") for layer in layers]
        total = torch.zeros(self.shape[0], self.shape[0], dtype=torch.float64)
        for seed, stream in enumerate(streams):
            total += gram(stream, weight) if pixels is None else sampled_gram(stream, pixels, seed)
        return total

    def energy(self, weight: Plane | None = None) -> PerNeuron:
        """``sum T_k^2`` over pixels and colours, ``(K,)`` float64; its ``error`` is the relative standard error.

        Summed, with an error of 0; by random signs where a map would take a product with vectors each.

        Args:
            weight: of the pixels ``(H, W)``, not negative; None for ones.

        Raises:
            TraceError: The method has no signed maps.
        """
        return energy(signed(self._stream, "energy"), weight)

    def mixtures(self, weights: MixtureWeights) -> Mixtures:
        """Sums of all neurons' signed maps by several sets of weights, ``(R, C, H, W)``; no more than a band is held.

        Args:
            weights: ``(K, R)``, one column a sum.

        Raises:
            TraceError: There is not one row a neuron, or the method has no signed maps.
        """
        if weights.ndim != 2 or len(weights) != self.shape[0]:
            raise TraceError(f"weights of shape {tuple(weights.shape)} do not fit {self.shape[0]} neurons; give (K, R)")
        return mixtures(signed(self._stream, "a sum of neurons"), weights)

    def sum(self, neurons: ArrayLike | Tensor) -> Image:
        """The signed sum of some neurons' maps, ``(3, H, W)``: to first order what the picture loses without them.

        Raises:
            TraceError: A neuron does not exist, or the method has no signed maps.
        """
        return summed(signed(self._stream, "a sum of neurons"), self._indices(neurons))

    def group_pictures(
        self, group: ArrayLike, areas: Sequence[float] = (), previous: Layer | None = None
    ) -> dict[str, GroupMaps]:
        """Pictures of groups of neurons, ``(G, H, W)`` each, from one pass over the maps; they are not remembered.

        Args:
            group: of each neuron, integers 0..G-1 ``(K,)``.
            areas: thresholds; see :meth:`threshold`.
            previous: the same layer on another frame.

        Returns:
            ``heatmap``: sum of |C|; ``above_0.1`` for each area: number of neurons above its threshold; ``change`` with
            ``previous``: sum of ``| |C| - |C'| |``.

        Raises:
            TraceError: As :meth:`reduce`.
        """
        thresholds = tuple(self.threshold(area) for area in areas)
        dealt = np.ascontiguousarray(group, np.int32)
        over = (dealt, thresholds) if areas else None
        moved = None if previous is None else dealt
        before = None if previous is None else self._comparable(previous)
        folded = self._stream.fold(Pass(before, group_heat=dealt, group_over=over, group_change=moved))
        pictures = {"heatmap": folded["group_heat"]}
        pictures |= {f"above_{area:g}": folded["group_over"][t] for t, area in enumerate(areas)}
        pictures |= {} if previous is None else {"change": folded["group_change"]}
        return {name: torch.from_numpy(plane) for name, plane in pictures.items()}

    def _comparable(self, previous: Layer) -> Stream:
        """The maps of the same layer on another frame."""
        if (previous.name, previous.method, previous.shape) != (self.name, self.method, self.shape):
            raise TraceError(f"{self!r} cannot be compared with {previous!r}; trace the same layer of another frame")
        return previous._stream

    def plot(self, neurons: ArrayLike | Tensor | None = None) -> Figure:
        """Maps as a Matplotlib figure: of some neurons, of the strongest where None, with the layer's heatmap."""
        found: Figure = below("show.plots", "plot_layer")(self, None if neurons is None else self._indices(neurons))
        return found

    def _repr_html_(self) -> str:
        text: str = below("show.notebook", "of_layer")(self)
        return text

    def chunks(self) -> list[list[int]]:
        """All neurons in chunks whose maps take 64 MB at most (one map at least).

        Kernels of one output channel are together: they share what leads from it to the picture, which is made anew
        for each chunk.
        """
        order = np.argsort(self._operation.pairs()[1].cpu().numpy(), kind="stable").tolist()
        size = max(1, CHUNK_VALUES // (self.shape[1] * self.shape[2]))
        return [order[first : first + size] for first in range(0, len(order), size)]

    def to_xarray(self, chunk: int | None = None) -> xr.DataArray:
        """All maps as a lazy array with dimensions neuron, y, x, backed by Dask; any expression of it streams.

        Args:
            chunk: neurons a block; about 64 MB of maps if not given.
        """
        import dask.array as da
        import xarray as xr

        neurons, height, width = self.shape
        size = chunk or max(1, CHUNK_VALUES // (height * width))
        sizes = tuple(min(size, neurons - first) for first in range(0, neurons, size))

        def block(block_info: dict[Any, Any]) -> NDArray[np.float32]:
            first, end = block_info[None]["array-location"][0]
            result: NDArray[np.float32] = self._stream.maps(range(first, end)).cpu().numpy()
            return result

        array = da.map_blocks(  # type: ignore[no-untyped-call]  # Dask has no types
            block, chunks=(sizes, (height,), (width,)), dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)
        )
        table = self.neurons
        return xr.DataArray(
            array,
            dims=("neuron", "y", "x"),
            name="contribution",
            coords={
                "neuron": table["neuron"].to_numpy(),
                "input": ("neuron", table["input"].to_numpy()),
                "output": ("neuron", table["output"].to_numpy()),
                "y": np.arange(height),
                "x": np.arange(width),
            },
            attrs={"layer": self.name, "method": self.method, "module": self.module},
        )

    def _indices(self, neurons: ArrayLike | Tensor) -> list[int]:
        chosen = [int(k) for k in np.atleast_1d(np.asarray(neurons, dtype=np.int64))]
        count = self.shape[0]
        for k in chosen:
            if not -count <= k < count:
                raise TraceError(f"{self.name} has no neuron {k}; its neurons are 0 to {count - 1}")
        return [k % count for k in chosen]


def _span(where: int | slice, size: int, axis: str) -> tuple[int, int]:
    if isinstance(where, slice):
        first, end, step = where.indices(size)
        if step != 1 or end <= first:
            raise TraceError(f"{axis} slice {where} is empty or has a step; the picture has {size} of them")
        return first, end
    if not -size <= where < size:
        raise TraceError(f"{axis} = {where} lies outside the picture; it runs from 0 to {size - 1}")
    return where % size, where % size + 1
