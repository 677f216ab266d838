"""Cuts a file into its declarations by regular expression, without parsing it.

Declarations start at column 0 with a keyword and nothing else does, so a file can be cut there: a mistake in one
declaration hides no other's, and a library's declarations can be parsed one at a time, when they are asked for.
"""

from __future__ import annotations

import re
from itertools import pairwise

from fedlang.frozen import Frozen
from fedlang.source import Source, Span

KINDS = ("import", "allow", "type", "fn", "fed", "extern", "prim", "process", "test")

_HEAD = re.compile(rf"^(?:{'|'.join(KINDS)})\b", re.MULTILINE)
_COMMENT_LINES = re.compile(r"(?:^#[^\n]*\n)+\Z", re.MULTILINE)
_NAMES = re.compile(r"(?:extern\s+fn|prim\s+\w+|fn|fed|type|process|allow)\s+([A-Za-z_]\w*)")
_IMPORT = re.compile(r"import\s+([\w.]+)[ \t]*(?:\(([^()]*)\)?)?")
_TITLE = re.compile(r'test\s+"((?:\\.|[^"\\\n])*)')
_FOREIGN = re.compile(r"[A-Za-z_]\w*\s+([A-Za-z_]\w*)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_TEXT = re.compile(r"(?:\s+|#[^\n]*)*+(\w+|.)")
_MODULE_COMMENT = re.compile(r"\A\s*+(?:[ \t]*#[^\n]*\n)+(?=[ \t]*\n|import\b|\Z)")


class Piece(Frozen):
    """One declaration's text. `span` starts at its keyword; documentation lies before it, trailing comments inside."""

    kind: str
    name: str  # "" where none can be read: an `import`, or a broken head; a test's is its title
    span: Span


def cut(source: Source) -> tuple[Piece, ...]:
    """The pieces of a file, in order."""
    starts = [found.start() for found in _HEAD.finditer(source.text)]
    return tuple(_piece(source, start, end) for start, end in pairwise([*starts, len(source.text)]))


def index(source: Source) -> dict[str, tuple[Piece, ...]]:
    """The pieces that declare a name, by that name, which a type and a function may share. No imports, no tests."""
    found: dict[str, tuple[Piece, ...]] = {}
    for piece in cut(source):
        if piece.name and piece.kind not in ("import", "allow", "test"):
            found[piece.name] = (*found.get(piece.name, ()), piece)
    return found


def _piece(source: Source, start: int, end: int) -> Piece:
    """A piece without the comment lines that document the next one."""
    text = source.text
    if end < len(text):
        comment = _COMMENT_LINES.search(text, text.rfind("\n\n", start, end) + 1 or start, end)
        end = comment.start() if comment and comment.start() > start else end
    head = _HEAD.match(text, start)
    assert head is not None, "a piece starts at a keyword"
    pattern = _TITLE if head.group() == "test" else _NAMES
    name = pattern.match(text, start, end)
    return Piece(head.group(), name.group(1) if name else "", Span(source, start, end))


def names_in(source: Source, start: int, end: int) -> tuple[Span, ...]:
    """The names a piece that cannot be parsed seems to declare or import; text that is no declaration counts too."""
    text = source.text
    imported = _IMPORT.match(text, start, end)
    if imported and imported.group(2) is not None:
        words = _WORD.finditer(text, imported.start(2), imported.end(2))
        return tuple(Span(source, each.start(), each.end()) for each in words)
    if imported:
        last = text.rfind(".", imported.start(1), imported.end(1)) + 1
        return (Span(source, max(last, imported.start(1)), imported.end(1)),)
    if text.startswith(("test", "allow", "import"), start):
        return ()
    found = _NAMES.match(text, start, end) or _FOREIGN.match(text, start, end)
    return (Span(source, found.start(1), found.end(1)),) if found else ()


def word_at(source: Source, start: int) -> Span:
    """The word that begins at `start`."""
    found = _WORD.match(source.text, start)
    assert found is not None, "scanned as a word"
    return Span(source, start, found.end())


def first_text(source: Source, start: int, end: int) -> Span | None:
    """The first word or sign that is neither blank nor comment."""
    found = _TEXT.match(source.text, start, end)
    return Span(source, found.start(1), found.end(1)) if found else None


def documentation_before(text: str, offset: int) -> str:
    """The `##` lines that stand directly above the line of `offset`, without their `## `."""
    lines: list[str] = []
    end = text.rfind("\n", 0, offset)
    if text[end + 1 : offset].strip():
        return ""  # the line begins with something else, whose documentation it is
    while end > 0:
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end].strip()
        if not line.startswith("#"):
            break
        if line.startswith("##"):
            lines.append(line[2:].removeprefix(" "))
        end = start - 1
    return "\n".join(reversed(lines))


def module_documentation(text: str) -> str:
    """A file's leading `##` lines, when a blank line or an import follows them."""
    found = _MODULE_COMMENT.match(text.replace("\r\n", "\n"))
    return documentation_before(found.group() + "\n", found.end()) if found else ""
