"""The inner loops: one neuron's map after the other, folded into every reduction while it is in cache.

Compiled by Numba. Everything that is decided once a layer (windows, taps, where a plane is placed) is decided in
:mod:`xinc.canvas.geometry`; here are only loops.

A band of the picture is kept *packed* (:class:`xinc.canvas.fold.Packing`): one plane for each phase of the last
up-sampling, so that a phase is the coarse plane filtered with fixed taps, row behind row with the few zeros of its padding
in between. A phase is then one loop over contiguous memory; what it writes into the padding is set to zero again.
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
        code, parameter: activation of the stage; two parameters and its value at 0 ``(3,)``.
        window: rows and columns of the plane that are needed ``(4,)``.
        start: where row and column 0 of each step's input grid lie in its scratch buffer, and the length of a row there
            ``(steps, 3)``.
        steps: per step: up-sampling y x, taps y x, offset y x, cells y0 y1 x0 x1 to expand, activation ``(steps, 11)``.
        parameters: of the steps' activations ``(steps, 3)``.
        taps_y, taps_x: weights ``(steps, cell, phase, tap)``.
        base_y, base_x: separable plane to add after the first step where the activation of 0 is not 0.
        has_base: whether it is to be added.
    """

    values: Any
    weight: Any
    shift: Any
    cell: Any
    code: int
    parameter: Any
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
    """What packed chunks of maps are folded into; an empty array (size 0) is a reduction that was not asked for.

    Planes are packed ``(P,)``; K neurons.

    Attributes:
        heat: sum over neurons of |C| in float32, of this call; added to ``heatmap`` (float64) at its end.
        heatmap: ``(P,)``.
        totals, signed: sums over pixels of |C| and C ``(K,)``.
        extremes: least and greatest |C| ``(K, 2)``.
        atoms: joint label maps, several groupings in one ``(J, P)``.
        bins: scratch of a neuron's sums per atom, four sets ``(J, 4, A)``.
        columns: for each joint map and grouping the column of each atom in ``sums`` or -1 ``(J, M, A)``; -2 is no grouping.
        sums: ``(K, G)``.
        histogram: sum of the values in each bin of their upper float bits.
        counts: number of values likewise.
        refined: the bins that are looked at more closely ``(T,)``; ``fine``: their sums by lower bits ``(T, 2**16)``.
        limit: heatmap / K ``(P,)``; ``above``: number of pixels over it ``(K,)``.
        thresholds: ``(T,)``; ``over``: number of neurons over each ``(T, P)``.
        top, leaders: the greatest values of each pixel, descending, and their neurons ``(P, n)``.
        dense: the packed maps themselves ``(neurons of this call, P)``.
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
    """x Φ(x); Φ - 1/2 = x P(x²)/Q(x²), fitted here to the error function to 4e-7."""
    for x in range(n):
        v = row[x]
        c = min(max(v, np.float32(-5.5)), np.float32(5.5))
        t = c * c
        p = np.float32(-1.807729531e-08)
        p = p * t + np.float32(6.395371522e-06)
        p = p * t + np.float32(0.000504750406)
        p = p * t + np.float32(0.006727101995)
        p = p * t + np.float32(0.06923295773)
        p = p * t + np.float32(0.3989421865)
        q = np.float32(0.0001687137566)
        q = q * t + np.float32(0.003818015275)
        q = q * t + np.float32(0.04857700155)
        q = q * t + np.float32(0.3402027897)
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
    if kh == 3 and kw == 3:
        a, b, c = values[y, x0:], values[y + 1, x0:], values[y + 2, x0:]
        a0, a1, a2 = weight[0, 0], weight[0, 1], weight[0, 2]
        b0, b1, b2 = weight[1, 0], weight[1, 1], weight[1, 2]
        c0, c1, c2 = weight[2, 0], weight[2, 1], weight[2, 2]
        for x in range(n):
            row[x] = (
                (shift + a0 * a[x] + a1 * a[x + 1] + a2 * a[x + 2])
                + (b0 * b[x] + b1 * b[x + 1] + b2 * b[x + 2])
                + (c0 * c[x] + c1 * c[x + 1] + c2 * c[x + 2])
            )
        return
    for x in range(n):
        row[x] = shift
    for ky in range(kh):
        source = values[y + ky, x0:]
        if kw == 1:
            w0 = weight[ky, 0]
            for x in range(n):
                row[x] += w0 * source[x]
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
def _filter(source: Any, first: int, stride: int, taps_y: Any, taps_x: Any, n: int, line: Any, out: Any) -> bool:
    """``out[i] = sum_tu taps_y[t] taps_x[u] source[first + i + t stride + u]``; False, out untouched, where all are zero.

    Rows may follow each other: n may span many of them. ``line`` holds the vertical pass of a wide filter.
    """
    top, bottom = _used(taps_y)
    left, right = _used(taps_x)
    if bottom == 0 or right == 0:
        return False
    a = source[first + top * stride + left :]
    if bottom - top <= 2 and right - left <= 2:
        b = source[first + (bottom - 1) * stride + left :]
        a0, a1 = taps_y[top] * taps_x[left], taps_y[top] * taps_x[right - 1]
        b0, b1 = taps_y[bottom - 1] * taps_x[left], taps_y[bottom - 1] * taps_x[right - 1]
        if bottom - top == 2 and right - left == 2:
            for x in range(n):
                out[x] = (a0 * a[x] + a1 * a[x + 1]) + (b0 * b[x] + b1 * b[x + 1])
        elif bottom - top == 2:
            for x in range(n):
                out[x] = a0 * a[x] + b0 * b[x]
        elif right - left == 2:
            for x in range(n):
                out[x] = a0 * a[x] + a1 * a[x + 1]
        else:
            for x in range(n):
                out[x] = a0 * a[x]
        return True
    _weigh(a, stride, taps_y, top, bottom, n + right - left - 1, line)
    _weigh(line, 1, taps_x, left, right, n, out)
    return True


@numba.njit(**_OPTIONS)
def _used(taps: Any) -> tuple[int, int]:
    """First non-zero tap, and one behind the last; (n, 0) where there is none."""
    lo, hi = taps.size, 0
    for t in range(taps.size):
        if taps[t] != 0:
            lo = min(lo, t)
            hi = t + 1
    return lo, hi


@numba.njit(**_OPTIONS)
def _weigh(source: Any, stride: int, taps: Any, lo: int, hi: int, n: int, out: Any) -> None:
    """``out[x] = sum_t taps[lo + t] source[x + t stride]`` over the taps from lo to hi."""
    if hi - lo == 1:
        w0 = taps[lo]
        for x in range(n):
            out[x] = w0 * source[x]
    elif hi - lo == 2:
        b, w0, w1 = source[stride:], taps[lo], taps[lo + 1]
        for x in range(n):
            out[x] = w0 * source[x] + w1 * b[x]
    elif hi - lo == 3:
        b, c, w0, w1, w2 = source[stride:], source[2 * stride :], taps[lo], taps[lo + 1], taps[lo + 2]
        for x in range(n):
            out[x] = w0 * source[x] + w1 * b[x] + w2 * c[x]
    else:
        w0 = taps[lo]
        for x in range(n):
            out[x] = w0 * source[x]
        for t in range(lo + 1, hi):
            b, w0 = source[(t - lo) * stride :], taps[t]
            for x in range(n):
                out[x] += w0 * b[x]


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


@numba.njit(**_OPTIONS, inline="always")
def fold_chunk(v: Any, rows: int, stride: int, width: int, at: int, origin: int, k: int, f: Any) -> None:
    """Fold a packed chunk of neuron k's map into every reduction that was asked for.

    Args:
        v: ``rows`` rows of ``stride`` values; those from ``width`` on are padding and zero.
        rows, stride, width: see v.
        at: where the chunk begins in packed planes; ``origin``: where this call's band begins.
        k: index of the neuron.
        f: see :class:`Fold`.
    """
    n = rows * stride
    if f.dense.size:
        out = f.dense[k, at - origin :]
        for x in range(n):
            out[x] = v[x]
    if f.heat.size:
        heat = f.heat[at - origin :]
        total = np.float32(0.0)
        signed = np.float32(0.0)
        for x in range(n):
            a = abs(v[x])
            heat[x] += a
            total += a
            signed += v[x]
        f.totals[k] += total
        f.signed[k] += signed
    if f.extremes.size:
        least, greatest = f.extremes[k, 0], f.extremes[k, 1]
        for y in range(rows):
            row = v[y * stride :]
            for x in range(width):
                a = abs(row[x])
                least = min(least, a)
                greatest = max(greatest, a)
        f.extremes[k, 0], f.extremes[k, 1] = least, greatest
    for j in range(f.atoms.shape[0]):
        _scatter(v, n, f.atoms[j, at:], f.bins[j])
    if f.histogram.size:
        bits = v.view(np.int32)
        if f.counts.size:
            for x in range(n):
                b = (bits[x] & 0x7FFFFFFF) >> FINE_BITS
                f.histogram[b] += abs(v[x])
                f.counts[b] += 1
            f.counts[0] -= rows * (stride - width)
        else:
            for x in range(n):
                f.histogram[(bits[x] & 0x7FFFFFFF) >> FINE_BITS] += abs(v[x])
    for t in range(f.refined.size):
        bits = v.view(np.int32)
        wanted = f.refined[t]
        fine = f.fine[t]
        for x in range(n):
            b = bits[x] & 0x7FFFFFFF
            if (b >> FINE_BITS) == wanted:
                fine[b & ((1 << FINE_BITS) - 1)] += abs(v[x])
    if f.limit.size:
        limit = f.limit[at:]
        number = np.int32(0)
        for x in range(n):
            number += np.int32(abs(v[x]) > limit[x])
        f.above[k] += number
    for t in range(f.thresholds.size):
        threshold = f.thresholds[t]
        over = f.over[t, at:]
        for x in range(n):
            over[x] += np.int32(abs(v[x]) > threshold)
    if f.top.size:
        _lead(v, n, at, k, f.top, f.leaders)


@numba.njit(**_OPTIONS)
def _scatter(v: Any, n: int, atoms: Any, bins: Any) -> None:
    """Add |v| to the bins of its atoms; four sets of bins, as neighbours often share theirs and would wait for each other."""
    b0, b1, b2, b3 = bins[0], bins[1], bins[2], bins[3]
    whole = n - n % 4
    for x in range(0, whole, 4):
        b0[atoms[x]] += abs(v[x])
        b1[atoms[x + 1]] += abs(v[x + 1])
        b2[atoms[x + 2]] += abs(v[x + 2])
        b3[atoms[x + 3]] += abs(v[x + 3])
    for x in range(whole, n):
        b0[atoms[x]] += abs(v[x])


@numba.njit(**_OPTIONS)
def _lead(v: Any, n: int, at: int, k: int, top: Any, leaders: Any) -> None:
    """Keep the greatest values of each pixel, in descending order, with their neurons."""
    last = top.shape[1] - 1
    for x in range(n):
        a = abs(v[x])
        if a > top[at + x, last]:
            place = last
            while place > 0 and top[at + x, place - 1] < a:
                top[at + x, place] = top[at + x, place - 1]
                leaders[at + x, place] = leaders[at + x, place - 1]
                place -= 1
            top[at + x, place] = a
            leaders[at + x, place] = k


@numba.njit(**_OPTIONS)
def close_neuron(k: int, f: Any) -> None:
    """Distribute a neuron's sums over atoms to the regions of every grouping."""
    for j in range(f.atoms.shape[0]):
        bins = f.bins[j]
        sums = bins[0]
        for a in range(sums.size):
            sums[a] = (bins[0, a] + bins[1, a]) + (bins[2, a] + bins[3, a])
        for m in range(f.columns.shape[1]):
            columns = f.columns[j, m]
            if columns[0] == -2:  # this joint map holds fewer groupings than another
                continue
            for a in range(sums.size):
                if columns[a] >= 0:
                    f.sums[k, columns[a]] += sums[a]
        for b in range(4):
            for a in range(sums.size):
                bins[b, a] = 0


@numba.njit(**_OPTIONS)
def close_call(origin: int, n: int, f: Any) -> None:
    """Move this call's float32 heat into the float64 plane, so that long sums keep their digits."""
    if f.heat.size:
        heatmap = f.heatmap[origin:]
        for x in range(n):
            heatmap[x] += f.heat[x]
            f.heat[x] = 0


@numba.njit(**_OPTIONS)
def _plane(c: Any, i: int, o: int, scratch: Any, line: Any) -> None:
    """The neuron's plane ``φ(W_oi * v_i + b_o / C_in)``, less φ(0), into the first scratch buffer."""
    m0, m1, n0, n1 = c.window
    sy, sx, stride = c.start[0]
    for y in range(m0, m1):
        row = scratch[0, (y + sy) * stride + n0 + sx :]
        _convolve_row(c.values[i], c.weight[i, o], y, n0, n1 - n0, c.shift[o], row)
        activate(row, n1 - n0, c.code, c.parameter, line)
        if c.has_base:
            for x in range(n1 - n0):
                row[x] -= c.parameter[2]


@numba.njit(**_OPTIONS)
def _advance(c: Any, s: int, py: int, px: int, scratch: Any, lines: Any) -> None:
    """Step s that is not the last: box filter behind the up-sampling, activation, into the next scratch buffer."""
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, code = c.steps[s]
    wide = cx1 - cx0
    sy, sx, stride = c.start[s]
    ny, nx, pitch = c.start[s + 1]
    phases = lines[1]
    for cy in range(cy0, cy1):
        first = (cy + oy + sy) * stride + cx0 + ox + sx
        for p in range(ry):
            some = False
            for q in range(rx):
                phase = phases[q * wide :]
                if _filter(scratch[s], first, stride, c.taps_y[s, py, p, :ty], c.taps_x[s, px, q, :tx], wide, lines[0], phase):
                    some = True
                else:
                    for x in range(wide):
                        phase[x] = 0
            out = scratch[s + 1, (ry * cy + p + ny) * pitch + rx * cx0 + nx :]
            if some:
                _interleave(phases, rx, wide, out)
            else:
                for x in range(rx * wide):
                    out[x] = 0
            if c.has_base and s == 0:
                for x in range(rx * wide):
                    out[x] += c.base_y[ry * (cy - cy0) + p] * c.base_x[x]
            if some or c.has_base or c.parameters[s, 2] != 0:
                activate(out, rx * wide, code, c.parameters[s], lines[2])


@numba.njit(**_OPTIONS)
def stream_convolution(chain: Any, neurons: Any, scratch: Any, lines: Any, origin: int, f: Any) -> None:
    """Compute and fold the maps of some neurons of a convolution over the chain's window.

    Args:
        chain: see :class:`Chain`.
        neurons: ``(n, 3)``: input channel, output channel, index into the reductions.
        scratch: ``(steps, values)``, any content.
        lines: ``(4, values)``, any content.
        origin: where the window's band begins in packed planes.
        f: see :class:`Fold`.
    """
    c = chain
    scratch[:] = 0
    last = c.steps.shape[0] - 1
    ry, rx, ty, tx, oy, ox, cy0, cy1, cx0, cx1, _ = c.steps[last]
    sy, sx, stride = c.start[last]
    rows, wide = cy1 - cy0, cx1 - cx0
    n = rows * stride
    first = (cy0 + oy + sy) * stride + cx0 + ox + sx
    out = lines[3]
    every_zero = f.extremes.size > 0 or f.counts.size > 0 or f.dense.size > 0 or f.top.size > 0
    for index in range(neurons.shape[0]):
        i, o, k = neurons[index]
        py, px = c.cell[o]
        _plane(c, i, o, scratch, lines[2])
        for s in range(last):
            if s == 0:
                _advance(c, s, py, px, scratch, lines)
            else:
                _advance(c, s, 0, 0, scratch, lines)
        if last > 0:
            py, px = 0, 0
        for p in range(ry):
            for q in range(rx):
                some = _filter(
                    scratch[last], first, stride, c.taps_y[last, py, p, :ty], c.taps_x[last, px, q, :tx], n, lines[0], out
                )
                if not some:
                    if not (every_zero or c.has_base):
                        continue  # a phase that no tap meets adds nothing
                    for x in range(n):
                        out[x] = 0
                if c.has_base and last == 0:
                    for y in range(rows):
                        for x in range(wide):
                            out[y * stride + x] += c.base_y[ry * y + p] * c.base_x[rx * x + q]
                for y in range(rows):
                    for x in range(wide, stride):
                        out[y * stride + x] = 0
                fold_chunk(out, rows, stride, wide, origin + (p * rx + q) * n, origin, k, f)
        close_neuron(k, f)
    close_call(origin, ry * rx * n, f)


@numba.njit(**_OPTIONS)
def stream_linear(values: Any, scale: Any, shift: Any, rectify: bool, neurons: Any, chunk: int, line: Any, f: Any) -> None:
    """Compute and fold the maps ``scale_k z_k + shift`` of some input features of a linear layer (section 3.1).

    Args:
        values: ``(C_in, N)``.
        scale: ``(C_in,)``.
        shift: one number.
        rectify: whether the published code's ReLU applies.
        neurons: ``(n, 2)``: input feature, index into the reductions.
        chunk: pixels at a time.
        line: ``(chunk,)``, any content.
        f: see :class:`Fold`.
    """
    pixels = values.shape[1]
    for index in range(neurons.shape[0]):
        i, k = neurons[index]
        for first in range(0, pixels, chunk):
            n = min(chunk, pixels - first)
            source = values[i, first:]
            for x in range(n):
                line[x] = source[x] * scale[i] + shift
            if rectify:
                for x in range(n):
                    line[x] = max(line[x], np.float32(0.0))
            fold_chunk(line, 1, n, n, first, 0, k, f)
        close_neuron(k, f)
    close_call(0, pixels, f)
