"""Joint pruning: which neurons go when those that stay may be rescaled to make up for them.

To first order, scaling neuron ``k`` by ``s_k`` changes the picture by ``sum_k (s_k - 1) T_k``; the squared change is
``(s - 1)' G (s - 1)`` with the Gram matrix ``G`` of the signed maps. Neurons are taken away one after the other: the
one whose loss is least after all others are rescaled, ``s_k^2 / (A^-1)_kk`` with ``A = G + mu I``, and the others move
by ``-A^-1_:k s_k / (A^-1)_kk`` (Optimal Brain Surgeon, Hassibi and Stork 1993; for groups of weights Singh and Alistarh
2020, Frantar and Alistarh 2022). Nothing is trained.

The features of a linear layer have more freedom than a scale each: a feature that goes is written as a sum of those
that stay, ``z_i = sum_k c_k z_k`` by least squares over pixels and frames, and its weights are folded into theirs. With
the features' moments ``C = sum z z'`` and the moments ``D`` of the picture's derivatives at the layer's outputs, the
loss of feature ``i`` with the column of weights ``w_i`` is ``w_i' D w_i / (C^-1)_ii`` (Optimal Brain Surgeon on a
Kronecker factored curvature, Martens and Grosse 2015). The channels that a convolution reads have it too: one that goes
is made up for by the taps of all kernels that read the others, with ``z`` the patches of the layer's input.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor, nn

from xinc.canvas.joint.probes import random_signs
from xinc.canvas.network.linear_ops import LinearOperation
from xinc.findings.pruning.cutting import Part
from xinc.findings.results import FOLDER, Results, digest, fingerprint
from xinc.notation import Indices, Values
from xinc.run import Run
from xinc.signals.frames import spread

DAMPING = 1e-4
"""``mu`` as a share of the mean of the diagonal of ``G``: scales of neurons that nothing tells apart stay bounded."""

FRAMES = 9
"""Frames over which ``G`` is summed where nobody names any, spread over the clip."""


@dataclass(frozen=True, eq=False)
class Removal:
    """In which order units go, and how those that stay are scaled.

    Attributes:
        order: units, the first to go first ``(U,)``; those beyond the largest number asked for by their loss then.
        losses: of each in that order, when it goes ``(U,)``: squared change of the picture, summed as ``G`` is.
        scales: for each number of removed units that was asked for, the factor of every unit ``(U,)``; 0: it is gone.
    """

    order: Indices
    losses: Values
    scales: dict[int, Values]


def removal(gram: Float64[np.ndarray, "unit unit"], counts: Sequence[int], damping: float = DAMPING) -> Removal:
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
    wanted, order, lost, scales = set(counts), [], [], {}
    if 0 in wanted:
        scales[0] = np.ones(units)
    gone = np.zeros(units, bool)
    for number in range(1, max(counts, default=0) + 1):
        diagonal = inverse.diagonal()
        loss = np.where(gone[names], np.inf, scale**2 / np.where(gone[names], 1.0, diagonal))
        k = int(np.argmin(loss))
        lost.append(float(loss[k]))
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
    later = scale[kept] ** 2 / inverse.diagonal()[kept]
    rest = np.argsort(later, kind="stable")
    return Removal(
        np.concatenate([np.array(order, np.int64), left[rest]]), np.concatenate([np.array(lost), later[rest]]), scales
    )


def sampled(run: Run, frames: Sequence[int] | None) -> list[int]:
    """The frames that are summed over: those given, or :data:`FRAMES` spread over the clip."""
    return spread(len(run.clip), FRAMES) if frames is None else list(frames)


PLACES = 1 << 14
"""Places of a convolution's grid that are looked at, over all frames; spread by chance."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What features of a linear layer, or channels that a convolution reads, can do for each other.

    Attributes:
        features: ``C = sum z z'`` over places and frames ``(U * t, U * t)``: ``t`` values a unit and place.
        slopes: ``D``, the same of the picture's derivatives at the layer's outputs ``(O, O)``, by random signs.
        weight: of the layer ``(O, U * t)``.
        places: of the layer's grid, times frames, that both were summed over.
        taps: ``t``, 1 for features.
    """

    features: Values
    slopes: Values
    weight: Values
    places: int = 1
    taps: int = 1

    @classmethod
    def of(cls, run: Run, part: Part, frames: Sequence[int] | None, seed: int = 0) -> Moments:
        """Measure a run's layer; one pass forwards and one backwards a frame."""
        module = run.model.get_submodule(part.layer.module)
        weight = run.model.get_parameter(part.parameter).detach().flatten(1).double().cpu().numpy()
        features, slopes = np.zeros((weight.shape[1],) * 2), np.zeros((weight.shape[0],) * 2)
        seen: list[Tensor] = []
        chosen = sampled(run, frames)

        def keep(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            features[:] += _moments(_read(module, inputs[0].detach(), PLACES // len(chosen), seed + len(seen)))
            seen.append(output)

        signs = random_signs(run.clip.size, len(chosen), seed, torch.zeros(3).to(next(run.model.parameters())))
        handle = module.register_forward_hook(keep)
        try:
            for t, probe in zip(chosen, signs, strict=True):
                seen.clear()
                with torch.enable_grad():
                    picture = run.model.render(t)
                for slope in torch.autograd.grad(picture, seen, probe):
                    slopes += _moments(slope if part.layer.kind == "linear" else slope.movedim(1, -1))
        finally:
            handle.remove()
        grid = run.clip.size if part.layer.kind == "linear" else part.layer.shape[-2:]
        places = len(chosen) * grid[0] * grid[1]
        return cls(features, slopes, weight, places, weight.shape[1] // part.count)

    @property
    def units(self) -> int:
        """Features, or channels."""
        return len(self.features) // self.taps

    def order(self, count: int, damping: float = DAMPING) -> Indices:
        """All units, the first ``count`` in the order in which they go, the others by their loss then ``(U,)``."""
        return self.losses(count, damping)[0]

    def losses(self, count: int, damping: float = DAMPING) -> tuple[Indices, Values]:
        """The order of :meth:`order`, and what the picture loses by each: its squared change, never falling."""
        inverse, weight = np.linalg.inv(_damped(self.features, damping)), self.weight.copy()
        gone, order, lost = np.zeros(self.units, bool), list[int](), list[float]()
        for number in range(count + 1):
            loss = self._each(inverse, weight, gone)
            if number == count:
                break
            k = int(np.argmin(loss))
            lost.append(float(loss[k]))
            own = slice(k * self.taps, (k + 1) * self.taps)
            rows = np.linalg.solve(inverse[own, own], inverse[own])
            weight -= weight[:, own] @ rows
            inverse -= inverse[:, own] @ rows
            gone[k] = True
            weight[:, np.repeat(gone, self.taps)] = 0
            order.append(k)
        rest = np.flatnonzero(~gone)
        rest = rest[np.argsort(loss[rest], kind="stable")]
        every = np.maximum.accumulate([*lost, *loss[rest]]) / self.places
        return np.array([*order, *rest], np.int64), every

    def _each(self, inverse: NDArray[np.floating[Any]], weight: Values, gone: NDArray[np.bool_]) -> Values:
        """What the picture would lose by each unit now, ``tr(w' D w (C^-1)_uu^-1)`` ``(U,)``; gone ones: infinite."""
        units, taps = self.units, self.taps
        blocks = inverse.reshape(units, taps, units, taps)[range(units), :, range(units)].copy()
        blocks[gone] = np.eye(taps)
        columns = weight.reshape(-1, units, taps)
        pulled = (self.slopes @ weight).reshape(-1, units, taps)
        products = np.einsum("ous,out->ust", columns, pulled)
        loss = np.trace(np.linalg.solve(blocks, products), axis1=1, axis2=2)
        loss[gone] = np.inf
        return np.asarray(loss)

    def folded(self, gone: Sequence[int] | Indices, damping: float = DAMPING) -> Values:
        """The weight without some units, their part folded into the others, ``(O, U * t)``; their columns are zero."""
        columns = np.arange(len(self.features)).reshape(self.units, self.taps)
        out = np.isin(np.arange(self.units), np.asarray(gone, np.int64))
        away, stay = columns[out].ravel(), columns[~out].ravel()
        weight = np.zeros_like(self.weight)
        shared = np.linalg.solve(_damped(self.features, damping)[np.ix_(stay, stay)], self.features[np.ix_(stay, away)])
        weight[:, stay] = self.weight[:, stay] + self.weight[:, away] @ shared.T
        return weight


def sampled_places(count: int, most: int, seed: int) -> Tensor:
    """At most so many of ``count`` places, in order."""
    chosen = np.random.default_rng(seed).choice(count, min(count, most), replace=False)
    return torch.from_numpy(np.sort(chosen))


def patches(module: nn.Module, values: Tensor) -> Tensor:
    """What each place of a convolution's grid reads of ``values (1, I, h, w)``: ``(N, I * t)``."""
    size, padding, stride = (getattr(module, name) for name in ("kernel_size", "padding", "stride"))
    return F.unfold(values, size, padding=padding, stride=stride)[0].T


def _read(module: nn.Module, values: Tensor, most: int, seed: int) -> Tensor:
    """What a layer reads at its places ``(N, U * t)``; of a large grid a sample, scaled to all."""
    if isinstance(module, nn.Linear):
        return values
    found = patches(module, values)
    places = sampled_places(len(found), max(1, most), seed)
    scale: float = (len(found) / len(places)) ** 0.5
    return found[places] * scale


def _moments(values: Tensor) -> Values:
    flat = values.detach().flatten(0, -2).double()
    return np.asarray((flat.T @ flat).cpu().numpy(), np.float64)


def _damped(moments: Values, damping: float) -> Values:
    mean = float(np.trace(moments)) / len(moments)
    return moments + (damping * mean if mean > 0 else 1.0) * np.eye(len(moments))


PIXELS_A_NEURON = 64
"""Sampled products for each neuron of a Gram matrix: pixels times colours times frames."""


def gram_of(run: Run, part: Part, frames: Sequence[int] | None) -> Float64[np.ndarray, "unit unit"]:
    """The Gram matrix of a layer's units, ``(U, U)``, summed over frames: those given, or :data:`FRAMES` of the clip.

    By a sample of pixels, :data:`PIXELS_A_NEURON` products a neuron, where the frames have more.

    Raises:
        TraceError: the layer has too many neurons for a Gram matrix.
    """
    total = _kept_gram(run, part.layer, sampled(run, frames))
    if part.count == len(total):
        return total
    member = np.zeros((part.count, len(total)))
    member[part.members, np.arange(len(total))] = 1
    return np.asarray(member @ total @ member.T)


def _kept_gram(run: Run, layer: LinearOperation, frames: Sequence[int]) -> Values:
    """The Gram matrix of a layer's neurons; kept in the run's results as ``gram/LAYER``, in single precision."""
    import xarray as xr

    pixels = max(1, PIXELS_A_NEURON * layer.neurons // (3 * len(frames)))
    described = {
        "version": 1,
        "network": fingerprint(run.model.state_dict().values()),
        "signal": fingerprint([run.clip[frames].frames]),
        "frames": list(frames),
        "layer": layer.name,
        "pixels": pixels,
    }
    results = Results(run.path / FOLDER if run.path is not None else None)
    group, key = f"gram/{layer.name}", digest(described)
    if results.holds(group, key) and (known := results.get(group)) is not None:
        lower = known["gram"].values.astype(np.float64)
        return np.asarray(lower + np.tril(lower, -1).T)
    layers = (run.canvas(t, "exact")[layer.name] for t in frames)
    total: Values = np.sum([one.gram(pixels=pixels).numpy() for one in layers], 0)
    lower = np.tril(total).astype(np.float32)  # the other half is the same, and zeros take no room
    about = {"digest": key, "made_with": json.dumps(described), "pixels": pixels, "frames": list(frames)}
    results.put(group, xr.Dataset({"gram": (("neuron", "other"), lower)}, attrs=about))
    return total
