"""The door from exceptions to exit codes."""

from __future__ import annotations

import pytest

import fedlang
from fedlang.cli import fmt
from fedlang.cli.app import COMMANDS
from tests.cli.conftest import Fed


def test_help_lists_every_command(fed: Fed) -> None:
    outcome = fed("--help")
    assert outcome.code == 0
    assert all(f"\n  {name} " in outcome.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(fed: Fed, name: str) -> None:
    outcome = fed(name, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: fed {name}")


def test_the_version(fed: Fed) -> None:
    assert fed("--version").out == f"fedlang {fedlang.__version__}\n"


def test_mistyped_commands_and_options(fed: Fed) -> None:
    outcome = fed("chekc")
    assert (outcome.code, "did you mean `check`?" in outcome.err) == (2, True)
    outcome = fed("train", "a.fed", "--round", "3")
    assert (outcome.code, "--rounds" in outcome.err) == (2, True)


@pytest.mark.parametrize("debug", [False, True])
def test_a_mistake_of_our_own_is_told_as_such(fed: Fed, monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    def fails(paths: object) -> list[str]:
        raise RuntimeError("lost")

    monkeypatch.setattr(fmt, "fed_files", fails)
    outcome = fed(*(["--debug"] if debug else []), "fmt")
    assert outcome.code == 4
    assert "internal error: RuntimeError: lost" in outcome.err
    assert ("Traceback" in outcome.err) is debug


def test_an_interrupt_has_its_own_code(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(paths: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(fmt, "fed_files", interrupted)
    outcome = fed("fmt")
    assert (outcome.code, outcome.err) == (130, "\ninterrupted\n")
