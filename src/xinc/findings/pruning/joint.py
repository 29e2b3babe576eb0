"""Joint pruning: which neurons go when those that stay may be rescaled to make up for them.

To first order, scaling neuron ``k`` by ``s_k`` changes the picture by ``sum_k (s_k - 1) T_k``; the squared change is
``(s - 1)' G (s - 1)`` with the Gram matrix ``G`` of the signed maps. Neurons are taken away one after the other: the
one whose loss is least after all others are rescaled, ``s_k^2 / (A^-1)_kk`` with ``A = G + mu I``, and the others move
by ``-A^-1_:k s_k / (A^-1)_kk`` (Optimal Brain Surgeon, Hassibi and Stork 1993; for groups of weights Singh and Alistarh
2020, Frantar and Alistarh 2022). Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xinc.findings.pruning.cutting import Indices, Part
from xinc.run import Run

Values = NDArray[np.float64]

DAMPING = 1e-4
"""``mu`` as a share of the mean of the diagonal of ``G``: scales of neurons that nothing tells apart stay bounded."""

FRAMES = 9
"""Frames over which ``G`` is summed where nobody names any, spread over the clip."""


@dataclass(frozen=True, eq=False)
class Removal:
    """In which order units go, and how those that stay are scaled.

    Attributes:
        order: units, the first to go first ``(U,)``; those beyond the largest number asked for by their loss then.
        scales: for each number of removed units that was asked for, the factor of every unit ``(U,)``; 0: it is gone.
    """

    order: Indices
    scales: dict[int, Values]


def removal(gram: Values, counts: Sequence[int], damping: float = DAMPING) -> Removal:
    """Take units away one after the other, rescaling the rest.

    Args:
        gram: ``(U, U)``, positive semi-definite.
        counts: numbers of removed units whose scales are wanted.
        damping: share of the mean diagonal that is added to it.
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.linalg.blas import dger

    units = len(gram)
    mean = float(np.trace(gram)) / units
    level = damping * mean if mean > 0 else 1.0
    inverse = np.asfortranarray(cho_solve(cho_factor(gram + level * np.eye(units)), np.eye(units)))
    names, scale = np.arange(units), np.ones(units)  # of the units that are left
    wanted, order, scales = set(counts), [], {}
    if 0 in wanted:
        scales[0] = np.ones(units)
    gone = np.zeros(units, bool)
    for number in range(1, max(counts, default=0) + 1):
        diagonal = inverse.diagonal()
        loss = np.where(gone[names], np.inf, scale**2 / np.where(gone[names], 1.0, diagonal))
        k = int(np.argmin(loss))
        column = inverse[:, k].copy()
        scale -= column * (scale[k] / column[k])
        inverse = dger(-1 / column[k], column, column, a=inverse, overwrite_a=1)
        gone[names[k]], scale[k] = True, 0.0
        order.append(int(names[k]))
        if number in wanted:
            scales[number] = np.zeros(units)
            scales[number][names] = np.where(gone[names], 0.0, scale)
        if number % 64 == 0:  # what is gone is left out of later steps
            kept = ~gone[names]
            names, scale, inverse = names[kept], scale[kept], np.asfortranarray(inverse[np.ix_(kept, kept)])
    left = names[~gone[names]]
    kept = ~gone[names]
    rest = left[np.argsort(scale[kept] ** 2 / inverse.diagonal()[kept], kind="stable")]
    return Removal(np.concatenate([np.array(order, np.int64), rest]), scales)


def gram_of(run: Run, part: Part, frames: Sequence[int] | None) -> Values:
    """The Gram matrix of a layer's units, ``(U, U)``, summed over frames: those given, or :data:`FRAMES` of the clip.

    Raises:
        TraceError: the layer has too many neurons for a Gram matrix.
    """
    spread = np.linspace(0, len(run.clip) - 1, min(FRAMES, len(run.clip))).round().astype(int)
    total: Values | None = None
    for t in frames if frames is not None else dict.fromkeys(spread.tolist()):
        made = run.canvas(t, "exact")[part.name].gram().numpy()
        total = made if total is None else total + made
    assert total is not None  # a clip has a frame
    if part.count == len(total):
        return total
    member = np.zeros((part.count, len(total)))
    member[part.members, np.arange(len(total))] = 1
    return np.asarray(member @ total @ member.T)
