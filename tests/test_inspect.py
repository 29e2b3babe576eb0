"""``xinc inspect``: what is in a run, a checkpoint or a module, which methods reach its layers, and what never runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import xinc as package
from careless import Touch
from click_free import Ran, one_line, xinc
from foreign_models import ZOO, one_thread, specimen
from xinc import budget, models
from xinc.canvas.recording.recorder import record
from xinc.canvas.survey import recording_bytes
from xinc.cli.commands.inspect import in_bytes
from xinc.run import Run
from xinc.signals.clip import Clip
from xinc.workflow import inspecting

__all__ = ["one_thread"]  # a fixture

KEYS = ["layer", "module", "kind", "neurons", "map_bytes", "paper", "official", "exact", "ablation", "why"]

CODE = """
import torch
from torch import nn
from foreign_models import specimen

net = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 3, 1))
half = nn.Sequential(nn.Conv2d(4, 3, 3, padding=1)).half()
number = 3


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 5), nn.Linear(4, 3)

    def forward(self, x, shift, scale=1.0):
        return self.b(torch.sin(self.a(x))[:, :4] + scale * shift)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return {"image": self.a(x), "heads": [self.b(x), self.a(x) * 2]}


def grid():
    return specimen("hash_grid").module


def attention():
    found = specimen("multihead")
    return found.module, found.inputs


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.pool, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.b(self.pool(self.a(x)))


def pooled():
    return Pooled(), (torch.randn(1, 2, 5, 6),)


def ours():
    import xinc.models
    return xinc.models.build("nerv", (32, 64), 4, fc_dim=6, strides=(4, 2))


def fails():
    raise ValueError("no luck\\nat all")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's in the working folder."""
    import sys

    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)


def rows_of(tmp_path: Path, *arguments: str) -> tuple[Ran, list[dict[str, Any]]]:
    ran = xinc("inspect", *arguments, "--json", str(tmp_path / "rows.json"))
    assert ran.code == 0, ran
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert all(list(row) == KEYS for row in rows)
    return ran, rows


def test_a_run(tmp_path: Path) -> None:
    model = models.build("nerv", (32, 64), 3, fc_dim=6, strides=(4, 2)).eval()
    Run("nerv", model, Clip(torch.rand(3, 3, 32, 64), ("a", "b", "c")), (), {"notes": ["made by hand"]}).save(
        tmp_path / "run"
    )
    ran, rows = rows_of(tmp_path, str(tmp_path / "run"), "--frame", "2")
    canvas = package.trace(model, model.frame_input(2))
    assert [row["layer"] for row in rows] == canvas.layers
    for row in rows:
        shape = canvas[row["layer"]].shape
        assert row["neurons"] == shape[0]
        assert row["map_bytes"] == 4 * shape[0] * 32 * 64
        assert row["paper"] is row["official"] is row["exact"] is row["ablation"] is True
        assert row["why"] is None
    assert "3 frames of 32×64" in ran.out
    assert "strides 4 2, kernels 3 3" in ran.out
    assert "note: made by hand" in ran.out
    assert f"All maps of one frame: {in_bytes(sum(row['map_bytes'] for row in rows))}" in ran.out
    assert "frame 3 does not exist" in one_line(xinc("inspect", str(tmp_path / "run"), "--frame", "3"))


CHECKPOINTS = {
    "nerv": (("nerv", (36, 64), 3), {"fc_dim": 6, "strides": (2, 2)}, ["block1", "block2", "head"]),
    "hnerv": (("hnerv", (16, 32), 3), {"fc_dim": 12, "strides": (4, 2)}, ["block1", "block2", "head"]),
    "ffn": (("ffn", (8, 8)), {"width": 8, "frequencies": 4}, ["layer1", "layer2", "layer3"]),
    "siren": (("siren", (8, 8)), {"width": 8}, ["layer1", "layer2", "layer3", "layer4"]),
}


@pytest.mark.parametrize("family", CHECKPOINTS)
def test_a_checkpoint_needs_no_signal(family: str, tmp_path: Path) -> None:
    arguments, options, layers = CHECKPOINTS[family]
    model = models.build(*arguments, **options)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "m.pth")
    ran, rows = rows_of(tmp_path, str(tmp_path / "m.pth"))
    assert f"family: {family}, by the names" in ran.out
    assert f"parameters: {sum(p.numel() for p in model.parameters()):,}" in ran.out
    assert all(name in ran.out for name in model.state_dict())
    assert [row["layer"] for row in rows] == layers
    pixels = 128 * 256 if family in ("ffn", "siren") else model.config.size[0] * model.config.size[1]
    assert rows[0]["map_bytes"] == 4 * pixels * rows[0]["neurons"]
    wanted = package.trace(model.eval(), model.frame_input(0))
    assert [row["neurons"] for row in rows] == [wanted[name].shape[0] for name in wanted]
    assert re.search(r"left open: .*output.*: xinc import chooses by the fit", ran.out)
    if family == "siren":
        _, small = rows_of(tmp_path, str(tmp_path / "m.pth"), "--size", "6x7")
        assert small[0]["map_bytes"] == 4 * 6 * 7 * small[0]["neurons"]


def test_the_published_hnerv(shared: Path, tmp_path: Path) -> None:
    ran, rows = rows_of(tmp_path, str(shared / "data" / "hnerv_bunny" / "quant_vid.pth"))
    assert "15 tensors were stored in 8 bits" in ran.out
    assert "132 frames of 640×1280" in ran.out
    assert "strides 5 4 4 2 2, kernels 1 3 5 5 5" in ran.out
    assert [row["neurons"] for row in rows] == [96_900, 43_776, 30_720, 5_280, 3_696, 84]
    assert rows[0]["map_bytes"] == 317_521_920_000
    assert "318 GB" in ran.out


def test_weights_of_no_known_family_are_listed(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(8, 2, 3, 3), "conv1.bias": torch.zeros(8)}, tmp_path / "m.pth")
    ran, rows = rows_of(tmp_path, str(tmp_path / "m.pth"))
    assert rows == []
    assert "8×2×3×3" in ran.out
    assert "names of no known family (conv1.weight, conv1.bias)" in ran.out
    torch.save(
        {"stem.0.weight": torch.zeros(8, 160), "layers.0.conv.conv.weight": torch.zeros(4, 4, 3, 3)}, tmp_path / "n"
    )
    ran, rows = rows_of(tmp_path, str(tmp_path / "n"))
    assert (rows, "no layers: " in ran.out) == ([], True)
    assert "not the original NeRV" in ran.out


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        (("mine:net", "--input-shape", "1x4x6x8"), ["block1", "head"]),
        (("mine:half", "--input-shape", "1x4x6x8"), ["head"]),
        (("mine:Two", "--input-shape", "12x2", "--input-shape", "12x4", "--size", "3x4"), ["a", "b"]),
        (("mine:Heads", "--input-shape", "1x4x6x8", "--output", "heads.0"), ["head"]),
        (("mine:grid",), ["layer1", "layer2"]),
        (("mine:attention",), ["embed", "attend.in_proj_weight", "attend.out_proj", "up", "wide"]),
        (("mine:ours",), ["block1", "block2", "head"]),
    ],
)
@pytest.mark.usefixtures("code")
def test_a_module_by_the_name_it_is_imported_by(arguments: tuple[str, ...], layers: list[str], tmp_path: Path) -> None:
    assert [row["layer"] for row in rows_of(tmp_path, *arguments)[1]] == layers


@pytest.mark.usefixtures("code")
def test_a_refusal_names_the_operation_and_the_module(tmp_path: Path) -> None:
    ran, (a, b) = rows_of(tmp_path, "mine:pooled")
    assert (a["paper"], a["official"], a["exact"], a["ablation"]) == (False, False, True, True)
    assert "no rule for operation 'max_pool2d' in module 'pool'" in a["why"]
    assert (b["paper"], b["why"]) == (True, None)
    assert "a: method 'paper' has no rule for operation" in ran.out
    import mine

    with pytest.raises(package.XincError) as told:
        package.trace(mine.Pooled(), torch.randn(1, 2, 5, 6), method="paper")["a"]
    assert str(told.value) in a["why"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("/no/such",), "there is no run or checkpoint /no/such"),
        (("{empty}",), "no run (no config.json)"),
        (("{text}",), "cannot be read as tensors"),
        (("{cut}",), "cannot be read as tensors"),
        (("mine:net",), "Sequential takes input; give --input-shape"),
        (("mine:Two", "--input-shape", "12x2"), "Two takes x, shift; give --input-shape"),
        (("mine:net", "--input-shape", "1x4xa"), "--input-shape 1x4xa is not a shape"),
        (("mine:net", "--input-shape", "1x5x6x8"), "Sequential fails on the given inputs"),
        (
            ("mine:Heads", "--input-shape", "1x4x6x8", "--output", "heads"),
            "leads to 2 pictures; give one of ('heads', 0)",
        ),
        (("mine:Heads", "--input-shape", "1x4x6x8", "--output", "depth"), "has no part 'depth'; its keys are 'image'"),
        (("mine:fails",), "mine:fails cannot be had (ValueError: no luck)"),
        (("mine:number",), "'int' object is not callable"),
        (("mine:absent",), "no attribute 'absent'"),
        (("nowhere_at_all:net",), "No module named 'nowhere_at_all'"),
        (("mine:str",), "has no attribute 'str'"),
        (("{nerv}", "--size", "7x9"), "not 7×9"),
    ],
)
@pytest.mark.usefixtures("code")
def test_bad_input_gets_one_line(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no tensors")
    torch.save(models.build("nerv", (16, 32), 2, fc_dim=6).state_dict(), tmp_path / "nerv.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "nerv.pth").read_bytes()[:-3000])
    places = {
        "empty": tmp_path / "empty",
        "text": tmp_path / "notes.txt",
        "cut": tmp_path / "cut.pth",
        "nerv": tmp_path / "nerv.pth",
    }
    assert words in one_line(xinc("inspect", *(argument.format(**places) for argument in arguments)))


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    marker, weights = tmp_path / "executed", models.build("ffn", (8, 8), width=8, frequencies=4).state_dict()
    torch.save({"hook": Touch(marker), "state_dict": weights}, tmp_path / "m.pth")
    ran, rows = rows_of(tmp_path, str(tmp_path / "m.pth"))
    assert len(rows) == 3
    assert "nothing was executed" in ran.out
    torch.save(Touch(marker), tmp_path / "whole.pth")
    assert "whole.pth holds a whole object" in one_line(xinc("inspect", str(tmp_path / "whole.pth")))
    assert not marker.exists()


def test_files_that_are_programs_are_refused_with_the_way_out(tmp_path: Path) -> None:
    net, x = nn.Sequential(nn.Conv2d(4, 3, 3)), torch.zeros(1, 4, 5, 6)
    torch.save(net, tmp_path / "whole.pth")
    torch.save({"epoch": 3, "model": net}, tmp_path / "wrapped.pth")
    torch.jit.script(net).save(str(tmp_path / "script.pt"))
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "program.pt2")
    for name, words in {
        "whole.pth": "holds a whole object (torch.nn.modules.container.Sequential)",
        "wrapped.pth": "holds a whole object (torch.nn.modules.container.Sequential)",
        "script.pt": "is a TorchScript program",
        "program.pt2": "is a program of torch.export",
    }.items():
        line = one_line(xinc("inspect", str(tmp_path / name)))
        assert words in line
        assert "state_dict()" in line


@pytest.mark.parametrize("name", sorted(ZOO))
def test_what_a_recording_holds_is_known_before_it_is_made(name: str) -> None:
    network = specimen(name)
    module = network.module.eval()
    made = record(module, *network.inputs)
    known = {made[value].untyped_storage().data_ptr() for value in made.inputs}
    known |= {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in made.tensors}
    held = sum(size for place, size in storages.items() if place not in known)
    estimate = recording_bytes(module, *network.inputs)
    if name == "fake_quantised":  # torch cannot run it without numbers
        assert estimate is None
        return
    assert estimate is not None
    assert held / 1.5 <= estimate <= 6 * held  # values that are assembled in place are copied once more


@pytest.mark.usefixtures("code")
def test_what_does_not_fit_in_memory_is_refused_before_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "bound", lambda: budget.Bound(2_000, "this machine has"))
    monkeypatch.setattr(inspecting, "record", lambda *_: pytest.fail("it was run"))
    line = one_line(xinc("inspect", "mine:net", "--input-shape", "1x4x6x8"))
    assert "one forward pass, whose values are kept, would take" in line
    assert "smaller --size or --input-shape" in line


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (317_521_920_000, "318 GB"), (3.2e15, "3.2e+03 TB")],
)
def test_bytes_as_people_read_them(number: float, text: str) -> None:
    assert in_bytes(int(number)) == text
