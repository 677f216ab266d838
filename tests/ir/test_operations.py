"""docs/operations.md and the table say the same."""

from __future__ import annotations

import re
from pathlib import Path

from fedlang.ir.operations import MOVEMENTS, OPERATIONS, ROWS
from fedlang.ir.rules import RULES

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def documented() -> dict[str, str]:
    """Every operation in the document, with its class; movements have the class "movement"."""
    found: dict[str, str] = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.split(" | ")] if line.startswith("| `") else []
        if cells:
            group = "movement" if "federated_" in cells[0] else cells[-1].strip("| ")
            for span in re.findall(r"`([^`]*)`", cells[0]):
                found |= dict.fromkeys(re.findall(r"[a-z_0-9]+", span.split("(")[0]), group)
    return found


def test_every_operation_is_documented_with_its_class() -> None:
    assert documented() == {row.name: row.group for row in ROWS}


def test_every_rule_and_movement_has_a_row() -> None:
    assert {row.rule for row in ROWS} == set(RULES)
    assert set(MOVEMENTS) == {row.name for row in ROWS if row.is_movement}
    assert len(OPERATIONS) == len(ROWS)
