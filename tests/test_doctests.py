"""Examples in docstrings run, and give what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "xinc"
WITH = sorted(path for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text())


@pytest.mark.parametrize("path", WITH, ids=lambda path: path.stem)
def test_examples_run(path: Path) -> None:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = import_module(".".join(part for part in parts if part != "__init__"))
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


def test_no_example_is_skipped() -> None:
    assert len(WITH) >= 4
    assert not [path.name for path in WITH if "+SKIP" in path.read_text()]
