"""The networks: parity with the published weights, sizes, inputs, and errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from xinc import models
from xinc.errors import ModelError
from xinc.models import base
from xinc.models.networks.ffn import FFN, FFNConfig
from xinc.models.networks.nerv import NeRV, NeRVConfig
from xinc.models.parts import coordinates


def golden(shared: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, torch.Tensor]]:
    with np.load(shared / "golden" / f"{name}.npz") as file:
        arrays = {k: file[k] for k in file.files if k.startswith(("weight.", "stage_")) or "_" not in k}
    return arrays, {k[7:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("weight.")}


def test_ffn_gives_the_published_picture(shared: Path) -> None:
    arrays, weights = golden(shared, "ffn_0005")
    model = FFN(FFNConfig.make((128, 256)))
    model.load_state_dict(weights)
    coordinates = torch.from_numpy(arrays["coordinates"])
    image = torch.from_numpy(arrays["image"])
    assert torch.equal(model.frame_input(0).reshape(-1, 2), coordinates)
    with torch.no_grad():
        assert (model(coordinates).T.reshape(image.shape) - image).abs().max() < 1e-5
        assert (model.render(0) - image).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "size", "fc_dim", "index"), [("nerv_small", (32, 64), 12, 7), ("nerv_bunny", (128, 256), 37, 5)]
)
def test_nerv_gives_the_published_stages_and_picture(
    shared: Path, name: str, size: tuple[int, int], fc_dim: int, index: int
) -> None:
    arrays, weights = golden(shared, name)
    model = NeRV(NeRVConfig.make(size, 33, fc_dim=fc_dim, encoding="float32"))
    model.load_state_dict(weights)
    seen: list[torch.Tensor] = []
    for block in model.decoder:
        block.register_forward_hook(lambda _module, _input, output: seen.append(output[0]))
    with torch.no_grad():
        image = model(torch.from_numpy(arrays["embedding"]))[0]
    assert (image - torch.from_numpy(arrays["image"])).abs().max() < 1e-5
    assert torch.equal(model.frame_input(index), torch.from_numpy(arrays["embedding"]))
    stages = [arrays[k] for k in ("stage_0", "stage_2", "stage_3", "stage_4")]
    for block, stage in zip(seen, stages, strict=True):
        if stage.size:  # the largest stages are not stored
            assert (block - torch.from_numpy(stage)).abs().max() < 1e-5


OPTIONS = {"ffn": {"width": 8}, "siren": {"width": 8}, "nerv": {"fc_dim": 6}, "hnerv": {"fc_dim": 12}}


@pytest.mark.parametrize("name", models.FAMILIES)
def test_every_family_makes_pictures_of_its_own_inputs(name: str) -> None:
    frames = 1 if models.family(name).still else 3
    model = models.build(name, (64, 128), frames, **OPTIONS[name])
    image = model.render(frames - 1)
    assert image.shape == (3, 64, 128)
    assert image.isfinite().all()
    assert not model.frame_input(0).requires_grad


@pytest.mark.parametrize("name", models.FAMILIES)
def test_configurations_survive_json(name: str) -> None:
    config = models.configure(name, (64, 128), **OPTIONS[name])
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", models.FAMILIES)
def test_a_parameter_target_is_met(name: str) -> None:
    model = models.build(name, (64, 128), params=60_000)
    assert models.count_parameters(model) == pytest.approx(60_000, rel=0.05)


def test_the_papers_sizes() -> None:
    nerv, ffn = models.build("nerv", (128, 256), 30), models.build("ffn", (128, 256))
    assert models.count_parameters(nerv) == 978_557
    assert models.count_parameters(ffn) == 32_971
    assert models.bits_per_pixel(978_557, 30 * 128 * 256) == pytest.approx(7.96, abs=0.01)
    by_size = models.configure("nerv", (128, 256), 30, bpp=7.96)
    assert by_size == nerv.config


def test_nerv_embeds_time_in_double_precision() -> None:
    """The last levels turn by 10^8 radians: single precision would be another embedding."""
    model = models.build("nerv", (16, 16), 7, fc_dim=6)
    frequencies = (1.25 ** torch.arange(80) * torch.pi).double()
    angles = 3 / 7 * frequencies
    wanted = torch.cat([angles.sin(), angles.cos()]).float()
    assert torch.allclose(model.frame_input(3).flatten(), wanted, atol=1e-6)
    single = models.build("nerv", (16, 16), 7, fc_dim=6, encoding="float32").frame_input(3).flatten()
    assert (single - wanted).abs().max() > 0.05


def test_interleaved_encoding_is_the_original_nervs() -> None:
    model = models.build("nerv", (16, 16), 4, fc_dim=6, encoding="interleaved")
    time = torch.tensor(0.25)
    wanted = [f(time * 1.25**i * math.pi) for i in range(80) for f in (torch.sin, torch.cos)]
    assert torch.equal(model.frame_input(1).flatten(), torch.stack(wanted))


@pytest.mark.parametrize(
    ("layout", "corner"),
    [
        ("longest_yx", (-0.6, 1.0)),
        ("longest_xy", (1.0, -0.6)),
        ("axes_yx", (1.0, 1.0)),
        ("axes_xy", (1.0, 1.0)),
    ],
)
def test_coordinate_layouts(layout: str, corner: tuple[float, float]) -> None:
    grid = coordinates((2, 6), layout)
    assert grid.shape == (2, 6, 2)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[1, 5].tolist() == pytest.approx(corner)
    moving = 1 if layout.endswith("yx") else 0
    assert grid[0, 1, 1 - moving] == -1
    assert grid[0, 1, moving] > -1


def test_one_pixel_has_coordinates() -> None:
    assert models.build("ffn", (1, 1), width=4).render(0).isfinite().all()


def test_bands_of_rows_make_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.build("ffn", (13, 10), width=8)
    whole = model.render(0)
    monkeypatch.setattr(base, "BAND", 45)  # bands of four rows, the last of one
    assert torch.allclose(model.render(0), whole, atol=1e-6)


def test_features_are_kept_or_computed_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    model, chosen = models.build("ffn", (6, 7), width=8), torch.tensor([3, 41, 0])
    frames = torch.rand(1, 3, 6, 7)
    kept = model.items(frames)
    monkeypatch.setattr(base, "KEPT_FEATURES", 10)
    computed = model.items(frames)
    assert torch.allclose(kept.predict(chosen), computed.predict(chosen), atol=1e-6)
    assert torch.equal(kept.targets[3], frames[0, :, 0, 3])
    assert torch.allclose(kept.predict(chosen)[1], model.render(0)[:, 5, 6], atol=1e-6)


def test_siren_keeps_its_activations_spread() -> None:
    """The initialisation of the SIREN paper: weights alone give the sines arguments of unit variance."""
    torch.manual_seed(0)
    model = models.build("siren", (32, 32), width=256, layers=5)
    x = model.frame_input(0)
    for layer in list(model.net)[:-1]:
        angles = layer.activation.w0 * x @ layer.linear.weight.T
        x = layer(x)
    assert angles.std().item() == pytest.approx(1, abs=0.1)


def test_decoder_blocks_read_their_kernels_and_strides() -> None:
    model = models.build("nerv", (30, 45), 2, fc_dim=8, strides=(5, 3, 1), kernels=(1, 5, 3), activation="relu")
    assert model.render(1).shape == (3, 30, 45)
    assert [tuple(b.conv.upconv[0].weight.shape[2:]) for b in list(model.decoder)[1:]] == [(1, 1), (5, 5), (3, 3)]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: models.build("nerf", (16, 16)), "choose from ffn, siren, nerv, hnerv"),
        (lambda: models.build("nerv", (100, 256), 3), "to 96×256 (128×256 suits nerv and hnerv as they come), or"),
        (lambda: models.build("nerv", (16, 16), 3, kernels=(3, 4, 3)), "kernel size 4"),
        (lambda: models.build("nerv", (16, 16), 3, kernels=(3, 3)), "needs 3 kernels and 4 widths"),
        (
            lambda: models.build("nerv", (16, 16), 3, activation="sinc"),
            "the option activation cannot be 'sinc'; give one of gelu, relu, ",
        ),
        (lambda: models.build("nerv", (16, 16), 3, width=3), "nerv has no option 'width'"),
        (lambda: models.build("nerv", (16, 16), 3, params=1e5, fc_dim=8), "give one of params, bpp and fc_dim"),
        (lambda: models.build("nerv", (16, 16), 3, params=10), "has at least"),
        (lambda: models.build("ffn", (16, 16), 2), "represents one frame, not 2"),
        (
            lambda: models.build("siren", (16, 16), layers=1),
            "the option layers cannot be 1; give a whole number from 2 to 256",
        ),
        (lambda: models.build("nerv", (16, 16), 3).render(3), "frame 3 does not exist: the network has frames 0 to 2"),
        (
            lambda: FFNConfig.from_dict({"size": [4, 4], "frames": 1, "depth": 3}),
            "the description of a network (ffn) has no option 'depth'; it has size, frames,",
        ),
        (lambda: FFNConfig.from_dict({"size": [4, 4]}), "lacks frames"),
    ],
)
def test_errors_name_the_thing_and_the_remedy(call: Callable[[], object], told: str) -> None:
    with pytest.raises(ModelError, match=re.escape(told)):
        call()
