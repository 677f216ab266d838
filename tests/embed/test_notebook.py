"""fedlang in a notebook: event loops, cells, HTML, and mistakes without tracebacks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from rich.console import Console
from traitlets.config import Config

import fedlang as fl

TEXT = """
fed total(x: <{a: float32}>@CLIENTS) -> float32@SERVER { federated_sum(x.a) }
process counting() {
  initialize(_: Key@SERVER) { {total: 0.0} }
  next(state, x: <float32>@CLIENTS) {
    {metrics: {now: federated_sum(x)}, state: {total: state.total + federated_sum(x)}}
  }
}
"""
P = fl.loads(TEXT, "<b>.fed")


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_a_running_event_loop_is_no_obstacle(executor: str) -> None:
    async def cell() -> Any:
        process = fl.utils.IterativeProcess(P.counting)
        state = process.initialize()
        state, _ = process.next(state, [1.0, 2.0])
        await asyncio.sleep(0)
        greeting = fl.federated_computation(lambda: "Hello, World!")
        return process.next(state, [4.0]).state, greeting()

    with fl.executor(executor):
        assert asyncio.run(cell()) == ({"total": 7.0}, b"Hello, World!")


def test_two_programs_are_traced_at_once_by_two_tasks() -> None:
    async def make(name: str) -> str:
        @fl.federated_computation("<float32>@CLIENTS")
        def computation(x: Any) -> Any:
            return {name: fl.federated_sum(x)}

        await asyncio.sleep(0)
        return str(computation.type_signature.result)

    async def both() -> list[str]:
        return await asyncio.gather(make("a"), make("b"))

    assert asyncio.run(both()) == ["{a: float32}@SERVER", "{b: float32}@SERVER"]


# ---- cells ----


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", os.fspath(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell.instance(config=config)
    try:
        yield made
    finally:
        InteractiveShell.clear_instance()


MISTAKE = """
@fl.federated_computation("<float32>@CLIENTS", "float32@SERVER")
def wrong(x, limit):
    return fl.federated_sum(x - limit)
"""


def test_a_mistake_in_a_cell_shows_the_cell(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.run_cell("import fedlang as fl").success
    assert isinstance(shell.run_cell(MISTAKE).error_in_exec, fl.DiagnosticError)
    shown = "".join(capsys.readouterr())
    assert "error[FED0401]: values at two places in one computation" in shown
    assert "3 |     return fl.federated_sum(x - limit)" in shown
    assert "`federated_broadcast(limit)`" in shown
    assert "Traceback" not in shown
    assert "decorators.py" not in shown


def test_a_mistake_in_a_value_shows_no_traceback(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.user_ns["program"] = P
    shell.run_cell("program.total([{'a': 1.0}, {'b': 2.0}])")
    shown = "".join(capsys.readouterr())
    assert "the fields of `x of client 1` are not those of its type" in shown
    assert "Traceback" not in shown


def test_cells_define_and_call(shell: InteractiveShell) -> None:
    shell.run_cell("import fedlang as fl")
    shell.run_cell('@fl.federated_computation("<float32>@CLIENTS")\ndef mean(x):\n    return fl.federated_mean(x)')
    assert shell.run_cell("mean([1, 2])").result == 1.5
    assert shell.run_cell("import asyncio\nawait asyncio.sleep(0)\nmean([3, 4])").result == 3.5


# ---- what is shown ----


class Reader(HTMLParser):
    """The text of HTML, whose tags must close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(shown: Any) -> list[str]:
    return Reader(shown._repr_html_()).words


def test_computations_and_processes() -> None:
    assert words(P.total) == ["total", "(<{a: float32}>@CLIENTS) -> float32@SERVER"]
    assert words(P.total.type_signature) == ["(<{a: float32}>@CLIENTS) -> float32@SERVER"]
    assert words(P.counting)[:3] == ["process counting", "initialize", "(Key@SERVER) -> {total: float32}@SERVER"]
    assert words(fl.utils.IterativeProcess(P.counting))[:3] == [
        "iterative process",
        "initialize",
        "() -> {total: float32}@SERVER",
    ]
    assert words(P.counting.initialize)[0] == "counting.initialize"
    assert words(P) == [
        "<b>.fed",
        "total",
        "(<{a: float32}>@CLIENTS) -> float32@SERVER",
        "counting",
        "process: initialize, next",
    ]


def test_records() -> None:
    record = fl.Record({"a<b": np.float32(1.5), "w": np.zeros((20, 3)), "in": fl.Record({"c": (1, "<i>")})})
    assert words(record) == ["a<b", "1.5", "w", "float64[20, 3]", "in", "c", "(", "1", ", ", "<i>", ")"]
    process = fl.utils.IterativeProcess(P.counting)
    assert words(process.next(process.initialize(), [2.0])) == ["state", "total", "2.0", "metrics", "now", "2.0"]
    assert words(fl.Record({"long": list(range(100))})) == ["long", "100 values"]


def test_rounds_are_one_table_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[str]] = []

    class Handle:
        def update(self, table: Any) -> None:
            shown.append(words(table))
            assert ("<progress" in table._repr_html_()) == (len(shown) < 3)

    def display(table: Any, display_id: bool) -> Handle:
        assert display_id
        handle = Handle()
        handle.update(table)
        return handle

    monkeypatch.setattr("IPython.display.display", display)
    with fl.utils.RoundTable(2, console=Console(force_jupyter=True)) as table:
        table.add({"loss": 0.5, "seconds": 1.0})
        table.add({"loss": 0.25, "seconds": 1.0})
    assert shown == [
        [],
        ["round", "loss", "seconds", "1", "0.5000", "1.0000"],
        ["round", "loss", "seconds", "1", "0.5000", "1.0000", "2", "0.2500", "1.0000"],
    ]
    assert "<progress" not in table._repr_html_()
    assert repr(table).splitlines()[1].split() == ["1", "0.5000", "1.0000"]


def test_traced_values_are_not_asked_to_show_themselves() -> None:
    @fl.federated_computation("<float32>@CLIENTS")
    def computation(x: Any) -> Any:
        assert not hasattr(x, "_repr_html_")
        assert repr(x).startswith("<a value of computation_")
        return fl.federated_sum(x)

    assert computation([1.0]) == 1.0
