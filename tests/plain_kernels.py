"""The kernels as plain Python over NumPy arrays: what Numba compiles, run without it, with or without a mistake put in.

Plain kernels serve two ends. Coverage sees their lines, and a mistake can be made in one place to see whether the tests
notice. They are slow: inputs are tiny.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numba

import xinc.canvas.kernels

FOLDER = Path(xinc.canvas.kernels.__file__).parent
ORDER = (
    "options",
    "activate",
    "folds",
    "grids",
    "sums",
    "convolution",
    "linear",
    "course",
    "transport",
    "windows",
    "removal",
)
PACKAGE = "plain_kernels_of_xinc"


def compiled() -> SimpleNamespace:
    """The kernels as they are, a module each."""
    import importlib

    return SimpleNamespace(**{name: importlib.import_module(f"xinc.canvas.kernels.{name}") for name in ORDER})


@contextmanager
def plain(module: str = "", right: str = "", wrong: str = "") -> Iterator[SimpleNamespace]:
    """The kernels uncompiled; in ``module`` the text ``right``, which stands there once, becomes ``wrong``."""
    before = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True
    modules: dict[str, ModuleType] = {}
    try:
        sys.modules[PACKAGE] = ModuleType(PACKAGE)
        for name in ORDER:
            path = FOLDER / f"{name}.py"
            text = path.read_text()
            if name == module:
                assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times in {path}"
                text = text.replace(right, wrong)
            made = ModuleType(f"{PACKAGE}.{name}")
            modules[name] = sys.modules[made.__name__] = made
            code = compile(text.replace("xinc.canvas.kernels", PACKAGE), str(path), "exec")
            exec(code, made.__dict__)
        yield SimpleNamespace(**modules)
    finally:
        numba.config.DISABLE_JIT = before
        for name in (PACKAGE, *(f"{PACKAGE}.{name}" for name in modules)):
            sys.modules.pop(name, None)
