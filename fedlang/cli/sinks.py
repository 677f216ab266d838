"""Where the lines go that a program prints."""

from __future__ import annotations

from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Console:
    """Standard output or standard error. What is probed is shown with its name."""

    err: bool

    def print(self, text: str) -> None:
        """Writes the line."""
        click.echo(text, err=self.err)

    def probe(self, name: str, value: object) -> None:
        """Writes the value with its name."""
        click.echo(f"{name} = {value}", err=self.err)
