"""The lexer given to Lark: one regular expression made from the grammar's terminals, and the layout rule.

In: a slice of a source. Out: tokens whose positions count from the start of the source's text.
Terminals do not depend on the parser's state, so a keyword is a keyword everywhere and a mistake is found
at the token where it is made. Line ends are passed on only directly inside `{ }` and after a token that
can end a line (see the head of the grammar).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lark.common import LexerConf
from lark.exceptions import UnexpectedCharacters
from lark.lexer import Lexer, LexerState, TerminalDef, Token

OPENING = frozenset({"LPAR", "LSQB", "LBRACE"})
CLOSING = frozenset({"RPAR", "RSQB", "RBRACE"})
LAST_IN_LINE = CLOSING | {"NAME", "INT", "FLOAT", "STRING", "TRUE", "FALSE", "UNDERSCORE"}


class LayoutLexer(Lexer):
    """Reads tokens without looking at the parser. `__future_interface__` is how Lark knows it takes slices."""

    __future_interface__ = 2

    def __init__(self, lexer_conf: LexerConf) -> None:
        terminals = sorted(lexer_conf.terminals, key=_precedence)
        name = re.compile(next(each for each in terminals if each.name == "NAME").pattern.to_regexp())
        self.keywords = {each.pattern.value: each.name for each in terminals if _is_keyword(each, name)}
        others = (each for each in terminals if not _is_keyword(each, name))
        self.match = re.compile("|".join(f"(?P<{each.name}>{each.pattern.to_regexp()})" for each in others)).match
        self.ignored = frozenset(lexer_conf.ignore)

    def lex(self, lexer_state: LexerState, parser_state: Any) -> Iterator[Token]:
        """The tokens of the slice; raises UnexpectedCharacters where no terminal fits."""
        text, position, end = lexer_state.text.text, lexer_state.text.start, lexer_state.text.end
        match, ignored, keywords = self.match, self.ignored, self.keywords
        brackets: list[str] = []
        previous = ""
        while position < end:
            found = match(text, position, end)
            if found is None:
                raise UnexpectedCharacters(text, position, 1, 1)  # type: ignore[no-untyped-call]
            kind = found.lastgroup
            assert kind is not None, "every terminal is a named group"
            start, position = position, found.end()
            if kind in ignored:
                continue
            if kind == "_NL" and not (brackets and brackets[-1] == "LBRACE" and previous in LAST_IN_LINE):
                continue
            value = found.group()
            if kind == "NAME":
                kind = keywords.get(value, kind)
            elif kind in OPENING:
                brackets.append(kind)
            elif kind in CLOSING and brackets:
                brackets.pop()
            previous = kind
            yield Token(kind, value, start, end_pos=position)


def _precedence(terminal: TerminalDef) -> tuple[int, int, int, str]:
    """Lark's own order: priority, then the longest possible match."""
    return -terminal.priority, -terminal.pattern.max_width, -len(terminal.pattern.value), terminal.name


def _is_keyword(terminal: TerminalDef, name: re.Pattern[str]) -> bool:
    return terminal.pattern.type == "str" and name.fullmatch(terminal.pattern.value) is not None
