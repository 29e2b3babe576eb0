"""A run's ``results.zarr``: one group an analysis, method and layer, each with the settings that made it.

``grouping/paper/block3`` is the group of an analysis of a layer, ``regions`` one that no layer enters. Every group has
a ``frame`` dimension, and in its attributes a digest of everything that it depends on: network, frames, settings,
version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from xinc.documents import read_json
from xinc.errors import RunError
from xinc.findings.finding import numpy
from xinc.notation import Array

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "results.zarr"


def digest(values: Mapping[str, Any]) -> str:
    """A short name of settings: equal for equal settings, on every machine."""
    return hashlib.blake2b(json.dumps(values, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


def fingerprint(arrays: Iterable[Tensor | Array]) -> str:
    """A short name of values: of a network's weights, of frames, of label maps."""
    state = hashlib.blake2b(digest_size=12)
    for array in arrays:
        values = np.ascontiguousarray(numpy(array))
        state.update(f"{values.dtype}{values.shape}".encode())
        state.update(values.tobytes())
    return state.hexdigest()


@dataclass
class Results:
    """Groups of labelled results, on disk beside a run or in memory for a run that has no folder.

    Attributes:
        folder: the ``results.zarr``, or None to keep everything in memory.
        kept: the groups in memory.
    """

    folder: Path | None = None
    kept: dict[str, xr.Dataset] = field(default_factory=dict)

    def holds(self, group: str, key: str) -> bool:
        """Whether a group was made with the settings of this digest."""
        return self.attrs(group).get("digest") == key

    def attrs(self, group: str) -> dict[str, Any]:
        """Attributes of a group; empty where there is none."""
        if self.folder is None:
            return dict(self.kept[group].attrs) if group in self.kept else {}
        # Read the group's own document: opening every array to learn one attribute would cost more than some findings.
        path = self.folder / group / "zarr.json"
        try:
            return dict(read_json(path).get("attributes", {}))
        except FileNotFoundError:
            return {}
        except ValueError as damage:
            raise RunError(f"{path} is damaged ({damage}); delete {self.folder} and analyse again") from None

    def get(self, group: str) -> xr.Dataset | None:
        """A group, lazily; None where there is none."""
        import xarray as xr

        if self.folder is None:
            return self.kept.get(group)
        if not self.attrs(group):
            return None
        return _plain(xr.open_dataset(self.folder, engine="zarr", group=group, consolidated=False, chunks=None))

    def put(self, group: str, dataset: xr.Dataset) -> None:
        """Write a group over what it held; its attributes go last, so that a broken write is never taken for done."""
        if self.folder is None:
            self.kept[group] = dataset
            return
        import zarr

        bare = _portable(dataset.drop_attrs(deep=False))
        bare.to_zarr(self.folder, group=group, mode="w", consolidated=False, zarr_format=3)
        zarr.open_group(self.folder, path=group, mode="r+").attrs.update(dataset.attrs)

    def tree(self) -> xr.DataTree:
        """Everything, lazily: ``tree["grouping/paper/block3"]`` is a node whose ``.ds`` is the Dataset."""
        import xarray as xr

        if self.folder is None:
            return xr.DataTree.from_dict(dict(sorted(self.kept.items())))
        if not self.folder.exists():
            return xr.DataTree()
        tree = xr.open_datatree(self.folder, engine="zarr", consolidated=False)
        nodes = sorted(tree.subtree, key=lambda node: node.path)
        return xr.DataTree.from_dict({node.path: _plain(node.to_dataset()) for node in nodes})


def _portable(dataset: xr.Dataset) -> xr.Dataset:
    """Text as variable-length strings: fixed-length ones have no Zarr 3 specification."""
    texts = [name for name, v in dataset.coords.items() if v.dtype.kind == "U"]
    return dataset.assign_coords({name: (dataset[name].dims, dataset[name].values.astype(object)) for name in texts})


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """Text as numpy's plain strings again."""
    texts = [name for name, v in dataset.coords.items() if v.dtype.kind in "TO"]
    plain = {name: np.array(dataset[name].values.tolist(), dtype=np.str_) for name in texts}
    return dataset.assign_coords({name: (dataset[name].dims, values) for name, values in plain.items()})
