"""Python files: what they define is run, checked and shown as what `.fed` files declare, and their mistakes are told."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Fed

PROGRAM = '''\
"""A few programs."""

import fedlang as fl

print("imported")
RATE = 0.5


@fl.federated_computation("<float32>@CLIENTS")
def average(temperatures):
    return fl.federated_mean(temperatures)


@fl.federated_computation("<string>@CLIENTS", "string@SERVER")
def told(x, word):
    return word


@fl.local_computation
def loose(x):
    return x


@fl.federated_computation
def initialize():
    return fl.federated_value(0.0, fl.SERVER)


@fl.federated_computation("float32@SERVER", "<{x: float32[784], y: int32}*>@CLIENTS")
def next_fn(total, data):
    return total + fl.federated_sum(1.0), fl.federated_sum(2.0)


counting = fl.utils.IterativeProcess(initialize, next_fn)
inner = fl.loads("process counter(step: int32 = 1) {\\n"
                 "  initialize(_: Key@SERVER) { 0 }\\n"
                 "  next(state: int32@SERVER, _: <int32>@CLIENTS) { {state: state + step} }\\n}\\n")


def build():
    return counting
'''


@pytest.fixture(autouse=True)
def modules(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules and the path as they were before."""
    Path("p.py").write_text(PROGRAM)
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and "fedlang" not in name:
            found = str(sys.modules[name].__file__)
            if found.startswith(str(Path.cwd())):
                del sys.modules[name]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["average", "[20.5, 21.0, 23.0]"], "21.5"),
        (["average", "temperatures=[1, 2]"], "1.5"),
        (["told", '["a", "b"]', 'word="ü"'], '"ü"'),
        (["inner.counter.next", "3", "[0]", "--set", "step=4"], "{state: 7}"),
        (["counting.next", "1", "[[], []]"], "(3.0, 4.0)"),
    ],
)
def test_a_result(fed: Fed, words: list[str], expected: str) -> None:
    outcome = fed("run", f"p.py:{words[0]}", *words[1:])
    assert (outcome.code, outcome.out) == (0, f"{expected}\n"), outcome.err


def test_what_the_file_prints_is_beside_the_result(fed: Fed) -> None:
    outcome = fed("run", "p.py:average", "[1, 2]", "--json")
    assert (json.loads(outcome.out), outcome.err) == (1.5, "imported\n")


def test_the_file_is_no_script(fed: Fed) -> None:
    Path("own.py").write_text(
        "import helper\nimport fedlang as fl\nif __name__ == '__main__':\n    raise SystemExit\n"
        "average = helper.average\nassert __name__ == 'own' and __file__.endswith('own.py')\n"
    )
    Path("helper.py").write_text(PROGRAM)
    assert fed("run", "own.py", "[1, 2]").out == "1.5\n"


def test_a_graph_and_a_check(fed: Fed) -> None:
    assert "aggregate" in fed("ir", "p.py:average").out
    assert fed("ir", "p.py:counting.next").out == fed("ir", "p.py:next_fn").out == fed("ir", "p.py").out
    assert fed("ir", "p.py:average", "--after", "lower").out.startswith("graph {")
    assert fed("check", "p.py").err == "imported\nno mistakes in 1 file\n"
    assert "no mistakes in 0 files" in fed("check", ".").err


def test_an_iterative_process_is_trained(fed: Fed) -> None:
    words = ("p.py", "--data", "mnist", "--executor", "reference", "--json", "--clients", "3", "--checkpoint", "kept")
    assert [row["metrics"] for row in json.loads(fed("train", *words, "--rounds", "1").out)["rounds"]] == [6.0]
    found = json.loads(fed("train", *words, "--rounds", "2", "--resume").out)
    assert (found["process"], [row["round"] for row in found["rounds"]]) == ("counting", [1, 2])


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["run", "p.py:avrage", "[1]"], 2, ["FED0805", "did you mean `average`?"]),
        (["run", "p.py:build"], 2, ["FED0903", "p.py:40:1", "it is a Python function", "bind what it gives"]),
        (["run", "p.py:RATE"], 2, ["FED0903", "p.py:6:1", "it is a `float`"]),
        (["run", "p.py:loose", "1"], 2, ["FED0903", "a function without types", "give it types"]),
        (["run", "p.py:inner"], 2, ["FED0903", "`p.py:inner.counter`"]),
        (["run", "p.py:inner.counter"], 2, ["train it with `fed train`"]),
        (["run", "p.py:average.next", "[1]"], 2, ["only processes have methods"]),
        (["run", "p.py:counting.net", "[1]"], 2, ["it has initialize, next"]),
        (["run", "p.py"], 2, ["declares more than one function", "say which: `p.py:average`"]),
        (["run", "p.py:average", "[1, 2"], 1, ["`[` is never closed"]),
        (["train", "p.py:average", "--data", "mnist"], 2, ["run it with `fed run p.py:average`"]),
        (["check", "none.py"], 2, ["FED0121"]),
        (["fmt", "p.py"], 2, ["FED0916", "`fed fmt` reads .fed files"]),
        (["test", "p.py"], 1, ["FED0916"]),
        (["doc", "p.py"], 2, ["FED0916"]),
    ],
)
def test_what_goes_wrong(fed: Fed, words: list[str], code: int, expected: list[str]) -> None:
    outcome = fed(*words)
    assert outcome.code == code, outcome.err
    assert [part for part in expected if part not in outcome.err] == [], outcome.err


BROKEN = {
    "it raises": (
        "def build():\n    return {}['weights']\n\nprocess = build()\n",
        "error[FED0915]: x.py cannot be imported: KeyError: 'weights'\n"
        " --> x.py:2:12\n"
        "  |\n"
        "2 |     return {}['weights']\n"
        "  |            ^^^^^^^^^^^^^\n",
    ),
    "it is no Python": (
        "x = = 3\n",
        "error[FED0915]: x.py cannot be imported: SyntaxError: invalid syntax\n"
        " --> x.py:1:5\n"
        "  |\n"
        "1 | x = = 3\n"
        "  |     ^\n",
    ),
    "it calls what raises": (
        "import json\n\nfound = json.loads('{')\n",
        "error[FED0915]: x.py cannot be imported: JSONDecodeError: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)\n"
        " --> x.py:3:9\n"
        "  |\n"
        "3 | found = json.loads('{')\n"
        "  |         ^^^^^^^^^^^^^^^\n",
    ),
    "a file beside it raises": (
        "import beside\n",
        "error[FED0915]: x.py cannot be imported: ValueError: two\n"
        " --> {folder}/beside.py:1:1\n"
        "  |\n"
        "1 | raise ValueError('two\\nlines')\n"
        "  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        " --> x.py:1:1\n"
        "  |\n"
        "1 | import beside\n"
        "  | ------------- from here\n"
        "  = note: lines\n",
    ),
    "it exits": (
        "import sys\n\nsys.exit(3)\n",
        "error[FED0915]: x.py exits while it is imported\n"
        " --> x.py:3:1\n"
        "  |\n"
        "3 | sys.exit(3)\n"
        "  | ^^^^^^^^^^^\n"
        '  = help: put what only a script does under `if __name__ == "__main__":`\n',
    ),
    "a program in it is wrong": (
        'import fedlang as fl\n\n\n@fl.federated_computation("<float32>@CLIENTS", "float32@SERVER")\n'
        "def shift(x, y):\n    return x + y\n",
        "error[FED0401]: values at two places in one computation\n --> x.py:6:16\n",
    ),
    "a call of fedlang is wrong": (
        "import fedlang as fl\n\np = fl.utils.IterativeProcess(1, 2)\n",
        "error[FED0804]: `IterativeProcess` cannot be called so\n"
        " --> x.py:3:5\n"
        "  |\n"
        "3 | p = fl.utils.IterativeProcess(1, 2)\n"
        "  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n",
    ),
    "a package is missing": (
        "import nowhere_at_all\n",
        "error[FED0915]: x.py cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'\n",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_imported(fed: Fed, case: str) -> None:
    text, expected = BROKEN[case]
    Path("x.py").write_text(text)
    Path("beside.py").write_text("raise ValueError('two\\nlines')\n")
    outcome = fed("check", "x.py")
    assert outcome.err.startswith(expected.replace("{folder}", str(Path.cwd()))), outcome.err
    assert outcome.err.endswith("1 error in 1 file\n")
    assert "Traceback" not in outcome.err
    assert outcome.code == (2 if "FED0804" in expected else 1)


def test_the_traceback_is_there_for_those_who_ask(fed: Fed) -> None:
    Path("x.py").write_text("1 / 0\n")
    outcome = fed("--debug", "run", "x.py")
    assert 'File "x.py", line 1' in outcome.err
    assert "ZeroDivisionError" in outcome.err


def test_a_file_that_needs_tensorflow_says_so(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.py").write_text("import fedlang as fl\nimport keras\n")
    for name in ("keras", "tensorflow", "fedlang.executors.tensorflow.start"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    outcome = fed("train", "x.py", "--data", "mnist")
    assert outcome.code == 2
    assert "error[FED0912]: x.py needs keras, which is not installed\n --> x.py:2:1" in outcome.err
    assert "= help: install `fedlang[tf-cpu]`" in outcome.err


def test_a_file_that_defines_nothing(fed: Fed) -> None:
    Path("x.py").write_text("def build():\n    pass\n")
    outcome = fed("train", "x.py", "--data", "mnist")
    assert (outcome.code, "FED0902" in outcome.err, "names at the top level" in outcome.err) == (2, True, True)
    assert "no mistakes" in fed("check", "x.py").err
