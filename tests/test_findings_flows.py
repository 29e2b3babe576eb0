from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from click_free import one_line, xinc
from tiny_runs import FRAMES, SIZE, clip, folder, runs
from xinc.errors import CheckpointError, FindingError
from xinc.findings.optical_flow import raft
from xinc.findings.optical_flow.flows import Computed, chosen_flows, key_of, read_flows
from xinc.findings.optical_flow.raft import Raft
from xinc.findings.results import Results
from xinc.findings.section4.motion import Flow, dis_flow

NAMES = ("00000", "00001", "00002")


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Flow (H, W, 2) in Middlebury's format: a magic number, width, height, interleaved x and y."""
    height, width = flow.shape[:2]
    head = np.float32(202021.25).tobytes() + np.int32(width).tobytes() + np.int32(height).tobytes()
    path.write_bytes(head + flow.astype("<f4").tobytes())


def test_both_formats_and_both_orders_are_the_same_flow(tmp_path: Path) -> None:
    flow = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
    write_flo(tmp_path / "00001.flo", flow)
    np.save(tmp_path / "2.npy", flow.transpose(2, 0, 1))
    found = read_flows(tmp_path, NAMES, (6, 8))
    assert list(found) == [1, 2]
    for one in found.values():
        np.testing.assert_array_equal(one.velocity, -flow.transpose(2, 0, 1))
        assert (one.source, one.uncovered.any()) == ("given", False)


def test_flow_of_another_size_is_in_pixels_of_the_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "00001.npy", np.broadcast_to(np.float32([8, 2]), (12, 32, 2)))
    velocity = read_flows(tmp_path, NAMES, (6, 16))[1].velocity
    assert velocity.shape == (2, 6, 16)
    np.testing.assert_allclose(velocity, np.broadcast_to(np.array([-4, -1])[:, None, None], (2, 6, 16)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("00001.flo", b"PIEH" + bytes(8), "says 0×0 pixels"),
        ("00001.flo", b"PI", "does not begin as a .flo file does"),
        ("00001.flo", np.float32(202021.25).tobytes() + np.int32([8, 6]).tobytes() + bytes(40), "cannot be read"),
        ("00001.npy", b"nothing", "cannot be read as optical flow"),
        ("00001.npy", np.zeros((6, 8, 3)), r"of shape \(6, 8, 3\)"),
        ("00001.npy", np.full((6, 8, 2), np.nan), "finite"),
        ("00001.npy", np.zeros((8, 8, 2)), "no multiple of the frames' 6×8"),
        ("00000.npy", np.zeros((6, 8, 2)), "after the first"),
        ("other.npy", np.zeros((6, 8, 2)), "such as 00002"),
    ],
)
def test_what_is_no_flow_is_said(tmp_path: Path, name: str, content: bytes | np.ndarray, words: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content)
    with pytest.raises(FindingError, match=words):
        read_flows(tmp_path, NAMES, (6, 8))


def test_the_command_takes_flows(tmp_path: Path) -> None:
    runs()
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = np.linspace(-3, 3, SIZE[1])
    np.save(tmp_path / "c.npy", flow)
    run = folder() / "nerv"
    ask = ("analyse", str(run), "--method", "official", "--findings", "motion", "--layers", "head")
    ran = xinc(*ask, "--frames", f"1,{FRAMES - 1}", "--flows", str(tmp_path))
    assert ran.code == 0, ran
    found = Results(run / "results.zarr").tree()["motion/official/head"].ds
    np.testing.assert_array_equal(found["velocity"].sel(frame=FRAMES - 1)[0], -flow[..., 0])
    assert xinc(*ask, "--flows", str(tmp_path / "none")).code == 2


def test_replicate_takes_the_flows_of_one_clip(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.ones((*SIZE, 2), np.float32))
    one, other = clip(), replace(clip(), source="elsewhere")
    still = replace(one, frames=one.frames[:1], names=one.names[:1], segments=None)
    flows_of = chosen_flows(str(tmp_path), [one, still, one])
    assert (list(flows_of(one)), flows_of(still)) == ([1], {})
    with pytest.raises(FindingError, match="belong to one clip"):
        chosen_flows(str(tmp_path), [one, other])
    with pytest.raises(FindingError, match="where there is one frame"):
        chosen_flows(str(tmp_path), [still])


def test_a_flow_goes_by_all_that_is_in_it() -> None:
    none, all_of_it = np.zeros(SIZE, bool), np.ones(SIZE, bool)
    velocity = np.zeros((2, *SIZE), np.float32)
    flows = [Flow(v, u, s) for v in (velocity, velocity + 1) for u in (none, all_of_it) for s in ("RAFT", "given")]
    assert len({key_of({1: flow}, 1) for flow in flows}) == len(flows)
    assert key_of({1: flows[0]}, 1) == key_of({1: Flow(velocity.copy(), none.copy(), "RAFT")}, 1)


class Searching(nn.Module):
    """Stands for RAFT on pictures that move as a whole by up to four pixels: the shift that leaves the least."""

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        height, width = first.shape[2:]
        assert not height % 8
        assert not width % 8
        assert min(height, width) >= 128
        assert -1 <= first.min() < -0.5 < 0.5 < first.max() <= 1
        found = torch.zeros(len(first), 2, height, width)
        inside = first[..., 4 : height - 4, 4 : width - 4]
        shifts = [(dx, dy) for dx in range(-4, 5) for dy in range(-4, 5)]
        for flow, a, b in zip(found, inside, second, strict=True):
            gaps = [float((a - b[:, 4 + y : height - 4 + y, 4 + x : width - 4 + x]).square().mean()) for x, y in shifts]
            flow[:] = torch.tensor(shifts[int(np.argmin(gaps))])[:, None, None]
        return [torch.zeros_like(found), found]


class Repeating(nn.Module):
    """Stands for RAFT and says what it was given: the first picture's red and green as x and y."""

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        return [first[:, :2]]


def test_raft_has_the_direction_and_sign_of_dis() -> None:
    dx, dy = 3, -2
    texture = torch.nn.functional.interpolate(torch.rand(1, 3, 30, 40), scale_factor=6, mode="bicubic")[0].clamp(0, 1)
    earlier, later = texture[:, 8:148, 8:198], texture[:, 8 - dy : 148 - dy, 8 - dx : 198 - dx]
    by_raft, by_dis = Raft(Searching(), "RAFT")(earlier, later), dis_flow(earlier, later)
    assert by_raft.velocity.shape == by_dis.velocity.shape == (2, 140, 190)
    np.testing.assert_array_equal(by_raft.velocity[:, 0, 0], [dx, dy])
    np.testing.assert_allclose(np.median(by_dis.velocity, axis=(1, 2)), [dx, dy], atol=0.1)
    assert (by_raft.source, by_raft.velocity.dtype, by_raft.uncovered.any()) == ("RAFT", np.float32, False)


@pytest.mark.parametrize("size", [(32, 64), (128, 256), (131, 250), (5, 300)])
def test_raft_sees_frames_from_minus_one_to_one_and_its_margins_are_cut_off(size: tuple[int, int]) -> None:
    earlier, later = torch.rand(2, 3, *size)
    flow = Raft(Repeating(), "RAFT")(earlier, later.numpy())
    np.testing.assert_allclose(flow.velocity, 1 - 2 * later[:2].numpy(), atol=1e-6)
    top, left, bottom, right = raft.margins(size)
    padded = (size[0] + top + bottom, size[1] + left + right)
    assert all(side % 8 == 0 and side >= 128 for side in padded)
    assert all(more < 8 or side == 128 for more, side in zip((top + bottom, left + right), padded, strict=True))
    assert abs(top - bottom) <= 1
    assert abs(left - right) <= 1


def test_raft_finds_what_is_uncovered() -> None:
    """Two frames that say of themselves that everything moves by one pixel to the right, in either direction."""
    right = torch.ones(2, 3, *SIZE) * torch.tensor([1.0, 0.5, 0.5])[:, None, None]
    assert Raft(Repeating(), "RAFT")(*right).uncovered.all()
    left = torch.tensor([0.0, 0.5, 0.5])[:, None, None].expand(3, *SIZE)
    assert not Raft(Repeating(), "RAFT")(right[0], left).uncovered.any()


def test_computed_flow_waits_until_it_is_asked_for() -> None:
    asked = []

    def estimate(previous: Tensor, current: Tensor) -> Flow:
        asked.append((previous, current))
        return dis_flow(previous, current)

    flows = Computed(clip(), estimate, "by hand")
    assert (list(flows), len(flows), 0 in flows, 2 in flows, 3 in flows) == ([1, 2], 2, False, True, False)
    assert (flows.get(0), asked) == (None, [])
    assert key_of(flows, 1) == "by hand"
    asked.clear()  # while testing, the check of signatures looks into mappings
    assert flows[2].source == "DIS"
    assert [torch.equal(*pair) for pair in zip(asked[0], clip().frames[1:], strict=True)] == [True, True]


class Tiny(nn.Module):
    """Stands for torchvision's networks: it has weights and gives flow of the right shape."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(6, 2, {"raft_large": 3, "raft_small": 1}[name], padding="same")

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        return [self.encoder(torch.cat([first, second], dim=1))]


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for torchvision, whose weights cannot be fetched; it says how they were asked for."""
    asked = SimpleNamespace(how={})

    def get_state_dict(**how: object) -> None:
        asked.how = how
        print("Downloading")
        raise URLError("Name or service not known")

    published = SimpleNamespace(DEFAULT=SimpleNamespace(url="https://raft.pth", get_state_dict=get_state_dict))
    package, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    package.models = models
    models.get_model = lambda name, weights: Tiny(name)
    models.get_model_weights = lambda name: published
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return asked


@pytest.mark.parametrize(("name", "source"), [("raft_large", "RAFT"), ("raft_small", "RAFT small")])
def test_a_file_says_which_raft_it_is_of(tmp_path: Path, torchvision: SimpleNamespace, name: str, source: str) -> None:
    weights = Tiny(name).state_dict()
    torch.save(weights, tmp_path / "raft.pth")
    save_file({f"module.{key}": values for key, values in weights.items()}, tmp_path / "raft.safetensors")
    found = [raft.load(tmp_path / file) for file in ("raft.pth", "raft.safetensors")]
    assert found[0].source == source
    assert found[0].made_by == found[1].made_by
    assert found[0].made_by != Raft(Tiny(name), source).made_by
    assert not found[0].network.training


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\3\4 nothing", "cannot be read as tensors"),
        ({"fnet.weight": torch.zeros(2, 6, 3, 3)}, "no weights of RAFT as torchvision names them"),
        ({"encoder.weight": torch.zeros(2, 6, 5, 5), "encoder.bias": torch.zeros(2)}, "raft_large or raft_small"),
        ({"encoder.weight": torch.full((2, 6, 3, 3), torch.nan), "encoder.bias": torch.zeros(2)}, "not all .* finite"),
        (Tiny("raft_small"), "holds a whole object"),
    ],
)
def test_what_are_no_weights_of_raft_is_said(
    tmp_path: Path, torchvision: SimpleNamespace, content: object, words: str
) -> None:
    path = tmp_path / "raft.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=words):
        chosen_flows(str(path), [clip()])


def analyse(run: Path, flows: str, *more: str) -> tuple[str, ...]:
    return ("analyse", str(run), "--method", "official", "--layers", "head", "--frames", "1,2", "--flows", flows, *more)


def test_the_commands_share_what_raft_finds(tmp_path: Path, torchvision: SimpleNamespace) -> None:
    runs()
    run, weights = folder() / "nerv", tmp_path / "raft.pth"
    torch.save(Tiny("raft_small").state_dict(), weights)
    ran = xinc(*analyse(run, str(weights), "--findings", "grouping,motion,moments_motion"))
    assert ran.code == 0, ran
    found = Results(run / "results.zarr").tree()["motion/official/head"].ds
    assert found.attrs["flow"] == "RAFT small"
    expected = raft.load(weights)(*clip().frames[:2])
    np.testing.assert_allclose(found["velocity"].sel(frame=1), expected.velocity, atol=1e-4)

    def written(name: str) -> int:
        return (run / "results.zarr" / name / "official" / "head" / "zarr.json").stat().st_mtime_ns

    before = {name: written(name) for name in ("grouping", "moments_motion")}
    ran = xinc("replicate", *analyse(run, str(weights))[1:])
    assert ran.code == 0, ran
    assert {name: written(name) for name in before} == before
    ran = xinc(*analyse(run, str(tmp_path), "--findings", "grouping,moments_motion"))
    assert "has the stem of a frame" in one_line(ran)
    np.save(tmp_path / "c.npy", np.ones((*SIZE, 2), np.float32))
    ran = xinc(*analyse(run, str(tmp_path), "--findings", "grouping,motion,moments_motion"))
    assert ran.code == 0, ran
    assert written("grouping") == before["grouping"], "no flow enters the groupings"
    assert written("moments_motion") != before["moments_motion"]
    assert Results(run / "results.zarr").tree()["motion/official/head"].ds.attrs["flow"] == "DIS and given"


def test_weights_that_cannot_be_fetched_are_one_line(torchvision: SimpleNamespace) -> None:
    runs()
    ran = xinc(*analyse(folder() / "nerv", "raft"))
    assert (ran.out, ran.err.splitlines()[0]) == ("", "Downloading")
    line = one_line(replace(ran, err=ran.err.removeprefix("Downloading\n")))
    assert "Name or service not known" in line
    assert "fetch https://raft.pth" in line
    assert "--flows FILE" in line
    assert torchvision.how["weights_only"] is True
    assert "raft or raft-small" in one_line(xinc(*analyse(folder() / "nerv", "craft")))


def test_torchvision_that_is_absent_or_broken_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torchvision", None)
        for command in (analyse(folder() / "nerv", "raft"), ("replicate", str(folder() / "nerv"), "--flows", "raft")):
            assert one_line(xinc(*command)).endswith("needs torchvision: pip install 'xinc[raft]'")
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    line = one_line(xinc(*analyse(folder() / "nerv", "raft")))
    assert "operator torchvision::nms does not exist" in line
    assert "pip install 'xinc[raft]'" in line


@pytest.mark.parametrize("name", raft.NAMES)
def test_the_networks_of_torchvision_give_flow(tmp_path: Path, name: str) -> None:
    try:
        from torchvision import models
    except Exception as reason:  # absent, or built for another torch
        pytest.skip(f"torchvision, an extra, is not to be had: {reason}")
    torch.manual_seed(0)
    network = models.get_model(raft.NAMES[name], weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "raft.pth")
    found = raft.load(tmp_path / "raft.pth")
    assert found.source == name.replace("raft", "RAFT").replace("-", " ")
    earlier, later = torch.rand(2, 3, 128, 136)
    flow = found(earlier, later)
    with torch.inference_mode():
        device = next(found.network.parameters()).device
        back = found.network((later[None] * 2 - 1).to(device), (earlier[None] * 2 - 1).to(device))[-1][0].cpu()
    np.testing.assert_allclose(flow.velocity, -back, atol=1e-3 * float(back.abs().max()))
    assert found(*torch.rand(2, 3, 21, 33)).velocity.shape == (2, 21, 33)
