"""The table of a sweep: ``results.parquet``, one row a cell and statistic; it grows and can be read meanwhile."""

from __future__ import annotations

import io
import time
import warnings
from typing import TYPE_CHECKING

from xinc.errors import XincWarning
from xinc.sweep.place.place import Place
from xinc.sweep.statistics import STATISTICS

if TYPE_CHECKING:
    import pandas as pd

TABLE = "results.parquet"
SECONDS = 5.0
"""Between two writings of a table that grows."""


def read_statistics(place: Place, cell: str) -> pd.DataFrame | None:
    """A finished cell's rows with their resamples; None, with a warning, where the file is missing or damaged."""
    import pandas as pd

    data = place.read(f"{cell}/{STATISTICS}")
    try:
        return pd.read_parquet(io.BytesIO(data)) if data is not None else None
    except (OSError, ValueError) as damage:
        warnings.warn(
            f"{cell}/{STATISTICS} is damaged ({damage}); the same sweep makes it again", XincWarning, stacklevel=2
        )
        return None


class GrowingTable:
    """The rows of all finished cells; each cell's file is the truth, the table can be made of them at any time.

    Args:
        place: the sweep's folder.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rows: dict[str, pd.DataFrame] = {}
        self._written = float("-inf")

    def add(self, cell: str) -> bool:
        """Take in a finished cell; False where its rows cannot be read."""
        rows = read_statistics(self._place, cell)
        if rows is None:
            return False
        self._rows[cell] = rows.drop(columns="draws")
        return True

    def write(self, *, now: bool = False) -> None:
        """Write the table, unless that was done within the last seconds and can wait."""
        import pandas as pd

        if not self._rows or (not now and time.monotonic() - self._written < SECONDS):
            return
        buffer = io.BytesIO()
        whole = pd.concat([self._rows[name] for name in sorted(self._rows)], ignore_index=True)
        whole.to_parquet(buffer, index=False)
        self._place.write(TABLE, buffer.getvalue())
        self._written = time.monotonic()
