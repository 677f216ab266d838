"""The mistakes that show when a program is specialised. Codes FED05xx."""

from __future__ import annotations

from fedlang.diagnostics import Diagnostic, Label
from fedlang.source import Span


def _at(span: Span | None, text: str = "") -> tuple[Label, ...]:
    return () if span is None else (Label(span, text),)


def too_large(span: Span | None, calls: list[str]) -> Diagnostic:
    """A program that grows without bound when its functions are inlined."""
    chain = " → ".join(calls[-12:])
    hint = "call each function fewer times, or keep its result in a `let`"
    return Diagnostic("FED0501", "the program is too large", _at(span, chain), (), hint)


def broken(span: Span | None, name: str) -> Diagnostic:
    """A declaration that has mistakes of its own."""
    return Diagnostic("FED0504", f"`{name}` has mistakes of its own", _at(span))


def shapes_differ(span: Span | None, left: str, right: str) -> Diagnostic:
    """Sizes that are known only now, and differ."""
    return Diagnostic("FED0503", "shapes do not match", _at(span, f"{left} with {right}"))


def no_shape(span: Span | None, reason: str) -> Diagnostic:
    """A shape that cannot be made with the sizes that are known only now."""
    return Diagnostic("FED0508", "the result has no shape", _at(span, reason))


def not_literal(span: Span | None, parameter: str) -> Diagnostic:
    """An argument that has to be known when compiling."""
    return Diagnostic(
        "FED0506", f"`{parameter}` must be written as a number", _at(span, "it is known only when the program runs")
    )


def no_entry(name: str, why: str) -> Diagnostic:
    """Something that cannot be run by itself."""
    return Diagnostic("FED0505", f"`{name}` cannot be run by itself", (), (why,))


def not_in_tests(span: Span | None, name: str) -> Diagnostic:
    """A movement that a test cannot make."""
    return Diagnostic("FED0507", f"`{name}` cannot be tested here", _at(span), (), "a test needs one client at least")
