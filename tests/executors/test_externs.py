"""Functions from Python, as every executor calls them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.run.calling import reason_of
from fedlang.run.clients import ReadClients
from fedlang.run.externs import register_extern
from fedlang.run.registry import get_executor

pytest.importorskip("tensorflow")

EXECUTORS = ("reference", "threaded", "batched")
PROGRAM = """
extern fn NAME(x: float32[2]) -> float32[2]
fed mean(x: <float32[2]>@CLIENTS) -> float32[2]@SERVER { federated_mean(NAME(x)) }
fn summed(x: float32[2]*, zero: float32[2]) -> float32[2] { fold row in x from zero as total { total + NAME(row) } }
fed folded(x: <float32[2]*>@CLIENTS, zero: <float32[2]>@CLIENTS) -> float32[2]@SERVER { federated_mean(summed(x, zero)) }
"""


@dataclass(eq=False)
class Called:
    """A function, as it is registered."""

    call: Callable[..., Any]


def register(name: str, function: Callable[..., Any]) -> None:
    register_extern(name, Called(function))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_function_registered_anew_takes_the_place_of_the_old_one(executor: str) -> None:
    name = f"anew_{executor}"
    program = fl.loads(PROGRAM.replace("NAME", name))
    with fl.executor(executor) as chosen:
        for factor in (1, 10, 3):
            register(name, lambda x, factor=factor: x * np.float32(factor))
            np.testing.assert_array_equal(program.mean([np.ones(2, np.float32)]), [factor, factor])
            found = program.folded([[np.ones(2, np.float32)] * 2], [np.zeros(2, np.float32)])
            np.testing.assert_array_equal(found, [2 * factor, 2 * factor])
        if executor != "reference":
            work = program.mean.program.phases[0].work
            assert chosen.compile_work(work, (True,)) is chosen.compile_work(work, (True,)), "not made ready each time"


ONE, TWO = np.ones(2, np.float32), np.full(2, 2, np.float32)


def refusal(executor: str, name: str, function: Callable[..., Any], *clients: Any, text: str = PROGRAM) -> str:
    """What is said when the second client's call goes wrong."""
    register(name, function)
    program = fl.loads(text.replace("NAME", name))
    with fl.executor(executor), pytest.raises(fl.DiagnosticError) as caught:
        program.mean(list(clients or (ONE, TWO)))
    return str(caught.value)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.ones(3, np.float32), "gives float32[3], not float32[2]"),
        (np.ones(2, np.int64), "gives int64[2], not float32[2]"),
        ([1.0, 2.0], "gives float64[2], not float32[2]"),
        (1.0, "gives float64, not float32[2]"),
        ("s", "gives str, not float32[2]"),
        (None, "gives NoneType, not float32[2]"),
        ((ONE, ONE), "gives 2 results, not 1"),
    ],
    ids=str,
)
def test_what_it_gives_is_held_to_what_it_declares(executor: str, given: Any, said: str) -> None:
    found = refusal(executor, f"other_{executor}", lambda x: x if x[0] == 1 else given)
    assert f"error[FED0608]: client 1: `other_{executor}` from Python {said}" in found
    assert f"or declare in `extern fn other_{executor}` what it gives" in found


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_named_size_is_held_too(executor: str) -> None:
    text = """
extern fn NAME[n](x: float32[n]) -> (float32[n], float32)
fn total[n](x: float32[n]) -> float32 {
  let (a, b) = NAME(x)
  reduce_sum(a) * b
}
fed mean(x: <float32*>@CLIENTS) -> float32@SERVER { federated_mean(total(stack(x))) }
"""
    found = refusal(executor, f"named_{executor}", lambda x: (x[: int(3 - x[0])], np.float32(1)), text=text)
    assert f"client 1: result 1 of `named_{executor}` from Python is float32[1], not float32[2]" in found


@pytest.mark.parametrize("executor", EXECUTORS)
def test_its_failure_is_told_by_its_type_and_its_name(executor: str) -> None:
    found = refusal(executor, f"fails_{executor}", lambda x: {1.0: x}[float(x[0])])
    assert f"error[FED0603]: client 1: `fails_{executor}` from Python failed: KeyError: 2.0\n" in found


@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_cannot_change_its_arguments(executor: str) -> None:
    given = ONE.copy()
    found = refusal(executor, f"changes_{executor}", lambda x: x.__iadd__(1), given)
    assert "ValueError: output array is read-only" in found
    assert "x = x.copy()" in found
    np.testing.assert_array_equal(given, ONE)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_tensorflows_failure_is_its_reason(executor: str) -> None:
    import tensorflow as tf

    def row(x: Any) -> Any:
        return tf.gather(x, tf.cast(x[:1], tf.int32)) + x

    function = fl.tf_computation("float32[2]")(row)

    @fl.federated_computation("<float32[2]>@CLIENTS")
    def mean(x: Any) -> Any:
        return fl.federated_mean(fl.federated_map(function, x))

    with fl.executor(executor), pytest.raises(fl.DiagnosticError) as caught:
        mean([ONE, TWO])
    title = caught.value.diagnostics[0].title
    assert title.startswith("client 1: `row")
    assert title.endswith("from Python failed: indices[0] = 2 is not in [0, 2)")


@pytest.mark.parametrize("executor", ["threaded", "batched"])
def test_a_traced_function_is_held_to_what_it_declares(executor: str) -> None:
    import tensorflow as tf

    from fedlang.embed.tensorflow import TensorFlowExtern

    name = f"traced_{executor}"
    spec = [tf.TensorSpec([2], tf.float32)]
    register_extern(name, TensorFlowExtern(tf.function(lambda x: [tf.concat([x, x], 0)], input_signature=spec)))
    program = fl.loads(PROGRAM.replace("NAME", name))
    with fl.executor(executor), pytest.raises(fl.DiagnosticError) as caught:
        program.mean([ONE])
    assert f"`{name}` from Python gives float32[4], not float32[2]" in str(caught.value)


TOLD = """Graph execution error:

Detected at node add defined at (most recent call last):
  File "a.py", line 19, in <module>

  File "a.py", line 8, in f

Incompatible shapes: [4,12] vs. [2,12]
\t [[{{node add}}]] [Op:__inference_f_19]"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TOLD, "Incompatible shapes: [4,12] vs. [2,12]"),
        (
            "{{function_node __wrapped__AddV2_device_/job:x}} Incompatible shapes: [4] vs. [2] [Op:AddV2] name: ",
            "Incompatible shapes: [4] vs. [2]",
        ),
        (
            "2 root error(s) found.\n  (0) INVALID_ARGUMENT: too big\n\t [[{{node a}}]]\n  (1) INVALID_ARGUMENT: b",
            "too big",
        ),
        (
            TOLD.replace("Incompat", 'Zero: by zero\nTraceback (most recent call last):\n\n  File "b"\n\nIncompat'),
            "Zero: by zero",
        ),
        ("", "InvalidArgumentError"),
    ],
)
def test_the_reason_in_tensorflows_words(text: str, reason: str) -> None:
    from tensorflow.errors import InvalidArgumentError

    assert reason_of(InvalidArgumentError(None, None, text)) == reason


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_plain_function_can_be_registered(executor: str) -> None:
    name = f"plain_{executor}"
    register_extern(name, lambda x: 3 * x)
    with fl.executor(executor):
        np.testing.assert_array_equal(fl.loads(PROGRAM.replace("NAME", name)).mean([ONE, ONE]), 3 * ONE)


@pytest.mark.parametrize(("given", "said"), [(None, "None"), (5, "5"), (Called, "the class `Called`")])
def test_what_cannot_be_called_is_not_registered(given: Any, said: str) -> None:
    with pytest.raises(fl.DiagnosticError, match=rf"FED0609.*`wrong` cannot be {said}(.|\n)*register a function"):
        register_extern("wrong", given)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_interrupt_is_no_error_of_a_client(executor: str) -> None:
    calls = []

    def interrupted(x: Any) -> Any:
        calls.append(x)
        raise KeyboardInterrupt

    name = f"interrupted_{executor}"
    register(name, interrupted)
    program = fl.loads(PROGRAM.replace("NAME", name))
    with fl.executor(executor):
        with pytest.raises(KeyboardInterrupt):
            program.mean([ONE] * 4)
        assert len(calls) <= 4, "no client runs again"
        register(name, lambda x: x)
        np.testing.assert_array_equal(program.mean([ONE] * 4), ONE)


@pytest.mark.parametrize("kind", ["reference", "threaded", "sequential", "vectorised"])
def test_of_clients_that_fail_in_unlike_ways_the_first_is_named(kind: str) -> None:
    def half(x: Any) -> Any:
        if x[0] == 0:
            raise ValueError("no half of nothing")
        return x / 2

    def read(client: str) -> Any:
        if client == "3":
            raise OSError("no disk")
        return np.full(2, 0 if client == "1" else 2, np.float32)

    name = f"half_first_{kind}"
    register(name, half)
    options: dict[str, Any] = {} if kind == "reference" else {"chunk": 8, "threads": 1}
    if kind in ("sequential", "vectorised"):
        options |= {"strategy": kind, "notice": lambda _: None}
        kind = "batched"
    program, executor = fl.loads(PROGRAM.replace("NAME", name)), get_executor(kind, **options)
    with pytest.raises(fl.DiagnosticError, match=f"client 1: `{name}` from Python failed"):
        program.mean.run((ReadClients(tuple("01234"), read),), executor=executor)
