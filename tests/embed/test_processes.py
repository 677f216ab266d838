"""Processes from Python: settings, states, client state, methods."""

from __future__ import annotations

import numpy as np
import pytest

import fedlang as fl

TEXT = """
process counting(rate: float32, scale: float32 = 2.0) {
  initialize(key: Key@SERVER) { {total: 0.0, own: federated_broadcast(zero())} }
  next(state, x: <float32>@CLIENTS) {
    {state: {total: state.total + rate * scale * federated_sum(x), own: state.own + x}, seen: federated_sum(one(x))}
  }
  report(state) { state.total }
}

fn zero() -> float32 { 0.0 }
fn one(x: float32) -> int32 { 1 }
"""
P = fl.loads(TEXT, "counting.fed")


def test_a_setting_without_a_default_must_be_given() -> None:
    made = P.counting
    with pytest.raises(fl.DiagnosticError) as caught:
        made.next({"total": 0.0, "own": {}}, [1.0])
    assert str(caught.value) == (
        "error[FED0807]: the setting `rate` has no value\n  = note: it is float32, without a default\n"
        "  = help: give it: `with_settings(rate=…)`"
    )


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(fl.DiagnosticError, match=r"it has no setting `rat`; did you mean `rate`\?"):
        P.counting.with_settings(rat=1.0)
    with pytest.raises(fl.DiagnosticError, match="it has: rate, scale"):
        P.counting.with_settings(quite_other=1.0)


def test_settings_change_results_and_compile_nothing() -> None:
    first, second = P.counting.with_settings(rate=1.0), P.counting.with_settings(rate=3.0, scale=1.0)
    state = first.initialize()
    assert first.next(state, [1, 2]).state.total == 6.0
    assert second.next(state, [1, 2]).state.total == 9.0
    assert first.method("next").compiled is second.method("next").compiled
    assert P.counting.settings == {"scale": 2.0}


def test_client_state_is_kept_by_id() -> None:
    made = P.counting.with_settings(rate=1.0)
    state = made.initialize(0)
    state = made.next(state, {"a": 1.0, "b": 10.0}).state
    state = made.next(state, {"c": 5.0, "a": 2.0}).state
    assert {name: float(state.own[name]) for name in "abcd"} == {"a": 3.0, "b": 10.0, "c": 5.0, "d": 0.0}
    assert len(state.own) == 3
    assert repr(state) == "{total: 36.0, own: <float32>@CLIENTS of 3 clients}"


def test_methods() -> None:
    made = P.counting.with_settings(rate=1.0)
    assert made.methods == ("initialize", "next", "report")
    result = made.next(made.initialize(7), [1, 1])
    assert result.seen == 2
    assert made.report(result.state) == 4.0
    with pytest.raises(AttributeError, match="process counting has no method `stop`; it has: initialize, next, report"):
        made.stop()


def test_what_processes_and_functions_print() -> None:
    assert repr(P.counting).splitlines()[0] == "process counting"
    assert "  report: (" in repr(P.counting)
    assert repr(P.one) == "<one: (float32) -> int32>"
    assert repr(P) == "<counting.fed: counting, zero, one>"


def test_a_seed_gives_the_same_state_again() -> None:
    made = fl.loads("""import random
process p() {
  initialize(key: Key@SERVER) { draw(key) }
  next(state, x: <float32>@CLIENTS) { {state: state + federated_sum(x)} }
}
fn draw(key: Key) -> float32[3] { random.normal(key) }
""").p
    assert np.array_equal(made.initialize(), made.initialize(0))
    assert np.array_equal(made.initialize(1), made.initialize(1))
    assert not np.array_equal(made.initialize(1), made.initialize(2))


def test_a_result_of_a_client_that_took_no_part() -> None:
    found = fl.loads("fed f(x: <int32>@CLIENTS) -> <int32>@CLIENTS { x + 1 }").f({"anna": 1, "bert": 2})
    assert found["anna"] == 2
    with pytest.raises(fl.DiagnosticError, match=r"FED0618(.|\n)*did you mean `anna`"):
        found["ana"]


def test_a_setting_of_another_type_is_told_of_at_once() -> None:
    for wrong in ("fast", [1.0, 2.0], None):
        with pytest.raises(fl.DiagnosticError, match="`rate`"):
            P.counting.with_settings(rate=wrong)
    assert P.counting.with_settings(rate=2).settings.rate == 2
