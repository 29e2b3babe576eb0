"""The table of reductions: every row, under every way of making maps, beside the same from maps that are all held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import xinc
from tiny_networks import decoder, mlp
from xinc.canvas.exact import bands
from xinc.canvas.kernels import NOTHING
from xinc.canvas.layer import Layer
from xinc.canvas.reductions.fold import Folded, Pass, Stream, dense_fold
from xinc.canvas.reductions.packing import Groupings
from xinc.canvas.reductions.stream import DenseStream
from xinc.canvas.reductions.table import FOLDS, REDUCTIONS
from xinc.errors import TraceError


class Skip(nn.Module):
    """A small decoder with a path around its second convolution, so that no layer is on the plain chain."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = (
            nn.Conv2d(2, 3, 3, padding=1),
            nn.Conv2d(3, 3, 3, padding=1),
            nn.Conv2d(3, 3, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.first(x))
        return self.last(y + torch.sin(self.second(y)))


def chain(inputs: tuple[int, ...] = (5, 6)) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    module, values, _ = decoder(inputs)
    return module.float(), values.float(), values.float().flip(-1)


def pixelwise() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    module, values, _ = mlp((6, 7))
    return module.float(), values.float(), values.float().flip(0)


def skip() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    values = torch.randn(2, 1, 2, 6, 7)
    return Skip(), values[0], values[1]


NETWORKS: dict[str, Callable[[], Any]] = {"chain": chain, "pixelwise": pixelwise, "skip": skip}
CASES = [(network, method) for network in NETWORKS for method in ("paper", "official", "exact", "ablation")]


def two_frames(network: str, method: str) -> tuple[list[Layer], list[Layer]]:
    module, now, then = NETWORKS[network]()
    size = {"size": (6, 7)} if network == "pixelwise" else {}
    canvases = [xinc.trace(module, values, method=method, **size) for values in (now, then)]
    return [[canvas[name] for name in canvas.layers] for canvas in canvases]


def example(maps: np.ndarray) -> dict[str, Any]:
    """What each row of the table may be asked, for maps ``(K, H, W)``."""
    rng = np.random.default_rng(0)
    size, plane = np.abs(maps), maps.shape[1:]
    labels = {"a": rng.integers(-1, 3, plane), "b": rng.integers(0, 5, plane)}
    group = (np.arange(len(maps)) % 3).astype(np.int32)
    middle = (float(np.quantile(size, 0.61)), float(np.quantile(size, 0.93)))
    coarse = int(np.float32(size.max()).view(np.uint32)) >> 16
    return {
        "sums": True,
        "extremes": True,
        "regions": Groupings.of(labels),
        "histogram": True,
        "counts": True,
        "refined": (coarse,),
        "limit": (1.1 * size.mean(0)).astype(np.float32),
        "thresholds": middle,
        "top": min(2, len(maps)),
        "change": True,
        "group_heat": group,
        "group_over": (group, middle),
        "group_change": group,
    }


def held(stream: Stream, before: Stream, wanted: dict[str, Any]) -> Folded:
    """The dense twins of all rows, over maps that are all held."""
    maps = stream.maps(range(stream.neurons))
    given = Pass(before, **wanted)
    into = Folded.empty(stream.neurons, stream.size, given)
    dense_fold(maps, range(stream.neurons), given, into)
    return into


def close(found: np.ndarray, wanted: np.ndarray, name: str, maps: np.ndarray) -> None:
    """Sums up to rounding; what counts values may differ for the few that lie on the edge."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    if name == "leaders":
        picked = [np.take_along_axis(np.abs(maps), leaders.astype(np.int64), 0) for leaders in (found, wanted)]
        np.testing.assert_allclose(*picked, rtol=1e-4, atol=1e-6)
        return
    if name == "fine":  # one value may lie on the other side of the bin's edge
        assert abs(found.sum() - wanted.sum()) <= 1.01 * np.abs(maps).max()
        return
    if name in ("histogram", "counts"):
        np.testing.assert_allclose(found.sum(), wanted.sum(), rtol=1e-5)
        assert np.abs(found - wanted).sum() <= 0.05 * wanted.sum()
        return
    if name in ("over", "above", "group_over"):
        assert np.abs(found.astype(np.float64) - wanted).sum() <= max(2, 0.01 * np.abs(wanted).sum())
        return
    np.testing.assert_allclose(found, wanted, rtol=3e-5, atol=3e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(("network", "method"), CASES)
def test_every_row_under_every_method(network: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND_PIXELS", 64)
    monkeypatch.setattr("xinc.canvas.exact.exact.BAND_VALUES", 64)
    for now, then in zip(*two_frames(network, method), strict=True):
        maps = now.maps(range(now.shape[0])).numpy()
        asked = example(maps)
        wanted = held(now._stream, then._stream, asked)
        found = now._stream.fold(Pass(then._stream, **asked))
        assert found.keys() == wanted.keys()
        for name in wanted:
            close(found[name], wanted[name], name, maps)


def test_the_examples_cover_the_table() -> None:
    assert example(np.ones((2, 2, 2))).keys() == FOLDS.keys()
    fields = [array.name for row in FOLDS.values() for array in row.arrays]
    assert len(set(fields)) == len(fields)
    assert set(fields) <= set(NOTHING._fields)


def given_layer(maps: np.ndarray) -> Layer:
    from fake_layer import FakeLayer

    return FakeLayer(maps)


def test_dense_twins_are_right() -> None:
    """By NumPy, in the words of the definitions."""
    rng = np.random.default_rng(3)
    maps, before = rng.normal(size=(2, 7, 4, 5)).astype(np.float32)
    size, layer, other = np.abs(maps), given_layer(maps), given_layer(before)
    labels = rng.integers(-1, 3, (4, 5))
    group = np.arange(7) % 2
    found = layer.reduce(
        heatmap=True, totals=True, extremes=True, regions={"r": labels}, pixels_per_neuron=True, thresholds=(0.3,),
        neurons_per_pixel=(0.3,), top=3, change=other, curve=5,
    )  # fmt: skip
    np.testing.assert_allclose(found.heatmap, size.sum(0), rtol=1e-6)
    np.testing.assert_allclose(found.totals, size.sum((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.extremes, np.stack([size.min((1, 2)), size.max((1, 2))], 1))
    sums = np.stack([size[:, labels == g].sum(1) for g in range(3)], 1)
    np.testing.assert_allclose(found.regions["r"], sums, rtol=1e-5)
    np.testing.assert_array_equal(found.pixels_per_neuron, (size * 7 > size.sum(0)).sum((1, 2)))
    ordered = np.sort(size.ravel())[::-1].astype(np.float64)
    threshold = ordered[np.searchsorted(np.cumsum(ordered), 0.7 * ordered.sum())]
    assert found.thresholds[0.3] == pytest.approx(threshold)
    np.testing.assert_allclose(found.neurons_per_pixel[0.3], (size > threshold).mean(0))
    leaders, values = found.top
    np.testing.assert_array_equal(leaders, np.moveaxis(np.argsort(-size, 0)[:3], 0, -1))
    np.testing.assert_allclose(values, np.moveaxis(-np.sort(-size, 0)[:3], 0, -1))
    np.testing.assert_allclose(found.change, np.abs(size - np.abs(before)).sum(0), rtol=1e-6)
    assert found.curve.shape == (2, 5)
    pictures = layer.group_pictures(group, (0.3,), other)
    np.testing.assert_allclose(pictures["heatmap"][1], size[1::2].sum(0), rtol=1e-6)
    np.testing.assert_array_equal(pictures["above_0.3"][0], (size[::2] > np.float32(threshold)).sum(0))
    np.testing.assert_allclose(pictures["change"][1], np.abs(size - np.abs(before))[1::2].sum(0), rtol=1e-6)


class Counting(DenseStream):
    """A stream that notes its passes."""

    def fold(self, wanted: Pass, progress: Any = None) -> Folded:
        self.passes = [*getattr(self, "passes", []), sorted(row.name for row, _ in wanted.rows())]
        return super().fold(wanted, progress)


def test_reductions_take_the_fewest_passes() -> None:
    layer = given_layer(np.random.default_rng(0).normal(size=(5, 3, 4)))
    layer._stream.__class__ = Counting
    stream: Any = layer._stream
    layer.reduce(heatmap=True, pixels_per_neuron=True, neurons_per_pixel=(0.1, 0.5), curve=9)
    assert stream.passes == [["counts", "histogram", "sums"], ["limit", "refined"], ["thresholds"]]
    layer.reduce(totals=True, curve=20, thresholds=(0.5,))
    assert len(stream.passes) == 3
    labels = np.zeros((3, 4), int)
    layer.reduce(regions={"a": labels})
    layer.reduce(regions={"a": labels.copy(), "b": labels})
    layer.reduce(regions={"a": 1 - labels})
    assert stream.passes[3:] == [["regions"]] * 3
    assert set(layer.reduce().regions) == {"a", "b"}


def test_what_is_no_reduction_is_named() -> None:
    layer = given_layer(np.ones((2, 3, 4)))
    with pytest.raises(TraceError, match="no reduction is called 'heat'; there are heatmap, totals"):
        layer.reduce(heat=True)
    with pytest.raises(TraceError, match="no reduction"):
        layer.reduce(histogram=True)  # serves others
    with pytest.raises(AttributeError):
        _ = layer.reduce().heat
    assert layer.reduce().heatmap is None
    with pytest.raises(KeyError, match="no pass collects"):
        Pass(heat=True)
    assert all(row.summary for row in REDUCTIONS.values())
