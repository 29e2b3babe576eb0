"""Activations of a row, in place; and how much one changes when its argument does."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from xinc.canvas.kernels.options import OPTIONS

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
"""Activations that the kernels know, by the names of :mod:`xinc.canvas.network.activations`."""


PIECE = 1024
"""Values that are looked at together: most are small, and a polynomial is enough for them."""


@numba.njit(**OPTIONS)
def _below_two(row: Any, n: int) -> bool:
    """Whether all absolute values are below 2: those of the others (NaN too) have bit 30 set."""
    bits = row.view(np.int32)
    seen = np.int32(0)
    for x in range(n):
        seen = np.int32(seen | bits[x])
    small: bool = seen & 0x40000000 == 0
    return small


@numba.njit(**OPTIONS)
def _gelu(row: Any, n: int) -> None:
    """Compute x Φ(x), Φ = 1/2 + x P(x²), or x P(x²)/Q(x²) beyond 2; fitted here to the error function to 4e-7."""
    for first in range(0, n, PIECE):
        piece, count = row[first:], min(PIECE, n - first)
        if _below_two(piece, count):
            _gelu_small(piece, count)
        else:
            _gelu_any(piece, count)


@numba.njit(**OPTIONS)
def _gelu_small(row: Any, n: int) -> None:
    for x in range(n):
        v = row[x]
        t = v * v
        p = np.float32(2.895145688e-07)
        p = p * t + np.float32(-7.685612264e-06)
        p = p * t + np.float32(0.0001110204551)
        p = p * t + np.float32(-0.001181448607)
        p = p * t + np.float32(0.009969764295)
        p = p * t + np.float32(-0.06648945375)
        p = p * t + np.float32(0.3989422432)
        row[x] = v * (np.float32(0.5) + v * p)


@numba.njit(**OPTIONS)
def _gelu_any(row: Any, n: int) -> None:
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


@numba.njit(**OPTIONS)
def _tanh(row: Any, n: int) -> None:
    """Compute x P(x²)/Q(x²), fitted here to 4e-7."""
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


@numba.njit(**OPTIONS)
def _logistic(row: Any, n: int) -> None:
    for x in range(n):
        row[x] = row[x] * np.float32(0.5)
    _tanh(row, n)
    for x in range(n):
        row[x] = row[x] * np.float32(0.5) + np.float32(0.5)


@numba.njit(**OPTIONS)
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


SMALL = 0.0625
"""Changes below it go by three derivatives, which leaves 3e-5 of them at most; others are differences of two values."""


@numba.njit(**OPTIONS)
def secant(at: Any, terms: Any, change: Any, n: int, code: int, parameter: Any, scratch: Any, out: Any) -> None:
    """``out = φ(at + change) - φ(at)`` for n values.

    Args:
        at: arguments ``(n,)``.
        terms: ``φ``, ``φ'``, ``φ''/2`` and ``φ'''/6`` at them ``(4, n)``.
        change: of the arguments ``(n,)``.
        n: number of values.
        code: the activation; see :data:`~xinc.canvas.kernels.activate.CODES`.
        parameter: its parameters ``(3,)``.
        scratch: ``(2, PIECE)``, any content.
        out: ``(n,)``; may be ``change``.
    """
    if code == 0:
        for x in range(n):
            out[x] = change[x]
    elif code == 1 or code == 9:
        slope = parameter[0] if code == 9 else np.float32(0.0)
        for x in range(n):
            a, d = at[x], change[x]
            up = max(a + d, np.float32(0.0)) - max(a, np.float32(0.0))
            up = d if min(a, a + d) > 0 else up
            out[x] = up + slope * (d - up)
    elif code == 8:
        w = parameter[0]
        for x in range(n):
            half = np.float32(0.5) * w * change[x]
            out[x] = np.float32(2.0) * math.cos(w * at[x] + half) * math.sin(half)
    elif code == 11:
        for x in range(n):
            a, d = at[x], change[x]
            if a > 0 and a + d > 0:
                out[x] = d
            elif a <= 0 and a + d <= 0:
                out[x] = math.exp(a) * math.expm1(d)
            else:
                after, before = min(a + d, np.float32(0.0)), min(a, np.float32(0.0))
                out[x] = max(a + d, math.expm1(after)) - max(a, math.expm1(before))
    elif code == 10:
        for x in range(n):
            out[x] = parameter[0] * change[x]
    else:
        for first in range(0, n, PIECE):
            count = min(PIECE, n - first)
            part = terms[:, first:]
            _secant_piece(at[first:], part, change[first:], count, code, parameter, scratch, out[first:])


@numba.njit(**OPTIONS)
def _secant_piece(at: Any, terms: Any, change: Any, n: int, code: int, parameter: Any, scratch: Any, out: Any) -> None:
    """By derivatives; where some change is not small, also by two values."""
    largest = np.float32(0.0)
    for x in range(n):
        largest = max(largest, abs(change[x]))
    first, second, third = terms[1], terms[2], terms[3]
    if largest < SMALL:
        for x in range(n):
            d = change[x]
            out[x] = d * (first[x] + d * (second[x] + d * third[x]))
        return
    value, moved = terms[0], scratch[0]
    for x in range(n):
        moved[x] = at[x] + change[x]
    activate(moved, n, code, parameter, scratch[1])
    limit = np.float32(SMALL)
    for x in range(n):
        d = change[x]
        small = d * (first[x] + d * (second[x] + d * third[x]))
        out[x] = small if abs(d) < limit else moved[x] - value[x]


@numba.njit(**OPTIONS)
def secant_rows(at: Any, terms: Any, changes: Any, code: int, parameter: Any, out: Any) -> None:
    """:func:`secant` for several changes ``(rows, n)`` of the same arguments."""
    scratch = np.empty((2, PIECE), np.float32)
    for row in range(changes.shape[0]):
        secant(at, terms, changes[row], changes.shape[1], code, parameter, scratch, out[row])
