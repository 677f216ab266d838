"""Says in plain words what the parser met and what it would have taken instead.

In: an error of Lark's and the source. Out: one diagnostic. Common slips, with their own advice, are tried first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Set

from lark.exceptions import UnexpectedToken
from lark.lexer import Token

from fedlang.diagnostics import Diagnostic
from fedlang.source import Source, Span
from fedlang.syntax import errors

_OPERATOR = "PERCENT PLUS MINUS STAR SLASH DIVIDE AT AND OR EQUALS DIFFERS LEAST MOST LESSTHAN MORETHAN"

# What a set of acceptable tokens means: the first row whose telling token is acceptable names all of its tokens.
_EXPRESSION = "FLOAT INT STRING NAME TRUE FALSE LPAR LSQB LBRACE MINUS NOT FN IF FOLD SCAN REPEAT"
_GROUPS = (
    ("LET", "a statement or a value", f"LET EXPECT PRINT PROBE {_EXPRESSION}"),
    ("FLOAT", "an expression", _EXPRESSION),
    ("QMARK", "a type or a size", "QMARK INT NAME UNDERSCORE LBRACE LPAR LESSTHAN ELLIPSIS MINUS"),
    ("PERCENT", "an operator", _OPERATOR),
)
_PATTERN = frozenset({"NAME", "UNDERSCORE", "LPAR", "LBRACE"})
_TYPE = _PATTERN | {"LESSTHAN"}
_HIDDEN = frozenset({"DOT", "LSQB", "LPAR"})  # these can follow every value: no help
_WORDS = {
    "NAME": "a name",
    "STRING": "a string",
    "INT": "a number",
    "FLOAT": "a number",
    "_NL": "a new line",
    "$END": "the end",
}

_NUMBER = re.compile(r"[0-9][\w.]*")
_EACH_IN_BRACES = re.compile(r"\{([^{}:,\n]+)\}@([A-Za-z_]\w*)")
_ARROW_BRACE = re.compile(r"=>(?=\s*\{\s*(?:#[^\n]*\s*)*\Z)")
_CHARACTERS = {
    ";": "a statement ends where its line ends: drop the `;`",
    "'": 'strings are written with `"`',
    "`": 'strings are written with `"`',
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`",
    "^": "write `power(x, y)` for a power",
    "\\": "an expression goes on over a line's end inside ( ) and [ ], or before an operator",
    "$": "",
}
_AFTER = {
    "return": "the last line of a block is its value: drop `return`",
    "var": "write `let`",
    "const": "write `let`",
    "val": "write `let`",
    "for": "loops are `fold x in xs from start as now { … }`",
    "while": "loops are `fold x in xs from start as now { … }` and `repeat n from start as now { … }`",
    "def": "write `fn`",
    "func": "write `fn`",
    "lambda": "write `fn (x) => …`",
}


def bad_character(source: Source, start: int) -> Diagnostic:
    """The lexer found no token at `start`."""
    number = _NUMBER.match(source.text, start)
    if number:
        return errors.bad_number(Span(source, start, number.end()), _number_hint(number.group()))
    sign = source.text[start]
    return errors.stray_character(Span(source, start, start + 1), _shown(sign), _CHARACTERS.get(sign, ""))


def _number_hint(text: str) -> str:
    if text.endswith("."):
        return f"write `{text}0`"
    if text.endswith("_") or "__" in text:
        return "an underscore stands between two digits"
    if text.startswith(("0x", "0X")):
        return "after `0x` stand digits and the letters a to f"
    if re.fullmatch(r"[\d_.]+[eE]", text):
        return "a digit must follow `e`"
    if re.fullmatch(r"[\d.]+", text):
        return "a number has one point"
    return "names do not begin with a digit, and numbers hold no letters"


def _shown(sign: str) -> str:
    """A character for people; what cannot be seen is named."""
    if sign.isascii() and sign.isprintable():
        return f"`{sign}`"
    name = unicodedata.name(sign, "control character").lower()
    shown = f"`{sign}` " if sign.isprintable() else ""
    return f"{shown}(U+{ord(sign):04X}, {name})"


def bad_token(source: Source, error: UnexpectedToken, end: int) -> Diagnostic:
    """The parser cannot go on at a token, or at the end of the piece, `end`."""
    token: Token = error.token
    if token.type == "$END":
        place = len(source.text[:end].rstrip())
        span, found = Span(source, max(place - 1, 0), place), "end of the declaration"
    else:
        assert token.start_pos is not None
        assert token.end_pos is not None
        span, found = Span(source, token.start_pos, token.end_pos), _found(token)
    special = _arrow_block(span, token) or _braces_for_each(span)
    if special:
        return special
    if token.type == "_NL":
        span = Span(source, span.start, span.start + 1)
    accepted = frozenset(error.interactive_parser.accepts())  # type: ignore[no-untyped-call]
    return errors.unexpected(span, found, wanted(accepted), _hint(span, token, accepted))


def _found(token: Token) -> str:
    if token.type == "_NL":
        return "end of the line"
    if token.value.isalpha() and token.type == token.value.upper():
        return f"keyword `{token.value}`"
    return f"`{token.value}`" if len(token.value) < 40 else f"`{token.value[:36]}…`"


def _arrow_block(span: Span, token: Token) -> Diagnostic | None:
    if token.type not in ("LET", "EXPECT", "PRINT", "PROBE"):
        return None
    arrow = _ARROW_BRACE.search(span.source.text, max(0, span.start - 2_000), span.start)
    return errors.block_after_arrow(Span(span.source, arrow.start(), arrow.end())) if arrow else None


def _braces_for_each(span: Span) -> Diagnostic | None:
    """`{T}@CLIENTS`: the mistake is met inside the braces or just after them, on one line."""
    text = span.source.text
    start = text.rfind("\n", 0, span.start) + 1
    stop = text.find("\n", span.start)
    for found in _EACH_IN_BRACES.finditer(text, start, stop if stop >= 0 else len(text)):
        if found.start() < span.start <= found.end():
            whole = Span(span.source, found.start(), found.end())
            return errors.braces_for_each(whole, found.group(1).strip(), found.group(2))
    return None


def _hint(span: Span, token: Token, accepted: Set[str]) -> str:
    before = span.source.text[max(0, span.start - 80) : span.start].split()
    previous = re.split(r"\W", before[-1])[-1] if before else ""
    for rule in _HINTS:
        hint = rule(token, accepted, previous)
        if hint:
            return hint
    return ""


def _foreign_word(token: Token, accepted: Set[str], previous: str) -> str:
    return _AFTER.get(token.value, "") or _AFTER.get(previous, "")


def _reserved(token: Token, accepted: Set[str], previous: str) -> str:
    is_word = token.type.isalpha() and token.value == token.type.lower()
    return f"`{token.value}` is reserved: choose another name" if is_word and "NAME" in accepted else ""


def _missing_else(token: Token, accepted: Set[str], previous: str) -> str:
    return "`if` is an expression: it needs an `else` that gives the other value" if "ELSE" in accepted else ""


def _loop_operand(token: Token, accepted: Set[str], previous: str) -> str:
    loose = token.type in ("IF", "FOLD", "SCAN", "REPEAT", "FN") and "FLOAT" in accepted
    return f"put parentheses around the `{token.value}`" if loose else ""


def _single_equals(token: Token, accepted: Set[str], previous: str) -> str:
    return "equality is `==`" if token.type == "EQUAL" and "EQUALS" in accepted else ""


def _missing_comma(token: Token, accepted: Set[str], previous: str) -> str:
    starts = token.type in _EXPRESSION.split()
    return "a comma may be missing before it" if starts and "COMMA" in accepted else ""


def _product_of_sizes(token: Token, accepted: Set[str], previous: str) -> str:
    size = token.type in ("INT", "NAME", "LPAR") and {"STAR", "AT", "RSQB"} <= accepted
    return "sizes are multiplied by `product(a, b)`; a `*` after a type makes a sequence" if size else ""


def _unknown_size(token: Token, accepted: Set[str], previous: str) -> str:
    size = token.type == "QMARK" and "FLOAT" in accepted
    return "`?` is for types; give this one a name, `type Name = …`, and use the name here" if size else ""


def _not_a_method(token: Token, accepted: Set[str], previous: str) -> str:
    found = token.type in ("LET", "FN", "FED") and {"NAME", "RBRACE"} == accepted
    return "braces after `process` hold methods alone: `initialize(…) { … }`, `next(…) { … }`" if found else ""


_HINTS: tuple[Callable[[Token, Set[str], str], str], ...] = (
    _not_a_method,
    _product_of_sizes,
    _unknown_size,
    _foreign_word,
    _missing_else,
    _loop_operand,
    _reserved,
    _single_equals,
    _missing_comma,
)


def wanted(accepted: Set[str]) -> str:
    """What could stand there, in words: `a type`, `` `,` or `)` ``."""
    words: list[str] = []
    rest = set(accepted)
    for telling, word, members in _GROUPS:
        if telling in rest:
            words.append(word)
            rest -= set(members.split())
    for word, kinds in (("a type", _TYPE), ("a pattern", _PATTERN)):
        if kinds <= rest:
            words.append(word)
            rest -= kinds
    if "an operator" in words:
        rest -= _HIDDEN
    if "an operator" in words and rest:
        words.remove("an operator")  # the bracket, comma or line's end is what is missing
    plain = sorted(_word(each) for each in rest)
    return _either([*words, *plain])


def _word(kind: str) -> str:
    return _WORDS.get(kind) or f"`{_SIGNS.get(kind, kind.lower())}`"


def _either(words: list[str]) -> str:
    unique = list(dict.fromkeys(words))
    if len(unique) <= 1:
        return "".join(unique)
    return f"{', '.join(unique[:-1])} or {unique[-1]}"


_SIGNS = {
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "LBRACE": "{",
    "RBRACE": "}",
    "COMMA": ",",
    "COLON": ":",
    "DOT": ".",
    "EQUAL": "=",
    "ARROW": "->",
    "GIVES": "=>",
    "ELLIPSIS": "...",
    "SPREAD": "..",
    "UNDERSCORE": "_",
    "AT": "@",
    "LESSTHAN": "<",
    "MORETHAN": ">",
    "STAR": "*",
    "QMARK": "?",
    "MINUS": "-",
    "PLUS": "+",
    "SLASH": "/",
    "DIVIDE": "//",
    "PERCENT": "%",
    "EQUALS": "==",
    "DIFFERS": "!=",
    "MOST": "<=",
    "LEAST": ">=",
}
