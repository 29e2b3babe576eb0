"""Each kernel beside its definition in NumPy or torch: compiled, plain, and with mistakes, which must be noticed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import plain_kernels
from oracle import reference_maps
from tiny_networks import decoder
from xinc.canvas.exact import tail
from xinc.canvas.exact.bands import Courses
from xinc.canvas.exact.jacobian import Space
from xinc.canvas.network.activations import named
from xinc.canvas.network.chain import read_plan
from xinc.canvas.network.plan import Plan
from xinc.canvas.paper.box_filters import Window, path_of
from xinc.canvas.paper.chain import buffers
from xinc.canvas.recording.recorder import record
from xinc.canvas.reductions.fold import Accumulators, Folded, Pass, dense_fold
from xinc.canvas.reductions.packing import Groupings, Packing, flat
from xinc.canvas.reductions.stream import HeldMaps
from xinc.canvas.removal import RemovalStream

Kernels = SimpleNamespace
FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
    "tanh_unit": lambda x: torch.tanh(x) / 2 + 0.5,
    "sigmoid": torch.sigmoid,
    "sin": lambda x: torch.sin(3 * x),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "affine": lambda x: 0.5 * x + 2,
    "elu": F.elu,
}
PARAMETERS = {"sin": (3.0, 0.0), "leaky_relu": (0.2, 0.0), "affine": (0.5, 2.0)}


ANOTHER = HeldMaps(torch.zeros(1, 1, 1), 1, (1, 1))
"""Stands for the other frame's maps, which kernels never ask."""


def activations(k: Kernels) -> None:
    """Every activation over small values and over all, to 4e-6, against torch in double precision."""
    assert k.activate.CODES.keys() == FUNCTIONS.keys()
    for name, code in k.activate.CODES.items():
        for x in (np.linspace(-1.99, 1.99, 101), np.linspace(-12, 12, 203)):
            row = x.astype(np.float32)
            parameter = np.array([*PARAMETERS.get(name, (0.0, 0.0)), 0.0], np.float32)
            k.activate.activate(row, len(row), code, parameter, np.zeros(len(row), np.float32))
            wanted = FUNCTIONS[name](torch.from_numpy(x.astype(np.float32)).double()).numpy()
            np.testing.assert_allclose(row, wanted, rtol=4e-6, atol=4e-6, err_msg=name)


def tiny_plan(kernel: int, activation: Callable[[torch.Tensor], torch.Tensor]) -> Plan:
    upscales = ((2, 2), (2, 2)) if kernel == 3 else ((2, 2), (3, 1))
    module, values, _ = decoder(
        (3, 4), widths=(2, 1, 1), kernels=((kernel, kernel),) * 3, upscales=upscales, activation=activation
    )
    with torch.no_grad():
        return read_plan(record(module.float(), values.float()))


def labels_of(size: tuple[int, int]) -> Groupings:
    rng = np.random.default_rng(0)
    return Groupings.of({"a": rng.integers(-1, 3, size), "b": rng.integers(0, 2, size)})


def _gap(size: torch.Tensor) -> float:
    """A threshold in the widest gap of the middle values, so that rounding moves none across."""
    values = np.unique(size.numpy())
    middle = values[len(values) // 4 : 3 * len(values) // 4 + 2]
    widest = int(np.argmax(np.diff(middle)))
    return float(middle[widest : widest + 2].mean())


def wanted_of(maps: torch.Tensor) -> Pass:
    """Everything that one pass can collect of one frame."""
    size = maps.abs()
    coarse = int(size.max().numpy().view(np.uint32)) >> 16
    group = (np.arange(len(maps)) % 2).astype(np.int32)
    middle = (_gap(size),)
    return Pass(
        sums=True, extremes=True, regions=labels_of(tuple(maps.shape[1:])), histogram=True, counts=True, top=2,
        refined=(coarse,), limit=(1.07 * size.mean(0)).numpy(), thresholds=middle, group_heat=group,
        group_over=(group, middle),
    )  # fmt: skip


def same(found: Folded, maps: torch.Tensor, wanted: Pass) -> None:
    """What was folded, beside the dense twins of the same maps."""
    into = Folded.empty(len(maps), tuple(maps.shape[1:]), wanted)
    dense_fold(maps, range(len(maps)), wanted, into)
    for name, array in into.items():
        if name == "leaders":
            continue  # of equal values either may lead
        if name in ("histogram", "counts", "fine"):
            np.testing.assert_allclose(found[name].sum(), array.sum(), rtol=1e-5, err_msg=name)
            centre = [np.average(np.arange(a.size), weights=a.ravel()) for a in (found[name], array)]
            np.testing.assert_allclose(*centre, rtol=5e-2, err_msg=name)
            continue
        np.testing.assert_allclose(found[name], array, rtol=5e-5, atol=1e-5 * np.abs(array).max(), err_msg=name)


def convolutions(k: Kernels) -> None:
    """Maps, and every fold of them, against the oracle that is written from the paper."""
    for kernel, activation in ((3, F.gelu), (5, torch.sigmoid), (1, torch.tanh), (7, F.silu)):
        plan = tiny_plan(kernel, activation)
        for position, stage in enumerate(plan.stages):
            some = range(stage.neurons)
            maps = reference_maps(plan, stage.name, some)
            path = path_of(plan, position, official=False)
            window = path.window(Window(0, plan.size[0], 0, plan.size[1]))
            packing = Packing(((0, plan.size[0]),), path.phases, plan.size[1], (window.stride,))
            jobs = np.array([(n // stage.outputs, n % stage.outputs, i) for i, n in enumerate(some)], np.int64)
            for wanted in (wanted_of(maps), Pass(sums=True)):
                shared = Accumulators(len(some), packing, wanted)
                fold = shared.worker()
                k.convolution.stream_convolution(window.chain, jobs, *buffers([window]), 0, fold)
                same(shared.finish([fold]), maps, wanted)


def frames(k: Kernels) -> None:
    """Two frames beside each other, convolution and linear."""
    plan = tiny_plan(3, F.gelu)
    path = path_of(plan, 1, official=False)
    turned = path_of(plan, 1, official=False)
    turned.values[:] = path.values[:, ::-1, ::-1]
    whole = Window(0, plan.size[0], 0, plan.size[1])
    now, then = path.window(whole), turned.window(whole)
    packing = Packing(((0, plan.size[0]),), path.phases, plan.size[1], (now.stride,))
    some = plan.stages[1].neurons
    jobs = np.array([(n // plan.stages[1].outputs, n % plan.stages[1].outputs, n) for n in range(some)], np.int64)
    maps = []
    for window in (now, then):
        dense = np.zeros((some, packing.origins[-1]), np.float32)
        k.convolution.stream_convolution(window.chain, jobs, *buffers([window]), 0, Accumulators.nothing(dense))
        maps.append(np.abs(packing.unpack(dense)))
    group = (np.arange(some) % 2).astype(np.int32)
    moved = np.abs(maps[0] - maps[1])
    wanted = Pass(ANOTHER, change=True, group_change=group, sums=True)
    shared = Accumulators(some, packing, wanted)
    fold = shared.worker()
    earlier = Accumulators.nothing(fold.earlier[None])
    k.convolution.stream_convolution_pair(now.chain, then.chain, jobs, *buffers([now]), 0, fold, earlier)
    found = shared.finish([fold])
    np.testing.assert_allclose(found["change"], moved.sum(0), rtol=1e-5)
    np.testing.assert_allclose(found["group_change"][1], moved[1::2].sum(0), rtol=1e-5)
    np.testing.assert_allclose(found["heatmap"], maps[0].sum(0), rtol=1e-5)


def linears(k: Kernels) -> None:
    """``scale z + shift``, rectified or not, of one frame and of two."""
    rng = np.random.default_rng(0)
    now, then = rng.normal(size=(2, 5, 12)).astype(np.float32)
    scale, shift = rng.normal(size=5).astype(np.float32), np.float32(0.3)
    jobs = np.stack([np.arange(5), np.arange(5)], 1)
    for rectify in (False, True):
        maps, before = (scale[:, None] * z + shift for z in (now, then))
        maps, before = (np.maximum(m, 0) if rectify else m for m in (maps, before))
        planes = torch.from_numpy(maps.reshape(5, 3, 4))
        wanted = wanted_of(planes)
        shared = Accumulators(5, flat((3, 4)), wanted)
        fold = shared.worker()
        k.linear.stream_linear(now, scale, shift, rectify, jobs, 7, np.zeros(7, np.float32), fold)
        same(shared.finish([fold]), planes, wanted)
        shared = Accumulators(5, flat((3, 4)), Pass(ANOTHER, change=True))
        fold = shared.worker()
        k.linear.stream_linear_pair(now, then, scale, shift, rectify, jobs, 7, np.zeros(7, np.float32), fold)
        moved = np.abs(np.abs(maps) - np.abs(before)).sum(0).reshape(3, 4)
        np.testing.assert_allclose(shared.finish([fold])["change"], moved, rtol=1e-5, atol=1e-6)


def transports(k: Kernels) -> None:
    """Exact maps of kernels of three sizes, against products with vectors in double precision."""
    for kernel in (3, 5, 1):
        plan = tiny_plan(kernel, F.gelu)
        for position, stage in enumerate(plan.stages):
            courses = Courses(plan, position)
            (band,) = courses.bands
            course = courses.course(band, Space())
            outputs = range(0, stage.outputs, 1 + stage.outputs // 2)
            inputs = np.arange(stage.inputs)
            keys = [[i * len(outputs) + n for i in range(stage.inputs)] for n in range(len(outputs))]
            maps = tail.TailStream(plan, position, "tangent").maps(
                [i * stage.outputs + o for i in range(stage.inputs) for o in outputs]
            )
            wanted = wanted_of(maps)
            shared = Accumulators(len(maps), courses.packing(band), wanted)
            fold = shared.worker()
            for o, own in zip(outputs, keys, strict=True):
                k.transport.stream_transport(course, o, inputs, np.array(own), *courses.scratch(), fold)
            same(shared.finish([fold]), maps, wanted)


def windows(k: Kernels) -> None:
    """Moving windows between a table and a matrix, by NumPy's indices."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2, 3, 2, 3, 4, 5)).astype(np.float32)
    slope = rng.normal(size=(2, 8, 9)).astype(np.float32)
    order = np.array([(y, x, c) for y in range(2) for x in range(3) for c in range(2)])[::-1].copy()
    rows, columns, at_y, at_x = np.array([0, 2, 3]), np.array([1, 4]), np.array([0, 3, 5]), np.array([2, 6])
    out = np.zeros((len(order), 3 * 6), np.float32)
    k.windows.gather_class(table, slope, order, rows, columns, at_y, at_x, np.zeros(2, np.float32), out)
    for line, (y, x, c) in zip(out, order, strict=True):
        wanted = table[y, x, c][:, rows][:, :, columns] * slope[c][at_y + y][:, at_x + x]
        np.testing.assert_allclose(line, wanted.ravel(), rtol=1e-6)
    back = np.zeros((len(order), 3, 4, 5), np.float32)
    k.windows.scatter_class(out, rows, columns, back)
    np.testing.assert_array_equal(back[:, :, rows][..., columns].reshape(len(order), -1), out)
    assert np.count_nonzero(back) == out.size


def combs(k: Kernels) -> None:
    """Windows of planes times blocks of a table, against a sum over all places."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(3, 2, 4, 2, 6)).astype(np.float32)  # columns, rows, pixels, colours, window 2 x 3
    planes = rng.normal(size=(5, 7, 9)).astype(np.float32)
    columns, first_y, first_x = np.array([2, 0, 1, 1, 2]), np.array([0, 4]), np.array([0, 2, 5, 6])
    out = np.zeros((5, 2, 2, 4), np.float32)
    k.windows.comb_terms(table, planes, columns, first_y, first_x, np.zeros((2, 3), np.float32), out)
    for n, c in enumerate(columns):
        for i, y in enumerate(first_y):
            for j, x in enumerate(first_x):
                wanted = table[c, i, j] @ planes[n, y : y + 2, x : x + 3].ravel()
                np.testing.assert_allclose(out[n, :, i, j], wanted, rtol=1e-5, atol=1e-6)


def secants(k: Kernels) -> None:
    """Small and large changes of every activation, against differences in double precision."""
    rng = np.random.default_rng(0)
    for name, code in k.activate.CODES.items():
        parameters = PARAMETERS.get(name, (0.0, 0.0))
        function = FUNCTIONS[name]
        at = rng.normal(size=200).astype(np.float32)
        given = tuple(p for p in parameters if p)
        terms = tail.change_terms(named(name, *given), torch.from_numpy(at)).numpy()
        for scale in (1e-4, 0.05, 1.0):
            change = (scale * rng.normal(size=(2, 200))).astype(np.float32)
            out = np.empty_like(change)
            k.activate.secant_rows(at, terms, change, code, np.array([*parameters, 0.0], np.float32), out)
            a, d = torch.from_numpy(at).double(), torch.from_numpy(change).double()
            wanted = (function(a + d) - function(a)).numpy()
            np.testing.assert_allclose(out, wanted, rtol=1e-4, atol=1e-5 * scale, err_msg=f"{name} {scale}")


def removals(k: Kernels) -> None:
    """Ablation maps of every kernel of chains, against networks run in double precision."""
    for kernel, activation in ((3, F.gelu), (5, torch.sigmoid), (1, torch.relu)):
        module, values, double = decoder(
            (3, 4), widths=(2, 2, 1), kernels=((kernel, kernel),) * 3, upscales=((2, 2), (3, 1)), activation=activation
        )
        with torch.no_grad():
            plan = read_plan(record(module.float(), values.float()))
        for position, stage in enumerate(plan.stages):
            maps = tail.TailStream(double, position, "secant").maps(range(stage.neurons)).float()
            stream = RemovalStream(plan, position)
            jobs = [(n // stage.outputs, n % stage.outputs, n) for n in range(stage.neurons)]
            wanted = wanted_of(maps)
            shared = Accumulators(len(maps), flat(plan.size), wanted)
            fold = shared.worker()
            k.removal.stream_removal(stream.rest, np.array(jobs, np.int64), *stream._buffers(), fold)
            same(shared.finish([fold]), maps, wanted)


CHECKS = {
    check.__name__: check
    for check in (activations, convolutions, frames, linears, transports, windows, combs, secants, removals)
}

MISTAKES = [
    ("activate", "np.float32(0.0001110204551)", "np.float32(0.0001210204551)", "activations"),  # of a small GELU
    ("activate", "np.float32(0.06923295773)", "np.float32(0.06933295773)", "activations"),  # of any GELU
    ("activate", "np.float32(0.1368085711)", "np.float32(0.1368185711)", "activations"),  # of tanh
    ("activate", "np.float32(0.044715)", "np.float32(0.044815)", "activations"),
    ("activate", "parameter[0] * row[x] + parameter[1]", "parameter[0] * row[x]", "activations"),
    ("grids", "b2 * b[x + 2]", "b2 * b[x + 1]", "convolutions"),
    ("grids", "(shift + a0 * a[x]", "(a0 * a[x]", "convolutions"),  # a lost bias
    ("grids", "            piece[x] = shift", "            piece[x] = 0", "convolutions"),
    ("grids", "row[2 * x + 1] = b0", "row[2 * x + 1] = a0", "convolutions"),  # a wrong tap of a box filter
    ("grids", "w1 * b[x] + w2 * c[x]", "w1 * b[x] + w2 * b[x]", "convolutions"),
    ("grids", "    py, px = c.cell[o]", "    py, px = 0, 0", "convolutions"),
    ("convolution", "out[x] = a0 * a[x] + b0 * b[x]", "out[x] = a0 * a[x] + b0 * a[x]", "convolutions"),
    ("convolution", "out[y * stride + x] = 0", "pass", "convolutions"),  # padding that is not zeroed
    ("sums", "v0 + w1 * b0[x]", "v0 + w0 * b0[x]", "convolutions"),
    ("folds", "f.counts[0] -= rows * (stride - width)", "pass", "convolutions"),
    ("folds", "b3[atoms[x + 3]] += abs(v[x + 3])", "b3[atoms[x + 3]] += v[x + 3]", "convolutions"),
    ("folds", "abs(abs(v[x]) - abs(earlier[x]))", "abs(v[x] - earlier[x])", "frames"),
    ("folds", "change[x] += earlier[x]", "change[x] += v[x]", "frames"),
    ("linear", "source[x] * scale + shift", "source[x] * scale", "linears"),
    ("course", "out[to + _L1 + i] = table[green + i] * v", "out[to + _L1 + i] = table[red + i] * v", "transports"),
    ("transport", "(w6 * v[u] + w7 * v[u + _ONE] + w8 * v[u + _TWO])", "(w6 * v[u] + w7 * v[u + _ONE])", "transports"),
    ("transport", "(p * t[i + _L1] + q * t[i + _L4]) + (r", "(p * t[i + _L1] + q * t[i + _L1]) + (r", "transports"),
    ("activate", "if largest < SMALL:", "if largest < 9:", "secants"),
    ("activate", "moved[x] - value[x]", "moved[x]", "secants"),
    ("activate", "w * at[x] + half", "w * at[x]", "secants"),
    ("removal", "r6 * v6 + r7 * v7 + r8 * v8", "r6 * v6 + r7 * v7 + r8 * v7", "removals"),
    ("removal", "-rest.kernels[i, o]", "rest.kernels[i, o]", "removals"),  # added, not removed
    ("windows", "source[columns[j]] * line[j]", "source[columns[j]]", "windows"),
    ("windows", "total += flat[q] * block[q]", "total += flat[q]", "combs"),
    ("windows", "first_y[i] + dy, first_x[j] :", "first_y[i], first_x[j] :", "combs"),
]  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Plain kernels divide and overflow as compiled ones do, but NumPy warns."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("check", CHECKS)
def test_compiled_kernels(check: str) -> None:
    CHECKS[check](plain_kernels.compiled())


@pytest.mark.parametrize("check", CHECKS)
def test_plain_kernels(check: str) -> None:
    with plain_kernels.plain() as kernels, quiet():
        CHECKS[check](kernels)


@pytest.mark.parametrize(("module", "right", "wrong", "check"), MISTAKES)
def test_a_mistake_is_noticed(module: str, right: str, wrong: str, check: str) -> None:
    with plain_kernels.plain(module, right, wrong) as kernels, quiet(), pytest.raises((AssertionError, IndexError)):
        CHECKS[check](kernels)


def test_activations_have_their_functions() -> None:
    """The names that kernels know are those of the network's activations."""
    for name in FUNCTIONS:
        parameters = {"sin": (3.0,), "leaky_relu": (0.2,), "affine": (0.5, 2.0)}.get(name, ())
        x = torch.linspace(-3, 3, 7)
        torch.testing.assert_close(named(name, *parameters)(x), FUNCTIONS[name](x))
