"""`fed doc`: what files and modules declare, with their documentation."""

from __future__ import annotations

from collections.abc import Iterator

import click

from fedlang.cli.paths import read_path, verify_text
from fedlang.diagnostics import DiagnosticError
from fedlang.modules import Modules
from fedlang.source import Source
from fedlang.syntax import tree
from fedlang.syntax.parser import parse


@click.command
@click.argument("name", metavar="FILE|MODULE")
def command(*, name: str) -> int:
    """Print what a file or a module declares, as Markdown.

    A MODULE is one of the library or beside you, such as `learning.fedavg`; `prelude` is what every program has.
    """
    verify_text(name, "doc")
    sources = () if "/" in name or name.endswith(".fed") else Modules(".").find(name)
    for source in sources or (read_path(name),):
        click.echo("\n\n".join(sections(source)))
        click.echo()
    return 0


def sections(source: Source) -> Iterator[str]:
    """The file's own words, then a section for each declaration."""
    parsed = parse(source)
    wrong = [each for each in parsed.diagnostics if each.severity == "error"]
    if wrong:
        raise DiagnosticError(*wrong)
    if parsed.module.documentation:
        yield parsed.module.documentation
    for declaration in parsed.module.declarations:
        if not isinstance(declaration, tree.Import | tree.Allow | tree.TestDeclaration):
            yield f"```fed\n{head_of(declaration)}\n```\n\n{declaration.documentation}".rstrip()


def head_of(declaration: tree.Declaration) -> str:
    """The declaration without its body."""
    span = declaration.span
    match declaration:
        case tree.FunctionDeclaration(body=body):
            end = body.span.start
        case tree.ProcessDeclaration(body=body):
            end = _opening(declaration, body) if isinstance(body, tuple) else body.span.start
        case tree.PrimitiveDeclaration(result=result):
            end = result.span.end
        case _:
            end = span.end
    return span.source.text[span.start : end].rstrip().removesuffix("=").rstrip()


def _opening(declaration: tree.ProcessDeclaration, methods: tuple[tree.Method, ...]) -> int:
    """Where the brace before the first method stands."""
    start, end = declaration.span.start, methods[0].span.start if methods else declaration.span.end
    return declaration.span.source.text.rindex("{", start, end)
