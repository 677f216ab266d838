"""The door of the stage: a declaration that is run becomes a graph and a signature.

What can be run: a `fn` or `fed` function over data, and each method of a process whose parameters are data. The
parameters of the process are its settings: inputs of every method's graph, known at every place.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedlang.check.declarations import Checker
from fedlang.check.typed import BlockOf, Checked, CheckedTest
from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph
from fedlang.lower import errors
from fedlang.lower.evaluate import NO_TYPES, Lowerer
from fedlang.lower.leaves import LeafSlot, make_input
from fedlang.lower.primitives import lower_primitive
from fedlang.lower.simulate import simulate
from fedlang.lower.values import Closure, Declared, Leaf, RecordValue, Value, is_data, leaves_of
from fedlang.names.world import Symbol
from fedlang.types.types import FunctionType, RecordType, Type, has_function


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph with what its inputs and results are. Settings come first among the inputs, then the arguments."""

    graph: Graph
    settings: tuple[tuple[str, Type], ...]
    parameters: tuple[tuple[str, Type], ...]
    result: Type


def lower_function(checker: Checker, symbol: Symbol) -> Lowered:
    """A `fn` or `fed` function."""
    checked = _checked(checker, symbol)
    lower = Lowerer(checker, lower_primitive)
    signature = checker.signature(symbol, checked.declaration.span)
    assert signature is not None and isinstance(signature.type, FunctionType)
    if signature.parameters:
        raise DiagnosticError(errors.no_entry(symbol.name, "it has type parameters, which nothing here gives"))
    parameters = tuple(
        (p.name, kind.type) for p, kind in zip(checked.parameters, signature.type.parameters, strict=True)
    )
    arguments = _inputs(lower, symbol.name, parameters)
    env = lower.environment(checked.solution, NO_TYPES)
    lower.bind_parameters(checked, NO_TYPES, arguments, env)
    if isinstance(checked.body, BlockOf):
        value = lower.block(checked.body, env)
    else:  # an `extern` has no body
        value = lower.apply(Declared(symbol, NO_TYPES), arguments)
    return Lowered(_finish(lower, symbol.name, value), (), parameters, signature.type.result)


def method_names(checker: Checker, symbol: Symbol) -> tuple[str, ...]:
    """The methods of a process."""
    checked = _checked(checker, symbol)
    assert isinstance(checked.type, RecordType)
    return tuple(name for name, _ in checked.type.fields)


def lower_method(checker: Checker, symbol: Symbol, method: str) -> Lowered:
    """One method of a process."""
    checked = _checked(checker, symbol)
    signature = checker.signature(symbol, checked.declaration.span)
    if signature is None or not isinstance(checked.type, RecordType):
        raise DiagnosticError(errors.no_entry(symbol.name, "it is no process"))
    if signature.parameters:
        raise DiagnosticError(
            errors.no_entry(symbol.name, "it has type parameters: give them in a process of your own")
        )
    lower = Lowerer(checker, lower_primitive)
    settings = tuple((bound.name, bound.type) for bound in checked.parameters)
    given = _inputs(lower, symbol.name, settings)
    env = lower.environment(checked.solution, NO_TYPES)
    lower.bind_parameters(checked, NO_TYPES, given, env)
    if isinstance(checked.body, tuple):
        made = lower.process(checked, NO_TYPES, env)
    else:
        assert checked.body is not None
        made = lower.block(checked.body, env)
    assert isinstance(made, RecordValue), "a process is a record of functions"
    type = checked.type.field(method)
    if method not in made.fields or not isinstance(type, FunctionType):
        raise DiagnosticError(errors.no_entry(symbol.name, f"it has no method `{method}`"))
    function = made.fields[method]
    names = [p.name for p in function.parameters] if isinstance(function, Closure) else [""] * len(type.parameters)
    parameters = tuple((name, kind.type) for name, kind in zip(names, type.parameters, strict=True))
    value = lower.apply(function, _inputs(lower, symbol.name, parameters))
    return Lowered(_finish(lower, symbol.name, value), settings, parameters, type.result)


def lower_test(checker: Checker, test: CheckedTest) -> Graph:
    """A test: a local graph whose effects are its expectations."""
    lower = Lowerer(checker, lower_primitive)
    lower.simulate = simulate
    value = lower.block(test.body, lower.environment(test.solution, NO_TYPES))
    return _finish(lower, test.title, value)


def _checked(checker: Checker, symbol: Symbol) -> Checked:
    checked = checker.checked(symbol)
    if checked is None:
        raise DiagnosticError(errors.broken(None, symbol.name))
    return checked


def _inputs(lower: Lowerer, name: str, parameters: tuple[tuple[str, Type], ...]) -> tuple[Value, ...]:
    for parameter, type in parameters:
        if has_function(type):
            raise DiagnosticError(errors.no_entry(name, f"its parameter `{parameter}` is a function"))

    def make(parameter: str, slot: LeafSlot) -> Leaf:
        level = lower.level
        return Leaf(level, level.builder.parameter(slot.type, name=f"{parameter}{slot.path}", place=slot.place))

    return tuple(make_input(type, lambda slot, n=n: make(n, slot)) for n, type in parameters)  # type: ignore[misc]


def _finish(lower: Lowerer, name: str, value: Value) -> Graph:
    if not is_data(value):
        raise DiagnosticError(errors.no_entry(name, "its result holds functions"))
    return lower.level.builder.finish(tuple(lower.level.own(leaf) for leaf in leaves_of(value)))


def lower_default(checker: Checker, checked: Checked, index: int) -> Graph | None:
    """The default of a parameter as a graph without inputs; None where it has none."""
    default = checked.defaults[index]
    if default is None:
        return None
    lower = Lowerer(checker, lower_primitive)
    value = lower.evaluate(default.value, lower.environment(default.solution, NO_TYPES))
    return _finish(lower, checked.parameters[index].name, value)
