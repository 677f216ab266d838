"""A second printer of types: the notation of TensorFlow Federated as of 2019.

    {int32}@CLIENTS   T@CLIENTS   T@SERVER   <a=int32,b=bool>   <x=float32[?,784]>*   ( -> string)   (<A,B> -> C)

It is for people who read and compare such lines; nothing parses it. What that notation cannot say prints as what it
comes nearest to: a size with a name is `?`, a tensor with any number of axes `tf.float32[None]`, a `Key` the pair
of numbers that stands for it. Parameters print without names. Source: `computation_types.py` of
tensorflow_federated 0.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from fedlang.types.dims import Size
from fedlang.types.types import (
    DType,
    ErrorType,
    FunctionType,
    Meta,
    PackItem,
    PlacedType,
    Prefixed,
    RecordType,
    SequenceType,
    Shape,
    TensorType,
    TupleType,
    Type,
    TypeVariable,
    print_type,
)

NO_NAMES: Mapping[str, str] = {}


def print_tff(type: Type, names: Mapping[str, str] = NO_NAMES, path: str = "") -> str:
    """The type in TFF's notation.

    `names` says how fields are called there: keys are fields or dotted paths to them
    (`{"model.trainable.kernel": "dense/kernel"}`), for names that the language does not have. A field whose name there
    is empty prints without one.
    """
    match type:
        case TensorType(dtype, shape):
            return _tensor(dtype, shape)
        case Prefixed(_, of):
            return print_type(of)
        case TypeVariable() | Meta():
            return print_type(type)
        case TupleType(items):
            return f"<{','.join(print_tff(item, names, _join(path, str(k))) for k, item in enumerate(items))}>"
        case RecordType(fields):
            return f"<{','.join(_field(name, item, names, _join(path, name)) for name, item in fields)}>"
        case SequenceType(element):
            return f"{print_tff(element, names, path)}*"
        case FunctionType(parameters, result):
            shown = [print_tff(each.type, names, path) for each in parameters]
            taken = f"<{','.join(shown)}>" if len(shown) > 1 else "".join(shown)
            return f"({taken} -> {print_tff(result, names, path)})"
        case PlacedType(place, each, inner):
            shown_inner = print_tff(inner, names, path)
            return f"{{{shown_inner}}}@{place}" if each else f"{shown_inner}@{place}"
        case ErrorType():
            return "?"
        case _:
            assert_never(type)


def shown_name(name: str, names: Mapping[str, str], path: str) -> str:
    """What a field is called: by its path from the outside, else by its own name."""
    return names.get(path, names.get(name, name))


def unzipped(type: Type) -> Type:
    """A record or tuple at one place as one of placed fields: what 2019's evaluations gave.

    The language has only one type for both, and prints the place once.
    """
    match type:
        case PlacedType(place, each, RecordType(fields)):
            return RecordType(tuple((name, PlacedType(place, each, item)) for name, item in fields))
        case PlacedType(place, each, TupleType(items)):
            return TupleType(tuple(PlacedType(place, each, item) for item in items))
        case FunctionType(parameters, result):
            return FunctionType(parameters, unzipped(result))
        case _:
            return type


def _field(name: str, type: Type, names: Mapping[str, str], path: str) -> str:
    shown = shown_name(name, names, path)
    return f"{shown}={print_tff(type, names, path)}" if shown else print_tff(type, names, path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _tensor(dtype: DType, shape: Shape) -> str:
    name = dtype if isinstance(dtype, str) else print_type(dtype)
    if name == "Key":
        name, shape = "uint32", (*shape, 2)
    if any(isinstance(item, PackItem) for item in shape):
        return f"tf.{name}[None]"
    return f"{name}[{','.join(_size(item) for item in shape)}]" if shape else name


def _size(size: Size | PackItem) -> str:
    return str(size) if isinstance(size, int) else "?"
