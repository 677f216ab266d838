"""`fed run`, `fed test`, `fed ir`: arguments, results, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Fed

PROGRAM = """\
import random

fed average(x: <float32>@CLIENTS) -> float32@SERVER { federated_mean(x) }

fed shift(x: <float32>@CLIENTS, by: float32@SERVER) -> <float32>@CLIENTS { x + federated_broadcast(by) }

fn twice(x: float32[?]) -> float32[?] { 2.0 * x }

fn pair(a: {p: int32, q: (bool, float32)}) -> {p: int32, q: float32} {
  let (_, q) = a.q
  {p: a.p + 1, q}
}

fn noise(key: Key) -> float32 { random.uniform(key) }

fn root(x: float32) -> float32 { sqrt(x) }

process counter(step: int32 = 1) {
  initialize(_: Key@SERVER) { 0 }
  next(state: int32@SERVER, _: <int32>@CLIENTS) { {state: state + step} }
}
"""


@pytest.fixture(autouse=True)
def program(fed: Fed) -> None:
    Path("p.fed").write_text(PROGRAM)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["average", "[1, 2, 4.5]"], "2.5"),
        (["average", "x=[1, 2]"], "1.5"),
        (["shift", "{a: 1, b: 2}", "by=-1"], "{a: 0.0, b: 1.0}"),
        (["twice", "cast[float32](range(3))"], "[0.0, 2.0, 4.0]"),
        (["pair", "{p: 1, q: (true, 2.0)}"], "{p: 2, q: 2.0}"),
        (["pair", '{"p": 1, "q": [true, 2]}'], "{p: 2, q: 2.0}"),
        (["counter.next", "3", "[0]", "--set", "step=4"], "{state: 7}"),
        (["root", "-1"], "nan"),
    ],
)
def test_a_result(fed: Fed, words: list[str], expected: str) -> None:
    outcome = fed("run", f"p.fed:{words[0]}", *words[1:])
    assert (outcome.code, outcome.out) == (0, f"{expected}\n"), outcome.err


def test_results_as_json(fed: Fed) -> None:
    assert json.loads(fed("run", "p.fed:shift", "[1, 2]", "0.5", "--json").out) == {"0": 1.5, "1": 2.5}
    assert json.loads(fed("run", "p.fed:root", "-1", "--json").out) == "nan"


def test_arguments_in_files(fed: Fed) -> None:
    np.save("x.npy", np.float32([1, 2]))
    Path("a.json").write_text('{"p": 1, "q": [true, 2]}')
    assert fed("run", "p.fed:twice", "@x.npy").out == "[2.0, 4.0]\n"
    assert fed("run", "p.fed:pair", "a=@a.json").out == "{p: 2, q: 2.0}\n"
    assert fed("run", "p.fed:pair", "@none.json").code == 2


def test_a_key_is_the_seed(fed: Fed) -> None:
    first, same, other = (fed("run", "p.fed:noise", "--seed", seed).out for seed in ("1", "1", "2"))
    assert first == same != other


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["p.fed"], 2, "declares more than one function"),
        (["p.fed:avrage"], 2, "did you mean `average`?"),
        (["p.fed:average"], 2, "`x` not given"),
        (["p.fed:average", "[1, 2"], 1, "`[` is never closed"),
        (["p.fed:average", "[]"], 3, "mean over no clients"),
        (["p.fed:average", "[true]"], 2, "it is bool True, not float32"),
        (["p.fed:counter"], 2, "train it with `fed train`"),
        (["p.fed:counter.net", "1"], 2, "it has initialize, next"),
        (["p.fed:average", "[1]", "--set", "a=1"], 2, "only processes have settings"),
        (["p.fed:average", "[1]", "--executor", "refrence"], 2, "did you mean `reference`?"),
    ],
)
def test_what_goes_wrong(fed: Fed, words: list[str], code: int, expected: str) -> None:
    outcome = fed("run", *words)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert expected in outcome.err


# ---- ir ----


def test_the_graph_after_a_pass(fed: Fed) -> None:
    assert fed("ir", "p.fed:average", "--after", "lower").out.startswith("graph {")
    assert "aggregate" in fed("ir", "p.fed:average").out
    assert fed("ir", "p.fed").out == fed("ir", "p.fed:counter.next").out
    outcome = fed("ir", "p.fed:average", "--after", "nothing")
    assert (outcome.code, "lower, inline" in outcome.err) == (2, True)


# ---- test ----

TESTS = """\
## Twice as much.
##     double(2.0) == 4.0
##     double([1.0, 2.0]) == [2.0, 4.0]
##     double(2.0) == 5.0
##     dubble(2.0) == 4.0
fn double(x: float32) -> float32 { 2.0 * x }

fn doubles(x: float32[2]) -> float32[2] { 2.0 * x }

test "it doubles" { expect(double(1.0) == 2.0) }

test "it is wrong" { expect(double(1.0) == 3.0, "twice one is two") }
"""


def test_tests_and_facts(fed: Fed) -> None:
    Path("t.fed").write_text(TESTS.replace("double([", "doubles(["))
    outcome = fed("test", "t.fed")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert [line.split(": ")[0] for line in lines[:-1]] == [
        f"{word}  t.fed" for word in ("pass", "pass", "FAIL", "FAIL", "pass", "FAIL")
    ]
    assert lines[-1].startswith("3 passed, 3 failed")
    assert "t.fed:4:8" in outcome.err
    assert "did you mean `double`?" in outcome.err
    assert "error[FED0602]: twice one is two" in outcome.err
    assert fed("test", "t.fed", "-k", "it doubles").code == 0


def test_a_file_that_cannot_be_compiled_fails(fed: Fed) -> None:
    Path("bad.fed").write_text("fn f() -> int32 { x }\n")
    outcome = fed("test", "bad.fed")
    assert (outcome.code, "0 passed, 1 failed" in outcome.out) == (1, True)
