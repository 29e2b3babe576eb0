"""The checking of signatures is switched on: a wrong type must fail."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from jaxtyping import TypeCheckError

from shapes import SOURCE, checked
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


SHAPED = ("trace", "layer", "removal", "reductions.stream", "exact.exact", "paper.chain")
"""Modules of the canvas whose public functions say the shapes of what they take and return."""


INNER = ("block", "compute", "work")
"""Functions inside others."""


@pytest.mark.parametrize("module", SHAPED)
def test_public_functions_say_their_shapes(module: str) -> None:
    """No bare tensor stands in a public signature, but for what is made of ``Tensor`` by :mod:`xinc.notation`."""
    path = SOURCE / "xinc" / "canvas" / f"{module.replace('.', '/')}.py"
    bare = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node.name in INNER:
            continue
        for annotation in (*(a.annotation for a in node.args.args), node.returns):
            names = {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)} if annotation is not None else set()
            if names & {"Tensor", "NDArray"}:
                bare.append(f"{node.name}: {ast.unparse(annotation)}")
    assert bare == []
