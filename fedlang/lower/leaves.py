"""Types to leaves: what the graph calls the parts of a value of a type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedlang.ir.graph import LeafType, Sequence, Tensor
from fedlang.lower.values import Leaf, RecordValue, TupleValue, Value, leaves_of
from fedlang.types.dims import Atom, Dim, Named, Size, Unknown, fresh_named
from fedlang.types.substitute import Substitution, substitute
from fedlang.types.types import (
    FunctionType,
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
    leaves,
)

PLACES = {("SERVER", False): "server", ("CLIENTS", False): "shared", ("CLIENTS", True): "clients"}


@dataclass(frozen=True, slots=True)
class LeafSlot:
    """One leaf of an argument or result: its path, type and place."""

    path: str
    type: LeafType
    place: str


def place_name(type: PlacedType) -> str:
    """The graph's name of a place."""
    return PLACES[type.place, type.each]


def make_input(type: Type, make: Callable[[LeafSlot], Leaf]) -> Value:
    """A value of a type as it is written: parts that share a `?` get one name for it."""
    return make_value(_name_shared(type), make)


def _name_shared(type: Type) -> Type:
    match type:
        case PlacedType(place, each, inner):
            return PlacedType(place, each, _name_shared(inner))
        case SequenceType() | FunctionType():
            return type
        case _:
            return name_unknowns(type)


def make_value(type: Type, make: Callable[[LeafSlot], Leaf], path: str = "", place: str = "") -> Value:
    """A value of the type, its leaves made in the order of the graph.

    Each `?` gets a name; so does the length of a sequence.
    """
    match type:
        case PlacedType(_, _, inner):
            return make_value(inner, make, path, place_name(type))
        case RecordType(fields):
            return RecordValue({name: make_value(t, make, f"{path}.{name}", place) for name, t in sorted(fields)})
        case TupleType(items):
            return TupleValue(tuple(make_value(t, make, f"{path}.{k}", place) for k, t in enumerate(items)))
        case SequenceType(element):
            length = fresh_named("length")
            named = name_unknowns(element)
            return make_value(
                named,
                lambda slot: make(LeafSlot(slot.path, Sequence(_tensor(slot.type), length), slot.place)),
                path,
                place,
            )
        case TensorType():
            return make(LeafSlot(path, tensor_of(name_unknowns(type)), place))
    raise AssertionError(f"no leaves in {type}")


def _tensor(type: LeafType) -> Tensor:
    assert isinstance(type, Tensor), "a sequence holds tensors"
    return type


def name_unknowns(type: Type) -> Type:
    """Each `?` of the type as a size with a name, leaves that share one sharing the name."""
    found: dict[Atom, Size] = {}
    for _, leaf in leaves(type):
        if isinstance(leaf, TensorType | Prefixed):
            for size in leaf.shape:
                atom = size.atom if isinstance(size, Dim) else None
                if isinstance(atom, Unknown):
                    found.setdefault(atom, fresh_named("n"))
    return substitute(type, Substitution({}, {}, found)) if found else type


def tensor_of(type: Type) -> Tensor:
    """The graph's tensor type."""
    assert isinstance(type, TensorType) and isinstance(type.dtype, str), f"{type} is still open"
    shape = tuple(size for size in type.shape if not isinstance(size, PackItem))
    assert len(shape) == len(type.shape), f"{type} is still open"
    return Tensor(type.dtype, shape)


def result_tensors(type: Type) -> list[Tensor]:
    """The tensor types of the leaves, in order."""
    inner = type.type if isinstance(type, PlacedType) else type
    return [tensor_of(leaf) for _, leaf in leaves(inner)]


def shape_value(type: Type, found: list[Leaf]) -> Value:
    """Leaves in order put together as the type says."""
    iterator = iter(found)
    return make_value(type, lambda _: next(iterator))


def match_sizes(type: Type, value: Value, sizes: dict[Atom, Size], packs: dict[TypeVariable, Shape]) -> None:
    """Binds the sizes and packs that a parameter's type names to those of the value it gets."""
    inner = type.type if isinstance(type, PlacedType) else type
    if isinstance(inner, SequenceType):
        inner = inner.element
    try:
        kinds = [leaf for _, leaf in leaves(inner)]
        actual = list(leaves_of(value))
    except AssertionError:
        return  # functions have no sizes
    if len(kinds) != len(actual):
        return
    for kind, leaf in zip(kinds, actual, strict=True):
        if isinstance(kind, TensorType | Prefixed):
            tensor = leaf.type.element if isinstance(leaf.type, Sequence) else leaf.type
            _match_shape(kind.shape, tensor.shape, sizes, packs)


def _match_shape(
    shape: Shape, actual: tuple[Size, ...], sizes: dict[Atom, Size], packs: dict[TypeVariable, Shape]
) -> None:
    at = next((k for k, item in enumerate(shape) if isinstance(item, PackItem)), None)
    if at is not None:
        after = len(shape) - at - 1
        item = shape[at]
        if isinstance(item, PackItem) and isinstance(item.pack, TypeVariable) and len(actual) >= at + after:
            packs[item.pack] = actual[at : len(actual) - after]
        pairs = [
            *zip(shape[:at], actual, strict=False),
            *zip(reversed(shape[at + 1 :]), reversed(actual), strict=False),
        ]
    else:
        pairs = list(zip(shape, actual, strict=False))
    for wanted, size in pairs:
        atom = wanted.atom if isinstance(wanted, Dim) else None
        if isinstance(atom, Named):
            sizes[atom] = size
