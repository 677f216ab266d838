"""Executors by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fedlang.cli import main
from fedlang.diagnostics import DiagnosticError
from fedlang.run.executor import Executor
from fedlang.run.registry import EXECUTORS, executor, executor_names, get_executor, set_default_executor


def test_an_executor_is_loaded_once():
    assert isinstance(get_executor("reference"), Executor)
    assert get_executor("reference") is get_executor("reference")
    assert set(EXECUTORS) <= set(executor_names())


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(DiagnosticError, match=r"FED0605.*referense(.|\n)*did you mean `reference`"):
        get_executor("referense")


def test_the_one_in_force_is_chosen_by_block_then_by_default(monkeypatch):
    monkeypatch.setitem(EXECUTORS, "other", "fedlang.executors.reference:ReferenceExecutor")
    with executor("other") as inside:
        assert get_executor() is inside
    assert get_executor() is not inside
    with pytest.raises(DiagnosticError):
        set_default_executor("nobody")
    set_default_executor("reference")
    assert get_executor() is get_executor("reference")


@pytest.mark.slow
def test_without_a_choice_it_hangs_on_whether_tensorflow_is_loaded():
    code = """
import fedlang as fl
from fedlang.run.registry import get_executor
print(get_executor().name)
import tensorflow
print(get_executor().name)
with fl.executor("threaded"):
    print(get_executor().name)
fl.set_default_executor("reference")
print(get_executor().name)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["reference", "batched", "threaded", "reference"]


def test_what_is_no_executor_or_missing_is_said(monkeypatch):
    monkeypatch.setitem(EXECUTORS, "broken", "fedlang.executors.nowhere:Executor")
    monkeypatch.setitem(EXECUTORS, "number", "builtins:int")
    for name in ("broken", "number"):
        with pytest.raises(DiagnosticError, match="FED0606"):
            get_executor(name)


def test_the_reference_does_not_import_tensorflow():
    code = "import fedlang.run.registry as r, sys; r.get_executor('reference'); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_options_make_an_executor_of_their_own():
    with executor("batched", strategy="sequential") as inside:
        assert get_executor() is inside
        assert inside.strategy == "sequential"
    assert get_executor("batched", strategy="sequential") is inside
    assert get_executor("batched") is not inside


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("reference", {"strategy": "vectorised"}, "FED0625.*no option `strategy`(.|\n)*`batched` takes `strategy`"),
        ("batched", {"strateggy": "vectorised"}, "FED0625(.|\n)*did you mean `strategy`"),
        ("batched", {"strategy": "vectorized"}, "FED0626.*no strategy(.|\n)*did you mean `vectorised`"),
        ("batched", {"strategy": None}, "FED0626.*no strategy"),
        ("batched", {"budget": "1GB"}, "FED0626.*`budget`.*'1GB'(.|\n)*help: give a whole number.*bytes"),
        ("batched", {"budget": 0}, "FED0626.*`budget`"),
        ("batched", {"budget": -5}, "FED0626.*`budget`"),
        ("batched", {"budget": 1.5}, "FED0626.*`budget`"),
        ("batched", {"chunk": 0}, "FED0626.*`chunk`.*cannot be 0(.|\n)*1 or more"),
        ("batched", {"chunk": "a"}, "FED0626.*`chunk`"),
        ("batched", {"chunk": [1]}, "FED0626.*`chunk`"),
        ("batched", {"threads": -1}, "FED0626.*`threads`"),
        ("batched", {"threads": True}, "FED0626.*`threads`"),
        ("batched", {"notice": 5}, "FED0626.*`notice`(.|\n)*give a function"),
        ("threaded", {"threads": 0}, "FED0626.*executor `threaded`"),
        ("threaded", {"threads": None}, "FED0626.*`threads`"),
        ("threaded", {"chunk": 2.5}, "FED0626.*`chunk`"),
        ("threaded", {"refused": 1}, "FED0625.*`refused`"),
    ],
)
def test_options_that_there_are_not(name, options, message):
    with pytest.raises(DiagnosticError, match=message):
        get_executor(name, **options)


def test_options_at_their_limits_are_taken():
    assert get_executor("batched", chunk=1, threads=1, budget=1).chunk == 1
    assert get_executor("threaded", chunk=np.int64(3)).chunk == 3


def test_a_package_that_breaks_is_named(tmp_path, monkeypatch, capsys):
    about = tmp_path / "fed_broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fed-broken\nVersion: 1.0\n")
    points = "[fedlang.executors]\nraising = fed_broken_module:make\nmissing = fed_broken_module:nothing\n"
    (about / "entry_points.txt").write_text(points)
    (tmp_path / "fed_broken_module.py").write_text("def make():\n    raise OSError('no cluster')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DiagnosticError, match=r"FED0606.*`raising`.*OSError: no cluster(.|\n)*`fed-broken`"):
        get_executor("raising")
    with pytest.raises(DiagnosticError, match=r"FED0606.*`missing`.*AttributeError: .*nothing(.|\n)*`fed-broken`"):
        get_executor("missing")
    assert main(["executors"]) == 0
    assert "raising      not available: the executor `raising` cannot be loaded: OSError" in capsys.readouterr().out
