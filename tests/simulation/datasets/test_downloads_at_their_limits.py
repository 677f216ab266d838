"""Downloads on a disk that is full, and on a terminal."""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fedlang.data.downloads import Published, fetched
from fedlang.diagnostics import DiagnosticError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
FILE = Published("a.bin.lzma", ("a.bin",))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder with the packed file."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / FILE.name).write_bytes(lzma.compress(CONTENT, lzma.FORMAT_ALONE))
    return folder


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow over `size` bytes, as on a disk that is full then."""
    resource = pytest.importorskip("resource")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_full_disk_leaves_nothing_behind(mirror: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with largest_file(1_500_000), pytest.raises(DiagnosticError, match=r"FED0722.*a.bin.lzma` cannot be written"):
        fetched(FILE, cache, mirror.as_uri())
    assert list(cache.iterdir()) == []


def test_a_disk_that_is_full_while_unpacking_is_not_called_damage(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(lzma.compress(bytes(3_000_000), lzma.FORMAT_ALONE))
    with largest_file(1_500_000), pytest.raises(DiagnosticError, match=r"FED0722.*a.bin` cannot be written"):
        fetched(FILE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE.name]
    (path,) = fetched(FILE, tmp_path)
    assert path.stat().st_size == 3_000_000


class Terminal(io.StringIO):
    """Standard error as it is in a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    fetched(FILE, tmp_path / "cache", mirror.as_uri())
    assert "a.bin.lzma" in shown.getvalue()
    assert "3.0/3.0 MB" in shown.getvalue()


def test_elsewhere_nothing_is_shown(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    fetched(FILE, tmp_path / "cache", mirror.as_uri())
    assert shown.getvalue() == ""
