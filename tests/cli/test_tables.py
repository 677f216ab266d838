"""The table of rounds is plain where nothing can move, and lively on a terminal."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from fedlang.embed.tables import RoundTable, as_number, flat_metrics, ordered, shown


def table_of(shown_rounds: list[dict[str, object]], *, terminal: bool = False, **options: int) -> str:
    target = io.StringIO()
    console = Console(file=target, force_terminal=terminal, width=60, highlight=False)
    with RoundTable(console=console, **options) as table:
        for metrics in shown_rounds:
            table.add({"seconds": 0.5, **metrics})
    return target.getvalue()


def test_a_pipe_gets_plain_lines_that_do_not_wrap() -> None:
    rounds: list[dict[str, object]] = [
        {"loss": np.float32(2.30259), "examples": np.array(972.0), "accuracy": 0.25, "aggregator": {"norm": 0.125}},
        {"loss": 1.5, "examples": 972.0, "late": 1},
    ]
    text = table_of(rounds, rounds=2)
    assert text.splitlines() == [
        "    round       loss   accuracy  aggregator.norm   examples    seconds",
        "        1     2.3026     0.2500           0.1250        972     0.5000",
        "        2     1.5000          -                -        972     0.5000",
    ]


def test_a_run_that_goes_on_counts_on() -> None:
    assert table_of([{"loss": 1.0}], start=31).splitlines()[1].split()[0] == "31"


def test_a_terminal_sees_the_same_rows_and_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = table_of([{"loss": 1.0}], terminal=True, rounds=3)
    assert "1.0000" in text
    assert "1/3" in text


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[3" not in table_of([{"loss": 1.0}], terminal=True, rounds=1)


def test_an_error_in_a_round_is_not_hidden() -> None:
    with pytest.raises(KeyError), RoundTable(console=Console(file=io.StringIO())):
        raise KeyError("a client")


def test_time_is_measured_when_nobody_tells_it() -> None:
    target = io.StringIO()
    with RoundTable(console=Console(file=target)) as table:
        table.add({"loss": 1})
    header, row = (line.split() for line in target.getvalue().splitlines())
    assert 0 <= float(row[header.index("seconds")]) < 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (1.0, "1.0000"),
        (972.0, "972"),
        (972, "972"),
        (0.02, "0.0200"),
        (1.5e-7, "1.5e-07"),
        (123456.7, "1.23e+05"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (True, "true"),
        (np.int64(3), "3"),
        (None, "-"),
        ("x", "-"),
    ],
)
def test_numbers_are_short(value: object, text: str) -> None:
    assert shown(value) == text


def test_metrics_are_flattened_and_other_values_left_out() -> None:
    metrics = {"a": {"b": 1, "c": {"d": 2.0}}, "name": "x", "vector": np.zeros(3)}
    assert flat_metrics(metrics) == {"a.b": 1, "a.c.d": 2.0}
    assert as_number(np.zeros(1)) is None


def test_columns_have_a_steady_order() -> None:
    assert ordered(dict.fromkeys(["examples", "norm", "accuracy", "loss"])) == ("loss", "accuracy", "norm", "examples")
