"""`fed executors`: what programs can run on."""

from __future__ import annotations

import inspect

import click


@click.command
def command() -> int:
    """List the executors, with a star the one that `fed run` takes by itself."""
    from fedlang.run.registry import executor_names, get_executor

    in_force = get_executor().name
    for name in executor_names():
        click.echo(f"{'*' if name == in_force else ' '} {name:<12} {described(name)}")
    return 0


def described(name: str) -> str:
    """The first sentence that an executor says of itself, or why it cannot be used."""
    from fedlang.cli.quiet import load_executor
    from fedlang.diagnostics import DiagnosticError

    try:
        text = inspect.getdoc(type(load_executor(name))) or ""
    except DiagnosticError as error:
        return f"not available: {error.diagnostics[0].title}"
    return text.split("\n\n")[0].replace("\n", " ")
