"""The report in a real browser, where there is one: nothing overflows, nothing complains, the switches work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiny_runs import page_of_runs


@pytest.fixture(scope="module")
def file(browser: Any) -> Path:
    return page_of_runs()


def opened(browser: Any, file: Path, width: int = 1280, **options: Any) -> tuple[Any, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": 800}, **options)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
    )
    page.goto(file.as_uri())
    return page, complaints


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
def test_nothing_overflows_and_nothing_complains(browser: Any, file: Path, width: int) -> None:
    page, complaints = opened(browser, file, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].filter((i) => i.offsetParent && !i.naturalWidth).length") == 0
    assert complaints == []
    page.close()


def test_pictures_keep_their_shape(browser: Any, file: Path) -> None:
    page, _ = opened(browser, file)
    shapes = page.evaluate(
        "[...document.querySelectorAll('.pictures img')]"
        ".map((i) => [i.width / i.height, i.naturalWidth / i.naturalHeight])"
    )
    assert shapes
    for shown, true in shapes:
        assert shown == pytest.approx(true, rel=0.02)
    page.close()


def test_a_long_name_does_not_widen_the_page(browser: Any, file: Path) -> None:
    page, _ = opened(browser, file, 390)
    page.evaluate("document.querySelector('h1').textContent = 'How an FFN sees ' + 'frankfurt_000000_'.repeat(5)")
    page.evaluate("document.querySelector('.answer p').textContent = 'frankfurt_000000_'.repeat(9)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(browser: Any, file: Path, scheme: str) -> None:
    page, complaints = opened(browser, file, color_scheme=scheme)
    ink = "getComputedStyle(document.querySelector('svg.drawing text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(f"[{ink}, {paper}]")
    assert (sum(map(int, before[1][4:-1].split(","))) < 200) == (scheme == "dark")
    page.click("#theme")
    after = page.evaluate(f"[{ink}, {paper}]")
    assert before[0] != after[0]
    assert before[1] != after[1]
    page.click("#theme")
    assert page.evaluate(f"[{ink}, {paper}]") == before
    assert complaints == []
    page.close()


def test_the_viewer_compares_and_changes_layers(browser: Any, file: Path) -> None:
    page, complaints = opened(browser, file)
    right = "document.querySelectorAll('.stage img')[1]"
    before = page.evaluate(f"{right}.src")
    page.check("input[data-tag='NeRV, block 1']", force=True)
    assert page.evaluate(f"{right}.src") != before
    assert page.inner_text(".stage .tag.right") == "NeRV, block 1"
    assert "block 1" in page.inner_text(".viewer figcaption")
    page.focus(".stage input")
    page.keyboard.press("Home")
    assert page.evaluate("document.querySelector('.stage').style.getPropertyValue('--cut')") == "0%"
    assert complaints == []
    page.close()


def test_numbers_unfold_and_paper_is_light(browser: Any, file: Path) -> None:
    page, _ = opened(browser, file, color_scheme="dark")
    assert not page.is_visible("#intensity table")
    page.click("#intensity summary")
    assert page.is_visible("#intensity table")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.is_visible("#theme")
    page.close()


def test_it_reads_without_a_script(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.is_visible("h1")
    assert page.is_visible(".stage img")
    assert not page.is_visible("#theme")
    context.close()
