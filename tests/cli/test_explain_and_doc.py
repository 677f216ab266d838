"""Every code has a page; documentation is shown with what it documents."""

from __future__ import annotations

import re
from pathlib import Path

from fedlang.cli.explain import pages
from tests.cli.conftest import Fed

ROOT = Path(__file__).parent.parent.parent


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    texts = (path.read_text() for folder in ("fedlang", "executors") for path in (ROOT / folder).rglob("*.py"))
    codes = {code for text in texts for code in re.findall(r'"(FED\d{4})"', text)}
    assert sorted(codes - set(pages())) == []
    assert sorted(set(pages()) - codes) == []


def test_a_page(fed: Fed) -> None:
    assert fed("explain", "FED0401").out.startswith("FED0401: Two places in one computation\n\n")
    assert fed("explain", "fed0401").out == fed("explain", "401").out
    outcome = fed("explain", "FED0499")
    assert (outcome.code, "there is no page" in outcome.err) == (2, True)


def test_documentation_of_a_module_and_a_file(fed: Fed) -> None:
    found = fed("doc", "learning.optimizers").out
    assert "```fed\nfn sgd[W: Float](rate: float32) -> Optimizer[W, ()]\n```\n\nGradient descent.\n" in found
    assert "prim movement federated_broadcast[T](value: T@SERVER) -> T@CLIENTS\n```" in fed("doc", "prelude").out
    assert "process mnist(rate: float32 = 0.1)\n```" in fed("doc", str(ROOT / "examples" / "mnist.fed")).out
    assert fed("doc", "learning.nothing").code == 2


def test_executors_are_listed(fed: Fed) -> None:
    assert "reference" in fed("executors").out
