"""Executors by name, loaded when first asked for: TensorFlow costs nothing until a program runs on it.

A name is one of those below, or an entry point of the group `fedlang.executors` (a class or function that makes an
executor). Entry points of the same name do not replace the executors that come with fedlang.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from fedlang.run.errors import executor_unavailable, unknown_executor
from fedlang.run.executor import Executor

GROUP = "fedlang.executors"
EXECUTORS = {
    "reference": "fedlang.executors.reference:ReferenceExecutor",
    "threaded": "fedlang.executors.threaded:ThreadedExecutor",
    "batched": "fedlang.executors.batched:BatchedExecutor",
}

_loaded: dict[str, Executor] = {}
_default = "reference"
_chosen: ContextVar[str | None] = ContextVar("executor", default=None)


def executor_names() -> tuple[str, ...]:
    """Every name that `get_executor` knows."""
    return (*EXECUTORS, *(name for name in _plugins() if name not in EXECUTORS))


def get_executor(name: str | None = None) -> Executor:
    """The executor of that name, the same object each time; without a name, the one in force.

    `DiagnosticError` FED0605 for a name that there is none of, FED0606 for one that cannot be imported.
    """
    name = name or _chosen.get() or _default
    if name not in _loaded:
        _loaded[name] = _load(name)
    return _loaded[name]


def set_default_executor(name: str) -> None:
    """The executor in force where no `executor(…)` block says otherwise.

    It is loaded now, so a wrong name shows here.
    """
    global _default
    get_executor(name)
    _default = name


@contextmanager
def executor(name: str) -> Iterator[Executor]:
    """Inside the block, in this thread or task, this executor is the one in force."""
    found = get_executor(name)
    token = _chosen.set(name)
    try:
        yield found
    finally:
        _chosen.reset(token)


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(name: str) -> Executor:
    try:
        made: object = _find(name)()  # type: ignore[operator]
    except ImportError as error:
        raise executor_unavailable(name, str(error)) from error
    if not isinstance(made, Executor):
        raise executor_unavailable(name, f"{type(made).__name__} is no executor")
    return made


def _find(name: str) -> object:
    if name in EXECUTORS:
        module, _, attribute = EXECUTORS[name].partition(":")
        found: object = getattr(import_module(module), attribute)
        return found
    plugins = _plugins()
    if name not in plugins:
        raise unknown_executor(name, executor_names())
    loaded: object = plugins[name].load()
    return loaded
