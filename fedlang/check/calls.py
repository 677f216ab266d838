"""Calls: who is called, which argument goes to which parameter, and at which place the work is done."""

from __future__ import annotations

from fedlang.check import errors
from fedlang.check.body import Body, Signature, captured, is_bundle, is_federated
from fedlang.check.operators import elementwise, matmul, strip_arguments
from fedlang.check.sizes import static_shape, static_size, type_arguments
from fedlang.check.typed import Call, Field, Global, GradientOf, ListOf, Local, SizeOf, TupleOf, Typed
from fedlang.names import errors as name_errors
from fedlang.names.nearest import nearest
from fedlang.names.world import FORMS, ModuleName, Symbol
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.dims import Size, can_differ, product
from fedlang.types.dtypes import DTYPES
from fedlang.types.shapes import is_known
from fedlang.types.substitute import Substitution, substitute
from fedlang.types.types import (
    ERROR,
    INT32,
    ErrorType,
    FunctionType,
    Meta,
    PackItem,
    ParameterType,
    PlacedType,
    RecordType,
    SequenceType,
    TensorType,
    TupleType,
    Type,
    TypeVariable,
    fresh_meta,
    gathered,
    has_sequence,
    leaves,
    prefix,
    print_type,
    tuple_of,
    unplaced,
)

LONGEST_TYPE = 60  # characters of a type that a note quotes whole


def infer_call(body: Body, call: tree.Call, expected: Type | None) -> Typed:
    """A call, of a form, a primitive, a function or a method."""
    form = _form(body, call.function)
    if form is not None:
        return _infer_form(body, form, call, expected)
    if isinstance(call.function, tree.Call) and _form(body, call.function.function) in ("value_and_grad", "grad"):
        function = _gradient_of_call(body, call.function, call)
    else:
        function = body.infer(call.function)
    type = body.resolved(function)
    if isinstance(type, ErrorType):
        for argument in call.arguments:
            body.infer(argument.value)
        return Call(function, (), ERROR, call.span)
    if not isinstance(type, FunctionType):
        body.report(errors.not_a_function(call.function.span, type))
        return Call(function, (), ERROR, call.span)
    slots = match_arguments(body, call, type, _name_of(function))
    if slots is None:
        body.solver.give_up(type)
        return Call(function, (), ERROR, call.span)
    _note_keys(body, function, slots)
    signature = _primitive(body, function)
    if signature is not None and isinstance(function, Global):
        return _primitive_call(body, signature, function, type, slots, call, expected)
    return finish_call(body, function, type, slots, call.span, expected)


# ---- who is called ----


def _form(body: Body, function: tree.Expression) -> str | None:
    """The form a callee names: a function of the compiler's own."""
    if isinstance(function, tree.Variable) and function.name.text in FORMS and function.name.text not in body.scope:
        return function.name.text
    return None


def _name_of(function: Typed) -> str:
    match function:
        case Global(symbol):
            return f"`{symbol.name}`"
        case Local(name) | Field(_, name):
            return f"`{name}`"
        case _:
            return "the function"


def _primitive(body: Body, function: Typed) -> Signature | None:
    if not isinstance(function, Global):
        return None
    signature = body.globals.signature(function.symbol, function.span)
    if signature is None or not isinstance(signature.declaration, tree.PrimitiveDeclaration):
        return None
    return signature


def infer_index_or_instance(body: Body, index: tree.Index) -> Typed | None:
    """`zeros[Weights]`:

    a declaration with type arguments; None where the target is no declaration with type parameters.
    """
    symbol = global_symbol(body, index.target)
    if symbol is None:
        return None
    signature = body.globals.signature(symbol, index.target.span)
    if signature is None or isinstance(signature.declaration, tree.TypeDeclaration):
        return Global(symbol, Substitution({}, {}, {}), ERROR, index.span)
    given = type_arguments(body, index.items)
    declared = signature.parameters[: len(signature.declaration.type_parameters)]
    if given is None:
        return Global(symbol, Substitution({}, {}, {}), ERROR, index.span)
    if len(given) > len(declared):
        body.report(errors.wrong_arguments(index.span, f"`{symbol.name}`", len(given), len(declared)))
        return Global(symbol, Substitution({}, {}, {}), ERROR, index.span)
    instance, type = body.instantiate(signature, index.span)
    explicit = body.annotations.instance(declared[: len(given)], given)
    _agree(body, instance, explicit, index.span)
    if any(isinstance(written, ErrorType) for written in explicit.types.values()):
        type = ERROR
    return Global(symbol, instance, type, index.span)


def _agree(body: Body, instance: Substitution, explicit: Substitution, span: Span) -> None:
    for variable, written in explicit.types.items():
        wanted = instance.types[variable]
        assert not isinstance(wanted, str) and not isinstance(written, str)
        body.demand(written, wanted, span, "the type argument")
    for variable, shape in explicit.packs.items():
        body.solver.assign_shape(shape, instance.packs[variable])
    for atom, size in explicit.sizes.items():
        body.solver.assign_size(size, instance.sizes[atom])


def global_symbol(body: Body, target: tree.Expression) -> Symbol | None:
    """The declaration that a name, or `module.name`, means, when it means one."""
    if (
        isinstance(target, tree.Variable)
        and target.name.text not in body.scope
        and target.name.text not in body.annotations.names
    ):
        found = body.globals.world.lookup(body.module, target.name.text, "value")
        return found if isinstance(found, Symbol) else None
    if isinstance(target, tree.FieldAccess) and isinstance(target.target, tree.Variable):
        module = target.target.name.text
        meaning = None if module in body.scope else body.globals.world.lookup(body.module, module, "value")
        if isinstance(meaning, ModuleName):
            return body.globals.world.member(meaning.module, target.name.text)
    return None


# ---- which argument goes where ----


def match_arguments(body: Body, call: tree.Call, type: FunctionType, name: str) -> list[tree.Expression | None] | None:
    """The arguments in the order of the parameters; None where they do not fit, which is reported."""
    slots: list[tree.Expression | None] = [None] * len(type.parameters)
    names = [parameter.name for parameter in type.parameters]
    position = 0
    good = True
    for argument in call.arguments:
        if argument.name is None:
            if position >= len(slots):
                _too_many(body, call, len(slots), name)
                return None
            if slots[position] is not None:
                body.report(errors.argument_twice(argument.value.span, names[position]))
                good = False
            slots[position] = argument.value
            position += 1
        elif argument.name.text not in names or not argument.name.text:
            known = [known for known in names if known]
            body.report(
                errors.unknown_parameter(
                    argument.name.span, name, argument.name.text, nearest(argument.name.text, known), known
                )
            )
            good = False
        elif slots[names.index(argument.name.text)] is not None:
            body.report(errors.argument_twice(argument.name.span, argument.name.text))
            good = False
        else:
            slots[names.index(argument.name.text)] = argument.value
    for k, parameter in enumerate(type.parameters):
        if good and slots[k] is None and parameter.required:
            body.report(errors.missing_argument(call.span, name, parameter.name, body.solver.resolve(parameter.type)))
            good = False
    return slots if good else None


def _too_many(body: Body, call: tree.Call, wanted: int, name: str) -> None:
    """Reports what is wrong inside the arguments, or else that there are too many."""
    given = [body.infer(argument.value) for argument in call.arguments]
    if not any(isinstance(body.resolved(each), ErrorType) for each in given):
        words = f"{wanted} argument{'s' if wanted != 1 else ''}"
        body.report(errors.wrong_count(call.span, name, len(call.arguments), words))


# ---- keys ----


def _note_keys(body: Body, function: Typed, slots: list[tree.Expression | None]) -> None:
    """Warns where a draw uses a key that another draw, or a derivation, uses too (rule 7)."""
    signature = _primitive(body, function)
    if signature is None or not isinstance(signature.type, FunctionType):
        return
    declaration = signature.declaration
    assert isinstance(declaration, tree.PrimitiveDeclaration)
    derives = signature.symbol.module == "random" and signature.symbol.name == "at"
    for slot, parameter in zip(slots, signature.type.parameters, strict=True):
        is_key = isinstance(parameter.type, TensorType) and parameter.type.dtype == "Key"
        if isinstance(slot, tree.Variable) and is_key and declaration.group.text != "movement":
            body.note_key(slot.name.text, slot.span, draws=not derives)


# ---- the call itself ----


def finish_call(
    body: Body,
    function: Typed,
    type: FunctionType,
    slots: list[tree.Expression | None],
    span: Span,
    expected: Type | None,
) -> Typed:
    """Arguments checked against parameters (functions last, when more is known), the result at its place."""
    federated = is_federated(type)
    if federated and not body.test and (body.region is not None or not body.fed):
        return _misplaced_movement(body, function, type, slots, span)
    if expected is not None and not body.test:
        body.solver.hint(type.result, expected if federated else unplaced(expected))
    if isinstance(function, Global):
        _demand_defaults(body, function, type, slots, span)
    typed, uses = _arguments(body, type, slots, function, lifted=body.fed and not federated)
    if typed is None:
        body.solver.give_up(type)
        return Call(function, (), ERROR, span)
    if has_nested_sequence(body.resolve(type.result, span)):
        body.report(errors.nested_sequence(span))
        return Call(function, (), ERROR, span)
    if federated and body.test:
        return Call(function, typed, plain(body.resolve(type.result, span)), span)
    if federated:
        return Call(function, typed, body.resolve(type.result, span), span)
    if type.capture is not None:
        uses.append((function.span, captured(type.capture)))
    return Call(function, typed, body.at(body.join(uses), type.result, span), span)


def has_nested_sequence(type: Type) -> bool:
    """Whether the elements of a sequence in the type hold sequences."""
    inner = (leaf for _, leaf in leaves(unplaced(type)))
    return any(isinstance(leaf, SequenceType) and has_sequence(leaf.element) for leaf in inner)


def _misplaced_movement(
    body: Body, function: Typed, type: FunctionType, slots: list[tree.Expression | None], span: Span
) -> Typed:
    """A movement in a branch, a loop, a lambda or local code; its arguments are checked all the same."""
    if body.region is not None:
        body.report(errors.movement_inside(span, body.region.what))
    else:
        body.report(errors.movement_in_local(span, _name_of(function).strip("`")))
    with body.one_computation("a movement", apart=True):
        for slot in slots:
            if slot is not None:
                body.infer(slot)
    body.solver.give_up(type)
    return Call(function, (), ERROR, span)


def _demand_defaults(
    body: Body, function: Global, type: FunctionType, slots: list[tree.Expression | None], span: Span
) -> None:
    """A default that is used tells the anonymous types of its parameter."""
    for k, slot in enumerate(slots):
        wanted = type.parameters[k].type
        if slot is None and not isinstance(wanted, TensorType | PlacedType):
            default = body.globals.default_type(function.symbol, k)
            if default is not None:
                body.demand(substitute(default, function.instance), wanted, span, "the default of a parameter")


def _arguments(
    body: Body, type: FunctionType, slots: list[tree.Expression | None], function: Typed, *, lifted: bool
) -> tuple[tuple[Typed | None, ...] | None, list[tuple[Span, Type]]]:
    """The arguments, None for all where one does not fit; and the placed values that they are."""
    good = True
    typed: list[Typed | None] = [None] * len(slots)
    uses: list[tuple[Span, Type]] = []
    later = [k for k, slot in enumerate(slots) if isinstance(slot, tree.Lambda)]
    for k in [*(k for k in range(len(slots)) if k not in later), *later]:
        slot, parameter = slots[k], type.parameters[k]
        if slot is None:
            continue
        wanted = body.resolve(parameter.type, slot.span)
        if body.test:
            wanted = plain(wanted) if is_federated(type) else wanted
        argument = typed[k] = body.infer(slot, wanted)
        have = body.resolved(argument)
        if lifted:
            have = _lift(body, have, argument.span, uses)
        why = _why(function, k, parameter.name, print_type(body.resolve(wanted, slot.span)))
        good = body.demand(have, wanted, argument.span, why) and good
    return tuple(typed) if good else None, uses


def _why(function: Typed, index: int, parameter: str, wanted: str) -> str:
    """Which parameter wants the type."""
    name = _name_of(function)
    shown = f"`{parameter}` of {name}" if parameter else f"argument {index + 1} of {name}"
    return f"{shown} is {wanted}" if len(wanted) <= LONGEST_TYPE else f"this is {shown}"


def _lift(body: Body, type: Type, span: Span, uses: list[tuple[Span, Type]]) -> Type:
    """An argument of local work in a `fed` body, without its place."""
    type = gathered(type)
    if isinstance(type, PlacedType):
        uses.append((span, type))
        return type.type
    if isinstance(type, FunctionType) and type.capture is not None:
        uses.append((span, captured(type.capture)))
        return FunctionType(type.parameters, type.result)
    if is_bundle(type):
        body.report(errors.bundle(span, type))
        return ERROR
    return type


def plain(type: Type) -> Type:
    """In a test, which drives a program: one value for the server's, a list for the clients'."""
    match type:
        case PlacedType("CLIENTS", True, inner):
            return SequenceType(inner)
        case PlacedType(_, _, inner):
            return inner
        case RecordType(fields):
            return RecordType(tuple((name, plain(item)) for name, item in fields))
        case TupleType(items):
            return TupleType(tuple(plain(item) for item in items))
        case _:
            return type


# ---- primitives ----


def _primitive_call(
    body: Body,
    signature: Signature,
    function: Global,
    type: FunctionType,
    slots: list[tree.Expression | None],
    call: tree.Call,
    expected: Type | None,
) -> Typed:
    declaration = signature.declaration
    assert isinstance(declaration, tree.PrimitiveDeclaration)
    if declaration.name.text == "federated_collect" and "collect" not in _allowed(body):
        body.report(errors.collect_refused(call.span))
    if declaration.group.text == "elementwise" or declaration.name.text in ("matmul", "flatten"):
        body.forget(function.instance)  # typed by rules of their own
    if declaration.group.text == "elementwise" and all(slot is not None for slot in slots):
        arguments = tuple(body.infer(slot) for slot in slots if slot is not None)
        return elementwise(body, signature, function, arguments, call.span)
    if declaration.name.text == "matmul":
        arguments = tuple(body.infer(slot) for slot in slots if slot is not None)
        return matmul(body, function, arguments, call.span)
    if declaration.name.text == "flatten":
        arguments = tuple(body.infer(slot) for slot in slots if slot is not None)
        return _flatten(body, function, arguments, call.span)
    if declaration.group.text == "reduction" and len(slots) == 2 and slots[0] is not None and slots[1] is None:
        return _reduce_all(body, function, body.infer(slots[0]), type, call.span)
    if not _bind_statics(body, signature, function, slots):
        body.solver.give_up(type)
        body.forget(function.instance)
        return Call(function, (), ERROR, call.span)
    found = finish_call(body, function, type, slots, call.span, expected)
    if declaration.name.text == "reshape" and not _verify_reshape(body, type, call.span):
        return Call(function, (), ERROR, call.span)
    return found


def _verify_reshape(body: Body, type: FunctionType, span: Span) -> bool:
    """Whether a tensor may have as many numbers as the shape it is given."""
    before, after = (body.resolve(part, span) for part in (type.parameters[0].type, type.result))
    if not (isinstance(before, TensorType) and isinstance(after, TensorType)):
        return True
    if not (is_known(before.shape) and is_known(after.shape)):
        return True
    old, new = (product(tuple(s for s in each.shape if not isinstance(s, PackItem))) for each in (before, after))
    if can_differ(old, new):
        body.report(errors.shape_mix(span, print_type(before), print_type(after), f"{old} numbers are not {new}"))
    return not can_differ(old, new)


def _allowed(body: Body) -> set[str]:
    root = body.globals.world.scope("")
    return root.allowed if root is not None else set()


def _bind_statics(body: Body, signature: Signature, function: Global, slots: list[tree.Expression | None]) -> bool:
    """Arguments that the result's type mentions are sizes, known when compiling. Whether they are."""
    good = True
    names = [parameter.name.text for parameter in signature.declaration.parameters]  # type: ignore[union-attr]
    defaults = {p.name.text: p.default for p in signature.declaration.parameters}  # type: ignore[union-attr]
    for name, parameter in signature.statics:
        slot = slots[names.index(name)] or defaults[name]
        if slot is None:
            continue
        if isinstance(parameter, int) or parameter not in function.instance.packs:
            size = static_size(body, slot)
            if size is None:
                good = _not_static(body, slot, name)
            elif not isinstance(parameter, int):
                body.solver.assign_size(size, function.instance.sizes[parameter.terms[0][0][0]])  # type: ignore[union-attr]
        else:
            shape = static_shape(body, slot)
            if shape is None:
                good = _not_static(body, slot, name)
            else:
                body.solver.assign_shape(shape, function.instance.packs[parameter])  # type: ignore[index]
    return good


def _not_static(body: Body, slot: tree.Expression, name: str) -> bool:
    if not isinstance(body.resolved(body.infer(slot)), ErrorType):
        body.report(errors.not_static(slot.span, f"`{name}`"))
    return False


def _reduce_all(body: Body, function: Global, argument: Typed, type: FunctionType, span: Span) -> Typed:
    """A reduction over all axes: no axis is named."""
    types, place = strip_arguments(body, (argument,))
    body.demand(types[0], type.parameters[0].type, argument.span, f"`{function.symbol.name}` reduces a tensor")
    result = body.resolve(type.result, span)
    if isinstance(result, TensorType):
        result = TensorType(result.dtype, ())
    return Call(function, (argument, None), body.at(place, result, span), span)


def _flatten(body: Body, function: Global, arguments: tuple[Typed, ...], span: Span) -> Typed:
    """`flatten(x)`: all axes but the first become one."""
    types, place = strip_arguments(body, arguments)
    if not isinstance(types[0], TensorType) or not types[0].shape or not is_known(types[0].shape):
        if not isinstance(types[0], ErrorType):
            body.report(errors.bound_missed(span, types[0], "a tensor with axes", "`flatten`"))
        return Call(function, arguments, ERROR, span)
    sizes: list[Size] = [size for size in types[0].shape[1:] if not isinstance(size, PackItem)]
    result = TensorType(types[0].dtype, (types[0].shape[0], product(tuple(sizes))))
    return Call(function, arguments, body.at(place, result, span), span)


# ---- forms ----


def _infer_form(body: Body, form: str, call: tree.Call, expected: Type | None) -> Typed:
    if form in ("value_and_grad", "grad"):
        if len(call.arguments) != 1:
            body.report(errors.wrong_count(call.span, f"`{form}`", len(call.arguments), "one function"))
            for argument in call.arguments:
                body.infer(argument.value)
            return TupleOf((), ERROR, call.span)
        return gradient(body, form, body.infer(call.arguments[0].value), call.span)
    if form == "federated_map":
        if len(call.arguments) != 2:
            body.report(
                errors.wrong_count(call.span, "`federated_map`", len(call.arguments), "a function and a placed value")
            )
            return TupleOf((), ERROR, call.span)
        inner = tree.Call(call.arguments[0].value, call.arguments[1:], call.span)
        return infer_call(body, inner, expected)
    items = tuple(body.infer(argument.value) for argument in call.arguments)
    return TupleOf(items, tuple_of(tuple(body.resolved(item) for item in items)), call.span)


def _gradient_of_call(body: Body, form: tree.Call, call: tree.Call) -> Typed:
    """`value_and_grad(f)(x)`: the arguments tell the types of a lambda's parameters."""
    name = _form(body, form.function)
    assert name is not None
    if len(form.arguments) != 1 or not isinstance(form.arguments[0].value, tree.Lambda):
        return _infer_form(body, name, form, None)
    given = [unplaced(body.resolved(body.infer(argument.value))) for argument in call.arguments]
    wanted = FunctionType(tuple(ParameterType(type) for type in given), fresh_meta("data"))
    return gradient(body, name, body.infer(form.arguments[0].value, wanted), form.span)


def gradient(body: Body, form: str, function: Typed, span: Span) -> Typed:
    """The function that gives the derivative by the first argument, with the value (`value_and_grad`) or alone."""
    type = body.resolved(function)
    if isinstance(type, ErrorType):
        return GradientOf(form == "value_and_grad", function, ERROR, span)
    if not isinstance(type, FunctionType) or not type.parameters:
        body.report(
            errors.not_differentiable(function.span, f"this is {print_type(type)}, not a function of something")
        )
        return GradientOf(form == "value_and_grad", function, ERROR, span)
    if is_federated(type):
        body.report(errors.not_differentiable(function.span, "this is a federated function"))
        body.solver.give_up(type)
        return GradientOf(form == "value_and_grad", function, ERROR, span)
    first = type.parameters[0].type
    value = body.resolve(type.result, span)
    scalar = value.items[0] if isinstance(value, TupleType) and value.items else value
    good = True
    if not body.solver.satisfies(first, "Float"):
        good = False
        shown = print_type(body.resolve(first, span))
        body.report(errors.not_differentiable(function.span, f"its first parameter is {shown}, not made of floats"))
    elif not (
        isinstance(scalar, TensorType) and not scalar.shape and body.solver.satisfies(scalar, "Float")
    ) and not isinstance(scalar, ErrorType | Meta):
        good = False
        body.report(errors.not_differentiable(function.span, f"its result is {print_type(scalar)}, not one float"))
    if not good:
        return GradientOf(form == "value_and_grad", function, ERROR, span)
    result = TupleType((value, first)) if form == "value_and_grad" else first
    parameters = tuple(ParameterType(p.type) for p in type.parameters if p.required)
    return GradientOf(form == "value_and_grad", function, FunctionType(parameters, result, type.capture), span)


def infer_variable(body: Body, variable: tree.Variable) -> Typed:
    """A name: local, a size, a declaration; a declaration with type parameters becomes one use of it."""
    name, span = variable.name.text, variable.span
    if name in body.scope:
        found = body.scope[name]
        found.used = True
        return Local(name, body.strip(found.type, span), span)
    size = body.annotations.names.get(name)
    if size is not None and not isinstance(size, TypeVariable):
        from_size = static_size(body, variable)
        assert from_size is not None
        return SizeOf(from_size, INT32, span)
    meaning = body.globals.world.lookup(body.module, name, "value")
    if isinstance(meaning, ModuleName):
        body.report(name_errors.module_as_value(span, name))
        return Local(name, ERROR, span)
    if meaning is None:
        if name in FORMS:
            body.report(errors.function_as_data(span, "passed on: call this form"))
        elif _is_type(body, name):
            body.report(name_errors.type_as_value(span, name))
        elif not body.globals.world.is_broken(body.module, name):
            known = [*body.scope, *body.annotations.names, *FORMS, *body.globals.world.names(body.module, "value")]
            body.report(name_errors.unknown_name(span, name, nearest(name, known)))
        return Local(name, ERROR, span)
    return use(body, meaning, span)


def _is_type(body: Body, name: str) -> bool:
    own = isinstance(body.annotations.names.get(name), TypeVariable)
    return own or name in DTYPES or body.globals.world.lookup(body.module, name, "type") is not None


def use(body: Body, symbol: Symbol, span: Span) -> Typed:
    """One use of a declaration."""
    body.called.append((symbol, span))
    signature = body.globals.signature(symbol, span)
    if signature is None:
        return Global(symbol, Substitution({}, {}, {}), ERROR, span)
    instance, type = body.instantiate(signature, span)
    return Global(symbol, instance, type, span)


def infer_list(body: Body, written: tree.ListExpression, expected: Type | None) -> Typed:
    """`[a, b]`: a tensor (or a structure of tensors) with a first axis; in a test also the values of the clients."""
    if body.test and isinstance(expected, SequenceType):
        items = tuple(
            body.expect(item, expected.element, "every client has a value of one type") for item in written.items
        )
        return ListOf(items, expected, written.span)
    first = body.infer(written.items[0]) if written.items else None
    if first is None:
        front = body.solver.first_axis(expected) if expected is not None else None
        if front is None:
            body.report(errors.unknown_here(written.span))
            return ListOf((), ERROR, written.span)
        return ListOf((), prefix((0,), front[1]) or ERROR, written.span)
    rest = [
        body.expect(item, first.type, "all items of a list have one type", first.span) for item in written.items[1:]
    ]
    types, place = strip_arguments(body, (first, *rest), "an item of a list")
    if any(isinstance(type, ErrorType) for type in types):
        return ListOf((first, *rest), ERROR, written.span)
    result = prefix((len(written.items),), types[0])
    if result is None:
        body.report(errors.no_brackets(written.span, types[0]))
        return ListOf((first, *rest), ERROR, written.span)
    return ListOf((first, *rest), body.at(place, result, written.span), written.span)
