"""Expected outputs kept in files beside the tests: compared, or written anew under `make golden`."""

from __future__ import annotations

import os
from pathlib import Path

UPDATE = bool(os.environ.get("FEDLANG_UPDATE_GOLDEN"))


def check_golden(path: Path, text: str) -> None:
    """Compares `text` with the file at `path`, where a missing file stands for no text.

    With FEDLANG_UPDATE_GOLDEN set it writes the file instead, or removes it when there is no text.
    """
    if UPDATE:
        write_golden(path, text)
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    assert text == expected, f"{path.name} differs; `make golden` writes it anew"


def write_golden(path: Path, text: str) -> None:
    if text:
        path.write_text(text, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
