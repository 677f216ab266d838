"""Declarations: signatures, bodies, processes and tests; the door of the stage, `check_root`."""

from __future__ import annotations

from fedlang.check import errors
from fedlang.check.annotations import Alias, Annotations, Parameter, placed_parameters
from fedlang.check.body import Body, Signature, Variable, mentions_place
from fedlang.check.control import check_block, verify_names
from fedlang.check.expressions import infer
from fedlang.check.typed import BindName, BlockOf, Checked, CheckedTest, Default, Method
from fedlang.diagnostics import Diagnostic
from fedlang.frozen import Frozen
from fedlang.names import errors as name_errors
from fedlang.names.world import NamedDeclaration, Symbol, World, is_reserved
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.shapes import ShapeError
from fedlang.types.solve import open_unknowns
from fedlang.types.substitute import Substitution, substitute
from fedlang.types.types import (
    ERROR,
    KEY,
    SERVER,
    ErrorType,
    FunctionType,
    Meta,
    ParameterType,
    PlacedType,
    RecordType,
    TupleType,
    Type,
    TypeVariable,
    fresh_meta,
    fresh_variable,
    has_function,
    is_data,
    leaves,
    placed,
    record,
    tuple_of,
    unplaced,
)

METHODS = ("initialize", "next")


class Parts(Frozen):
    """What is worked out once for a declaration, before its body."""

    annotations: Annotations
    signature: Signature
    bound: tuple[BindName, ...]  # the parameters, `?` opened


class Checker:
    """Checks declarations when they are asked for, each once. Mistakes go to `diagnostics`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.diagnostics: list[Diagnostic] = []
        self._aliases: dict[Symbol, Alias | None] = {}
        self._parts: dict[Symbol, Parts | None] = {}
        self._checked: dict[Symbol, Checked | None] = {}
        self._busy: list[Symbol] = []
        self._known_defaults: dict[Symbol, tuple[Default | None, ...]] = {}
        self.calls: dict[Symbol, list[tuple[Symbol, Span]]] = {}

    # ---- what others ask ----

    def alias(self, symbol: Symbol, span: Span | None = None) -> Alias | None:
        """The type that a `type` declaration names; `span` is where it is used, if it is."""
        if symbol not in self._aliases:
            declaration = self.world.declaration(symbol)
            if not isinstance(declaration, tree.TypeDeclaration) or self._is_busy(
                symbol, span or declaration.name.span
            ):
                return None
            self._busy.append(symbol)
            annotations = self._annotations(symbol.module)
            parameters = annotations.declare(declaration.type_parameters, placed_parameters(declaration))
            self._aliases[symbol] = Alias(parameters, annotations.type(declaration.type))
            self._busy.pop()
        return self._aliases[symbol]

    def signature(self, symbol: Symbol, span: Span) -> Signature | None:
        """What a use needs to know of a declaration; None where it is broken."""
        parts = self._parts_of(symbol, span)
        return None if parts is None else parts.signature

    def checked(self, symbol: Symbol) -> Checked | None:
        """The declaration with its body checked; None where it is broken."""
        if symbol not in self._checked:
            declaration = self.world.declaration(symbol)
            if declaration is None or isinstance(declaration, tree.TypeDeclaration):
                return None
            parts = self._parts_of(symbol, declaration.name.span)
            if parts is not None and symbol not in self._checked:
                self._checked[symbol] = self._check(symbol, declaration, parts)
        return self._checked.get(symbol)

    # ---- signatures ----

    def _is_busy(self, symbol: Symbol, span: Span) -> bool:
        if symbol not in self._busy:
            return False
        chain = [str(each) for each in (*self._busy[self._busy.index(symbol) :], symbol)]
        self._report(errors.recursion(span, chain, of_types=symbol.space == "type"))
        return True

    def _report(self, diagnostic: Diagnostic) -> None:
        for known in self.diagnostics:
            if known.code == diagnostic.code and known.span == diagnostic.span and known.title == diagnostic.title:
                return
        self.diagnostics.append(diagnostic)

    def _annotations(self, module: str) -> Annotations:
        return Annotations(self.world, module, self.alias, self._report)

    def _parts_of(self, symbol: Symbol, span: Span) -> Parts | None:
        if symbol not in self._parts:
            declaration = self.world.declaration(symbol)
            if declaration is None or isinstance(declaration, tree.TypeDeclaration) or self._is_busy(symbol, span):
                return None
            self._busy.append(symbol)
            self._parts[symbol] = self._make_parts(symbol, declaration)
            self._busy.pop()
        return self._parts[symbol]

    def _make_parts(self, symbol: Symbol, declaration: NamedDeclaration) -> Parts | None:
        assert not isinstance(declaration, tree.TypeDeclaration)
        annotations = self._annotations(symbol.module)
        parameters = list(annotations.declare(declaration.type_parameters, set()))
        if isinstance(declaration, tree.PrimitiveDeclaration):
            annotations.statics = _static_names(declaration)
        annotations.any_type = lambda kind: _anonymous(parameters, kind)
        local = isinstance(declaration, tree.FunctionDeclaration) and declaration.kind == "fn"
        bound = tuple(self._parameter(annotations, p, local=local) for p in declaration.parameters)
        annotations.any_type = None
        seen = {parameter.name.text for parameter in declaration.type_parameters}
        for parameter in declaration.parameters:
            if parameter.name.text in seen and parameter.name.text != "_":
                self._report(name_errors.name_twice(parameter.name, "parameter"))
            seen.add(parameter.name.text)
            if is_reserved(parameter.name.text):
                self._report(name_errors.reserved(parameter.name))
        result = self._result(symbol, declaration, annotations, bound, tuple(parameters))
        if result is None:
            return None
        type = FunctionType(_parameter_types(declaration.parameters, bound), result)
        statics = _statics(annotations, declaration)
        signature = Signature(symbol, declaration, tuple(parameters), type, statics)
        return Parts(annotations, signature, tuple(BindName(b.name, open_unknowns(b.type)) for b in bound))

    def _written(self, annotations: Annotations, written: tree.TypeTree, *, local: bool) -> Type:
        """A type of a signature; one with places has none where it is that of a `fn`."""
        type = annotations.type(written)
        if not local or not mentions_place(type):
            return type
        self._report(errors.place_in_local(written.span))
        return unplaced(type) if is_data(unplaced(type)) else ERROR

    def _parameter(self, annotations: Annotations, parameter: tree.Parameter, *, local: bool) -> BindName:
        name = parameter.name.text
        if parameter.type is not None:
            return BindName(name, self._written(annotations, parameter.type, local=local))
        self._report(errors.no_parameter_type(parameter.span, name))
        return BindName(name, ERROR)

    def _result(
        self,
        symbol: Symbol,
        declaration: NamedDeclaration,
        annotations: Annotations,
        bound: tuple[BindName, ...],
        parameters: tuple[Parameter, ...],
    ) -> Type | None:
        assert not isinstance(declaration, tree.TypeDeclaration)
        if not isinstance(declaration, tree.ProcessDeclaration) and declaration.result is not None:
            local = isinstance(declaration, tree.FunctionDeclaration) and declaration.kind == "fn"
            return self._written(annotations, declaration.result, local=local)
        signature = Signature(symbol, declaration, parameters, ERROR)
        parts = Parts(annotations, signature, tuple(BindName(b.name, open_unknowns(b.type)) for b in bound))
        checked = self._checked[symbol] = self._check(symbol, declaration, parts)
        return None if checked is None else checked.type

    # ---- bodies ----

    def _body(self, parts: Parts, symbol: Symbol, *, fed: bool) -> Body:
        body = Body(self, symbol.module, parts.annotations, self._report, infer, fed=fed)
        body.called = self.calls.setdefault(symbol, [])
        for parameter in parts.bound:
            if parameter.name != "_":
                variable = body.scope[parameter.name] = Variable(parameter.type, parts.signature.declaration.span)
                variable.used = True
        return body

    def _check(self, symbol: Symbol, declaration: NamedDeclaration, parts: Parts) -> Checked | None:
        try:
            return self._check_body(symbol, declaration, parts)
        except ShapeError as error:  # in what follows from types found late
            self._report(errors.shape_function(parts.signature.declaration.span, str(error)))
            return None

    def _check_body(self, symbol: Symbol, declaration: NamedDeclaration, parts: Parts) -> Checked | None:
        defaults = self._defaults(symbol, parts)
        match declaration:
            case tree.FunctionDeclaration(kind, _, _, _, result, block):
                return self._check_function(symbol, declaration, parts, defaults, block, result, fed=kind == "fed")
            case tree.ProcessDeclaration(_, _, _, tuple() as methods):
                return self._check_process(symbol, declaration, parts, defaults, methods)
            case tree.ProcessDeclaration():
                return self._check_process_is(symbol, declaration, parts, defaults)
            case _:
                nothing = Substitution({}, {}, {})
                return Checked(
                    symbol, declaration, parts.bound, defaults, None, nothing, _result_of(parts.signature.type)
                )

    def default_type(self, symbol: Symbol, index: int) -> Type | None:
        """The type of a parameter's default, in terms of the declaration's type parameters."""
        parts = self._parts.get(symbol)
        default = self._defaults(symbol, parts)[index] if parts is not None else None
        return None if default is None else substitute(default.value.type, default.solution)

    def _defaults(self, symbol: Symbol, parts: Parts) -> tuple[Default | None, ...]:
        """The checked defaults of a declaration. Anonymous types of a parameter are what its default makes them."""
        if symbol not in self._known_defaults:
            declaration = parts.signature.declaration
            assert not isinstance(declaration, tree.TypeDeclaration)
            pairs = zip(declaration.parameters, parts.bound, strict=True)
            primitive = isinstance(declaration, tree.PrimitiveDeclaration)
            found = tuple(None if primitive else self._default(symbol, parts, p, bound) for p, bound in pairs)
            self._known_defaults[symbol] = found
        return self._known_defaults[symbol]

    def _default(self, symbol: Symbol, parts: Parts, parameter: tree.Parameter, bound: BindName) -> Default | None:
        if parameter.default is None:
            return None
        body = self._body(parts, symbol, fed=False)
        names = [each.name for each in parts.bound]
        for later in names[names.index(bound.name) :]:
            body.scope.pop(later, None)  # a default sees the parameters before it
        open_types: dict[TypeVariable | Meta, Type | str] = {
            variable: fresh_meta(variable.kind)
            for variable in parts.signature.parameters
            if isinstance(variable, TypeVariable) and variable.name == "_"
        }
        wanted = substitute(bound.type, Substitution(open_types, {}, {}))
        because = parameter.type.span if parameter.type is not None else None
        value = body.expect(parameter.default, wanted, "the type of the parameter", because)
        body.end()
        return Default(value, body.solver.solution)

    def _check_function(
        self,
        symbol: Symbol,
        declaration: tree.FunctionDeclaration,
        parts: Parts,
        defaults: tuple[Default | None, ...],
        block: tree.Block,
        written: tree.TypeTree | None,
        *,
        fed: bool,
    ) -> Checked:
        body = self._body(parts, symbol, fed=fed)
        expected = _result_of(parts.signature.type) if written is not None else None
        checked = check_block(body, block, expected)
        result = body.resolved(checked.value)
        if expected is not None and written is not None:
            body.demand(result, expected, checked.value.span, "the result that is written", written.span)
        else:
            body.solver.default_literals(result)
        body.end()
        result = expected if expected is not None else settle(body.resolved(checked.value), fed=fed)
        return Checked(symbol, declaration, parts.bound, defaults, checked, body.solver.solution, result)

    # ---- processes ----

    def _check_process(
        self,
        symbol: Symbol,
        declaration: tree.ProcessDeclaration,
        parts: Parts,
        defaults: tuple[Default | None, ...],
        methods: tuple[tree.Method, ...],
    ) -> Checked:
        names = [method.name.text for method in methods]
        for name in METHODS:
            if name not in names:
                self._report(errors.no_method(declaration.name.span, declaration.name.text, name))
        for method in methods:
            if names.count(method.name.text) > 1 and method is not methods[names.index(method.name.text)]:
                self._report(name_errors.name_twice(method.name, "method"))
        ordered = sorted(methods, key=lambda method: method.name.text != "initialize")
        state: Type = ERROR
        state_span = declaration.name.span
        made: list[Method] = []
        for method in ordered:
            made.append(self._check_method(symbol, parts, method, state))
            result = _result_of(made[-1].type)
            if method.name.text == "initialize":
                self._verify_initialize(method, made[-1].type)
                state, state_span = result, method.body.value.span
            elif method.name.text == "next":
                self._check_next(method, result, state, state_span)
        fields = tuple((method.name, method.type) for method in made)
        nothing = Substitution({}, {}, {})
        return Checked(symbol, declaration, parts.bound, defaults, tuple(made), nothing, RecordType(fields))

    def _verify_initialize(self, method: tree.Method, type: Type) -> None:
        """`initialize` takes the key of the run, and gives data."""
        assert isinstance(type, FunctionType)
        kinds = [p.type for p in type.parameters]
        if kinds != [PlacedType(SERVER, False, KEY)] and not any(isinstance(kind, ErrorType) for kind in kinds):
            self._report(errors.initialize_key(method.name.span))
        if has_function(type.result):
            self._report(errors.state_holds_function(method.body.value.span, type.result))

    def _check_method(self, symbol: Symbol, parts: Parts, method: tree.Method, state: Type) -> Method:
        body = self._body(parts, symbol, fed=True)
        bound: list[BindName] = []
        kinds: list[ParameterType] = []
        verify_names(body, [parameter.name for parameter in method.parameters])
        for index, parameter in enumerate(method.parameters):
            if parameter.type is not None:
                type = parts.annotations.type(parameter.type)
            elif index == 0 and method.name.text != "initialize":
                type = state
            else:
                self._report(errors.no_parameter_type(parameter.span, parameter.name.text))
                type = ERROR
            opened = open_unknowns(type)
            if parameter.name.text != "_":
                body.bind(parameter.name.text, opened, parameter.name.span).used = True
            bound.append(BindName(parameter.name.text, opened))
            kinds.append(ParameterType(type, parameter.name.text if parameter.name.text != "_" else ""))
        wanted = parts.annotations.type(method.result) if method.result is not None else None
        if method.name.text == "next" and wanted is None and not isinstance(state, ErrorType):
            hint: Type | None = RecordType((("state", state),))
        else:
            hint = wanted
        block = check_block(body, method.body, hint)
        if wanted is not None and method.result is not None:
            body.demand(block.type, wanted, block.value.span, "the result that is written", method.result.span)
        body.solver.default_literals(body.resolved(block.value))
        body.end()
        result = wanted if wanted is not None else settle(body.resolved(block.value), fed=True)
        if method.name.text == "initialize":
            result = state_type(result)
        type = FunctionType(tuple(kinds), result)
        return Method(method.name.text, tuple(bound), block, body.solver.solution, type)

    def _check_next(self, method: tree.Method, result: Type, state: Type, because: Span) -> None:
        inner = unplaced(result)
        if isinstance(inner, ErrorType) or isinstance(state, ErrorType):
            return
        found = inner.field("state") if isinstance(inner, RecordType) else None
        if found is None:
            self._report(errors.no_state(method.body.value.span, result))
            return
        if isinstance(result, PlacedType):
            found = placed(result.place, result.each, found)
        body = Body(self, "", self._annotations(""), self._report, infer, fed=True)
        mismatch = body.assign(settle(found, fed=True), state_type(state), method.body.value.span)
        if mismatch is not None:
            self._report(errors.state_differs(method.body.value.span, mismatch, because))

    def _check_process_is(
        self, symbol: Symbol, declaration: tree.ProcessDeclaration, parts: Parts, defaults: tuple[Default | None, ...]
    ) -> Checked | None:
        assert not isinstance(declaration.body, tuple)
        body = self._body(parts, symbol, fed=False)
        value = body.infer(declaration.body)
        body.end()
        type = body.resolved(value)
        if isinstance(type, ErrorType):
            return None
        if not isinstance(type, RecordType) or not all(isinstance(item, FunctionType) for _, item in type.fields):
            self._report(errors.not_a_process(value.span, type))
            return None
        missing = next((name for name in METHODS if type.field(name) is None), "")
        if missing:
            self._report(errors.not_a_process(value.span, type, missing))
            return None
        block = BlockOf((), value, type, value.span)
        return Checked(symbol, declaration, parts.bound, defaults, block, body.solver.solution, type)

    # ---- the whole file ----

    def check_root(self) -> tuple[CheckedTest, ...]:
        """Checks every declaration of the root file; gives its tests."""
        tests = []
        for declaration in self.world.root.declarations:
            match declaration:
                case tree.TypeDeclaration(name):
                    self.alias(Symbol("", name.text, "type"))
                case tree.TestDeclaration():
                    tests.append(self.check_test(declaration, ""))
                case tree.Import() | tree.Allow():
                    pass
                case _:
                    self.checked(Symbol("", declaration.name.text))
        self._find_recursion()
        return tuple(tests)

    def check_test(self, declaration: tree.TestDeclaration, module: str) -> CheckedTest:
        """A test: a block that drives what it tests."""
        body = Body(self, module, self._annotations(module), self._report, infer, fed=False, test=True)
        block = check_block(body, declaration.body)
        body.end()
        return CheckedTest(declaration.title, block, body.solver.solution, declaration.span)

    def _find_recursion(self) -> None:
        """Functions that reach themselves through calls: found depth first, each circle told once."""
        done: set[Symbol] = set()
        for root in list(self.calls):
            stack: list[tuple[Symbol, int]] = [(root, 0)]
            path: list[Symbol] = [root] if root not in done else []
            while stack and path:
                symbol, at = stack.pop()
                edges = self.calls.get(symbol, [])
                if at >= len(edges):
                    done.add(symbol)
                    path.pop()
                    continue
                stack.append((symbol, at + 1))
                callee, span = edges[at]
                if callee in path:
                    chain = [str(each) for each in (*path[path.index(callee) :], callee)]
                    self._report(errors.recursion(span, chain))
                elif callee not in done:
                    stack.append((callee, 0))
                    path.append(callee)


def state_type(state: Type) -> Type:
    """What `next` may give for the state: per-client values are kept by client, even where all began alike."""
    match state:
        case PlacedType("CLIENTS", _, inner):
            return PlacedType("CLIENTS", True, inner)
        case RecordType(fields):
            return RecordType(tuple((name, state_type(item)) for name, item in fields))
        case TupleType(items):
            return TupleType(tuple(state_type(item) for item in items))
        case _:
            return state


def settle(type: Type, *, fed: bool) -> Type:
    """The result of a `fed` body: data that has no place is at the server; client values of a state may differ."""
    if not fed or isinstance(type, ErrorType | FunctionType):
        return type
    if is_data(type):
        return placed(SERVER, False, type) if any(True for _ in leaves(type)) else type
    match type:
        case RecordType(fields):
            return record(tuple((name, settle(item, fed=True)) for name, item in fields))
        case TupleType(items):
            return tuple_of(tuple(settle(item, fed=True) for item in items))
        case _:
            return type


def _anonymous(parameters: list[Parameter], kind: str) -> Type:
    variable = fresh_variable("_", kind)
    parameters.append(variable)
    return variable


def _result_of(type: Type) -> Type:
    return type.result if isinstance(type, FunctionType) else ERROR


def _parameter_types(written: tuple[tree.Parameter, ...], bound: tuple[BindName, ...]) -> tuple[ParameterType, ...]:
    return tuple(ParameterType(b.type, p.name.text, p.default is None) for p, b in zip(written, bound, strict=True))


def _static_names(declaration: tree.PrimitiveDeclaration) -> dict[str, str]:
    """Parameters of a primitive that may be mentioned in its types: int32 scalars are sizes, int32 vectors shapes."""
    found: dict[str, str] = {}
    for parameter in declaration.parameters:
        match parameter.type:
            case tree.NamedType(tree.Name("int32"), ()):
                found[parameter.name.text] = "size"
            case tree.NamedType(tree.Name("int32"), ((_,),)):
                found[parameter.name.text] = "shape"
    return found


def _statics(annotations: Annotations, declaration: NamedDeclaration) -> tuple[tuple[str, Parameter], ...]:
    if annotations.statics is None:
        return ()
    found = [
        (name, annotations.names.get(f"…{name}" if kind == "shape" else name))
        for name, kind in annotations.statics.items()
    ]
    return tuple((name, parameter) for name, parameter in found if parameter is not None)
