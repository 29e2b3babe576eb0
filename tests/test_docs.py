"""The documents keep their word: their Python runs, their commands, files, links and versions exist."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from PIL import Image

import xinc
from xinc.canvas.methods import METHODS
from xinc.canvas.recording import operations
from xinc.errors import XincError
from xinc.signals.datasets.catalogue import READERS
from xinc.signals.segments import ENCODINGS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TINY = {
    'xinc.open("bunny", size=(128, 256), every=4)': 'xinc.open("frames", size=(48, 112))',
    "epochs=60": "epochs=1, fc_dim=3",
    "progress=True": "progress=False",
}
"""What a test cannot wait for, and what it does instead."""
UNLOCKED = {"raft"}
"""Extras that `make setup` leaves out: torchvision comes in builds of its own for every build of torch."""

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def python_of(page: Path) -> str:
    return "\n".join(code for language, code in FENCE.findall(page.read_text()) if language == "python")


def commands_of(page: Path) -> Iterator[list[str]]:
    """Words of every ``xinc`` command that a page shows, in a block or in a line."""
    text = page.read_text()
    lines = [line for language, code in FENCE.findall(text) if language != "python" for line in code.splitlines()]
    for shown in [*lines, *re.findall(r"`([^`\n]+)`", FENCE.sub("", text))]:
        words = shown.split("#")[0].split()
        if words and words[0].endswith("xinc") and len(words) > 1:
            yield words[1:]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with six small frames in ``frames``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    random = np.random.default_rng(0)
    for i in range(6):
        picture = random.integers(0, 255, (12, 28, 3), dtype=np.uint8)
        Image.fromarray(picture).resize((112, 48)).save(f"frames/{i}.png")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["README.md", "docs/getting-started.md", "docs/methods.md", "docs/foreign-networks.md"]
)
def test_python_runs(name: str, workplace: Path) -> None:
    code = python_of(ROOT / name)
    assert TINY.keys() & {slow for slow in TINY if slow in code}, f"{name} shows no fit"
    for slow, quick in TINY.items():
        code = code.replace(slow, quick)
    exec(compile(code, name, "exec"), {"__name__": name})


@pytest.mark.parametrize(("name", "folder"), [("custom-methods", ""), ("together", "run"), ("pruning", "nerv")])
def test_python_without_a_fit_runs(name: str, folder: str, workplace: Path) -> None:
    """On a run that is there, or on a network that the page makes; its own comparisons must hold."""
    if folder:
        xinc.fit("nerv", xinc.open("frames", size=(32, 64)), epochs=1, fc_dim=3, out=folder)
    exec(compile(python_of(ROOT / "docs" / f"{name}.md"), name, "exec"), {"__name__": name})


def test_results_are_read_as_shown(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from xinc.findings.analyse import analyse
    from xinc.findings.analyses import Settings

    run = xinc.fit("nerv", xinc.open("frames", size=(32, 64)), epochs=1, fc_dim=3, out="run")
    quick = Settings(clusters=4, restarts=1)
    analyse(run, frames=[1], layers=["block3"], findings=["grouping"], settings=quick)
    exec(compile(python_of(ROOT / "docs" / "files.md"), "files.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "?" in shown
    assert "rgb" in shown


def test_every_file_of_a_run_is_described(workplace: Path) -> None:
    xinc.fit("nerv", xinc.open("frames", size=(32, 64)), epochs=1, fc_dim=3, out="run")
    text = (ROOT / "docs" / "files.md").read_text()
    assert not [path.name for path in Path("run").iterdir() if f"`{path.name}" not in text]


@by_page
def test_commands_exist(page: Path) -> None:
    import typer

    from xinc.cli import app

    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, *rest in commands_of(page):
        assert name in known, f"there is no command xinc {name}"
        options = {o for parameter in known[name].params for o in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("-")} <= options, f"xinc {name} {' '.join(rest)}"


def test_the_readme_lists_every_command() -> None:
    import typer

    from xinc.cli import app

    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(known) <= {name for name, *_ in commands_of(ROOT / "README.md")}


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", FENCE.sub("", page.read_text())):
        if not target.startswith("http"):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


def test_every_error_has_an_entry() -> None:
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))
    assert headings == {kind.__name__ for kind in XincError.__subclasses__()}


def said() -> str:
    """Every text of the package, values left out, a line each."""
    texts = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(v.value if isinstance(v, ast.Constant) else "\0" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


PUT_TOGETHER = {
    "no family of networks is called",
    "is a TorchScript program",
    "is a Git LFS pointer",
    "is a Cool-Chic bitstream",
    "holds no run (no config.json)",
    "cannot be written: No space left on device",
}
"""Messages of which a value is more than a word, or comes from the system; other tests see them."""


def is_said(part: str, texts: str) -> bool:
    """Whether some text has these words in a row; a value may stand for some of them, not for most."""
    words = part.split()
    pattern = r"[ \n]".join(rf"(?:{re.escape(word)}|[^ \n]*\0[^ \n]*)" for word in words)
    return any(2 * found[0].count("\0") <= len(words) for found in re.finditer(pattern, texts))


def test_messages_that_the_page_of_errors_shows_are_said() -> None:
    texts, page = said(), (ROOT / "docs" / "errors.md").read_text()
    shown = re.findall(r"`([^`]+…[^`]*|…[^`]+)`", " ".join(page.split()))
    parts = [part.strip(" .,:;") for phrase in shown for part in re.split(r"…|\d[\d×,]*|\0", phrase)]
    absent = [part for part in parts if len(part) > 8 and part not in PUT_TOGETHER and not is_said(part, texts)]
    assert len(shown) > 30
    assert not absent, absent


def test_the_tables_of_data_sets_are_those_of_the_package() -> None:
    page = (ROOT / "docs" / "datasets.md").read_text()
    table = page[page.index("| `--encoding`") : page.index("## What happens to labels")]
    first = " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE))
    assert set(re.findall(r"`([\w-]+)`", first)) - {"--encoding"} == set(ENCODINGS)
    layouts = page[page.index("## Layouts") : page.index("Where frames and label images")].lower()
    for reader in READERS.values():
        assert reader.layout.split(" (")[0].lower().replace("plain", "your own") in layouts, reader.layout


OPERATION = r"`([a-z_]+[a-z0-9_]*)`"


def test_operations_that_the_page_names_are_known() -> None:
    page = (ROOT / "docs" / "foreign-networks.md").read_text()
    rows = page[page.index("## What is handled") : page.index("## What is refused")].splitlines()
    named = {word for row in rows for word in re.findall(OPERATION, row.split("|")[1] if "|" in row else "")}
    known = operations.LINEAR | operations.ELEMENTWISE | operations.INDEXING
    assert {"bmm", "einsum", "pixel_shuffle"} <= named
    assert named <= known, named - known


def test_every_method_has_an_entry() -> None:
    headings = re.findall(r"^### `(\w+)`", (ROOT / "docs" / "methods.md").read_text(), re.MULTILINE)
    assert set(headings) == set(METHODS)


def test_the_lock_holds_what_the_project_asks_for() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "one exact version a line, and nothing else"
    pinned = {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) - UNLOCKED == set(re.search(r"-e '\.\[(.+)\]'", (ROOT / "Makefile").read_text())[1].split(","))
    asked = [*project["dependencies"], *(r for name, extra in extras.items() if name not in UNLOCKED for r in extra)]
    for wanted in map(Requirement, asked):
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier, f"{wanted} is not what the lock holds"


def test_every_place_that_the_house_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    places = re.findall(r"\]\(\.\./((?:src|tests)/[^)]+)\)(?:, `(\w+)`)?", page)
    assert len(places) >= 20
    for place, name in places:
        path = ROOT / place
        assert path.exists(), place
        known = rf"^(?:def |class )?{name}\b"
        assert not name or re.search(known, path.read_text(), re.MULTILINE), f"{name} in {place}"
