"""Other people's files: nothing in them runs, every naming gives the same pictures, and errors say what differs."""

from __future__ import annotations

import math
import pickle
import re
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from careless import Touch
from xinc import models
from xinc.errors import CheckpointError, ModelError
from xinc.imported import import_checkpoint
from xinc.models.base import INR
from xinc.models.checkpoints.convnext import ConvNeXt
from xinc.models.checkpoints.files import read_file
from xinc.models.checkpoints.importing import import_network, open_checkpoint
from xinc.models.parts import LAYOUTS, OUTPUTS, Sine, coordinates
from xinc.run import load
from xinc.signals.clip import Clip


@torch.no_grad()
def frames_of(model: INR) -> Tensor:
    return torch.stack([model.render(i) for i in range(model.config.frames)])


def contrasty(model: INR) -> INR:
    """Larger weights: pictures in which a wrong activation or output function shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model


@pytest.fixture
def nerv() -> INR:
    torch.manual_seed(3)
    return contrasty(models.build("nerv", (16, 32), 4, fc_dim=6, activation="relu", output="sigmoid"))


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def omegaconf() -> Iterator[types.ModuleType]:
    """A stand-in for the package whose objects lie in the paper's checkpoint; gone again when the file is read."""
    module = types.ModuleType("omegaconf")

    class DictConfig(dict):  # type: ignore[type-arg]
        pass

    class AnyNode:
        def __init__(self, value: object) -> None:
            self.value = value

    for cls in (DictConfig, AnyNode):
        cls.__module__, cls.__qualname__ = "omegaconf", cls.__name__
        setattr(module, cls.__name__, cls)
    sys.modules["omegaconf"] = module
    yield module
    sys.modules.pop("omegaconf", None)


def test_code_in_a_file_does_not_run_and_its_tensors_are_read(tmp_path: Path, nerv: INR) -> None:
    marker = tmp_path / "executed"
    torch.save({"hook": Touch(marker), "state_dict": nerv.state_dict(), "more": [Touch(marker)]}, tmp_path / "m.pth")
    pickle.loads(pickle.dumps(Touch(marker)))
    assert marker.exists(), "the file does act when it is loaded carelessly"
    marker.unlink()
    checkpoint = open_checkpoint(tmp_path / "m.pth")
    assert not marker.exists()
    assert all(torch.equal(checkpoint.weights[k], v) for k, v in nerv.state_dict().items())
    assert "nothing was executed: " in checkpoint.notes[0]
    assert "touch" in checkpoint.notes[0] or "getattr" in checkpoint.notes[0]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("content", ["legacy", "bare"])
def test_code_in_older_formats_does_not_run(tmp_path: Path, protocol: int, content: str) -> None:
    marker, path = tmp_path / "executed", tmp_path / "old.pth"
    if content == "legacy":
        torch.save({"state_dict": Touch(marker)}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(Touch(marker), protocol=protocol))
    with pytest.raises(CheckpointError, match=r"cannot be read as tensors|holds a whole object"):
        open_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("attack", ["build", "inst", "call placeholder", "huge"])
def test_hand_made_pickles_reach_nothing(tmp_path: Path, attack: str) -> None:
    """What torch.save never writes: state set on builders, INST, calls of placeholders, views beyond storage."""
    import zipfile

    marker = tmp_path / "executed"
    command = f"touch {marker}".encode()
    codes = {
        "build": b"ctorch._utils\n_rebuild_tensor_v2\n(dS'__code__'\ncos\nsystem\nsb0.",
        "inst": b"(S'" + command + b"'\nios\nsystem\n.",
        "call placeholder": b"cos\nsystem\n(S'" + command + b"'\ntR(S'" + command + b"'\ntR.",
        "huge": b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI1\ntQ"
        b"I0\n(I1000000\nI1000000\nt(I0\nI0\ntI00\nNtR.",
    }
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as archive:
        archive.writestr("archive/data.pkl", codes[attack])
        archive.writestr("archive/data/0", b"\0\0\0\0")
        archive.writestr("archive/version", "3")
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / "m.pth")
    assert not marker.exists()


def test_every_kind_of_tensor_survives_the_tolerant_reader(tmp_path: Path, omegaconf: types.ModuleType) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors: dict[str, Any] = {
        "half": whole.half(),
        "double": whole.double(),
        "bfloat16": whole.bfloat16(),
        "bytes": whole.byte(),
        "flags": whole > 3,
        "transposed": whole.T,
        "a view": whole[1:3, ::2],
        "the same storage": whole,
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(whole),
    }
    path = tmp_path / "m.ckpt"
    torch.save({"cfg": omegaconf.AnyNode(1), "kept": OrderedDict(tensors), "size": torch.Size([3])}, path)
    sys.modules.pop("omegaconf")
    content, skipped = read_file(path)
    assert skipped == ["omegaconf.AnyNode"]
    assert content["size"] == (3,)
    for name, value in tensors.items():
        assert torch.equal(content["kept"][name], value.detach()), name
        assert content["kept"][name].dtype == value.dtype


WRAPPED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "bare": lambda w: w,
    "training": lambda w: {"epoch": 3, "state_dict": w, "train_best_psnr": torch.tensor(30.0), "optimizer": {}},
    "data parallel": lambda w: {"model": {f"module.{k}": v for k, v in w.items()}},
    "compiled": lambda w: {"model_state_dict": {f"_orig_mod.{k}": v for k, v in w.items()}},
    "lightning": lambda w: {"state_dict": {f"model.{k}": v for k, v in w.items()}, "callbacks": {"psnr": 3}},
    "twice": lambda w: {"model_state": {f"module._orig_mod.{k}": v for k, v in w.items()}},
    "profiled": lambda w: {**w, "total_ops": torch.zeros(1), "decoder.1.total_params": torch.zeros(1)},
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_wrappers_and_leading_prefixes_are_taken_off(wrapped: str, tmp_path: Path, nerv: INR) -> None:
    torch.save(WRAPPED[wrapped](nerv.state_dict()), tmp_path / "m.pth")
    weights = open_checkpoint(tmp_path / "m.pth").weights
    assert weights.keys() == nerv.state_dict().keys()


def test_folders_of_training_code(tmp_path: Path, nerv: INR) -> None:
    save_file(nerv.state_dict(), tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).weights.keys() == nerv.state_dict().keys()


def test_only_leading_prefixes_are_taken_off(tmp_path: Path) -> None:
    save_file({"net.module.model.weight": torch.zeros(2)}, tmp_path / "m.safetensors")
    assert list(open_checkpoint(tmp_path / "m.safetensors").weights) == ["net.module.model.weight"]
    save_file({"a.weight": torch.zeros(2), "model.a.weight": torch.ones(2)}, tmp_path / "m.safetensors")
    assert set(open_checkpoint(tmp_path / "m.safetensors").weights) == {"a.weight", "model.a.weight"}


# --- NeRV -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("activation", "output"), [
    ("gelu", "tanh_unit"), ("relu", "sigmoid"), ("silu", "shifted"), ("leaky_relu_0.1", "sigmoid"),
    ("sin", "tanh_unit"),
])  # fmt: skip
def test_what_shapes_leave_open_is_chosen_by_the_fit_and_said(activation: str, output: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = contrasty(models.build("nerv", (32, 48), 3, fc_dim=9, strides=(4, 1, 2), kernels=(1, 5, 3)))
    model = model_with(model, activation=activation, output=output, encoding="float32")
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    clip = Clip(frames_of(model).clamp(0, 1), ("a", "b", "c"))
    run = import_checkpoint(tmp_path / "m.safetensors", "nerv", clip)
    assert run.config == model.config
    assert run.psnr().min() > 60
    said = run.settings["notes"][-1]
    assert f"activation {activation}" in said
    assert f"output {output}" in said


def model_with(model: INR, **changes: Any) -> INR:
    other = type(model)(type(model.config).from_dict({**model.config.to_dict(), **changes}))
    other.load_state_dict(model.state_dict())
    return other


class OriginalNeRV(nn.Module):
    """The original NeRV as its authors publish it, with a 1×1 head at every resolution."""

    def __init__(self, fc: tuple[int, int, int], strides: list[int], widths: list[int], stem: int) -> None:
        super().__init__()
        self.fc = fc
        size = math.prod(fc)
        self.stem = nn.Sequential(nn.Linear(160, stem), nn.GELU(), nn.Linear(stem, size), nn.GELU())
        self.layers, self.head_layers = nn.ModuleList(), nn.ModuleList()
        for inputs, outputs, stride in zip([fc[2], *widths[:-1]], widths, strides, strict=True):
            layer = nn.Module()
            layer.conv = nn.Module()
            layer.conv.conv = nn.Conv2d(inputs, outputs * stride**2, 3, padding=1)
            layer.conv.up_scale, layer.act = nn.PixelShuffle(stride), nn.GELU()
            self.layers.append(layer)
            self.head_layers.append(nn.Conv2d(outputs, 3, 1))

    def forward(self, time: Tensor) -> Tensor:
        values = []
        for i in range(80):
            values += [torch.sin(time * 1.25**i * math.pi), torch.cos(time * 1.25**i * math.pi)]
        x = self.stem(torch.stack(values)[None]).view(1, self.fc[2], *self.fc[:2])
        for layer in self.layers:
            x = layer.act(layer.conv.up_scale(layer.conv.conv(x)))
        return (torch.tanh(self.head_layers[-1](x)) + 1) * 0.5


def test_the_original_nerv(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = contrasty(OriginalNeRV((2, 3, 8), [3, 2], [10, 6], stem=12))  # type: ignore[arg-type]
    with torch.no_grad():
        frames = torch.cat([model(torch.tensor(i / 5)) for i in range(5)])
    torch.save({"epoch": 1, "state_dict": model.state_dict()}, tmp_path / "nerv.pth")
    run = import_checkpoint(tmp_path / "nerv.pth", "nerv", Clip(frames, tuple("abcde")), out=tmp_path / "run")
    assert run.config.encoding == "interleaved"
    assert run.config.stem == (12,)
    assert run.config.grid == (2, 3)
    for i in range(5):
        assert (run.render(i) - frames[i]).abs().max() < 1e-5
    assert any("heads" in note for note in run.settings["notes"])
    again = load(tmp_path / "run")
    assert torch.equal(again.render(3), run.render(3))
    assert again.settings == run.settings
    assert len(again.history) == 0


# --- HNeRV ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hnerv() -> INR:
    torch.manual_seed(4)
    return contrasty(models.build("hnerv", (20, 40), 3, fc_dim=12, strides=(5, 2), channels=4, kernels=(1, 3)))


def quantised(value: Tensor) -> dict[str, Tensor]:
    low, high = value.min(), value.max()
    scale = (high - low) / 255
    return {"quant": ((value - low) / scale).round().to(torch.uint8), "min": low, "scale": scale}


def test_the_8_bit_format(tmp_path: Path, hnerv: INR) -> None:
    state = hnerv.state_dict()
    embed = quantised(state.pop("embedding"))
    torch.save({"embed": embed, "model": {k: quantised(v) for k, v in state.items()}}, tmp_path / "quant_vid.pth")
    clip = Clip(frames_of(hnerv), ("a", "b", "c"))
    run = import_checkpoint(tmp_path / "quant_vid.pth", "hnerv", clip)
    assert run.config == hnerv.config
    assert run.psnr().min() > 35
    assert "stored in 8 bits" in run.settings["notes"][0]
    fewer = Clip(clip.frames[:2], ("a", "b"))
    with pytest.raises(CheckpointError, match=re.escape("embeddings of 3 frames, the clip has 2; give the clip")):
        import_checkpoint(tmp_path / "quant_vid.pth", "hnerv", fewer)


@pytest.mark.parametrize("beside", [False, True])
def test_an_encoder_makes_the_embeddings(beside: bool, tmp_path: Path, hnerv: INR) -> None:
    encoder = ConvNeXt([6, 4], [5, 2], blocks=2)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.5)
    frames = torch.rand(3, 3, 20, 40)
    state = hnerv.state_dict()
    stored = state.pop("embedding")
    state |= {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    torch.save({"state_dict": state, **({"embedding": stored} if beside else {})}, tmp_path / "m.pth")
    found = import_network(open_checkpoint(tmp_path / "m.pth"), "hnerv", frames)
    with torch.no_grad():
        wanted = stored if beside else encoder(frames)
    assert torch.allclose(found.model.state_dict()["embedding"], wanted, atol=1e-5)
    assert any("encoder" in note for note in found.notes)


def test_the_encoder_is_convnext() -> None:
    """Against the same arithmetic in the other layout: channels-first normalisation written out."""
    torch.manual_seed(0)
    encoder = ConvNeXt([6, 4], [2, 2], blocks=1)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter)
    names = {n for n, _ in encoder.named_parameters()}
    assert {"downsample_layers.0.1.bias", "downsample_layers.1.0.weight", "stages.1.0.pwconv2.bias"} <= names

    def norm(x: Tensor, part: nn.Module) -> Tensor:
        u = x.mean(1, keepdim=True)
        y = (x - u) / torch.sqrt((x - u).pow(2).mean(1, keepdim=True) + 1e-6)
        return part.weight[:, None, None] * y + part.bias[:, None, None]  # type: ignore[index]

    def block(x: Tensor, b: Any) -> Tensor:
        y = norm(b.dwconv(x), b.norm)
        y = nn.functional.conv2d(y, b.pwconv1.weight[..., None, None], b.pwconv1.bias)
        y = nn.functional.conv2d(nn.functional.gelu(y), b.pwconv2.weight[..., None, None], b.pwconv2.bias)
        return x + b.gamma[:, None, None] * y

    x = torch.rand(2, 3, 8, 12)
    first, second = encoder.downsample_layers
    y = block(norm(first[0](x), first[1]), encoder.stages[0][0])
    y = block(second[1](norm(y, second[0])), encoder.stages[1][0])
    assert torch.allclose(encoder(x), y, atol=1e-4)


def test_another_encoder_is_refused_with_the_way_out(tmp_path: Path, hnerv: INR) -> None:
    state = {k: v for k, v in hnerv.state_dict().items() if k != "embedding"}
    torch.save({**state, "encoder.0.conv.downconv.weight": torch.zeros(4, 3, 5, 5)}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=re.escape("not HNeRV's ConvNeXt")) as told:
        import_network(open_checkpoint(tmp_path / "m.pth"), "hnerv", torch.rand(3, 3, 20, 40))
    assert "under the key 'embedding'" in str(told.value)


@pytest.mark.slow
def test_the_published_hnerv_shows_the_clip(shared: Path) -> None:
    """The authors' 8-bit file at 640×1280, against the frame of Big Buck Bunny (rows 40 to 680)."""
    import xinc
    from xinc.errors import SignalError

    checkpoint = open_checkpoint(shared / "data" / "hnerv_bunny" / "quant_vid.pth")
    assert checkpoint.family == "hnerv"
    size = checkpoint.picture_size("hnerv", 720 / 1280)
    assert size == (640, 1280)
    try:
        frame = xinc.open("bunny", size=size, start=66, count=1).frames
    except SignalError as absent:
        pytest.skip(f"the sample clip is not here: {absent}")
    found = import_network(checkpoint, "hnerv", frame.expand(132, -1, -1, -1), {"activation": "gelu"})
    assert found.psnr > 31
    assert found.model.config.output == "tanh_unit"
    assert found.model.config.kernels == (1, 3, 5, 5, 5)
    assert found.model.config.strides == (5, 4, 4, 2, 2)


# --- coordinate networks ----------------------------------------------------------------------------------------------


def test_the_papers_ffn_in_a_lightning_checkpoint(shared: Path, tmp_path: Path, omegaconf: types.ModuleType) -> None:
    with np.load(shared / "golden" / "ffn_0005.npz") as file:
        weights = {f"model.{k[7:]}": torch.from_numpy(file[k]) for k in file.files if k.startswith("weight.")}
        image = torch.from_numpy(file["image"])
    settings = omegaconf.DictConfig(network=omegaconf.AnyNode("ffn"))
    content = {"state_dict": OrderedDict(weights), "hyper_parameters": {"cfg": settings}, "epoch": 999}
    torch.save(content, tmp_path / "best_model.ckpt")
    sys.modules.pop("omegaconf")
    run = import_checkpoint(tmp_path / "best_model.ckpt", "ffn", Clip(image[None].clamp(0, 1), ("0005",)))
    assert run.psnr()[0] > 60
    assert (run.model.render(0) - image).abs().max() < 1e-5
    assert run.config.layout == "longest_yx"
    assert run.config.output == "identity"
    assert "omegaconf" in run.settings["notes"][0]


SIRENS: dict[str, Callable[[int, int], str]] = {
    "authors": lambda i, last: f"net.net.{i}.0",
    "authors' notebook": lambda i, last: f"net.{i}" if i == last else f"net.{i}.linear",
    "siren-pytorch": lambda i, last: "last_layer" if i == last else f"layers.{i}",
    "siren-pytorch, wrapped": lambda i, last: "net.last_layer" if i == last else f"net.layers.{i}",
    "siren-pytorch, old": lambda i, last: "last_layer" if i == last else f"net.{i}",
    "coin": lambda i, last: "last_layer.linear" if i == last else f"net.{i}.linear",
    "ours": lambda i, last: f"net.{i}.linear",
}


@pytest.mark.parametrize(
    ("naming", "factors", "output"),
    [*((naming, (30.0, 30.0), "half") for naming in SIRENS), ("siren-pytorch", (30.0, 1.0), "sigmoid")],
)
def test_sirens_of_every_naming(naming: str, factors: tuple[float, float], output: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    depth, width, size = 12, 16, (12, 20)  # twelve layers: names must be sorted as numbers
    layers = [nn.Linear(i, o) for i, o in zip([2] + [width] * (depth - 1), [width] * (depth - 1) + [3], strict=True)]
    x = coordinates(size, "axes_xy")
    with torch.no_grad():
        for i, layer in enumerate(layers):
            nn.init.uniform_(layer.weight, -0.5, 0.5) if i == 0 else nn.init.uniform_(
                layer.weight, -math.sqrt(6 / width) / factors[1], math.sqrt(6 / width) / factors[1]
            )
            x = layer(x) if i == depth - 1 else Sine(factors[min(i, 1)])(layer(x))
    frame = OUTPUTS[output](x).movedim(-1, 0).detach().clamp(0, 1)
    names = [SIRENS[naming](i, depth - 1) for i in range(depth)]
    state = {f"{n}.{k}": v for n, layer in zip(names, layers, strict=True) for k, v in layer.state_dict().items()}
    torch.save({"model": dict(reversed(state.items()))}, tmp_path / "m.pth")
    assert open_checkpoint(tmp_path / "m.pth").family == "siren"
    run = import_checkpoint(tmp_path / "m.pth", "siren", Clip(frame[None], ("a",)))
    assert (run.render(0) - frame).abs().max() < 1e-4
    assert (run.config.w0_first, run.config.w0) == factors
    assert (run.config.output, run.config.layout) == (output, "axes_xy")


@pytest.mark.parametrize(
    ("layout", "w0", "final"),
    [(name, (10.0, 60.0, 20.0)[n % 3], ("linear", "linear", "sine")[n % 3]) for n, name in enumerate(LAYOUTS)],
)
def test_sirens_of_other_coordinates_factors_and_ends(layout: str, w0: float, final: str, tmp_path: Path) -> None:
    torch.manual_seed(6)
    width, size = 24, (12, 20)
    layers = [nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, 3)]
    x = coordinates(size, layout)
    with torch.no_grad():
        for i, layer in enumerate(layers):
            bound = 0.5 if i == 0 else math.sqrt(6 / width) / w0
            nn.init.uniform_(layer.weight, -bound, bound)
            x = layer(x) if i == 2 and final == "linear" else Sine(w0)(layer(x))
    frame = OUTPUTS["half"](x).movedim(-1, 0).detach().clamp(0, 1)
    state = {f"net.{i}.linear.{k}": v for i, layer in enumerate(layers) for k, v in layer.state_dict().items()}
    torch.save(state, tmp_path / "m.pth")
    run = import_checkpoint(tmp_path / "m.pth", "siren", Clip(frame[None], ("a",)))
    assert (run.render(0) - frame).abs().max() < 1e-3
    assert (run.config.w0, run.config.final) == (w0, final)


def test_known_settings_are_taken_not_guessed(tmp_path: Path) -> None:
    model = models.build("siren", (8, 8), width=8, w0=7.0)
    torch.save(model.state_dict(), tmp_path / "m.pth")
    clip = Clip(frames_of(model).clamp(0, 1), ("a",))
    known = {"w0": 7.0, "output": "identity", "layout": "axes_yx", "w0_first": 30.0, "final": "linear"}
    run = import_checkpoint(tmp_path / "m.pth", "siren", clip, **known)
    assert run.config == model.config
    assert "chosen" not in run.settings["notes"][-1]
    with pytest.raises(ModelError, match="siren has no option 'activation'; it has"):
        import_checkpoint(tmp_path / "m.pth", "siren", clip, activation="relu")


def test_a_network_of_another_signal_is_doubted(tmp_path: Path, nerv: INR) -> None:
    torch.save(nerv.state_dict(), tmp_path / "m.pth")
    run = import_checkpoint(tmp_path / "m.pth", "nerv", Clip(torch.rand(4, 3, 16, 32), tuple("abcd")))
    note = run.settings["notes"][-1]
    assert "that is far from the signal" in note
    assert note.endswith("what you know can be said by --set: activation, output, base, encoding, grid")


# --- errors -----------------------------------------------------------------------------------------------------------


def _without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without("decoder.2.conv.upconv.0.bias"), "missing: decoder.2.conv.upconv.0.bias"),
        (_without("head_layer.weight"), "it has no head_layer.weight"),
        (lambda s: {**s, "extra": torch.zeros(2)}, "unknown: extra"),
        (
            lambda s: {**s, "head_layer.bias": torch.zeros(4)},
            "other shapes: head_layer.bias (4,) instead of (3,)",
        ),
        (lambda s: {**s, "decoder.1.norm.weight": torch.zeros(6)}, "it normalises (decoder.1.norm.weight)"),
        (lambda s: {**s, "decoder.1.conv.upconv.0.weight": torch.zeros(97, 6, 3, 3)}, "no square shuffle"),
        (lambda s: {**s, "embed": torch.zeros(4, 160, 1, 1)}, "it is an hnerv (it looks like a hnerv; try --as hnerv)"),
        (lambda s: {"net.0.weight": torch.zeros(8, 2), "net.1.weight": torch.zeros(3, 8)}, "try --as siren"),
        (lambda s: {"positional_encoding.B": torch.zeros(8, 2)}, "try --as ffn"),
        (lambda s: {"conv1.weight": torch.zeros(8, 2, 3, 3)}, "(it has conv1.weight, ...)"),
        (lambda s: {"epoch": 3}, "holds no named weights (found: epoch)"),
        (lambda s: [torch.zeros(3)], "holds no named weights (found: list)"),
    ],
)
def test_what_differs_is_listed(change: Callable[[Any], Any], told: str, tmp_path: Path, nerv: INR) -> None:
    torch.save(change(dict(nerv.state_dict())), tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=re.escape(told)):
        import_checkpoint(tmp_path / "m.pth", "nerv", Clip(torch.rand(4, 3, 16, 32), tuple("abcd")))


@pytest.mark.parametrize(
    ("weights", "name", "told"),
    [
        ({"net.0.weight": torch.zeros(8, 3), "net.1.weight": torch.zeros(3, 8)}, "siren", "do not lead from 2 values"),
        ({"net.0.weight": torch.zeros(8, 2), "net.1.weight": torch.zeros(3, 9)}, "siren", "do not lead from 2 values"),
        ({"a.weight": torch.zeros(8, 2), "gate": torch.zeros(8)}, "siren", "nothing is known of gate"),
        ({"positional_encoding.B": torch.zeros(8, 3)}, "ffn", "takes 3 coordinates"),
        ({"net.0.weight": torch.zeros(8, 2)}, "ffn", "it has no positional_encoding.B"),
        ({"stem.0.weight": torch.zeros(8, 160), "layers.0.conv.conv.weight": torch.zeros(4, 4, 3, 3)}, "nerv", "stem"),
    ],
)
def test_shapes_that_are_no_network(weights: dict[str, Tensor], name: str, told: str, tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(tmp_path / "m.pth", name, Clip(torch.rand(1, 3, 16, 32), ("a",)))


def test_files_that_are_no_checkpoints(tmp_path: Path, nerv: INR) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        open_checkpoint(tmp_path / "absent.pth")
    torch.save(nerv.state_dict(), tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    for content in (b"", b"\x89PNG\r\n", whole[: len(whole) // 2]):
        (tmp_path / "cut.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"cannot be read as tensors|an empty file|a picture or video"):
            open_checkpoint(tmp_path / "cut.pth")
    (tmp_path / "m.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(CheckpointError, match="cannot be read as tensors"):
        open_checkpoint(tmp_path / "m.safetensors")


def test_a_clip_of_another_size_is_refused(tmp_path: Path, nerv: INR) -> None:
    torch.save(nerv.state_dict(), tmp_path / "m.pth")
    with pytest.raises(ModelError, match=re.escape("makes frames of 16×32")):
        import_checkpoint(tmp_path / "m.pth", "nerv", Clip(torch.rand(4, 3, 20, 32), tuple("abcd")))
