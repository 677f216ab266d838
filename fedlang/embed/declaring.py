"""Traces a Python function to a declaration of the language.

The body is called once, with a `Traced` for each parameter. What it does with them becomes a `fed` or `fn` declaration:
from there on it is an ordinary program, checked and lowered like text. A mistake is shown at the Python expression that
made it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fedlang.embed import errors
from fedlang.embed.places import caller_span, parse_type_at, span_of
from fedlang.embed.traces import Declared, Trace
from fedlang.embed.tracing import Traced, expression_of
from fedlang.embed.written import written_type
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.types import Type


def needed_parameters(function: Callable[..., Any], count: int) -> list[str]:
    """The parameters that get a type: those behind the types that are given, which have defaults, keep these."""
    found = list(inspect.signature(function).parameters.values())
    return [each.name for k, each in enumerate(found) if k < count or each.default is each.empty]


def declare(
    kind: str, function: Callable[..., Any], types: tuple[str | Type, ...], name: str, allow: tuple[str, ...] = ()
) -> Declared:
    """Traces a Python function to a `fed` or `fn` declaration. `allow` is what its program allows.

    Where nothing has a place, what would be `fed` is `fn`: its type has no place either.
    """
    parameters = needed_parameters(function, len(types))
    span = span_of(function) or caller_span()
    if len(parameters) != len(types):
        raise errors.wrong_call(
            name, f"it has {len(parameters)} parameters ({', '.join(parameters)}), {len(types)} types were given", span
        )
    declared = tuple(_parameters(parameters, types, span))
    trace = Trace(name, kind, declared, allow=allow)
    with trace.open():
        found = function(*(Traced(trace, tree.Variable(tree.Name(word, span), span)) for word in parameters))
        result = expression_of(trace, found, span)
    is_placed = trace.is_placed or any(_has_place(each.type) for each in declared)
    declaration = tree.FunctionDeclaration(
        kind if is_placed else "fn",
        tree.Name(name, span),
        (),
        declared,
        None,
        trace.block(result, span),
        inspect.getdoc(function) or "",
        span,
    )
    return Declared(declaration, trace.uses, name)


def _has_place(written: Any) -> bool:
    match written:
        case tree.PlacedType():
            return True
        case tree.RecordType(fields):
            return any(_has_place(item) for _, item in fields)
        case tree.TupleType(items):
            return any(_has_place(item) for item in items)
        case _:
            return False


def _parameters(names: list[str], types: tuple[str | Type, ...], span: Span) -> Iterator[tree.Parameter]:
    after = span.start
    for name, type in zip(names, types, strict=True):
        if isinstance(type, str):
            written, after = parse_type_at(type, name, span, after)
        else:
            written = written_type(type, span)
        yield tree.Parameter(tree.Name(name, span), written, None, span)
