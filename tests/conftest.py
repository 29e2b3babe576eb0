"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

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
