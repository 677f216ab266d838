"""Programs written in Python: traced bodies, and TensorFlow functions brought in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl

EXECUTORS = ("reference", "threaded", "batched")


@fl.federated_computation("<float32>@CLIENTS")
def average(values: Any) -> Any:
    return fl.federated_mean(values)


@fl.local_computation("float32[3]")
def half(x: Any) -> Any:
    return x * 0.5


@fl.federated_computation("<float32[3]>@CLIENTS", "float32@SERVER")
def capped(x: Any, limit: Any) -> Any:
    low = fl.language.min(half(x), fl.federated_broadcast(limit))
    return {"sum": fl.federated_sum(low), "first": fl.federated_sum(low[0]), "pair": (limit + 1.0, -limit)}


def test_a_body_is_traced_to_the_type_it_has() -> None:
    assert str(average.type_signature) == "(<float32>@CLIENTS) -> float32@SERVER"
    assert repr(average) == "<average: (<float32>@CLIENTS) -> float32@SERVER>"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_traced_programs_run_on_every_executor(executor: str) -> None:
    with fl.executor(executor):
        assert average([1.0, 2.0, 6.0]) == 3.0
        result = capped([[1, 2, 3], [4, 5, 6]], 1.5)
    np.testing.assert_array_equal(result.sum, np.float32([2.0, 2.5, 3.0]))
    assert result.first == 2.0
    assert result.pair == (2.5, -1.5)


def test_a_local_computation_is_called_alone() -> None:
    np.testing.assert_array_equal(half([2, 4, 6]), np.float32([1, 2, 3]))


def test_a_traced_program_equals_the_written_one() -> None:
    written = fl.loads("fed average(values: <float32>@CLIENTS) -> float32@SERVER { federated_mean(values) }").average
    assert written.program == average.program


def test_records_by_attribute_and_by_item() -> None:
    @fl.federated_computation("<{a: float32, b: float32}>@CLIENTS")
    def both(x: Any) -> Any:
        return fl.federated_sum(x.a * x["b"])

    assert both([{"a": 2, "b": 3}, {"b": 1, "a": 4}]) == 10.0


def test_a_computation_without_parameters() -> None:
    @fl.local_computation
    def seven() -> Any:
        return 7

    assert seven() == 7


def test_mixed_places_are_told_where_they_are_written() -> None:
    with pytest.raises(fl.DiagnosticError) as caught:

        @fl.federated_computation("<float32>@CLIENTS", "float32@SERVER")
        def wrong(x: Any, limit: Any) -> Any:
            return fl.federated_sum(x - limit)

    (found,) = caught.value.diagnostics
    assert found.code == "FED0401"
    assert found.span is not None
    assert found.span.source.path == __file__
    assert found.span.text == "limit"
    assert [label.span.text for label in found.labels] == ["limit", "x"]
    assert "`federated_broadcast(limit)`" in found.hint


def test_python_control_flow_is_refused() -> None:
    with pytest.raises(fl.DiagnosticError, match="has no truth in Python"):

        @fl.local_computation("float32")
        def branch(x: Any) -> Any:
            return x if x > 0.0 else -x

    with pytest.raises(fl.DiagnosticError, match="cannot be looped over in Python"):

        @fl.local_computation("float32[3]")
        def loop(x: Any) -> Any:
            return sum(x)


def test_types_are_checked_by_number_and_form() -> None:
    with pytest.raises(fl.DiagnosticError, match="it has 2 parameters"):

        @fl.local_computation("float32")
        def one(x: Any, y: Any) -> Any:
            return x

    with pytest.raises(fl.DiagnosticError, match="is no type"):

        @fl.local_computation(np.float32(1))
        def other(x: Any) -> Any:
            return x

    with pytest.raises(fl.DiagnosticError, match="did you mean `float32`"):

        @fl.local_computation("flaot32")
        def third(x: Any) -> Any:
            return x


def test_operations_outside_a_trace_say_so() -> None:
    with pytest.raises(fl.DiagnosticError, match="inside a traced program"):
        fl.federated_mean([1.0, 2.0])


@fl.tf_computation("float32[?, 3]")
def summary(x: Any) -> Any:
    import tensorflow as tf

    return {"total": tf.reduce_sum(x), "doubled": 2.0 * x}


def test_a_tensorflow_function_is_an_extern() -> None:
    found = summary(np.ones((2, 3), np.float32))
    assert found.total == 6.0
    np.testing.assert_array_equal(found.doubled, 2 * np.ones((2, 3)))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_extern_runs_at_the_clients(executor: str) -> None:
    @fl.federated_computation("<float32[?, 3]>@CLIENTS")
    def total(x: Any) -> Any:
        return fl.federated_sum(summary(x).total)

    with fl.executor(executor):
        assert total([np.ones((2, 3)), np.ones((4, 3))]) == 18.0


def test_a_tensorflow_function_with_autograph() -> None:
    @fl.tf_computation("float32", "int32")
    def power(x: Any, n: Any) -> Any:
        import tensorflow as tf

        result = tf.constant(1.0)
        for _ in tf.range(n):
            result = result * x
        return result

    assert power(2.0, 5) == 32.0
