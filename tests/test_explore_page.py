"""The page where one points at a pixel, in a real browser: its numbers, and everything that people do there."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import xinc
from tiny_runs import clip, folder, runs
from xinc.explore.answers import Answers, Spot, Viewpoint
from xinc.explore.html import export
from xinc.explore.network import halved
from xinc.explore.server import Door, application, bind
from xinc.findings.results import FOLDER, Results
from xinc.findings.together.together import unique_parts
from xinc.run import Run

READY = "html[data-ready]"
DRAWN = ".stage:not(.busy) figcaption span"


@pytest.fixture(scope="module")
def explored() -> dict[str, Run]:
    """The tiny runs with a layout of their neurons, which would take UMAP some seconds."""
    found: dict[str, Run] = {}
    for run in runs():
        path = folder() / "explored" / run.family
        shutil.copytree(run.path or "", path, dirs_exist_ok=True)
        canvas = run.canvas(0)
        layer = np.concatenate([[name] * canvas[name].shape[0] for name in canvas])
        index = np.concatenate([np.arange(canvas[name].shape[0]) for name in canvas])
        turn = np.linspace(0, 6.28, len(index))
        position = np.stack([np.cos(turn), np.sin(turn)], 1)
        data = xr.Dataset(
            {"position": (("frame", "neuron", "axis"), position[None])},
            {
                "frame": [0],
                "layer": (("frame", "neuron"), layer.astype(object)[None]),
                "index": (("frame", "neuron"), index[None]),
            },
            {"finding": "embedding_layers"},
        )
        results, layers = Results(path / FOLDER), list(canvas)
        results.put("embedding_layers/exact", data)
        last, count = layers[-1], canvas[layers[-1]].shape[0]
        results.put(f"clusters/exact/{last}", textures(count))
        results.put(f"embedding_networks/exact/{last}", seeds(last, count))
        results.put(f"together/exact/{last}", own_parts(count))
        results.put("regions", colours(*run.clip.size))
        found[run.family] = xinc.load(path)
    found["siren"] = xinc.fit("siren", xinc.Clip(clip().frames[:1], ("a",)), epochs=1, width=12, w0=6)
    found["hnerv"] = xinc.fit("hnerv", clip(), epochs=1, fc_dim=6, strides=(4, 2), channels=4, kernels=(1, 3))
    return found


def textures(count: int) -> xr.Dataset:
    vector = np.eye(4, dtype=np.float32)[np.arange(count) % 4]
    return xr.Dataset(
        {"vector": (("frame", "neuron", "region"), vector[None])}, {"frame": [0]}, {"finding": "clusters"}
    )


def seeds(layer: str, count: int) -> xr.Dataset:
    """Neurons of two networks laid out together."""
    position = np.random.default_rng(0).random((1, 2 * count, 2))
    return xr.Dataset(
        {"position": (("frame", "neuron", "axis"), position)},
        {
            "frame": [0],
            "layer": ("neuron", np.array([layer] * (2 * count), object)),
            "member": ("neuron", np.array(["seed 0"] * count + ["seed 1"] * count, object)),
            "index": ("neuron", np.tile(np.arange(count), 2)),
        },
        {"finding": "embedding_networks"},
    )


def colours(height: int, width: int) -> xr.Dataset:
    """Sixteen regions of like colour, say: bricks of which the last lacks a corner."""
    rows, columns = np.indices((height, width))
    labels = (4 * (4 * rows // height) + 4 * columns // width).astype(np.int32)
    labels[-1, -1] = -1
    values = {"labels": (("frame", "grouping", "y", "x"), labels[None, None])}
    return xr.Dataset(values, {"frame": [0], "grouping": ["rgb"]}, {"finding": "regions"})


def own_parts(count: int) -> xr.Dataset:
    values = {name: (("frame", "neuron"), np.full((1, count), one)) for name, one in (("unique", 0.5), ("energy", 2.0))}
    return xr.Dataset(values, {"frame": [0]}, {"finding": "together"})


@dataclass
class Opened:
    """A page, and what it complained of."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def settled(self) -> Any:
        self.page.wait_for_selector(READY)
        self.page.wait_for_selector(DRAWN)
        return self.page

    def closed(self) -> None:
        self.page.context.close()
        assert self.complaints == []


def opened(browser: Any, address: str, width: int = 1280, toured: bool = True, **options: Any) -> Opened:
    context = browser.new_context(viewport={"width": width, "height": 844 if width < 500 else 900}, **options)
    page = context.new_page()
    found = Opened(page)
    page.on("console", lambda message: found.complaints.append(message.text))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    local = ("file:", "data:", "blob:", "http://127.0.0.1:")
    page.on("request", lambda r: None if r.url.startswith(local) else found.complaints.append(r.url))
    if toured:
        page.add_init_script("try { localStorage.setItem('xinc-toured', 'yes'); } catch {}")
    page.goto(address)
    return found


@pytest.fixture(scope="module")
def file(explored: dict[str, Run]) -> str:
    return export(explored, folder() / "explored" / "page.html").as_uri()


@pytest.fixture(scope="module")
def served(explored: dict[str, Run]) -> Iterator[str]:
    import uvicorn

    answers = Answers(explored)
    answers.describe()
    listening = bind(None)
    door = Door(listening.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(application(answers, door), log_level="error"))
    listening.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield door.address
    server.should_exit = True
    thread.join(10)


@pytest.fixture(params=["file", "served"])
def address(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def values(page: Any, question: str, how: dict[str, Any], *names: str) -> list[Any]:
    """Arrays of an answer that the page's source gives."""
    script = """async ([question, how, names]) => {
      const run = xinc.runs.find((one) => one.key === how.run);
      const answer = await xinc.source.ask(question, { ...how, run });
      return names.map((name) => Array.from(answer[name]));
    }"""
    found: list[Any] = page.evaluate(script, [question, how, list(names)])
    return found


@pytest.mark.parametrize(
    ("family", "layer"),
    [
        *(("nerv", name) for name in ("block1", "block2", "head")),
        *(("hnerv", name) for name in ("block1", "head")),
        *(("ffn", name) for name in ("layer1", "layer2")),
        *(("siren", name) for name in ("layer2", "layer3")),
    ],
)
def test_the_network_in_the_page_gives_the_numbers_of_python(
    browser: Any, file: str, explored: dict[str, Run], family: str, layer: str
) -> None:
    answers = Answers({family: halved(explored[family])})
    frame = 2 if "nerv" in family else 0
    view, how = Viewpoint(family, frame, layer), {"run": family, "t": frame, "layer": layer, "method": "exact"}
    page = opened(browser, file)
    page.settled()

    def close(found: list[float], expected: Any) -> None:
        wanted = torch.as_tensor(expected).flatten()
        scale = float(wanted.abs().max()) + 1e-9
        assert float((torch.tensor(found) - wanted).abs().max()) < 1e-3 * scale

    at = answers.at(view, Spot((5, 7, 9, 20)))
    terms, bias, value = values(page.page, "at", {**how, "place": {"box": "5,7,9,20"}}, "terms", "bias", "value")
    close(terms, at["terms"])
    close(bias, at["bias"])
    close(value, at["value"])
    (picture,) = values(page.page, "picture", how, "picture")
    close(picture, answers.picture(view)["picture"])
    (original,) = values(page.page, "picture", how, "original")
    assert np.abs(np.array(original) - answers.picture(view)["original"].flatten().numpy()).max() <= 0.5 / 255 + 1e-6
    (own,) = values(page.page, "map", {**how, "neuron": 3}, "map")
    close(own, answers.map(view, 3)["map"])
    (group,) = values(page.page, "group", {**how, "neurons": [0, 2, 5]}, "map")
    close(group, answers.group(view, [0, 2, 5])["map"])
    (products,) = values(page.page, "gram", {**how, "neuron": 3}, "products")
    close(products, answers.gram(view, 3)["products"])
    (kernel,) = values(page.page, "kernel", {**how, "neuron": 3}, "kernel")
    close(kernel, answers.kernel(view, 3)["kernel"])
    without = values(page.page, "without", {**how, "chosen": {layer: [1, 4]}, "only": 0}, "picture", "predicted")
    expected = answers.without(view, {layer: [1, 4]})
    close(without[0], expected["picture"])
    close(without[1], expected["predicted"])
    (totals,) = values(page.page, "heat", {**how, "finest": 1}, "totals")
    close(totals, answers.layer(view).totals())
    page.closed()


def test_fast_and_plain_convolutions_agree(browser: Any, file: str) -> None:
    page = opened(browser, file)
    page.settled()
    script = page.page.evaluate("document.getElementById('engine').textContent")
    check = """(script) => new Promise((done) => {
      const test = `onmessage = () => {
        const stage = { cin: 5, cout: 6, kh: 3, kw: 5, ph: 1, pw: 2, h: 9, w: 21 };
        const random = (n) => Float32Array.from({ length: n }, (_, k) => Math.sin(17 * k + 3));
        const x = random(5 * 9 * 21), weight = random(6 * 5 * 15), bias = random(6);
        const fast = convolve(stage, x, weight, bias), plain = convolvePlainly(stage, x, weight, bias);
        postMessage([convolve === convolvePlainly, Math.max(...fast.map((value, n) => Math.abs(value - plain[n])))]);
      };`;
      const worker = new Worker(URL.createObjectURL(new Blob([script + test], { type: "text/javascript" })));
      worker.onmessage = ({ data }) => done(data);
      worker.postMessage(0);
    })"""
    same, gap = page.page.evaluate(check, script)
    assert not same, "the fast convolution was not compiled"
    assert gap < 1e-4
    page.closed()


def text(page: Any, selector: str = "#body") -> str:
    found: str = page.inner_text(selector)
    return found


def state(page: Any, key: str) -> Any:
    return page.evaluate("(key) => xinc.state.get(key)", key)


def clicked(page: Any, y: float, x: float) -> None:
    """Click the picture at a share of its height and width."""
    box = page.locator(".frame canvas").first.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_click_lists_who_paints_the_pixel(browser: Any, address: str, explored: dict[str, Run]) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&t=1")
    page = found.settled()
    clicked(page, 0.5, 0.25)
    page.wait_for_selector(".ranked li")
    assert state(page, "place") == "16,16"
    first = int(text(page, ".ranked .name >> nth=0").split()[0])
    sizes = halved(explored["nerv"]).canvas(1)["block2"].at(16, 16)
    assert sizes[first] >= 0.999 * sizes.max()
    assert "what stands here" in text(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("#body .empty")
    found.closed()


def test_hovering_lists_and_leaving_forgets(browser: Any, file: str) -> None:
    found = opened(browser, file + "#run=nerv&layer=block2")
    page = found.settled()
    box = page.locator(".frame canvas").first.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    page.wait_for_selector(".ranked li")
    page.mouse.move(box["x"] - 5, box["y"] - 5)
    page.wait_for_selector("#body .empty")
    assert state(page, "place") == ""
    found.closed()


def test_near_ties_are_said(browser: Any, address: str, explored: dict[str, Run]) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&place=10,20")
    page = found.settled()
    page.wait_for_selector(".ranked li")
    shown = text(page, "#body .quiet >> nth=0")
    sizes = halved(explored["nerv"]).canvas(0)["block2"].at(10, 20).sort(descending=True).values
    near = int((sizes >= 0.9 * sizes[0]).sum())
    assert (f"The first {near} are within a tenth" if near > 1 else "The first stands out") in shown
    found.closed()


def test_regions_are_listed_and_outlined_where_they_are_named(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&tool=object&regions=rgb&place=10,20")
    page = found.settled()
    page.wait_for_selector("h3:has-text('Regions by colour')")
    assert page.locator(".region").count() == 14
    page.click("button:has-text('All 16')")
    page.wait_for_selector(".region >> nth=15")
    page.evaluate("xinc.state.set({ tab: 'neuron', k: 3 })")
    page.wait_for_selector(".chips:has-text('Strongest in') .region")
    page.hover(".region >> nth=0")
    page.wait_for_function("() => document.querySelector('.frame svg .over')?.getAttribute('d').length > 60")
    name = text(page, ".region >> nth=0").strip()
    page.click(".region >> nth=0")
    page.wait_for_selector(f"#body h2:has-text('{name}')")
    assert state(page, "place") == f"rgb:{name.split()[-1]}"
    found.closed()


def test_what_changes_in_the_box_is_said(browser: Any, address: str, explored: dict[str, Run]) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&place=5,7,9,20&off=block2:1,4&tab=off")
    page = found.settled()
    page.wait_for_selector("#body .sentence:has-text('In the box')")
    run = halved(explored["nerv"]) if address.startswith("file") else explored["nerv"]
    answer = Answers({"nerv": run}).without(Viewpoint("nerv", 0, "block2"), {"block2": [1, 4]})["picture"]
    lost = (run.canvas(0).output - answer).abs()
    share = float(lost[:, 5:9, 7:20].sum() / lost.sum())
    rows = {row["what"]: row["value"] for row in saved(page)}
    assert float(rows["share of the change there"]) == pytest.approx(share, rel=5e-3)
    error = (answer.clamp(0, 1) - run.clip.frame(0))[:, 5:9, 7:20].square().mean()
    assert float(rows["PSNR there without in dB"]) == pytest.approx(float(-10 * error.log10()), abs=0.02)
    found.closed()


def test_a_heatmap_in_a_file_goes_on_to_every_pixel(browser: Any, file: str, explored: dict[str, Run]) -> None:
    found = opened(browser, file + "#run=nerv&layer=head&view=heat")
    page = found.settled()
    page.wait_for_selector("figcaption:has-text('every pixel')")
    how = {"run": "nerv", "t": 0, "layer": "head", "method": "exact", "finest": 1}
    (heat,) = values(page, "heat", how, "heat")
    expected = halved(explored["nerv"]).canvas(0)["head"].heatmap().flatten()
    torch.testing.assert_close(torch.tensor(heat), expected, rtol=2e-3, atol=1e-4 * float(expected.max()))
    found.closed()


def test_a_coarse_map_comes_first_and_the_exact_one_follows(
    browser: Any, served: str, explored: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xinc.explore.chain.LONG_PRODUCTS", 0)
    monkeypatch.setattr("xinc.explore.chain.coarse_is_quick", lambda: True)
    found = opened(browser, served + "#run=nerv&layer=block1&t=1")
    page = found.settled()
    how = {"run": "nerv", "t": 1, "layer": "block1", "method": "exact"}
    looks = page.evaluate(
        """async (how) => {
          const run = xinc.runs.find((one) => one.key === how.run), found = [];
          for await (const one of xinc.source.maps({ ...how, run }, 7)) found.push([one.coarse, Array.from(one.map)]);
          return found;
        }""",
        how,
    )
    assert [coarse for coarse, _ in looks] == [True, False]
    exact = explored["nerv"].canvas(1)["block1"].maps([7], signed=True)[0].flatten()
    coarse, last = (torch.tensor(values) for _, values in looks)
    torch.testing.assert_close(last, exact, atol=1e-6, rtol=1e-4)
    assert 0 < float((coarse - exact).abs().max()) < 0.03 * float(exact.abs().max())
    page.evaluate("xinc.look(7)")
    page.wait_for_selector("figcaption:has-text('what it adds')")
    assert "coarsely" not in text(page, ".stage figcaption")  # the exact one is known by now
    found.closed()


def test_maps_of_listed_neurons_are_made_ahead(browser: Any, served: str) -> None:
    found = opened(browser, served + "#run=nerv&layer=block2&t=2&place=10,20")
    page = found.settled()
    page.wait_for_selector(".ranked li")
    page.wait_for_function(
        """() => Array.from(document.querySelectorAll(".ranked .name"), (one) => parseInt(one.textContent))
          .every((neuron) => xinc.source.known("map", { ...xinc.how(), neuron }))"""
    )
    found.closed()


def test_a_box_and_an_object(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2")
    page = found.settled()
    box = page.locator(".frame canvas").first.bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.75 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_selector(".ranked li")
    assert state(page, "place") == "8,16,25,33"
    page.click("#tools label:has-text('an object')")
    clicked(page, 0.95, 0.95)
    page.wait_for_selector("h2:has-text('floor')")
    assert state(page, "place").startswith("segments:")
    page.click(".chips button >> nth=0")
    found.closed()


def test_a_neuron_its_like_and_the_next(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&place=10,10")
    page = found.settled()
    page.click(".ranked .name >> nth=0")
    page.wait_for_selector("#body dd:has-text(' of ')")
    assert page.locator("#views input:checked").get_attribute("value") == "neuron"  # both rows called Show hold
    first = state(page, "k")
    assert state(page, "view") == "neuron"
    assert "Neighbours" in text(page)
    page.wait_for_selector("#body .chart")
    page.click("[aria-label='Next neuron by rank']")
    page.wait_for_function("(first) => xinc.state.get('k') !== first", arg=first)
    page.click("[aria-label='Previous neuron by rank']")
    page.wait_for_function("(first) => xinc.state.get('k') === first", arg=first)
    page.fill("#number", "2")
    page.click("#body form button")
    page.wait_for_selector("h2:has-text('neuron 2:')")
    page.click("label:has-text('absolute')")
    assert state(page, "size") == 1
    page.click("#body button:has-text('Switch it off')")
    page.wait_for_selector(".stage figcaption:has-text('dB')")
    assert state(page, "view") == "without"
    found.closed()


def test_switching_off_undoing_and_taking_along(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&place=10,10")
    page = found.settled()
    page.wait_for_selector(".ranked li")
    page.click("button:has-text('Switch these')")
    page.wait_for_selector("#body .sentence")
    off = state(page, "off")
    assert off.startswith("block2:")
    assert len(off.split(",")) == 12
    assert state(page, "view") == "without"
    assert "dB" in text(page, ".stage figcaption")
    page.click("text=all but these")
    page.wait_for_selector("h2:has-text('Only 12')")
    page.click("#undo")
    page.wait_for_selector("#body .empty")
    assert (state(page, "off"), state(page, "view")) == ("", "network")
    page.evaluate("xinc.switchOff({ block2: [3, 5] })")
    page.wait_for_selector("text=2 neurons switched off")
    with page.expect_download() as download:
        page.click("button:has-text('Save as JSON')")
    assert json.loads(Path(download.value.path()).read_text()) == {"block2": [3, 5]}
    page.click(".chips button >> nth=0")
    page.wait_for_selector("text=1 neuron switched off")
    page.click("button:has-text('Switch all on')")
    page.wait_for_selector("#body .empty")
    found.closed()


def test_a_layer_its_density_and_its_principal_pictures(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&tab=layer")
    page = found.settled()
    page.click("button:has-text('Show its heatmap')")
    page.wait_for_selector("figcaption:has-text('every pixel'), figcaption:has-text('one pixel in')")
    page.fill("#area", "0.5")
    page.dispatch_event("#area", "change")
    page.wait_for_selector("figcaption:has-text('50')")
    assert state(page, "view") == "density"
    page.click("#principal")
    page.wait_for_selector("#body .tiles button")
    page.click("#body .tiles button >> nth=1")
    page.wait_for_selector("figcaption:has-text('principal contribution 2')")
    found.closed()


def test_a_line_round_neurons_shows_what_they_paint(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&tab=cloud")
    page = found.settled()
    box = page.wait_for_selector(".cloud").bounding_box()
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.3)]
    for n, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=3)
        if n == 0:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("figcaption:has-text('together')")
    group = state(page, "group")
    assert group.startswith("block2:")
    assert len(group.split(",")) > 10
    page.click("label:has-text('total')")
    page.wait_for_selector("text=bright: much")
    page.click("button:has-text('Switch them off')")
    page.wait_for_selector("#body .sentence")
    found.closed()


def test_the_cloud_is_coloured_by_textures_and_networks(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=head&tab=cloud")
    page = found.settled()
    page.click("label:has-text('texture')")
    page.wait_for_selector("text=textures, a colour each")
    page.click("#body label:has-text('network')")
    page.wait_for_selector(".keys :text('seed 1')")
    rows = saved(page)
    count = next(one["neurons"] for one in page.evaluate("xinc.how().run.layers") if one["name"] == "head")
    assert len(rows) == 2 * count
    assert {row["network"] for row in rows} == {"seed 0", "seed 1"}
    found.closed()


def saved(page: Any) -> list[dict[str, str]]:
    """The table that the page gives for its open tab."""
    with page.expect_download() as download:
        page.click("#numbers")
    with Path(download.value.path()).open() as file:
        return list(csv.DictReader(file))


def test_numbers_of_every_tab_can_be_saved(browser: Any, address: str, explored: dict[str, Run]) -> None:
    found = opened(browser, address + "#run=nerv&layer=head&place=10,10&k=3&off=head:1,2")
    page = found.settled()
    layer = (halved(explored["nerv"]) if address.startswith("file") else explored["nerv"]).canvas(0, "exact")["head"]
    page.wait_for_selector(".ranked li")
    rows = saved(page)
    assert len(rows) == layer.shape[0]
    first = int(rows[0]["neuron"])
    assert float(rows[0]["size"]) == pytest.approx(float(layer.at(10, 10)[first]), rel=1e-3)
    for tab, key, value in (("neuron", "neuron", "3"), ("off", "head", "1 2")):
        page.click(f"#tab-{tab}")
        page.wait_for_selector("#body dl.facts")
        assert {row["what"]: row["value"] for row in saved(page)}[key] == value
    page.click("#tab-layer")
    page.wait_for_selector("#area")
    totals = saved(page)
    assert [int(row["neuron"]) for row in totals] == list(range(layer.shape[0]))
    if not address.startswith("file"):
        assert float(totals[3]["total"]) == pytest.approx(float(layer.totals()[3]), rel=1e-3)
    page.click("#tab-trust")
    page.wait_for_selector("#body .empty, #body table")
    if page.locator("#body table").count() == 0:
        page.click("#numbers")
        page.wait_for_selector("text=There are no numbers here yet")
    found.closed()


def test_a_neuron_says_how_much_of_it_is_unique(browser: Any, address: str, explored: dict[str, Run]) -> None:
    found = opened(browser, address + "#run=nerv&layer=head&k=3&tab=neuron")
    page = found.settled()
    page.wait_for_selector("dt:has-text('unique part') + dd:has-text('25')")  # as the results keep it
    page.evaluate("xinc.state.set({ layer: 'block2' })")
    if address.startswith("file"):
        page.wait_for_selector("dt:has-text('unique part') + dd:has-text('–')")
    else:
        gram = explored["nerv"].canvas(0, "exact")["block2"].gram().numpy()
        page.click("#unique")
        page.wait_for_selector("dt:has-text('unique part') + dd:has-text('%')")
        shown = page.inner_text("dt:has-text('unique part') + dd")
        share = 100 * unique_parts(gram)[3] / gram[3, 3]
        assert float(shown.split("\u202f")[0].replace("−", "-")) == pytest.approx(share, abs=0.6)
    found.closed()


def copied(page: Any) -> str:
    """The lines of Python that the page gives."""
    page.evaluate("navigator.clipboard.writeText = async (text) => { globalThis.clip = text; }")
    page.click("#python")
    lines: str = page.evaluate("globalThis.clip")
    return lines


def test_a_link_opens_the_same_view(browser: Any, address: str) -> None:
    view = "#run=nerv&t=2&layer=block1&tab=off&view=lost&place=4,5,9,12&off=block1:1,2;head:3&k=7"
    found = opened(browser, address + view)
    page = found.settled()
    page.wait_for_selector("text=3 neurons switched off")
    before = page.evaluate("xinc.state.values")
    page.evaluate("location.reload()")
    page.wait_for_selector("text=3 neurons switched off")
    assert page.evaluate("xinc.state.values") == before
    assert before["t"] == 2
    lines = copied(page)
    said: dict[str, Any] = {}
    exec(lines.replace("import xinc", ""), {"xinc": xinc}, said)  # the lines are the page's own
    assert said["here"].shape == said["layer"].shape[:1]
    gone = xinc.without(said["run"], {"block1": [1, 2], "head": [3]})
    assert torch.equal(said["smaller"].render(2), gone.render(2))
    found.closed()


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("place=4,5", lambda layer: layer.at(4, 5)),
        ("place=4,5,9,12", lambda layer: layer.line(slice(4, 9), slice(5, 12)).mean((1, 2))),
        ("place=rgb:5", lambda layer: layer.region_sums(colours(32, 64)["labels"].values[0, 0])[:, 5]),
        ("k=3&view=neuron", lambda layer: layer.maps([3], signed=True)[0]),
        ("view=heat", lambda layer: layer.heatmap()),
        ("view=density&area=0.5", lambda layer: layer.neurons_per_pixel(0.5)),
        ("view=group&group=block2:1,2", lambda layer: layer.sum([1, 2])),
    ],
)
def test_the_lines_of_python_run(browser: Any, served: str, explored: dict[str, Run], view: str, expected: Any) -> None:
    found = opened(browser, served + "#run=nerv&layer=block2&" + view)
    lines = copied(found.settled())
    said: dict[str, Any] = {}
    exec(lines, said)
    name = lines.strip().splitlines()[-1].split(" = ")[0]
    torch.testing.assert_close(said[name], expected(explored["nerv"].canvas(0)["block2"]))
    found.closed()


def test_the_lines_of_python_make_principal_pictures(browser: Any, served: str) -> None:
    found = opened(browser, served + "#run=nerv&layer=head&view=principal&n=1&tab=layer")
    lines = copied(found.settled())
    said: dict[str, Any] = {}
    exec(lines, said)
    view = {"run": "nerv", "t": 0, "layer": "head", "method": "exact", "count": 6}
    (squares,) = values(found.page, "principal", view, "squares")
    assert float(said["principal"].square().sum()) == pytest.approx(squares[1], rel=0.02)
    found.closed()


def test_an_address_that_fits_nothing_is_made_to_fit(browser: Any, file: str) -> None:
    found = opened(browser, file + "#run=gone&t=99&layer=block77&view=magic&tab=magic&k=9999&off=block77:1&place=x")
    page = found.settled()
    assert state(page, "run") == "nerv"
    assert (state(page, "t"), state(page, "tab"), state(page, "off")) == (0, "place", "")
    found.closed()


def test_frames_play_and_slide(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv")
    page = found.settled()
    page.fill("#frame", "2")
    page.wait_for_function("() => xinc.state.get('t') === 2")
    page.click("#play")
    page.wait_for_function("() => xinc.state.get('t') !== 2")
    page.click("#play")
    page.keyboard.press(",")
    found.closed()


def test_two_pictures_side_by_side(browser: Any, address: str) -> None:
    found = opened(browser, address + "#run=nerv&layer=block2&view=neuron&k=3&b=layer:block1")
    page = found.settled()
    page.wait_for_selector(".stage >> nth=1")
    page.wait_for_selector(".stage:not(.busy) >> nth=1")
    assert "block1" in text(page, ".stage:nth-child(2) figcaption")
    page.select_option("select[aria-label='Beside it']", "run:ffn")
    page.wait_for_selector(".stage:not(.busy) >> nth=1")
    found.closed()


def test_the_keyboard_is_enough(browser: Any, file: str) -> None:
    found = opened(browser, file + "#run=nerv&layer=block2")
    page = found.settled()
    page.focus(".frame canvas")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".ranked li")
    assert state(page, "place") == "17,33"
    page.focus(".ranked .name >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('kernel')")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("o")
    page.wait_for_selector("[role=tab]:has-text('Switched off · 1')")
    page.keyboard.press("u")
    page.wait_for_function("() => xinc.state.get('off') === ''")
    page.focus("#tab-neuron")
    page.keyboard.press("ArrowRight")
    assert state(page, "tab") == "off"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("6")
    assert state(page, "tab") == "trust"
    found.closed()


def test_the_tour_stands_first_and_only_once(browser: Any, served: str) -> None:
    found = opened(browser, served, toured=False)
    page = found.settled()
    page.wait_for_selector("dialog[open]")
    for _ in range(4):
        page.click("dialog button:has-text('Next')")
    page.click("dialog button:has-text('Start')")
    page.reload()
    page.wait_for_selector(DRAWN)
    assert page.locator("dialog").count() == 0
    found.closed()


def test_two_pages_at_once(browser: Any, served: str) -> None:
    first = opened(browser, served + "#run=nerv&layer=block2&place=5,5")
    second = opened(browser, served + "#run=ffn&layer=layer2&place=9,9&tab=place")
    for one, layer in ((first, "block2"), (second, "layer2")):
        one.settled().wait_for_selector(f"#body .sentence:has-text('{layer}')")
    first.closed()
    second.closed()


def test_a_server_that_is_gone_is_said(browser: Any, served: str) -> None:
    found = opened(browser, served + "#run=nerv&layer=block2")
    page = found.settled()
    page.route("**/api/**", lambda route: route.abort())
    clicked(page, 0.5, 0.5)
    page.wait_for_selector(".failed:has-text('does not answer')")
    page.unroute("**/api/**")
    page.click("button:has-text('Try again')")
    page.wait_for_selector(".ranked li")
    found.complaints.clear()  # the browser tells of the request that was cut off
    found.closed()


def test_a_run_that_is_deleted_underneath_is_said(browser: Any, served: str, explored: dict[str, Run]) -> None:
    found = opened(browser, served + "#run=ffn&layer=layer2")
    page = found.settled()
    path = explored["ffn"].path
    assert path is not None
    path.rename(path.with_name("elsewhere"))
    try:
        clicked(page, 0.5, 0.5)
        page.wait_for_selector(".failed:has-text('is gone; it was moved or deleted')")
    finally:
        path.with_name("elsewhere").rename(path)
    page.click("button:has-text('Try again')")
    page.wait_for_selector(".ranked li")
    found.complaints.clear()  # the browser tells of the refusal
    found.closed()


def test_a_foreign_page_gets_nothing(browser: Any, served: str) -> None:
    context = browser.new_context()
    page, answers = context.new_page(), []
    page.on("response", lambda response: answers.append(response.status))
    page.goto("data:text/html,<title>foreign</title>")
    address, token = served.split("?token=")
    ask = """([address, mode]) => fetch(address, { mode }).then((one) => one.text(), () => "refused")"""
    for mode in ("cors", "no-cors"):  # by the server, or by the browser before it
        assert page.evaluate(ask, [f"{address}api/runs?token={token}", mode]) in ("refused", "")
    assert 200 not in answers
    context.close()


def test_a_wrong_token_opens_nothing(browser: Any, served: str) -> None:
    found = opened(browser, served.split("token=")[0] + "token=wrong")
    assert "lacks the right token" in found.page.inner_text("body")
    found.complaints.clear()  # a refusal is an error in the console
    found.closed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 820, 390])
def test_nothing_overflows_at_any_width(browser: Any, file: str, width: int, scheme: str, tmp_path: Path) -> None:
    found = opened(browser, file + "#run=nerv&layer=block2&place=16,30", width, color_scheme=scheme)
    page = found.settled()
    page.wait_for_selector(".ranked li canvas")
    for tab in ("place", "neuron", "off", "layer", "cloud", "trust"):
        page.evaluate("(tab) => xinc.state.set({ tab, k: 3, off: 'block2:1,2' })", tab)
        page.wait_for_selector(f"#body[data-tab='{tab}']")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=tmp_path / f"{tab}.png", full_page=True)
    found.closed()


def test_a_finger_points_too(browser: Any, file: str) -> None:
    found = opened(browser, file + "#run=nerv&layer=block2", 390, has_touch=True, is_mobile=True)
    page = found.settled()
    page.locator(".frame canvas").first.tap(position={"x": 100, "y": 60})
    page.wait_for_selector(".ranked li")
    assert state(page, "place") != ""
    page.locator(".ranked .name").first.tap()
    page.wait_for_selector("h2:has-text('kernel')")
    found.closed()
