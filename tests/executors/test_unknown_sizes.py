"""Two unknown sizes that meet must turn out to be equal: nothing is stretched that is not known to be 1."""

from __future__ import annotations

import pytest

import fedlang as fl

TEXT = """
fn product_of(a: float32[?], b: float32[?]) -> float32 { reduce_sum(a * b) }
fed g(a: <float32[?]>@CLIENTS, b: <float32[?]>@CLIENTS) -> float32@SERVER { federated_sum(product_of(a, b)) }
"""


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_equal_sizes_meet_and_others_are_errors(executor: str) -> None:
    program = fl.loads(TEXT)
    with fl.executor(executor):
        assert program.g([[1, 2], [3]], [[1, 1], [2]]) == 9.0
        for other in ([1], [1, 2]):
            with pytest.raises(fl.DiagnosticError, match=r"client 0: `reshape` failed"):
                program.g([[1, 2, 3]], [other])


def test_plain_functions_too() -> None:
    with pytest.raises(fl.DiagnosticError, match="cannot reshape array of size 1 into shape"):
        fl.loads(TEXT).product_of([1, 2, 3], [1])


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_a_client_at_fault_is_dropped_alone_where_the_policy_says_so(executor: str) -> None:
    program = fl.loads(TEXT)
    data = ([[1, 2], [1, 2, 3], [5]], [[1, 1], [1, 2], [2]])
    with fl.executor(executor):
        assert program.g.run(data, policy=fl.Policy(drop_failed=True)) == 13.0
