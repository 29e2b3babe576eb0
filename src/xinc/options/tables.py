"""The tables: what can be set of each family of networks, of a fit, of the findings, of a signal, of a check.

Light on purpose, so that ``--help`` can list all of it at once; the tests hold the tables to the code's own defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from xinc.errors import FindingError, ModelError, RunError, SignalError, StudyError
from xinc.options.schema import Option, Schema, document, schema

SEEDS, FINDING_SEEDS = 2**63 - 1, 2**32 - 1
"""The greatest seed of a fit (torch takes 64 bits), and of the findings (scikit-learn takes 32)."""
WIDEST = 2**20

ACTIVATION_NAMES = (
    *("gelu", "relu", "silu", "leaky_relu", "leaky_relu_0.1", "leaky_relu_0.2", "relu6", "softplus", "hardswish"),
    *("tanh", "sin", "elu", "mish"),
)
OUTPUT_NAMES = ("tanh_unit", "sigmoid", "identity", "shifted", "half")
LAYOUT_NAMES = tuple(
    f"{axes}_{order}" for axes in ("longest", "axes", "centres", "unit", "height", "width") for order in ("yx", "xy")
)
FINAL_NAMES = ("linear", "sine")
ENCODING_NAMES = ("float64", "float32", "interleaved")
SCHEDULE_NAMES = ("constant", "cosine", "cosine_0.1")
RULE_NAMES = ("strongest", "typical", "different", "random")

WIDTH = Option("width", "whole", "features of each hidden layer", 1, 16384)
LAYERS = Option("layers", "whole", "linear layers, the last included", 2, 256)
FREQUENCIES = Option(
    "frequencies", "whole", "random frequencies; as many as the width if not given", 1, 2**18, optional=True
)
SCALE = Option("scale", "number", "standard deviation of the random frequencies", 0, 1e6)
W0_FIRST = Option("w0_first", "number", "frequency factor of the first sine", 0, 1e6, open=True)
W0 = Option("w0", "number", "frequency factor of the other sines", 0, 1e6, open=True)
FC_DIM = Option("fc_dim", "whole", "channels before the first block; later ones follow from it", 1, 16384)
STRIDES = Option("strides", "whole", "enlargement of each block", 1, 64, counts=(1, 12))
KERNELS = Option("kernels", "whole", "kernel size of each block, odd", 1, 63, counts=(1, 12), optional=True)
REDUCTION = Option("reduction", "number", "each block has so many times fewer channels", 0.1, 100)
FLOOR = Option("floor", "whole", "the least channels of a block", 1, 16384)
ACTIVATION = Option("activation", "word", "between layers", words=ACTIVATION_NAMES)
OUTPUT = Option("output", "word", "what makes colours of the last layer's values", words=OUTPUT_NAMES)
BASE = Option("base", "number", "ratio of neighbouring frequencies of the time embedding", 0, 100, open=True)
LEVELS = Option("levels", "whole", "frequencies of the time embedding", 1, 512)
ENCODING = Option("encoding", "word", "how the time embedding is computed", words=ENCODING_NAMES)
CHANNELS = Option("channels", "whole", "channels of a frame's embedding", 1, 16384)
LAYOUT = Option("layout", "word", "how pixels become coordinates", words=LAYOUT_NAMES)
FINAL = Option("final", "word", "what the last layer is: linear, or a sine as the others", words=FINAL_NAMES)
PARAMS = Option("params", "number", "wanted number of parameters, in place of a width", 1, 1e12)
BPP = Option("bpp", "number", "wanted bits a pixel at 8 bits a parameter, in place of a width", 0, 1e9, open=True)

_GIVEN = {
    "size": "give --size HxW",
    "out": "give --out DIR",
    "device": "give --device cpu or --device cuda",
    "seed": "give --seed",
    "frame": "give --frame",
    "frames": "give --frames",
    "model": "give --model",
    "name": "give --model",
    "method": "give --method",
    "annotations": "give --annotations PATH",
    "clip": "give the signal as an argument",
    "recipe": "give epochs, learning_rate, batch, parts, schedule or betas by name",
    "progress": "a bar is shown where there is a terminal",
    "checkpoint_every": "give it in Python, xinc.fit(checkpoint_every=20)",
}
"""Names that are no options of a network although functions take them, and how they are given."""

_FAMILIES: dict[str, dict[Option, Any]] = {
    "ffn": {WIDTH: 104, FREQUENCIES: None, LAYERS: 3, SCALE: 10.0},
    "siren": {WIDTH: 128, LAYERS: 4, W0_FIRST: 30.0, W0: 30.0},
    "nerv": {
        FC_DIM: 37,
        STRIDES: (4, 2, 2),
        KERNELS: None,
        REDUCTION: 1.2,
        FLOOR: 6,
        ACTIVATION: "gelu",
        OUTPUT: "tanh_unit",
        BASE: 1.25,
        LEVELS: 80,
        ENCODING: "float64",
    },
    "hnerv": {
        FC_DIM: 37,
        STRIDES: (4, 4, 2, 2),
        KERNELS: None,
        CHANNELS: 16,
        REDUCTION: 1.2,
        FLOOR: 12,
        ACTIVATION: "gelu",
        OUTPUT: "tanh_unit",
    },
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {name: {option.name: value for option, value in options.items()} for name, options in _FAMILIES.items()}
)
"""Defaults of each family's options."""
NETWORKS: Mapping[str, Schema] = MappingProxyType(
    {name: schema(name, (*options, PARAMS, BPP), ModelError, **_GIVEN) for name, options in _FAMILIES.items()}
)
"""What can be set when a network of a family is made."""

SIZE = Option("size", "whole", "height and width of a frame", 1, WIDEST, counts=(2, 2))
SHAPE = Option("input-shape", "whole", "of an input of a network", 1, 2**31, counts=(1, 16))
_FRAME = (
    SIZE,
    Option("frames", "whole", "frames that the network represents", 1, 100_000),
)
GRID = Option("grid", "whole", "rows and columns that the first layer makes of a place", 1, WIDEST, counts=(2, 2))
_DECODER = (
    Option("widths", "whole", "channels before the first block and after each", 1, WIDEST, counts=(2, 17)),
    STRIDES,
    Option("kernels", "whole", "kernel size of each block, odd", 1, 63, counts=(1, 12)),
    GRID,
    Option("embedding", "whole", "channels, height, width of a frame's embedding", 1, WIDEST, counts=(3, 3)),
    Option("head_kernel", "whole", "kernel size of the last convolution, odd", 1, 63),
    ACTIVATION,
    OUTPUT,
)
WIDTHS = Option("widths", "whole", "features of each hidden layer where they differ", 1, WIDEST, counts=(0, 255))
_WIDE = Option("width", "whole", "features of each hidden layer", 1, WIDEST)
_FIELDS: dict[str, tuple[Option, ...]] = {
    "ffn": (replace(FREQUENCIES, optional=False), _WIDE, LAYERS, SCALE, OUTPUT, LAYOUT, WIDTHS),
    "siren": (_WIDE, LAYERS, W0_FIRST, W0, OUTPUT, LAYOUT, FINAL, WIDTHS),
    "nerv": (
        *_DECODER,
        BASE,
        LEVELS,
        ENCODING,
        Option("stem", "whole", "widths of hidden layers before the first block", 1, WIDEST, counts=(0, 8)),
    ),
    "hnerv": _DECODER,
}
_BY_SHAPES = {
    option.name: "the shapes of the weights tell it"
    for options in _FIELDS.values()
    for option in options
    if option not in (OUTPUT, LAYOUT, W0_FIRST, W0, FINAL, ACTIVATION, BASE, ENCODING, GRID)
}
CONFIGS: Mapping[str, Schema] = MappingProxyType(
    {
        name: document(f"the description of a network ({name})", (*_FRAME, *options), ModelError)
        for name, options in _FIELDS.items()
    }
)
"""What describes a network that is there: fields of configurations, and so of a run's ``config.json``."""
_OPEN: dict[str, tuple[Option, ...]] = {
    "ffn": (OUTPUT, LAYOUT),
    "siren": (W0_FIRST, W0, FINAL, OUTPUT, LAYOUT),
    "nerv": (ACTIVATION, OUTPUT, BASE, ENCODING, GRID),
    "hnerv": (ACTIVATION, OUTPUT, GRID),
}
IMPORTS: Mapping[str, Schema] = MappingProxyType(
    {
        name: schema(name, options, ModelError, size="give --size HxW", frames="give --count", **_BY_SHAPES)
        for name, options in _OPEN.items()
    }
)
"""What can be said of somebody else's weights with ``xinc import --set``: what their shapes leave open."""

RECIPE = schema(
    "a fit",
    (
        Option("epochs", "whole", "passes over the frames, or over the pixels of one frame", 1, 10**7),
        Option("learning_rate", "number", "Adam's, before the schedule", 0, 1e3, open=True),
        Option("batch", "whole", "frames, or pixels of one frame, in a step", 1, 10**9, optional=True),
        Option("parts", "whole", "steps of an epoch where no batch is given", 1, 10**6),
        Option("schedule", "word", "how the learning rate changes", words=SCHEDULE_NAMES),
        Option("betas", "number", "Adam's averaging factors, below 1", 0, 0.999999, counts=(2, 2)),
    ),
    ModelError,
)
"""How a network is fitted."""

FIT = schema(
    "a fit",
    (
        Option("seed", "whole", "of the initial weights and the order of frames", 0, SEEDS),
        Option("frame", "whole", "which frame a network of one frame represents", -(10**9), 10**9, optional=True),
        Option("checkpoint_every", "number", "seconds between checkpoints", 0, 1e9),
        Option("psnr", "number", "dB at which a fit is good enough", 0, 100, open=True, optional=True),
        Option("minutes", "number", "after which a fit ends", 0, 1e6, open=True, optional=True),
    ),
    ModelError,
)
"""What else decides a fit."""

FINDINGS = schema(
    "an analysis",
    (
        Option("clusters", "whole", "clusters of colour and of texture, and cells of the grid", 1, 4096),
        Option("restarts", "whole", "restarts of k-means", 1, 1000),
        Option("areas", "number", "thresholds of Fig. 7, shares of a map", 0, 1, open=True, counts=(1, 16)),
        Option("points", "whole", "points of resampled curves", 2, WIDEST),
        Option("rule", "word", "which neurons a gallery shows", words=RULE_NAMES),
        Option("count", "whole", "neurons that a gallery shows", 1, 1000),
        Option("shifts", "whole", "displaced copies of each grouping to compare with", 1, 10_000),
        Option("shuffles", "whole", "copies of each grouping with pixels shuffled", 1, 10_000),
        Option("sample", "whole", "neurons of that comparison", 1, 10**9),
        Option("embedded", "whole", "neurons of a layer that UMAP lays out, at most", 4, 10**9),
        Option("seed", "whole", "of clusters, samples and displacements", 0, FINDING_SEEDS),
    ),
    FindingError,
)
"""Settings of the findings."""
SET_FINDINGS = schema(
    "an analysis", (o for o in FINDINGS.options.values() if o.name != "seed"), FindingError, seed="give --seed"
)
"""Those that ``--set`` takes."""

LABEL_ENCODINGS = (
    *("auto", "cityscapes", "cityscapes-vps", "vipseg", "coco", "objects", "instances", "classes", "sceneparsing"),
    *("camvid", "ade20k"),
)
LABELS = Option("encoding", "word", "what the numbers of label images mean", words=LABEL_ENCODINGS)
SOURCE = schema(
    "a signal",
    (
        Option("every", "whole", "take every n-th frame", 1, 10**9),
        Option("start", "whole", "first frame, from 0", 0, 10**12),
        Option("count", "whole", "number of frames", 1, 10**9, optional=True),
        LABELS,
    ),
    SignalError,
)
"""Which frames of a signal are taken."""

OF_CELLS = (
    Option("models", "word", "families, or models that the study describes", counts=(1, 1000)),
    Option("seeds", "whole", "of the fits", 0, SEEDS, counts=(1, 100_000)),
    SIZE,
    *(replace(SOURCE.options[name], optional=False) for name in ("every", "start", "count")),
    Option("annotations", "word", "label image or folder of them"),
    LABELS,
    *(replace(RECIPE.options[name], optional=False) for name in ("epochs", "learning_rate", "batch")),
    Option("frame", "whole", "which frame a network of one frame represents", 0, 10**9),
    Option("methods", "word", "definitions of the maps", counts=(1, 100)),
    Option("layers", "word", "layers by name", counts=(1, 1000)),
    Option("frames", "whole", "frames that are analysed", 0, 99_999, counts=(1, 100_000)),
    Option("category", "text", "a label for tables"),
    Option("dataset", "text", "a label for tables"),
    Option("findings", "word", "findings beside those that the paper's claims need", counts=(1, 100)),
    Option("settings", "table", "of the findings"),
)
STUDY = document(
    "[study]",
    (
        *OF_CELLS,
        Option("retries", "whole", "how often a cell that failed is tried again", 0, 100),
        Option("draws", "whole", "resamples of each statistic", 1, 100_000),
    ),
    StudyError,
)
STUDY_SIGNAL = document(
    "[[signal]]",
    (Option("path", "word", "file, folder or pattern"), Option("name", "word", "of its folder"), *OF_CELLS),
    StudyError,
)
"""What may stand in a study file; ``settings`` is a table of :data:`FINDINGS`."""

RUN = document(
    "the description of a run",
    (
        Option("format", "whole", "of the folder", 1, 10**6),
        Option("family", "word", "of the network"),
        Option("config", "table", "the network"),
        Option("parameters", "whole", "of the network", 0, 1e15),
        Option("bits_per_pixel", "number", "of the network", 0, 1e15),
        Option("settings", "table", "how it came about"),
        Option("files", "table", "short names of what the other files hold"),
    ),
    RunError,
)
"""What stands in a run's ``config.json``; ``config`` is of :data:`CONFIGS`."""
CLIP = document(
    "the description of a clip",
    (
        Option("format", "whole", "of the folder", 1, 10**6),
        Option("source", "text", "where the frames came from"),
        SIZE,
        Option("fps", "number", "frames a second", 0, 1e6, open=True, optional=True),
        Option("names", "text", "of the frames", counts=(1, 100_000)),
        Option("frames", "word", "how they are stored", words=("png", "safetensors")),
        Option("annotated", "whole", "frames with label images", 0, 10**9, counts=(0, 100_000), optional=True),
        Option("segments", "table", "what labels mean", counts=(0, 2**24), optional=True),
    ),
    SignalError,
)
"""What stands in a clip's ``clip.json``."""
SEGMENT = document(
    "a segment",
    (
        Option("id", "whole", "its value in label images", 0, 2**31 - 1),
        Option("category", "text", "name of its class"),
        Option("kind", "word", "what it is", words=("thing", "stuff", "other")),
        Option("instance", "whole", "number within its category", -1, 2**31 - 1),
    ),
    SignalError,
)
"""A row of a clip's segments."""

CHECKS = schema(
    "this command",
    (
        Option("neurons", "whole", "neurons of each layer that are ablated one by one", 1, 10**9),
        Option("fraction", "number", "share of the neurons that goes", 0, 1),
        Option("finetune", "whole", "steps of training afterwards", 0, 10**7),
        Option("seed", "whole", "of samples, clusters and random choices", 0, FINDING_SEEDS),
        Option("frame", "whole", "which frame", 0, 10**9),
        Option("check", "whole", "frames that are compared with the signal", 1, 10**9),
        Option("psnr_loss", "number", "dB that the picture may lose", 0, 100),
        Option("port", "whole", "where a server listens", 1, 65_535),
        Option("workers", "whole", "processes on this machine", 1, 1024, optional=True),
    ),
    FindingError,
)
"""Numbers that commands take as options of their own."""


CODES = schema(
    "a coded network", (Option("bits", "whole", "bits of a weight before entropy coding", 2, 8),), ModelError
)
"""How a network is coded into a file."""


def settable(family: str | None = None, findings: bool = False) -> Schema:
    """What ``--set`` takes where a network is fitted.

    Args:
        family: None for the options of all families, where the signal decides which is fitted.
        findings: whether settings of the findings may stand among them.
    """
    families = NETWORKS.values() if family is None else (NETWORKS[family],)
    known = {name: option for one in families for name, option in one.options.items()} | dict(RECIPE.options)
    if findings:
        known |= SET_FINDINGS.options
    return Schema("a network" if family is None else family, known, ModelError, _GIVEN)
