"""`fed explain`: a page for each code."""

from __future__ import annotations

import os
import re

import click

from fedlang.cli.errors import no_page

_SECTION = re.compile(r"^## (FED\d{4}) (.*)\n((?:(?!## ).*\n?)*)", re.MULTILINE)


@click.command
@click.argument("code")
def command(*, code: str) -> int:
    """Explain the code of a mistake, such as FED0401."""
    found = pages()
    wanted = code.upper() if code.upper().startswith("FED") else f"FED{code.zfill(4)}"
    if wanted not in found:
        raise no_page(code, list(found))
    click.echo(found[wanted])
    return 0


def pages() -> dict[str, str]:
    """The pages by code."""
    with open(os.path.join(os.path.dirname(__file__), "pages.md"), encoding="utf-8") as file:
        sections = _SECTION.findall(file.read())
    return {code: f"{code}: {title}\n\n{text.strip()}" for code, title, text in sections}
