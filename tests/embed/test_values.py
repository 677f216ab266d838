"""Python values into programs and back, and what is said of those that do not fit."""

from __future__ import annotations

import pickle
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fedlang as fl

TEXT = """
type R = {a: float32[2], b: int32}
type E = {x: float32[2], y: int32}

fn same(r: R) -> R { r }
fn g(x: float32[2, 3], y: float32) -> float32 { reduce_sum(x) + y }
fn s(x: float32*) -> float32 { reduce_sum(stack(x)) }
fn int(x: int32) -> int32 { x }
fn byte(x: uint8) -> uint8 { x }
fn yes(x: bool) -> bool { x }
fn word(x: string) -> string { x }
fn half(x: float16) -> float16 { x }
fn key(x: Key) -> Key { x }
fn pair(x: (float32, int32)) -> (float32, int32) { x }
fn n(x: E*) -> int32 { length(x) }
fn heads(x: {x: float32[?, 2], y: int32[?]}*) -> {x: float32[?, 2], y: int32[?]}* { x }
fn doubled(x: float32[?]) -> float32[?] { x + x }
fed m(x: <float32>@CLIENTS, y: <float32>@CLIENTS) -> float32@SERVER { federated_sum(x + y) }
fed d(x: <E*>@CLIENTS) -> int32@SERVER { federated_sum(n(x)) }
"""
P = fl.loads(TEXT, "values.fed")
ONES = np.ones((2, 3))


def message(function: Any) -> str:
    """What the error says."""
    with pytest.raises(fl.DiagnosticError) as caught:
        function()
    return str(caught.value)


@dataclass
class Class:
    b: int
    a: list[float]


Named = namedtuple("Named", "b a")


@pytest.mark.parametrize(
    "value", [{"b": 3, "a": [1, 2]}, Class(3, [1.0, 2.0]), Named(3, np.array([1, 2])), fl.Record({"a": [1, 2], "b": 3})]
)
def test_records_are_bound_by_name(value: Any) -> None:
    found = P.same(value)
    assert found == {"a": [1.0, 2.0], "b": 3}
    assert repr(found) == "{a: [1. 2.], b: 3}"
    assert found.a.dtype == np.float32


def test_records_unpack_compare_and_pickle() -> None:
    found = P.same({"a": [1, 2], "b": 3})
    assert dict(**found).keys() == {"a", "b"}
    assert list(found) == ["a", "b"]
    assert pickle.loads(pickle.dumps(found)) == found
    assert found.replace(b=4) != found
    assert found.to_dict()["b"] == 3
    with pytest.raises(AttributeError, match="has no field `c`; it has: a, b"):
        _ = found.c
    with pytest.raises(AttributeError, match="do not change"):
        found.a = 1


@pytest.mark.parametrize(
    "data", [[1, 2, 3], (1, 2, 3), np.arange(1, 4), (float(k) for k in range(1, 4)), [np.float32(6)]]
)
def test_what_a_sequence_may_be(data: Any) -> None:
    assert P.s(data) == 6


def test_what_client_data_may_be() -> None:
    stacked = {"x": np.ones((4, 2)), "y": np.arange(4)}
    elements = [{"x": [1, 2], "y": 3}, {"y": 1, "x": np.zeros(2)}]
    assert P.d([stacked, elements, []]) == 6
    assert P.d({"anna": stacked, "bo": elements}) == 6
    assert P.d((stacked,)) == 4
    assert P.d([]) == 0


def test_batches_of_different_sizes() -> None:
    batches = [{"x": np.ones((k, 2)), "y": np.arange(k)} for k in (4, 1, 0, 2)]
    assert [len(each.y) for each in P.heads(batches)] == [4, 1, 0, 2]


def test_a_tensorflow_dataset_is_client_data() -> None:
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices({"x": np.ones((5, 2), np.float32), "y": np.arange(5, dtype=np.int32)})
    assert P.d([data, data.take(2)]) == 7
    assert [each.y.tolist() for each in P.heads(data.batch(2))] == [[0, 1], [2, 3], [4]]


def test_scalars_come_back_as_numbers() -> None:
    assert isinstance(P.int(np.int64(5)), np.int32)
    assert P.pair([1, 2]) == (1.0, 2)
    assert P.word(b"ab") == "ab"
    assert P.yes(np.True_) == np.True_
    assert P.doubled(np.array([1.5], np.float64)).dtype == np.float32
    assert P.key(3).tolist() == P.key(P.key(3)).tolist()


MESSAGES = {
    "missing and unknown fields": (
        lambda: P.same({"a": [1, 2], "c": 3}),
        """error[FED0802]: the fields of `r` are not those of its type
  = note: missing: b; unknown: c
  = help: names decide, never positions""",
    ),
    "no record": (
        lambda: P.same([[1, 2], 3]),
        """error[FED0801]: `r` does not fit its type
  = note: it is list [[1, 2], 3], not {a: float32[2], b: int32}
  = help: give a mapping, by name""",
    ),
    "a fraction for a whole number": (
        lambda: P.same({"a": [1, 2], "b": 3.5}),
        "error[FED0801]: `r.b` does not fit its type\n  = note: it is float 3.5, not int32",
    ),
    "a wrong size": (
        lambda: P.same({"a": [1, 2, 3], "b": 3}),
        "error[FED0801]: `r.a` does not fit its type\n  = note: it is of shape [3], not float32[2]",
    ),
    "rows of different lengths": (
        lambda: P.same({"a": [[1], [2, 3]], "b": 3}),
        "error[FED0801]: `r.a` does not fit its type\n  = note: it is of rows of different lengths, not float32[2]",
    ),
    "an int that float32 has not": (
        lambda: P.g(ONES, 16777217),
        """error[FED0803]: `y` cannot be given exactly as float32
  = note: the value is 16777217
  = help: convert it first, if the loss is meant""",
    ),
    "a float out of range": (
        lambda: P.half(1e6),
        """error[FED0803]: `x` cannot be given exactly as float16
  = note: the value is 1000000.0
  = help: convert it first, if the loss is meant""",
    ),
    "an int out of range": (
        lambda: P.byte(-1),
        """error[FED0803]: `x` cannot be given exactly as uint8
  = note: the value is -1
  = help: convert it first, if the loss is meant""",
    ),
    "a wrong shape": (
        lambda: P.g(ONES.T, 1),
        "error[FED0801]: `x` does not fit its type\n  = note: it is of shape [3, 2], not float32[2, 3]",
    ),
    "a word for a number": (
        lambda: P.g(ONES, "x"),
        "error[FED0801]: `y` does not fit its type\n  = note: it is str 'x', not float32",
    ),
    "nothing for a number": (
        lambda: P.g(ONES, None),
        "error[FED0801]: `y` does not fit its type\n  = note: it is NoneType None, not float32",
    ),
    "a bool for a number": (
        lambda: P.g(ONES, True),
        "error[FED0801]: `y` does not fit its type\n  = note: it is bool True, not float32",
    ),
    "a number for a bool": (
        lambda: P.yes(1),
        "error[FED0801]: `x` does not fit its type\n  = note: it is int 1, not bool",
    ),
    "an argument too few": (
        lambda: P.g(ONES),
        "error[FED0804]: `g` cannot be called so\n  = note: `y` not given",
    ),
    "an argument too many": (
        lambda: P.g(ONES, 1, 2),
        "error[FED0804]: `g` cannot be called so\n  = note: it takes 2 arguments (x, y), 3 were given",
    ),
    "an unknown argument": (
        lambda: P.g(ONES, yy=2),
        "error[FED0804]: `g` cannot be called so\n  = note: it has no parameter `yy`; did you mean `y`?",
    ),
    "an argument given twice": (
        lambda: P.g(ONES, 1, y=2),
        "error[FED0804]: `g` cannot be called so\n  = note: `y` is given twice",
    ),
    "an element that does not fit": (
        lambda: P.s([1, "x"]),
        "error[FED0801]: `x[1]` does not fit its type\n  = note: it is str 'x', not float32",
    ),
    "no sequence": (
        lambda: P.s(5),
        """error[FED0801]: `x` does not fit its type
  = note: it is int 5, not float32*
  = help: give a list of elements""",
    ),
    "stacked parts of different lengths": (
        lambda: P.n({"x": np.ones((4, 2)), "y": np.arange(3)}),
        """error[FED0808]: the parts of `x` have different numbers of elements
  = note: `x.x` has 4, `x.y` has 3""",
    ),
    "no key": (
        lambda: P.key(1.5),
        """error[FED0801]: `x` does not fit its type
  = note: it is float 1.5, not Key
  = help: give a seed: a whole number""",
    ),
    "a seed that is too large": (
        lambda: P.key(2**70),
        """error[FED0801]: `x` does not fit its type
  = note: it is 1180591620717411303424, of more than 64 bits, not Key
  = help: give a smaller seed""",
    ),
    "no clients": (
        lambda: P.m(3, [1]),
        """error[FED0801]: `x` does not fit its type
  = note: it is int 3, not <float32>@CLIENTS
  = help: give a list with a value for each client, or a mapping from client ids""",
    ),
    "other clients": (
        lambda: P.m([1, 2], [3]),
        """error[FED0806]: `x` and `y` are for different clients
  = note: every argument at the clients has a value for each of them""",
    ),
    "an unknown entry": (
        lambda: P.doubledd,
        "error[FED0805]: values.fed declares no `doubledd` that can be run\n  = help: did you mean `doubled`?",
    ),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_what_is_said(what: str) -> None:
    function, wanted = MESSAGES[what]
    assert message(function) == wanted


def test_a_client_that_does_not_fit_is_named() -> None:
    said = message(lambda: P.m({"anna": 1, "bo": "z"}, {"anna": 1, "bo": 2}))
    assert "client bo" in said
    assert "it is str 'z', not float32" in said


def test_a_name_like_no_other_is_answered_with_all_of_them() -> None:
    assert "it declares: same, g, s, int," in message(lambda: P.zzzzzzzz)
