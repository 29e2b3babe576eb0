"""The checking of signatures is switched on: a wrong type must fail."""

from __future__ import annotations

from typing import Any

import pytest
from jaxtyping import TypeCheckError

from shapes import checked
from xinc.canvas.network.plan import shuffle
from xinc.notation import Plane


def test_a_wrong_argument_to_the_package_is_refused() -> None:
    wrong: Any = "not a tensor"
    with pytest.raises(TypeCheckError, match="'x'"):
        shuffle(wrong, (2, 2))


def test_a_wrong_shape_is_refused() -> None:
    import torch
    from jaxtyping import jaxtyped

    @jaxtyped(typechecker=checked)
    def total(plane: Plane) -> float:
        return float(plane.sum())

    assert total(torch.ones(2, 3)) == 6
    with pytest.raises(TypeCheckError, match="'plane'"):
        total(torch.ones(1, 2, 3))


PUBLIC = [
    ("xinc.canvas.layer", "Layer"),
    ("xinc.canvas.trace", "Canvas"),
    ("xinc.run", "Run"),
    ("xinc.signals.clip", "Clip"),
]
LOOSE = {"Canvas.residual", "Run.input", "Clip.frames"}
"""Their shapes differ from network to network."""


def test_public_methods_that_give_tensors_say_their_shapes() -> None:
    import ast
    from pathlib import Path

    bare = []
    for module, name in PUBLIC:
        path = Path(__file__).resolve().parents[1] / "src" / f"{module.replace('.', '/')}.py"
        (found,) = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef) and n.name == name]
        for node in found.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
                written = ast.unparse(node.returns)
                if "Tensor" in written and f"{name}.{node.name}" not in LOOSE and "tuple" not in written:
                    bare.append(f"{name}.{node.name} -> {written}")
    assert not bare
