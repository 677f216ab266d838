"""`@fl.federated_computation`, `@fl.local_computation` and `@fl.tf_computation`: programs written in Python."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from fedlang.diagnostics import DiagnosticError, Label
from fedlang.embed import errors
from fedlang.embed.computations import ClientState, Computation
from fedlang.embed.constructors import to_type, type_of_value
from fedlang.embed.declaring import declare
from fedlang.embed.intrinsics import to_value
from fedlang.embed.places import caller_span, span_of
from fedlang.embed.tensorflow import extern_of
from fedlang.embed.traces import Declared, active_trace, current_trace
from fedlang.embed.tracing import Traced, call
from fedlang.embed.values import with_bytes
from fedlang.modules import Modules
from fedlang.pipeline import Entry, Unit, open_module
from fedlang.source import Source, Span
from fedlang.syntax.tree import Allow, Module, Name
from fedlang.types.types import Printed, RecordType, TupleType, Type, print_type, unplaced

_numbers = count(1)
NAMES = {"fed": "federated_computation", "fn": "local_computation", "extern": "tf_computation"}


class PythonComputation(Declared, Computation):
    """A computation written in Python. Inside another one, calling it makes it a part of that."""

    def __init__(
        self, declared: Declared, name: str, kind: str, function: Callable[..., Any], allow: tuple[str, ...] = ()
    ) -> None:
        Declared.__init__(self, declared.declaration, declared.uses, declared.declared_name)
        Computation.__init__(self, name, self._module)
        self.kind = kind
        self.function = function
        self.allow = allow
        self.__name__ = name
        self.__doc__ = inspect.getdoc(function)
        self.__signature__ = inspect.signature(function)

    def _module(self) -> tuple[Unit, Entry]:
        """A module with the declaration and all that it needs."""
        span = self.declaration.span
        allowed = tuple(Allow(Name(word, span), span) for word in self.allow)
        module = Module(Source(self.name, ""), (*allowed, *self.all().values()), "")
        unit = open_module(module, Modules())
        unit.verify()
        return unit, Entry(self.declared_name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if self.kind == "extern" and _inside_tensorflow():
            return self.function(*args, **kwargs)
        if trace is not None:
            trace.use(self)
            return call(trace, self.declared_name, args, kwargs)
        return Computation.__call__(self, *args, **kwargs)

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, **how: Any) -> Any:
        """A call; text comes back as bytes, as from TensorFlow, and what all clients share as one value."""
        try:
            found = Computation.run(self, args, kwargs, **how)
        except DiagnosticError as wrong:
            raise _at(caller_span(), wrong) from None
        if self.kind == "fn":
            return found
        return with_bytes(found.shared if isinstance(found, ClientState) and found.is_shared else found)


class PolymorphicComputation:
    """A function without types: each call takes those of its arguments.

    Inside a traced program its body becomes a part of that program. `typed` makes it a computation.
    """

    def __init__(self, kind: str, function: Callable[..., Any], allow: tuple[str, ...]) -> None:
        self.kind = kind
        self.traced_function = function
        self.__name__ = self.name = _plain_name(function)
        self.__doc__ = inspect.getdoc(function)
        self.__signature__ = inspect.signature(function)
        self._allow = allow
        self._made: dict[tuple[str, ...], PythonComputation] = {}

    def typed(self, *types: Any) -> PythonComputation:
        """The computation for arguments of these types."""
        given = _types(self.traced_function, types)
        key = tuple(str(each) for each in given)
        if key not in self._made:
            self._made[key] = _computation(self.kind, self.traced_function, given, self._allow)
        return self._made[key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if self.kind == "extern" and _inside_tensorflow():
            return self.traced_function(*args, **kwargs)
        if trace is not None and self.kind != "extern":
            return to_value(self.traced_function(*args, **kwargs))
        bound = self._bind(args, kwargs)
        if trace is None:
            return self.typed(*(type_of_value(self.name, each) for each in bound))(*bound)
        return self.typed(*(unplaced(to_value(each).type_signature) for each in bound))(*bound)

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        try:
            bound = self.__signature__.bind(*args, **kwargs)
        except TypeError as wrong:
            raise errors.wrong_call(self.name, str(wrong), caller_span()) from None
        return tuple(bound.arguments.values())

    def __repr__(self) -> str:
        return f"<{self.name}: a function without types>"


def _inside_tensorflow() -> bool:
    """Whether TensorFlow is tracing a function of its own."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and hasattr(tensorflow, "inside_function") and tensorflow.inside_function()


def _decorator(kind: str, given: tuple[Any, ...], allow: str | tuple[str, ...]) -> Any:
    """A decorator with types; or, with a function first, the computation itself."""
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    if given and _is_function(given[0]):
        return _made(kind, given[0], given[1:], allowed)
    return lambda function: _made(kind, function, given, allowed)


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type | str | Printed)


def _made(
    kind: str, function: Callable[..., Any], types: tuple[Any, ...], allow: tuple[str, ...]
) -> PythonComputation | PolymorphicComputation:
    if not _is_function(function):
        raise errors.wrong_call(NAMES[kind], f"a {type(function).__name__} is no function", caller_span())
    plain = getattr(function, "python_function", function)  # a `tf.function` is made again where it runs
    if not types and inspect.signature(plain).parameters:
        return PolymorphicComputation(kind, plain, allow)
    return _computation(kind, plain, _types(plain, types), allow)


def _computation(
    kind: str, function: Callable[..., Any], types: tuple[str | Type, ...], allow: tuple[str, ...]
) -> PythonComputation:
    name = _plain_name(function)
    unique = f"{name}_{next(_numbers)}"
    if kind == "extern":
        try:
            made = extern_of(function, tuple(str(each) for each in types), unique)
        except DiagnosticError as wrong:
            raise _at(span_of(function) or caller_span(), wrong) from None
    else:
        made = declare(kind, function, types, unique, allow)
    computation = PythonComputation(made, name, kind, function, allow)
    if kind != "extern":
        _ = computation.compiled  # mistakes are told where the function is written, not where it is called
    return computation


def _at(span: Span, wrong: DiagnosticError) -> DiagnosticError:
    """The same mistakes, those without a place at this one."""
    place = (Label(span),)
    return DiagnosticError(*(each if each.labels else each.replace(labels=place) for each in wrong.diagnostics))


def _plain_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    return name if name.isidentifier() else "computation"


def _types(function: Callable[..., Any], types: tuple[Any, ...]) -> tuple[str | Type, ...]:
    """A type for each parameter; text stays text, so that its mistakes can be shown.

    One structure for several parameters is taken apart; several types for one parameter become a tuple.
    """
    names = list(inspect.signature(function).parameters)
    if len(types) == 1 and len(names) > 1 and not isinstance(types[0], str):
        types = _parts(to_type(types[0]), names) or types
    elif len(names) == 1 and len(types) > 1:
        types = (TupleType(tuple(to_type(each) for each in types)),)
    return tuple(each if isinstance(each, str) else to_type(each) for each in types)


def _parts(type: Type, names: list[str]) -> tuple[Type, ...] | None:
    match type:
        case TupleType(items) if len(items) == len(names):
            return items
        case RecordType(fields) if {name for name, _ in fields} == set(names):
            return tuple(dict(fields)[name] for name in names)
        case _:
            return None


def federated_computation(*types: Any, allow: str | tuple[str, ...] = ()) -> Any:
    """Makes a `fed` function of a Python one.

    `types` are the parameters' types: text (`"<float32>@CLIENTS"`), or whatever `fl.to_type` takes. Without them, a
    function with parameters takes the types of its arguments at each call. The function may come first:
    `federated_computation(function, *types)`.

    The body is traced once: it may use `fl.federated_*`, `fl.sequence_*`, `fl.language.*`, arithmetic, fields, and
    other computations. `allow="collect"` lets it use `fl.federated_collect`. Text comes back as bytes.
    Raises `DiagnosticError` where the program it makes is wrong, with the Python line.
    """
    return _decorator("fed", types, allow)


def local_computation(*types: Any) -> Any:
    """Makes a `fn` of a Python function, traced as by `federated_computation`: local code that every executor runs."""
    return _decorator("fn", types, ())


def tf_computation(*types: Any) -> Any:
    """Makes an `extern fn` of a function of TensorFlow tensors.

    `types` are local types: text (`"float32[?, 784]"`), or whatever `fl.to_type` takes.
    """
    return _decorator("extern", types, ())


class Operation:
    """A function of the language, to be called inside a traced program.

    `fl.language.cast[np.float32](x)` gives it a dtype where its arguments do not tell.
    """

    def __init__(self, name: str, dtypes: tuple[str, ...] = ()) -> None:
        self.__name__ = name
        self._dtypes = dtypes

    def __getitem__(self, dtypes: Any) -> Operation:
        given = dtypes if isinstance(dtypes, tuple) else (dtypes,)
        return Operation(self.__name__, tuple(print_type(to_type(each)) for each in given))

    def __call__(self, *args: Any, **kwargs: Any) -> Traced:
        return call(active_trace(self.__name__), self.__name__, args, kwargs, self._dtypes)

    def __repr__(self) -> str:
        return f"<operation {self.__name__}>"


class _Language:
    """The functions of the language's prelude, for traced programs: `fl.language.reduce_sum(x, axis=0)`."""

    def __getattr__(self, name: str) -> Operation:
        if name.startswith("__"):
            raise AttributeError(name)
        return Operation(name)


operation = Operation
language = _Language()

__all__ = [
    "PolymorphicComputation",
    "PythonComputation",
    "federated_computation",
    "language",
    "local_computation",
    "operation",
    "tf_computation",
]
