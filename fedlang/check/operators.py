"""Elementwise operations and operators: how arithmetic lifts over records, and how shapes and dtypes meet.

For `a ∘ b`, in order: the same structure, leaf by leaf; a scalar against a structure, spread over its leaves and
taking each leaf's
dtype (float to float only); two tensors, trailing axes aligned, a known size 1 stretched, dtypes equal; else an error.
"""

from __future__ import annotations

from fedlang.check import errors
from fedlang.check.body import Body, Signature, is_bundle
from fedlang.check.typed import Call, Global, Typed
from fedlang.source import Span
from fedlang.types.dtypes import FLOATS
from fedlang.types.shapes import apply_shape_function, is_known
from fedlang.types.solve import allowed_dtypes
from fedlang.types.types import (
    ERROR,
    DType,
    ErrorType,
    FunctionType,
    Meta,
    PackItem,
    PlacedType,
    Prefixed,
    RecordType,
    Shape,
    TensorType,
    TupleType,
    Type,
    TypeVariable,
    gathered,
    print_type,
)

BINARY = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "//": "floor_divide", "%": "remainder", "@": "matmul",
    "==": "equal", "!=": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal",
    "and": "logical_and", "or": "logical_or",
}  # fmt: skip
UNARY = {"-": "negate", "not": "logical_not"}


def elementwise(body: Body, signature: Signature, function: Global, arguments: tuple[Typed, ...], span: Span) -> Typed:
    """A call of an elementwise primitive."""
    assert isinstance(signature.type, FunctionType)
    types, place = strip_arguments(body, arguments)
    main = [_is_main(parameter.type) for parameter in signature.type.parameters]
    bound = next((_bound(p.type) for p, is_main in zip(signature.type.parameters, main, strict=True) if is_main), "")
    if any(isinstance(type, ErrorType) for type in types):
        return Call(function, arguments, ERROR, span)
    _settle_unknown(body, types, main, arguments)
    types = [body.resolve(type, span) for type in types]
    if any(isinstance(type, Meta) for type in types):
        body.report(errors.unknown_here(span))
        return Call(function, arguments, ERROR, span)
    spread = [False] * len(types)
    if all(isinstance(type, TensorType) for type in types):
        wanted = [_fixed(parameter.type) for parameter in signature.type.parameters]
        result = _tensors(body, [t for t in types if isinstance(t, TensorType)], wanted, bound, spread, arguments, span)
        result = _tensor_result(result, signature.type.result)
    else:
        wanted = [_fixed(parameter.type) for parameter in signature.type.parameters]
        result = _structures(body, types, wanted, bound, spread, arguments, span)
        result = _structure_result(body, result, signature.type.result, span)
    return Call(function, arguments, body.at(place, result, span), span, tuple(spread))


def strip_arguments(
    body: Body, arguments: tuple[Typed, ...], where: str = "computed with"
) -> tuple[list[Type], tuple[str, bool] | None]:
    """The types of operands without their places, and the place of the computation."""
    types: list[Type] = []
    uses: list[tuple[Span, Type]] = []
    for argument in arguments:
        type = gathered(body.resolved(argument))
        if isinstance(type, PlacedType):
            uses.append((argument.span, type))
            type = type.type
        elif is_bundle(type):
            body.report(errors.bundle(argument.span, type))
            type = ERROR
        elif isinstance(type, FunctionType):
            body.refuse_function(argument, where)
            type = ERROR
        types.append(type)
    return types, body.join(uses)


def _is_main(type: Type) -> bool:
    return isinstance(type, TypeVariable) or (isinstance(type, TensorType) and isinstance(type.dtype, TypeVariable))


def _bound(type: Type) -> str:
    variable = type.dtype if isinstance(type, TensorType) else type
    return variable.bound if isinstance(variable, TypeVariable) else ""


def _fixed(type: Type) -> str:
    """The dtype a parameter demands, or "" for the dtype all share."""
    return type.dtype if isinstance(type, TensorType) and isinstance(type.dtype, str) else ""


def _settle_unknown(body: Body, types: list[Type], main: list[bool], arguments: tuple[Typed, ...]) -> None:
    """An operand whose type is not known takes that of the operand it meets."""
    known = [type for type, is_main in zip(types, main, strict=True) if is_main and not isinstance(type, Meta)]
    for type, is_main, argument in zip(types, main, arguments, strict=True):
        if isinstance(type, Meta) and is_main and known:
            body.demand(type, known[0], argument.span, "both sides of an operation have one type")


def _tensors(
    body: Body,
    types: list[TensorType],
    wanted: list[str],
    bound: str,
    spread: list[bool],
    arguments: tuple[Typed, ...],
    span: Span,
) -> Type:
    """Tensors meet: one dtype, shapes joined. The result has the shared dtype ("bool" where there is none)."""
    shape: Shape = ()
    for type in types:
        joined = _join(body, shape, type.shape)
        if isinstance(joined, str):
            left, right = TensorType(types[0].dtype, shape), type
            body.report(errors.shape_mix(span, print_type(left), print_type(right), joined))
            return ERROR
        shape = joined
    dtype: DType | None = None
    ranked = sorted(range(len(types)), key=lambda k: not types[k].shape)
    for k in ranked:
        if wanted[k]:
            if not _same_dtype(body, types[k].dtype, wanted[k]):
                found = print_type(body.solver.resolve(TensorType(types[k].dtype, ())))
                body.report(errors.dtype_wanted(arguments[k].span, wanted[k], found))
                return ERROR
            continue
        if dtype is None:
            dtype = types[k].dtype
        elif not _same_dtype(body, types[k].dtype, dtype):
            if types[k].shape or not shape or not _both_float(body, types[k].dtype, dtype):
                shown = [print_type(body.solver.resolve(TensorType(d, ()))) for d in (dtype, types[k].dtype)]
                body.report(errors.dtype_mix(span, *shown))
                return ERROR
            spread[k] = True
    result = TensorType(dtype or "bool", shape)
    if bound and dtype is not None and not body.solver.satisfies(TensorType(dtype, ()), bound):
        body.report(errors.bound_missed(span, body.solver.resolve(result), bound, "this operation"))
        return ERROR
    return result


def _join(body: Body, a: Shape, b: Shape) -> Shape | str:
    a, b = body.solver.resolve_shape(a), body.solver.resolve_shape(b)
    if a == b or not b:
        return a
    if not a:
        return b
    if not (is_known(a) and is_known(b)):
        return apply_shape_function("join", (a, b))
    if len(a) < len(b):
        a, b = b, a
    result = list(a)
    for k, size in enumerate(b, start=len(a) - len(b)):
        mine = result[k]
        assert not isinstance(mine, PackItem) and not isinstance(size, PackItem)
        if mine == 1:
            result[k] = size
        elif size != 1 and not body.solver.assign_size(size, mine):
            return f"size {mine} is not {size}"
    return tuple(result)


def _same_dtype(body: Body, actual: DType, expected: DType) -> bool:
    return body.solver.assign(TensorType(actual, ()), TensorType(expected, ())) is None


def _both_float(body: Body, left: DType, right: DType) -> bool:
    kinds = [body.solver.resolve(TensorType(dtype, ())) for dtype in (left, right)]
    return all(isinstance(kind, TensorType) and (kind.dtype in FLOATS or _floats_only(kind.dtype)) for kind in kinds)


def _floats_only(dtype: DType) -> bool:
    return isinstance(dtype, TypeVariable) and bool(dtype.bound) and set(allowed_dtypes(dtype.bound)) <= set(FLOATS)


def _structures(
    body: Body,
    types: list[Type],
    wanted: list[str],
    bound: str,
    spread: list[bool],
    arguments: tuple[Typed, ...],
    span: Span,
) -> Type:
    """A structure meets equal structures and scalars; a condition has its structure, of bools. The result is it."""
    main = [not dtype for dtype in wanted]
    structures = [k for k, type in enumerate(types) if not (isinstance(type, TensorType) and not type.shape)]
    at = next((k for k in structures if main[k] and not isinstance(types[k], TensorType)), structures[0])
    structure = types[at]
    for k, type in enumerate(types):
        if k == at:
            continue
        if not main[k]:
            if not _fixed_part(body, type, structure, wanted[k], arguments[k].span):
                return ERROR
        elif isinstance(type, TensorType) and not type.shape:
            if not _spreads(body, type, structure, arguments[k].span):
                return ERROR
            spread[k] = True
        elif not body.demand(type, structure, arguments[k].span, "both sides of an operation have one structure"):
            return ERROR
    if bound and not body.solver.satisfies(structure, bound):
        body.report(errors.bound_missed(span, structure, bound, "this operation"))
        return ERROR
    return structure


def _fixed_part(body: Body, type: Type, structure: Type, dtype: str, span: Span) -> bool:
    """An operand of a dtype of its own, as a condition: one scalar for all leaves, or one tensor for each."""
    if isinstance(type, TensorType) and not type.shape:
        if _same_dtype(body, type.dtype, dtype):
            return True
        body.report(errors.dtype_wanted(span, dtype, print_type(body.solver.resolve(type))))
        return False
    each = _leaves_to(body, structure, dtype, span)
    return not isinstance(each, ErrorType) and body.demand(type, each, span, "it has the structure of the others")


def _spreads(body: Body, scalar: TensorType, structure: Type, span: Span) -> bool:
    """A scalar beside a structure takes the dtype of its leaves: a literal any it fits, a float any float."""
    if isinstance(scalar.dtype, Meta):
        if body.solver.satisfies(structure, "Float"):
            body.solver.types[scalar.dtype] = "float32"
            return True
        if "float literal" not in body.solver.bounds_of(scalar.dtype) and body.solver.satisfies(structure, "Number"):
            return True
    elif scalar.dtype in FLOATS and body.solver.satisfies(structure, "Float"):
        return True
    body.report(errors.no_spread(span, print_type(body.solver.resolve(scalar)), print_type(structure)))
    return False


def _tensor_result(joined: Type, declared: Type) -> Type:
    if isinstance(joined, TensorType) and isinstance(declared, TensorType) and isinstance(declared.dtype, str):
        return TensorType(declared.dtype, joined.shape)
    return joined


def _structure_result(body: Body, structure: Type, declared: Type, span: Span) -> Type:
    if not (isinstance(declared, TensorType) and isinstance(declared.dtype, str)):
        return structure
    return _leaves_to(body, structure, declared.dtype, span)


def _leaves_to(body: Body, structure: Type, dtype: str, span: Span) -> Type:
    match structure:
        case TensorType(_, shape):
            return TensorType(dtype, shape)
        case TupleType(items):
            return TupleType(tuple(_leaves_to(body, item, dtype, span) for item in items))
        case RecordType(fields):
            return RecordType(tuple((name, _leaves_to(body, item, dtype, span)) for name, item in fields))
        case Prefixed() | TypeVariable() | Meta():
            body.report(errors.bound_missed(span, structure, "a tensor", "a comparison or condition"))
    return ERROR


def matmul(body: Body, function: Global, arguments: tuple[Typed, ...], span: Span) -> Typed:
    """`a @ b`: matrices, stacks of matrices (leading axes joined), and vectors on either side."""
    types, place = strip_arguments(body, arguments)
    if any(isinstance(type, ErrorType) for type in types):
        return Call(function, arguments, ERROR, span)
    a, b = (body.resolve(type, span) for type in types)
    if not (isinstance(a, TensorType) and isinstance(b, TensorType)):
        wrong = a if not isinstance(a, TensorType) else b
        body.report(
            errors.unknown_here(span)
            if isinstance(wrong, Meta)
            else errors.bound_missed(span, wrong, "a tensor", "`@`")
        )
        return Call(function, arguments, ERROR, span)
    result = _matmul_type(body, a, b, span)
    return Call(function, arguments, body.at(place, result, span), span)


def _matmul_type(body: Body, a: TensorType, b: TensorType, span: Span) -> Type:
    if not _same_dtype(body, b.dtype, a.dtype):
        body.report(errors.dtype_mix(span, *(print_type(TensorType(t.dtype, ())) for t in (a, b))))
        return ERROR
    if not body.solver.satisfies(TensorType(a.dtype, ()), "Float"):
        body.report(errors.bound_missed(span, a, "Float", "`@`"))
        return ERROR
    if not a.shape or not b.shape:
        body.report(errors.shape_mix(span, print_type(a), print_type(b), "a scalar has no axis to contract: use `*`"))
        return ERROR
    inner_a, inner_b = a.shape[-1], b.shape[-2] if len(b.shape) > 1 else b.shape[0]
    if isinstance(inner_a, PackItem) or isinstance(inner_b, PackItem):
        body.report(errors.unknown_here(span))
        return ERROR
    if not body.solver.assign_size(inner_b, inner_a):
        body.report(
            errors.shape_mix(span, print_type(a), print_type(b), f"the inner sizes are {inner_a} and {inner_b}")
        )
        return ERROR
    lead = _join(body, a.shape[:-2], b.shape[:-2])
    if isinstance(lead, str):
        body.report(errors.shape_mix(span, print_type(a), print_type(b), lead))
        return ERROR
    return TensorType(a.dtype, (*lead, *a.shape[-2:-1], *(b.shape[-1:] if len(b.shape) > 1 else ())))
