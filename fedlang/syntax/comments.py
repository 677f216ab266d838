"""Hands a file's comments to the printer in order, so that each is printed once, near where it stood."""

from __future__ import annotations

import re

from fedlang.source import Source, Span

_BETWEEN = re.compile(r"[ \t,]*")


class Comments:
    """The comments that are not yet printed."""

    def __init__(self, source: Source, comments: tuple[Span, ...]) -> None:
        self.text = source.text
        self.left = list(reversed(comments))

    def before(self, offset: int) -> list[Span]:
        """Takes those that begin before `offset`."""
        taken = []
        while self.left and self.left[-1].start < offset:
            taken.append(self.left.pop())
        return taken

    def moved(self, comment: Span) -> str:
        """The words of one that stood after code and gets a line of its own, where `##` would make it documentation."""
        text = comment.text.rstrip()
        start = self.text.rfind("\n", 0, comment.start) + 1
        return f"#{text.lstrip('#')}" if self.text[start : comment.start].strip() else text

    def beside(self, offset: int) -> Span | None:
        """Takes the one that follows `offset` on its line, after at most a comma."""
        if not self.left:
            return None
        between = _BETWEEN.match(self.text, offset)
        return self.left.pop() if between and between.end() == self.left[-1].start else None

    def any_before(self, offset: int) -> bool:
        """Whether one begins before `offset`."""
        return bool(self.left) and self.left[-1].start < offset

    def blank_line(self, start: int, end: int) -> bool:
        """Whether the text between two offsets holds an empty line."""
        return self.text.count("\n", start, end) > 1
