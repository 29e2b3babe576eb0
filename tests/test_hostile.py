"""Bad and hostile input, through the command line: one line each, within seconds and a gigabyte; nothing is executed.

``XINC_HOSTILE=all`` tries every case of the corpus; otherwise those that once went wrong, and a share of the others.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile import Case, arrays, base, documents, nothing, pickles, pictures, values, weights
from hostile.child import CODE
from hostile.watch import Watch, watching

SECONDS, MEGABYTES = 5, 1024
"""Of one processor, and more than the libraries take."""
SHARES = ((values, 6), (pickles, 6), (pictures, 4), (arrays, 3), (documents, 24), (weights, 24))
"""Modules of the corpus, and which share of each is tried at all times."""
FIXED = frozenset(Path(__file__).parent.joinpath("hostile", "fixed.txt").read_text(encoding="utf-8").splitlines())
"""Names of the cases that ended in a traceback, ran away or were accepted before they were mended."""
ALL = [case for module, _ in SHARES for case in module.cases()]


def chosen() -> list[Case]:
    if os.environ.get("XINC_HOSTILE") == "all":
        return ALL
    return [
        case
        for module, share in SHARES
        for i, case in enumerate(module.cases())
        if i % share == 0 or case.name in FIXED
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base.make(tmp_path_factory.mktemp("hostile") / "base").parent


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    with watching() as found:
        yield found


def test_the_corpus_is_large_and_keeps_what_was_mended() -> None:
    names = [case.name for case in ALL]
    assert len(set(names)) == len(names)
    assert set(names) >= FIXED
    assert sum(case.make is not nothing for case in ALL) >= 150


@pytest.mark.parametrize("case", chosen(), ids=lambda case: case.name[:70])
def test_it_ends_as_promised(case: Case, watch: Watch, place: Path) -> None:
    folder = place / "case"
    folder.mkdir()
    try:
        case.make(folder)
        words = [word.replace("{at}", str(folder)).replace("{base}", str(place / "base")) for word in case.words]
        ended = watch(words, seconds=SECONDS, megabytes=MEGABYTES, folder=folder)
    finally:
        shutil.rmtree(folder)
    assert ended.fault(case.wanted) is None, ended
    assert ended.megabytes < MEGABYTES


def test_the_watch_sees_what_goes_wrong(watch: Watch, tmp_path: Path) -> None:
    """Tracebacks, memory, time and acceptance would be noticed."""
    for code, told in (
        ("raise ValueError('a fault of ours')", "a fault of ours"),
        ("x = bytearray(3 << 30)", "MemoryError"),
        ("while True: pass", "still ran"),
    ):
        ended = watch([CODE, code], seconds=2, folder=tmp_path)
        assert told in (ended.fault("either") or ""), ended
    assert "was accepted" in (watch(["--version"]).fault("refused") or "")
