"""Blocks, patterns, lambdas, branches and loops: what brings names into scope, and what is one computation."""

from __future__ import annotations

from fedlang.check import errors
from fedlang.check.body import Body, Variable, is_bundle
from fedlang.check.typed import (
    Binder,
    BindName,
    BindNothing,
    BindRecord,
    BindTuple,
    BlockOf,
    Branch,
    EffectOf,
    Function,
    LetOf,
    LoopOf,
    TupleOf,
    Typed,
)
from fedlang.names import errors as name_errors
from fedlang.names.nearest import nearest
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.dims import Size, fresh_named
from fedlang.types.solve import open_unknowns
from fedlang.types.types import (
    BOOL,
    ERROR,
    INT32,
    UNIT,
    ErrorType,
    FunctionType,
    Meta,
    ParameterType,
    PlacedType,
    RecordType,
    SequenceType,
    TensorType,
    TupleType,
    Type,
    fresh_meta,
    gathered,
    has_function,
    is_data,
    leaves,
    placed,
    prefix,
    unplaced,
)

# ---- blocks ----


def check_block(body: Body, block: tree.Block, expected: Type | None = None) -> BlockOf:
    """Statements in a scope of their own, then the value."""
    with body.inner_scope():
        made: list[tuple[str, Variable]] = []
        statements = tuple(_statement(body, statement, made) for statement in block.statements)
        value = body.infer(block.value, expected)
        for name, variable in made:
            if not variable.used and not name.startswith("_"):
                body.report(errors.unused(variable.span, name))
    return BlockOf(statements, value, body.resolved(value), block.span)


def _statement(body: Body, statement: tree.Let | tree.Effect, made: list[tuple[str, Variable]]) -> LetOf | EffectOf:
    """A statement; the variables of a `let` are put into `made`."""
    if isinstance(statement, tree.Effect):
        return _effect(body, statement)
    if statement.type is not None:
        wanted = body.annotations.type(statement.type)
        value = body.expect(statement.value, wanted, "the type that is written", statement.type.span)
        type = wanted
    else:
        value = body.infer(statement.value)
        type = body.resolved(value)
    if not has_function(type):
        body.solver.default_literals(type)
    before = dict(body.scope)
    binder = bind_whole(body, statement.pattern, open_unknowns(body.resolve(type, statement.span)))
    made += [(name, variable) for name, variable in body.scope.items() if before.get(name) is not variable]
    return LetOf(binder, value, statement.span)


def _effect(body: Body, effect: tree.Effect) -> EffectOf:
    for argument in effect.arguments:
        if argument.name is not None:
            body.report(errors.effect_arguments(argument.name.span, effect.kind, "no names before its arguments"))
    texts = [a.value.value for a in effect.arguments if isinstance(a.value, tree.StringLiteral)]
    values = [a.value for a in effect.arguments if not isinstance(a.value, tree.StringLiteral)]
    message = texts[0] if texts else ""
    typed = tuple(body.infer(value) for value in values)
    match effect.kind:
        case "expect":
            if len(values) != 1 or len(texts) > 1:
                body.report(errors.effect_arguments(effect.span, "expect", "a condition, and a text that says why"))
            for value in typed:
                _needs_bool(body, value)
        case "probe":
            if len(values) != 1 or len(texts) != 1:
                body.report(errors.effect_arguments(effect.span, "probe", "a name in quotes and a value"))
        case _:
            pass
    for value in typed:
        if has_function(body.resolved(value)):
            body.refuse_function(value, "shown")
        elif is_bundle(body.resolved(value)):
            body.report(errors.bundle(value.span, body.resolved(value)))
        body.solver.default_literals(body.resolved(value))
    body.join([(value.span, body.resolved(value)) for value in typed])
    return EffectOf(effect.kind, message, typed, effect.span)


def _needs_bool(body: Body, value: Typed) -> None:
    type = body.resolved(value)
    good = all(isinstance(leaf, TensorType) and leaf.dtype == "bool" for _, leaf in leaves(unplaced(type)))
    if not good and not isinstance(type, ErrorType):
        body.report(errors.needs_bool(value.span, type))


# ---- patterns ----


def bind_whole(body: Body, pattern: tree.Pattern, type: Type) -> Binder:
    """As `bind`, for a pattern that is no part of another: its names must differ."""
    verify_names(body, _names_of(pattern))
    return bind(body, pattern, type)


def verify_names(body: Body, names: list[tree.Name]) -> None:
    """Reports a name that stands twice among those bound together."""
    seen: set[str] = set()
    for name in names:
        if name.text in seen and name.text != "_":
            body.report(name_errors.name_twice(name, "name"))
        seen.add(name.text)


def _names_of(pattern: tree.Pattern) -> list[tree.Name]:
    match pattern:
        case tree.NamePattern(name):
            return [name]
        case tree.TuplePattern(items):
            return [name for item in items for name in _names_of(item)]
        case tree.RecordPattern(names):
            return list(names)
        case _:
            return []


def bind(body: Body, pattern: tree.Pattern, type: Type) -> Binder:
    """Brings the names of a pattern into scope, with the types of the parts."""
    match pattern:
        case tree.Wildcard():
            return BindNothing()
        case tree.NamePattern(name):
            body.bind(name.text, type, name.span)
            return BindName(name.text, type)
        case tree.TuplePattern(items, span):
            return BindTuple(
                tuple(bind(body, p, t) for p, t in zip(items, _parts(body, type, len(items), span), strict=True))
            )
        case tree.RecordPattern(names):
            fields = tuple(BindName(name.text, _part(body, type, name)) for name in names)
            for name, field in zip(names, fields, strict=True):
                body.bind(name.text, field.type, name.span)
            return BindRecord(fields)


def _parts(body: Body, type: Type, count: int, span: Span) -> tuple[Type, ...]:
    inner = unplaced(type)
    if isinstance(inner, Meta) and inner.kind != "placed":
        parts: tuple[Type, ...] = tuple(fresh_meta("data") for _ in range(count))
        body.demand(TupleType(parts), inner, span, "the pattern")
        inner = TupleType(parts)
    if isinstance(inner, TupleType) and len(inner.items) == count:
        if isinstance(type, PlacedType):
            return tuple(placed(type.place, type.each, item) for item in inner.items)
        return inner.items
    if not isinstance(inner, ErrorType):
        body.report(errors.bad_pattern(span, type, f"{count} parts"))
    return (ERROR,) * count


def _part(body: Body, type: Type, name: tree.Name) -> Type:
    inner = unplaced(type)
    if isinstance(inner, RecordType):
        found = inner.field(name.text)
        if found is not None:
            return placed(type.place, type.each, found) if isinstance(type, PlacedType) else found
        known = [field for field, _ in inner.fields]
        body.report(errors.unknown_field(name.span, name.text, inner, known, nearest(name.text, known)))
    elif not isinstance(inner, ErrorType):
        body.report(errors.bad_pattern(name.span, type, "a record"))
    return ERROR


# ---- lambdas ----


def infer_lambda(body: Body, written: tree.Lambda, expected: Type | None) -> Typed:
    """A function value: one local computation, with the places of what it captures."""
    hint = body.resolve(expected, written.span) if expected is not None else None
    hints = hint.parameters if isinstance(hint, FunctionType) else ()
    wanted = hint.result if isinstance(hint, FunctionType) else None
    if isinstance(hint, FunctionType) and len(hints) != len(written.parameters):
        body.report(errors.lambda_parameters(written.span, len(written.parameters), len(hints)))
        return Function((), BlockOf((), _nothing(written.span), ERROR, written.span), ERROR, written.span)
    verify_names(body, [parameter.name for parameter in written.parameters])
    with body.inner_scope(), body.one_computation("a lambda") as region:
        parameters = tuple(
            _lambda_parameter(body, parameter, hints[k].type if k < len(hints) else None)
            for k, parameter in enumerate(written.parameters)
        )
        if written.result is not None:
            wanted = body.annotations.type(written.result)
        block = check_block(body, written.body, wanted)
        if written.result is not None and wanted is not None:
            body.demand(block.type, wanted, block.value.span, "the result that is written", written.result.span)
    result = wanted if written.result is not None and wanted is not None else block.type
    capture = body.join(region.uses) if body.fed and body.region is None else None
    type = FunctionType(tuple(ParameterType(kind) for kind, _ in parameters), result, capture)
    return Function(tuple(bound for _, bound in parameters), block, type, written.span)


def _nothing(span: Span) -> Typed:
    return TupleOf((), UNIT, span)


def _lambda_parameter(body: Body, parameter: tree.Parameter, hint: Type | None) -> tuple[Type, BindName]:
    name = parameter.name
    if parameter.type is not None:
        type = body.annotations.type(parameter.type)
    elif hint is not None:
        type = hint
    else:
        type = fresh_meta("data")
    opened = open_unknowns(body.resolve(type, name.span))
    if name.text != "_":
        body.bind(name.text, opened, name.span).used = True
    return type, BindName(name.text, opened)


# ---- branches ----


def infer_if(body: Body, written: tree.If, expected: Type | None) -> Typed:
    """`if`: the condition, and two blocks of one type. One computation, but for the condition."""
    condition = body.infer(written.condition)
    type = body.resolved(condition)
    if is_bundle(type):
        body.report(errors.bundle(condition.span, type))
        type = ERROR
    uses: list[tuple[Span, Type]] = [(condition.span, type)]
    inner = unplaced(type)
    if isinstance(inner, TensorType) and inner.shape == ():
        body.demand(inner, BOOL, condition.span, "a condition is a bool")
    elif not isinstance(inner, ErrorType):
        body.report(errors.needs_bool(condition.span, type))
    wanted = unplaced(body.resolve(expected, written.span)) if expected is not None else None
    with body.one_computation("a branch") as region:
        then = _side(body, written, written.then, wanted, first=True)
        otherwise = _side(body, written, written.otherwise, wanted, first=False)
        result = _branch_result(body, then, otherwise, written.span)
    place = body.join(uses + region.uses) if body.fed and body.region is None else None
    return Branch(condition, then, otherwise, body.at(place, result, written.span), written.span)


def _side(body: Body, written: tree.If, block: tree.Block, wanted: Type | None, *, first: bool) -> BlockOf:
    outer = body.sides
    body.sides = (*outer, (written.span.start, first))
    checked = check_block(body, block, wanted)
    body.sides = outer
    return checked


def _branch_result(body: Body, then: BlockOf, otherwise: BlockOf, span: Span) -> Type:
    """The type both sides have; the error type where it is reported that they have none."""
    if has_function(body.resolve(then.type, span)):
        body.refuse_function(then.value, "the result of an `if`")
        return ERROR
    mismatch = body.assign(otherwise.type, then.type, span)
    if mismatch is not None:
        body.report(errors.branches_differ(otherwise.value.span, mismatch))
        body.solver.give_up(then.type)
        return ERROR
    return otherwise.type if isinstance(body.resolve(then.type, span), ErrorType) else then.type


# ---- loops ----


def infer_loop(body: Body, written: tree.Loop, expected: Type | None) -> Typed:
    """`fold`, `scan`, `repeat`: the carry's type is that of its start, and the body keeps it."""
    over = body.infer(written.over)
    hint = expected if written.kind != "scan" else None
    start = body.infer(written.start, hint)
    uses: list[tuple[Span, Type]] = [(e.span, gathered(body.resolved(e))) for e in (over, start)]
    over_type, carry = (unplaced(type) for _, type in uses)
    if has_function(carry):
        body.refuse_function(start, "the state of a loop")
        carry = ERROR
    elif not is_data(carry):
        body.report(errors.bundle(start.span, carry))
        carry = ERROR
    body.solver.default_literals(carry)
    carry = open_unknowns(body.resolve(carry, start.span))
    length, element = _element(body, written, over_type, over.span)
    with body.inner_scope(), body.one_computation("a loop") as region:
        if written.element is not None:
            verify_names(body, [*_names_of(written.element), *_names_of(written.state)])
        element_binder = bind(body, written.element, element) if written.element is not None else BindNothing()
        state_binder = bind(body, written.state, carry)
        block = check_block(body, written.body, None if written.kind == "scan" else carry)
        result = _loop_result(body, written, block, carry, length, start.span)
    place = body.join(uses + region.uses) if body.fed and body.region is None else None
    return LoopOf(
        written.kind,
        element_binder,
        over,
        start,
        state_binder,
        block,
        body.at(place, result, written.span),
        written.span,
    )


def _element(body: Body, written: tree.Loop, over: Type, span: Span) -> tuple[Size, Type]:
    over = body.resolve(over, span)
    if written.kind == "repeat":
        body.demand(over, INT32, span, "`repeat` counts with an int32")
        return fresh_named("?"), INT32
    if isinstance(over, SequenceType):
        return fresh_named("?"), open_unknowns(over.element)
    front = body.solver.first_axis(over) if is_data(over) and not isinstance(over, Meta | ErrorType) else None
    if front is not None:
        return front
    if not isinstance(over, ErrorType):
        body.report(errors.not_sequence(span, over))
    return 1, ERROR


def _loop_result(body: Body, written: tree.Loop, block: BlockOf, carry: Type, length: Size, because: Span) -> Type:
    following, span = body.resolve(block.type, written.span), block.value.span
    output: Type | None = None
    if written.kind == "scan":
        if not (isinstance(following, TupleType) and len(following.items) == 2):
            if not isinstance(following, ErrorType):
                body.report(errors.bad_pattern(span, following, "the next state and an output: `(next, output)`"))
            return ERROR
        following, output = following.items
    mismatch = body.assign(following, carry, span)
    if mismatch is not None:
        body.report(errors.carry_differs(span, mismatch, because))
        return ERROR
    if output is None:
        return carry
    body.solver.default_literals(output)
    if has_function(output):
        body.report(errors.function_as_data(span, "the output of a `scan`"))
        return ERROR
    stacked = prefix((length,), body.resolve(output, span))
    if stacked is None:
        body.report(errors.no_brackets(span, output))
        return ERROR
    return TupleType((carry, stacked))
