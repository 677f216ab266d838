"""The mistakes of syntax, FED0100 to FED0199: one function each, from the facts to a diagnostic."""

from __future__ import annotations

from fedlang.diagnostics import Diagnostic, Edit, Label
from fedlang.source import Source, Span
from fedlang.syntax.tree import Binary, Block, Name

COMPARISONS = frozenset({"==", "!=", "<=", ">=", "<", ">"})


def unexpected(span: Span, found: str, wanted: str, hint: str = "") -> Diagnostic:
    """A token where it cannot stand. `wanted` says in words what can."""
    label = f"expected {wanted}" if wanted else ""
    return Diagnostic("FED0101", f"unexpected {found}", (Label(span, label),), hint=hint)


def unclosed_bracket(span: Span) -> Diagnostic:
    return Diagnostic("FED0102", f"`{span.text}` is never closed", (Label(span, "opened here"),))


def unmatched_bracket(span: Span) -> Diagnostic:
    return Diagnostic("FED0103", f"`{span.text}` closes nothing", (Label(span, "no bracket is open here"),))


def mismatched_bracket(source: Source, opened: int, closed: int) -> Diagnostic:
    first, second = Span(source, opened, opened + 1), Span(source, closed, closed + 1)
    title = f"`{second.text}` cannot close `{first.text}`"
    return Diagnostic("FED0104", title, (Label(second, "this one closes"), Label(first, "this one is open")))


def unterminated_string(span: Span) -> Diagnostic:
    hint = 'a string ends with `"` on the line it begins on; write `\\n` for a line break inside it'
    return Diagnostic("FED0105", "this string has no end", (Label(span),), hint=hint)


def bad_number(span: Span, hint: str) -> Diagnostic:
    return Diagnostic("FED0106", f"`{span.text}` is not a number", (Label(span),), hint=hint)


def long_number(span: Span) -> Diagnostic:
    return Diagnostic("FED0106", "this number has too many digits", (Label(span),))


def large_float(span: Span) -> Diagnostic:
    return Diagnostic("FED0106", "this number is too large for any float", (Label(span),))


def unknown_escape(span: Span) -> Diagnostic:
    hint = 'strings know `\\n`, `\\t`, `\\r`, `\\0`, `\\"` and `\\\\`'
    return Diagnostic("FED0107", f"`{span.text}` stands for no character", (Label(span),), hint=hint)


def stray_character(span: Span, shown: str, hint: str = "") -> Diagnostic:
    return Diagnostic("FED0108", f"{shown} cannot stand here", (Label(span),), hint=hint)


def not_utf8(path: str, offset: int) -> Diagnostic:
    return Diagnostic("FED0109", f"{path} is not UTF-8 text", notes=(f"the first bad byte is number {offset}",))


def nul_byte(span: Span) -> Diagnostic:
    return Diagnostic("FED0110", "the file holds a NUL byte: it is not text", (Label(span),))


def empty_file(span: Span) -> Diagnostic:
    return Diagnostic("FED0111", "the file declares nothing", (Label(span),), severity="warning")


def too_deep(span: Span) -> Diagnostic:
    hint = "give inner parts a name with `let`, or move them into a function"
    return Diagnostic("FED0112", "nested too deep", (Label(span, "one level too many"),), hint=hint)


def too_long_expression(span: Span) -> Diagnostic:
    hint = "give parts of it a name with `let`, or fold over a list"
    return Diagnostic("FED0112", "nested too deep: this chains too many operations", (Label(span),), hint=hint)


def too_long(path: str, length: int, limit: int) -> Diagnostic:
    title = f"{path} is too long: {length:,} characters or bytes"
    return Diagnostic("FED0113", title, notes=(f"the limit is {limit:,}",))


def no_declaration(span: Span, suggestion: str | None) -> Diagnostic:
    """Text outside all declarations. `suggestion` is the keyword it was probably meant to be."""
    title = f"`{span.text}` begins no declaration"
    if suggestion == span.text:
        hint = "declarations begin at the start of a line"
        return Diagnostic("FED0114", title, (Label(span, "indented"),), hint=hint)
    if suggestion:
        return Diagnostic("FED0114", title, (Label(span),), hint=f"write `{suggestion}`", edit=Edit(span, suggestion))
    hint = "indent what belongs to the declaration above; declarations begin with a word like fn, fed, type or process"
    return Diagnostic("FED0114", title, (Label(span),), hint=hint)


def missing_value(block: Block) -> Diagnostic:
    hint = "the last line of a block is its value"
    label = Label(block.span, "empty")
    if block.statements:
        label = Label(block.statements[-1].span, "a statement: the value should follow it")
    return Diagnostic("FED0115", "this block has no value", (label,), hint=hint)


def unused_value(span: Span) -> Diagnostic:
    hint = "only the last line of a block is its value: name this one with `let`, or join the two by an operator"
    return Diagnostic("FED0116", "the value of this line goes nowhere", (Label(span),), hint=hint)


def chained_comparison(left: Binary, operator: str, sign: Span, right: Span) -> Diagnostic:
    middle = left.right.span.text
    written = f"{left.left.span.text} {left.operator} {middle} and {middle} {operator} {right.text}"
    labels = (Label(sign, "a second comparison"), Label(left.operator_span, "the first"))
    hint = f"write `{written}`" if len(written) < 80 and "\n" not in written else "join two comparisons by `and`"
    edit = Edit(left.span.to(right), written)
    return Diagnostic("FED0117", "comparisons cannot be chained", labels, hint=hint, edit=edit)


def block_after_arrow(arrow: Span) -> Diagnostic:
    hint = "drop `=>`: a function value is `fn (x) => expression` or `fn (x) { … }`"
    label = Label(arrow, "after `=>` braces are a record")
    return Diagnostic("FED0118", "a block cannot follow `=>`", (label,), hint=hint, edit=Edit(arrow, ""))


def braces_for_each(span: Span, type_text: str, place: str) -> Diagnostic:
    written = f"<{type_text}>@{place}"
    hint = f"one value for each client is written `{written}`"
    return Diagnostic("FED0119", "braces in a type are a record", (Label(span),), hint=hint, edit=Edit(span, written))


def not_none(word: Name) -> Diagnostic:
    hint = "write `derivative (dy) => …` or `derivative none`"
    return Diagnostic("FED0120", f"`{word.text}` is no derivative", (Label(word.span),), hint=hint)


def unreadable(path: str, reason: str) -> Diagnostic:
    return Diagnostic("FED0121", f"cannot read {path}: {reason}")
