"""The examples in the library's documentation hold, and nearly every primitive has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedlang.cli.facts import Case, cases_of

from .test_primitives import LIBRARY, declared

FILES = sorted(LIBRARY.rglob("*.fed"))
CASES = [case for path in FILES for case in cases_of(str(path))]

# They need a key, clients or both: the prelude has no name for the first, a fact none for the second.
WITHOUT = {"shuffle", "dropout"}


@pytest.mark.parametrize("case", CASES, ids=[f"{Path(case.path).stem}: {case.name}" for case in CASES])
def test_documentation_is_true(case: Case) -> None:
    case.run("reference")


def test_every_primitive_states_a_fact() -> None:
    silent = {name for name, each in declared().items() if "\n    " not in each.documentation}
    assert sorted(name for name in silent - WITHOUT if not name.startswith("federated_")) == []
