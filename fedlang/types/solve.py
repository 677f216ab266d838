"""Finding types: what must equal what, solved as it comes.

`assign(actual, expected)` asks whether a value of one type may stand where another is wanted, and binds what is
still to be
found so that it may. It answers None, or a `Mismatch` that says where the two types part. The rules beyond equality:

- what has no place is at every place; `T@CLIENTS` may stand for `<T>@CLIENTS`;
- parameters of functions go the other way round;
- `?` accepts any size; sizes that may or may not be equal pass here and are compared again when they are known.
"""

from __future__ import annotations

from collections.abc import Iterator

from fedlang.frozen import Frozen
from fedlang.names.nearest import nearest
from fedlang.types.dims import (
    Atom,
    Dim,
    Named,
    Size,
    Solvable,
    Unknown,
    atoms_of,
    can_differ,
    fresh_named,
    multiply,
    of_atom,
)
from fedlang.types.dims import subtract as subtract_sizes
from fedlang.types.dtypes import BOUNDS
from fedlang.types.shapes import ShapeError
from fedlang.types.substitute import Substitution, substitute, substitute_dtype, substitute_shape, substitute_size
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
    ShapeFunction,
    TensorType,
    TupleType,
    Type,
    TypeVariable,
    fresh_meta,
    gathered,
    is_data,
    leaves,
    placed,
    prefix,
    print_shape,
    print_type,
)

LITERALS = {"integer literal": "int32", "float literal": "float32"}


class Mismatch(Frozen):
    """Where two types part: the path inside them, what each has there, and the reason where it needs one.

    `bound` is the bound that the actual type misses, where that is the reason.
    """

    path: str
    actual: str
    expected: str
    reason: str = ""
    bound: str = ""


def allowed_dtypes(bound: str) -> tuple[str, ...]:
    """The dtypes a bound, or a literal, can have."""
    return BOUNDS["number" if bound == "integer literal" else "float" if bound == "float literal" else bound]


class Solver:
    """The state of one search: one for each declaration that is checked."""

    def __init__(self) -> None:
        self.types: dict[TypeVariable | Meta, Type | str] = {}
        self.packs: dict[TypeVariable | Meta, Shape] = {}
        self.sizes: dict[Atom, Size] = {}
        self.bounds: dict[Meta, tuple[str, ...]] = {}
        self.solution = Substitution(self.types, self.packs, self.sizes)
        self._unknowns: dict[int, Size] = {}
        self._hinting = False

    # ---- what is known ----

    def resolve(self, type: Type) -> Type:
        """The type with all that was found put in."""
        return substitute(type, self.solution)

    def resolve_shape(self, shape: Shape) -> Shape:
        return substitute_shape(shape, self.solution)

    def resolve_size(self, size: Size) -> Size:
        return substitute_size(size, self.solution)

    def bounds_of(self, meta: Meta) -> tuple[str, ...]:
        """What the type that is looked for must satisfy."""
        own = (meta.bound,) if meta.bound else ()
        return (*own, *self.bounds.get(meta, ()))

    def default_literals(self, type: Type) -> None:
        """Gives literals of no other type their own: int32, float32."""
        for _, leaf in leaves(self.resolve(type)):
            inner = leaf.type if isinstance(leaf, PlacedType) else leaf
            for _, deep in leaves(inner):
                dtype = deep.dtype if isinstance(deep, TensorType) else deep
                if isinstance(dtype, Meta):
                    default = next(
                        (LITERALS[b] for b in ("float literal", "integer literal") if b in self.bounds_of(dtype)), ""
                    )
                    if default:
                        self.types[dtype] = default

    def unsolved(self, type: Type) -> bool:
        """Whether anything in the type is still to be found."""
        return any(True for _ in _metas(self.resolve(type)))

    def satisfies(self, type: Type, bound: str) -> bool:
        """Whether each leaf has a dtype the bound allows. What is to be found will have to."""
        if not bound:
            return True
        allowed = allowed_dtypes(bound)
        return all(self._leaf_satisfies(leaf, bound, allowed) for _, leaf in leaves(self.resolve(type)))

    def _leaf_satisfies(self, leaf: Type, bound: str, allowed: tuple[str, ...]) -> bool:
        match leaf:
            case ErrorType():
                return True
            case TensorType(dtype, _):
                return self._dtype_satisfies(dtype, bound, allowed)
            case Prefixed(_, of) | ((TypeVariable() | Meta()) as of):
                return self._dtype_satisfies(of, bound, allowed)
            case _:
                return False

    def _dtype_satisfies(self, dtype: DType, bound: str, allowed: tuple[str, ...]) -> bool:
        if isinstance(dtype, str):
            return dtype in allowed
        if isinstance(dtype, TypeVariable):
            return bool(dtype.bound) and set(allowed_dtypes(dtype.bound)) <= set(allowed)
        if bound not in self.bounds_of(dtype):
            self.bounds[dtype] = (*self.bounds.get(dtype, ()), bound)
        return True

    # ---- asking ----

    def assign(self, actual: Type, expected: Type) -> Mismatch | None:
        """May a value of type `actual` stand where `expected` is wanted?"""
        self._unknowns = {}
        return self._assign(self.resolve(actual), self.resolve(expected), "")

    def hint(self, actual: Type, expected: Type) -> None:
        """As `assign`, for what a context would like: where the types part, nothing is bound.

        A sum of sizes is not solved either: `n + m` wanted as 3 does not tell `m`.
        """
        kept = [dict(table) for table in (self.types, self.packs, self.sizes, self.bounds)]
        self._hinting = True
        try:
            mismatch = self.assign(actual, expected)
        except ShapeError as error:
            mismatch = Mismatch("", "", "", str(error))
        finally:
            self._hinting = False
        if mismatch is not None:
            for table, before in zip((self.types, self.packs, self.sizes, self.bounds), kept, strict=True):
                table.clear()  # type: ignore[attr-defined]
                table.update(before)  # type: ignore[attr-defined]

    def give_up(self, type: Type) -> None:
        """What is still to be found in a type gets the error type: a mistake told already says nothing of it."""
        for found in set(_metas(self.resolve(type))):
            if isinstance(found, Meta) and found.kind != "pack":
                self.types[found] = ErrorType()

    def _assign(self, actual: Type, expected: Type, path: str) -> Mismatch | None:
        actual, expected = self.resolve(actual), self.resolve(expected)
        if actual == expected:
            return None
        if isinstance(actual, ErrorType) or isinstance(expected, ErrorType):
            self.give_up(expected if isinstance(actual, ErrorType) else actual)
            return None
        match actual, expected:
            case _, Meta():
                return self._bind(expected, actual, actual, expected, path)
            case Meta(), _:
                return self._bind(actual, expected, actual, expected, path)
            case PlacedType(), PlacedType():
                return self._assign_placed(actual, expected, path)
            case _, PlacedType() if is_data(actual):
                return self._assign(actual, expected.type, path)
            case ((RecordType() | TupleType()), PlacedType()) if gathered(actual) is not actual:
                return self._assign(gathered(actual), expected, path)
            case PlacedType(place, each, RecordType(fields)), RecordType():
                spread = RecordType(tuple((name, placed(place, each, item)) for name, item in fields))
                return self._assign_record(spread, expected, path)
            case PlacedType(place, each, TupleType(items)), TupleType(wanted):
                return self._assign_all(
                    tuple(placed(place, each, item) for item in items), wanted, actual, expected, path
                )
            case TensorType(), TensorType():
                return self._assign_tensor(actual, expected, path)
            case _, Prefixed(shape, of):
                return self._assign_prefixed(actual, shape, of, actual, expected, path)
            case Prefixed(shape, of), _:
                return self._assign_prefixed(expected, shape, of, actual, expected, path)
            case TupleType(items), TupleType(wanted):
                return self._assign_all(items, wanted, actual, expected, path)
            case RecordType(), RecordType():
                return self._assign_record(actual, expected, path)
            case SequenceType(element), SequenceType(wanted_element):
                return self._assign(element, wanted_element, f"{path}*")
            case FunctionType(), FunctionType():
                return self._assign_function(actual, expected, path)
        return self._mismatch(actual, expected, path)

    def _mismatch(self, actual: Type, expected: Type, path: str, reason: str = "") -> Mismatch:
        return Mismatch(path, print_type(self.resolve(actual)), print_type(self.resolve(expected)), reason)

    def _missed(self, actual: Type, expected: Type, path: str, bound: str) -> Mismatch:
        found, wanted = (print_type(self.resolve(type)) for type in (actual, expected))
        return Mismatch(path, found, wanted, f"not every part of it is {bound}", "" if bound in LITERALS else bound)

    def _bind(self, meta: Meta, type: Type, actual: Type, expected: Type, path: str) -> Mismatch | None:
        if meta in set(_metas(type)):
            return self._mismatch(actual, expected, path, "a type cannot contain itself")
        if meta.kind == "data" and not is_data(type):
            reason = "a type parameter stands for data, not for functions or placed values"
            return self._mismatch(actual, expected, path, reason)
        if meta.kind == "dtype" and not (isinstance(type, TensorType) and not type.shape):
            return self._mismatch(actual, expected, path)
        for bound in self.bounds_of(meta):
            if not self.satisfies(type, bound):
                return self._missed(type, expected, path, bound)
        self.types[meta] = type
        return None

    def _assign_placed(self, actual: PlacedType, expected: PlacedType, path: str) -> Mismatch | None:
        if actual.place != expected.place or (actual.each and not expected.each):
            return self._mismatch(
                actual, expected, path, _PLACES_DIFFER if actual.place != expected.place else _EACH_ITS_OWN
            )
        return self._assign(actual.type, expected.type, path)

    def _assign_all(
        self, items: tuple[Type, ...], wanted: tuple[Type, ...], actual: Type, expected: Type, path: str
    ) -> Mismatch | None:
        if len(items) != len(wanted):
            return self._mismatch(actual, expected, path)
        found = (self._assign(a, e, f"{path}.{k}") for k, (a, e) in enumerate(zip(items, wanted, strict=True)))
        return next((mismatch for mismatch in found if mismatch), None)

    def _assign_record(self, actual: RecordType, expected: RecordType, path: str) -> Mismatch | None:
        have, want = dict(actual.fields), dict(expected.fields)
        missing, extra = [name for name in want if name not in have], [name for name in have if name not in want]
        if missing or extra:
            return self._mismatch(actual, expected, path, _fields_differ(missing, extra))
        found = (self._assign(have[name], want[name], f"{path}.{name}") for name in want)
        return next((mismatch for mismatch in found if mismatch), None)

    def _assign_function(self, actual: FunctionType, expected: FunctionType, path: str) -> Mismatch | None:
        have, want = actual.parameters, expected.parameters
        if len(have) < len(want) or any(p.required for p in have[len(want) :]):
            reason = f"it takes {_count(len(have), 'parameter')}, not {len(want)}"
            return self._mismatch(actual, expected, path, reason)
        for index, (mine, theirs) in enumerate(zip(have, want, strict=False)):
            mismatch = self._assign(theirs.type, mine.type, f"{path}(parameter {index + 1})")
            if mismatch:
                return mismatch.replace(actual=mismatch.expected, expected=mismatch.actual)
        return self._assign(actual.result, expected.result, f"{path}(result)")

    def _assign_tensor(self, actual: TensorType, expected: TensorType, path: str) -> Mismatch | None:
        if not self._assign_dtype(actual.dtype, expected.dtype):
            return self._mismatch(actual, expected, path)
        reason = self._assign_shape(actual.shape, expected.shape)
        return None if reason is None else self._mismatch(actual, expected, path, reason)

    def _assign_dtype(self, actual: DType, expected: DType) -> bool:
        found_actual, found_expected = (substitute_dtype(d, self.solution) for d in (actual, expected))
        if found_actual == found_expected:
            return True
        for meta, other in ((found_actual, found_expected), (found_expected, found_actual)):
            if isinstance(meta, Meta):
                as_type: Type = TensorType(other, ()) if isinstance(other, str | TypeVariable | Meta) else other
                if all(self.satisfies(as_type, bound) for bound in self.bounds_of(meta)):
                    self.types[meta] = other
                    return True
                return False
        return False

    def _assign_prefixed(
        self, type: Type, shape: Shape, of: TypeVariable | Meta, actual: Type, expected: Type, path: str
    ) -> Mismatch | None:
        """`type` against `of[shape]`: take the first sizes off each leaf of `type`."""
        count = len(shape)
        if any(isinstance(item, PackItem) for item in shape):
            return self._mismatch(actual, expected, path)
        stripped = self._strip(type, count)
        if stripped is None:
            return self._mismatch(
                actual, expected, path, f"it needs {_count(count, 'axis')} in front" if is_data(type) else ""
            )
        fronts, rest = stripped
        for front in fronts:
            reason = self._assign_shape(front, shape)
            if reason is not None:
                return self._mismatch(actual, expected, path, reason)
        return self._assign(rest, of, path) if type is actual else self._assign(of, rest, path)

    def _strip(self, type: Type, count: int) -> tuple[list[Shape], Type] | None:
        type = self.resolve(type)
        match type:
            case TensorType(dtype, shape) | Prefixed(shape, dtype):
                if len(shape) < count or any(isinstance(item, PackItem) for item in shape[:count]):
                    return None
                rest = (
                    prefix(shape[count:], dtype) if isinstance(type, Prefixed) and not isinstance(dtype, str) else None
                )
                return [shape[:count]], rest or TensorType(dtype, shape[count:])
            case TupleType(items):
                parts = [self._strip(item, count) for item in items]
                fronts = [front for part in parts if part for front in part[0]]
                return None if None in parts else (fronts, TupleType(tuple(part[1] for part in parts if part)))
            case RecordType(fields):
                found = [(name, self._strip(item, count)) for name, item in fields]
                if any(part is None for _, part in found):
                    return None
                fronts = [front for _, part in found if part for front in part[0]]
                return fronts, RecordType(tuple((name, part[1]) for name, part in found if part))
            case _:
                return None

    def first_axis(self, type: Type) -> tuple[Size, Type] | None:
        """The size of the first axis all leaves share, and the type without it; None where there is none."""
        stripped = self._strip(type, 1)
        if stripped is None or not stripped[0]:
            return None
        first = stripped[0][0]
        if any(self._assign_shape(front, first) is not None for front in stripped[0]):
            return None
        assert not isinstance(first[0], PackItem)
        return first[0], stripped[1]

    def assign_shape(self, actual: Shape, expected: Shape) -> str | None:
        """As `assign`, for shapes: None, or why not."""
        self._unknowns = {}
        return self._assign_shape(actual, expected)

    def _assign_shape(self, actual: Shape, expected: Shape) -> str | None:
        actual, expected = self.resolve_shape(actual), self.resolve_shape(expected)
        if actual == expected:
            return None
        for mine, other, flipped in ((expected, actual, False), (actual, expected, True)):
            packs = [k for k, item in enumerate(mine) if isinstance(item, PackItem) and isinstance(item.pack, Meta)]
            if len(packs) == 1:
                return self._assign_pack(mine, other, packs[0], flipped=flipped)
        if any(isinstance(i, PackItem) and isinstance(i.pack, ShapeFunction | Meta) for i in (*actual, *expected)):
            return None
        if len(actual) != len(expected):
            return f"{_count(len(actual), 'axis')}, not {len(expected)}"
        return self._assign_items(actual, expected)

    def _assign_pack(self, mine: Shape, other: Shape, at: int, *, flipped: bool) -> str | None:
        after = len(mine) - at - 1
        if len(other) < at + after:
            return f"{_count(len(other), 'axis')}, at least {at + after} needed"
        middle = other[at : len(other) - after]
        pack = mine[at]
        assert isinstance(pack, PackItem) and isinstance(pack.pack, Meta)
        self.packs[pack.pack] = middle
        ends = (other[:at] + other[len(other) - after :], mine[:at] + mine[at + 1 :])
        return self._assign_items(*(reversed(ends) if flipped else ends))

    def _assign_items(self, actual: Shape, expected: Shape) -> str | None:
        for a, e in zip(actual, expected, strict=True):
            if isinstance(a, PackItem) or isinstance(e, PackItem):
                if a != e:
                    return f"{print_shape((a,))} is not {print_shape((e,))}"
            elif not self.assign_size(a, e):
                return f"size {self.resolve_size(a)} is not {self.resolve_size(e)}"
        return None

    def assign_size(self, actual: Size, expected: Size) -> bool:
        """Whether the sizes are, or can still turn out to be, equal. Binds a size that is looked for."""
        actual, expected = self.resolve_size(actual), self.resolve_size(expected)
        if actual == expected:
            return True
        unknown = expected.atom if isinstance(expected, Dim) else None
        if isinstance(unknown, Unknown):
            known = self._unknowns.setdefault(unknown.id, actual)
            return known is actual or self.assign_size(actual, known)
        difference = subtract_sizes(actual, expected)
        if self._hinting and not any(isinstance(_atom(size), Solvable) for size in (actual, expected)):
            return not can_differ(actual, expected)
        for atoms, number in difference.terms if isinstance(difference, Dim) else ():
            if len(atoms) == 1 and isinstance(atoms[0], Solvable) and abs(number) == 1:
                rest = subtract_sizes(difference, multiply(number, of_atom(atoms[0])))
                if atoms[0] not in atoms_of(rest):
                    self.sizes[atoms[0]] = multiply(-number, rest)
                    return True
        return not can_differ(actual, expected)


_PLACES_DIFFER = "places differ"
_EACH_ITS_OWN = "each client has a value of its own: it is not one that all share"


def _fields_differ(missing: list[str], extra: list[str]) -> str:
    """Which fields do not fit; a missing one is offered for an extra one that is spelled much like it."""
    parts = []
    for name in extra:
        near = nearest(name, missing)
        parts.append(f"field `{name}` is not expected" + (f": did you mean `{near}`?" if near else ""))
        missing = [other for other in missing if other != near]
    return "; ".join([*(f"field `{name}` is missing" for name in missing), *parts])


def _count(number: int, word: str) -> str:
    plural = "axes" if word == "axis" else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


def _atom(size: Size) -> Atom | None:
    return size.atom if isinstance(size, Dim) else None


def _metas(type: Type) -> Iterator[Meta | Solvable]:
    """Everything in the type that is still to be found."""
    match type:
        case Meta():
            yield type
        case TensorType(dtype, shape) | Prefixed(shape, dtype):
            if isinstance(dtype, Meta):
                yield dtype
            yield from _metas_of_shape(shape)
        case TupleType(items):
            for item in items:
                yield from _metas(item)
        case RecordType(fields):
            for _, item in fields:
                yield from _metas(item)
        case SequenceType(inner) | PlacedType(_, _, inner):
            yield from _metas(inner)
        case FunctionType(parameters, result):
            for parameter in parameters:
                yield from _metas(parameter.type)
            yield from _metas(result)


def _metas_of_shape(shape: Shape) -> Iterator[Meta | Solvable]:
    for item in shape:
        if isinstance(item, PackItem):
            if isinstance(item.pack, Meta):
                yield item.pack
        else:
            yield from (atom for atom in atoms_of(item) if isinstance(atom, Solvable))


def open_unknowns(type: Type, name: str = "?") -> Type:
    """The type with each `?` outside sequences and functions named afresh: what a variable that holds a value has."""
    found: dict[Atom, Size] = {}
    for _, leaf in leaves(type.type if isinstance(type, PlacedType) else type):
        if isinstance(leaf, TensorType | Prefixed):
            for item in leaf.shape:
                for atom in () if isinstance(item, PackItem) else atoms_of(item):
                    if isinstance(atom, Unknown):
                        found.setdefault(atom, fresh_named(name))
    return substitute(type, Substitution({}, {}, found)) if found else type


def named_sizes(type: Type) -> Iterator[Named]:
    """The named sizes in the leaves of a type."""
    for _, leaf in leaves(type.type if isinstance(type, PlacedType) else type):
        if isinstance(leaf, TensorType | Prefixed):
            for item in leaf.shape:
                if not isinstance(item, PackItem):
                    yield from (atom for atom in atoms_of(item) if isinstance(atom, Named))


__all__ = ["Mismatch", "Solver", "fresh_meta", "named_sizes", "open_unknowns"]
