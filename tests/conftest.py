"""Fixtures that several test files share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shapes import check_shapes

check_shapes()  # before any test imports the package


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and golden files beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("real data and golden files are not beside this checkout")
    return folder


@pytest.fixture
def page_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without the files of their figures, which take as long as the page: others look at those."""
    monkeypatch.setattr("xinc.show.report._save_figures", lambda page, folder: None)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield found
        found.close()
