"""The documentation site builds without network and without a warning, and none of its links leads nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import xinc

pytest.importorskip("sphinx", reason="the site is built with the extra docs")
ROOT = Path(__file__).resolve().parents[1]
NOWHERE = "http://127.0.0.1:9"
"""A proxy that nothing listens at."""


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        links = {found[name] for name in ("href", "src") if name in found}
        if tag == "a":
            self.links |= links
        elif tag != "link" or found.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded |= links


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    words = ["-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-E", "-c", "docs/site", "-d", place / "trees"]
    environment = os.environ | dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE)
    command = [sys.executable, *words, ".", place / "html"]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert not built.returncode, built.stderr[-4000:]
    return place / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def broken(pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages[target].places if target in pages else set()
            if not target.exists() or (parts.fragment and target in pages and unquote(parts.fragment) not in known):
                yield f"{path.name}: {link}"


def test_links_of_the_site_lead_somewhere(pages: dict[Path, Page]) -> None:
    assert len(pages) > 30
    assert not list(broken(pages))


def test_a_broken_link_would_be_found(pages: dict[Path, Page], site: Path) -> None:
    page = Page(site / "README.html")
    page.links |= {"docs/methods.html#nothing", "docs/nothing.html"}
    assert len(list(broken({**pages, site / "README.html": page}))) == 2


def test_pages_load_nothing_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert not {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc}


def test_every_public_name_has_an_entry(pages: dict[Path, Page]) -> None:
    places = {place for path, page in pages.items() if path.parent.name == "api" for place in page.places}
    wanted = {f"xinc.{name}" for name in xinc.__all__ if name != "__version__"}
    assert wanted - places == {"xinc.XincError"}
    assert "xinc.errors.XincError" in places
    assert "xinc.Layer.heatmap" in places
