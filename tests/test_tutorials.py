"""The tutorial notebooks run as they lie in the repository, in a kernel of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="notebooks are run with the extra docs")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import run_notebooks

BOOKS = sorted(run_notebooks.FOLDER.glob("*.ipynb"))


def test_there_are_three() -> None:
    assert len(BOOKS) == 3


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path) -> None:
    book = run_notebooks.run(path)
    kept = run_notebooks.nbformat.read(path, as_version=4)
    code = [(cell, old) for cell, old in zip(book.cells, kept.cells, strict=True) if cell.cell_type == "code"]
    for cell, old in code:
        kinds = [[(o.output_type, *sorted(o.get("data", ()))) for o in c.outputs] for c in (cell, old)]
        assert kinds[0] == kinds[1], f"run scripts/run_notebooks.py --write: {cell.source[:60]}"


def test_they_are_small() -> None:
    assert all(path.stat().st_size < 1_200_000 for path in BOOKS), "code hosts show no larger notebooks"
