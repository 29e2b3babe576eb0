"""What a network's forward pass makes, in bytes, without a number being computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of everything that is made while it runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: dict[int, torch.UntypedStorage] = {}
        self.copied = 0  # what is overwritten is recorded before and after

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in filter(lambda leaf: isinstance(leaf, Tensor), tree_leaves(result)):
            storage = tensor.untyped_storage()
            self.made[storage._cdata] = storage  # kept, so that no other takes its place
            self.copied += tensor.nbytes * func._schema.is_mutable
        return result


def values_of_a_pass(module: nn.Module, *inputs: Any, **keywords: Any) -> int | None:
    """Bytes of all values that a forward pass makes; none of them is computed.

    None where the network cannot be run without numbers, because its way depends on them.
    """
    state = {name: t.detach().to("meta") for name, t in (*module.named_parameters(), *module.named_buffers())}
    arguments, named = tree_map(_bare, (inputs, keywords))
    counting = _Counting()
    try:
        with torch.no_grad(), torch.device("meta"), counting:
            functional_call(module, state, arguments, named)
    except Exception:  # whatever their code raises on tensors without numbers
        return None
    return counting.copied + sum(storage.nbytes() for storage in counting.made.values())


def _bare(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf
