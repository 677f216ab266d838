"""`fl.utils.IterativeProcess`, and how its states and metrics behave."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import fedlang as fl

TEXT = """
fed initialize() -> {total: float32, rounds: int32}@SERVER { federated_value({total: 0.0, rounds: 0}) }
fed next(state: {total: float32, rounds: int32}@SERVER, x: <float32>@CLIENTS)
    -> {metrics: {mean: float32, pair: (float32, int32)}, state: {total: float32, rounds: int32}}@SERVER {
  let sum = federated_sum(x)
  {metrics: {mean: federated_mean(x), pair: (sum, 1)},
   state: {total: state.total + sum, rounds: state.rounds + 1}}
}
fed pair(state: {rounds: int32, total: float32}@SERVER, x: <float32>@CLIENTS)
    -> ({total: float32, rounds: int32}, float32)@SERVER { (state, federated_sum(x)) }
fed alone(state: {total: float32, rounds: int32}@SERVER) -> {total: float32, rounds: int32}@SERVER { state }
fed other() -> {total: float64, rounds: int32}@SERVER { federated_value({total: cast(0.0), rounds: 0}) }
fed loses(state: {total: float32, rounds: int32}@SERVER) -> {state: {total: float32}, rounds: int32}@SERVER {
  {state: {total: state.total}, rounds: 1}
}
fed number(state: {total: float32, rounds: int32}@SERVER) -> float32@SERVER { state.total }
process counting() {
  initialize(key: Key@SERVER) { {total: 0.0, own: federated_broadcast(federated_value(0.0))} }
  next(state, x: <float32>@CLIENTS) {
    {metrics: federated_sum(x), state: {total: state.total + 1.0, own: state.own + x}}
  }
}
"""
P = fl.loads(TEXT, "iterative.fed")


def test_two_computations_make_a_process() -> None:
    process = fl.utils.IterativeProcess(P.initialize, P.next)
    state = process.initialize()
    for _ in range(2):
        state, metrics = process.next(state, [1.0, 2.0])
    assert state == {"total": 6.0, "rounds": 2}
    assert state.total == state["total"] == state[0] == 6.0
    assert metrics.mean == 1.5
    found = process.next(state, [4.0])
    assert found.state is found[0]
    assert found.metrics == {"mean": 4.0, "pair": (4.0, 1)}
    assert repr(found) == "(state={total: 10.0, rounds: 3}, metrics={mean: 4.0, pair: (np.float32(4.0), np.int32(1))})"
    with pytest.raises(AttributeError, match="gives no `metric`; it gives: state, metrics"):
        _ = found.metric


def test_its_types_are_those_of_the_tutorial() -> None:
    process = fl.utils.IterativeProcess(P.initialize, P.next)
    assert str(process.initialize.type_signature) == "() -> {total: float32, rounds: int32}@SERVER"
    assert process.initialize.type_signature.to_tff() == "( -> <total=float32,rounds=int32>@SERVER)"
    assert process.next.type_signature.to_tff() == (
        "(<<total=float32,rounds=int32>@SERVER,{float32}@CLIENTS> -> "
        "<<total=float32,rounds=int32>@SERVER,<mean=float32,pair=<float32,int32>>@SERVER>)"
    )
    assert process.state_type == process.initialize.type_signature.result
    assert process.initialize.type_signature == P.initialize.type_signature


def test_a_tuple_or_the_state_alone() -> None:
    process = fl.utils.IterativeProcess(P.initialize, P.pair)
    state, seen = process.next(process.initialize(), [1.0, 2.5])
    assert (state, seen) == ({"total": 0.0, "rounds": 0}, 3.5)
    assert fl.utils.IterativeProcess(P.initialize, P.alone).next(state) == state


def test_a_process_is_one_already() -> None:
    process = fl.utils.IterativeProcess(P.counting)
    state = process.initialize()
    state, _ = process.next(state, {"a": 1.0, "b": 2.0})
    state, metrics = process.next(state, {"b": 5.0})
    assert metrics == 5.0
    assert {name: float(state.own[name]) for name in "ab"} == {"a": 1.0, "b": 7.0}
    assert process.initialize.type_signature.parameter is None
    assert str(P.counting.initialize.type_signature).startswith("(Key@SERVER) -> ")


@pytest.mark.parametrize(
    ("first", "following", "expected"),
    [
        (
            "other",
            "next",
            "error[FED0809]: what `other` gives is not the state that `next` takes\n"
            "  = note: at `.total` it is float64, not float32\n  = help: give both the same type",
        ),
        (
            "initialize",
            "loses",
            "error[FED0809]: the state that `loses` gives is not the state that `next` takes\n"
            "  = note: it is {total: float32}, not {total: float32, rounds: int32}: field `rounds` is missing\n"
            "  = help: give both the same type",
        ),
        (
            "initialize",
            "number",
            "error[FED0810]: `number` is no `next` of an iterative process\n"
            "  = note: its type is ({total: float32, rounds: int32}@SERVER) -> float32@SERVER\n"
            "  = help: its first parameter is the state; it gives the next state alone, first of a tuple, or as the"
            " field `state`",
        ),
        ("initialize", "initialize", "error[FED0810]"),
    ],
)
def test_states_must_fit(first: str, following: str, expected: str) -> None:
    with pytest.raises(fl.DiagnosticError) as caught:
        fl.utils.IterativeProcess(getattr(P, first), getattr(P, following))
    assert str(caught.value).startswith(expected)


def test_only_computations_make_one() -> None:
    wrong: Any = len
    with pytest.raises(fl.DiagnosticError, match="it takes computations, not builtin_function_or_method"):
        fl.utils.IterativeProcess(P.initialize, wrong)


# ---- values ----

METRICS = fl.Record({"sparse_categorical_accuracy": np.float32(0.13611111), "loss": np.float32(2.9653814)})


@pytest.mark.parametrize(
    ("value", "theirs"),
    [
        (METRICS, "<sparse_categorical_accuracy=0.13611111044883728,loss=2.965381383895874>"),
        (fl.Record({"a": 1, "b": np.int32(2)}), "<a=1,b=2>"),
        (fl.Record({"p": (np.float32(0.1), np.float32(0.1))}), "<p=<0.1,0.1>>"),
        (fl.Record({"n": np.float32(9720), "ok": np.True_}), "<n=9720.0,ok=True>"),
        (fl.Record({"m": fl.Record({"s": "ab", "e": fl.Record({})})}), "<m=<s=b'ab',e=<>>>"),
        (fl.Record({"dense/kernel": np.zeros((2, 2), np.float32)}), "<dense/kernel=[[0. 0.]\n [0. 0.]]>"),
        (fl.Record({"rows": [1, fl.Record({"a": 2})]}), "<rows=[1, <a=2>]>"),
    ],
)
def test_values_print_as_in_2019(value: fl.Record, theirs: str) -> None:
    assert value.to_tff() == theirs
    assert f"round {1:2d}, metrics={value:tff}" == f"round  1, metrics={theirs}"


def test_fields_with_other_names() -> None:
    weights = fl.Record({"dense": fl.Record({"kernel": 1, "bias": 2})})
    assert weights.to_tff({"dense.kernel": "dense/kernel", "bias": "b"}) == "<dense=<dense/kernel=1,b=2>>"


def test_a_record_is_also_what_an_anonymous_tuple_was() -> None:
    record = fl.Record({"a": 1, "b": fl.Record({"c": 2}), "dense/kernel": 3})
    assert (record[0], record[1].c, record[-1]) == (1, 2, 3)
    assert record[:2] == (1, {"c": 2})
    assert getattr(record, "dense/kernel") == 3
    assert record._asdict() == {"a": 1, "b": fl.Record({"c": 2}), "dense/kernel": 3}
    assert type(record._asdict(recursive=True)["b"]) is dict
    assert {"a", "b"} < set(dir(record))
    with pytest.raises(IndexError):
        record[3]


def test_a_round_copies_and_converts() -> None:
    process = fl.utils.IterativeProcess(P.initialize, P.next)
    found = process.next(process.initialize(), [4.0])
    for other in (copy.copy(found), pickle.loads(pickle.dumps(found))):
        assert other == found
        assert other.metrics == found.metrics
    assert found._asdict(recursive=True)["metrics"]["pair"] == (4.0, 1)
    assert f"{found:tff}" == "<<total=4.0,rounds=1>,<mean=4.0,pair=<4.0,1>>>"


def test_a_state_with_some_fields_changed() -> None:
    state = fl.Record({"a": 1, "b": 2})
    assert fl.utils.update_state(state, b=3) == {"a": 1, "b": 3}
    with pytest.raises(AttributeError, match="has no field `c`"):
        fl.utils.update_state(state, c=3)


def test_executors_of_the_framework() -> None:
    pytest.importorskip("tensorflow")
    try:
        fl.framework.set_default_executor(fl.framework.create_local_executor())
        assert P.next(P.initialize(), [1.0]).metrics.mean == 1.0
        with pytest.raises(fl.DiagnosticError, match="FED0605"):
            fl.framework.set_default_executor("fast")
    finally:
        fl.framework.set_default_executor()


def test_a_round_with_a_policy_and_an_executor() -> None:
    process = fl.utils.IterativeProcess(P.initialize, P.next)
    policy = fl.Policy(drop_invalid=True)
    state, metrics = process.run_round(
        process.initialize(), ([1.0, float("nan")],), policy=policy, executor="reference"
    )
    assert (state.total, metrics.mean) == (1.0, 1.0)
    with pytest.raises(fl.DiagnosticError):
        process.next(process.initialize(), [1.0, float("nan")])


def test_where_a_round_is_called_with_what_does_not_fit() -> None:
    initialize = fl.federated_computation(lambda: fl.federated_value(0, fl.SERVER))
    following = fl.federated_computation(
        lambda state, x: state + fl.federated_sum(x), "int32@SERVER", "<int32>@CLIENTS"
    )
    process = fl.utils.IterativeProcess(initialize, following)
    assert process.next(process.initialize(), [1, 2]) == 3
    with pytest.raises(fl.DiagnosticError, match=r"test_iterative\.py") as caught:
        process.next(0, ["a"])
    span = caught.value.diagnostics[0].span
    assert span is not None
    assert span.text == 'process.next(0, ["a"])'
