"""Traces a Python body to a declaration of the language.

The body is called once, with a `Traced` for each parameter. What it does with them is written down as expressions of
the language, each in a `let` of its own, and becomes a `fed` or `fn` declaration: from there on it is an ordinary
program, checked and lowered like text. A mistake is shown at the Python line that made it.
"""

from __future__ import annotations

import inspect
import linecache
import sys
from collections.abc import Callable, Mapping
from typing import Any

from fedlang.embed import errors
from fedlang.source import Source, Span
from fedlang.syntax import tree
from fedlang.syntax.parser import parse_type

_sources: dict[str, Source] = {}


def caller_span() -> Span:
    """The line of the nearest Python frame that is not this package's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fedlang."):
        frame = frame.f_back
    return line_span(frame.f_code.co_filename, frame.f_lineno)


def line_span(path: str, line: int) -> Span:
    """A line of a Python file (or of a notebook cell) as a span."""
    text = "".join(linecache.getlines(path)) or "\n" * line
    source = _sources.get(path)
    if source is None or source.text != text:
        source = _sources[path] = Source(path, text)
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    stop = text.find("\n", start)
    stop = len(text) if stop < 0 else stop
    indent = len(text[start:stop]) - len(text[start:stop].lstrip())
    return Span(source, start + indent, max(stop, start + indent))


class Trace:
    """One body being traced: its `let`s so far, and the declarations of others that it uses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.statements: list[tree.Statement] = []
        self.uses: dict[str, Declared] = {}

    def let(self, value: tree.Expression) -> Traced:
        """Names the value of an expression."""
        name = tree.Name(f"_{len(self.statements)}", value.span)
        self.statements.append(tree.Let(tree.NamePattern(name, value.span), None, value, value.span))
        return Traced(self, tree.Variable(name, value.span))


class Declared:
    """A declaration made from Python, with those it needs. Calling it inside a trace writes a call down."""

    def __init__(self, declaration: tree.Declaration, uses: Mapping[str, Declared], name: str) -> None:
        self.declaration = declaration
        self.uses = dict(uses)
        self.declared_name = name

    def all(self) -> dict[str, tree.Declaration]:
        """The declaration and everything it needs, by name."""
        found: dict[str, tree.Declaration] = {}
        for use in self.uses.values():
            found |= use.all()
        return {**found, self.declared_name: self.declaration}

    def traced_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Traced:
        """The call as an expression of the trace that its arguments belong to."""
        trace = trace_of((*args, *kwargs.values()))
        assert trace is not None, "a call inside a trace has a traced argument"
        trace.uses[self.declared_name] = self
        return call(trace, self.declared_name, args, kwargs)


class Traced:
    """A value of the program that is being traced. Arithmetic, fields and calls work as in the language."""

    __slots__ = ("_expression", "_trace")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, trace: Trace, expression: tree.Expression) -> None:
        self._trace = trace
        self._expression = expression

    def __getattr__(self, name: str) -> Traced:
        if name.startswith("__"):
            raise AttributeError(name)
        span = caller_span()
        return self._trace.let(tree.FieldAccess(self._expression, tree.Name(name, span), span))

    def __getitem__(self, index: Any) -> Traced:
        span = caller_span()
        if isinstance(index, str):
            return self._trace.let(tree.FieldAccess(self._expression, tree.Name(index, span), span))
        items = index if isinstance(index, tuple) else (index,)
        return self._trace.let(
            tree.Index(self._expression, tuple(_index(self._trace, item, span) for item in items), span)
        )

    def __iter__(self) -> Any:
        raise errors.wrong_call(
            self._trace.name, "a traced value cannot be looped over in Python: use `fold` in a `.fed` file"
        )

    def __bool__(self) -> bool:
        raise errors.wrong_call(
            self._trace.name, "a traced value has no truth in Python: use `fl.language.where` instead of `if`"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Traced:
        span = caller_span()
        return self._trace.let(tree.Call(self._expression, _arguments(self._trace, args, kwargs, span), span))

    def __neg__(self) -> Traced:
        span = caller_span()
        return self._trace.let(tree.Unary("-", self._expression, span))

    def __invert__(self) -> Traced:
        span = caller_span()
        return self._trace.let(tree.Unary("not", self._expression, span))

    def _binary(self, operator: str, left: Any, right: Any) -> Traced:
        span = caller_span()
        a, b = (expression_of(self._trace, value, span) for value in (left, right))
        return self._trace.let(tree.Binary(operator, a, b, span, span))


def _operators() -> None:
    """Gives `Traced` the operators of the language."""
    table = {
        "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%",
        "matmul": "@", "eq": "==", "ne": "!=",
        "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or",
    }  # fmt: skip
    for name, sign in table.items():
        setattr(Traced, f"__{name}__", lambda self, other, sign=sign: self._binary(sign, self, other))
        if name not in ("eq", "ne", "lt", "le", "gt", "ge"):
            setattr(Traced, f"__r{name}__", lambda self, other, sign=sign: self._binary(sign, other, self))


_operators()


def trace_of(values: tuple[Any, ...]) -> Trace | None:
    """The trace that some value belongs to, looked for inside tuples and mappings too."""
    for value in values:
        if isinstance(value, Traced):
            return value._trace
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
        found = trace_of(tuple(inner))
        if found is not None:
            return found
    return None


def call(trace: Trace, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Traced:
    """A call of a name of the language."""
    span = caller_span()
    function = tree.Variable(tree.Name(name, span), span)
    return trace.let(tree.Call(function, _arguments(trace, args, kwargs, span), span))


def _arguments(trace: Trace, args: tuple[Any, ...], kwargs: Mapping[str, Any], span: Span) -> tuple[tree.Argument, ...]:
    plain = [tree.Argument(None, expression_of(trace, value, span), span) for value in args]
    named = [
        tree.Argument(tree.Name(word, span), expression_of(trace, value, span), span) for word, value in kwargs.items()
    ]
    return (*plain, *named)


def _index(trace: Trace, item: Any, span: Span) -> tree.Expression | tree.Slice:
    if isinstance(item, slice):
        ends = [None if end is None else expression_of(trace, end, span) for end in (item.start, item.stop)]
        return tree.Slice(ends[0], ends[1], span)
    return expression_of(trace, item, span)


def expression_of(trace: Trace, value: Any, span: Span) -> tree.Expression:
    """A Python value inside a trace as an expression: traced values, numbers, text, tuples, mappings and lists."""
    match value:
        case Traced():
            inner = value._expression
            return tree.Variable(inner.name, span) if isinstance(inner, tree.Variable) else inner
        case Declared():
            trace.uses[value.declared_name] = value
            return tree.Variable(tree.Name(value.declared_name, span), span)
        case bool():
            return tree.BoolLiteral(value, span)
        case int():
            literal: tree.Expression = tree.IntegerLiteral(abs(value), str(abs(value)), span)
            return tree.Unary("-", literal, span) if value < 0 else literal
        case float():
            literal = tree.FloatLiteral(abs(value), repr(abs(value)), span)
            return tree.Unary("-", literal, span) if value < 0 else literal
        case str():
            return tree.StringLiteral(value, f'"{value}"', span)
        case Mapping():
            fields = [(tree.Name(str(name), span), expression_of(trace, item, span)) for name, item in value.items()]
            return tree.RecordExpression(tuple(tree.RecordField(n, item, False, span) for n, item in fields), span)
        case tuple():
            return tree.TupleExpression(tuple(expression_of(trace, item, span) for item in value), span)
        case list():
            return tree.ListExpression(tuple(expression_of(trace, item, span) for item in value), span)
    if hasattr(value, "_asdict"):
        return expression_of(trace, value._asdict(), span)
    raise errors.wrong_call(trace.name, f"a {type(value).__name__} cannot be part of a traced program")


def declare(kind: str, function: Callable[..., Any], types: tuple[str, ...], name: str) -> Declared:
    """Traces a Python function to a `fed` or `fn` declaration."""
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != len(types):
        raise errors.wrong_call(
            name, f"it has {len(parameters)} parameters ({', '.join(parameters)}), {len(types)} types were given"
        )
    span = line_span(function.__code__.co_filename, function.__code__.co_firstlineno)
    trace = Trace(name)
    declared = [_parameter(word, text, span) for word, text in zip(parameters, types, strict=True)]
    values = [Traced(trace, tree.Variable(tree.Name(word, span), span)) for word in parameters]
    result = expression_of(trace, function(*values), span)
    block = tree.Block(tuple(trace.statements), result, span)
    declaration = tree.FunctionDeclaration(
        kind, tree.Name(name, span), (), tuple(declared), None, block, inspect.getdoc(function) or "", span
    )
    return Declared(declaration, trace.uses, name)


def _parameter(name: str, text: str, span: Span) -> tree.Parameter:
    return tree.Parameter(tree.Name(name, span), parse_type(Source(f"<type of {name}>", text)), None, span)
