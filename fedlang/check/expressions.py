"""Expressions: one case for each kind, the long ones in files of their own."""

from __future__ import annotations

from typing import assert_never

from fedlang.check import errors
from fedlang.check.body import Body
from fedlang.check.calls import global_symbol, infer_call, infer_index_or_instance, infer_list, infer_variable, use
from fedlang.check.control import infer_if, infer_lambda, infer_loop
from fedlang.check.operators import BINARY, UNARY, elementwise, matmul, strip_arguments
from fedlang.check.sizes import static_size
from fedlang.check.typed import Field, Global, IndexOf, Literal, RecordOf, SliceOf, TupleOf, Typed
from fedlang.names import errors as name_errors
from fedlang.names.nearest import nearest
from fedlang.names.world import ModuleName, Symbol
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.dims import Size, subtract
from fedlang.types.shapes import ShapeError
from fedlang.types.types import (
    BOOL,
    ERROR,
    INT32,
    STRING,
    ErrorType,
    Meta,
    PlacedType,
    RecordType,
    SequenceType,
    TensorType,
    TupleType,
    Type,
    fresh_meta,
    is_data,
    placed,
    prefix,
    print_type,
    record,
    tuple_of,
    unplaced,
)


def infer(body: Body, expression: tree.Expression, expected: Type | None) -> Typed:
    """The typed expression. `expected` is a hint: what the context would like."""
    try:
        return _infer(body, expression, expected)
    except ShapeError as error:
        body.report(errors.shape_function(expression.span, str(error)))
        return Literal(0, ERROR, expression.span)


def _infer(body: Body, expression: tree.Expression, expected: Type | None) -> Typed:
    match expression:
        case tree.IntegerLiteral() | tree.FloatLiteral():
            return _number(body, expression)
        case tree.StringLiteral(value, _, span):
            return Literal(value, STRING, span)
        case tree.BoolLiteral(value, span):
            return Literal(value, BOOL, span)
        case tree.Variable():
            return infer_variable(body, expression)
        case tree.TupleExpression(items, span):
            return _tuple(body, items, expected, span)
        case tree.ListExpression():
            return infer_list(body, expression, expected)
        case tree.RecordExpression():
            return _record(body, expression, expected)
        case tree.FieldAccess():
            return _field(body, expression)
        case tree.Call():
            return infer_call(body, expression, expected)
        case tree.Index():
            return infer_index_or_instance(body, expression) or _index(body, expression)
        case tree.Unary(operator, operand, span):
            if operator == "-" and isinstance(operand, tree.IntegerLiteral | tree.FloatLiteral):
                return _number(body, operand, -1, span)
            return _operator(body, UNARY[operator], (operand,), span, span)
        case tree.Binary(operator, left, right, operator_span, span):
            return _operator(body, BINARY[operator], (left, right), operator_span, span)
        case tree.Lambda():
            return infer_lambda(body, expression, expected)
        case tree.If():
            return infer_if(body, expression, expected)
        case tree.Loop():
            return infer_loop(body, expression, expected)
    assert_never(expression)


def _number(
    body: Body, literal: tree.IntegerLiteral | tree.FloatLiteral, sign: int = 1, span: Span | None = None
) -> Typed:
    bound = "integer literal" if isinstance(literal, tree.IntegerLiteral) else "float literal"
    type = TensorType(fresh_meta("dtype", bound), ())
    typed = Literal(sign * literal.value, type, span or literal.span)
    body.literals.append(typed)
    return typed


def _operator(body: Body, name: str, operands: tuple[tree.Expression, ...], at: Span, span: Span) -> Typed:
    symbol = Symbol("prelude", name)
    signature = body.globals.signature(symbol, at)
    assert signature is not None, f"the prelude declares {name}"
    instance, type = body.instantiate(signature, at)
    body.instances.pop()
    function = Global(symbol, instance, type, at)
    arguments = tuple(body.infer(operand) for operand in operands)
    if name == "matmul":
        return matmul(body, function, arguments, span)
    return elementwise(body, signature, function, arguments, span)


def _tuple(body: Body, items: tuple[tree.Expression, ...], expected: Type | None, span: Span) -> Typed:
    hint = body.resolve(unplaced(expected), span) if expected is not None else None
    hints = hint.items if isinstance(hint, TupleType) and len(hint.items) == len(items) else (None,) * len(items)
    typed = tuple(body.infer(item, each) for item, each in zip(items, hints, strict=True))
    return TupleOf(typed, tuple_of(tuple(body.resolved(item) for item in typed)), span)


def _record(body: Body, written: tree.RecordExpression, expected: Type | None) -> Typed:
    hint = body.resolve(unplaced(expected), written.span) if expected is not None else None
    hints = dict(hint.fields) if isinstance(hint, RecordType) else {}
    fields: dict[str, Type] = {}
    items: list[tuple[str, Typed]] = []
    seen: set[str] = set()
    good = True
    for item in written.items:
        if isinstance(item, tree.Spread):
            spread = body.infer(item.value)
            items.append(("", spread))
            found = _fields_of(body, spread)
            good = good and found is not None
            fields |= found or {}
            continue
        if item.name.text in seen:
            body.report(name_errors.name_twice(item.name, "field"))
        seen.add(item.name.text)
        value = body.infer(item.value, hints.get(item.name.text))
        items.append((item.name.text, value))
        fields[item.name.text] = body.resolved(value)
    return RecordOf(tuple(items), record(tuple(fields.items())) if good else ERROR, written.span)


def _fields_of(body: Body, typed: Typed) -> dict[str, Type] | None:
    """The fields of a record that is spread; None where it is no record."""
    type = body.resolved(typed)
    inner = unplaced(type)
    if not isinstance(inner, RecordType):
        if not isinstance(type, ErrorType):
            body.report(errors.no_record(typed.span, type))
            body.solver.give_up(type)
        return None
    if isinstance(type, PlacedType):
        return {name: placed(type.place, type.each, item) for name, item in inner.fields}
    return dict(inner.fields)


def _field(body: Body, access: tree.FieldAccess) -> Typed:
    symbol = global_symbol(body, access)
    if symbol is not None:
        return use(body, symbol, access.span)
    if isinstance(access.target, tree.Variable) and access.target.name.text not in body.scope:
        meaning = body.globals.world.lookup(body.module, access.target.name.text, "value")
        if isinstance(meaning, ModuleName):
            return _no_member(body, meaning.module, access)
    outer = body.region
    if _is_path(access.target):
        body.region = None  # the field of a bundle may be at one place where the bundle is not
    target = body.infer(access.target)
    body.region = outer
    type = body.resolved(target)
    inner = unplaced(type)
    name = access.name.text
    if isinstance(inner, ErrorType):
        return Field(target, name, ERROR, access.span)
    if isinstance(inner, Meta):
        body.report(errors.unknown_here(access.target.span))
        return Field(target, name, ERROR, access.span)
    if not isinstance(inner, RecordType):
        body.report(errors.no_fields(access.name.span, name, type))
        body.solver.give_up(type)
        return Field(target, name, ERROR, access.span)
    found = inner.field(name)
    if found is None:
        known = [field for field, _ in inner.fields]
        body.report(errors.unknown_field(access.name.span, name, inner, known, nearest(name, known)))
        return Field(target, name, ERROR, access.span)
    if isinstance(type, PlacedType):
        found = placed(type.place, type.each, found)
    return Field(target, name, body.strip(found, access.span), access.span)


def _is_path(expression: tree.Expression) -> bool:
    """Whether an expression only names a part of a variable."""
    while isinstance(expression, tree.FieldAccess):
        expression = expression.target
    return isinstance(expression, tree.Variable)


def _no_member(body: Body, module: str, access: tree.FieldAccess) -> Typed:
    scope = body.globals.world.scope(module)
    known = [name for space, name in scope.own if space == "value"] if scope else []
    body.report(name_errors.not_in_module(access.name, module, nearest(access.name.text, known)))
    return Literal(0, ERROR, access.span)


def _index(body: Body, index: tree.Index) -> Typed:
    target = body.infer(index.target)
    if isinstance(body.resolved(target), ErrorType):
        return IndexOf(target, (), ERROR, index.span)
    items: list[Typed | SliceOf] = []
    operands: list[Typed] = [target]
    good = True
    for item in index.items:
        if isinstance(item, tree.Slice):
            found = _slice(body, item)
            good = good and found is not None
            items.append(found or SliceOf(0, None))
        else:
            typed = body.infer(item)
            items.append(typed)
            operands.append(typed)
    types, place = strip_arguments(body, tuple(operands))
    for type, typed in zip(types[1:], operands[1:], strict=True):
        good = body.demand(type, INT32, typed.span, "an index is an int32") and good
    result = _indexed(body, types[0], items, index) if good else ERROR
    return IndexOf(target, tuple(items), body.at(place, result, index.span), index.span)


def _slice(body: Body, written: tree.Slice) -> SliceOf | None:
    """The ends of a slice; None where they are not sizes, which is reported."""
    start = static_size(body, written.start) if written.start is not None else 0
    stop = static_size(body, written.stop) if written.stop is not None else None
    good = True
    for expression, found in ((written.start, start), (written.stop, stop)):
        if expression is not None and found is None:
            good = False
            if not isinstance(body.resolved(body.infer(expression)), ErrorType):
                body.report(errors.not_static(expression.span, "an end of a slice"))
        elif expression is not None and isinstance(found, int) and found < 0:
            good = False
            body.report(errors.bad_index(expression.span, "entries are counted from 0"))
    return SliceOf(start or 0, stop) if good else None


def _indexed(body: Body, type: Type, items: list[Typed | SliceOf], index: tree.Index) -> Type:
    """The type of `x[…]`: each item takes one axis off the front; slices put theirs back."""
    if isinstance(type, ErrorType):
        return ERROR
    if isinstance(type, Meta):
        body.report(errors.unknown_here(index.target.span))
        return ERROR
    kept: list[Size] = []
    for count, item in enumerate(items):
        front = body.solver.first_axis(type) if is_data(type) else None
        if front is None:
            body.report(errors.bad_index(index.span, _why_no_axis(type, count)))
            return ERROR
        size, type = front
        if isinstance(item, SliceOf):
            length = _sliced(body, size, item, index.span)
            if length is None:
                return ERROR
            kept.append(length)
        elif isinstance(item, Literal) and isinstance(size, int) and not 0 <= int(item.value) < size:
            body.report(errors.bad_index(item.span, f"the axis has {size} entries, counted from 0"))
            return ERROR
    return prefix(tuple(kept), type) or ERROR


def _why_no_axis(type: Type, count: int) -> str:
    """Why there is no axis to index, after `count` others."""
    match type:
        case SequenceType():
            return "a sequence is read by a loop; `stack` makes a tensor of it"
        case RecordType() | TupleType():
            return f"the parts of {print_type(type)} have no first axis in common"
        case TensorType(_, ()):
            return f"there are {count} axes" if count > 1 else "there is 1 axis" if count else "a scalar has no axes"
        case _:
            return f"{print_type(type)} has no axis that is known"


def _sliced(body: Body, size: Size, item: SliceOf, span: Span) -> Size | None:
    """How long a slice is; None where it cannot be, which is reported."""
    stop = size if item.stop is None else item.stop
    if isinstance(stop, int) and isinstance(size, int) and stop > size:
        body.report(errors.bad_index(span, f"the slice ends at {stop}, the axis has {size} entries"))
        return None
    length = subtract(stop, item.start)
    if isinstance(length, int) and length < 0:
        body.report(errors.bad_index(span, "the slice ends before it starts"))
        return None
    return length
