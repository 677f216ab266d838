"""The door of the stage: from a source to its tree, `parse(Source) -> Parsed`.

A file is cut into pieces that are parsed alone (see `pieces`), so every broken declaration is reported. A user's
mistake never raises here; `parse_expression` and `parse_type`, for text given by a program, raise DiagnosticError.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, cast

from lark import TextSlice
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from fedlang.diagnostics import Diagnostic, DiagnosticError
from fedlang.frozen import Frozen
from fedlang.names.nearest import nearest
from fedlang.source import Source, Span
from fedlang.syntax import errors
from fedlang.syntax.expected import bad_character, bad_token
from fedlang.syntax.grammar import parser
from fedlang.syntax.limits import DEEPEST_TREE, LONGEST_FILE
from fedlang.syntax.pieces import KINDS, Piece, cut, first_text, module_documentation, names_in, word_at
from fedlang.syntax.scan import Scan, scan
from fedlang.syntax.tree import Declaration, Expression, Module, Name, TypeTree

FOREIGN_KEYWORDS = {"func": "fn", "function": "fn", "def": "fn", "fun": "fn", "struct": "type", "from": "import"}

_one_at_a_time = Lock()  # Lark's callbacks belong to the parser, not to one parse


class Parsed(Frozen):
    """A file's tree, its mistakes in source order, and what else a tool wants to know of it.

    `broken_names` are what the pieces left out of the module seem to declare: using them is no further mistake.
    """

    module: Module
    diagnostics: tuple[Diagnostic, ...]
    broken_names: tuple[Name, ...]
    comments: tuple[Span, ...]


def parse(source: Source) -> Parsed:
    """Parses a file. Declarations that are broken are left out of the module."""
    unfit = _unfit(source)
    if unfit:
        return Parsed(Module(source, (), ""), (unfit,), (), ())
    reader = _Reader(source)
    pieces = cut(source)
    starts = [*(piece.span.start for piece in pieces), len(source.text)]
    reader.read_stray(0, starts[0])
    for piece, end in zip(pieces, starts[1:], strict=True):
        reader.read(piece, end)
    return reader.parsed()


def parse_piece(piece: Piece) -> tuple[Declaration | None, tuple[Diagnostic, ...]]:
    """Parses one declaration; None where it is broken."""
    scanned = scan(piece.span.source, piece.span.start, piece.span.end)
    return _parse_scanned(piece.span, scanned)


def parse_expression(source: Source | str) -> Expression:
    """Parses text that is one expression, as in an argument on the command line. Raises DiagnosticError."""
    return cast(Expression, _parse_alone(source, "<expression>", "lone_expression"))


def parse_type(source: Source | str) -> TypeTree:
    """Parses text that is one type, as a Python program writes it. Raises DiagnosticError."""
    return cast(TypeTree, _parse_alone(source, "<type>", "lone_type"))


class _Reader:
    """Collects what the pieces of one file give."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.declarations: list[Declaration] = []
        self.problems: list[Diagnostic] = []
        self.broken: list[Span] = []
        self.comments: list[Span] = []

    def read(self, piece: Piece, end: int) -> None:
        """One piece; `end` is where the next one's keyword stands."""
        scanned = scan(self.source, piece.span.start, end)
        self.comments += scanned.comments
        declaration, problems = _parse_scanned(piece.span, scanned)
        self.problems += problems
        if declaration:
            self.declarations.append(declaration)
        else:
            self.broken += names_in(self.source, piece.span.start, scanned.end)
        if scanned.end < end:
            self.read_stray(scanned.end, end)

    def read_stray(self, start: int, end: int) -> None:
        """Text that belongs to no piece: before the first one, or from a word at column 0 that is no keyword.

        Its first word is a mistake; later ones at column 0 are where they look like a keyword.
        """
        seen = False
        while start < end:
            scanned = scan(self.source, start, end, outside=True)
            self.comments += scanned.comments
            text = None if seen else first_text(self.source, start, scanned.end)
            if scanned.problems or (text is None and scanned.end == end):
                self.problems += () if seen else scanned.problems
                return
            word = text or word_at(self.source, scanned.end)
            self.report_stray(word, end, only_keywords=seen)
            start, seen = max(word.end, scanned.end), True

    def report_stray(self, word: Span, end: int, *, only_keywords: bool) -> None:
        text = word.text
        keyword = text if text in KINDS else FOREIGN_KEYWORDS.get(text) or nearest(text, KINDS)
        if keyword or not only_keywords:
            self.problems.append(errors.no_declaration(word, keyword))
            self.broken += names_in(self.source, word.start, end)

    def parsed(self) -> Parsed:
        """What was read; a file without any declaration gets a warning."""
        source = self.source
        if not self.declarations and not self.problems:
            self.problems.append(errors.empty_file(Span(source, 0, 0)))
        module = Module(source, tuple(self.declarations), module_documentation(source.text))
        names = tuple(Name(each.text, each) for each in self.broken)
        return Parsed(module, tuple(self.problems), names, tuple(self.comments))


def _unfit(source: Source) -> Diagnostic | None:
    if len(source.text) > LONGEST_FILE:
        return errors.too_long(source.path, len(source.text), LONGEST_FILE)
    nul = source.text.find("\0")
    return errors.nul_byte(Span(source, nul, nul + 1)) if nul >= 0 else None


def _parse_alone(text: Source | str, path: str, start: str) -> object:
    source = Source(path, text) if isinstance(text, str) else text
    unfit = _unfit(source)
    span = Span(source, 0, len(source.text))
    scanned = scan(source, span.start, span.end, alone=True)
    problems = (unfit,) if unfit else scanned.problems
    node, found = (None, problems) if problems else _parse_span(span, start)
    if found:
        raise DiagnosticError(*found)
    return node


def _parse_scanned(span: Span, scanned: Scan) -> tuple[Declaration | None, tuple[Diagnostic, ...]]:
    if scanned.problems:
        return None, scanned.problems
    node, problems = _parse_span(Span(span.source, span.start, min(span.end, scanned.end)), "declaration")
    return cast(Declaration | None, node), problems


def _parse_span(span: Span, start: str) -> tuple[object | None, tuple[Diagnostic, ...]]:
    """The node that the span's text is, or why it is none."""
    lark, builder = parser()
    with _one_at_a_time:
        builder.begin(span.source)
        try:
            node: Any = lark.parse(TextSlice(span.source.text, span.start, span.end), start=start)
        except UnexpectedToken as error:
            return None, (bad_token(span.source, error, span.end),)
        except UnexpectedCharacters as error:
            return None, (bad_character(span.source, cast(int, error.pos_in_stream)),)
        problems = tuple(builder.problems)
    if not problems and 2 * (span.end - span.start) > DEEPEST_TREE and is_too_deep(node):
        problems = (errors.too_long_expression(_first_line(span)),)
    return (None, problems) if problems else (node, ())


def is_too_deep(node: object) -> bool:
    """Whether later stages, which recurse over the tree, could run out of stack. Goes level by level."""
    level, depth = [node], 0
    while level and depth <= DEEPEST_TREE:
        level = [child for each in level for child in _children(each)]
        depth += 1
    return bool(level)


def _children(node: object) -> list[object]:
    if isinstance(node, Frozen):
        return [each for each in node.__dict__.values() if isinstance(each, Frozen | tuple)]
    return list(node) if isinstance(node, tuple) and not isinstance(node, Span) else []


def _first_line(span: Span) -> Span:
    end = span.source.text.find("\n", span.start, span.end)
    return span if end < 0 else Span(span.source, span.start, end)
