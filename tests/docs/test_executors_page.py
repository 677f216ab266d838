"""docs/executors.md says what is: its parts are the example's file, its Python runs, its project registers."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fedlang as fl
from fedlang.cli import main
from fedlang.run import registry
from fedlang.run.executor import Chunk, ClientTask, ClientWork, Executor
from fedlang.testing import Tolerance, conformance_programs

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "examples" / "executors" / "pool.py"
PAGE = (ROOT / "docs" / "executors.md").read_text(encoding="utf-8")
PART = "python examples/executors/pool.py"


def blocks(kind: str) -> list[str]:
    found = [
        text for info, text in re.findall(r"^```([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if info == kind
    ]
    assert found, f"the page has blocks of {kind}"
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project of the page, as an installer would lay it out."""
    (project,) = (tomllib.loads(text) for text in blocks("toml"))
    site = tmp_path_factory.mktemp("site")
    (included,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
    shutil.copy(FILE, site / included)
    named = project["project"]
    about = site / f"{named['name'].replace('-', '_')}-{named['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {named['name']}\nVersion: {named['version']}\n")
    lines = [f"{name} = {target}" for name, target in named["entry-points"][registry.GROUP].items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{registry.GROUP}]", *lines, ""]))
    sys.path.insert(0, str(site))
    try:
        yield site
    finally:
        sys.path.remove(str(site))
        registered: Any = registry._loaded.pop(("pool", ()), None)
        if registered is not None:
            registered.close()


def test_the_parts_are_the_whole_file() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert "\n\n\n".join(part.strip("\n") for part in blocks(PART)) + "\n" == text
    assert len(text.splitlines()) < 200


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_runs(number: int, installed: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(blocks("python")[number], encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")


def test_the_registry_finds_it(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "pool" in fl.executor_names()
    found = registry.get_executor("pool")
    assert isinstance(found, Executor)
    assert found.name == "pool"
    assert main(["executors"]) == 0
    assert "pool         Clients in a pool of processes or threads" in capsys.readouterr().out


def test_the_phase_is_what_the_compiler_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (program,), (phase,) = blocks("fed"), blocks("text")
    (tmp_path / "spread.fed").write_text(program, encoding="utf-8")
    assert main(["ir", f"{tmp_path / 'spread.fed'}:spread"]) == 0
    assert phase in capsys.readouterr().out


def test_the_tolerances_are_those_of_the_kit() -> None:
    given = Tolerance()
    said = {"float32": given.float32, "float64": given.float64, "float16": given.float16}
    for name, share in {**said, "bfloat16": 8 * given.float16}.items():
        assert f"{name} {share:g}" in PAGE
    assert len(conformance_programs()) > 50


def test_the_protocol_is_named_in_full() -> None:
    parts = [*vars(Executor), *vars(ClientWork), *ClientTask.__annotations__, *Chunk.__annotations__]
    assert [
        name for name in parts if not name.startswith("_") and f"`{name}" not in PAGE.replace("ClientWork.", "")
    ] == []
