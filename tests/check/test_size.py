"""Programs that are deep, long, or grow when their functions are called: an answer soon, whatever it is."""

from __future__ import annotations

import time

import pytest

from fedlang.check.typed import Checked
from fedlang.checking import Unit, open_source
from fedlang.diagnostics import DiagnosticError
from fedlang.lower import evaluate
from fedlang.modules import Modules
from fedlang.names.world import Symbol
from fedlang.pipeline import Entry, lower_entry
from fedlang.source import Source

DEEP = 200


def opened(text: str) -> Unit:
    return open_source(Source("test.fed", text), Modules())


def codes(text: str) -> list[str]:
    return [each.code for each in opened(text).diagnostics]


@pytest.mark.parametrize(
    "value",
    [
        "(" * DEEP + "x" + ")" * DEEP,
        "sin(" * DEEP + "x" + ")" * DEEP,
        "-" * DEEP + "x",
        " + ".join(["x"] * 1000),
        " - ".join(["(x * 2.0)"] * 300),
        "if x > 0.0 { " * 60 + "x" + " } else { x }" * 60,
        "{a: " * DEEP + "x" + "}" * DEEP + ".a" * DEEP,
    ],
    ids=["brackets", "calls", "signs", "sum", "differences", "branches", "records"],
)
def test_deep_expressions_are_checked_or_refused(value: str) -> None:
    unit = opened(f"fn f(x: float32) -> float32 {{ {value} }}\n")
    if not unit.diagnostics:
        lower_entry(unit, Entry("f"))
    assert all(each.code.startswith("FED01") for each in unit.diagnostics), "only the parser has a limit"


def test_deep_types_are_checked_or_refused() -> None:
    assert all(code.startswith("FED01") for code in codes(f"type A = {'{a: ' * DEEP}float32{'}' * DEEP}\n"))
    lines = ["type A0 = float32\n", *(f"type A{k} = {{a: A{k - 1}}}\n" for k in range(1, DEEP))]
    assert codes("".join(lines)) == []


def test_many_functions_in_a_chain() -> None:
    lines = ["fn f0(x: float32) -> float32 { x }\n"]
    lines += [f"fn f{k}(x: float32) -> float32 {{ f{k - 1}(x) + 1.0 }}\n" for k in range(1, 300)]
    unit = opened("".join(lines))
    assert not unit.diagnostics
    lower_entry(unit, Entry("f299"))


def doubling(count: int, second: str) -> str:
    """Functions that each call the one before twice."""
    lines = ["fn f0(x: float32) -> float32 { sin(x) }\n"]
    lines += [
        f"fn f{k}(x: float32) -> float32 {{ f{k - 1}(x) + f{k - 1}({second.format(k)}) }}\n" for k in range(1, count)
    ]
    return "".join(lines)


def test_calls_on_the_same_arguments_are_made_once() -> None:
    unit = opened(doubling(30, "x"))
    lowered = lower_entry(unit, Entry("f29"))
    assert len(lowered.graph.nodes) < 100


def test_growth_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "NODE_BUDGET", 20_000)
    unit = opened(doubling(30, "x * {}.5"))
    assert not unit.diagnostics
    start = time.monotonic()
    with pytest.raises(DiagnosticError) as raised:
        lower_entry(unit, Entry("f29"))
    (found,) = raised.value.diagnostics
    assert found.code == "FED0501"
    assert "f4 → f3" in found.labels[0].text
    assert time.monotonic() - start < 20


def test_sizes_of_generic_bodies_are_those_of_their_arguments() -> None:
    unit = opened(
        "fn halves[n](x: float32[product(2, n)]) -> float32[n] { x[0:n] * x[n:2 * n] / cast(n) }\n"
        "fn padded[n, m](x: float32[n], y: float32[m]) -> float32[n + m + 1] { concat(concat(x, y), [1.0]) }\n"
        "fn f(x: float32[8], y: float32[2]) -> float32[7] { padded(halves(x), y) }\n"
    )
    assert not unit.diagnostics
    checked = unit.checker.checked(Symbol("", "f"))
    assert isinstance(checked, Checked)
    lowered = lower_entry(unit, Entry("f"))
    assert lowered.graph.nodes[lowered.graph.results[0]].tensor.shape == (7,)
