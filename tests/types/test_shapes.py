"""The shape functions, on shapes that are known and on packs that are not."""

from __future__ import annotations

import pytest

from fedlang.types.dims import named
from fedlang.types.shapes import Argument, ShapeError, apply_shape_function
from fedlang.types.types import PackItem, Shape, fresh_variable, print_shape

N = named("n")
PACK: Shape = (PackItem(fresh_variable("s", "pack")),)


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("drop", ((2, 3, 4), 1), (2, 4)),
        ("drop", ((2, 3, 4), -1), (2, 3)),
        ("insert", ((2, 3), 0, N), (N, 2, 3)),
        ("insert", ((2, 3), -1, 1), (2, 3, 1)),
        ("replace", ((2, 3), 1, N), (2, N)),
        ("permute", ((2, 3, N), (2, 0, 1)), (N, 2, 3)),
        ("permute", ((2, 3), 1, 0), (3, 2)),
        ("join", ((2, 3), (3,)), (2, 3)),
        ("join", ((2, 1), (1, 5)), (2, 5)),
        ("join", ((N,), ()), (N,)),
        ("join", ((N, 3), (4, 3)), (4, 3)),
        ("join", (PACK, PACK), PACK),
        ("join", (PACK, ()), PACK),
        ("join", ((), PACK), PACK),
    ],
)
def test_known(name: str, arguments: tuple[Argument, ...], result: Shape) -> None:
    assert apply_shape_function(name, arguments) == result


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("drop", ((2, 3), 2), "no axis 2"),
        ("drop", ((), 0), "no axis 0"),
        ("insert", ((2, 3), 4, 1), "no axis 4"),
        ("permute", ((2, 3), (0, 0)), "names each of 0 to 1 once"),
        ("permute", ((2, 3), (0,)), "names each of 0 to 1 once"),
        ("join", ((2,), (3,)), "do not match"),
    ],
)
def test_refused(name: str, arguments: tuple[Argument, ...], reason: str) -> None:
    with pytest.raises(ShapeError, match=reason):
        apply_shape_function(name, arguments)


def test_packs_wait() -> None:
    assert print_shape(apply_shape_function("drop", (PACK, 0))) == "...drop(s, 0)"
    assert print_shape(apply_shape_function("join", ((2,), PACK))) == "...join(2, s)"
