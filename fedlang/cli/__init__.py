"""The command line, `fed`. `main` is the script; each command has a file, read when the command is used.

Results go to standard output, diagnostics and progress to standard error. Exit codes: 0 fine; 1 a mistake in a program,
a file that would be formatted, a failed test; 2 a mistake on the command line or in what it names; 3 a program that
failed while running; 4 a mistake of fedlang's own; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Gives the exit code and raises nothing."""
    from fedlang.cli.app import run_command

    return run_command(list(sys.argv[1:] if arguments is None else arguments))
