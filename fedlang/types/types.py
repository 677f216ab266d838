"""What types are. This file knows nothing of syntax.

Build tensors, records, tuples and placed types with the lower-case functions at the end: they keep types in normal
form, so that equal types are equal values. Two rules make the form:

- brackets go to the leaves: `{x: float32, y: int32}[n]` is `{x: float32[n], y: int32[n]}`; only a variable keeps
  them (`Prefixed`);
- places go up: a record whose data all lie at one place is a placed record; one with several places is a bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import TypeAlias

from fedlang.frozen import Frozen
from fedlang.types.dims import Size, print_size

SERVER, CLIENTS = "SERVER", "CLIENTS"
_fresh = count(1)


class Printed(Frozen):
    """A type; as text it is what the language writes."""

    def __str__(self) -> str:
        return print_type(self)  # type: ignore[arg-type]

    def __format__(self, spec: str) -> str:
        return self.to_tff() if spec == "tff" else format(str(self), spec)

    def to_tff(self, names: Mapping[str, str] | None = None, *, zipped: bool = True) -> str:
        """The type in the notation of TensorFlow Federated (2019): `{int32}@CLIENTS`, `(<A,B> -> C)`.

        `names` gives fields other names there, by name or dotted path. Where `zipped` is false, a record at one place
        (of a function: its result) prints the place at each field. `format(type, "tff")` is the same.
        """
        from fedlang.types.tff import print_tff, unzipped  # it imports this module

        return print_tff(self if zipped else unzipped(self), names or {})  # type: ignore[arg-type]

    def is_assignable_from(self, source: Type) -> bool:
        """Whether a value of type `source` may stand where one of this type is wanted."""
        from fedlang.types.solve import Solver  # it imports this module

        return Solver().assign(source, self) is None  # type: ignore[arg-type]

    def _repr_html_(self) -> str:
        from html import escape  # only notebooks ask

        return f"<code>{escape(str(self))}</code>"


class TypeVariable(Printed):
    """A type parameter inside its declaration.

    `kind`: "data", "placed" (also bundles), "dtype", "pack" (any number of sizes).
    """

    name: str
    id: int
    kind: str
    bound: str = ""

    def __hash__(self) -> int:
        return self.id


class Meta(Printed):
    """A type the checker is looking for; kinds as above.

    `bound` "integer literal" and "float literal" stand for untyped literals. `name` is that of the
    type parameter it is an instance of, for messages.
    """

    id: int
    kind: str
    bound: str = ""
    name: str = ""

    def __hash__(self) -> int:
        return self.id


class ShapeFunction(Frozen):
    """`drop(s, axis)` and the like over a pack that is not known yet. Arguments: shapes, sizes and numbers."""

    name: str
    arguments: tuple[Shape | Size, ...]


class PackItem(Frozen):
    """`...s` inside a shape."""

    pack: TypeVariable | Meta | ShapeFunction


Shape: TypeAlias = "tuple[Size | PackItem, ...]"
DType: TypeAlias = "str | TypeVariable | Meta"


class TensorType(Printed):
    """A dtype and a shape. Keys and strings are tensors too."""

    dtype: DType
    shape: Shape


class Prefixed(Printed):
    """`T[n]` where `T` is not known: sizes before the shape of each leaf."""

    shape: Shape
    of: TypeVariable | Meta


class TupleType(Printed):
    items: tuple[Type, ...]


class RecordType(Printed):
    """Fields in the order written; the order does not count in comparisons."""

    fields: tuple[tuple[str, Type], ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordType) and dict(self.fields) == dict(other.fields)

    def __hash__(self) -> int:
        return hash(frozenset(self.fields))

    def field(self, name: str) -> Type | None:
        """The type of a field, or None."""
        return next((type for key, type in self.fields if key == name), None)


class SequenceType(Printed):
    element: Type


class ParameterType(Frozen):
    """One parameter of a function type. A function used as a value has lost its names and defaults."""

    type: Type
    name: str = ""
    required: bool = True


class FunctionType(Printed):
    """`capture` is the place of the placed values a function of a `fed` body has captured: None, or (place, each)."""

    parameters: tuple[ParameterType, ...]
    result: Type
    capture: tuple[str, bool] | None = None

    @property
    def parameter(self) -> Type | None:
        """What is taken, as one type: None, the parameter, or a tuple of them."""
        types = tuple(each.type for each in self.parameters)
        return None if not types else types[0] if len(types) == 1 else TupleType(types)


class PlacedType(Printed):
    """`T@SERVER`, `T@CLIENTS` (`each` false), `<T>@CLIENTS` (`each` true)."""

    place: str
    each: bool
    type: Type


class ErrorType(Printed):
    """The type of what is broken already: fits everything, so that one mistake is told once."""


Type: TypeAlias = (
    "TensorType | TypeVariable | Meta | Prefixed | TupleType | RecordType"
    " | SequenceType | FunctionType | PlacedType | ErrorType"
)

UNIT = TupleType(())
ERROR = ErrorType()


def scalar(dtype: str) -> TensorType:
    """The tensor type without axes."""
    return TensorType(dtype, ())


BOOL, INT32, FLOAT32, KEY, STRING = (scalar(name) for name in ("bool", "int32", "float32", "Key", "string"))


def fresh_variable(name: str, kind: str, bound: str = "") -> TypeVariable:
    """A type parameter like no other."""
    return TypeVariable(name, next(_fresh), kind, bound)


def fresh_meta(kind: str, bound: str = "", name: str = "") -> Meta:
    """A type to be found."""
    return Meta(next(_fresh), kind, bound, name)


def prefix(shape: Shape, type: Type) -> Type | None:
    """`type[shape]`:

    the sizes put before the shape of each leaf; None where the type has no leaves (functions, sequences).
    """
    if not shape:
        return type
    match type:
        case TensorType(dtype, inner):
            return TensorType(dtype, shape + inner)
        case Prefixed(inner, of):
            return Prefixed(shape + inner, of)
        case TypeVariable(kind="dtype") | Meta(kind="dtype"):
            return TensorType(type, shape)
        case TypeVariable() | Meta():
            return Prefixed(shape, type)
        case TupleType(items):
            parts = [prefix(shape, item) for item in items]
            return None if None in parts else TupleType(tuple(part for part in parts if part is not None))
        case RecordType(fields):
            named = [(name, prefix(shape, item)) for name, item in fields]
            return RecordType(tuple((n, t) for n, t in named if t is not None)) if all(t for _, t in named) else None
        case PlacedType(place, each, inner_type):
            moved = prefix(shape, inner_type)
            return None if moved is None else PlacedType(place, each, moved)
        case ErrorType():
            return type
        case _:
            return None


def placed(place: str, each: bool, type: Type) -> Type:
    """`type` at a place. What is placed already keeps its place; functions have none."""
    if isinstance(type, PlacedType | ErrorType | FunctionType) or is_variable(type, "placed"):
        return type
    return PlacedType(place, each, type)


def record(fields: tuple[tuple[str, Type], ...]) -> Type:
    """A record type in normal form: placed as a whole where all its data is at one place."""
    where = _common_place([type for _, type in fields])
    if where is None:
        return RecordType(fields)
    return PlacedType(*where, RecordType(tuple((name, unplaced(type)) for name, type in fields)))


def tuple_of(items: tuple[Type, ...]) -> Type:
    """A tuple type in normal form."""
    where = _common_place(list(items))
    return TupleType(items) if where is None else PlacedType(*where, TupleType(tuple(unplaced(item) for item in items)))


def _common_place(types: list[Type]) -> tuple[str, bool] | None:
    """The place all types share; those without leaves are anywhere. What has no place yet may still get another."""
    placed_types = [type for type in types if isinstance(type, PlacedType)]
    if not placed_types or any(not isinstance(t, PlacedType) and not _is_empty(t) for t in types):
        return None
    if len({type.place for type in placed_types}) > 1:
        return None
    return placed_types[0].place, any(type.each for type in placed_types)


def _is_empty(type: Type) -> bool:
    return is_data(type) and isinstance(type, TupleType | RecordType) and not any(True for _ in leaves(type))


def gathered(type: Type) -> Type:
    """A record of values at one place and values of no place, as a value at that place; any other type as it is."""
    if not isinstance(type, RecordType | TupleType) or is_data(type):
        return type
    places: set[str] = set()
    each = False
    for _, leaf in leaves(type):
        if isinstance(leaf, PlacedType):
            places.add(leaf.place)
            each = each or leaf.each
        elif not is_data(leaf):
            return type
    return PlacedType(places.pop(), each, _without_places(type)) if len(places) == 1 else type


def _without_places(type: Type) -> Type:
    match type:
        case PlacedType(_, _, inner):
            return inner
        case RecordType(fields):
            return RecordType(tuple((name, _without_places(item)) for name, item in fields))
        case TupleType(items):
            return TupleType(tuple(_without_places(item) for item in items))
        case _:
            return type


def unplaced(type: Type) -> Type:
    """The type without its outermost place."""
    return type.type if isinstance(type, PlacedType) else type


def is_variable(type: Type, kind: str) -> bool:
    """Whether the type is a variable (rigid or to be found) of this kind."""
    return isinstance(type, TypeVariable | Meta) and type.kind == kind


def is_data(type: Type) -> bool:
    """Whether values of the type are data of no place: no function, nothing placed, no bundle."""
    match type:
        case TensorType() | Prefixed() | ErrorType():
            return True
        case TypeVariable(kind=kind) | Meta(kind=kind):
            return kind != "placed"
        case TupleType(items):
            return all(is_data(item) for item in items)
        case RecordType(fields):
            return all(is_data(item) for _, item in fields)
        case SequenceType(element):
            return is_data(element)
        case _:
            return False


def has_function(type: Type) -> bool:
    """Whether a function is anywhere in the type."""
    match type:
        case FunctionType():
            return True
        case TupleType(items):
            return any(has_function(item) for item in items)
        case RecordType(fields):
            return any(has_function(item) for _, item in fields)
        case _:
            return False


def has_sequence(type: Type) -> bool:
    """Whether a sequence is a part of the data."""
    return any(isinstance(leaf, SequenceType) for _, leaf in leaves(unplaced(type)))


def leaves(type: Type, path: str = "") -> Iterator[tuple[str, Type]]:
    """The leaves with their paths (`.model.kernel`, `.0`); fields in the order of their names."""
    match type:
        case TupleType(items):
            for index, item in enumerate(items):
                yield from leaves(item, f"{path}.{index}")
        case RecordType(fields):
            for name, item in sorted(fields, key=lambda field: field[0]):
                yield from leaves(item, f"{path}.{name}")
        case _:
            yield path, type


def print_shape(shape: Shape) -> str:
    """`n, 10` or `...s, k`."""
    return ", ".join(_print_pack(item) if isinstance(item, PackItem) else print_size(item) for item in shape)


def _print_pack(item: PackItem) -> str:
    match item.pack:
        case TypeVariable(name):
            return f"...{name}"
        case Meta(name=name):
            return f"...{name or '_'}"
        case ShapeFunction(name, arguments):
            shown = ", ".join(
                print_shape(a).removeprefix("...") if isinstance(a, tuple) else print_size(a) for a in arguments
            )
            return f"...{name}({shown})"


def print_type(type: Type) -> str:
    """The one printer of types: the language's own notation."""
    match type:
        case TensorType(dtype, shape):
            name = dtype if isinstance(dtype, str) else print_type(dtype)
            return f"{name}[{print_shape(shape)}]" if shape else name
        case Prefixed(shape, of):
            return f"{print_type(of)}[{print_shape(shape)}]"
        case TypeVariable(name):
            return name
        case Meta(bound=bound, name=name):
            return {"integer literal": "int32", "float literal": "float32"}.get(bound, name or "_")
        case TupleType(items):
            return f"({', '.join(print_type(item) for item in items)}{',' if len(items) == 1 else ''})"
        case RecordType(fields):
            return "{" + ", ".join(f"{name}: {print_type(item)}" for name, item in fields) + "}"
        case SequenceType(element):
            shown = print_type(element)
            return f"({shown})*" if isinstance(element, FunctionType) else f"{shown}*"
        case FunctionType(parameters, result):
            return f"({', '.join(print_type(p.type) for p in parameters)}) -> {print_type(result)}"
        case PlacedType(place, each, inner):
            shown = print_type(inner)
            return f"<{shown}>@{place}" if each else f"{shown}@{place}"
        case ErrorType():
            return "?"
