"""Written types to types."""

from __future__ import annotations

from collections.abc import Callable

from fedlang.check import errors
from fedlang.diagnostics import Diagnostic
from fedlang.frozen import Frozen
from fedlang.names import errors as name_errors
from fedlang.names.nearest import nearest
from fedlang.names.world import Symbol, World
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.dims import Size, Unknown, add, divide, fresh_named, fresh_unknown, multiply, subtract
from fedlang.types.dtypes import BOUNDS, DTYPES
from fedlang.types.shapes import SHAPE_FUNCTIONS, ShapeError, apply_shape_function
from fedlang.types.substitute import Substitution, substitute
from fedlang.types.types import (
    CLIENTS,
    ERROR,
    SERVER,
    FunctionType,
    Meta,
    PackItem,
    ParameterType,
    SequenceType,
    Shape,
    ShapeFunction,
    TensorType,
    Type,
    TypeVariable,
    fresh_meta,
    fresh_variable,
    has_function,
    has_sequence,
    is_data,
    placed,
    prefix,
    print_type,
    record,
    tuple_of,
)

Parameter = TypeVariable | Size  # packs are variables of kind "pack"


class Alias(Frozen):
    """A checked `type` declaration."""

    parameters: tuple[Parameter, ...]
    type: Type


class Annotations:
    """Resolves written types in one declaration. `names` maps type parameters, sizes and packs in scope.

    `any_type` makes what `_` stands for, or is None where `_` is not allowed. `report` takes the mistakes.
    """

    def __init__(
        self,
        world: World,
        module: str,
        aliases: Callable[[Symbol, Span], Alias | None],
        report: Callable[[Diagnostic], None],
    ) -> None:
        self.world = world
        self.module = module
        self.aliases = aliases
        self.report = report
        self.names: dict[str, Parameter] = {}
        self.any_type: Callable[[str], Type] | None = None
        self.statics: dict[str, str] | None = (
            None  # in a primitive: its parameters that types mention, "size" or "shape"
        )

    # ---- parameters ----

    def declare(self, parameters: tuple[tree.TypeParameter, ...], placed_names: set[str]) -> tuple[Parameter, ...]:
        """Brings type parameters into scope."""
        made = []
        for parameter in parameters:
            name = parameter.name
            if name.text in self.names:
                self.report(name_errors.name_twice(name, "type parameter"))
            made.append(self._parameter(parameter, placed_names))
            self.names[name.text] = made[-1]
        return tuple(made)

    def _parameter(self, parameter: tree.TypeParameter, placed_names: set[str]) -> Parameter:
        name = parameter.name.text
        if parameter.pack:
            return fresh_variable(name, "pack")
        if name[0].islower():
            return fresh_named(name)
        bound = parameter.bound.text if parameter.bound else ""
        if bound and bound not in BOUNDS:
            assert parameter.bound is not None
            self.report(name_errors.unknown_type(parameter.bound.span, bound, nearest(bound, list(BOUNDS))))
            bound = ""
        kind = "dtype" if bound and bound[0].islower() else "placed" if name in placed_names else "data"
        return fresh_variable(name, kind, bound)

    # ---- types ----

    def type(self, written: tree.TypeTree) -> Type:
        """The type that is written."""
        match written:
            case tree.NamedType(name, arguments, span):
                return self._named(name, arguments, span)
            case tree.AnyType(span):
                return self._any("data", span)
            case tree.RecordType(fields):
                seen: set[str] = set()
                for name, _ in fields:
                    if name.text in seen:
                        self.report(name_errors.name_twice(name, "field"))
                    seen.add(name.text)
                return record(tuple((name.text, self.type(item)) for name, item in fields))
            case tree.TupleType(items):
                return tuple_of(tuple(self.type(item) for item in items))
            case tree.SequenceType(element, span):
                inner = self.type(element)
                if not is_data(inner):
                    self.report(
                        errors.function_as_data(span, "an element")
                        if has_function(inner)
                        else errors.nested_place(span)
                    )
                    return ERROR
                if has_sequence(inner):
                    self.report(errors.nested_sequence(span))
                    return ERROR
                return SequenceType(inner)
            case tree.FunctionType(parameters, result):
                kinds = tuple(ParameterType(self.type(parameter)) for parameter in parameters)
                return FunctionType(kinds, self.type(result))
            case tree.PlacedType(inner_tree, place, each, span):
                return self._placed(inner_tree, place, each, span)

    def _any(self, kind: str, span: Span) -> Type:
        if self.any_type is None:
            self.report(errors.any_here(span))
            return ERROR
        return self.any_type(kind)

    def _placed(self, written: tree.TypeTree, place: tree.Name, each: bool, span: Span) -> Type:
        inner = self.type(written)
        if place.text not in (SERVER, CLIENTS):
            self.report(errors.unknown_place(place.span, place.text))
            return ERROR
        if each and place.text == SERVER:
            self.report(errors.each_server(span))
        if not is_data(inner):
            self.report(errors.function_as_data(span, "placed") if has_function(inner) else errors.nested_place(span))
            return ERROR
        return placed(place.text, each and place.text == CLIENTS, inner)

    def _named(self, name: tree.Name, groups: tuple[tuple[tree.TypeArgument, ...], ...], span: Span) -> Type:
        own = self.names.get(name.text)
        if isinstance(own, TypeVariable) and own.kind != "pack":
            base: Type = TensorType(own, ()) if own.kind == "dtype" else own
        elif own is not None:
            self.report(errors.no_type_arguments(name.span, name.text, "a size, where a type is needed"))
            return ERROR
        elif name.text in DTYPES:
            base = TensorType(name.text, ())
        else:
            return self._alias(name, groups, span)
        return self._bracketed(base, groups, span)

    def _bracketed(self, base: Type, groups: tuple[tuple[tree.TypeArgument, ...], ...], span: Span) -> Type:
        for group in reversed(groups):
            result = prefix(self.shape(group), base)
            if result is None:
                self.report(errors.no_brackets(span, base))
                return ERROR
            base = result
        return base

    def _alias(self, name: tree.Name, groups: tuple[tuple[tree.TypeArgument, ...], ...], span: Span) -> Type:
        symbol = self.world.lookup(self.module, name.text, "type")
        alias = self.aliases(symbol, name.span) if isinstance(symbol, Symbol) else None
        if alias is None:
            if symbol is None and not self.world.is_broken(self.module, name.text):
                known = [*DTYPES, *self.names, *self.world.names(self.module, "type")]
                self.report(name_errors.unknown_type(name.span, name.text, nearest(name.text, known)))
            return ERROR
        if not alias.parameters:
            return self._bracketed(alias.type, groups, span)
        given = groups[0] if groups else ()
        if len(given) != len(alias.parameters):
            self.report(errors.wrong_arguments(span, name.text, len(given), len(alias.parameters)))
            return ERROR
        instance = self.instance(alias.parameters, given)
        try:
            return self._bracketed(substitute(alias.type, instance), groups[1:], span)
        except ShapeError as error:
            self.report(errors.shape_function(span, str(error)))
            return ERROR

    def instance(self, parameters: tuple[Parameter, ...], given: tuple[tree.TypeArgument, ...]) -> Substitution:
        """Type arguments put to their parameters."""
        types: dict[TypeVariable | Meta, Type | str] = {}
        packs: dict[TypeVariable | Meta, Shape] = {}
        sizes = {}
        for parameter, argument in zip(parameters, given, strict=True):
            if not isinstance(parameter, TypeVariable):
                assert not isinstance(parameter, int)
                sizes[parameter.terms[0][0][0]] = self.size(argument)
            elif parameter.kind == "pack":
                packs[parameter] = self.shape((argument,))
            elif isinstance(argument, tree.AnyType):
                types[parameter] = self._any(parameter.kind, argument.span)
            else:
                types[parameter] = self._type_argument(argument)
        return Substitution(types, packs, sizes)

    def _type_argument(self, argument: tree.TypeArgument) -> Type:
        if isinstance(argument, tree.IntegerDim | tree.UnknownDim | tree.BinaryDim | tree.CallDim | tree.Pack):
            self.report(errors.no_type_arguments(argument.span, argument.span.text, "a type is needed here"))
            return ERROR
        return self.type(argument)

    # ---- sizes ----

    def shape(self, items: tuple[tree.TypeArgument, ...]) -> Shape:
        """The sizes between one pair of brackets."""
        result: list[Size | PackItem] = []
        for item in items:
            if isinstance(item, tree.Pack):
                result += self._pack(item)
            else:
                result.append(self._axis(item))
        return tuple(result)

    def _axis(self, item: tree.TypeArgument) -> Size:
        size = self.size(item)
        if isinstance(size, int) and size < 0:
            self.report(errors.shape_function(item.span, f"a size of {size} is below zero"))
            return 0
        return size

    def _pack(self, item: tree.Pack) -> Shape:
        if isinstance(item.shape, tree.Name):
            return self._pack_name(item.shape)
        name = item.shape.function.text
        if name not in SHAPE_FUNCTIONS:
            self.report(name_errors.unknown_name(item.shape.function.span, name, nearest(name, SHAPE_FUNCTIONS)))
            return _any_sizes()
        arguments = tuple(self._shape_argument(argument) for argument in item.shape.arguments)
        try:
            return apply_shape_function(name, arguments)
        except ShapeError as error:
            self.report(errors.shape_function(item.span, str(error)))
            return _any_sizes()

    def _shape_argument(self, argument: tree.TypeArgument) -> Shape | Size:
        if isinstance(argument, tree.NamedType) and not argument.arguments:
            own = self.names.get(argument.name.text)
            if isinstance(own, TypeVariable) and own.kind == "pack":
                return (PackItem(own),)
            if own is None and self.statics is not None and self.statics.get(argument.name.text) == "shape":
                return self._static_pack(argument.name.text)
        return self.size(argument)

    def _pack_name(self, name: tree.Name) -> Shape:
        own = self.names.get(name.text)
        if isinstance(own, TypeVariable) and own.kind == "pack":
            return (PackItem(own),)
        if self.statics is not None and self.statics.get(name.text) == "shape":
            return self._static_pack(name.text)
        self.report(name_errors.unknown_size(name.span, name.text, nearest(name.text, list(self.names))))
        return _any_sizes()

    def _static_pack(self, name: str) -> Shape:
        key = f"…{name}"
        if key not in self.names:
            self.names[key] = fresh_variable(name, "pack")
        pack = self.names[key]
        assert isinstance(pack, TypeVariable)
        return (PackItem(pack),)

    def size(self, written: tree.TypeArgument) -> Size:
        """One size that is written."""
        match written:
            case tree.IntegerDim(value):
                return value
            case tree.UnknownDim():
                return fresh_unknown()
            case tree.BinaryDim(operator, left, right, span):
                return self._arithmetic(operator, self.size(left), self.size(right), span)
            case tree.CallDim(function, arguments, span):
                return self._size_call(function, arguments, span)
            case tree.NamedType(name, ()):
                return self._size_name(name)
        self.report(errors.no_type_arguments(written.span, written.span.text))
        return 1

    def _size_name(self, name: tree.Name) -> Size:
        own = self.names.get(name.text)
        if own is not None and not isinstance(own, TypeVariable):
            return own
        if own is None and self.statics is not None and name.text in self.statics:
            made = self.names[name.text] = fresh_named(name.text)
            return made
        if own is not None or name.text in DTYPES or self.world.lookup(self.module, name.text, "type") is not None:
            self.report(errors.no_type_arguments(name.span, name.text, "a type, where a size is needed"))
        elif not self.world.is_broken(self.module, name.text):
            known = [key for key, value in self.names.items() if not isinstance(value, TypeVariable)]
            self.report(name_errors.unknown_size(name.span, name.text, nearest(name.text, known)))
        return fresh_unknown()

    def _size_call(self, function: tree.Name, arguments: tuple[tree.TypeArgument, ...], span: Span) -> Size:
        if function.text == "product":
            result: Size = 1
            for argument in arguments:
                shaped = self._shape_argument(argument)
                result = multiply(result, self._pack_product(shaped) if isinstance(shaped, tuple) else shaped)
            return result
        only = arguments[0] if len(arguments) == 1 else None
        if function.text in ("ceil", "floor") and isinstance(only, tree.BinaryDim) and only.operator == "/":
            return self._arithmetic(function.text, self.size(only.left), self.size(only.right), span)
        self.report(
            name_errors.unknown_name(function.span, function.text, nearest(function.text, ["product", "ceil", "floor"]))
        )
        return 1

    def _pack_product(self, shape: Shape) -> Size:
        (item,) = shape
        assert isinstance(item, PackItem) and isinstance(item.pack, TypeVariable)
        key = f"product {item.pack.id}"
        if key not in self.names:
            self.names[key] = fresh_named(f"product({item.pack.name})")
        size = self.names[key]
        assert not isinstance(size, TypeVariable)
        return size

    def _arithmetic(self, operator: str, left: Size, right: Size, span: Span) -> Size:
        try:
            match operator:
                case "+":
                    return add(left, right)
                case "-":
                    return subtract(left, right)
                case "/":
                    return divide(left, right, "exact")
                case _:
                    return divide(left, right, operator)
        except ArithmeticError as error:
            self.report(errors.shape_function(span, str(error)))
            return fresh_unknown()


def _any_sizes() -> Shape:
    """What stands for sizes that are reported already: they agree with any."""
    return (PackItem(fresh_meta("pack")),)


def placed_parameters(declared: tree.TypeDeclaration) -> set[str]:
    """The parameters of an alias that stand beside placed types in a function type:

    they range over placed values too.
    """
    names = {parameter.name.text for parameter in declared.type_parameters}
    found: set[str] = set()
    pending: list[tree.TypeTree] = [declared.type]
    while pending:
        written = pending.pop()
        match written:
            case tree.FunctionType(parameters, result):
                beside = [part for item in (*parameters, result) for part in _parts(item)]
                if any(isinstance(part, tree.PlacedType) for part in beside):
                    found |= {
                        part.name.text for part in beside if isinstance(part, tree.NamedType) and not part.arguments
                    } & names
                pending += [*parameters, result]
            case tree.RecordType(fields):
                pending += [item for _, item in fields]
            case tree.TupleType(items):
                pending += items
    return found


def _parts(written: tree.TypeTree) -> list[tree.TypeTree]:
    """The type, or the types of a record's or tuple's parts."""
    match written:
        case tree.RecordType(fields):
            return [part for _, item in fields for part in _parts(item)]
        case tree.TupleType(items):
            return [part for item in items for part in _parts(item)]
        case _:
            return [written]


__all__ = ["Alias", "Annotations", "Parameter", "ShapeFunction", "Unknown", "placed_parameters", "print_type"]
