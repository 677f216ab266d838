"""Every primitive of the library on the reference executor, against plain NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.source import Source
from fedlang.syntax.parser import parse
from fedlang.syntax.tree import PrimitiveDeclaration

from .table import ROWS, Row

LIBRARY = Path(__file__).parent.parent.parent / "stdlib"


def declared() -> dict[str, PrimitiveDeclaration]:
    """Every primitive that the library declares."""
    found = {}
    for path in sorted(LIBRARY.rglob("*.fed")):
        module = parse(Source(str(path), path.read_text(encoding="utf-8"))).module
        found |= {each.name.text: each for each in module.declarations if isinstance(each, PrimitiveDeclaration)}
    return found


def assert_close(found: Any, wanted: Any, within: float = 2e-6) -> None:
    """Structures must agree; numbers up to rounding, NaN equals NaN."""
    if isinstance(wanted, dict):
        assert dict(found).keys() == wanted.keys()
        for name, value in wanted.items():
            assert_close(found[name], value, within)
    elif isinstance(wanted, tuple) or (isinstance(found, list) and not isinstance(wanted, np.ndarray)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other, within)
    elif isinstance(wanted, str):
        assert found == wanted
    else:
        found, wanted = np.asarray(found), np.asarray(wanted)
        assert found.shape == wanted.shape
        if found.dtype.kind in "biu" or found.dtype == object:
            assert found.tolist() == wanted.tolist()
        else:
            np.testing.assert_allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=within, atol=within)


@pytest.mark.parametrize("row", ROWS, ids=[f"{k}-{row.primitive}" for k, row in enumerate(ROWS)])
def test_primitive(row: Row) -> None:
    found = fl.loads(row.text).f(*row.inputs)
    assert_close(found, row.wanted())


def test_every_primitive_has_a_row() -> None:
    assert sorted(declared().keys() - {row.primitive for row in ROWS}) == []


def test_every_row_is_of_a_primitive() -> None:
    assert sorted({row.primitive for row in ROWS} - declared().keys()) == []
