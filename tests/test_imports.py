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
    extras = (r for name, extra in project["optional-dependencies"].items() if name != "dev" for r in extra)
    declared = {canonicalize_name(Requirement(r).name) for r in (*project["dependencies"], *extras)}
    used = {name.split(".")[0] for module, path in modules() for name in imported(path.read_text(), f"{module}.x")}
    homes = {"torchvision": ["torchvision"]} | packages_distributions()  # an extra beyond the lock
    foreign = used - set(sys.stdlib_module_names) - {"xinc"}
    undeclared = {name for name in foreign if not declared & {canonicalize_name(d) for d in homes.get(name, [])}}
    assert not undeclared, f"not in pyproject.toml: {', '.join(sorted(undeclared))}"


def test_importing_xinc_loads_nothing_heavy() -> None:
    code = f"import sys, xinc; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not loaded, f"`import xinc` loads {', '.join(loaded)}"
