"""What a recording writes down, that it can be replayed as a pure function, and that nothing is left behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import jvp, vmap
from torch.nn.modules import module as module_internals

from foreign_models import one_thread
from xinc.canvas.network.chain import read_plan
from xinc.canvas.recording.recorder import record, unwrapped
from xinc.canvas.recording.recording import Recording, Value
from xinc.errors import TraceError

__all__ = ["one_thread"]  # a fixture


class Calls(nn.Module):
    """A network of one convolution and whatever a test puts behind it."""

    def __init__(self, after: Callable[[Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.after = after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.conv(x))


def image(seed: int = 1) -> Tensor:
    return torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(seed))


def end(recording: Recording) -> Value:
    assert isinstance(recording.output, Value)
    return recording.output


def convolved(recording: Recording) -> Value:
    return next(operation for operation in recording.operations if operation.name == "conv2d").results[0]


def overwritten_view(h: Tensor) -> Tensor:
    flat = h.view(1, 4, -1)
    F.relu_(flat)
    return h * 2


def overwritten_base(h: Tensor) -> Tensor:
    left = h[:, :2]
    h.mul_(3)
    return left + 1


def disjoint_views(h: Tensor) -> Tensor:
    a, b = h.chunk(2, 1)
    a.mul_(torch.sigmoid(b))
    return torch.cat([b, a], 1) + h


def assembled(h: Tensor) -> Tensor:
    out = torch.zeros(1, 4, 5, 6)
    out[:, :2] = h[:, 2:]
    out[:, 2:].copy_(h[:, :2] ** 2)
    out[..., 0] *= 0.5
    return out


def into_another(h: Tensor) -> Tensor:
    out = torch.empty_like(h)
    torch.add(h, 1.5, out=out)
    return out.clamp_(min=-1)


IN_PLACE = {
    "keyword": lambda h: F.relu(h, inplace=True) + 1,
    "positional": lambda h: F.leaky_relu(h, 0.3, True) * h,
    "method": lambda h: h.tanh_().mul_(2),
    "operator": lambda h: h.__imul__(h.sin()).__iadd__(1),
    "module": nn.Sequential(nn.SiLU(inplace=True), nn.ELU(inplace=True)),
    "view": overwritten_view,
    "base": overwritten_base,
    "disjoint": disjoint_views,
    "assembled": assembled,
    "out": into_another,
    "masked": lambda h: h.masked_fill_(h > 0.5, 0.25),
    "transposed": lambda h: h.permute(0, 2, 3, 1).mul_(2).add_(h.permute(0, 2, 3, 1)).sum(-1, keepdim=True),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_operations_in_place_are_replayed_and_differentiated(name: str) -> None:
    module = Calls(IN_PLACE[name])  # type: ignore[arg-type]
    recording = record(module, image())
    start = convolved(recording)
    with torch.no_grad():
        torch.testing.assert_close(recording[start], module.conv(image()))  # not what it was overwritten with
        tail = recording.tail(start, end(recording))
        torch.testing.assert_close(tail(recording[start]), module(image()))
        other = image(2)
        wanted = module(other)
        torch.testing.assert_close(tail(module.conv(other)), wanted)
    tail = recording.widened(torch.float64).tail(start, end(recording))
    at, step = recording[start].double(), torch.randn(3, 1, 4, 5, 6, dtype=torch.float64)
    tangents = vmap(lambda t: jvp(tail, (at,), (t,))[1])(step)
    slopes = torch.stack([(tail(at + 1e-6 * t) - tail(at - 1e-6 * t)) / 2e-6 for t in step])
    torch.testing.assert_close(tangents, slopes, atol=1e-6, rtol=1e-6)


def test_values_are_held_no_longer_than_they_are_used() -> None:
    recording = record(Calls(nn.Sequential(*[nn.Tanh() for _ in range(10)])), image())
    assert recording.tail(convolved(recording), end(recording)).held == 2 * 4 * 5 * 6


def test_calls_are_named_after_the_module_that_makes_them() -> None:
    inner = nn.Sequential(nn.Conv2d(4, 3, 1), nn.Sigmoid())
    recording = record(Calls(inner), image())
    assert [(o.name, o.module) for o in recording.operations] == [
        ("conv2d", "conv"),
        ("conv2d", "after.0"),
        ("sigmoid", "after.1"),
    ]
    assert {recording.names[o.operands[1].index] for o in recording.operations[:2]} == {"conv.weight", "after.0.weight"}


def test_what_is_only_shaped_after_a_value_does_not_depend_on_it() -> None:
    def noisy(h: Tensor) -> Tensor:
        torch.manual_seed(3)  # noise that is the same each time
        return h + torch.randn_like(h) * torch.ones_like(h)

    recording = record(Calls(noisy), image())
    tail = recording.tail(convolved(recording), end(recording))
    torch.testing.assert_close(tail(recording[tail.start]), recording[tail.end])


def test_outputs_keep_their_structure() -> None:
    @dataclass
    class Output:
        image: Tensor
        parts: tuple[Tensor, ...]

    recording = record(Calls(lambda h: {"a": [h, 3], "b": Output(h + 1, (h * 2, h))}), image())
    output = recording.output
    assert isinstance(output["a"][0], Value)
    assert output["a"][1] == 3
    assert set(output["b"]) == {"image", "parts"}
    torch.testing.assert_close(recording[output["b"]["parts"][0]], 2 * recording[output["a"][0]])


def test_numbers_that_leave_torch_are_noted() -> None:
    recording = record(Calls(lambda h: h / h.abs().max().item()), image())
    assert [(name, module) for _, name, module in recording.left] == [("item", "")]


def functional_dropout(h: Tensor) -> Tensor:
    return F.dropout(h, 0.5) + h.mean(1, keepdim=True)


def test_random_operations_are_named() -> None:
    with pytest.raises(TraceError, match="'dropout' gives another result when it is repeated"):
        read_plan(record(Calls(functional_dropout), image()), output=())


def test_dropout_on_a_plain_chain_is_found_too() -> None:
    with pytest.raises(TraceError, match="'dropout' gives another result"):
        read_plan(record(Calls(lambda h: F.dropout(h, 0.5)[:, :3]), image()))


def state_of(module: nn.Module) -> tuple[Any, ...]:
    hooks = (module_internals._global_forward_hooks, module_internals._global_forward_pre_hooks)
    own = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in module.modules()]
    modes = (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        len(torch.overrides._get_current_function_mode_stack()),
    )
    return (*(len(h) for h in hooks), own, modes, sorted(vars(module)))


def failing(h: Tensor) -> Tensor:
    raise ValueError("no luck\nat all")


@pytest.mark.parametrize("after", [failing, functional_dropout, torch.sigmoid])
def test_nothing_is_left_behind(after: Callable[[Tensor], Tensor]) -> None:
    module = Calls(after)
    module.conv.eval()
    module.register_forward_hook(lambda m, i, o: None)
    before, weights = state_of(module), {name: p.clone() for name, p in module.named_parameters()}
    if after is failing:
        with pytest.raises(TraceError, match=r"Calls fails on the given inputs \(ValueError: no luck\); call .*$"):
            record(module, image())
    else:
        record(module, image())
    assert state_of(module) == before
    assert all(torch.equal(weights[name], p) for name, p in module.named_parameters())
    with torch.overrides.TorchFunctionMode():
        pass  # the stack of modes is still in order


def test_eval_mode_is_said_where_it_matters_and_given_back() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))
    module[1].running_mean.fill_(2)
    with pytest.warns(
        UserWarning, match="Sequential is in training mode; it is traced in eval mode, where BatchNorm2d, Dropout"
    ):
        recording = record(module, image())
    assert module[1].training
    assert module[1].num_batches_tracked == 0
    with torch.no_grad():
        torch.testing.assert_close(recording[end(recording)], module.eval()(image()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record(module, image())


def test_wrappers_are_looked_through() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1))
    compiled = torch.compile(nn.DataParallel(module))
    assert unwrapped(compiled) is module  # type: ignore[arg-type]
    assert record(compiled, image()).operations[0].module == "0"  # type: ignore[arg-type]
    inside = Calls(torch.compile(nn.Sequential(nn.Conv2d(4, 3, 1))))  # type: ignore[arg-type]
    recording = record(inside, image())
    assert [operation.module for operation in recording.operations] == ["conv", "after.0"]
    assert recording.names[recording.operations[1].operands[1].index] == "after.0.weight"


def test_what_cannot_be_seen_is_refused() -> None:
    scripted = torch.jit.script(nn.Conv2d(4, 3, 1))
    with pytest.raises(TraceError, match="its part 'after' is TorchScript"):
        record(Calls(scripted), image())
    with pytest.raises(TraceError, match="is TorchScript, whose operations cannot be seen"):
        record(scripted, image())
    with pytest.raises(TraceError, match=r"a torch.nn.Module can be traced, not a function"):
        unwrapped(failing)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_replayed_in_single(dtype: torch.dtype) -> None:
    module = Calls(lambda h: torch.tanh(h).to(dtype) + h.half().to(dtype)).to(dtype)
    recording = record(module, image().to(dtype))
    assert recording[end(recording)].dtype == dtype
    wide = recording.widened()
    assert wide.rounded
    tail = wide.tail(convolved(wide), end(wide))
    at = wide[tail.start]
    assert tail(at).dtype == torch.float32
    torch.testing.assert_close(tail(at), torch.tanh(at) + at)
    small = torch.full_like(at, 1e-5)  # far below what half precision resolves
    torch.testing.assert_close(tail(at + small) - tail(at), (2 - torch.tanh(at) ** 2) * small, atol=1e-6, rtol=0.05)


def test_autocast_is_replayed_in_single() -> None:
    module = Calls(nn.Sequential(nn.GELU(), nn.Conv2d(4, 3, 3, padding=1), nn.Tanh()))
    with torch.autocast("cpu", torch.bfloat16):
        plan = read_plan(record(module, image()))
    assert [stage.name for stage in plan.stages] == ["block1", "head"]
    assert {stage.input.dtype for stage in plan.stages} == {torch.float32}
    with torch.no_grad():
        torch.testing.assert_close(plan.output, module(image())[0], atol=0.03, rtol=0.03)


def test_inference_mode_of_the_caller_does_not_matter() -> None:
    module = Calls(torch.sin)
    with torch.inference_mode():
        recording = record(module, image())
    tail = recording.tail(convolved(recording), end(recording))
    at = recording[tail.start].clone().requires_grad_()
    (slope,) = torch.autograd.grad(tail(at).sum(), at)
    torch.testing.assert_close(slope, torch.cos(at))


def test_a_view_of_another_type_is_refused_with_its_remedy() -> None:
    def twisted(h: Tensor) -> Tensor:
        pairs = torch.view_as_complex(h.reshape(1, 4, 15, 2))
        pairs.mul_(2)
        return h.reshape(1, 4, 5, 6) + h

    with pytest.raises(TraceError, match="use out-of-place operations"):
        record(Calls(twisted), image())
