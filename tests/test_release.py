"""What would be published: an sdist whose tests run, a wheel with all files, a page whose links work anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

pytest.importorskip("build", reason="packages are built with the extra dev")
ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCE = PROJECT["project"]["urls"]["Source"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist and of the wheel that is made of it."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "-q", "--no-isolation", "--outdir", str(place), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    return place


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, str]:
    """Names of the wheel's files, and the text of its description."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {n: archive.read(n).decode() if n.endswith("METADATA") else "" for n in archive.namelist()}


@pytest.fixture(scope="module")
def about(wheel: dict[str, str]) -> Message:
    return message_from_string(next(text for name, text in wheel.items() if name.endswith("METADATA")))


def test_tests_run_from_the_sdist(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    words = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_imports.py",
        "tests/test_streams.py",
    ]
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "XINC_SAMPLES": str(ROOT / "samples")}
    ran = subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert not ran.returncode, ran.stdout[-3000:]


def test_the_wheel_has_all_files_of_the_package(wheel: dict[str, str]) -> None:
    tree = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src" / "xinc").rglob("*") if p.is_file()}
    assert {name for name in tree if "__pycache__" not in name} <= set(wheel)


def test_links_of_the_package_page_are_absolute(about: Message) -> None:
    page = about.get_payload()
    assert isinstance(page, str)
    links = re.findall(r"\]\(([^)]+)\)", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL))
    assert len(links) > 20
    assert not [link for link in links if not link.startswith(("https://", "#"))]
    ours = [link.removeprefix(SOURCE).split("#")[0] for link in links if link.startswith(SOURCE)]
    assert all((ROOT / link.split("/main/")[1]).exists() for link in ours)
    assert all("/raw/" in link for link in ours if link.endswith((".png", ".webp")))


def test_the_repository_is_named_once(about: Message) -> None:
    urls = dict(url.split(", ") for url in about.get_all("Project-URL", ()))
    assert {"Source", "Documentation", "Changelog", "Issues", "Paper"} <= set(urls)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert {found.rstrip("/") for found in re.findall(r"https://github\.com/[\w-]+/[\w-]+", text)} == {SOURCE}


def test_one_version() -> None:
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heads[:2] == ["Unreleased", version]
