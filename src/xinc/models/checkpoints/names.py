"""Which tensors of a file are the network, and under which plain names: wrappers, copies, parametrisations, records."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xinc.errors import CheckpointError
from xinc.models.checkpoints.pickles import Inert

Weights = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "generator", "params")
"""Keys under which training code keeps the weights, in the order in which they are looked for."""
EMBEDDINGS = ("embedding", "embed", "embeddings", "img_embed", "vid_embed")
"""Names of HNeRV's stored embeddings, beside the weights or among them."""
PREFIXES = ("module.", "_orig_mod.", "_forward_module.", "model.")
"""What data-parallel, compiled and wrapped training puts before every name."""
AVERAGED = ("ema_model", "model_ema", "ema", "averaged_model", "swa_model")
"""What averaged copies of a network are called: by ema-pytorch, by Lightning modules, by torch's own."""
LIVE = ("online_model", "model", "net", "network")
"""What the copy is called that is trained, beside an averaged one."""
RECORDS = re.compile(r"optim|exp_avg|sched|callback|loops|rng|param_groups|amp_scaler|scaler")
"""Keys under which training code keeps tensors that are no network's."""
MEASURES = re.compile(r"psnr|ssim|lpips|metric|loss|criterion|perceptual|vgg|(^|_)fid($|_)|(^|_)mse($|_)")
"""Parts of names of what measures a network, which training frameworks save among its weights."""
BUFFERS = re.compile(
    r"^(grid|coords?|coordinates|mgrid|pixels?|num_batches_tracked|total_ops|total_params|n_averaged|initted|step|"
    r"num_updates|decay)$"
)
"""Last parts of names of what is no weight: coordinates of the pixels, counters."""
DEPTH, NODES = 6, 100_000
"""How deep and how far a file's containers are looked through."""
LONGEST = 500
"""Characters of a weight's name."""


def weights_in(content: Any, path: Path) -> dict[str, Any]:
    """The named tensors (or quantised tensors) of a file, without wrapper keys and leading prefixes.

    A file with several networks and none under a usual key gives all of them, each name after its network's.

    Args:
        content: what :func:`~xinc.models.checkpoints.files.read_file` found.
        path: for messages.

    Raises:
        CheckpointError: there are no named tensors in it.
    """
    chosen = _descend(content, 0, set())
    if not any(_is_weight(value) for value in chosen.values()):
        others = networks_in(content)
        if len(others) == 1:
            chosen = next(iter(others.values()))
        elif others:
            chosen = {f"{_short(key)}.{name}": v for key, part in others.items() for name, v in part.items()}
    parts = [content, *(content.values() if isinstance(content, Mapping) else ())]
    whole = next((part.named for part in parts if isinstance(part, Inert)), None)
    if not chosen and whole:
        raise CheckpointError(
            f"{path} holds a whole object ({whole}), not its weights: loading it would run code, which is never done; "
            "save model.state_dict() where it was made, or inspect and trace the module itself: package.module:name"
        )
    if isinstance(content, Tensor):
        shape = "×".join(map(str, content.shape))
        raise CheckpointError(
            f"{path} holds one tensor of shape {shape} without a name: values such as latents, not a network's weights"
        )
    if not chosen:
        keys = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(f"{path} holds no named weights (found: {keys:.200})")
    if long := next((name for name in chosen if len(name) > LONGEST), None):
        raise CheckpointError(f"{path} holds a weight with a name of {len(long):,} characters; it is damaged")
    names = {name: _strip(name) for name in chosen}
    if len(set(names.values())) < len(names):  # two parts of a model share names without their prefix
        names = {name: name for name in names}
    return {short: chosen[name] for name, short in names.items()}


def networks_in(content: Any) -> dict[str, dict[str, Any]]:
    """Every mapping in a file that looks like a network's weights, by the keys that lead to it."""
    found: dict[str, dict[str, Any]] = {}
    for keys, mapping in _mappings(content):
        tensors = {str(name): value for name, value in mapping.items() if is_tensor(value)}
        if sum(_is_weight(value) for value in tensors.values()) > 1:
            found[".".join(keys)] = tensors
    return found


def _mappings(content: Any) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """The mappings of a file with the keys that lead to them, each once, records of training left out."""
    seen: set[int] = set()
    left: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    while left and len(seen) < NODES:
        keys, node = left.popleft()
        if id(node) in seen or not isinstance(node, Mapping) or is_quantised(node):
            continue
        seen.add(id(node))
        yield keys, node
        if len(keys) < DEPTH:
            inner = [(str(key), value) for key, value in node.items() if isinstance(value, Mapping)]
            left += [((*keys, key), value) for key, value in inner if not RECORDS.search(key[:LONGEST].lower())]


def _descend(content: Any, depth: int, seen: set[int]) -> dict[str, Any]:
    """The mapping of names to tensors, under wrapper keys first: beside them training code keeps its records."""
    if not isinstance(content, Mapping) or is_quantised(content) or depth > DEPTH or id(content) in seen:
        return {}
    seen.add(id(content))
    direct = {str(name): value for name, value in content.items() if is_tensor(value)}
    for key in WRAPPERS:
        if found := _descend(content.get(key), depth + 1, seen):
            return {**found, **{name: direct[name] for name in EMBEDDINGS if name in direct}}
    return direct


def _short(key: str) -> str:
    """A network's key without what says that it is one."""
    return re.sub(r"(_state_dict|_state|_params|_weights)$", "", key) or key


def is_quantised(value: Any) -> bool:
    """Whether this is one tensor of HNeRV's 8-bit files: ``{"quant", "min", "scale"}``."""
    return isinstance(value, Mapping) and all(key in value for key in ("quant", "min", "scale"))


def is_tensor(value: Any) -> bool:
    """Whether this is a tensor, plain or quantised."""
    return isinstance(value, Tensor) or is_quantised(value)


def _is_weight(value: Any) -> bool:
    """Whether this is more than a number."""
    return is_quantised(value) or (isinstance(value, Tensor) and value.numel() > 1)


def dequantise(value: Any) -> Tensor:
    """``min + scale * quant`` in float32; plain tensors as float32, complex ones as they are."""
    if isinstance(value, Tensor):
        return value.detach() if value.is_complex() else value.detach().float()
    parts = [value[key] for key in ("quant", "min", "scale")]
    if not all(isinstance(part, Tensor | int | float) for part in parts):
        raise CheckpointError("a tensor in 8 bits has no numbers for quant, min and scale")
    quant, low, scale = (torch.as_tensor(part).float() for part in parts)
    return low + scale * quant


def _strip(name: str) -> str:
    while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
    return name


def listing(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def plain(weights: Weights) -> tuple[Weights, list[str]]:
    """A network's weights as they act: one copy of it, parametrisations computed, records and coordinates left out.

    Args:
        weights: float tensors under the file's names, without leading prefixes.

    Returns:
        The weights, and what was done, one sentence each.
    """
    kept, notes = _one_copy(weights)
    kept, computed = _computed(kept)
    aside = [name for name, value in kept.items() if _is_aside(name, value)]
    if aside and len(aside) < len(kept):
        kept = {name: value for name, value in kept.items() if name not in aside}
        notes.append(f"left out, as no part of the network: {listing(aside)}")
    return kept, notes + computed


def _is_aside(name: str, value: Tensor) -> bool:
    *modules, last = name.split(".")
    return bool(
        not value.numel()
        or BUFFERS.match(last) or any(MEASURES.search(part.lower()) for part in modules) or _is_grid(value)
        or (not modules and value.numel() == 1 and MEASURES.search(last.lower()))
    )  # fmt: skip


def _is_grid(value: Tensor) -> bool:
    """Whether these are coordinates: pairs that rise evenly from one corner of a rectangle to the other."""
    if value.is_complex() or value.ndim < 2 or value.shape[-1] != 2 or value.numel() < 32:
        return False
    points = value.reshape(-1, 2)
    rises = [torch.unique(points[:, axis]) for axis in (0, 1)]
    return len(rises[0]) * len(rises[1]) == len(points) and all(
        len(rise) > 1 and bool(torch.allclose(rise.diff(), rise.diff().mean(), rtol=0.05)) for rise in rises
    )


def _one_copy(weights: Weights) -> tuple[Weights, list[str]]:
    """The averaged copy of a network that is saved with one, under the names of the network."""
    for copy in AVERAGED:
        averaged = {n.removeprefix(f"{copy}."): v for n, v in weights.items() if n.startswith(f"{copy}.")}
        averaged = {_strip(name): value for name, value in averaged.items()}
        others = {name: value for name, value in weights.items() if not name.startswith(f"{copy}.")}
        live = {_without(name): value for name, value in others.items()}
        squeezed = {name.replace(".", ""): name for name in live}  # some averages lose the points of their names
        if averaged and not any("." in name for name in averaged):
            averaged = {squeezed.get(name, name): value for name, value in averaged.items()}
        if averaged and any(value.numel() > 1 for value in averaged.values()):
            rest = {name: value for name, value in live.items() if name not in averaged and value.numel() > 1}
            return {**averaged, **rest}, [f"of the network and its averaged copy ({copy}) the copy was taken"]
    return weights, []


def _without(name: str) -> str:
    """A name without what the trained copy beside an averaged one is called."""
    first, point, rest = name.partition(".")
    return rest if point and first in LIVE else name


def _computed(weights: Weights) -> tuple[Weights, list[str]]:
    """Weights of the tensors that make them: masks of pruning, weight norm and spectral norm, in torch's writings."""
    kept, notes = dict(weights), []
    for suffixes, compute, how in WRITINGS:
        stems = [name.removesuffix(suffixes[0]) for name in kept if name.endswith(suffixes[0])]
        stems = [stem for stem in stems if all(stem + suffix in kept for suffix in suffixes)]
        for stem in stems:
            parts = [kept.pop(stem + suffix) for suffix in suffixes]
            try:
                made = compute(*parts)
            except RuntimeError:
                shapes = listing(str(tuple(part.shape)) for part in parts)
                raise CheckpointError(f"the parts of {stem:.80} have shapes {shapes}, which make no weight") from None
            kept[re.sub(r"(^|\.)parametrizations\.", r"\1", stem)] = made
        if stems:
            notes.append(f"{how} ({len(stems)} tensor{'s' * (len(stems) > 1)})")
    return kept, notes


def _normed(length: Tensor, direction: Tensor) -> Tensor:
    """``g v / |v|``, the norm over the axes along which there is one length (Salimans and Kingma 2016)."""
    if length.ndim != direction.ndim:
        axes = list(range(direction.ndim))
    else:
        axes = [axis for axis, size in enumerate(length.shape) if size == 1]
    norm: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return direction * (length / norm)


def _spectral(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """``W / (u' W v)``: the weight by its greatest singular value (Miyato et al. 2018)."""
    return weight / torch.dot(u.flatten(), weight.flatten(1) @ v.flatten())


WRITINGS: tuple[tuple[tuple[str, ...], Callable[..., Tensor], str], ...] = (
    (("_orig", "_mask"), torch.mul, "masks of pruning were applied"),
    (("_orig", "_u", "_v"), _spectral, "spectral norm was computed"),
    ((".original", ".0._u", ".0._v"), _spectral, "spectral norm was computed"),
    (("_g", "_v"), _normed, "weight norm was computed"),
    ((".original0", ".original1"), _normed, "weight norm was computed"),
)
"""Suffixes of the tensors that torch keeps in place of one weight, what it makes of them, and what to say."""
