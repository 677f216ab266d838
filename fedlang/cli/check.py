"""`fed check`: what is wrong with programs."""

from __future__ import annotations

import click

from fedlang.cli import report
from fedlang.cli.opening import open_path
from fedlang.cli.paths import fed_files, is_python
from fedlang.diagnostics import Diagnostic, DiagnosticError


@click.command
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option("--output-format", type=click.Choice(report.FORMATS), default="full", help="How mistakes are shown.")
def command(*, paths: tuple[str, ...], output_format: str) -> int:
    """Check types and places of programs.

    PATHS are files, folders, or - for standard input; without any, the folder where you are. A Python file is imported,
    and each program that it defines is compiled; in folders only .fed files are looked at. Exit code 1 tells of errors.
    """
    files = fed_files(paths or (".",))
    found = list(dict.fromkeys(each for file in files for each in diagnose(file)))
    report.show(found, output_format, checked=len(files))
    return report.exit_code(found)


def diagnose(path: str) -> tuple[Diagnostic, ...]:
    """Everything that is wrong with one file."""
    try:
        if is_python(path):
            from fedlang.cli.python_files import import_file  # heavier than all that .fed files need

            return import_file(path).diagnostics
        return open_path(path).diagnostics
    except DiagnosticError as error:
        return error.diagnostics
