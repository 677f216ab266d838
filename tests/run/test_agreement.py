"""Sizes that a client's values share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import LeafType, Sequence, Tensor
from fedlang.run.agreement import agreement
from fedlang.run.sequences import Elements, Rows
from fedlang.types.dims import add, multiply, named

N, M, L = named("n"), named("m"), named("l")


def tensor(*shape: Any) -> Tensor:
    return Tensor("float32", shape)


def array(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def batches(*sizes: int, width: int = 2) -> Rows:
    return Rows(array(sum(sizes), width), np.cumsum([0, *sizes], dtype=np.int64))


SPLITS = np.array([0, 3, 4], np.int64)
WRONG: list[tuple[list[LeafType], list[Any], str]] = [
    ([tensor(N), tensor(3, N)], [array(4), array(3, 5)], "`n` is 4 in `a` and 5 in `b`"),
    ([tensor(N, N)], [array(4, 5)], "`n` is 4 in `a` and 5 in `a`"),
    ([Sequence(tensor(2), L), Sequence(tensor(), L)], [Rows(array(3, 2)), Rows(array(4))], "`l` is 3 in `a` and 4 in `b`"),
    ([Sequence(tensor(), N), tensor(N)], [Rows(array(3)), array(4)], "`n` is 3 in `a` and 4 in `b`"),
    ([Sequence(tensor(N), L), tensor(N)], [Elements((array(4), array(5))), array(4)], "`n` is 4 in `b` and 5 in `a[1]`"),
    (
        [Sequence(tensor(N, 2), L), Sequence(tensor(N, 2), L)],
        [batches(3, 3, 1), batches(3, 2, 2)],
        "`n` is 3 in `a[1]` and 2 in `b[1]`",
    ),
    (
        [Sequence(tensor(N, M), L), Sequence(tensor(N, M), L)],
        [Rows(array(3, 2), np.array([0, 3], np.int64)), Rows(array(3, 4), np.array([0, 3], np.int64))],
        "`m` is 2 in `a[0]` and 4 in `b[0]`",
    ),
    (
        [Sequence(tensor(N, M), L), Sequence(tensor(N, M), L)],
        [Rows(array(4, 2), SPLITS), Rows(array(4, 5), SPLITS)],  # the same splits
        "`m` is 2 in `a[0]` and 5 in `b[0]`",
    ),
    (
        [Sequence(tensor(N, M), L), Sequence(tensor(M), L)],
        [batches(3, 1), Elements((array(2), array(3)))],
        "`m` is 2 in `a[1]` and 3 in `b[1]`",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("types", "values", "message"), WRONG)
def test_one_size_has_one_value(types: list[LeafType], values: list[Any], message: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        agreement(types, "ab")(values)
    assert caught.value.diagnostics[0].title == message
    assert caught.value.diagnostics[0].code == "FED0601"


RIGHT: list[tuple[list[LeafType], list[Any]]] = [
    ([tensor(N), tensor(M)], [array(4), array(5)]),
    ([tensor(add(N, 1)), tensor(multiply(2, N))], [array(4), array(5)]),  # no names alone: the executors' matter
    ([tensor(N), Sequence(tensor(N), L)], [array(4), Rows(array(2, 4))]),
    ([tensor(N), Sequence(tensor(N), L)], [array(4), batches()]),
    ([Sequence(tensor(N, 2), L), Sequence(tensor(M, 2), L)], [batches(3, 1), batches(2, 2)]),
    ([Sequence(tensor(N, 2), L), Sequence(tensor(N), L)], [Rows(array(4, 2), SPLITS), Rows(array(4), SPLITS)]),
    ([Sequence(tensor(N, 2), L), Sequence(tensor(N), L)], [batches(3, 1), Elements((array(3), array(1)))]),
    ([Sequence(tensor(N, 2), L), Sequence(tensor(N), L)], [batches(), Rows(array(0), np.zeros(1, np.int64))]),
]


@pytest.mark.parametrize(("types", "values"), RIGHT)
def test_others_may_differ(types: list[LeafType], values: list[Any]) -> None:
    agreement(types, "ab")(values)
