"""Run the tutorial notebooks as a reader would, each in a kernel and an empty folder of its own.

python scripts/run_notebooks.py             run them; the first that fails is shown, and the exit status is 1
python scripts/run_notebooks.py --write     and keep what they printed and drew, for code hosts and the site
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"


def run(path: Path, *, timeout: int = 300) -> nbformat.NotebookNode:
    """The notebook with the outputs of all of its cells.

    Raises:
        CellExecutionError: a cell raised an error, or took longer than ``timeout`` seconds.
    """
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as place:
        client = NotebookClient(book, timeout=timeout, record_timing=False, resources={"metadata": {"path": place}})
        return client.execute()


def main() -> int:
    write = "--write" in sys.argv[1:]
    for path in sorted(FOLDER.glob("*.ipynb")):
        begun = time.perf_counter()
        try:
            book = run(path)
        except CellExecutionError as error:
            print(f"{path.name}: {error}")
            return 1
        if write:
            book.metadata.pop("language_info", None)  # of this machine's Python
            nbformat.write(book, path)
        print(f"{path.name}: {time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
