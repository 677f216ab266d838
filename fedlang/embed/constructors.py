"""Types made in Python: `fl.to_type`, and constructors with the names that TensorFlow Federated gave them.

    fl.FederatedType(np.float32, fl.CLIENTS)                     <float32>@CLIENTS
    fl.SequenceType({"x": (np.float32, [None, 784])})            {x: float32[?, 784]}*
    fl.to_type([("a", np.int32), ("b", "float32[3]")])           {a: int32, b: float32[3]}

What they give are the types of `fedlang.types`; every place that takes a type also takes what `to_type` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fedlang.check.annotations import Annotations
from fedlang.diagnostics import Diagnostic, DiagnosticError
from fedlang.embed import errors
from fedlang.embed.places import caller_span, parse_type_at
from fedlang.modules import Modules
from fedlang.names.world import World
from fedlang.source import Source
from fedlang.syntax.tree import Module
from fedlang.types.dims import fresh_unknown
from fedlang.types.dtypes import DTYPES
from fedlang.types.types import (
    CLIENTS,
    SERVER,
    ParameterType,
    PlacedType,
    Printed,
    TupleType,
    Type,
    is_data,
    record,
    tuple_of,
)
from fedlang.types.types import FunctionType as Function
from fedlang.types.types import SequenceType as Sequence
from fedlang.types.types import TensorType as Tensor

HINTS = {int: "np.int32", float: "np.float32", complex: "np.float32"}
TEXT = "SUO"
"""The kinds of NumPy dtypes that hold text."""


def to_type(spec: Any) -> Type:
    """The type that a Python value stands for.

    Takes types, text in the language's notation, dtypes of NumPy and TensorFlow, `(dtype, shape)`, specs with a `shape`
    and a `dtype` or an `element_spec`, mappings and named tuples (records), lists of pairs (records) and other lists
    and tuples (tuples). Raises `DiagnosticError` for anything else.
    """
    match spec:
        case Printed():
            return spec  # type: ignore[return-value]
        case str() if spec not in DTYPES:
            return _parsed(spec)
        case (dtype, list() | tuple() as shape) if _dtype(dtype) is not None and all(_is_size(n) for n in shape):
            return TensorType(dtype, shape)
        case Mapping():
            return record(tuple((str(name), to_type(item)) for name, item in spec.items()))
        case tuple() if hasattr(spec, "_asdict"):
            return to_type(spec._asdict())
        case list() | tuple():
            return _structure(spec)
    if hasattr(spec, "element_spec"):
        return SequenceType(spec.element_spec)
    dtype = _dtype(spec)
    if dtype is not None:
        return Tensor(dtype, ())
    if hasattr(spec, "shape") and hasattr(spec, "dtype") and not isinstance(spec, np.ndarray | np.generic):
        return TensorType(spec.dtype, spec.shape)
    note = "a type says what values are, and is not one of them"
    hint = next((f"write `{word}`" for each, word in HINTS.items() if spec is each), "")
    raise errors.no_type(f"{spec!r:.60}", note, hint, caller_span())


def _structure(spec: list[Any] | tuple[Any, ...]) -> Type:
    is_pair = [isinstance(item, tuple) and len(item) == 2 and _is_field_name(item[0]) for item in spec]
    if spec and all(is_pair):
        return record(tuple((name, to_type(item)) for name, item in spec))
    if any(is_pair):
        note = "some parts have names, and some have none"
        raise errors.no_type(f"{spec!r:.60}", note, "name all of them, or none", caller_span())
    return tuple_of(tuple(to_type(item) for item in spec))


def _is_field_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier() and value not in DTYPES


def _is_size(value: Any) -> bool:
    return value is None or isinstance(value, int | np.integer)


def _parsed(text: str) -> Type:
    found: list[Diagnostic] = []
    world = World(Modules().find, Modules().module_names)
    world.bind_root(Module(Source("<type>", ""), (), ""), set())
    place = caller_span()
    written, _ = parse_type_at(text, "to_type", place, place.start)
    type = Annotations(world, "", lambda symbol, span: None, found.append).type(written)
    if found:
        raise DiagnosticError(*found)
    return type


def _dtype(spec: Any) -> str | None:
    """The name of a dtype of NumPy or TensorFlow, or one that is written; None for what is no dtype."""
    if isinstance(spec, str):
        return spec if spec in DTYPES else None
    if any(spec is each for each in HINTS) or not (
        isinstance(spec, type | np.dtype) or hasattr(spec, "as_numpy_dtype")
    ):
        return None
    if hasattr(spec, "as_numpy_dtype"):
        return spec.name if spec.name in DTYPES else None
    if any(spec is each for each in (bool, str, bytes)) or (isinstance(spec, type) and issubclass(spec, np.generic)):
        spec = np.dtype(spec)
    if not isinstance(spec, np.dtype):
        return None
    name = "string" if spec.kind in TEXT else spec.name
    return name if name in DTYPES else None


def TensorType(dtype: Any, shape: Iterable[int | None] = ()) -> Type:
    """`float32[?, 784]`: a dtype and a shape. None is a size that is not known."""
    name = _dtype(dtype)
    if name is None:
        raise errors.no_type(f"{dtype!r:.60}", f"dtypes are {', '.join(DTYPES)}", "", caller_span())
    try:
        sizes = tuple(shape)
    except (TypeError, ValueError):  # a shape of TensorFlow whose number of axes is not known
        note = "its number of axes is not known"
        raise errors.no_type(
            f"{name} of shape {shape}", note, "give a size or None for each axis", caller_span()
        ) from None
    return Tensor(name, tuple(fresh_unknown() if n is None else int(n) for n in sizes))


def SequenceType(element: Any) -> Type:
    """`T*`: a sequence, what a client's dataset is."""
    inner = to_type(element)
    _verify_data(inner, "a sequence")
    return Sequence(inner)


def StructType(elements: Any) -> Type:
    """`{a: A, b: B}` from a mapping or pairs, `(A, B)` from a list."""
    return to_type(list(elements) if not isinstance(elements, Mapping) else elements)


NamedTupleType = StructType
"""What TensorFlow Federated called it in 2019."""


def FunctionType(parameter: Any, result: Any) -> Type:
    """`(A, B) -> C`. `parameter` is None for none, and a tuple for several."""
    taken: tuple[Type, ...] = () if parameter is None else (to_type(parameter),)
    if len(taken) == 1 and isinstance(taken[0], TupleType):
        taken = taken[0].items
    return Function(tuple(ParameterType(each) for each in taken), to_type(result))


def FederatedType(member: Any, placement: str, all_equal: bool | None = None) -> Type:
    """`<T>@CLIENTS`, `T@CLIENTS` (`all_equal`) or `T@SERVER`. `placement` is `fl.CLIENTS` or `fl.SERVER`."""
    inner = to_type(member)
    if placement not in (CLIENTS, SERVER):
        hint = "write `fl.CLIENTS` or `fl.SERVER`"
        raise errors.no_type(f"a value at {placement!r:.40}", "it is no placement", hint, caller_span())
    if placement == SERVER and all_equal is False:
        raise errors.no_type("a value at the server for each client", "there is one server", "", caller_span())
    _verify_data(inner, "a value at a place")
    return PlacedType(placement, placement == CLIENTS and not all_equal, inner)


def _verify_data(type: Type, what: str) -> None:
    if not is_data(type):
        note = "functions and what has a place already have none inside"
        raise errors.no_type(f"{what} of {type}", note, "", caller_span())


def type_of_value(name: str, value: Any) -> Type:
    """The type of a Python value: what a function without types takes it for.

    Whole numbers are int32 where they fit, else int64; fractions float32; arrays keep their dtype and shape.
    """
    if isinstance(value, bool | np.bool_):
        return Tensor("bool", ())
    if isinstance(value, int):
        return Tensor("int32" if -(2**31) <= value < 2**31 else "int64", ())
    if isinstance(value, float):
        return Tensor("float32", ())
    if isinstance(value, str | bytes):
        return Tensor("string", ())
    if isinstance(value, Mapping):
        return record(tuple((str(key), type_of_value(name, item)) for key, item in value.items()))
    if hasattr(value, "_asdict"):
        return type_of_value(name, value._asdict())
    if isinstance(value, tuple | list):
        return tuple_of(tuple(type_of_value(name, item) for item in value))
    if hasattr(value, "element_spec"):
        return to_type(value)
    if _dtype(getattr(value, "dtype", None)) is not None:
        return TensorType(value.dtype, value.shape)
    raise errors.not_inferred(name, f"{type(value).__name__} {value!r:.60}", caller_span())
