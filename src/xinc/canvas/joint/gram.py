"""Sums over pixels and colours of products of signed maps: energies, and the Gram matrix ``G_kl = sum T_k T_l``.

To first order contributions add, so all questions about sets of neurons lie in ``G``. It is made in bands of rows of
the picture: K rows of maps are held, never K maps. Where single maps would take a product each (a rest of the network
that is not local), energies are estimated by random signs: one product backwards gives ``<r, T_k>`` for all neurons,
and the mean of its square over probes ``r`` is the energy (Hutchinson 1989).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from xinc.canvas.exact.replay import ExactStream
from xinc.canvas.joint.probes import PROBES, random_signs, standard_error
from xinc.canvas.network.receptive_field import Window
from xinc.canvas.reductions.fold import Stream
from xinc.errors import TraceError
from xinc.notation import ColouredMaps, Gram, Image, Indices, Mixtures, MixtureWeights, PerNeuron, Plane

HELD_VALUES = 1 << 25
"""Map values that are held at once (128 MB in float32)."""

LARGEST = 8192
"""Neurons of a layer up to which its Gram matrix is made: 512 MB in float64."""


@runtime_checkable
class Signed(Protocol):
    """A stream whose maps have a sign and colours."""

    neurons: int
    size: tuple[int, int]

    def coloured(self, neurons: Sequence[int], window: Window | None = None) -> ColouredMaps:
        """Signed contribution to each colour, ``(n, C, h, w)``."""
        ...


def signed(stream: Stream, what: str) -> Signed:
    """The stream, if its maps are signed.

    Raises:
        TraceError: They are not.
    """
    if not isinstance(stream, Signed):
        raise TraceError(f"{what} needs signed maps; trace with method='exact'")
    return stream


def bands(stream: Signed) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Parts of the picture with the signed maps of all neurons over them, ``(K, C, rows, columns)``."""
    if isinstance(stream, ExactStream) and stream.tables is not None:
        for area, terms in stream.areas():
            yield area, torch.cat([part for _, part in terms])
        return
    height, width = stream.size
    rows = max(1, HELD_VALUES // (3 * stream.neurons * width))
    every = range(stream.neurons)
    for y in range(0, height, rows):
        end = min(height, y + rows)
        yield (slice(y, end), slice(None)), stream.coloured(every, Window(y, end, 0, width))


def gram(stream: Signed, weight: Plane | None = None) -> Gram:
    """``G_kl = sum_{p, c} w(p) T_k(p, c) T_l(p, c)``.

    Args:
        stream: of the layer's signed maps.
        weight: of the pixels, ``(H, W)``, not negative; None for ones.

    Returns:
        ``(K, K)`` float64.

    Raises:
        TraceError: The layer has more than :data:`LARGEST` neurons, or the weight another size.
    """
    if stream.neurons > LARGEST:
        raise TraceError(
            f"the Gram matrix of {stream.neurons:,} neurons takes {8 * stream.neurons**2 / 2**30:.1f} GB; it is made "
            f"for up to {LARGEST:,}; energies and sums of neurons have no such limit"
        )
    root = _root(weight, stream.size)
    parts = (terms if root is None else terms * root[area].to(terms) for area, terms in bands(stream))
    return _gram_of(stream.neurons, parts)


@runtime_checkable
class Crossed(Signed, Protocol):
    """A stream that makes the terms of all neurons at some pixels alone."""

    def crossings(self, rows: Indices, columns: Indices) -> ColouredMaps:
        """Signed contribution of all neurons at the crossings of rows and columns, ``(K, C, rows, columns)``."""
        ...


def sampled_gram(stream: Signed, pixels: int, seed: int = 0) -> Gram:
    """The Gram matrix by a sample of pixels: those where some rows and columns, chosen at random, cross.

    Unbiased: the products are scaled to the whole picture. A picture with fewer pixels, and a network whose terms at
    single pixels cost as much as all, are summed whole.

    Args:
        stream: of the layer's signed maps.
        pixels: about how many.
        seed: of the choice.

    Returns:
        ``(K, K)`` float64.

    Raises:
        TraceError: as :func:`gram`.
    """
    height, width = stream.size
    if not isinstance(stream, Crossed) or pixels >= height * width or stream.neurons > LARGEST:
        return gram(stream)
    down = min(height, max(1, round((pixels * height / width) ** 0.5)))
    across = min(width, max(1, round(pixels / down)))
    chance = np.random.default_rng(seed)
    rows = np.sort(chance.choice(height, down, replace=False))
    columns = np.sort(chance.choice(width, across, replace=False))
    size = max(1, HELD_VALUES // (3 * stream.neurons * across))
    parts = (stream.crossings(rows[first : first + size], columns) for first in range(0, down, size))
    scale: float = height * width / (down * across)
    return _gram_of(stream.neurons, parts) * scale


def _gram_of(neurons: int, parts: Iterable[Tensor]) -> Tensor:
    """The Gram matrix of maps that come in parts of the picture, ``(K, C, h, w)`` each."""
    total = torch.zeros(neurons, neurons, dtype=torch.float64)
    for part in parts:
        total += _products(part.flatten(1))
    return total + total.tril(-1).T


def _products(flat: Tensor) -> Tensor:
    """``A A'`` of ``(K, N)``, its lower triangle: BLAS makes half of a symmetric product in half the time."""
    if flat.device.type != "cpu" or flat.dtype != torch.float32:
        return (flat @ flat.T).double().cpu().tril()
    from scipy.linalg.blas import ssyrk

    return torch.from_numpy(ssyrk(1.0, flat.contiguous().numpy().T, trans=1, lower=1))  # zeros above


def energy(stream: Signed, weight: Plane | None = None, seed: int = 0) -> PerNeuron:
    """``sum_{p, c} w(p) T_k(p, c)^2`` of every neuron.

    Returns:
        ``(K,)`` float64. Its attribute ``error`` is the relative standard error: 0 where it was summed, and
        ``sqrt(2 / probes)`` where it was estimated by random signs.

    Raises:
        TraceError: The weight has another size.
    """
    root = _root(weight, stream.size)
    if isinstance(stream, ExactStream) and stream.takes_a_product_each:
        return _with_error(_probed(stream, root, seed), standard_error(PROBES))
    total = torch.zeros(stream.neurons, dtype=torch.float64)
    for area, terms in bands(stream):
        part = terms if root is None else terms * root[area].to(terms)
        total += part.flatten(1).square().sum(1, dtype=torch.float64).cpu()
    return _with_error(total, 0.0)


def _with_error(energies: Tensor, error: float) -> Tensor:
    """Energies that carry their relative standard error: a tensor takes attributes that its type does not name."""
    energies.error = error  # type: ignore[attr-defined]  # a tensor takes attributes; its type declares none
    return energies


def _probed(stream: ExactStream, root: Tensor | None, seed: int) -> Tensor:
    total = torch.zeros(stream.neurons, dtype=torch.float64)
    like = torch.zeros(stream.rest.picture.channels).to(stream.products.at.real)
    for signs in random_signs(stream.size, PROBES, seed, like):
        probe = signs if root is None else signs * root.to(signs)
        total += stream.rest.operation.pull(stream.products.backward(probe[None]))[0].double().square().cpu()
    return total / PROBES


def summed(stream: Signed, neurons: Sequence[int]) -> Image:
    """The signed sum of some neurons' maps, ``(C, H, W)``; a few maps are held at a time."""
    size = max(1, HELD_VALUES // (4 * stream.size[0] * stream.size[1]))
    total: Tensor | None = None
    for first in range(0, len(neurons), size):
        part = stream.coloured(neurons[first : first + size]).sum(0)
        total = part if total is None else total + part
    return torch.zeros(3, *stream.size) if total is None else total


def mixtures(stream: Signed, weights: MixtureWeights) -> Mixtures:
    """Sums of all neurons' maps by several sets of weights ``(K, R)``: ``(R, C, H, W)``, in bands."""
    made: Tensor | None = None
    for area, terms in bands(stream):
        part = torch.einsum("kr,kcyx->rcyx", weights.to(terms), terms)
        if made is None:
            made = part.new_zeros(*part.shape[:2], *stream.size)
        made[(..., *area)] = part
    assert made is not None  # a picture has pixels
    return made


def _root(weight: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    if weight is None:
        return None
    if tuple(weight.shape) != size:
        raise TraceError(f"the weight has shape {tuple(weight.shape)}, the picture {size}; give one number a pixel")
    if not bool((weight >= 0).all()):
        raise TraceError("a weight is negative, or no number; give numbers of at least 0")
    return weight.sqrt()
