"""Neurons in two dimensions (Fig. 10): those of a layer, of all layers of a network, of a layer of several networks.

What is laid out are the vectors that results keep as ``clusters/METHOD/LAYER``; no map is computed here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from xinc.errors import FindingError
from xinc.findings.analyses import Settings
from xinc.findings.finding import Finding
from xinc.findings.results import digest
from xinc.findings.section4.clusters import FINDING, NEIGHBOURS, Embedding, embed, mixing, neighbours_of, stack

if TYPE_CHECKING:
    import xarray as xr

READS = ("embedded", "seed")
"""Settings that decide which neurons are laid out."""
LAYER = replace(FINDING, name="embedding")
NETWORKS = replace(FINDING, name="embedding_networks")
LAYERS = Finding(
    name="embedding_layers",
    question="Do the layers of a network have kinds of neurons of their own, by the textures they serve?",
    section="4.6",
    figure="after Fig. 10",
    unit="entropy of layers among a neuron's neighbours / that of layers dealt at random",
    direction="there are many types of neurons; layers are not compared",
    null="mixing 1: a neuron's neighbours come from all layers as if dealt at random",
)
LAYOUTS: Mapping[str, Finding] = {finding.name: finding for finding in (LAYER, LAYERS)}
"""What can be laid out of one network; several networks are laid out by the report on them."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Neurons that are laid out together.

    Attributes:
        finding: what it asks.
        group: where the results keep it.
        members: name of a layer or network to its Dataset of :func:`~.clusters.clusters` at one frame, as the results
            keep it.
        neighbours: UMAP's ``n_neighbors``.
    """

    finding: Finding
    group: str
    members: Mapping[str, xr.Dataset]
    neighbours: int

    @property
    def frame(self) -> int:
        """The frame of the vectors."""
        return int(next(iter(self.members.values()))["frame"])

    @property
    def embedding(self) -> Embedding:
        """Settings of UMAP."""
        return Embedding(self.neighbours)

    def described(self, settings: Settings) -> dict[str, Any]:
        """What the positions depend on; the vectors by the digests of their own groups."""
        return {
            "xinc": version("xinc"),
            "finding": self.finding.name,
            "version": 1,
            "members": [[name, data.attrs["digest"], int(data["frame"])] for name, data in self.members.items()],
            "umap": asdict(self.embedding),
            "settings": {name: getattr(settings, name) for name in READS},
        }

    def key(self, settings: Settings) -> str:
        """The digest of all that."""
        return digest(self.described(settings))

    def fits(self, attrs: Mapping[str, Any]) -> bool:
        """Whether a group with these attributes is of the same vectors, whichever neurons were drawn."""
        kept = json.loads(attrs.get("made_with", "{}"))
        return {**kept, "settings": {}} == {**self.described(Settings()), "settings": {}}

    def make(self, settings: Settings = Settings()) -> xr.Dataset:  # noqa: B008 - frozen
        """Draw neurons, lay them out by UMAP, and measure how members mix among them.

        Returns:
            Dataset of ``position (frame, neuron, dimension)``, no unit, with ``member``, ``index``, ``layer``,
            ``input`` and ``output`` of each neuron. Of several members also ``entropy (frame, neuron)``, nats, of
            the members among each neuron's nearest neighbours by vector, ``mixing (frame,)``, its mean over that of
            members dealt at random, and ``mixing_p (frame,)``, how often random deals mix as little.

        Raises:
            FindingError: the vectors are over different regions, or fewer than four neurons have one.
        """
        vectors = drawn(stack(self.members), settings.embedded, settings.seed)
        found = embed(vectors, self.embedding).drop_vars(("vector", "region"))
        mixed = mixing(vectors["vector"].values, vectors["member"].values, seed=settings.seed)
        if mixed is not None:
            found = found.assign(
                entropy=("neuron", mixed.entropy.astype(np.float32), {"units": "nats"}),
                mixing=((), mixed.ratio, {"units": "mean entropy / that of random deals"}),
                mixing_p=((), mixed.p_value, {"units": "share of random deals"}),
            )
        described = self.described(settings)
        found.attrs = {name: found.attrs[name] for name in ("method", "grouping", "neighbours", "min_dist", "seed")}
        return found.expand_dims(frame=[self.frame]).assign_attrs(
            {**self.finding.attrs(), "digest": digest(described), "made_with": json.dumps(described)}
        )


def drawn(vectors: xr.Dataset, most: int, seed: int) -> xr.Dataset:
    """All neurons of :func:`~.clusters.stack`, or, beyond ``most``, of each member at most an equal share.

    A member with fewer neurons than its share keeps all of them, and leaves the rest of the share unused.
    """
    names = vectors["member"].values
    if len(names) <= most:
        return vectors
    members, rng = list(dict.fromkeys(names.tolist())), np.random.default_rng(seed)
    share = max(1, most // len(members))
    chosen = [rng.permutation(np.flatnonzero(names == member))[:share] for member in members]
    return vectors.isel(neuron=np.sort(np.concatenate(chosen)))


def of_layer(vectors: xr.Dataset, layers: Sequence[str]) -> Layout:
    """The neurons of one layer; ``layers``: all of the network's, in the order of the forward pass."""
    name, method = vectors.attrs["layer"], vectors.attrs["method"]
    return Layout(LAYER, f"embedding/{method}/{name}", {name: vectors}, _neighbours(vectors, layers))


def of_layers(members: Mapping[str, xr.Dataset]) -> Layout:
    """The neurons of all layers of a network; the paper, which has no such picture, takes 25 neighbours for block 3.

    Raises:
        FindingError: there are fewer than two layers.
    """
    if len(members) < 2:
        raise FindingError("layers are laid out together: give at least two with neuron vectors of one frame")
    method = next(iter(members.values())).attrs["method"]
    return Layout(LAYERS, f"embedding_layers/{method}", members, NEIGHBOURS[1])


def of_networks(members: Mapping[str, xr.Dataset], layers: Sequence[str]) -> Layout:
    """The neurons of one layer of several networks of a kind, seeds say; kept with the first of them."""
    first = next(iter(members.values()))
    group = f"embedding_networks/{first.attrs['method']}/{first.attrs['layer']}"
    return Layout(NETWORKS, group, members, _neighbours(first, layers))


def _neighbours(vectors: xr.Dataset, layers: Sequence[str]) -> int:
    pixelwise = bool((vectors["output"].values < 0).all())
    return neighbours_of(layers, vectors.attrs["layer"], pixelwise=pixelwise)
