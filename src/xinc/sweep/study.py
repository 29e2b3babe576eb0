"""A study file: which signals, models and seeds a sweep covers, and how each is fitted and analysed.

::

    [study]
    models = ["ffn", "small"]
    seeds = [0, 1]
    size = [128, 256]

    [[model]]
    name = "small"
    family = "nerv"
    fc_dim = 24

    [[signal]]
    path = "clips/*/frames"
    annotations = "clips/{parent}/masks"
    count = 16

Paths are relative to the file. An option may stand in ``[study]`` for all signals or in a ``[[signal]]`` for its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from xinc.errors import StudyError, XincError
from xinc.models.families import FAMILIES
from xinc.options.schema import Option, closest, shortened
from xinc.options.tables import FINDINGS, OF_CELLS, SIZE, STUDY, STUDY_SIGNAL, settable
from xinc.sweep.lines import Lines
from xinc.sweep.paths import beside, content, matches, name_of

MOST_CELLS = 100_000
MOST_POINTS = 500
"""In a line: a key of many parts takes the square of their number to read."""
LARGEST_STUDY = 1 << 20
"""Bytes of a study file: more is no study file."""


AS_TABLE = {"findings": "settings"}
"""Keys that were tables once, and what those are called now."""
CELL_OPTIONS = frozenset(option.name for option in OF_CELLS)
TABLES = ("study", "signal", "model")
DEFAULTS: Mapping[str, Any] = {
    "models": ("ffn",),
    "seeds": (0,),
    "methods": ("exact", "paper"),
    "encoding": "auto",
    "retries": 2,
    "draws": 200,
}


@dataclass(frozen=True)
class Model:
    """A network of a study: a family with options under a name of its own."""

    name: str
    family: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Signal:
    """A signal of a study with all its options, those of ``[study]`` included.

    Attributes:
        name: of its folder.
        path: file, folder or ``FOLDER:VIDEO``, absolute.
        options: by the names of :data:`xinc.options.tables.STUDY`.
        line: where it stands in the file.
    """

    name: str
    path: str
    options: Mapping[str, Any]
    line: int

    @cached_property
    def contents(self) -> tuple[str, str]:
        """Short names of what its file or folder holds, and its annotations; read once for all cells."""
        annotations = self.options.get("annotations")
        return content(self.path), content(annotations) if annotations else ""


@dataclass(frozen=True)
class Study:
    """What a study file says.

    Attributes:
        path: the file.
        signals: in its order, patterns replaced by what they match.
        models: by name, families without options of their own included.
        retries: how often a cell that failed is tried again.
        draws: bootstrap resamples of each statistic.
    """

    path: Path
    signals: tuple[Signal, ...]
    models: Mapping[str, Model]
    retries: int
    draws: int


def read_study(path: str | Path) -> Study:
    """Read and check a study file; nothing is opened that it names.

    Raises:
        StudyError: the file is missing or no TOML, a key or value is wrong, or a pattern matches nothing; the message
            names the line.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise StudyError(f"{path} is no file; name a study file")
        if path.stat().st_size > LARGEST_STUDY:
            raise StudyError(f"{path} has {path.stat().st_size:,} bytes; a study file has at most {LARGEST_STUDY:,}")
        text = path.read_text(encoding="utf-8")
        if any(line.count(".") > MOST_POINTS for line in text.splitlines()):
            raise StudyError(
                f"{path} has a line of more than {MOST_POINTS} points; a study file nests no tables so deep"
            )
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise StudyError(f"{path} is no TOML: {fault}") from None
    except (OSError, UnicodeDecodeError, RecursionError) as fault:
        raise StudyError(f"{path} cannot be read: {getattr(fault, 'strerror', None) or type(fault).__name__}") from None
    return _Reader(path, Lines(text)).study(document)


@dataclass(frozen=True)
class _Reader:
    path: Path
    lines: Lines

    def fault(self, line: int, text: str) -> StudyError:
        return StudyError(f"{self.path}, line {line}: {text}")

    @property
    def folder(self) -> Path:
        """Where relative paths start; absolute, as workers start elsewhere."""
        return self.path.parent.absolute()

    @contextmanager
    def at(self, line: int) -> Iterator[None]:
        """What is refused inside is said with a line."""
        try:
            yield
        except XincError as reason:
            raise self.fault(line, str(reason)) from None

    def study(self, document: dict[str, Any]) -> Study:
        for name, value in document.items():
            if name not in TABLES:
                raise self.fault(self.lines.of("", 0, name), f"no table [{name}]{_near(name, TABLES)}")
            if not (isinstance(value, dict) if name == "study" else _are_tables(value)):
                form = f"[{name}]" if name == "study" else f"[[{name}]]"
                raise self.fault(self.lines.of("", 0, name), f"{name} is no table; begin it with {form}")
        general = {**DEFAULTS, **self.checked("study", 0, document.get("study", {}), STUDY.options)}
        models = self.models(document.get("model", []))
        signals = [
            one for i, row in enumerate(document.get("signal", [])) for one in self.signals(i, row, general, models)
        ]
        if not signals:
            raise self.fault(1, "no signal; name at least one with [[signal]] and path = ...")
        self.unique(signals)
        cells = sum(len(one.options["models"]) * len(one.options["seeds"]) for one in signals)
        if cells > MOST_CELLS:
            raise self.fault(1, f"{cells:,} networks; a study has at most {MOST_CELLS:,}: divide it")
        return Study(self.path, tuple(signals), models, general["retries"], general["draws"])

    def checked(self, table: str, index: int, row: dict[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
        values = {}
        for key, value in row.items():
            line = self.lines.of(table, index, key)
            key = AS_TABLE.get(key, key) if isinstance(value, dict) else key
            if key not in known:
                raise self.fault(line, f"[{table}] has no {key}{_near(key, known)}")
            try:
                written = isinstance(value, str) and known[key] is SIZE  # "128x256"
                parts = value.lower().split("x") if written else value
                values[key] = known[key].check(parts, StudyError, typed=not written)
            except StudyError:
                wanted = f"{known[key].help}; give {known[key].wanted}"
                raise self.fault(line, f"{key} cannot be {shortened(value)}: it is {wanted}") from None
        for key, value in values.get("settings", {}).items():
            with self.at(self.lines.of(table, index, key, "settings", *AS_TABLE)):
                FINDINGS.check({key: value})
        return values

    def models(self, rows: Sequence[dict[str, Any]]) -> dict[str, Model]:
        models = {name: Model(name, name) for name in FAMILIES}
        for i, row in enumerate(rows):
            first = self.lines.of("model", i)
            name, family = row.get("name"), row.get("family", row.get("name"))
            if not isinstance(name, str) or not _is_folder_name(name):
                raise self.fault(first, f"a [[model]] needs a name that can be a folder's, not {shortened(name)}")
            if not isinstance(family, str) or family not in FAMILIES:
                line = self.lines.of("model", i, "family")
                raise self.fault(line, f"no family {shortened(family)}{_near(str(family)[:60], FAMILIES)}")
            if name in models and (name not in FAMILIES or name != family or models[name].options):
                raise self.fault(first, f"two models are called {name!r}")
            options = {k: _listed(v) for k, v in row.items() if k not in ("name", "family")}
            for key, value in options.items():
                with self.at(self.lines.of("model", i, key)):
                    settable(family).check({key: value})
            models[name] = Model(name, family, options)
        return models

    def signals(
        self, index: int, row: dict[str, Any], general: Mapping[str, Any], models: Mapping[str, Model]
    ) -> Iterator[Signal]:
        line = self.lines.of("signal", index)
        own = self.checked("signal", index, row, STUDY_SIGNAL.options)
        if "path" not in own:
            raise self.fault(line, "this [[signal]] has no path")
        options = {k: v for k, v in {**general, **own}.items() if k in CELL_OPTIONS}
        for key, known in (("models", models), ("methods", _methods()), ("findings", _findings())):
            for name in options.get(key, ()):
                if name not in known:
                    at = self.lines.of("signal" if key in own else "study", index if key in own else 0, key)
                    raise self.fault(at, f"{key} names {name!r}, which is none{_near(name, known)}")
        with self.at(line):
            paths = matches(own["path"], self.folder)
        if "name" in own and len(paths) > 1:
            raise self.fault(line, f"{len(paths)} signals match {own['path']!r}, one name cannot serve them all")
        for path in paths:
            found = dict(options)
            if "annotations" in options:
                with self.at(line):
                    found["annotations"] = beside(options["annotations"], path, self.folder)
            name = own.get("name") or name_of(path)
            if not _is_folder_name(name):
                raise self.fault(line, f"{name!r} cannot be a folder's name; give this signal a name")
            yield Signal(name, path, found, line)

    def unique(self, signals: Sequence[Signal]) -> None:
        lines: dict[str, int] = {}
        for signal in signals:
            if signal.name in lines:
                text = f"a signal called {signal.name!r} stands in line {lines[signal.name]} already; give it a name"
                raise self.fault(signal.line, text)
            lines[signal.name] = signal.line


def _methods() -> Sequence[str]:
    from xinc.canvas.methods import METHODS

    return tuple(METHODS)


def _findings() -> Sequence[str]:
    from xinc.findings.analyses import ANALYSES

    return tuple(ANALYSES)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _near(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of a sentence: what was meant, or what there is."""
    close = closest(name, known)
    return f"; did you mean {close}?" if close else f"; there are {', '.join(known)}"


def _is_folder_name(name: str) -> bool:
    return (
        name not in (".", "..") and not name.startswith(".") and not set(name) & set('/\\\0:*?"<>|') and len(name) < 100
    )
