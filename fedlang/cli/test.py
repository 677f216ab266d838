"""`fed test`: the tests of programs, and the facts that their documentation states."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from fedlang.cli import report
from fedlang.cli.paths import fed_files
from fedlang.diagnostics import DiagnosticError


@click.command
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option("-k", "word", default="", metavar="WORD", help="Only tests whose name has this word.")
@click.option("--executor", metavar="NAME", default="reference", show_default=True, help="What they run on.")
def command(*, paths: tuple[str, ...], word: str, executor: str) -> int:
    """Run the tests of programs.

    These are the `test` blocks, and each fact: an indented line in a `##` comment that is an expression, such as
    `##     exp(0.0) == 1.0`. Exit code 1 tells of failures.
    """
    from fedlang.cli.quiet import load_executor

    started = time.perf_counter()
    load_executor(executor)
    outcomes = [outcome for file in fed_files(paths or (".",)) for outcome in test_file(file, word, executor)]
    passed, failed = outcomes.count(True), outcomes.count(False)
    click.echo(f"{passed} passed, {failed} failed in {time.perf_counter() - started:.1f} s")
    return 1 if failed else 0


def test_file(path: str, word: str, executor: str) -> Iterator[bool]:
    """Runs the tests of a file and tells of each; a file that cannot be compiled is one that fails."""
    from fedlang.cli.facts import cases_of

    try:
        cases = [case for case in cases_of(path) if word in case.name]
    except DiagnosticError as error:
        yield _failed(path, "cannot be compiled", error)
        return
    for case in cases:
        try:
            case.run(executor)
        except DiagnosticError as error:
            yield _failed(path, case.name, error)
        else:
            click.echo(f"pass  {path}: {case.name}")
            yield True


def _failed(path: str, name: str, error: DiagnosticError) -> bool:
    click.echo(f"FAIL  {path}: {name}")
    report.show(error.diagnostics)
    return False
