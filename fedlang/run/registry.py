"""Executors by name, loaded when first asked for: TensorFlow costs nothing until a program runs on it.

A name is one of those below, or an entry point of the group `fedlang.executors` (a class or function that makes an
executor). Entry points of the same name do not replace the executors that come with fedlang. Options are what an
executor is made with, by name, such as the `strategy` of `batched`.

Where nobody has chosen, programs run on `batched` if TensorFlow is loaded already, as it is where a Keras model or a
`tf.data.Dataset` comes from, and otherwise on `reference`, which starts at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature

from fedlang.diagnostics import DiagnosticError
from fedlang.run.errors import bad_option, executor_unavailable, no_such_option, unknown_executor
from fedlang.run.executor import Executor

GROUP = "fedlang.executors"
EXECUTORS = {
    "reference": "fedlang.executors.reference:ReferenceExecutor",
    "threaded": "fedlang.executors.threaded:ThreadedExecutor",
    "batched": "fedlang.executors.batched:BatchedExecutor",
}

Options = tuple[tuple[str, object], ...]
Choice = tuple[str, Options]

_loaded: dict[Choice, Executor] = {}
_default: Choice | None = None
_chosen: ContextVar[Choice | None] = ContextVar("executor", default=None)


def executor_names() -> tuple[str, ...]:
    """Every name that `get_executor` knows."""
    return (*EXECUTORS, *(name for name in _plugins() if name not in EXECUTORS))


def get_executor(name: str | None = None, **options: object) -> Executor:
    """The executor of that name, the same object each time for the same options; without a name, the one in force.

    `DiagnosticError` FED0605 for a name that there is none of, FED0606 for one that cannot be made, FED0625 for
    an option that it does not have, FED0626 for a value that an option does not take.
    """
    choice = _in_force() if name is None else _choice(name, options)
    if choice not in _loaded:
        _loaded[choice] = _load(*choice)
    return _loaded[choice]


def set_default_executor(name: str, **options: object) -> None:
    """The executor in force where no `executor(…)` block says otherwise.

    It is loaded now, so a wrong name or option shows here.
    """
    global _default
    get_executor(name, **options)
    _default = _choice(name, options)


@contextmanager
def executor(name: str, **options: object) -> Iterator[Executor]:
    """Inside the block, in this thread or task, this executor is the one in force."""
    found = get_executor(name, **options)
    token = _chosen.set(_choice(name, options))
    try:
        yield found
    finally:
        _chosen.reset(token)


def _in_force() -> Choice:
    """The block's, or the default that was set, or what suits a process in which TensorFlow is loaded or is not."""
    is_loaded = sys.modules.get("tensorflow") is not None
    return _chosen.get() or _default or ("batched" if is_loaded else "reference", ())


def _choice(name: str, options: Mapping[str, object]) -> Choice:
    """The name and the options in one order. Executors are kept by them, so no value may be one that can change."""
    for option, value in options.items():
        try:
            hash(value)
        except TypeError:
            raise bad_option(name, option, value, "a value that cannot change, such as a number or a tuple") from None
    return name, tuple(sorted(options.items()))


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(name: str, options: Options = ()) -> Executor:
    try:
        make = _find(name)
        _check_options(name, make, options)
        made: object = make(**dict(options))  # type: ignore[operator]
    except DiagnosticError:
        raise
    except ImportError as error:
        raise executor_unavailable(name, str(error), _package(name)) from error
    except Exception as error:  # whatever a package of someone else's raises
        raise executor_unavailable(name, f"{type(error).__name__}: {error}", _package(name)) from error
    if not isinstance(made, Executor):
        raise executor_unavailable(name, f"{type(made).__name__} is no executor", _package(name))
    return made


def _package(name: str) -> str:
    """The installed package that an executor comes from; "" for those of fedlang."""
    point = None if name in EXECUTORS else _plugins().get(name)
    return "" if point is None or point.dist is None else point.dist.name


def _check_options(name: str, make: object, options: Options) -> None:
    """`make` takes them by name; `name` and what begins with an underscore are its own."""
    if options:
        known = [each for each in signature(make).parameters if each != "name" and not each.startswith("_")]  # type: ignore[arg-type]
        for option, _ in options:
            if option not in known:
                raise no_such_option(name, option, known)


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
