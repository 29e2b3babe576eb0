"""Weights in the names of our families whose shapes or values are no network's: read well, and of no use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from hostile import Case

Weights = dict[str, Tensor]
SHAPES = ((), (0,), (4,), (4, 6), (0, 6, 1, 1), (4, 0, 1, 1), (4, 6, 0, 0), (4, 6, 2, 2), (1, 1, 1, 1, 1))
STEM, HEAD, BLOCK = "decoder.0.conv.downconv", "head_layer", "decoder.%d.conv.upconv.0"


def decoder(inputs: int, outputs: int, blocks: int, stride: int, width: int = 1) -> Weights:
    """A decoder of few values that enlarges by ``stride`` so many times."""
    weights = {f"{STEM}.weight": torch.ones(outputs, inputs, 1, 1), f"{STEM}.bias": torch.ones(outputs)}
    for i in range(1, blocks + 1):
        weights[f"{BLOCK % i}.weight"] = torch.ones(width * stride**2, width, 1, 1)
        weights[f"{BLOCK % i}.bias"] = torch.ones(width * stride**2)
    return weights | {f"{HEAD}.weight": torch.ones(3, width, 3, 3), f"{HEAD}.bias": torch.ones(3)}


def chain(*widths: int) -> Weights:
    found: Weights = {}
    for i, (a, b) in enumerate(pairwise(widths)):
        found |= {f"net.{i}.linear.weight": torch.ones(b, a), f"net.{i}.linear.bias": torch.ones(b)}
    return found


def fourier(*widths: int) -> Weights:
    return {"positional_encoding.B": torch.ones(4, 2), **chain(*widths)}


def reshaped(weights: Weights, name: str, *shape: int) -> Weights:
    return {**weights, name: torch.ones(shape)}


def of_families() -> Iterator[tuple[str, str, Weights]]:
    """Family, what is wrong, weights."""
    good = {"nerv": decoder(6, 4, 2, 2), "hnerv": {**decoder(6, 4, 2, 2), "embedding": torch.ones(4, 6, 2, 2)}}
    for blocks, stride in ((10, 8), (12, 64), (5, 16)):
        yield "nerv", f"{blocks} blocks that enlarge {stride} times", decoder(6, 1, blocks, stride)
    yield "hnerv", "10 blocks that enlarge 8 times", {**decoder(6, 1, 10, 8), "embedding": torch.ones(4, 6, 1, 1)}
    for name, weights in good.items():
        for part in (f"{STEM}.weight", f"{BLOCK % 1}.weight", f"{HEAD}.weight", f"{BLOCK % 2}.weight"):
            for shape in (
                (),
                (0,),
                (4,),
                (4, 6),
                (0, 6, 1, 1),
                (4, 0, 1, 1),
                (4, 6, 0, 0),
                (4, 6, 2, 2),
                (1, 1, 1, 1, 1),
            ):
                yield name, f"{part} of shape {shape}", reshaped(weights, part, *shape)
        yield name, "odd time or channels", {**weights, f"{STEM}.weight": torch.ones(4, 7, 1, 1)}
    for shape in ((), (4,), (4, 6), (0, 6, 2, 2), (4, 6, 0, 2), (4, 7, 2, 2), (10**6, 6, 1, 1)):
        yield "hnerv", f"embeddings of shape {shape}", reshaped(good["hnerv"], "embedding", *shape)
    yield "hnerv", "an encoder of nothing", {**decoder(6, 4, 2, 2), "encoder.stem.0.weight": torch.ones(3)}
    for name, weights in (("ffn", fourier(8, 6, 3)), ("siren", chain(2, 6, 3))):
        for i in (0, 1):
            for shape in ((), (6,), (0, 0), (6, 0), (0, 8), (6, 8, 1), (5, 5)):
                yield name, f"layer {i} of shape {shape}", reshaped(weights, f"net.{i}.linear.weight", *shape)
        yield name, "a bias too short", reshaped(weights, "net.0.linear.bias", 2)
        yield name, "one layer", {k: v for k, v in weights.items() if ".1." not in k}
        for value in (float("nan"), float("inf"), 1e38):
            yield name, f"values of {value}", {k: torch.full_like(v, value) for k, v in weights.items()}
        yield name, "complex values", {k: v.to(torch.complex64) for k, v in weights.items()}
        yield name, "whole numbers", {k: v.to(torch.int8) for k, v in weights.items()}
    yield "ffn", "three thousand layers", fourier(8, *[2] * 3000, 3)
    yield "siren", "two thousand layers", chain(2, *[2] * 2000, 3)
    for shape in ((), (4,), (0, 2), (4, 3), (4, 2, 2)):
        yield "ffn", f"frequencies of shape {shape}", reshaped(fourier(8, 6, 3), "positional_encoding.B", *shape)
    for suffixes in (("_g", "_v"), ("_orig", "_mask"), (".original0", ".original1")):
        parts = {f"net.0.linear.weight{end}": torch.ones(3 + i, 2 + i) for i, end in enumerate(suffixes)}
        yield "siren", f"parts {suffixes} of other shapes", {**parts, **chain(2, 6, 3)}
    parts = {f"net.0.linear.weight{end}": torch.ones(3, 2 + i) for i, end in enumerate(("_orig", "_u", "_v"))}
    yield "siren", "spectral parts of other shapes", {**parts, **chain(2, 6, 3)}
    yield "siren", "a name of dots", {"." * 200: torch.ones(2, 2), **chain(2, 6, 3)}
    far = {f"net.{10**99}.linear.weight": torch.ones(2, 2)}
    yield "siren", "a layer of number 10^99", {**far, **chain(2, 6, 3)}


def kept(weights: Weights) -> Callable[[Path], object]:
    return lambda folder: save_file({k: v.clone() for k, v in weights.items()}, folder / "m.safetensors")


def cases() -> Iterator[Case]:
    for family, what, weights in of_families():
        words = ("import", "{at}/m.safetensors", "--as", family, "--signal", "{base}/frames", "--out", "{at}/run")
        yield Case(f"{family}, import: {what}", words, kept(weights), "either")
        yield Case(f"{family}, inspect: {what}", ("inspect", "{at}/m.safetensors"), kept(weights), "either")
