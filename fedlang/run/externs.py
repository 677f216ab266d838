"""Python functions that programs call by name (`extern` nodes).

A process-wide table: what a program names is looked up when it runs.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fedlang.run.errors import unknown_extern
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


_registered: dict[str, Extern] = {}


def register_extern(handle: str, function: Extern) -> None:
    """Gives a function its name; a later function of that name takes its place."""
    _registered[handle] = function


def find_extern(handle: str, span: Span | None = None) -> Extern:
    """The function of that name. `DiagnosticError` FED0604 where there is none."""
    if handle not in _registered:
        raise unknown_extern(handle, tuple(_registered), span)
    return _registered[handle]
