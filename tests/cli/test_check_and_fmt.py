"""`fed check` and `fed fmt`: formats, exit codes, and what they import."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Fed

ROOT = Path(__file__).parent.parent.parent
WRONG = "fn f(x: float32) -> float32 { x + y }\n"
RIGHT = "fn f(x: float32) -> float32 { x + 1.0 }\n"


def test_a_right_file(fed: Fed) -> None:
    Path("a.fed").write_text(RIGHT)
    outcome = fed("check", "a.fed")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no mistakes in 1 file\n")


def test_mistakes_are_shown_with_their_place(fed: Fed) -> None:
    Path("a.fed").write_text(WRONG)
    outcome = fed("check")
    assert outcome.code == 1
    assert "error[FED0201]: unknown name `y`\n --> ./a.fed:1:35" in outcome.err
    assert outcome.err.endswith("1 error in 1 file\n")


def test_json_is_one_document(fed: Fed) -> None:
    Path("a.fed").write_text(WRONG)
    outcome = fed("check", "a.fed", "--output-format", "json")
    found = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (1, "")
    assert found["schema"] == "fedlang.diagnostics/1"
    assert found["summary"] == {"errors": 1, "warnings": 0, "notes": 0, "files": 1}
    (mistake,) = found["diagnostics"]
    assert (mistake["code"], mistake["path"], mistake["start"]) == ("FED0201", "a.fed", {"line": 1, "column": 35})


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("concise", "a.fed:1:35: error[FED0201]: unknown name `y`\n"),
        ("github", "::error file=a.fed,line=1,col=35,title=FED0201::unknown name `y`"),
    ],
)
def test_a_line_for_each_mistake(fed: Fed, form: str, expected: str) -> None:
    Path("a.fed").write_text(WRONG)
    assert expected in fed("check", "a.fed", "--output-format", form).err


def test_folders_and_standard_input(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("inner").mkdir()
    Path("inner/b.fed").write_text(RIGHT)
    Path("inner/c.txt").write_text(WRONG)
    assert fed("check", ".").err == "no mistakes in 1 file\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(WRONG))
    assert "--> <stdin>:1:35" in fed("check", "-").err


def test_files_that_cannot_be_read(fed: Fed) -> None:
    Path("a.fed").write_bytes(b"fn f\xff")
    assert fed("check", "a.fed").code == 1
    assert fed("check", "nowhere.fed").code == 2


def test_modules_beside_the_file_are_found(fed: Fed) -> None:
    Path("a.fed").write_text("import b (f)\n\nfn g(x: float32) -> float32 { f(x) }\n")
    Path("b.fed").write_text(RIGHT)
    assert fed("check", "a.fed").code == 0


def test_the_library_and_the_examples_have_no_mistakes(fed: Fed) -> None:
    outcome = fed("check", str(ROOT / "stdlib"), str(ROOT / "examples"))
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("command", ["check", "fmt"])
def test_checking_and_formatting_start_fast(command: str) -> None:
    code = f"import sys; from fedlang.cli import main; main(['{command}', '-']); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=RIGHT, capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    heavy = {
        "numpy",
        "tensorflow",
        "networkx",
        "rich",
        "fedlang.lower.entry",
        "fedlang.passes.order",
        "fedlang.ir.graph",
    }
    assert "fedlang.syntax.parser" in loaded
    assert loaded & heavy == set()


def test_colours_are_for_those_who_ask(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.fed").write_text(WRONG)
    assert "\x1b" not in fed("check", "a.fed").err
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31merror[FED0201]" in fed("check", "a.fed").err


# ---- fmt ----

LOOSE = "fn   f(x:float32)->float32{x+1.0}\n"


def test_formatting_writes_the_file_once(fed: Fed) -> None:
    path = Path("a.fed")
    path.write_text(LOOSE)
    path.chmod(0o640)
    assert fed("fmt", "a.fed").err == "formatted a.fed\n"
    assert path.read_text() == RIGHT
    assert path.stat().st_mode & 0o777 == 0o640
    assert fed("fmt", "a.fed").err == ""
    assert [each.name for each in Path().iterdir()] == ["a.fed"]


def test_check_and_diff_change_nothing(fed: Fed) -> None:
    Path("a.fed").write_text(LOOSE)
    assert fed("fmt", "--check", "a.fed").code == 1
    outcome = fed("fmt", "--diff", "a.fed")
    assert outcome.code == 1
    assert f"+{RIGHT}" in outcome.out
    assert Path("a.fed").read_text() == LOOSE


def test_a_file_with_syntax_errors_stays(fed: Fed) -> None:
    Path("a.fed").write_text("fn f( {\n")
    outcome = fed("fmt", "a.fed")
    assert outcome.code == 1
    assert "error[FED01" in outcome.err
    assert Path("a.fed").read_text() == "fn f( {\n"


def test_standard_input_goes_to_standard_output(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(LOOSE))
    assert fed("fmt", "-").out == RIGHT
