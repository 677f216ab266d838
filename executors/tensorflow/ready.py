"""Works made ready, found again for the same graph as long as anybody holds them.

An executor lives as long as Python does. If it held what it made, every program that was ever run would stay, with
TensorFlow's own copies of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from fedlang.ir.graph import Graph
from fedlang.run.externs import Called


class Made(Protocol):
    """A work made ready: it holds its graph, and the functions from Python that it was compiled with."""

    @property
    def graph(self) -> Graph:
        """The graph as it came: while it is held no other has its `id`."""
        ...

    @property
    def called(self) -> Called:
        """The functions."""
        ...


W = TypeVar("W", bound=Made)


class Ready(Generic[W]):
    """The works of one executor that anybody holds."""

    def __init__(self) -> None:
        self._made: WeakValueDictionary[tuple[int, tuple[bool, ...]], W] = WeakValueDictionary()

    def get(self, graph: Graph, varies: tuple[bool, ...], make: Callable[[], W]) -> W:
        """The graph's work; made where there is none, or where a function that it calls was registered anew."""
        key = (id(graph), varies)
        known = self._made.get(key)
        if known is None or not known.called.are_registered():
            known = self._made[key] = make()
        return known

    def works(self) -> tuple[W, ...]:
        """All that are there, in the order in which they were made."""
        return tuple(self._made.values())
