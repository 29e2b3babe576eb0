"""The inner loops: one neuron's map, row by row, folded into every reduction while the row is in cache.

Compiled by Numba. Everything that is decided once a layer (windows, taps, where a plane is placed) is decided in
:mod:`xinc.canvas.geometry`; here are only loops. A fine row is kept *phase-major*: of an up-sampling by r, first all columns
``0 mod r``, then all ``1 mod r``, ...; so every loop runs over contiguous memory.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    # Sums may be reordered and products fused; NaN and infinity keep their meaning.
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}

CODES = {
    name: code
    for code, name in enumerate(
        (
            "identity",
            "relu",
            "gelu",
            "gelu_tanh",
            "silu",
            "tanh",
            "tanh_unit",
            "sigmoid",
            "sin",
            "leaky_relu",
            "affine",
            "elu",
        )
    )
}
"""Activations that the kernels know, by the names of :mod:`xinc.canvas.activations`."""

FINE_BITS = 16
"""A first histogram has a bin for each value of a float's upper bits, a second one for each value of these lower bits."""


class Chain(NamedTuple):
    """How a neuron's plane becomes its map: the convolution, then separable box filters with up-sampling.

    Attributes:
        values: input channels, zero-padded ``(C_in, h + 2 py, w + 2 px)``.
        weight: ``(C_in, C_out, kh, kw)``.
        shift: what each output channel's planes get added, the spread bias ``(C_out,)``.
        cell: sub-pixel of the shuffle at which each output channel is placed ``(C_out, 2)``.
        code, parameter, zero: activation of the stage and its value at 0.
        window: rows and columns of the plane that are needed ``(4,)``.
        start: where row and column 0 of each intermediate grid lie in its scratch buffer ``(steps, 2)``.
        steps: per step: up-sampling y x, taps y x, offset y x, cells y0 y1 x0 x1 to expand, activation ``(steps, 11)``.
        parameters: of the steps' activations ``(steps,)``.
        taps_y, taps_x: weights ``(steps, cell, phase, tap)``.
        base_y, base_x: separable plane to add after the first step where the activation of 0 is not 0.
        has_base: whether it is to be added.
    """

    values: Any
    weight: Any
    shift: Any
    cell: Any
    code: int
    parameter: float
    zero: float
    window: Any
    start: Any
    steps: Any
    parameters: Any
    taps_y: Any
    taps_x: Any
    base_y: Any
    base_x: Any
    has_base: bool


class Fold(NamedTuple):
    """What rows are folded into; an empty array (size 0) is a reduction that was not asked for.

    Planes are phase-major ``(H, W)``; K neurons.

    Attributes:
        heat: sum over neurons of |C|, float32 of this call; added to ``heatmap`` (float64) at its end.
        heatmap: ``(H, W)``.
        totals, signed: sums over pixels of |C| and C ``(K,)``.
        extremes: least and greatest |C| ``(K, 2)``.
        atoms: joint label maps, several groupings in one ``(J, H, W)``; -1 is no region.
        bins: scratch of a neuron's sums per atom ``(J, A)``.
        columns: for each joint map and grouping the column of each atom in ``sums`` or -1 ``(J, M, A)``.
        sums: ``(K, G)``.
        histogram: sum of the values in each bin of their upper float bits.
        counts: number of values likewise.
        refined: the bins that are looked at more closely ``(T,)``; ``fine``: their sums by lower bits ``(T, 2**16)``.
        limit: heatmap / K; ``above``: number of pixels over it ``(K,)``.
        thresholds: ``(T,)``; ``over``: number of neurons over each ``(T, H, W)``.
        top, leaders: the greatest values of each pixel, descending, and their neurons ``(H, W, n)``.
        dense: the rows themselves ``(neurons of this call, rows, W)``.
    """

    heat: Any
    heatmap: Any
    totals: Any
    signed: Any
    extremes: Any
    atoms: Any
    bins: Any
    columns: Any
    sums: Any
    histogram: Any
    counts: Any
    refined: Any
    fine: Any
    limit: Any
    above: Any
    thresholds: Any
    over: Any
    top: Any
    leaders: Any
    dense: Any


@numba.njit(**_OPTIONS)
def _gelu(row: Any, n: int) -> None:
    """x Φ(x); Φ - 1/2 = x P(x²)/Q(x²), fitted here to the error function to 2e-7."""
    for x in range(n):
        v = row[x]
        c = min(max(v, np.float32(-5.5)), np.float32(5.5))
        t = c * c
        p = np.float32(1.120020097e-10)
        p = p * t + np.float32(-2.172554538e-08)
        p = p * t + np.float32(3.091944912e-06)
        p = p * t + np.float32(0.0001588578571)
        p = p * t + np.float32(0.004438915473)
        p = p * t + np.float32(0.03486593976)
        p = p * t + np.float32(0.3989422617)
        q = np.float32(5.826167623e-05)
        q = q * t + np.float32(0.001766090095)
        q = q * t + np.float32(0.02847240796)
        q = q * t + np.float32(0.2540618477)
        q = q * t + np.float32(1.0)
        row[x] = v * (np.float32(0.5) + c * p / q)


@numba.njit(**_OPTIONS)
def _tanh(row: Any, n: int) -> None:
    """x P(x²)/Q(x²), fitted here to 4e-7."""
    for x in range(n):
        c = min(max(row[x], np.float32(-9.0)), np.float32(9.0))
        t = c * c
        p = np.float32(-1.224627698e-11)
        p = p * t + np.float32(3.06425702e-08)
        p = p * t + np.float32(2.803132832e-05)
        p = p * t + np.float32(0.003869508836)
        p = p * t + np.float32(0.1368085711)
        p = p * t + np.float32(0.9999999987)
        q = np.float32(1.289036322e-06)
        q = q * t + np.float32(0.0003940714884)
        q = q * t + np.float32(0.02725015968)
        q = q * t + np.float32(0.470141892)
        q = q * t + np.float32(1.0)
        row[x] = c * p / q


@numba.njit(**_OPTIONS)
def _logistic(row: Any, n: int) -> None:
    for x in range(n):
        row[x] = row[x] * np.float32(0.5)
    _tanh(row, n)
    for x in range(n):
        row[x] = row[x] * np.float32(0.5) + np.float32(0.5)


@numba.njit(**_OPTIONS)
def activate(row: Any, n: int, code: int, parameter: Any, scratch: Any) -> None:
    """Apply an activation to the first n entries of a row, in place."""
    if code == 0:
        return
    if code == 1:
        for x in range(n):
            row[x] = max(row[x], np.float32(0.0))
    elif code == 2:
        _gelu(row, n)
    elif code == 3:
        for x in range(n):
            v = row[x]
            scratch[x] = v
            row[x] = np.float32(0.7978845608) * (v + np.float32(0.044715) * v * v * v)
        _tanh(row, n)
        for x in range(n):
            row[x] = np.float32(0.5) * scratch[x] * (np.float32(1.0) + row[x])
    elif code == 4:
        for x in range(n):
            scratch[x] = row[x]
        _logistic(row, n)
        for x in range(n):
            row[x] *= scratch[x]
    elif code == 5:
        _tanh(row, n)
    elif code == 6:
        _tanh(row, n)
        for x in range(n):
            row[x] = row[x] * np.float32(0.5) + np.float32(0.5)
    elif code == 7:
        _logistic(row, n)
    elif code == 8:
        for x in range(n):
            row[x] = math.sin(parameter[0] * row[x])
    elif code == 9:
        for x in range(n):
            v = row[x]
            row[x] = max(v, np.float32(0.0)) + parameter[0] * min(v, np.float32(0.0))
    elif code == 10:
        for x in range(n):
            row[x] = parameter[0] * row[x] + parameter[1]
    elif code == 11:
        for x in range(n):
            v = row[x]
            row[x] = v if v > 0 else np.float32(math.expm1(v))


@numba.njit(**_OPTIONS)
def _convolve_row(values: Any, weight: Any, y: int, x0: int, n: int, shift: Any, row: Any) -> None:
    """One output row of a single-channel convolution with zero padding already in ``values``."""
    kh, kw = weight.shape
    for x in range(n):
        row[x] = shift
    for ky in range(kh):
        source = values[y + ky, x0:]
        if kw == 1:
            w0 = weight[ky, 0]
            for x in range(n):
                row[x] += w0 * source[x]
        elif kw == 3:
            w0, w1, w2 = weight[ky, 0], weight[ky, 1], weight[ky, 2]
            for x in range(n):
                row[x] += w0 * source[x] + w1 * source[x + 1] + w2 * source[x + 2]
        elif kw == 5:
            w0, w1, w2, w3, w4 = weight[ky, 0], weight[ky, 1], weight[ky, 2], weight[ky, 3], weight[ky, 4]
            for x in range(n):
                row[x] += (
                    w0 * source[x] + w1 * source[x + 1] + w2 * source[x + 2] + w3 * source[x + 3] + w4 * source[x + 4]
                )
        else:
            for kx in range(kw):
                w0 = weight[ky, kx]
                for x in range(n):
                    row[x] += w0 * source[x + kx]


@numba.njit(**_OPTIONS)
def _vertical(source: Any, first: int, taps: Any, count: int, x0: int, n: int, out: Any) -> bool:
    """``out[x] = sum_t taps[t] source[first + t, x0 + x]``; False, and out untouched, where all taps are zero."""
    used = 0
    for t in range(count):
        w = taps[t]
        if w != 0:
            line = source[first + t, x0:]
            if used == 0:
                for x in range(n):
                    out[x] = w * line[x]
            else:
                for x in range(n):
                    out[x] += w * line[x]
            used += 1
    return used > 0


@numba.njit(**_OPTIONS)
def _horizontal(line: Any, taps: Any, count: int, n: int, out: Any) -> None:
    """``out[x] = sum_t taps[t] line[t + x]``."""
    lo, hi = count, 0
    for t in range(count):
        if taps[t] != 0:
            lo = min(lo, t)
            hi = t + 1
    if hi - lo == 1:
        a, w0 = line[lo:], taps[lo]
        for x in range(n):
            out[x] = w0 * a[x]
    elif hi - lo == 2:
        a, w0, w1 = line[lo:], taps[lo], taps[lo + 1]
        for x in range(n):
            out[x] = w0 * a[x] + w1 * a[x + 1]
    elif hi - lo == 3:
        a, w0, w1, w2 = line[lo:], taps[lo], taps[lo + 1], taps[lo + 2]
        for x in range(n):
            out[x] = w0 * a[x] + w1 * a[x + 1] + w2 * a[x + 2]
    else:
        for x in range(n):
            out[x] = 0
        for t in range(lo, hi):
            w0 = taps[t]
            a = line[t:]
            for x in range(n):
                out[x] += w0 * a[x]


@numba.njit(**_OPTIONS)
def _interleave(phases: Any, r: int, n: int, out: Any) -> None:
    """Phase-major to natural order: ``out[r x + q] = phases[q n + x]``."""
    if r == 1:
        for x in range(n):
            out[x] = phases[x]
    elif r == 2:
        odd = phases[n:]
        for x in range(n):
            out[2 * x] = phases[x]
            out[2 * x + 1] = odd[x]
    else:
        for q in range(r):
            line = phases[q * n :]
            for x in range(n):
                out[r * x + q] = line[x]


@numba.njit(**_OPTIONS)
def fold_row(row: Any, n: int, y: int, local: int, k: int, f: Any) -> None:
    """Fold row y (``local`` in this call's band) of neuron k's map into every reduction that was asked for."""
    if f.dense.size:
        out = f.dense[k, local]
        for x in range(n):
            out[x] = row[x]
        return
    if f.heat.size:
        heat = f.heat[local]
        total = np.float32(0.0)
        for x in range(n):
            v = abs(row[x])
            heat[x] += v
            total += v
        if f.totals.size:
            f.totals[k] += total
    if f.signed.size:
        total = np.float32(0.0)
        for x in range(n):
            total += row[x]
        f.signed[k] += total
    if f.extremes.size:
        least, greatest = f.extremes[k, 0], f.extremes[k, 1]
        for x in range(n):
            v = abs(row[x])
            least = min(least, v)
            greatest = max(greatest, v)
        f.extremes[k, 0], f.extremes[k, 1] = least, greatest
    for j in range(f.atoms.shape[0]):
        bins = f.bins[j]
        atoms = f.atoms[j, y]
        for x in range(n):
            bins[atoms[x]] += abs(row[x])
    if f.histogram.size:
        bits = row.view(np.int32)
        if f.counts.size:
            for x in range(n):
                b = (bits[x] & 0x7FFFFFFF) >> FINE_BITS
                f.histogram[b] += abs(row[x])
                f.counts[b] += 1
        else:
            for x in range(n):
                f.histogram[(bits[x] & 0x7FFFFFFF) >> FINE_BITS] += abs(row[x])
    for t in range(f.refined.size):
        bits = row.view(np.int32)
        wanted = f.refined[t]
        fine = f.fine[t]
        for x in range(n):
            b = bits[x] & 0x7FFFFFFF
            if (b >> FINE_BITS) == wanted:
                fine[b & ((1 << FINE_BITS) - 1)] += abs(row[x])
    if f.limit.size:
        limit = f.limit[y]
        number = np.int32(0)
        for x in range(n):
            number += np.int32(abs(row[x]) > limit[x])
        f.above[k] += number
    for t in range(f.thresholds.size):
        threshold = f.thresholds[t]
        over = f.over[t, y]
        for x in range(n):
            over[x] += np.int32(abs(row[x]) > threshold)
    if f.top.size:
        _lead(row, n, y, k, f.top, f.leaders)


@numba.njit(**_OPTIONS)
def _lead(row: Any, n: int, y: int, k: int, top: Any, leaders: Any) -> None:
    """Keep the greatest values of each pixel, in descending order, with their neurons."""
    last = top.shape[2] - 1
    for x in range(n):
        v = abs(row[x])
        if v > top[y, x, last]:
            place = last
            while place > 0 and top[y, x, place - 1] < v:
                top[y, x, place] = top[y, x, place - 1]
                leaders[y, x, place] = leaders[y, x, place - 1]
                place -= 1
            top[y, x, place] = v
            leaders[y, x, place] = k


@numba.njit(**_OPTIONS)
def _close_neuron(k: int, f: Any) -> None:
    """Distribute a neuron's sums over atoms to the regions of every grouping."""
    for j in range(f.atoms.shape[0]):
        bins = f.bins[j]
        for m in range(f.columns.shape[1]):
            columns = f.columns[j, m]
            if columns[0] == -2:  # this joint map holds fewer groupings than another
                continue
            for a in range(bins.size):
                if columns[a] >= 0:
                    f.sums[k, columns[a]] += bins[a]
        for a in range(bins.size):
            bins[a] = 0


@numba.njit(**_OPTIONS)
def _close_call(y0: int, rows: int, f: Any) -> None:
    """Move this call's float32 heat into the float64 plane, so that long sums keep their digits."""
    if f.heat.size:
        for y in range(rows):
            for x in range(f.heat.shape[1]):
                f.heatmap[y0 + y, x] += f.heat[y, x]
                f.heat[y, x] = 0


@numba.njit(**_OPTIONS)
def stream_convolution(chain: Any, neurons: Any, scratch: Any, lines: Any, origin: int, f: Any) -> None:
    """Compute and fold the maps of some neurons of a convolution over the chain's window.

    Args:
        chain: see :class:`Chain`.
        neurons: ``(n, 3)``: input channel, output channel, index into the reductions.
        scratch: ``(steps, rows, columns)``, any content.
        lines: ``(3, columns)``, any content.
        origin: first row of the window in the reductions' planes.
        f: see :class:`Fold`.
    """
    c = chain
    scratch[:] = 0
    m0, m1, n0, n1 = c.window
    last = c.steps.shape[0] - 1
    for index in range(neurons.shape[0]):
        i, o, k = neurons[index]
        a, b = c.cell[o]
        sy, sx = c.start[0]
        for y in range(m0, m1):
            row = scratch[0, y + sy, n0 + sx :]
            _convolve_row(c.values[i], c.weight[i, o], y, n0, n1 - n0, c.shift[o], row)
            activate(row, n1 - n0, c.code, c.parameter, lines[2])
            if c.has_base:
                for x in range(n1 - n0):
                    row[x] -= c.zero
        for s in range(last + 1):
            ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, code = c.steps[s]
            wide = cx1 - cx0
            py, px = (a, b) if s == 0 else (0, 0)
            sy, sx = c.start[s]
            for cy in range(cy0, cy1):
                for p in range(ry):
                    y = ry * cy + p
                    some = _vertical(
                        scratch[s], cy + oy + sy, c.taps_y[s, py, p], ty, cx0 + ox + sx, wide + tx - 1, lines[0]
                    )
                    row = lines[1]
                    if some:
                        for q in range(rx):
                            _horizontal(lines[0], c.taps_x[s, px, q], tx, wide, row[q * wide :])
                    else:
                        for x in range(rx * wide):
                            row[x] = 0
                    if s == last:
                        if c.has_base and s == 0:
                            for x in range(rx * wide):
                                row[x] += c.base_y[y - ry * cy0] * c.base_x[x]
                        fold_row(row[: rx * wide], rx * wide, origin + y - ry * cy0, y - ry * cy0, k, f)
                    else:
                        out = scratch[s + 1, y + c.start[s + 1, 0], rx * cx0 + c.start[s + 1, 1] :]
                        _interleave(row, rx, wide, out)
                        if c.has_base and s == 0:
                            for x in range(rx * wide):
                                out[x] += c.base_y[y - ry * cy0] * c.base_x[x]
                        if some or c.has_base:
                            activate(out, rx * wide, code, c.parameters[s], lines[2])
                        elif code != 0 and c.parameters[s, 2] != 0:
                            for x in range(rx * wide):
                                out[x] = c.parameters[s, 2]
        _close_neuron(k, f)
    ry, cy0, cy1 = c.steps[last, 0], c.steps[last, 6], c.steps[last, 7]
    _close_call(origin, ry * (cy1 - cy0), f)


@numba.njit(**_OPTIONS)
def stream_linear(
    values: Any, scale: Any, shift: Any, rectify: bool, neurons: Any, row0: int, rows: int, lines: Any, f: Any
) -> None:
    """Compute and fold the maps ``scale_k z_k + shift`` of some input features of a linear layer (section 3.1).

    Args:
        values: ``(C_in, H, W)``, a view of any strides.
        scale: ``(C_in,)``.
        shift: one number.
        rectify: whether the published code's ReLU applies.
        neurons: ``(n, 2)``: input feature, index into the reductions.
        row0, rows: the band.
        lines: ``(1, W)``, any content.
        f: see :class:`Fold`.
    """
    n = values.shape[2]
    row = lines[0, :n]
    for index in range(neurons.shape[0]):
        i, k = neurons[index]
        for y in range(rows):
            source = values[i, row0 + y]
            for x in range(n):
                row[x] = source[x] * scale[i] + shift
            if rectify:
                for x in range(n):
                    row[x] = max(row[x], np.float32(0.0))
            fold_row(row, n, row0 + y, y, k, f)
        _close_neuron(k, f)
    _close_call(row0, rows, f)
