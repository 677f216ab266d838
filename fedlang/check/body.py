"""The state of checking one body: what is in scope, what is being solved, what was found wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from fedlang.check import errors
from fedlang.check.annotations import Annotations, Parameter
from fedlang.check.typed import Literal, Typed
from fedlang.diagnostics import Diagnostic
from fedlang.frozen import Frozen
from fedlang.names import errors as name_errors
from fedlang.names.world import NamedDeclaration, Symbol, World, is_reserved
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.dims import Atom, Dim, Size, Solvable, of_atom
from fedlang.types.dtypes import INTEGERS, integer_range
from fedlang.types.shapes import ShapeError
from fedlang.types.solve import Mismatch, Solver
from fedlang.types.substitute import Substitution, substitute
from fedlang.types.types import (
    ERROR,
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
    fresh_meta,
    gathered,
    has_function,
    is_data,
    is_variable,
    leaves,
    placed,
    print_type,
)

Place = tuple[str, bool]
MIXED: Place = ("", False)  # no place: of a computation over values at several, which is reported


class Signature(Frozen):
    """What a use of a declaration needs to know: its type parameters, its type, what a call must give as sizes."""

    symbol: Symbol
    declaration: NamedDeclaration
    parameters: tuple[Parameter, ...]
    type: Type
    statics: tuple[tuple[str, Parameter], ...] = ()  # parameter name -> the size or pack it gives


class Globals(Protocol):
    """What a body asks of the checker of declarations."""

    world: World

    def signature(self, symbol: Symbol, span: Span) -> Signature | None:
        """The signature of a declaration; None where it is broken."""
        ...

    def default_type(self, symbol: Symbol, index: int) -> Type | None:
        """The type of a parameter's default, in terms of the declaration's type parameters."""
        ...


class KeyUse(Frozen):
    """One draw from a key, or one derivation; `sides` are the sides of the branches it stands in."""

    at: Span
    draws: bool
    sides: tuple[tuple[int, bool], ...]

    def excludes(self, other: KeyUse) -> bool:
        """Whether the two stand on different sides of one `if`."""
        return any(branch == id and side != mine for id, mine in self.sides for branch, side in other.sides)


class Variable:
    """A name in scope; `used` is set when something reads it, `keys` is what draws from it."""

    __slots__ = ("keys", "span", "type", "used")

    def __init__(self, type: Type, span: Span) -> None:
        self.type = type
        self.span = span
        self.used = False
        self.keys: list[KeyUse] = []


class Region:
    """One local computation inside a `fed` body:

    the placed values it uses, stripped of their places as it reads them.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.uses: list[tuple[Span, Type]] = []


class Body:
    """One body being checked.

    `infer` is the checker of expressions; it is given, so that files do not import in a circle.
    """

    def __init__(
        self,
        globals_: Globals,
        module: str,
        annotations: Annotations,
        report: Callable[[Diagnostic], None],
        infer: Callable[[Body, tree.Expression, Type | None], Typed],
        *,
        fed: bool,
        test: bool = False,
    ) -> None:
        self.globals = globals_
        self.module = module
        self.annotations = annotations
        self._report = report
        self._infer = infer
        self.fed = fed
        self.test = test
        self.solver = Solver()
        self.scope: dict[str, Variable] = {}
        self.region: Region | None = None
        self.sides: tuple[tuple[int, bool], ...] = ()  # of the branches around what is checked
        self.instances: list[tuple[Span, Signature, Substitution]] = []
        self.called: list[tuple[Symbol, Span]] = []
        self.literals: list[Literal] = []
        self.failed = False  # a mistake leaves shapes open that are no mistakes of their own

    def report(self, diagnostic: Diagnostic) -> None:
        """Keeps a mistake."""
        self.failed = self.failed or diagnostic.severity == "error"
        self._report(diagnostic)

    # ---- expressions ----

    def infer(self, expression: tree.Expression, expected: Type | None = None) -> Typed:
        """The typed expression; `expected` helps to find types and is not demanded."""
        return self._infer(self, expression, expected)

    def resolved(self, typed: Typed) -> Type:
        """The type of an expression as far as it is known."""
        return self.resolve(typed.type, typed.span)

    def resolve(self, type: Type, span: Span) -> Type:
        """As the solver's, with a shape that cannot be made reported."""
        try:
            return self.solver.resolve(type)
        except ShapeError as error:
            self.report(errors.shape_function(span, str(error)))
            return ERROR

    def expect(self, expression: tree.Expression, expected: Type, why: str, because: Span | None = None) -> Typed:
        """The typed expression, its type demanded."""
        typed = self.infer(expression, expected)
        self.demand(typed.type, expected, typed.span, why, because)
        return typed

    def demand(self, actual: Type, expected: Type, span: Span, why: str, because: Span | None = None) -> bool:
        """Reports where `actual` may not stand for `expected`."""
        mismatch = self.assign(actual, expected, span)
        if mismatch is None:
            return True
        self.report(self._mismatch(actual, expected, span, mismatch, why, because))
        self.solver.give_up(actual)
        self.solver.give_up(expected)
        return False

    def assign(self, actual: Type, expected: Type, span: Span) -> Mismatch | None:
        """The solver's, with a shape that cannot be made reported."""
        try:
            return self.solver.assign(actual, expected)
        except ShapeError as error:
            self.report(errors.shape_function(span, str(error)))
            return None

    def _mismatch(
        self, actual: Type, expected: Type, span: Span, mismatch: Mismatch, why: str, because: Span | None
    ) -> Diagnostic:
        have, want = self.solver.resolve(actual), self.solver.resolve(expected)
        if isinstance(have, PlacedType) and isinstance(want, PlacedType) and have.place != want.place:
            make = errors.needs_broadcast if have.place == "SERVER" else errors.needs_aggregate
            return make(span, have, print_type(want))
        if mismatch.bound:
            return errors.bound_not_met(span, mismatch, why)
        return errors.mismatch(span, mismatch, why, because)

    def refuse_function(self, typed: Typed, where: str) -> None:
        """A function where only data may be."""
        self.report(errors.function_as_data(typed.span, where))
        self.solver.give_up(typed.type)

    # ---- names ----

    @contextmanager
    def inner_scope(self) -> Iterator[None]:
        """Names bound inside are gone after it."""
        outer = self.scope
        self.scope = dict(outer)
        try:
            yield
        finally:
            self.scope = outer

    def bind(self, name: str, type: Type, span: Span) -> Variable:
        """Brings a variable into scope."""
        if is_reserved(name):
            self.report(name_errors.reserved(tree.Name(name, span)))
        variable = self.scope[name] = Variable(type, span)
        return variable

    def note_key(self, name: str, span: Span, *, draws: bool) -> None:
        """A use of a key, by its name; two draws, or a draw and a derivation, get a warning."""
        variable = self.scope.get(name)
        if variable is None:
            return
        use = KeyUse(span, draws, self.sides)
        before = next((b for b in variable.keys if (b.draws or draws) and not b.excludes(use)), None)
        if before is not None:
            self.report(errors.key_twice(span, before.at, name))
        variable.keys.append(use)

    # ---- places ----

    @contextmanager
    def one_computation(self, what: str, *, apart: bool = False) -> Iterator[Region]:
        """What is checked inside is one local computation; `apart` from that around it."""
        outer, region = self.region, Region(what)
        self.region = region if self.fed else None
        try:
            yield region
        finally:
            self.region = outer
            if outer is not None and not apart:
                outer.uses += region.uses

    def strip(self, type: Type, span: Span) -> Type:
        """Inside a region: the type without its place, which the region notes."""
        type = self.solver.resolve(type)
        if self.region is None:
            return type
        type = gathered(type)
        if isinstance(type, FunctionType) and type.capture is not None:
            self.region.uses.append((span, captured(type.capture)))
            return FunctionType(type.parameters, type.result)
        if isinstance(type, PlacedType):
            self.region.uses.append((span, type))
            return type.type
        if is_bundle(type):
            self.report(errors.bundle(span, type))
            return ERROR
        return type

    def join(self, uses: list[tuple[Span, Type]]) -> Place | None:
        """The place of one computation over these values; a mix of places is reported, and is `MIXED`."""
        first: tuple[Span, PlacedType] | None = None
        each = False
        for span, type in uses:
            if not isinstance(type, PlacedType):
                continue
            if first is not None and first[1].place != type.place:
                self.report(errors.places_mix(span, first, (span, type)))
                return MIXED
            first = first or (span, type)
            each = each or type.each
        return None if first is None else (first[1].place, each)

    def at(self, place: Place | None, type: Type, span: Span) -> Type:
        """The result of one computation, at its place."""
        type = self._with_sizes(self.resolve(type, span), span)
        if place is None:
            return type
        if place == MIXED:
            self.solver.give_up(type)
            return ERROR
        if isinstance(type, FunctionType) and type.capture is None:
            return FunctionType(type.parameters, type.result, place)
        if has_function(type):
            self.report(errors.function_placed(span, type))
            return ERROR
        return placed(*place, type)

    def _with_sizes(self, type: Type, span: Span) -> Type:
        """The type; the error type, reported, where a size came out below zero."""
        for _, leaf in leaves(type):
            for size in leaf.shape if isinstance(leaf, TensorType | Prefixed) else ():
                if isinstance(size, int) and size < 0:
                    self.report(errors.shape_function(span, f"a size of {size} is below zero"))
                    return ERROR
        return type

    # ---- instances ----

    def instantiate(self, signature: Signature, span: Span) -> tuple[Substitution, Type]:
        """A use of a declaration: its type parameters become types to be found."""
        types: dict[TypeVariable | Meta, Type | str] = {}
        packs: dict[TypeVariable | Meta, tuple[Size | PackItem, ...]] = {}
        sizes: dict[Atom, Size] = {}
        for parameter in (*signature.parameters, *(size for _, size in signature.statics)):
            if not isinstance(parameter, TypeVariable):
                assert isinstance(parameter, Dim)
                sizes[parameter.terms[0][0][0]] = of_atom(Solvable(fresh_meta("size").id))
            elif parameter.kind == "pack":
                packs[parameter] = (PackItem(fresh_meta("pack", name=parameter.name)),)
            else:
                types[parameter] = fresh_meta(parameter.kind, parameter.bound, parameter.name.strip("_"))
        instance = Substitution(types, packs, sizes)
        self.instances.append((span, signature, instance))
        return instance, substitute(signature.type, instance)

    def forget(self, instance: Substitution) -> None:
        """A use whose type parameters are not asked for."""
        self.instances = [each for each in self.instances if each[2] is not instance]

    def end(self) -> None:
        """At the end of the body: literals get their own types, what is still unknown is reported."""
        self.instances = [(span, made, instance) for span, made, instance in self.instances if self._is_sound(instance)]
        for _, _, instance in self.instances:
            for found in instance.types.values():
                if not isinstance(found, str):
                    self.solver.default_literals(found)
        for span, signature, instance in reversed(self.instances):
            unknown = [v for v, found in instance.types.items() if not isinstance(found, str) and self._is_open(found)]
            if not self.failed:
                unknown += [v for v, shape in instance.packs.items() if self._has_open_pack(shape)]
            if unknown and not isinstance(self.resolve(substitute(signature.type, instance), span), ErrorType):
                self.report(errors.unsolved(span, str(signature.symbol), print_type(unknown[0])))
                for found in instance.types.values():
                    if not isinstance(found, str):
                        self.solver.give_up(found)
        for literal in self.literals:
            self._check_literal(literal)

    def _is_sound(self, instance: Substitution) -> bool:
        """Whether the types of a use can be made; those that cannot are reported where they were found."""
        try:
            for found in instance.types.values():
                if not isinstance(found, str):
                    self.solver.resolve(found)
            for shape in instance.packs.values():
                self.solver.resolve_shape(shape)
        except ShapeError:
            return False
        return True

    def _has_open_pack(self, shape: Shape) -> bool:
        found = self.solver.resolve_shape(shape)
        return any(isinstance(item, PackItem) and isinstance(item.pack, Meta) for item in found)

    def _is_open(self, type: Type) -> bool:
        found = self.solver.resolve(type)
        return isinstance(found, Meta) and found.kind != "placed"

    def _check_literal(self, literal: Literal) -> None:
        self.solver.default_literals(literal.type)
        type = self.solver.resolve(literal.type)
        dtype = type.dtype if isinstance(type, TensorType) else ""
        if dtype in INTEGERS:
            low, high = integer_range(str(dtype))
            if not low <= float(literal.value) <= high:
                self.report(errors.literal_range(literal.span, literal.span.text, str(dtype)))
        elif isinstance(dtype, str) and dtype in LARGEST and abs(float(literal.value)) > LARGEST[dtype]:
            self.report(errors.literal_range(literal.span, literal.span.text, dtype))


LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028235e38, "float64": 1.7976931348623157e308}


def captured(place: Place) -> PlacedType:
    """Stands in a list of uses for what a function has captured."""
    return PlacedType(*place, FunctionType((), TupleType(())))


def is_bundle(type: Type) -> bool:
    """Whether the type is a record or tuple of values at several places, or a variable for one."""
    if isinstance(type, RecordType | TupleType):
        return not is_data(type) and not has_function(type)
    return is_variable(type, "placed")


def is_federated(type: FunctionType) -> bool:
    """Whether a function takes or gives placed values: it is called once, not computed at a place."""
    return any(mentions_place(part) for part in (*(p.type for p in type.parameters), type.result))


def mentions_place(type: Type) -> bool:
    """Whether placed values are in a value of the type; what a function takes or gives does not count."""
    match type:
        case PlacedType():
            return True
        case RecordType(fields):
            return any(mentions_place(item) for _, item in fields)
        case TupleType(items):
            return any(mentions_place(item) for item in items)
        case _:
            return is_variable(type, "placed")
