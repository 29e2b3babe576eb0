"""The import direction that docs/architecture.md promises, and that `import xinc` stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "xinc"
HEAVY = [
    "av",
    "bokeh",
    "cv2",
    "dask",
    "distributed",
    "holoviews",
    "matplotlib",
    "numba",
    "pandas",
    "panel",
    "pyarrow",
    "skimage",
    "sklearn",
    "umap",
    "xarray",
    "zarr",
]


TOOLS = {"dev", "docs"}
"""Extras of those who work on the project."""


def ranks() -> dict[str, int]:
    """Part of the package -> its line in the list of architecture.md, from the top."""
    block = re.search(r"```\n(.+?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    assert block, "docs/architecture.md has lost its list of parts"
    lines = [re.split(r"\s{2,}", line)[0] for line in block[1].splitlines()]
    return {part.strip().rstrip("/"): rank for rank, line in enumerate(lines) for part in line.split(",")}


def imported(source: str, module: str) -> set[str]:
    """Full names of what the source of ``module`` (such as ``canvas.layer``) imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ["xinc", *module.split(".")][: -node.level] if node.level else []
            base = ".".join([*above, node.module or ""]).rstrip(".")
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == "xinc" else {base}
    return found


def upward(source: str, module: str, ranks: dict[str, int]) -> set[str]:
    """What ``module`` imports although it stands below it in the list, or in no list."""
    own = ranks[module.split(".")[0]]
    names = imported(source, module) - {"xinc.__version__"}
    parts = {f"{name}.".split(".")[1] for name in names if name.split(".")[0] == "xinc"}
    return {part for part in parts if ranks.get(part, len(ranks)) > own}


def run_time(source: str) -> str:
    """The source without imports that only name types."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def modules() -> list[tuple[str, Path]]:
    names = [(".".join(path.relative_to(PACKAGE).with_suffix("").parts), path) for path in PACKAGE.rglob("*.py")]
    return [(name.removesuffix(".__init__"), path) for name, path in sorted(names) if not name.startswith("__")]


def test_every_part_is_in_the_list() -> None:
    assert {name.split(".")[0] for name, _ in modules()} <= set(ranks())


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_only_from_above(module: str, path: Path) -> None:
    found = upward(path.read_text(), f"{module}.x" if path.stem == "__init__" else module, ranks())
    assert not found, f"xinc.{module} may not import {', '.join(sorted(found))}: see docs/architecture.md"


@pytest.mark.parametrize(
    "source",
    [
        "import xinc.canvas.layer",
        "from xinc import canvas",
        "from xinc.canvas.layer import Layer",
        "def f():\n    from ..canvas import plan",
        "from .. import canvas",
    ],
)
def test_a_model_that_imports_the_canvas_is_found(source: str) -> None:
    assert upward(source, "models.nerv", ranks()) == {"canvas"}


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (r for name, extra in project["optional-dependencies"].items() if name not in TOOLS for r in extra)
    declared = {canonicalize_name(Requirement(r).name) for r in (*project["dependencies"], *extras)}
    used = {name.split(".")[0] for module, path in modules() for name in imported(path.read_text(), f"{module}.x")}
    homes = {"torchvision": ["torchvision"]} | packages_distributions()  # an extra beyond the lock
    foreign = used - set(sys.stdlib_module_names) - {"xinc"}
    undeclared = {name for name in foreign if not declared & {canonicalize_name(d) for d in homes.get(name, [])}}
    assert not undeclared, f"not in pyproject.toml: {', '.join(sorted(undeclared))}"


def test_what_is_declared_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (r for name, extra in project["optional-dependencies"].items() if name not in TOOLS for r in extra)
    used = {name.split(".")[0] for module, path in modules() for name in imported(path.read_text(), f"{module}.x")}
    through = {"pyarrow": "pandas", "fsspec": "fsspec", "s3fs": "fsspec"}  # pandas reads Parquet by pyarrow
    homes = {"torchvision": ["torchvision"]} | packages_distributions()
    imports = {canonicalize_name(d) for name in used for d in homes.get(name, [])}
    declared = {canonicalize_name(Requirement(r).name) for r in (*project["dependencies"], *extras)}
    idle = {name for name in declared - imports if through.get(name, name) not in used}
    assert not idle, f"in pyproject.toml, but imported nowhere: {', '.join(sorted(idle))}"


CANVAS = [
    ("recording", "kernels"),
    ("network",),
    ("reductions",),
    ("paper",),
    ("exact",),
    ("joint",),
    ("removal",),
    ("ablation",),
    ("methods",),
    ("survey",),
    ("layer",),
    ("trace",),
]
"""The canvas from its floor up: a room imports from its own line and those before it."""


@pytest.mark.parametrize(("module", "path"), [m for m in modules() if m[0].startswith("canvas.")])
def test_rooms_of_the_canvas_import_from_those_below(module: str, path: Path) -> None:
    rank = {room: i for i, rooms in enumerate(CANVAS) for room in rooms}
    names = imported(path.read_text(), f"{module}.x" if path.stem == "__init__" else module)
    rooms = {name.split(".")[2] for name in names if name.startswith("xinc.canvas.")}
    above = {room for room in rooms if rank[room] > rank[module.split(".")[1]]}
    assert not above, f"xinc.{module} may not import {', '.join(sorted(above))}"


COMMANDS = [m for m in modules() if m[0].startswith("cli.commands.")]


@pytest.mark.parametrize(("module", "path"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_commands_go_through_the_workflow(module: str, path: Path) -> None:
    parts = {name.split(".")[1] for name in imported(run_time(path.read_text()), module) if name.startswith("xinc.")}
    assert parts <= {"budget", "cli", "errors", "options", "signals", "sweep", "workflow"}


def test_no_modules_import_each_other() -> None:
    """Those that only name types too: a drawing of the house has no circle."""
    known = {f"xinc.{name}" for name, _ in modules()}
    graph: dict[str, set[str]] = {}
    for name, path in modules():
        made: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and path.stem != "__init__":
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                made |= inner & known or {node.module}
        graph[f"xinc.{name}"] = (made & known) - {f"xinc.{name}"}
    while ends := [name for name, below in graph.items() if not below & set(graph)]:
        for name in ends:
            del graph[name]
    assert not graph, f"these import each other: {', '.join(sorted(graph))}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_no_module_hides_in_an_init(path: Path) -> None:
    if path.parent == PACKAGE:  # the public names are imported when they are used
        return
    body = ast.parse(path.read_text()).body
    plain = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
    assert all(isinstance(node, plain) for node in body), f"{path.parent.name}/__init__.py holds more than names"


def test_rooms_and_modules_are_small() -> None:
    long = {p.name: n for _, p in modules() if (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"over 400 lines: {long}"
    folders = {p.parent for _, p in modules()}
    full = {f.name: n for f in folders if (n := len(list(f.glob("*.py"))) - (f / "__init__.py").exists()) > 12}
    assert not full, f"over 12 modules: {full}"


def test_a_class_name_means_one_thing() -> None:
    """Names of types too: ``Name = dict[str, ...]``."""
    places: dict[str, list[str]] = {}
    for name, path in modules():
        for node in ast.parse(path.read_text()).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                targets = (target.id for target in node.targets if isinstance(target, ast.Name))
                names = [target for target in targets if re.match("_?[A-Z][a-z]", target)]
            for one in names:
                places.setdefault(one, []).append(name)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not twice, f"these names mean several things: {twice}"


def test_every_warning_of_ours_is_one_that_the_command_line_prints() -> None:
    """It prints warnings of this class alone, whatever libraries and wrappers lie between."""
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "warnings.warn":
                assert ast.unparse(call.args[1]) == "XincWarning", f"{path}:{call.lineno}"


def test_importing_xinc_loads_nothing_heavy() -> None:
    code = f"import sys, xinc; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not loaded, f"`import xinc` loads {', '.join(loaded)}"
