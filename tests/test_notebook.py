"""What a notebook shows of our objects, and the figures that they draw."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

import xinc
from tiny_runs import runs
from xinc.errors import RunError, TraceError


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 12, 3, padding=1),
        torch.nn.PixelShuffle(2),
        torch.nn.GELU(),
        torch.nn.Conv2d(3, 3, 3, padding=1),
    )


def test_objects_show_facts_and_pictures() -> None:
    run = runs()[0]
    canvas = run.canvas(0)
    for shown, facts, pictures in [
        (run, ["NeRV of", "parameters", "dB"], 2),
        (run.clip, ["frames", "annotated", "4 segments"], 3),
        (canvas, ["block1", "head", "exact"], 1),
        (canvas["block2"], ["Layer block2", "neurons"], 0),
    ]:
        text = shown._repr_html_()
        assert all(fact in text for fact in facts), text[:400]
        assert len(re.findall("<img ", text)) == pictures


def test_a_name_cannot_smuggle_markup() -> None:
    clip = xinc.Clip(torch.zeros(1, 3, 4, 4), ("<script>x</script>",), source="<b>bold</b>")
    text = clip._repr_html_()
    assert "<script>" not in text
    assert "<b>bold" not in text


def test_objects_draw_figures() -> None:
    run = runs()[0]
    canvas = run.canvas(0)
    for figure in (canvas.plot(), canvas["block2"].plot(), canvas["block2"].plot([0, -1]), run.plot("grouping")):
        assert isinstance(figure, Figure)
        assert figure.get_axes()
    with pytest.raises(RunError, match=r"no figure 'x'; it has .*grouping"):
        run.plot("x")
    with pytest.raises(TraceError, match="has no neuron"):
        canvas["block2"].plot([99999])


def test_a_canvas_of_anyones_network_is_a_page(browser: Any, tmp_path: Path) -> None:
    canvas = xinc.trace(network(), torch.randn(1, 2, 12, 16))
    shown = canvas.explore()
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><body>{shown._repr_html_()}")  # as a notebook shows it: in a frame, without a port
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for()
    frame.locator("dialog button:has-text('Close')").click()
    frame.locator(".frame canvas").click(position={"x": 30, "y": 40})
    frame.locator(".ranked li").first.wait_for()
    frame.locator("button:has-text('Switch these')").click()
    frame.locator("#body .sentence:has-text('to the whole picture')").wait_for()
    assert complaints == []
    page.close()
    assert shown.save(tmp_path / "page.html").read_text() == shown.html


class Residual(torch.nn.Module):
    def __init__(self, colours: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.Conv2d(3, colours, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x + torch.sin(self.first(x)))


def test_a_network_that_no_page_can_run_is_shown_in_pictures(browser: Any, tmp_path: Path) -> None:
    canvas = xinc.trace(Residual(), torch.randn(1, 3, 12, 16))
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script("try { localStorage.setItem('xinc-toured', 'yes'); } catch {}")
    page.goto(canvas.explore().save(tmp_path / "page.html").as_uri() + "#layer=first&place=4,5")
    page.wait_for_selector("text=it cannot run this network")
    page.wait_for_selector(".ranked li")
    script = """async () => {
      const how = { ...xinc.how(), place: { box: "3,2,6,9" } };
      const found = await xinc.source.ask("at", how), one = await xinc.source.ask("map", { ...how, neuron: 4 });
      return [Array.from(found.terms), found.sums, Array.from(found.value), Array.from(one.map)];
    }"""
    terms, sums, value, one = page.evaluate(script)
    maps = canvas["first"].maps(range(9), signed=True)
    here = maps[:, :, 3:6, 2:9].mean((2, 3))
    scale = float(maps.abs().max())
    assert float((torch.tensor(terms).reshape(9, 3) - here).abs().max()) < scale / 127  # a byte a value
    assert float((torch.tensor(sums) - here.sum(0)).abs().max()) < 2e-3 * scale * 9
    assert float((torch.tensor(value) - canvas.output[:, 3:6, 2:9].mean((1, 2))).abs().max()) < 2e-3
    assert float((torch.tensor(one).reshape(3, 12, 16) - maps[4]).abs().max()) < scale / 127
    assert page.locator("button:has-text('Switch these'), [role=switch]").count() == 0
    page.click(".ranked .name >> nth=0")
    page.wait_for_selector("#body dl.facts")
    page.evaluate("xinc.state.set({ view: 'heat' })")
    page.wait_for_selector("figcaption:has-text('every pixel')")
    page.evaluate("xinc.state.set({ off: 'first:1', tab: 'off', view: 'without' })")
    page.wait_for_selector("#body .failed:has-text('This page holds pictures, not the network')")
    assert complaints == []
    page.close()


def test_a_picture_of_other_colours_has_no_page() -> None:
    with pytest.raises(TraceError, match=r"has 2 channels, the page shows three colours"):
        xinc.trace(Residual(2), torch.randn(1, 3, 8, 8)).explore()


def test_a_run_is_explored_from_a_server_too() -> None:
    served = runs()[1].explore(server=True)
    try:
        assert served.address.startswith("http://127.0.0.1:")
        assert "<iframe" in served._repr_html_()
    finally:
        served.close()
