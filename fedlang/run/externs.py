"""Python functions that programs call by name (`extern` nodes).

A process-wide table: what a program names is looked up when it runs. What is registered stays; what is `Lent` is there
as long as whoever needs it, so that a model that was tried is not kept for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable
from weakref import WeakValueDictionary

from fedlang.ir.graph import Graph
from fedlang.run.errors import extern_without_call, no_derivative, unknown_extern
from fedlang.run.sequences import Array
from fedlang.source import Span


@runtime_checkable
class Extern(Protocol):
    """A function from Python.

    `call` takes one array for each argument leaf, gives one array or a tuple of the result leaves.
    """

    def call(self, *arrays: Array) -> Array | tuple[Array, ...]:
        """The function's results."""
        ...


@runtime_checkable
class Differentiable(Extern, Protocol):
    """A function with a vector-Jacobian product."""

    def vjp(self, *arrays: Array) -> tuple[Array, ...]:
        """The derivatives by each argument leaf of floats.

        `arrays` are the argument leaves and, for each result leaf of floats, the derivative by it (its cotangent).
        """
        ...


_registered: dict[str, Extern] = {}
_lent: WeakValueDictionary[str, Extern] = WeakValueDictionary()


class Lent:
    """Functions that have names as long as this is held: by the model they are of, and the programs made of it."""

    def __init__(self) -> None:
        self._functions: list[Extern] = []

    def register(self, handle: str, function: Extern) -> None:
        """Gives a function its name."""
        self._functions.append(function)
        _lent[handle] = function


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Plain:
    """A Python function, as what is registered."""

    call: Callable[..., Array | tuple[Array, ...]]


def register_extern(handle: str, function: Extern | Callable[..., Array | tuple[Array, ...]]) -> None:
    """Gives a function its name; a later function of that name takes its place.

    A Python function of arrays is taken as it is. `DiagnosticError` FED0609 for what cannot be called.
    """
    given = (
        Plain(function)
        if callable(function) and not isinstance(function, type) and not hasattr(function, "call")
        else function
    )
    if isinstance(given, type) or not callable(getattr(given, "call", None)):
        raise extern_without_call(handle, _kind(function))
    _registered[handle] = given


def _kind(function: object) -> str:
    name = getattr(function, "__name__", "") if isinstance(function, type) else ""
    return f"the class `{name}`" if name else f"{function!r:.60}"


def find_extern(handle: str, span: Span | None = None) -> Extern:
    """The function of that name. `DiagnosticError` FED0604 where there is none."""
    function = _named(handle)
    if function is None:
        raise unknown_extern(handle, (*_registered, *_lent), span)
    return function


def _named(handle: str) -> Extern | None:
    return _registered.get(handle) or _lent.get(handle)


def find_vjp(handle: str, span: Span | None = None) -> Differentiable:
    """The function of that name, where a derivative goes through it. `DiagnosticError` FED0607 if it has none."""
    function = find_extern(handle, span)
    if not isinstance(function, Differentiable):
        raise no_derivative(handle, span)
    return function


def is_registered(handle: str) -> bool:
    """Whether there is a function of that name."""
    return _named(handle) is not None


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """The functions that a graph calls: what is compiled from it holds as long as they are registered."""

    functions: dict[str, Extern | None]

    @staticmethod
    def by(graph: Graph) -> Called:
        """The functions as they are now, those of the graphs inside too; None where there is none of that name."""
        return Called({handle: _named(handle) for handle in _handles(graph)})

    def are_registered(self) -> bool:
        """Whether the names still stand for the same functions."""
        return all(_named(handle) is function for handle, function in self.functions.items())


def _handles(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op in ("extern", "extern_vjp"):
            yield str(node.attribute("handle"))
        for body in node.bodies:
            yield from _handles(body)
