"""Every command and every block of Python of README and docs runs, and gives what the page says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import check_commands  # noqa: E402

TRIED = ("options.md", "custom-methods.md", "datasets.md", "foreign-networks.md")
"""Pages that were seen to pass; the Python of the others is run by test_docs.py."""
RUN = [page for page in check_commands.PAGES if page.name in TRIED]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_commands_give_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_commands.check(page)


def page_of(tmp_path: Path, text: str) -> Path:
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```sh\nxinc inspect absent\n```\n", "exit code 2"),
        ("<!-- prints: 9 layers -->\n```sh\npython -c 'print(8)'\n```\n", "not printed: 9 layers"),
        ("See `python -c 'raise SystemExit(3)'`.\n", "exit code 3"),
        ("```python\nimport torch\n\ntorch.zeros(2, 3)  # (3, 2)\n```\n", r"has the shape \(2, 3\)"),
        ("```python\nnothing\n```\n", "NameError"),
        ("```\nxinc demo\n```\n", "mark it with sh"),
        ("<!-- check: never -->\n```sh\nxinc demo\n```\n", "never: why"),
    ],
)
def test_a_page_that_is_wrong_is_found(text: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(check_commands.WrongError, match=fault):
        check_commands.check(page_of(tmp_path, text))


def test_what_is_marked_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "<!-- check: never: it fails -->\n```sh\nxinc inspect absent\n```\n`make demo`<!-- check: long: slow -->\n"
    assert not check_commands.check(page_of(tmp_path, text))
