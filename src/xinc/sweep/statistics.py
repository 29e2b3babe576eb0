"""A cell's rows of the table: every statistic of every claim, and what the network is and took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.findings.replication.claims import CLAIMS, OWN
from xinc.findings.replication.evidence import Evidence
from xinc.findings.statistics import interval

if TYPE_CHECKING:
    import pandas as pd

    from xinc.run import Run

STATISTICS = "statistics.parquet"
"""A cell's rows with their resamples, in its folder."""
COLUMNS = (
    "signal", "dataset", "category", "model", "family", "seed", "method", "layer", "claim", "statistic", "value",
    "low", "high", "neurons", "draws",
)  # fmt: skip


def statistics(
    general: Mapping[str, Any], run: Run, evidences: Sequence[Evidence], seconds: Mapping[str, float]
) -> pd.DataFrame:
    """The rows of a cell.

    Args:
        general: what its signal and network are called, by the first columns.
        run: of the cell.
        evidences: what it says by each method.
        seconds: that each step took.

    Returns:
        The columns :data:`COLUMNS`: ``value`` for all neurons, ``low`` and ``high`` its 95 % interval over neurons,
        ``draws`` its resamples. Rows about the network itself have no method, layer or claim.
    """
    import pandas as pd

    numbers = {
        "PSNR (dB)": float(run.psnr().mean()),
        "parameters": float(run.parameters),
        "bits per pixel at 8 bits": run.bits_per_pixel(),
        "frames": float(len(run.clip)),
        "seconds": sum(seconds.values()),
    }
    rows: list[dict[str, Any]] = [_row(general, "", "", "", name, value) for name, value in numbers.items()]
    for evidence in evidences:
        for claim in (*CLAIMS, *OWN):
            for layer in evidence.layers:
                if not claim.where(evidence, layer) or (found := claim.measure(evidence, layer)) is None:
                    continue
                if not np.isfinite(found.value):
                    continue
                row = _row(general, evidence.method, layer, claim.text, claim.statistic, found.value)
                between = interval(found.value, found.draws)
                row |= {"low": between.low, "high": between.high, "neurons": found.neurons}
                rows.append(row | {"draws": found.draws.astype(np.float32)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(
    general: Mapping[str, Any], method: str, layer: str, claim: str, statistic: str, value: float
) -> dict[str, Any]:
    return {
        **general,
        "method": method,
        "layer": layer,
        "claim": claim,
        "statistic": statistic,
        "value": value,
        "low": np.nan,
        "high": np.nan,
        "neurons": 0,
        "draws": np.empty(0, np.float32),
    }
