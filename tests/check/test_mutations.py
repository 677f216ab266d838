"""Programs with slips: no exception leaves the checker, and what it accepts is lowered or refused with a reason.

The corpus is the library, the examples and the programs of this folder; a slip deletes, swaps, repeats or replaces a
token, often by one of its own kind.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedlang.checking import Unit, open_source
from fedlang.diagnostics import DiagnosticError
from fedlang.lower.entry import lower_test, method_names
from fedlang.modules import Modules, library_folder
from fedlang.names.world import Symbol
from fedlang.pipeline import Entry, lower_entry
from fedlang.source import Source
from fedlang.syntax import tree

SECONDS = 3.0
HERE = Path(__file__).parent
FILES = sorted(
    path
    for folder in (Path(library_folder()), HERE.parent.parent / "examples", HERE / "good")
    for path in folder.rglob("*.fed")
    if path.parent.name != "prelude"  # the prelude is read beside every file already
)
TOKEN = re.compile(r'\s+|#[^\n]*|"[^"\n]*"|[A-Za-z_]\w*|\d[\w.]*|->|=>|==|!=|<=|>=|//|\.\.\.|\.\.|.')
GROUPS = (
    ("+", "-", "*", "/", "@", "<", "==", "and", "//", "%", ">="),
    ("bool", "int8", "int32", "uint8", "bfloat16", "float32", "float64", "string", "Key"),
    ("SERVER", "CLIENTS"),
    ("fn", "fed", "process"),
    ("fold", "scan", "repeat"),
    (
        "sin",
        "total",
        "zeros_like",
        "zeros",
        "cast",
        "sort",
        "length",
        "stack",
        "unstack",
        "flatten",
        "transpose",
        "norm",
    ),
    ("federated_sum", "federated_mean", "federated_broadcast", "federated_min", "federated_keys"),
)
AROUND = ("-{0}", "{0}[0]", "({0}, {0})", "[{0}, {0}]", "{{a: {0}}}", "(if true {{ {0} }} else {{ {0} }})", "{0}.a")


def mutated(tokens: list[str], corpus: list[str], choose: random.Random) -> str:
    """The text with one to three slips."""
    tokens = list(tokens)
    for _ in range(choose.choice((1, 1, 1, 2, 3))):
        spots = [k for k, token in enumerate(tokens) if token.strip() and not token.startswith("#")]
        at, other = choose.choice(spots), choose.choice(spots)
        group = next((group for group in GROUPS if tokens[at] in group), ())
        slip = choose.random()
        if group and slip < 0.5:
            tokens[at] = choose.choice(group)
        elif slip < 0.6:
            tokens[at] = ""
        elif slip < 0.7:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif slip < 0.8:
            tokens[at] = choose.choice(corpus)
        elif slip < 0.9 and tokens[at][0].isalpha():
            tokens[at] = choose.choice(AROUND).format(tokens[at])
        else:
            tokens[at] = tokens[other]
    return "".join(tokens)


def entries(unit: Unit) -> Iterator[Entry]:
    """What can be run from the root file."""
    for declaration in unit.world.root.declarations:
        match declaration:
            case tree.FunctionDeclaration(_, name):
                yield Entry(name.text)
            case tree.ProcessDeclaration(name):
                yield from (Entry(name.text, method) for method in method_names(unit.checker, Symbol("", name.text)))


def try_all(text: str) -> None:
    """Checks a program, and lowers all of it where it is right."""
    unit = open_source(Source("mutated.fed", text), Modules())
    if any(each.severity == "error" for each in unit.diagnostics):
        return
    for entry in entries(unit):
        try:
            lower_entry(unit, entry)
        except DiagnosticError:
            continue
    for test in unit.tests:
        try:
            lower_test(unit.checker, test)
        except DiagnosticError:
            continue


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_slips_are_told(seed: int) -> None:
    choose = random.Random(seed)
    texts = [TOKEN.findall(path.read_text(encoding="utf-8")) for path in FILES]
    corpus = [token for text in texts for token in text if token.strip() and not token.startswith("#")]
    start = time.monotonic()
    while time.monotonic() - start < SECONDS:
        text = mutated(choose.choice(texts), corpus, choose)
        try:
            try_all(text)
        except Exception as error:
            raise AssertionError(f"this program ends in an exception:\n{text}") from error


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_corpus_is_right(path: Path) -> None:
    unit = open_source(Source(path.name, path.read_text(encoding="utf-8")), Modules(path.parent))
    unit.verify()
