"""The page's questions, answered by the package: the numbers that the canvas gives, and to nobody who may not ask."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import re
import shutil
import socket
import threading
import urllib.error
import urllib.request
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import xinc
from tiny_runs import runs
from xinc.cli import app
from xinc.errors import RunError, TraceError
from xinc.explore.answers import Answers, Spot, Viewpoint, shrunk
from xinc.explore.html import export
from xinc.explore.jobs import GivenUp, Lane, Watch
from xinc.explore.kept import LatestMaps
from xinc.explore.server import Door, application, bind
from xinc.explore.wire import pack, unpack
from xinc.models.base import INR
from xinc.run import Run

LAYERS = [("nerv", "block1"), ("nerv", "block2"), ("nerv", "head"), ("ffn", "layer1"), ("ffn", "layer3")]
BOX = Spot((5, 7, 9, 20))


def by_family(name: str) -> Run:
    return next(run for run in runs() if run.family == name)


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers({run.family: run for run in runs()})


@pytest.fixture(params=LAYERS, ids=lambda pair: "-".join(pair))
def view(request: pytest.FixtureRequest) -> Viewpoint:
    family, layer = request.param
    return Viewpoint(family, 2 if family == "nerv" else 0, layer)


def test_a_place_is_the_mean_of_the_maps_there(answers: Answers, view: Viewpoint) -> None:
    layer = answers.layer(view)
    maps = layer.maps(range(layer.shape[0]), signed=True)
    found = answers.at(view, BOX)
    torch.testing.assert_close(found["terms"], maps[:, :, 5:9, 7:20].mean((2, 3)), atol=1e-6, rtol=1e-4)
    picture = answers.canvas(view).output
    torch.testing.assert_close(found["value"], picture[:, 5:9, 7:20].mean((1, 2)))
    whole = answers.at(view, Spot())
    torch.testing.assert_close(whole["terms"], maps.mean((2, 3)), atol=1e-6, rtol=1e-4)


def test_a_pixel_by_any_method_is_what_the_layer_says(answers: Answers) -> None:
    for method in ("paper", "ablation"):
        view = Viewpoint("nerv", 1, "block2", method)
        found = answers.at(view, Spot((3, 4, 4, 5)))
        torch.testing.assert_close(found["sizes"], answers.layer(view).at(3, 4).abs(), atol=1e-6, rtol=1e-4)


def test_an_object_is_the_mean_over_its_pixels(answers: Answers) -> None:
    view = Viewpoint("nerv", 0, "block2")
    labels = answers.labels(view, "segments")
    region = labels["names"].index("floor")
    inside = torch.from_numpy(labels["labels"] == region)
    maps = answers.layer(view).maps(range(answers.layer(view).shape[0]), signed=True)
    found = answers.at(view, Spot(grouping="segments", region=region))
    torch.testing.assert_close(found["terms"], maps[..., inside].mean(2), atol=1e-6, rtol=1e-4)
    by_paper = answers.at(Viewpoint("nerv", 0, "block2", "paper"), Spot(grouping="segments", region=region))["sizes"]
    paper = by_family("nerv").canvas(0, "paper")["block2"]
    torch.testing.assert_close(by_paper, paper.line(slice(0, 32), slice(0, 64))[..., inside].abs().mean(1))


def test_bias_terms_and_the_rest_add_up_in_the_last_layer(answers: Answers) -> None:
    view = Viewpoint("nerv", 1, "head")  # terms and bias are all that reaches the output
    found = answers.at(view, Spot((8, 8, 9, 9)))
    tanh = 2 * found["value"] - 1  # the output is (tanh(z) + 1) / 2 of terms and bias z
    torch.testing.assert_close(found["terms"].sum(0) + found["bias"], torch.atanh(tanh) * (1 - tanh**2) / 2)


def test_maps_sums_and_products_are_those_of_the_canvas(answers: Answers, view: Viewpoint) -> None:
    layer = answers.layer(view)
    count = layer.shape[0]
    maps = layer.maps(range(count), signed=True)
    torch.testing.assert_close(answers.map(view, 3)["map"], maps[3], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(answers.map(view, 3, 16)["map"], shrunk(maps[3], 16), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(answers.group(view, [0, 2, 5])["map"], maps[[0, 2, 5]].sum(0), atol=1e-6, rtol=1e-4)
    products = (maps * maps[3]).sum((1, 2, 3))
    torch.testing.assert_close(answers.gram(view, 3)["products"], products, atol=1e-6, rtol=1e-3)


def test_without_neurons_the_network_is_run(answers: Answers, view: Viewpoint) -> None:
    canvas, layer = answers.canvas(view), answers.layer(view)
    gone = [1, 4]
    found = answers.without(view, {view.layer: gone})
    predicted = canvas.output - layer.maps(gone, signed=True).sum(0)
    torch.testing.assert_close(found["predicted"], predicted, atol=1e-6, rtol=1e-4)
    one = answers.without(view, {view.layer: [4]})["picture"]
    ablated = answers.layer(Viewpoint(view.run, view.frame, view.layer, "ablation")).maps([4])[0]
    torch.testing.assert_close((canvas.output - one).abs().sum(0), ablated, atol=1e-6, rtol=1e-3)


def test_only_some_neurons_is_without_all_others(answers: Answers, view: Viewpoint) -> None:
    count = answers.layer(view).shape[0]
    kept = answers.without(view, {view.layer: [0, 1]}, only=True)["picture"]
    others = answers.without(view, {view.layer: list(range(2, count))})["picture"]
    torch.testing.assert_close(kept, others)


def test_principal_pictures_are_those_of_the_gram_matrix(answers: Answers) -> None:
    view = Viewpoint("nerv", 0, "head")
    found = answers.principal(view, 2, Watch())
    values = torch.linalg.eigvalsh(answers.layer(view).gram()).flip(0)
    torch.testing.assert_close(found["squares"].double(), values[:2], rtol=0.02, atol=1e-9)


def test_a_neurons_course_is_its_totals(answers: Answers) -> None:
    found = answers.course(Viewpoint("nerv", 0, "block2"), 5, Watch())
    totals = [by_family("nerv").canvas(t, "exact")["block2"].totals()[5] for t in range(3)]
    assert found["frames"].tolist() == [0, 1, 2]
    torch.testing.assert_close(torch.from_numpy(found["totals"]), torch.stack(totals), rtol=1e-3, atol=1e-6)


def test_what_is_not_there_is_named(answers: Answers) -> None:
    view = Viewpoint("nerv", 0, "block2")
    with pytest.raises(TraceError, match="no run is called 'x'"):
        answers.canvas(Viewpoint("x", 0))
    with pytest.raises(TraceError, match="has no neuron 9999"):
        answers.map(view, 9999)
    with pytest.raises(TraceError, match="lies outside the picture"):
        answers.at(view, Spot((0, 0, 99, 5)))
    with pytest.raises(TraceError, match="no region 77"):
        answers.at(view, Spot(grouping="segments", region=77))


def test_what_nobody_waits_for_stops(answers: Answers) -> None:
    watch = Watch()
    watch.given_up.set()
    with pytest.raises(GivenUp):
        answers.principal(Viewpoint("nerv", 0, "block2"), 2, watch)


def test_a_coarse_map_is_near_and_the_true_one_is_kept(
    answers: Answers, view: Viewpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xinc.explore.chain.LONG_PRODUCTS", -1)
    monkeypatch.setattr("xinc.explore.chain.coarse_is_quick", lambda: True)
    true = answers.layer(view).maps([5], signed=True)[0]
    own = Answers(answers.runs)
    first = own.map(view, 5, quick=True)
    assert first["coarse"] == (view.run == "nerv")  # a linear layer's maps are one product each
    assert float((first["map"] - true).abs().max()) < 0.03 * float(true.abs().max())
    exact = own.map(view, 5)
    assert not exact["coarse"]
    torch.testing.assert_close(exact["map"], true, atol=1e-6, rtol=1e-4)
    again = own.map(view, 5, quick=True)
    assert not again["coarse"]
    assert torch.equal(again["map"], exact["map"])


def test_only_so_many_maps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xinc.explore.kept.MAP_BYTES", 100)
    kept = LatestMaps()
    for key in range(4):
        kept.put(key, torch.full((10,), float(key)))
    assert [kept.get(key) is not None for key in range(4)] == [False, False, True, True]
    kept.put("large", torch.zeros(1000))
    assert kept.get("large") is None


def test_what_is_asked_ahead_makes_way_and_begins_again() -> None:
    lane, order = Lane("test"), []
    begun, asked = threading.Event(), threading.Event()

    def ahead(watch: Watch) -> str:
        order.append("ahead")
        begun.set()
        if order.count("ahead") == 1:
            assert asked.wait(10)
        watch()
        return "made"

    def earnest(watch: Watch) -> str:
        order.append("earnest")
        watch()
        return "seen"

    async def both() -> tuple[str, str]:
        first = asyncio.ensure_future(lane.ask(ahead, ahead=True))
        await asyncio.to_thread(begun.wait, 10)
        second = asyncio.ensure_future(lane.ask(earnest))
        await asyncio.sleep(0.05)
        asked.set()
        return await first, await second

    assert asyncio.run(both()) == ("made", "seen")
    assert order == ["ahead", "earnest", "ahead"]
    lane.stop()


def test_work_that_is_given_up_lets_go_of_what_it_holds_at_once() -> None:
    """A map on its way takes hundreds of megabytes at full size, of which the collector knows nothing."""
    lane, seen = Lane("test"), []

    def work(watch: Watch) -> None:
        held = torch.zeros(8)
        seen.append(weakref.ref(held))
        watch.given_up.set()
        watch()

    gc.disable()
    try:
        with pytest.raises(GivenUp):
            asyncio.run(lane.ask(work))
        assert seen[0]() is None
    finally:
        gc.enable()
        lane.stop()


def test_what_was_asked_ahead_ends_when_nobody_waits() -> None:
    lane, begun, ended = Lane("test"), threading.Event(), threading.Event()

    def ahead(watch: Watch) -> None:
        begun.set()
        try:
            while True:
                watch()
        except GivenUp:
            ended.set()
            raise

    async def once() -> None:
        job = asyncio.ensure_future(lane.ask(ahead, ahead=True))
        await asyncio.to_thread(begun.wait, 10)
        job.cancel()
        await asyncio.to_thread(ended.wait, 10)

    asyncio.run(once())
    assert ended.is_set()
    lane.stop()


def test_few_canvases_are_kept(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xinc.explore.kept.HELD_BYTES", 1)
    own = Answers({"nerv": by_family("nerv")})
    for frame in range(3):
        own.canvas(Viewpoint("nerv", frame))
        assert len(own._canvases) == 1


def test_blocks_come_back_as_they_went() -> None:
    block = pack({"a": torch.arange(6).reshape(2, 3), "b": torch.rand(4).half(), "n": float("nan"), "s": ["x", 1]})
    found = unpack(block)
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].dtype == "float16"
    assert (found["n"], found["s"]) == (None, ["x", 1])


# ---- the server


@pytest.fixture(scope="module")
def door(answers: Answers) -> Iterator[Door]:
    import uvicorn

    listening = bind(None)
    found = Door(listening.getsockname()[1], "right")
    server = uvicorn.Server(uvicorn.Config(application(answers, found), log_level="error"))
    listening.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield found
    server.should_exit = True
    thread.join(10)


def ask(door: Door, path: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{door.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


TOKEN = {"X-Xinc-Token": "right"}


def test_the_server_answers_in_blocks(door: Door, answers: Answers) -> None:
    status, block = ask(door, "/api/at?run=nerv&frame=1&layer=block2&box=3,4,4,5", **TOKEN)
    expected = answers.at(Viewpoint("nerv", 1, "block2"), Spot((3, 4, 4, 5)))
    assert status == 200
    assert unpack(block)["terms"].tolist() == expected["terms"].tolist()
    status, page = ask(door, "/?token=right")
    assert status == 200
    assert b"Point at" in page or b"point at" in page


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/runs", {}),
        ("/api/runs", {"X-Xinc-Token": "wrong"}),
        ("/?token=wrong", {}),
        ("/", {}),
        ("/api/runs", {**TOKEN, "Host": "evil.example"}),
        ("/api/runs", {**TOKEN, "Host": "evil.example:8642"}),
        ("/api/runs", {**TOKEN, "Origin": "https://evil.example"}),
        ("/api/runs", {**TOKEN, "Origin": "null"}),
        ("/api/runs", {**TOKEN, "Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_nobody_else_may_ask(door: Door, path: str, headers: dict[str, str]) -> None:
    status, answer = ask(door, path, **headers)
    assert status == 403
    assert b"toy" not in answer


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/nothing", "no such question"),
        ("/api/map?run=nerv&layer=block2", "lacks neuron="),
        ("/api/map?run=nerv&layer=block2&neuron=x", "neuron=x is no whole number"),
        ("/api/map?run=nerv&layer=block2&neuron=99999", "has no neuron"),
        ("/api/map?run=nerv&layer=block9&neuron=1", "block9"),
        ("/api/picture?run=nerv&frame=77", "77"),
        ("/api/picture?run=nerv&frame=0&method=magic", "magic"),
        ("/api/at?run=nerv&layer=block2&box=1,2", "y0,x0,y1,x1"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(door: Door, path: str, says: str) -> None:
    status, answer = ask(door, path, **TOKEN)
    assert status == 400
    assert says in json.loads(answer)["error"]


def test_a_run_that_was_deleted_is_named(tmp_path: Path) -> None:
    shutil.copytree(by_family("ffn").path or "", tmp_path / "ffn")
    own = Answers({"ffn": xinc.load(tmp_path / "ffn")})
    own.picture(Viewpoint("ffn", 0))
    shutil.rmtree(tmp_path / "ffn")
    with pytest.raises(RunError, match="is gone"):
        own.picture(Viewpoint("ffn", 0))
    assert not (tmp_path / "ffn").exists()


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match="is in use"):
            bind(taken.getsockname()[1])
        folder = str(by_family("ffn").path)
        refused = CliRunner().invoke(app, ["explore", folder, "--port", str(taken.getsockname()[1]), "--no-browser"])
        assert refused.exit_code == 2
        assert "is in use; choose another with --port" in refused.output.replace("\n", " ")


# ---- the command


def test_the_command_writes_a_page_and_refuses_what_is_no_run(tmp_path: Path) -> None:
    folder = by_family("ffn").path
    out = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["explore", str(folder), "--export", str(out)])
    assert done.exit_code == 0, done.output
    assert out.stat().st_size > 50_000
    assert "connect-src &#x27;none&#x27;" in out.read_text() or "connect-src 'none'" in out.read_text()
    for arguments, says in [
        ([str(tmp_path / "nothing"), "--export", str(out)], "no run"),
        ([str(folder), "--export", str(tmp_path)], "is a folder"),
        ([str(folder), "--port", "99999999"], "port"),
    ]:
        refused = CliRunner().invoke(app, ["explore", *arguments])
        assert refused.exit_code == 2, refused.output
        assert says in refused.output


def test_a_corrupt_run_is_refused_by_its_file(tmp_path: Path) -> None:
    shutil.copytree(by_family("ffn").path or "", tmp_path / "ffn")
    (tmp_path / "ffn" / "config.json").write_text("{")
    refused = CliRunner().invoke(app, ["explore", str(tmp_path / "ffn"), "--no-browser"])
    assert refused.exit_code == 2
    assert "config.json" in refused.output


def test_too_many_frames_for_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xinc.explore.html.LARGEST", 10)
    with pytest.raises(RunError, match="too many for one file"):
        export({"nerv": by_family("nerv")}, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


class Bent(INR):
    """A network that is no chain: a skip round a convolution."""

    FAMILY = "nerv"

    def __init__(self, config: Any) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.config = config
        self.first, self.last = torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.Conv2d(3, 3, 3, padding=1)
        self.skip = torch.nn.Conv2d(2, 3, 1)

    def frame_input(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(1, 2, *self.config.size, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.last(torch.sin(self.first(x)) + self.skip(x)))

    def to_image(self, output: torch.Tensor) -> torch.Tensor:
        return output[0]


@pytest.fixture(scope="module")
def bent() -> Run:
    run = by_family("nerv")
    return Run("nerv", Bent(run.config).eval(), run.clip, ())


def test_a_network_off_the_chain_is_answered_from_the_server(bent: Run) -> None:
    answers, view = Answers({"bent": bent}), Viewpoint("bent", 1, "first")
    layer = bent.canvas(1, "exact")["first"]
    maps = layer.maps(range(layer.shape[0]), signed=True)
    torch.testing.assert_close(answers.at(view, BOX)["terms"], maps[:, :, 5:9, 7:20].mean((2, 3)), atol=1e-6, rtol=1e-3)
    torch.testing.assert_close(answers.map(view, 4)["map"], maps[4], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(answers.group(view, [1, 2])["map"], maps[[1, 2]].sum(0), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(answers.gram(view, 2)["products"], (maps * maps[2]).sum((1, 2, 3)), atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(answers.kernel(view, 4)["kernel"], bent.model.first.weight[1, 1])  # type: ignore[union-attr,index]
    without = answers.without(view, {"first": [4]})
    with torch.no_grad():
        kept = bent.model.first.weight[1, 1].clone()  # type: ignore[union-attr,index]
        bent.model.first.weight[1, 1] = 0  # type: ignore[union-attr,index,operator]
        truth = bent.model.render(1)
        bent.model.first.weight[1, 1] = kept  # type: ignore[union-attr,index,operator]
    torch.testing.assert_close(without["picture"], truth)
    torch.testing.assert_close(without["predicted"], bent.model.render(1).detach() - maps[4], atol=1e-6, rtol=1e-4)


def test_a_run_off_the_chain_is_exported_in_pictures(bent: Run, tmp_path: Path) -> None:
    path = export({"bent": bent}, tmp_path / "page.html")
    assert '"still": [{' in data_of(path)
    assert path.stat().st_size < 2_000_000


def data_of(path: Path) -> str:
    """The header of what a page holds."""
    held = re.search(r'id="data">([^<]+)<', path.read_text())
    assert held
    block = base64.b64decode(held[1])
    return block[4 : 4 + int.from_bytes(block[:4], "little")].decode()
