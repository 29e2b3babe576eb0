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
