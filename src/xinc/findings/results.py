"""A run's ``results.zarr``: one group an analysis, method and layer, each with the settings that made it.

``grouping/paper/block3`` is the group of an analysis of a layer, ``regions`` one that no layer enters. Every group has
a ``frame`` dimension, and in its attributes a digest of everything that it depends on: network, frames, settings,
version.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from xinc.errors import PlaceError, RunError, XincWarning
from xinc.files import move, new_folder, reason
from xinc.findings.finding import numpy
from xinc.findings.seal import DOCUMENT, SMALL, DamageError, check, kind_of, seal
from xinc.notation import Array

if TYPE_CHECKING:
    import xarray as xr

FOLDER = "results.zarr"
LookedAt = tuple[Any, dict[str, Any], "xr.Dataset | None"]
"""The state of a group's document when it was looked at, its attributes, and what it holds."""
DEEPEST = 6
"""Folders within each other in which groups are looked for."""


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

    A group is made aside and moved into place, so that it is whole or absent; one that was damaged since is named once
    in a warning and counts as absent, so that what needs it makes it again.

    Attributes:
        folder: the ``results.zarr``, or None to keep everything in memory.
        kept: the groups in memory.
    """

    folder: Path | None = None
    kept: dict[str, xr.Dataset] = field(default_factory=dict)
    _known: dict[str, LookedAt] = field(default_factory=dict, init=False, repr=False)
    _named: set[str] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.folder is not None and os.path.lexists(self.folder) and not self.folder.is_dir():
            raise RunError(f"{self.folder} is no folder of results; move it away and analyse again")

    def holds(self, group: str, key: str) -> bool:
        """Whether a group was made with the settings of this digest, and is whole."""
        return self.attrs(group).get("digest") == key

    def attrs(self, group: str) -> dict[str, Any]:
        """Attributes of a group; empty where there is none, or a damaged one."""
        if self.folder is None:
            return dict(self.kept[group].attrs) if group in self.kept else {}
        return self._looked(group)[0]

    def get(self, group: str) -> xr.Dataset | None:
        """A group, lazily; None where there is none, or a damaged one."""
        if self.folder is None:
            return self.kept.get(group)
        return self._looked(group)[1]

    def put(self, group: str, dataset: xr.Dataset) -> None:
        """Write a group in place of what it held.

        Raises:
            PlaceError: the folder is gone, full or may only be read.
        """
        if self.folder is None:
            self.kept[group] = dataset
            return
        import zarr

        bare = _portable(dataset.drop_attrs(deep=False))
        try:
            with self.making(group) as made:
                bare.to_zarr(made, mode="w", consolidated=False, zarr_format=3)
                zarr.open_group(made, mode="r+").attrs.update(dataset.attrs)
        except OSError as fault:
            raise PlaceError(f"{self.folder / group} cannot be written: {reason(fault)}") from None

    @contextmanager
    def making(self, group: str, *, lasting: bool = False) -> Iterator[Path]:
        """A folder in which a group is made; it is sealed and takes the group's place when it is complete.

        Args:
            group: its name.
            lasting: whether what was made is kept when the work is cut short, so that it can go on.
        """
        assert self.folder is not None  # a group in memory is not made in a folder
        real = self.folder.resolve()  # a link may lead to a larger disk, where the parts of results must be too
        if not real.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "its folder is gone", str(real.parent))
        real.mkdir(exist_ok=True)
        with new_folder(real.parent, group if lasting else None) as made:
            yield made
            seal(made)
            place = real
            for name in ("", *group.split("/")[:-1]):
                place /= name
                _be_group(place, made.parent)
            move(made, real / group, made.parent)

    def tree(self) -> xr.DataTree:
        """Everything, lazily: ``tree["grouping/paper/block3"]`` is a node whose ``.ds`` is the Dataset."""
        import xarray as xr

        if self.folder is None:
            return xr.DataTree.from_dict(dict(sorted(self.kept.items())))
        found = {group: data for group in self.groups() if (data := self.get(group)) is not None}
        return xr.DataTree.from_dict(found)

    def groups(self) -> list[str]:
        """Names of the groups on disk that hold something, damaged ones too; links are not followed."""
        if self.folder is None:
            return sorted(self.kept)
        return sorted(_leaves(self.folder)) if self.folder.is_dir() else []

    def _looked(self, group: str) -> tuple[dict[str, Any], xr.Dataset | None]:
        """Attributes of a group and what it holds, once it was found to be whole."""
        assert self.folder is not None  # groups in memory are not looked at
        path = self.folder / group
        try:
            state = (path / DOCUMENT).stat()
            mark = (state.st_ino, state.st_mtime_ns, state.st_size)
            if (known := self._known.get(group)) is None or known[0] != mark:
                self._known[group] = known = (mark, *self._read(group))
            return known[1], known[2]
        except (FileNotFoundError, NotADirectoryError):
            if path.is_dir() and any(path.iterdir()):
                self._name(group, DamageError(f"{DOCUMENT} is missing"))
        except OSError as fault:
            self._name(group, fault)
        return {}, None

    def _read(self, group: str) -> tuple[dict[str, Any], xr.Dataset | None]:
        import xarray as xr

        assert self.folder is not None  # as above
        try:
            found = check(self.folder / group)
            data = xr.open_dataset(self.folder, engine="zarr", group=group, consolidated=False, chunks=None)
            if not found.sealed and found.size <= SMALL:
                data.load()
            return found.attributes, _plain(data.drop_attrs(deep=False).assign_attrs(found.attributes))
        except Exception as damage:  # zarr and its codecs raise dozens of classes for damaged arrays
            self._name(group, damage)
            return {}, None

    def _name(self, group: str, damage: Exception) -> None:
        """Say once that a group is damaged."""
        if group not in self._named:
            self._named.add(group)
            warnings.warn(
                f"{self.folder}/{group} is damaged ({reason(damage)}) and counts for nothing; xinc analyse, trace, "
                "verify or prune makes it again",
                XincWarning,
                stacklevel=2,
            )


def _leaves(root: Path, below: str = "", depth: int = 0) -> Iterator[str]:
    """Names of the groups that hold arrays; links are not followed."""
    with os.scandir(root / below) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    kinds = {name: kind_of(root / below / name) for name in folders}
    if below and "array" in kinds.values():
        yield below
    elif depth < DEEPEST:
        for name, kind in kinds.items():
            if kind != "array":
                yield from _leaves(root, f"{below}/{name}".strip("/"), depth + 1)


def _be_group(folder: Path, aside: Path) -> None:
    """Make a folder a group of groups, where it is none or its document is damaged."""
    if kind_of(folder) == "group":
        return
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        folder.unlink()
    folder.mkdir(exist_ok=True)
    part = aside / f"{os.getpid()}-{DOCUMENT}"  # beside the results: strangers in them are warned about
    part.write_text(json.dumps({"attributes": {}, "zarr_format": 3, "node_type": "group"}, indent=2), encoding="utf-8")
    os.replace(part, folder / DOCUMENT)


def _portable(dataset: xr.Dataset) -> xr.Dataset:
    """Text as variable-length strings: fixed-length ones have no Zarr 3 specification."""
    texts = [name for name, v in dataset.coords.items() if v.dtype.kind == "U"]
    return dataset.assign_coords({name: (dataset[name].dims, dataset[name].values.astype(object)) for name in texts})


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """Text as numpy's plain strings again."""
    texts = [name for name, v in dataset.coords.items() if v.dtype.kind in "TO"]
    plain = {name: np.array(dataset[name].values.tolist(), dtype=np.str_) for name in texts}
    return dataset.assign_coords({name: (dataset[name].dims, values) for name, values in plain.items()})
