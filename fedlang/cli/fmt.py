"""`fed fmt`: programs in the one style."""

from __future__ import annotations

import difflib
import sys

import click

from fedlang.cli import report
from fedlang.cli.paths import STDIN, fed_files, read_path, verify_text
from fedlang.cli.writing import write_whole
from fedlang.diagnostics import DiagnosticError
from fedlang.source import Source
from fedlang.syntax.parser import parse
from fedlang.syntax.printer import print_module


@click.command
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit code 1 if a file would change.")
@click.option("--diff", "show_diff", is_flag=True, help="Change nothing; show what would change.")
def command(*, paths: tuple[str, ...], only_check: bool, show_diff: bool) -> int:
    """Format programs in the one style.

    PATHS are files, folders, or - for standard input to standard output; without any, the folder where you are. A file
    with syntax errors stays as it is.
    """
    files = fed_files(paths or (".",))
    codes = [format_file(file, write=not (only_check or show_diff), show_diff=show_diff) for file in files]
    return max(codes, default=0)


def format_file(path: str, *, write: bool, show_diff: bool) -> int:
    """One file; gives its exit code."""
    try:
        verify_text(path, "fmt")
        source = read_path(path)
        text = formatted(source)
    except DiagnosticError as error:
        report.show(error.diagnostics)
        return report.exit_code(error.diagnostics)
    if path == STDIN and write:
        sys.stdout.write(text)
        return 0
    if text == source.text:
        return 0
    if show_diff:
        sys.stdout.writelines(_diff(source, text))
    if write:
        write_whole(path, text.encode())
    click.echo(f"{'formatted' if write else 'would format'} {source.path}", err=True)
    return 0 if write else 1


def formatted(source: Source) -> str:
    """The text in the one style. Raises `DiagnosticError` for text that cannot be parsed."""
    parsed = parse(source)
    wrong = [each for each in parsed.diagnostics if each.severity == "error"]
    if wrong:
        raise DiagnosticError(*wrong)
    return print_module(parsed)


def _diff(source: Source, text: str) -> list[str]:
    lines = (source.text.splitlines(keepends=True), text.splitlines(keepends=True))
    return list(difflib.unified_diff(*lines, source.path, f"{source.path} (formatted)"))
