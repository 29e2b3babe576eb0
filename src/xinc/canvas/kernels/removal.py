"""What the picture loses with each kernel of a block: one channel's change carried through the rest of the chain."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from xinc.canvas.kernels.activate import PIECE, secant
from xinc.canvas.kernels.folds import close_call, close_neuron, fold_chunk
from xinc.canvas.kernels.options import OPTIONS

VALUES = 1024
"""Values of an output channel that are added up at a time: four channels of them stay in the first-level cache."""


_U = np.uint64
_ONE, _TWO = _U(1), _U(2)
_V1, _V2, _V3 = _U(VALUES), _U(2 * VALUES), _U(3 * VALUES)


class LaterLayers(NamedTuple):
    """A chain of convolutions from one of them on.

    Attributes:
        values: what the first one reads, zeros around it ``(C_in, h + kh - 1, w + kw - 1)``.
        kernels: its weights ``(C_in, C_out, kh, kw)``.
        stages: of each: rows and columns of its grid, up-sampling y x, input and output channels behind the shuffle,
            kernel y x, where its weights and its terms begin, activation ``(stages, 11)``.
        weights: of all later ones, flat: ``(C_out behind the shuffle, sub-pixel, C_in, kh, kw)``.
        at: arguments of all activations behind the shuffle, flat ``(values,)``.
        terms: ``φ``, ``φ'``, ``φ''/2``, ``φ'''/6`` at them ``(4, values)``.
        parameters: of the activations ``(stages, 3)``.
    """

    values: Any
    kernels: Any
    stages: Any
    weights: Any
    at: Any
    terms: Any
    parameters: Any


@numba.njit(**OPTIONS)
def _add_one(source: Any, pitch: int, n: int, w: Any, out: Any) -> None:
    """Add the convolution of one channel with one kernel."""
    kh, kw = w.shape
    if kh == 3 and kw == 3:
        a, b, c = source, source[pitch:], source[2 * pitch :]
        a0, a1, a2, b0, b1 = w[0, 0], w[0, 1], w[0, 2], w[1, 0], w[1, 1]
        b2, c0, c1, c2 = w[1, 2], w[2, 0], w[2, 1], w[2, 2]
        for x in range(n):
            out[x] += (
                (a0 * a[x] + a1 * a[x + 1] + a2 * a[x + 2])
                + (b0 * b[x] + b1 * b[x + 1] + b2 * b[x + 2])
                + (c0 * c[x] + c1 * c[x + 1] + c2 * c[x + 2])
            )
        return
    for y in range(kh):
        for x0 in range(kw):
            line, tap = source[y * pitch + x0 :], w[y, x0]
            for x in range(n):
                out[x] += tap * line[x]


@numba.njit(**OPTIONS)
def _add_four(source: Any, at: Any, pitch: Any, n: Any, w: Any, sums: Any) -> None:
    """Add the convolutions of one channel with four kernels of 3 x 3 ``(4, 3, 3)``: values are read once.

    Indices are unsigned and sums lie at constant distances in one array, or the loop would stay scalar.
    """
    below, last = at + pitch, at + pitch + pitch
    p0, p1, p2, p3, p4 = w[0, 0, 0], w[0, 0, 1], w[0, 0, 2], w[0, 1, 0], w[0, 1, 1]
    p5, p6, p7, p8 = w[0, 1, 2], w[0, 2, 0], w[0, 2, 1], w[0, 2, 2]
    q0, q1, q2, q3, q4 = w[1, 0, 0], w[1, 0, 1], w[1, 0, 2], w[1, 1, 0], w[1, 1, 1]
    q5, q6, q7, q8 = w[1, 1, 2], w[1, 2, 0], w[1, 2, 1], w[1, 2, 2]
    r0, r1, r2, r3, r4 = w[2, 0, 0], w[2, 0, 1], w[2, 0, 2], w[2, 1, 0], w[2, 1, 1]
    r5, r6, r7, r8 = w[2, 1, 2], w[2, 2, 0], w[2, 2, 1], w[2, 2, 2]
    s0, s1, s2, s3, s4 = w[3, 0, 0], w[3, 0, 1], w[3, 0, 2], w[3, 1, 0], w[3, 1, 1]
    s5, s6, s7, s8 = w[3, 1, 2], w[3, 2, 0], w[3, 2, 1], w[3, 2, 2]
    for x in range(n):
        i, j, k = at + x, below + x, last + x
        v0, v1, v2 = source[i], source[i + _ONE], source[i + _TWO]
        v3, v4, v5 = source[j], source[j + _ONE], source[j + _TWO]
        v6, v7, v8 = source[k], source[k + _ONE], source[k + _TWO]
        sums[x] += (p0 * v0 + p1 * v1 + p2 * v2) + (p3 * v3 + p4 * v4 + p5 * v5) + (p6 * v6 + p7 * v7 + p8 * v8)
        sums[x + _V1] += (q0 * v0 + q1 * v1 + q2 * v2) + (q3 * v3 + q4 * v4 + q5 * v5) + (q6 * v6 + q7 * v7 + q8 * v8)
        sums[x + _V2] += (r0 * v0 + r1 * v1 + r2 * v2) + (r3 * v3 + r4 * v4 + r5 * v5) + (r6 * v6 + r7 * v7 + r8 * v8)
        sums[x + _V3] += (s0 * v0 + s1 * v1 + s2 * v2) + (s3 * v3 + s4 * v4 + s5 * v5) + (s6 * v6 + s7 * v7 + s8 * v8)


@numba.njit(**OPTIONS)
def _convolve(planes: Any, first: int, channels: int, stage: Any, weights: Any, out: Any) -> None:
    """Some output channels ``(g, values)`` from input channels ``first`` on, which lie alone in ``planes``.

    Rows of planes and of the result lie as far apart; what falls between rows is no use.
    """
    height, width, kh, kw = stage[0], stage[1], stage[6], stage[7]
    pitch = width + kw - 1
    size, n = (height + kh - 1) * pitch, (height - 1) * pitch + width
    groups = weights.shape[0]
    if groups > 2 and kh == 3 and kw == 3:
        sums = np.empty(4 * VALUES, np.float32)
        spare = np.zeros((4, 3, 3), np.float32)
        for begin in range(0, n, VALUES):
            count = min(VALUES, n - begin)
            for g in range(0, groups, 4):
                some = min(4, groups - g)
                sums[:] = 0
                for c in range(channels):
                    own = weights[g : g + 4, first + c]
                    if some < 4:
                        spare[:some] = own
                        own = spare
                    _add_four(planes, _U(c * size + begin), _U(pitch), _U(count), own, sums)
                for b in range(some):
                    out[g + b, begin : begin + count] = sums[b * VALUES : b * VALUES + count]
        return
    for g in range(groups):
        for begin in range(0, n, VALUES):
            count = min(VALUES, n - begin)
            part = out[g, begin:]
            part[:count] = 0
            for c in range(channels):
                _add_one(planes[c * size + begin :], pitch, count, weights[g, first + c], part)


@numba.njit(**OPTIONS)
def _put(
    rest: LaterLayers, s: int, channel: int, made: Any, pitch: int, line: Any, scratch: Any, after: Any, place: Any
) -> None:
    """Sub-pixels ``(r², values)`` of one channel behind the shuffle through the activation into its plane.

    ``place``: where the plane begins in ``after``, and the length of its rows.
    """
    height, width, ry, rx = rest.stages[s, 0], rest.stages[s, 1], rest.stages[s, 2], rest.stages[s, 3]
    begin = rest.stages[s, 9] + channel * height * ry * width * rx
    n = width * rx
    for y in range(height):
        for a in range(ry):
            for b in range(rx):
                source = made[a * rx + b, y * pitch :]
                for x in range(width):
                    line[rx * x + b] = source[x]
            at = begin + (y * ry + a) * n
            row = after[place[0] + (y * ry + a) * place[1] :]
            secant(rest.at[at:], rest.terms[:, at:], line, n, rest.stages[s, 10], rest.parameters[s], scratch, row)


@numba.njit(**OPTIONS)
def _first(rest: LaterLayers, i: int, o: int, made: Any) -> int:
    """The kernel's plane, negative, at its sub-pixel; others are zero. Returns the length of its rows."""
    height, width, ry, rx = rest.stages[0, 0], rest.stages[0, 1], rest.stages[0, 2], rest.stages[0, 3]
    pitch: int = width + rest.kernels.shape[3] - 1
    n = (height - 1) * pitch + width
    made[: ry * rx, :n] = 0
    _add_one(rest.values[i].ravel(), pitch, n, -rest.kernels[i, o], made[o % (ry * rx)])
    return pitch


@numba.njit(**OPTIONS)
def stream_removal(rest: LaterLayers, neurons: Any, planes: Any, made: Any, line: Any, picture: Any, f: Any) -> None:
    """Compute and fold the ablation maps of some kernels.

    Args:
        rest: see :class:`LaterLayers`.
        neurons: ``(n, 3)``: input channel, output channel, index into the reductions.
        planes: two buffers of the channels between two convolutions ``(2, values)``.
        made: ``(sub-pixels, values)``, any content.
        line: a row of the picture, any content.
        picture: the map ``(H * W,)``, any content.
        f: see :class:`~xinc.canvas.kernels.folds.Fold`; planes packed as they are.
    """
    last = rest.stages.shape[0] - 1
    rows, width = rest.stages[last, 0] * rest.stages[last, 2], rest.stages[last, 1] * rest.stages[last, 3]
    scratch = np.empty((2, PIECE), np.float32)
    place = np.zeros(2, np.int64)
    for index in range(neurons.shape[0]):
        i, o, k = neurons[index]
        picture[:] = 0
        first, channels = o // (rest.stages[0, 2] * rest.stages[0, 3]), 1
        for s in range(last + 1):
            source, target = planes[s % 2], planes[(s + 1) % 2]
            stage = rest.stages[s]
            outputs = stage[5] if s > 0 else 1
            size = 0
            if s < last:
                kh, kw = rest.stages[s + 1, 6], rest.stages[s + 1, 7]
                place[1] = rest.stages[s + 1, 1] + kw - 1
                size = (rest.stages[s + 1, 0] + kh - 1) * place[1]
                target[: outputs * size] = 0
            else:
                place[1] = width
            for channel in range(outputs):
                if s == 0:
                    pitch = _first(rest, i, o, made)
                else:
                    cells = stage[2] * stage[3]
                    count = cells * stage[4] * stage[6] * stage[7]
                    weights = rest.weights[stage[8] + channel * count : stage[8] + (channel + 1) * count]
                    shaped = weights.reshape((cells, stage[4], stage[6], stage[7]))
                    _convolve(source, first, channels, stage, shaped, made)
                    pitch = stage[1] + stage[7] - 1
                own = first if s == 0 else channel
                if s < last:
                    place[0] = channel * size + rest.stages[s + 1, 6] // 2 * place[1] + rest.stages[s + 1, 7] // 2
                    _put(rest, s, own, made, pitch, line, scratch, target, place)
                else:
                    place[0] = 0
                    _put(rest, s, own, made, pitch, line, scratch, target, place)
                    for x in range(rows * width):
                        picture[x] += abs(target[x])
            if s > 0:  # the change of one channel has become one of all
                first, channels = 0, outputs
        fold_chunk(picture, rows, width, width, 0, 0, k, f)
        close_neuron(k, f)
    close_call(0, rows * width, f)
