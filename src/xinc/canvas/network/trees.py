"""What networks take and return: tensors in nested tuples, lists, dicts, named tuples, dataclasses and slices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_ATOMS = (int, float, str, complex, torch.dtype, torch.device)


class Leaf:
    """A dataclass that is one thing, not a container of others."""


def map_tree(tree: Any, kind: type[T], function: Callable[[T], Any]) -> Any:
    """The tree with every leaf of a kind replaced; containers keep their type where it can be rebuilt.

    A dataclass or an unusual mapping becomes a plain dict, an unusual sequence a tuple.
    """
    if isinstance(tree, kind):
        return function(tree)
    if tree is None or isinstance(tree, _ATOMS):  # most of what operations are called with
        return tree
    if isinstance(tree, dict | Mapping):
        return {key: map_tree(item, kind, function) for key, item in tree.items()}
    if isinstance(tree, (tuple, list)) and not isinstance(tree, torch.Size):
        items = [map_tree(item, kind, function) for item in tree]
        if hasattr(tree, "_fields"):
            return type(tree)(*items)
        return items if isinstance(tree, list) else tuple(items)
    if isinstance(tree, slice):
        return slice(*(map_tree(item, kind, function) for item in (tree.start, tree.stop, tree.step)))
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type | Leaf):
        fields = ((field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree))
        return {name: map_tree(item, kind, function) for name, item in fields}
    return tree


def leaves(tree: Any, kind: type[T]) -> Iterator[T]:
    """All leaves of a kind, in order."""
    found: list[T] = []
    map_tree(tree, kind, found.append)
    return iter(found)


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """All tensors, in order."""
    return leaves(tree, Tensor)
