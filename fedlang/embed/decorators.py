"""`@fl.federated_computation`, `@fl.local_computation` and `@fl.tf_computation`: programs written in Python."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from fedlang.embed import errors
from fedlang.embed.computations import Computation
from fedlang.embed.tensorflow import extern_of
from fedlang.embed.tracing import Declared, Traced, call, declare, trace_of
from fedlang.modules import Modules
from fedlang.pipeline import Compiled, Entry, compile_entry, open_module
from fedlang.source import Source
from fedlang.syntax.tree import Module

_numbers = count(1)


class PythonComputation(Declared, Computation):
    """A computation written in Python. Inside another one, calling it makes it a part of that."""

    def __init__(self, declared: Declared, name: str) -> None:
        Declared.__init__(self, declared.declaration, declared.uses, declared.declared_name)
        Computation.__init__(self, name, self._compile_declared)

    def _compile_declared(self) -> Compiled:
        module = Module(Source(self.name, ""), tuple(self.all().values()), "")
        unit = open_module(module, Modules())
        unit.verify()
        return compile_entry(unit, Entry(self.declared_name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if trace_of((*args, *kwargs.values())) is not None:
            return self.traced_call(args, kwargs)
        return Computation.__call__(self, *args, **kwargs)


Decorator = Callable[[Callable[..., Any]], PythonComputation]


def _decorator(kind: str, types: tuple[Any, ...]) -> Any:
    """A decorator with types, or (for functions without parameters) one without brackets."""
    if len(types) == 1 and callable(types[0]) and not isinstance(types[0], str):
        return _computation(kind, types[0], ())
    for type in types:
        if not isinstance(type, str):
            raise errors.wrong_call("the decorator", f"types are text in the language's notation, not {type!r:.60}")
    return lambda function: _computation(kind, function, types)


def _computation(kind: str, function: Callable[..., Any], types: tuple[str, ...]) -> PythonComputation:
    name = function.__name__ if function.__name__.isidentifier() else "computation"
    unique = f"{name}_{next(_numbers)}"
    make = extern_of if kind == "extern" else lambda f, t, n: declare(kind, f, t, n)
    computation = PythonComputation(make(function, types, unique), name)
    if kind != "extern":
        _ = computation.compiled  # mistakes are told where the function is written, not where it is called
    return computation


def federated_computation(*types: Any) -> Any:
    """Makes a `fed` function of a Python one. `types` are the parameters' types, as text: `"<float32>@CLIENTS"`.

    The body is traced once: it may use `fl.federated_*`, `fl.language.*`, arithmetic, fields, and other computations.
    Raises `DiagnosticError` where the program it makes is wrong, with the Python line.
    """
    return _decorator("fed", types)


def local_computation(*types: Any) -> Any:
    """Makes a `fn` of a Python function, traced as by `federated_computation`: local code that every executor runs."""
    return _decorator("fn", types)


def tf_computation(*types: Any) -> Any:
    """Makes an `extern fn` of a function of TensorFlow tensors.

    `types` are local types, as text: `"float32[?, 784]"`.
    """
    return _decorator("extern", types)


class _Language:
    """The functions of the language's prelude, for traced programs: `fl.language.reduce_sum(x, axis=0)`."""

    def __getattr__(self, name: str) -> Callable[..., Traced]:
        if name.startswith("__"):
            raise AttributeError(name)
        return operation(name)


def operation(name: str) -> Callable[..., Traced]:
    """A function of the language, to be called inside a traced program."""

    def write(*args: Any, **kwargs: Any) -> Traced:
        trace = trace_of((*args, *kwargs.values()))
        if trace is None:
            raise errors.wrong_call(name, "it is called inside a traced program, on traced values")
        return call(trace, name, args, kwargs)

    write.__name__ = name
    return write


language = _Language()
