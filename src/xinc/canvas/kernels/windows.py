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


@numba.njit(**OPTIONS)
def comb_terms(table: Any, planes: Any, columns: Any, first_y: Any, first_x: Any, seen: Any, out: Any) -> None:
    """What planes of a layer add to pixels that are far apart: each pixel's block of the table times its window.

    Args:
        table: ``(columns, rows, pixels of a row, colours, window y * window x)``.
        planes: ``(n, h, w)``, with zeros around the layer's grid.
        columns: of the table, one a plane, ``(n,)``.
        first_y: where each row's windows begin in a plane ``(rows,)``; ``first_x`` likewise.
        first_x: see first_y.
        seen: scratch ``(window y, window x)``.
        out: ``(n, colours, rows, pixels of a row)``.
    """
    tall, wide = seen.shape
    flat = seen.reshape(tall * wide)
    for k in range(planes.shape[0]):
        blocks = table[columns[k]]
        for i in range(first_y.size):
            for j in range(first_x.size):
                for dy in range(tall):
                    source = planes[k, first_y[i] + dy, first_x[j] :]
                    for dx in range(wide):
                        seen[dy, dx] = source[dx]
                for colour in range(out.shape[1]):
                    block = blocks[i, j, colour]
                    total = flat[0] * block[0]
                    for q in range(1, flat.size):
                        total += flat[q] * block[q]
                    out[k, colour, i, j] = total
