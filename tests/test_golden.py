"""The published code's maps and reductions, reproduced to 1e-5 of each array's maximum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xinc
from oracle import reference_maps

NERV = [(name, layer) for name in ("nerv_small", "nerv_bunny") for layer in ("head", "block3", "block2", "block1")]
FFN = [("ffn_0005", layer) for layer in ("layer1", "layer2", "layer3")]


class Decoder(nn.Module):
    """A NeRV in functional torch, from a golden file's weights: no code of ours takes part."""

    def __init__(self, weights: dict[str, Tensor], grid: tuple[int, int]) -> None:
        super().__init__()
        self.weights, self.grid = weights, grid

    def forward(self, embedding: Tensor) -> Tensor:
        w = self.weights
        stem = "decoder.0.conv.downconv"
        x = F.gelu(F.conv2d(embedding, w[f"{stem}.weight"], w[f"{stem}.bias"])).view(1, -1, *self.grid)
        for block, stride in ((1, 4), (2, 2), (3, 2)):
            name = f"decoder.{block}.conv.upconv.0"
            x = F.gelu(F.pixel_shuffle(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1), stride))
        return torch.tanh(F.conv2d(x, w["head_layer.weight"], w["head_layer.bias"], padding=1)) * 0.5 + 0.5


class Perceptron(nn.Module):
    """The published FFN from a golden file's weights."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, coordinates: Tensor) -> Tensor:
        w = self.weights
        x = 2 * torch.pi * coordinates @ w["positional_encoding.B"].T
        x = torch.cat([torch.sin(x), torch.cos(x)], -1)
        for index in range(3):
            x = F.linear(x, w[f"net.{index}.linear.weight"], w[f"net.{index}.linear.bias"])
            x = torch.relu(x) if index < 2 else x
        return x


@pytest.fixture(scope="module")
def golden(shared: Path) -> Any:
    """A golden file with its canvas, loaded once each."""
    cache: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in cache:
            arrays = dict(np.load(shared / "golden" / f"{name}.npz"))
            weights = {key[7:]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith("weight.")}
            if name.startswith("ffn"):
                canvas = xinc.trace(
                    Perceptron(weights), torch.from_numpy(arrays["coordinates"]), method="official", size=(128, 256)
                )
            else:
                grid = (2, 4) if name == "nerv_small" else (8, 16)
                canvas = xinc.trace(Decoder(weights, grid), torch.from_numpy(arrays["embedding"]), method="official")
            cache[name] = arrays, canvas
        return cache[name]

    return load


def close(found: Any, wanted: np.ndarray) -> None:
    """Equal to 1e-5 of the wanted array's maximum."""
    found = np.asarray(found)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def few_differ(found: Any, wanted: np.ndarray, neurons: int) -> None:
    """Counts differ in at most 0.01 % of their events, where a value sits on its threshold."""
    found = np.asarray(found, np.float64)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).sum() <= 1e-4 * max(np.abs(wanted).sum(), neurons)


@pytest.mark.parametrize(("name", "layer"), FFN + NERV)
def test_maps(golden: Any, name: str, layer: str) -> None:
    arrays, canvas = golden(name)
    index = arrays[f"{layer}_map_index"]
    close(canvas[layer].maps(index), arrays[f"{layer}_maps"])


@pytest.mark.parametrize(("name", "layer"), FFN + NERV)
def test_reference_maps(golden: Any, name: str, layer: str) -> None:
    arrays, canvas = golden(name)
    index = arrays[f"{layer}_map_index"][:3]
    close(reference_maps(canvas.plan, layer, index.tolist(), "official"), arrays[f"{layer}_maps"][:3])


@pytest.mark.parametrize(("name", "layer"), FFN + NERV)
def test_reductions(golden: Any, name: str, layer: str) -> None:
    arrays, canvas = golden(name)
    areas = (0.1, 0.5) if f"{layer}_threshold_10" in arrays else ()
    found = canvas[layer].reduce(
        heatmap=True,
        totals=True,
        regions={"rgb": arrays["labels"].astype(int)},
        pixels_per_neuron=True,
        neurons_per_pixel=areas,
    )
    neurons = canvas[layer].shape[0]
    close(found.heatmap, arrays[f"{layer}_heatmap"])
    close(found.totals, arrays[f"{layer}_neuron_total"])
    signed = torch.cat([canvas[layer].maps(some).sum((1, 2)) for some in torch.arange(neurons).split(256)])
    close(signed, arrays[f"{layer}_neuron_signed_total"])
    close(found.regions["rgb"], arrays[f"{layer}_region_sums"])
    few_differ(found.pixels_per_neuron, arrays[f"{layer}_pixels_per_neuron"], neurons)
    for area, name_ in zip(areas, ("10", "50"), strict=False):
        assert found.thresholds[area] == pytest.approx(float(arrays[f"{layer}_threshold_{name_}"]), rel=1e-5)
        few_differ(
            found.neurons_per_pixel[area] * neurons, arrays[f"{layer}_neurons_per_pixel_{name_}"] * neurons, neurons
        )


def test_neuron_labels_follow_the_published_order(golden: Any) -> None:
    _, canvas = golden("nerv_small")
    table = canvas["block3"].neurons
    assert list(table.columns) == ["layer", "neuron", "module", "input", "output"]
    assert (table["neuron"] == table["input"] * 28 + table["output"]).all()
    _, canvas = golden("ffn_0005")
    assert (canvas["layer2"].neurons["output"] == -1).all()


def test_the_network_is_reproduced(golden: Any) -> None:
    for name in ("ffn_0005", "nerv_small", "nerv_bunny"):
        arrays, canvas = golden(name)
        close(canvas.output, arrays["image"])


class Rest(nn.Module):
    """Two blocks and the head of a NeRV, from the weights of the small golden file."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.weights = {key[7:]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith("weight.")}

    def forward(self, x: Tensor) -> Tensor:
        w = self.weights
        for block in (2, 3):
            name = f"decoder.{block}.conv.upconv.0"
            x = F.gelu(F.pixel_shuffle(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1), 2))
        return torch.tanh(F.conv2d(x, w["head_layer.weight"], w["head_layer.bias"], padding=1)) * 0.5 + 0.5


@pytest.mark.parametrize(("layer", "golden_name"), [("block1", "block2"), ("block2", "block3"), ("head", "head")])
def test_a_public_clone_equals_the_published_code(layer: str, golden_name: str) -> None:
    """With the numbers in ``tests/golden``, which need no other files."""
    arrays = dict(np.load(Path(__file__).parent / "golden" / "nerv_tiny.npz"))
    canvas = xinc.trace(Rest(arrays), torch.from_numpy(arrays["values"])[None], method="official")
    close(canvas.output, arrays["image"])
    found, neurons = canvas[layer], canvas[layer].shape[0]
    given = {key.removeprefix(f"{golden_name}_"): value for key, value in arrays.items() if key.startswith(golden_name)}
    close(found.heatmap(), given["heatmap"])
    close(found.totals(), given["neuron_total"])
    close(found.maps(range(neurons)).sum((1, 2)), given["neuron_signed_total"])
    few_differ(found.pixels_per_neuron(), given["pixels_per_neuron"], neurons)
    for area in (10, 50):
        assert found.threshold(area / 100) == pytest.approx(float(given[f"threshold_{area}"]), rel=1e-5)
    if "maps" in given:
        close(found.maps(given["map_index"]), given["maps"])
    if "region_sums" in given:
        close(found.region_sums(arrays["labels"].astype(int)), given["region_sums"])
    if "neurons_per_pixel_50" in given:
        few_differ(found.neurons_per_pixel(0.5) * neurons, given["neurons_per_pixel_50"], neurons)
