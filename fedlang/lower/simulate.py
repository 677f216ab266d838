"""Federated calls inside tests: a test is the driver, so it holds every client's value at once.

A call with clients' values is made once for each client; a movement becomes arithmetic over the clients' values, in
float64, rounded once. A test's clients are few and written out, so nothing here is a loop of the graph. What a round
means on real clients is `run/rounds.py`; this is its picture in one local graph.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce as fold

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Tensor
from fedlang.lower import errors
from fedlang.lower.evaluate import Lowerer
from fedlang.lower.primitives import cast
from fedlang.lower.values import (
    Closure,
    Declared,
    Leaf,
    PerClient,
    Value,
    clients_in,
    leaves_of,
    of_client,
    rebuild,
)
from fedlang.syntax import tree
from fedlang.types.dtypes import FLOATS
from fedlang.types.types import Type

Arguments = tuple[Value | None, ...]


def simulate(lower: Lowerer, function: Value, arguments: Arguments, spread: tuple[bool, ...], result: Type) -> Value:
    """A call with clients' values in a test."""
    if isinstance(function, Declared):
        checked = lower.declarations.checked(function.symbol)
        if checked is not None and isinstance(checked.declaration, tree.PrimitiveDeclaration):
            if checked.declaration.group.text == "movement":
                return _movement(lower, function.symbol.name, arguments)
        elif checked is not None and _is_federated(checked.declaration):
            return lower.apply(function, arguments, spread, result)
    if isinstance(function, Closure) and function.name:  # a method of a process
        return lower.apply(function, arguments, spread, result)
    everything = [value for value in (function, *arguments) if value is not None]
    count = max(clients_in(value, -1) for value in everything)
    return PerClient(tuple(_one(lower, function, arguments, spread, result, client) for client in range(count)))


def _is_federated(declaration: object) -> bool:
    return isinstance(declaration, tree.FunctionDeclaration) and declaration.kind == "fed"


def _one(
    lower: Lowerer, function: Value, arguments: Arguments, spread: tuple[bool, ...], result: Type, client: int
) -> Value:
    own = tuple(None if value is None else of_client(value, client) for value in arguments)
    return lower.apply(of_client(function, client), own, spread, result)


def _movement(lower: Lowerer, name: str, arguments: Arguments) -> Value:
    value = arguments[0]
    assert value is not None, "a movement moves something"
    count = clients_in(value)
    clients = [of_client(value, client) for client in range(count)]
    if name not in _MOVEMENTS or not clients:
        raise DiagnosticError(errors.not_in_tests(lower.level.builder.span, name))
    return _MOVEMENTS[name](lower, clients, arguments)


def _leafwise(clients: list[Value], function: Callable[[list[Leaf]], Leaf]) -> Value:
    columns = zip(*(leaves_of(client) for client in clients), strict=True)
    return rebuild(clients[0], iter([function(list(column)) for column in columns]))


def _added(lower: Lowerer, leaves: list[Leaf]) -> Leaf:
    return fold(lambda a, b: lower.emit("add", (a, b), a.type), leaves)


def _wide(lower: Lowerer, leaf: Leaf) -> Leaf:
    return cast(lower, leaf, "float64") if _dtype(leaf) in FLOATS else leaf


def _dtype(leaf: Leaf) -> str:
    assert isinstance(leaf.type, Tensor), "a movement moves tensors"
    return leaf.type.dtype


def _sum(lower: Lowerer, clients: list[Value], arguments: Arguments) -> Value:
    return _leafwise(
        clients, lambda column: cast(lower, _added(lower, [_wide(lower, leaf) for leaf in column]), _dtype(column[0]))
    )


def _mean(lower: Lowerer, clients: list[Value], arguments: Arguments) -> Value:
    given = arguments[1] if len(arguments) > 1 else None
    one = lower.constant(1.0, "float64")
    weights = [one if given is None else _wide(lower, _leaf(of_client(given, k))) for k in range(len(clients))]
    total = _added(lower, weights)

    def column_mean(column: list[Leaf]) -> Leaf:
        kind = column[0].type
        assert isinstance(kind, Tensor), "a mean is of tensors"
        wide = Tensor("float64", kind.shape)
        parts = [
            lower.emit("multiply", (_wide(lower, leaf), lower.broadcast(weight, kind.shape)), wide)
            for leaf, weight in zip(column, weights, strict=True)
        ]
        mean = lower.emit("divide", (_added(lower, parts), lower.broadcast(total, kind.shape)), wide)
        return cast(lower, mean, kind.dtype)

    return _leafwise(clients, column_mean)


def _leaf(value: Value) -> Leaf:
    assert isinstance(value, Leaf), "a weight is one number"
    return value


def _extreme(op: str) -> Callable[[Lowerer, list[Value], Arguments], Value]:
    def rule(lower: Lowerer, clients: list[Value], arguments: Arguments) -> Value:
        return _leafwise(clients, lambda column: fold(lambda a, b: lower.emit(op, (a, b), a.type), column))

    return rule


_MOVEMENTS: dict[str, Callable[[Lowerer, list[Value], Arguments], Value]] = {
    "federated_sum": _sum,
    "federated_secure_sum": _sum,
    "federated_mean": _mean,
    "federated_min": _extreme("minimum"),
    "federated_max": _extreme("maximum"),
}
