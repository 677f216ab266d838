"""The group of commands, and the one door from exceptions to exit codes."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from importlib import import_module

import click

from fedlang import __version__
from fedlang.cli import report
from fedlang.diagnostics import DiagnosticError
from fedlang.names.nearest import nearest

COMMANDS = ("check", "fmt", "run", "train", "test", "ir", "doc", "explain", "executors")
INTERRUPTED = 130
INTERNAL = 4
MANY = 50_000  # objects made before garbage is looked for: what a compiler makes, it keeps


class Commands(click.Group):
    """Reads the file of a command when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        found = import_module(f"fedlang.cli.{cmd_name}").command
        assert isinstance(found, click.Command), "each file has a `command`"
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for one that there is not."""
        near = nearest(args[0], COMMANDS) if args and args[0] not in COMMANDS else None
        if near and not args[0].startswith("-"):
            ctx.fail(f"there is no command `{args[0]}`; did you mean `{near}`?")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fedlang %(version)s")
@click.option("--debug", is_flag=True, help="Show where in fedlang an error comes from.")
def app(*, debug: bool) -> None:
    """A typed language for federated computation."""


def run_command(arguments: list[str]) -> int:
    """One command from its words to its exit code."""
    debug = "--debug" in arguments
    try:
        return _invoke(arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DiagnosticError as error:
        _traceback(debug=debug)
        report.show(error.diagnostics)
        return report.exit_code(error.diagnostics)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        _traceback(debug=debug)
        report.show([report.internal(error)])
        return INTERNAL


def _invoke(arguments: list[str]) -> int:
    """What the command gives; an int is an exit code."""
    gc.set_threshold(MANY)
    with warnings.catch_warnings():
        warnings.showwarning = _note
        given = app.main(arguments, prog_name="fed", standalone_mode=False)
    sys.stdout.flush()
    return given if isinstance(given, int) else 0


def _note(
    message: Warning | str, category: object, filename: str, lineno: int, file: object = None, line: object = None
) -> None:
    """A warning, such as of an executor, as the commands say such things."""
    click.echo(f"note: {message}", err=True)


def _traceback(*, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
