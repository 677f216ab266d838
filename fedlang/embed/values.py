"""Python values to leaves and back, by the type of the parameter or result.

Going in, names decide for records (a plain tuple fits `x` and `y`, or `part0`, `part1` and so on, by place), any
array-like is a tensor, and a conversion must be exact: a Python int for a float32 is fine when float32 has it; a
float64 array for a float32 tensor is rounded, as arrays of Python floats are.
Coming out, scalars are NumPy scalars, records `Record`s, tuples tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Items
from typing import Any, TypeAlias

import numpy as np

from fedlang.embed import errors
from fedlang.embed.records import Record
from fedlang.run.random import key_of_seed
from fedlang.run.sequences import Array, Elements, LeafValue, Rows
from fedlang.run.values import numpy_dtype
from fedlang.types.dims import fresh_unknown
from fedlang.types.dtypes import FLOATS
from fedlang.types.types import PlacedType, RecordType, SequenceType, TensorType, TupleType, Type, prefix, print_type

Packer: TypeAlias = Callable[[Any], "list[LeafValue] | None"]


def encode(type: Type, value: Any, path: str) -> list[LeafValue]:
    """The leaves of a Python value, in the graph's order. Raises `DiagnosticError` where it is no value of the type."""
    match type:
        case PlacedType(_, _, inner):
            return encode(inner, value, path)
        case RecordType(fields):
            return [
                leaf
                for name, kind, item in _fields(fields, value, path)
                for leaf in encode(kind, item, f"{path}.{name}")
            ]
        case TupleType(items):
            if not isinstance(value, tuple | list) or len(value) != len(items):
                raise errors.wrong_value(path, _kind(value), print_type(type))
            return [
                leaf for k, (t, v) in enumerate(zip(items, value, strict=True)) for leaf in encode(t, v, f"{path}.{k}")
            ]
        case SequenceType(element):
            return encode_sequence(element, value, path)
        case TensorType():
            return [encode_tensor(type, value, path)]
    raise AssertionError(f"{print_type(type)} is no type of data")


def _fields(fields: tuple[tuple[str, Type], ...], value: Any, path: str) -> list[tuple[str, Type, Any]]:
    names = [name for name, _ in fields]
    mapping = value if isinstance(value, Mapping) else _attributes(value) or _by_place(names, value)
    if mapping is None:
        raise errors.wrong_value(path, _kind(value), print_type(RecordType(fields)), "give a mapping, by name")
    missing = [name for name in names if name not in mapping]
    extra = [name for name in mapping if name not in names]
    if missing or extra:
        raise errors.wrong_fields(path, missing, extra)
    return [(name, kind, mapping[name]) for name, kind in sorted(fields, key=lambda f: f[0])]


def _attributes(value: Any) -> Mapping[str, Any] | None:
    if hasattr(value, "_asdict"):
        found: Mapping[str, Any] = value._asdict()
        return found
    return vars(value) if hasattr(value, "__dataclass_fields__") else None


def _by_place(names: Items[str], value: Any) -> Mapping[str, Any] | None:
    """A plain tuple as a record whose names say places: `x` and `y`, as batches of Keras have, or `part0` and so on."""
    if type(value) is not tuple:
        return None
    for places in (("x", "y"), tuple(f"part{k}" for k in range(len(value)))):
        if len(value) == len(places) and set(names) == set(places):
            return dict(zip(places, value, strict=True))
    return None


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic):
        shape = f"[{', '.join(map(str, value.shape))}]" if value.shape else ""
        return f"an array {value.dtype}{shape}"
    return f"{type(value).__name__} {value!r:.60}"


def encode_tensor(type: TensorType, value: Any, path: str) -> LeafValue:
    """One array of the dtype and shape."""
    assert isinstance(type.dtype, str)
    if type.dtype == "Key":
        return _key(type, value, path)
    try:
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    except ValueError:
        raise errors.wrong_value(path, "of rows of different lengths", print_type(type)) from None
    if array.dtype == object and type.dtype != "string":
        raise errors.wrong_value(path, _kind(value), print_type(type))
    converted = _converted(array, type, path, value)
    if not _fits(type.shape, array.shape):
        raise errors.wrong_value(path, f"of shape [{', '.join(map(str, array.shape))}]", print_type(type))
    return converted


def _key(type: TensorType, value: Any, path: str) -> LeafValue:
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**64:
            raise errors.wrong_value(path, f"{value}, of more than 64 bits", print_type(type), "give a smaller seed")
        return key_of_seed(int(value))
    array = np.asarray(value)
    if array.dtype != np.uint32 or array.shape[-1:] != (2,):
        raise errors.wrong_value(path, _kind(value), print_type(type), "give a seed: a whole number")
    return array


def _converted(array: Array, type: TensorType, path: str, value: Any) -> Array:
    assert isinstance(type.dtype, str)
    wanted = numpy_dtype(type.dtype)
    if array.dtype == wanted:
        return array
    if type.dtype == "string":
        return _strings(array, type, path)
    kinds = {"b": "bool", "i": "int", "u": "int", "f": "float"}
    have = kinds.get(array.dtype.kind, "float" if str(array.dtype) == "bfloat16" else "")
    want = "bool" if type.dtype == "bool" else "float" if type.dtype in FLOATS else "int"
    if array.size == 0 and have in ("float", "int"):
        return array.astype(wanted)
    if not have or (have == "bool") != (want == "bool") or (have == "float" and want == "int"):
        raise errors.wrong_value(path, _kind(value), print_type(type))
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(wanted)
    if have == "int" and not np.array_equal(result.astype(np.float64) if want == "float" else result, array):
        raise errors.lossy(path, array if array.size < 5 else _kind(array), type.dtype)
    if have == "float" and bool(
        np.any(np.isfinite(array.astype(np.float64)) & ~np.isfinite(result.astype(np.float64)))
    ):
        raise errors.lossy(path, array if array.size < 5 else _kind(array), type.dtype)
    return result


def _strings(array: Array, type: TensorType, path: str) -> Array:
    def text(value: Any) -> str:
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, str):
            return str(value)
        raise errors.wrong_value(path, _kind(value), print_type(type))

    result = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        result[index] = text(array[index])
    return result


# ---- sequences ----


def encode_sequence(element: Type, value: Any, path: str) -> list[LeafValue]:
    """A sequence: packed leaves, a mapping of stacked arrays, a `tf.data.Dataset`, or elements one by one."""
    packed = packer_of(element, path)(value)
    if packed is not None:
        return packed
    if isinstance(value, Mapping) and isinstance(element, RecordType) and not _has_unknown_first(element):
        return _rows(element, encode(_with_axis(element), value, path), path)
    if isinstance(value, np.ndarray) and isinstance(element, TensorType) and not _has_unknown_first(element):
        return [Rows(np.asarray(leaf)) for leaf in encode(_with_axis(element), value, path)]
    if hasattr(value, "as_numpy_iterator"):
        value = list(value.as_numpy_iterator())
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
        raise errors.wrong_value(path, _kind(value), print_type(SequenceType(element)), "give a list of elements")
    rows = [encode(element, item, f"{path}[{k}]") for k, item in enumerate(value)]
    if not rows:
        return [_empty(leaf) for leaf in _leaf_types(element)]
    return [_joined([row[k] for row in rows], kind) for k, kind in enumerate(_leaf_types(element))]


def _rows(element: RecordType, leaves: list[LeafValue], path: str) -> list[LeafValue]:
    """Stacked arrays as the parts of a sequence's elements. They must be of one number of elements."""
    lengths = dict(zip(_leaf_paths(element, path), (len(leaf) for leaf in leaves), strict=True))
    if len(set(lengths.values())) > 1:
        raise errors.lengths_differ(path, lengths)
    return [Rows(np.asarray(leaf)) for leaf in leaves]


def _leaf_paths(type: Type, path: str) -> Iterator[str]:
    match type:
        case RecordType(fields):
            for name, item in sorted(fields, key=lambda f: f[0]):
                yield from _leaf_paths(item, f"{path}.{name}")
        case TupleType(items):
            for k, item in enumerate(items):
                yield from _leaf_paths(item, f"{path}.{k}")
        case _:
            yield path


def packer_of(element: Type, path: str) -> Packer:
    """For sequences of the type: what gives a value's leaves, where it has the element's structure and its leaves are
    packed already. It is made once and asked for every client. `DiagnosticError` FED0801 where leaves do not fit."""
    match element:
        case RecordType(fields):
            inner = [(name, packer_of(kind, f"{path}.{name}")) for name, kind in sorted(fields, key=lambda f: f[0])]
            return _record_packer(inner)
        case TupleType(items):
            return _tuple_packer([packer_of(item, f"{path}.{k}") for k, item in enumerate(items)])
        case TensorType():
            return _leaf_packer(element, path)
        case _:
            return lambda value: None


def _leaf_packer(element: TensorType, path: str) -> Packer:
    assert isinstance(element.dtype, str)
    dtype, known = numpy_dtype(element.dtype), (*element.shape, *((2,) if element.dtype == "Key" else ()))
    is_open = bool(known) and not isinstance(known[0], int)  # batches of any size

    def fitting(array: Array, shape: tuple[int, ...]) -> Array:
        if not _fits(known, shape):
            raise errors.wrong_value(path, f"of shape [{', '.join(map(str, shape))}]", print_type(element))
        return array if array.dtype == dtype else _converted(array, element, path, array)

    def pack(value: Any) -> list[LeafValue] | None:
        if isinstance(value, Rows):
            if is_open and value.splits is not None and value.rows.dtype == dtype and value.rows.shape[1:] == known[1:]:
                return [value]  # what most clients bring: asked for all of them in each round
            if not len(value):
                return [_empty(element)]
            rows = fitting(value.rows, (*_first_size(value, known), *value.rows.shape[1:]))
            return [value if rows is value.rows else Rows(rows, value.splits, value.order)]
        if isinstance(value, Elements):
            return [Elements(tuple(fitting(item, item.shape) for item in value.items))]
        return None

    return pack


def _first_size(value: Rows, wanted: Items[Any]) -> tuple[int, ...]:
    """The first size of elements that are ranges of rows: of the first that has not the one that is wanted."""
    if value.splits is None:
        return ()
    first = int(value.splits[1] - value.splits[0])
    if not wanted or not isinstance(wanted[0], int):
        return (first,)
    sizes = np.diff(value.splits)
    others = sizes[sizes != wanted[0]]
    return (int(others[0]) if len(others) else first,)


def _fits(wanted: Items[Any], shape: tuple[int, ...]) -> bool:
    """Whether the sizes are those that are wanted, as far as these are numbers."""
    return len(wanted) == len(shape) and all(
        not isinstance(size, int) or size == found for size, found in zip(wanted, shape, strict=True)
    )


def _record_packer(fields: list[tuple[str, Packer]]) -> Packer:
    names = [name for name, _ in fields]

    def pack(value: Any) -> list[LeafValue] | None:
        if type(value) is tuple:
            value = _by_place(names, value)
        if not isinstance(value, (dict, Mapping)) or len(value) != len(fields):
            return None
        leaves: list[LeafValue] = []
        for name, inner in fields:
            packed = inner(value[name]) if name in value else None
            if packed is None:
                return None
            leaves += packed
        return leaves

    return pack


def _tuple_packer(items: list[Packer]) -> Packer:
    def pack(value: Any) -> list[LeafValue] | None:
        if not isinstance(value, tuple) or len(value) != len(items):
            return None
        parts = [inner(item) for inner, item in zip(items, value, strict=True)]
        return None if None in parts else [leaf for part in parts if part for leaf in part]

    return pack


def _leaf_types(type: Type) -> Iterator[TensorType]:
    match type:
        case RecordType(fields):
            for _, item in sorted(fields, key=lambda f: f[0]):
                yield from _leaf_types(item)
        case TupleType(items):
            for item in items:
                yield from _leaf_types(item)
        case TensorType():
            yield type


def _has_unknown_first(type: Type) -> bool:
    return any(leaf.shape and not isinstance(leaf.shape[0], int) for leaf in _leaf_types(type))


def _with_axis(type: Type) -> Type:
    found = prefix((fresh_unknown(),), type)
    assert found is not None
    return found


def _empty(type: TensorType) -> LeafValue:
    assert isinstance(type.dtype, str)
    known = tuple(size if isinstance(size, int) else 0 for size in type.shape)
    ragged = bool(type.shape) and not isinstance(type.shape[0], int)
    shape = (0, *known[1:]) if ragged else (0, *known)
    return Rows(np.zeros(shape, numpy_dtype(type.dtype)), np.zeros(1, np.int64) if ragged else None)


def _joined(items: Items[LeafValue], type: TensorType) -> LeafValue:
    arrays = [np.asarray(item) for item in items if not isinstance(item, Rows | Elements)]
    ragged = bool(type.shape) and not isinstance(type.shape[0], int)
    rest = {array.shape[1:] if ragged else array.shape for array in arrays}
    if len(rest) > 1:
        return Elements(tuple(arrays))
    if not ragged:
        return Rows(np.stack(arrays))
    splits = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
    return Rows(np.concatenate(arrays), splits)


# ---- back ----


def decode(type: Type, leaves: Iterator[Any]) -> Any:
    """A Python value of the type around leaves in the graph's order."""
    match type:
        case PlacedType(_, _, inner):
            return decode(inner, leaves)
        case RecordType(fields):
            found = {name: decode(kind, leaves) for name, kind in sorted(fields, key=lambda f: f[0])}
            return Record({name: found[name] for name, _ in fields})
        case TupleType(items):
            return tuple(decode(item, leaves) for item in items)
        case SequenceType(element):
            return _decode_sequence(element, leaves)
        case TensorType():
            return _scalar(next(leaves), type)
    raise AssertionError(f"{print_type(type)} is no type of data")


def _scalar(value: Any, type: TensorType) -> Any:
    if isinstance(value, np.ndarray) and value.ndim == 0 and type.dtype != "Key":
        return value[()]
    return value


def _decode_sequence(element: Type, leaves: Iterator[Any]) -> list[Any]:
    columns = [next(leaves) for _ in _leaf_types(element)]
    return [decode(element, iter(row)) for row in zip(*columns, strict=True)]


def with_bytes(value: Any) -> Any:
    """A result with its text as bytes, which is what TensorFlow calls a string."""
    match value:
        case str():
            return value.encode()
        case Record():
            return Record({name: with_bytes(item) for name, item in value.items()})
        case tuple():
            return tuple(with_bytes(item) for item in value)
        case list():
            return [with_bytes(item) for item in value]
        case np.ndarray() if value.dtype == object:
            return np.array([with_bytes(item) for item in value.flat], object).reshape(value.shape)
    return value
