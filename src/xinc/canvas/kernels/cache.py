"""Where compiled loops are kept."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def writable_cache() -> None:
    """Tell Numba where compiled loops may be kept if neither the package nor the user's home can be written to."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    homes = (Path(__file__).parent, Path(os.path.expanduser("~")))
    if not any(os.access(folder, os.W_OK) for folder in homes):
        whose = os.getuid() if hasattr(os, "getuid") else "loops"  # Windows: the folder is the user's own
        os.environ["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"xinc-numba-{whose}")


def keep_loops(*packages: str) -> None:
    """Keep the compiled loops of other packages on disk, as ours are, where these compile them in every process.

    UMAP's take ten seconds to compile, and half a second to read. Where there is no place for them, nothing changes.

    Args:
        packages: names, imported already.
    """
    from numba.core.dispatcher import Dispatcher

    for name, module in tuple(sys.modules.items()):
        if name.split(".")[0] in packages:
            for loop in tuple(vars(module).values()):
                if isinstance(loop, Dispatcher):
                    with suppress(RuntimeError):  # no folder for it can be written
                        loop.enable_caching()


writable_cache()  # before the first loop is declared
