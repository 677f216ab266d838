"""Where text comes from: a source file and the spans that point into it.

A `Span` is all the later stages carry; lines and columns are worked out only when a diagnostic is shown.
"""

from __future__ import annotations

from typing import NamedTuple


class Source:
    """One file's text. Compared by identity: two files with the same text stay two files."""

    __slots__ = ("path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    def __repr__(self) -> str:
        return f"Source({self.path!r})"

    def __reduce__(self) -> tuple[type[Source], tuple[str, str]]:
        return Source, (self.path, self.text)


class Span(NamedTuple):
    """The half-open range of characters `[start, end)` of one source."""

    source: Source
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, other.end)

    @property
    def text(self) -> str:
        """The characters the span covers."""
        return self.source.text[self.start : self.end]


class Position(NamedTuple):
    """A place in a file as people count: line and column both from 1."""

    line: int
    column: int


def position_of(source: Source, offset: int) -> Position:
    """The line and column of a character offset."""
    before = source.text[:offset]
    line = before.count("\n") + 1
    return Position(line, offset - (before.rfind("\n") + 1) + 1)
