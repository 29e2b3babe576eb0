"""Windows of pixels on their way backwards through a network, and the maps that they make, folded at once."""

from __future__ import annotations

from typing import Any

import numba

from xinc.canvas.kernels.options import OPTIONS


@numba.njit(**OPTIONS)
def times_slope(values: Any, slope: Any, y: Any, x: Any, out: Any) -> None:
    """Windows times the slope of a function at their places; nothing outside of its grid.

    Args:
        values: ``(rows, columns, colours, channels, window y, window x)``.
        slope: ``(channels, h, w)``.
        y: where the windows of each row begin ``(rows,)``; ``x`` likewise.
        x: see y.
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
