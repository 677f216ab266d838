"""Replacing variables in types: one walk, used to instantiate, to resolve what was found, and to open `?`."""

from __future__ import annotations

from collections.abc import Mapping

from fedlang.frozen import Frozen
from fedlang.types import dims
from fedlang.types.dims import Atom, Size
from fedlang.types.shapes import ShapeError, apply_shape_function
from fedlang.types.types import (
    DType,
    FunctionType,
    Meta,
    PackItem,
    ParameterType,
    PlacedType,
    Prefixed,
    RecordType,
    SequenceType,
    Shape,
    ShapeFunction,
    TensorType,
    TupleType,
    Type,
    TypeVariable,
    placed,
    prefix,
    record,
    tuple_of,
)


class Substitution(Frozen):
    """What stands for what. Types and dtypes share one table; packs are shapes; sizes are keyed by their atom."""

    types: Mapping[TypeVariable | Meta, Type | str]
    packs: Mapping[TypeVariable | Meta, Shape]
    sizes: Mapping[Atom, Size]

    def __bool__(self) -> bool:
        return bool(self.types or self.packs or self.sizes)


NOTHING = Substitution({}, {}, {})


def substitute(type: Type, by: Substitution) -> Type:
    """The type with everything in `by` replaced, repeatedly, in normal form."""
    match type:
        case TypeVariable() | Meta():
            return _variable(type, by)
        case TensorType(str(), ()):
            return type
        case TensorType(dtype, shape):
            new_dtype = substitute_dtype(dtype, by)
            new_shape = substitute_shape(shape, by)
            if isinstance(new_dtype, str | TypeVariable | Meta):
                return TensorType(new_dtype, new_shape)
            return prefix(new_shape, new_dtype) or new_dtype
        case Prefixed(shape, of):
            inner = _variable(of, by)
            return prefix(substitute_shape(shape, by), inner) or inner
        case TupleType(items):
            return tuple_of(tuple(substitute(item, by) for item in items))
        case RecordType(fields):
            return record(tuple((name, substitute(item, by)) for name, item in fields))
        case SequenceType(element):
            return SequenceType(substitute(element, by))
        case FunctionType(parameters, result, capture):
            new = tuple(ParameterType(substitute(p.type, by), p.name, p.required) for p in parameters)
            return FunctionType(new, substitute(result, by), capture)
        case PlacedType(place, each, inner):
            return placed(place, each, substitute(inner, by))
        case _:
            return type


def _variable(type: TypeVariable | Meta, by: Substitution) -> Type:
    found = by.types.get(type)
    if found is None:
        return type
    return TensorType(found, ()) if isinstance(found, str) else substitute(found, by)


def substitute_dtype(dtype: DType, by: Substitution) -> Type | str:
    """A dtype replaced: a name, a variable, or (where a structure stood for it) a type."""
    if isinstance(dtype, str):
        return dtype
    found = by.types.get(dtype)
    if found is None:
        return dtype
    if isinstance(found, str):
        return found
    if isinstance(found, TypeVariable | Meta):
        return substitute_dtype(found, by)
    if isinstance(found, TensorType) and not found.shape:
        return substitute_dtype(found.dtype, by)
    return substitute(found, by)


def substitute_shape(shape: Shape, by: Substitution) -> Shape:
    """A shape replaced; packs that are known are spread out, shape functions of known packs computed."""
    if all(isinstance(item, int) for item in shape):
        return shape
    result: list[Size | PackItem] = []
    for item in shape:
        if isinstance(item, PackItem):
            result += _pack(item, by)
        else:
            result.append(substitute_size(item, by))
    return tuple(result)


def substitute_size(size: Size, by: Substitution) -> Size:
    """A size replaced, repeatedly. Raises `ShapeError` for a division that cannot be."""
    if isinstance(size, int) or not by.sizes:
        return size

    def value(atom: Atom) -> Size | None:
        found = by.sizes.get(atom)
        return None if found is None else substitute_size(found, by)

    try:
        return dims.substitute(size, value)
    except ArithmeticError as error:
        raise ShapeError(str(error)) from error


def _pack(item: PackItem, by: Substitution) -> Shape:
    if isinstance(item.pack, ShapeFunction):
        arguments = tuple(
            substitute_shape(a, by) if isinstance(a, tuple) else substitute_size(a, by) for a in item.pack.arguments
        )
        return apply_shape_function(item.pack.name, arguments)
    found = by.packs.get(item.pack)
    return (item,) if found is None else substitute_shape(found, by)
