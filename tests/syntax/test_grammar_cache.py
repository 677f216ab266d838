"""The parser is kept in a cache folder, and made without one where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedlang.syntax.grammar import parser


def test_the_grammar_loads_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    parser.cache_clear()
    parser()[0].parse("a", start="lone_expression")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        parser.cache_clear()
        parser()[0].parse("a", start="lone_expression")
    assert len(list((tmp_path / "fedlang").iterdir())) == 1
    parser.cache_clear()
