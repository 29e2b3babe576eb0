"""Moving the windows of pixels between the Jacobian's table and the matrices of a product."""

from __future__ import annotations

from typing import Any

import numba

from xinc.canvas.kernels.options import OPTIONS


@numba.njit(**OPTIONS)
def gather_class(
    table: Any, slope: Any, order: Any, rows: Any, columns: Any, at_y: Any, at_x: Any, line: Any, out: Any
) -> None:
    """The table's entries for some pixels, times the slope of the activation there, as rows of a matrix.

    Args:
        table: ``(window y, window x, channels, colours, rows, columns)``.
        slope: ``(channels, h, w)`` with zeros around it.
        order: ``(n, 3)``: window y, window x and channel of each row of the matrix.
        rows: of the table, ``(r,)``; ``columns`` likewise.
        columns: see rows.
        at_y: where each row's window begins in ``slope`` ``(r,)``; ``at_x`` likewise.
        at_x: see at_y.
        line: scratch ``(c,)``.
        out: ``(n, colours * r * c)``.
    """
    r, c = rows.size, columns.size
    for k in range(order.shape[0]):
        dy, dx, channel = order[k]
        for i in range(r):
            slopes = slope[channel, at_y[i] + dy]
            for j in range(c):
                line[j] = slopes[at_x[j] + dx]
            for colour in range(table.shape[3]):
                source = table[dy, dx, channel, colour, rows[i]]
                target = out[k, (colour * r + i) * c :]
                for j in range(c):
                    target[j] = source[columns[j]] * line[j]


@numba.njit(**OPTIONS)
def scatter_class(made: Any, rows: Any, columns: Any, out: Any) -> None:
    """Rows of a matrix ``(n, colours * r * c)`` into some pixels of ``(n, colours, rows, columns)``."""
    r, c = rows.size, columns.size
    for k in range(made.shape[0]):
        for colour in range(out.shape[1]):
            for i in range(r):
                source = made[k, (colour * r + i) * c :]
                target = out[k, colour, rows[i]]
                for j in range(c):
                    target[columns[j]] = source[j]
