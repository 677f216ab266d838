"""The types of values of a program that is still being traced: what is written so far is checked as a program."""

from __future__ import annotations

from fedlang.embed import errors
from fedlang.embed.places import caller_span
from fedlang.embed.traces import Trace
from fedlang.modules import Modules
from fedlang.names.world import Symbol
from fedlang.pipeline import open_module
from fedlang.source import Source
from fedlang.syntax import tree
from fedlang.types.types import FunctionType, RecordType, TupleType, Type, unplaced


def type_of(trace: Trace, expression: tree.Expression) -> Type:
    """The type of an expression of a trace. Raises `DiagnosticError` where what is written so far is wrong."""
    if trace.parent is not None:
        raise errors.not_traced(
            trace.root.name,
            "the types inside a function value are found when the program is whole",
            "declare the function with types: `@fl.local_computation(…)`",
            caller_span(),
        )
    span = expression.span
    name = tree.Name(f"{trace.name}_so_far", span)
    declaration = tree.FunctionDeclaration(
        trace.kind, name, (), trace.parameters, None, trace.block(expression, span), "", span
    )
    others = {key: found for use in trace.uses.values() for key, found in use.all().items()}
    allowed = tuple(tree.Allow(tree.Name(word, span), span) for word in trace.allow)
    unit = open_module(tree.Module(Source(trace.name, ""), (*allowed, *others.values(), declaration), ""), Modules())
    unit.verify()
    signature = unit.checker.signature(Symbol("", name.text), span)
    assert signature is not None and isinstance(signature.type, FunctionType)
    return signature.type.result


def part_names(type: Type) -> tuple[str, ...] | int | None:
    """The names of a record's fields, the number of a tuple's parts, or None."""
    match unplaced(type):
        case RecordType(fields):
            return tuple(name for name, _ in fields)
        case TupleType(items):
            return len(items)
        case _:
            return None
