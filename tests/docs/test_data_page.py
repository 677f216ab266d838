"""docs/data.md: its Python runs in order, and what it names is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import fedlang as fl
from fedlang.cli.explain import pages

pytest.importorskip("tensorflow")
pytest.importorskip("h5py")

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_examples_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    scope = runpy.run_path("page.py")
    assert scope["result"].metrics.loss < 2.3, "two rounds have learnt something"


def test_every_name_is_there() -> None:
    names = set(re.findall(r"\bfl\.simulation\.([A-Za-z_0-9.]*[a-zA-Z0-9])", PAGE))
    names |= set(re.findall(r"`((?:read|write)_\w+)\(", PAGE))
    names |= {f"datasets.{name}" for name in re.findall(r"`(\w+\.load_\w+)\(", PAGE)}
    assert len(names) > 15
    for name in names:
        value: Any = fl.simulation
        for part in name.split("."):
            value = getattr(value, part)


def test_the_members_of_the_table_are_there() -> None:
    table = PAGE.split("## What client data can do")[1].split("`fl.simulation.ClientData` holds")[0]
    names = set(re.findall(r"`(\w+)[(`]", "\n".join(line.split(" | ")[0] for line in table.splitlines())))
    assert len(names) > 11
    for name in names - {"len"}:
        assert hasattr(fl.simulation.ClientData, name) or name in fl.simulation.ClientData.__dataclass_fields__


def test_every_code_has_a_page() -> None:
    codes = re.findall(r"`(FED\d{4})`", PAGE)
    assert len(codes) == 10
    assert [code for code in codes if code not in pages()] == []
