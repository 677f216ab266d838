"""Values of a program that is being traced, and Python values as expressions beside them.

What is done with a `Traced` is written down as expressions of the language, each in a `let` of its own. Functions that
are given as arguments are traced the same way, to function values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fedlang.embed import errors
from fedlang.embed.places import (
    argument_spans,
    caller_span,
    line_span,
    operand_spans,
    span_of,
)
from fedlang.embed.signatures import part_names, type_of
from fedlang.embed.traces import Declared, Trace, active_trace, current_trace
from fedlang.embed.ufuncs import OPERATIONS
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.types import Type

LARGEST = 10_000
"""Elements of an array that is written into a program as numbers."""


class Traced:
    """A value of the program that is being traced. Arithmetic, fields and calls work as in the language.

    Fields are attributes or items (`x.loss`, `x["loss"]`); a tuple also has numbers, and unpacks.
    """

    __slots__ = ("_expression", "_trace")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, trace: Trace, expression: tree.Expression) -> None:
        self._trace = trace
        self._expression = expression

    @property
    def type_signature(self) -> Type:
        """The type, as far as it can be told: that of a value inside a function value is known to its caller alone."""
        return type_of(self._trace, self._expression)

    def _let(self, make: Callable[[Span], tree.Expression]) -> Traced:
        return let(active_trace("a traced value"), make(caller_span()))

    def __getattr__(self, name: str) -> Traced:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._let(lambda span: tree.FieldAccess(self._expression, tree.Name(name, span), span))

    def __getitem__(self, index: Any) -> Traced:
        span = caller_span()
        if isinstance(index, str):
            return self._let(lambda span: tree.FieldAccess(self._expression, tree.Name(index, span), span))
        if isinstance(index, int) and self._trace.parent is None:
            parts = self._parts(span)
            if parts is not None:
                return _part(parts, index, self._trace.name, span)
        items = index if isinstance(index, tuple) else (index,)
        trace = active_trace("a traced value")
        return let(trace, tree.Index(self._expression, tuple(_index(trace, item, span) for item in items), span))

    def _parts(self, span: Span) -> list[Traced] | None:
        """The parts of a tuple, or of a record in the order of its fields; None for anything else."""
        names = part_names(self.type_signature)
        if names is None:
            return None
        if isinstance(names, tuple):
            return [self[name] for name in names]
        trace = active_trace("a traced value")
        parts = [trace.fresh_name(span) for _ in range(names)]
        pattern = tree.TuplePattern(tuple(tree.NamePattern(name, span) for name in parts), span)
        trace.statements.append(tree.Let(pattern, None, self._expression, span))
        return [Traced(trace, tree.Variable(name, span)) for name in parts]

    def __iter__(self) -> Iterator[Traced]:
        span = caller_span()
        parts = self._parts(span) if self._trace.parent is None else None
        if parts is None:
            raise errors.not_traced(
                self._trace.name,
                "a traced value cannot be looped over in Python",
                "use `fl.sequence_reduce`, or `fold` in a `.fed` file",
                span,
            )
        return iter(parts)

    def __bool__(self) -> bool:
        raise errors.not_traced(
            self._trace.name,
            "a traced value has no truth in Python",
            "use `fl.language.where` instead of `if`",
            caller_span(),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Traced:
        span, trace = caller_span(), active_trace("a traced value")
        return let(trace, tree.Call(self._expression, _arguments(trace, args, kwargs, span), span))

    def __neg__(self) -> Traced:
        return self._let(lambda span: tree.Unary("-", self._expression, span))

    def __invert__(self) -> Traced:
        return self._let(lambda span: tree.Unary("not", self._expression, span))

    def _binary(self, operator: str, left: Any, right: Any) -> Traced:
        span, trace = caller_span(), active_trace("a traced value")
        places = operand_spans(span)
        a, b = (expression_of(trace, value, place) for value, place in zip((left, right), places, strict=True))
        return let(trace, tree.Binary(operator, a, b, span, span))

    def __pow__(self, exponent: Any) -> Traced:
        return call(active_trace("pow"), "pow", (self, exponent), {})

    def __rpow__(self, base: Any) -> Traced:
        return call(active_trace("pow"), "pow", (base, self), {})

    def __abs__(self) -> Traced:
        return call(active_trace("abs"), "abs", (self,), {})

    def __array_ufunc__(self, function: Any, method: str, *values: Any, **more: Any) -> Traced:
        """A function of NumPy: the operation of the language that it is, so that arrays and traced values meet."""
        name = OPERATIONS.get(function.__name__)
        if name is None or method != "__call__" or more:
            hint = "use the operations of the language: `fl.language.…`"
            note = f"`np.{function.__name__}` is none of the language, or has options"
            raise errors.not_traced(self._trace.root.name, note, hint, caller_span())
        return call(active_trace(name), name, values, {})

    def __repr__(self) -> str:
        return f"<a value of {self._trace.name}>"


def _part(parts: list[Traced], index: int, name: str, span: Span) -> Traced:
    if not -len(parts) <= index < len(parts):
        raise errors.wrong_call(name, f"there is no part {index} of {len(parts)}", span)
    return parts[index]


def _operators() -> None:
    """Gives `Traced` the operators of the language."""
    table = {
        "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%",
        "matmul": "@", "eq": "==", "ne": "!=",
        "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or",
    }  # fmt: skip
    for name, sign in table.items():
        setattr(Traced, f"__{name}__", lambda self, other, sign=sign: self._binary(sign, self, other))
        if name not in ("eq", "ne", "lt", "le", "gt", "ge"):
            setattr(Traced, f"__r{name}__", lambda self, other, sign=sign: self._binary(sign, other, self))


_operators()


def let(trace: Trace, value: tree.Expression) -> Traced:
    """A value of the program, with a name of its own."""
    return Traced(trace, trace.let(value))


def call(
    trace: Trace, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], dtypes: tuple[str, ...] = ()
) -> Traced:
    """A call of a name of the language. `dtypes` are its type arguments."""
    span = caller_span()
    trace.root.is_placed |= name.startswith("federated_")
    function: tree.Expression = tree.Variable(tree.Name(name, span), span)
    if dtypes:
        function = tree.Index(function, tuple(tree.Variable(tree.Name(each, span), span) for each in dtypes), span)
    return let(trace, tree.Call(function, _arguments(trace, args, kwargs, span), span))


def _arguments(trace: Trace, args: tuple[Any, ...], kwargs: Mapping[str, Any], span: Span) -> tuple[tree.Argument, ...]:
    written, by_name = argument_spans(span)
    places = written if len(written) == len(args) else [span] * len(args)
    plain = [
        tree.Argument(None, expression_of(trace, value, place), place)
        for value, place in zip(args, places, strict=True)
    ]
    named = []
    for word, value in kwargs.items():
        place = by_name.get(word, span)
        named.append(tree.Argument(tree.Name(word, place), expression_of(trace, value, place), place))
    return (*plain, *named)


def _index(trace: Trace, item: Any, span: Span) -> tree.Expression | tree.Slice:
    if isinstance(item, slice):
        ends = [None if end is None else expression_of(trace, end, span) for end in (item.start, item.stop)]
        return tree.Slice(ends[0], ends[1], span)
    return expression_of(trace, item, span)


def expression_of(trace: Trace, value: Any, span: Span) -> tree.Expression:
    """A Python value inside a trace as an expression.

    Traced values, numbers, text, arrays, tuples, mappings, lists, computations and functions.
    """
    match value:
        case Traced():
            return _variable(trace, value, span)
        case Declared():
            trace.use(value)
            return tree.Variable(tree.Name(value.declared_name, span), span)
        case bool() | np.bool_():
            return tree.BoolLiteral(bool(value), span)
        case int() | np.integer():
            literal: tree.Expression = tree.IntegerLiteral(abs(int(value)), str(abs(int(value))), span)
            return tree.Unary("-", literal, span) if value < 0 else literal
        case float() | np.floating():
            literal = tree.FloatLiteral(abs(float(value)), repr(abs(float(value))), span)
            return tree.Unary("-", literal, span) if value < 0 else literal
        case str() | bytes():
            text = value.decode() if isinstance(value, bytes) else value
            return tree.StringLiteral(text, f'"{text}"', span)
        case Mapping():
            items = _in_order(value)
            fields = [(tree.Name(name, span), expression_of(trace, item, span)) for name, item in items]
            return tree.RecordExpression(tuple(tree.RecordField(n, item, False, span) for n, item in fields), span)
        case tuple() if not hasattr(value, "_asdict"):
            return tree.TupleExpression(tuple(expression_of(trace, item, span) for item in value), span)
        case list():
            return tree.ListExpression(tuple(expression_of(trace, item, span) for item in value), span)
    return _other_expression(trace, value, span)


def _in_order(value: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """A plain dictionary by names, as TensorFlow Federated ordered it in 2019; other mappings keep their order."""
    items = [(str(name), item) for name, item in value.items()]
    return sorted(items, key=lambda item: item[0]) if type(value) is dict else items


def _other_expression(trace: Trace, value: Any, span: Span) -> tree.Expression:
    if hasattr(value, "_asdict"):
        return expression_of(trace, value._asdict(), span)
    if hasattr(value, "traced_function"):  # one without types
        if value.kind == "extern":
            note = f"`{value.name}` has no types, and those of its arguments are not known here"
            raise errors.not_traced(trace.root.name, note, "give them: `@fl.tf_computation(…)`", span)
        return function_expression(trace, value.traced_function, span)
    if isinstance(value, np.ndarray) or hasattr(value, "numpy"):
        return _array(trace, np.asarray(value.numpy() if hasattr(value, "numpy") else value), span)
    if callable(value) and not isinstance(value, type):
        return function_expression(trace, value, span)
    note = "it gives nothing" if value is None else f"a {type(value).__name__} cannot be part of a traced program"
    raise errors.not_traced(trace.root.name, note, "return a value" if value is None else "", span)


def _variable(trace: Trace, value: Traced, span: Span) -> tree.Expression:
    if value._trace.root is not trace.root:
        raise errors.not_traced(
            trace.root.name, f"it uses a value of `{value._trace.root.name}`", "pass it as an argument", span
        )
    inner = value._expression
    return tree.Variable(inner.name, span) if isinstance(inner, tree.Variable) else inner


def _array(trace: Trace, array: np.ndarray[Any, Any], span: Span) -> tree.Expression:
    if array.size > LARGEST:
        note = f"an array of {array.size} elements would be written into the program as numbers"
        raise errors.not_traced(trace.root.name, note, "pass it as an argument", span)
    return expression_of(trace, array.tolist(), span)


def block_of(trace: Trace, function: Callable[..., Any], names: list[tree.Name], span: Span) -> tree.Block:
    """The body of a Python function whose parameters are these names."""
    inner = Trace(trace.root.name, parent=trace)
    with inner.open():
        found = function(*(Traced(inner, tree.Variable(name, span)) for name in names))
        return inner.block(expression_of(inner, found, span), span)


def parameter_count(function: Callable[..., Any], span: Span) -> int:
    """How many arguments a Python function takes."""
    if isinstance(function, np.ufunc):
        return function.nin
    try:
        return len(inspect.signature(getattr(function, "traced_function", function)).parameters)
    except ValueError:
        name = getattr(function, "__name__", "the function")
        note = f"`{name}` does not say what it takes"
        raise errors.not_traced(name, note, "write a function around it", span) from None


def function_expression(trace: Trace, function: Callable[..., Any], span: Span) -> tree.Expression:
    """A Python function as a function value. Its parameters' types are found from where it is used."""
    place = span_of(function) or span
    names = [trace.fresh_name(place) for _ in range(parameter_count(function, span))]
    block = block_of(trace, function, names, place)
    parameters = tuple(tree.Parameter(name, None, None, place) for name in names)
    return tree.Lambda(parameters, None, block, not block.statements, place)


__all__ = [
    "Declared",
    "Trace",
    "Traced",
    "active_trace",
    "block_of",
    "call",
    "caller_span",
    "current_trace",
    "expression_of",
    "function_expression",
    "let",
    "line_span",
    "parameter_count",
]
