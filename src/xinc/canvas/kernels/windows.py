"""Windows of pixels: between the Jacobian's table and matrices, on their way backwards, and folded as maps."""

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


@numba.njit(**OPTIONS)
def times_slope(values: Any, y: Any, x: Any, slope: Any, out: Any) -> None:
    """Windows times the slope of a function at their places; nothing outside of its grid.

    Args:
        values: ``(rows, columns, colours, channels, window y, window x)``.
        y: where the windows of each row begin ``(rows,)``; ``x`` likewise.
        x: see y.
        slope: ``(channels, h, w)``.
        out: as values.
    """
    rows, columns, colours, channels, tall, wide = values.shape
    height, width = slope.shape[1:]
    for i in range(rows):
        for j in range(columns):
            first, end = max(0, -x[j]), min(wide, width - x[j])
            for colour in range(colours):
                for channel in range(channels):
                    source, target = values[i, j, colour, channel], out[i, j, colour, channel]
                    for dy in range(tall):
                        at = y[i] + dy
                        for dx in range(wide):
                            target[dy, dx] = 0.0
                        if 0 <= at < height:
                            line = slope[channel, at]
                            for dx in range(first, end):
                                target[dy, dx] = source[dy, dx] * line[x[j] + dx]


@numba.njit(**OPTIONS)
def take_apart(values: Any, y: Any, x: Any, ratio: Any, out: Any) -> None:
    """Windows behind a pixel shuffle as windows of whole cells before it.

    Args:
        values: ``(rows, columns, colours, channels, window y, window x)``.
        y: where the windows of each row begin ``(rows,)``; ``x`` likewise.
        x: see y.
        ratio: of the shuffle.
        out: zeros ``(rows, columns, colours, channels * ratio * ratio, cells y, cells x)``.
    """
    rows, columns, colours, channels, tall, wide = values.shape
    for i in range(rows):
        top = y[i] // ratio
        for j in range(columns):
            left = x[j] // ratio
            for colour in range(colours):
                for channel in range(channels):
                    source = values[i, j, colour, channel]
                    target = out[i, j, colour, channel * ratio * ratio :]
                    for dy in range(tall):
                        cell = (y[i] + dy) // ratio
                        phase = (y[i] + dy - cell * ratio) * ratio
                        for dx in range(wide):
                            across = (x[j] + dx) // ratio
                            part = phase + x[j] + dx - across * ratio
                            target[part, cell - top, across - left] = source[dy, dx]


@numba.njit(**OPTIONS)
def fold_cone(values: Any, y: Any, x: Any, planes: Any, terms: Any, totals: Any, heat: Any) -> None:
    """All maps of a layer at some pixels, summed over pixels and over neurons: nothing of them is kept.

    Args:
        values: ``(rows, columns, colours, outputs, window y, window x)``.
        y: where the windows of each row begin ``(rows,)``; ``x`` likewise.
        x: see y.
        planes: of the layer's neurons ``(outputs, h, w, inputs)``.
        terms: scratch ``(colours, inputs)``.
        totals: added to ``(outputs, inputs)``.
        heat: ``(rows, columns)``.
    """
    rows, columns, colours, outputs, tall, wide = values.shape
    height, width, inputs = planes.shape[1:]
    for i in range(rows):
        for j in range(columns):
            first, end = max(0, -x[j]), min(wide, width - x[j])
            lit = 0.0
            for o in range(outputs):
                terms[:] = 0.0
                for dy in range(max(0, -y[i]), min(tall, height - y[i])):
                    for dx in range(first, end):
                        plane = planes[o, y[i] + dy, x[j] + dx]
                        for colour in range(colours):
                            factor = values[i, j, colour, o, dy, dx]
                            own = terms[colour]
                            for k in range(inputs):
                                own[k] += factor * plane[k]
                line = totals[o]
                for k in range(inputs):
                    total = abs(terms[0, k])
                    for colour in range(1, colours):
                        total += abs(terms[colour, k])
                    line[k] += total
                    lit += total
            heat[i, j] = lit
