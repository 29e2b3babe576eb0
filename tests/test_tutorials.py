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
    code = [cell for cell in run_notebooks.run(path).cells if cell.cell_type == "code"]
    kinds = {kind for cell in code for output in cell.outputs for kind in output.get("data", ())}
    assert all(cell.execution_count for cell in code)
    assert "image/png" in kinds


def test_they_are_small() -> None:
    assert all(path.stat().st_size < 1_200_000 for path in BOOKS), "code hosts show no larger notebooks"
