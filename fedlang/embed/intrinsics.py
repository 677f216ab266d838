"""Operations that TensorFlow Federated names, as the language says them: `fl.federated_map`, `fl.sequence_reduce`, ….

They are used inside traced programs. Those that the language has under the same name (`federated_sum`, `federated_mean`
and the rest of `stdlib/prelude/federated.fed`) need nothing here, unless TensorFlow Federated takes more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedlang.embed import errors
from fedlang.embed.places import caller_span
from fedlang.embed.traces import Trace
from fedlang.embed.tracing import Traced, active_trace, block_of, call, expression_of, let, parameter_count
from fedlang.source import Span
from fedlang.syntax import tree
from fedlang.types.types import CLIENTS, FLOAT32, SERVER, unplaced

WIDEST = 31
"""Bits of a value in a secure sum, whose bounds are int32."""


def to_value(value: Any) -> Traced:
    """A Python value as a value of the program: a number, text, an array, a tuple or mapping of such, a function."""
    if isinstance(value, Traced):
        return value
    trace = active_trace("to_value")
    return let(trace, expression_of(trace, value, caller_span()))


def federated_value(value: Any, placement: str = SERVER) -> Traced:
    """A value that everyone knows, at the server or at every client."""
    trace = active_trace("federated_value")
    if placement not in (SERVER, CLIENTS):
        raise errors.wrong_call(
            "federated_value", f"{placement!r:.40} is no placement", caller_span(), "write `fl.CLIENTS` or `fl.SERVER`"
        )
    there = call(trace, "federated_value", (value,), {})
    return there if placement == SERVER else call(trace, "federated_broadcast", (there,), {})


def federated_eval(function: Callable[[], Any], placement: str) -> Traced:
    """What a function without arguments gives, at a place. The same key gives the same numbers everywhere."""
    return federated_value(function(), placement)


def federated_map(function: Callable[..., Any], value: Any) -> Traced:
    """The function of the value of each client, or of the server's.

    A tuple or mapping of values at one place is zipped first. A function of several parameters gets the parts.
    """
    trace = active_trace("federated_map")
    return to_value(function(*_spread(trace.name, function, value)))


federated_apply = federated_map


def _spread(name: str, function: Any, value: Any) -> tuple[Any, ...]:
    """The arguments for a function: the value, or its parts where the function takes several."""
    if not callable(function):
        note = f"its first argument is a {type(function).__name__}, not a function"
        raise errors.wrong_call("federated_map", note, caller_span())
    takes = parameter_count(function, caller_span())
    if takes == 1:
        return (value if isinstance(value, Traced) else federated_zip(value),)
    if isinstance(value, Mapping):
        return tuple(value.values())
    parts = tuple(value) if isinstance(value, tuple | list | Traced) else ()
    if len(parts) != takes:
        raise errors.wrong_call(
            name, f"the function takes {takes} arguments, the value has {len(parts)} parts", caller_span()
        )
    return parts


def federated_zip(value: Any) -> Traced:
    """Values at one place as one value there: a tuple for a tuple or list, a record for a mapping."""
    return to_value(tuple(value) if isinstance(value, list) else value)


def federated_mean(value: Any, weight: Any = None, **more: Any) -> Traced:
    """The mean over clients, weighted or not. Whole weights become float32."""
    trace = active_trace("federated_mean")
    if isinstance(weight, Traced) and trace.parent is None and unplaced(weight.type_signature) != FLOAT32:
        weight = call(trace, "cast", (weight,), {})
    return call(trace, "federated_mean", (value,) if weight is None else (value, weight), more)


def federated_reduce(value: Any, zero: Any, op: Callable[..., Any]) -> Traced:
    """All clients' values put together by a function of two of them, which must not mind their order.

    `zero` is what the function leaves as it is. `federated_aggregate` takes accumulators of another type.
    """
    trace = active_trace("federated_reduce")
    return call(trace, "federated_aggregate", (value, zero, op, op, lambda total: total), {})


def federated_secure_sum(value: Any, *bounds: Any, **more: Any) -> Traced:
    """The sum of whole numbers under secure aggregation: from 0 to one bound, or from `low` to `high`."""
    limits = (0, *bounds) if len(bounds) == 1 and not more else bounds
    return call(active_trace("federated_secure_sum"), "federated_secure_sum", (value, *limits), more)


def federated_secure_sum_bitwidth(value: Any, bitwidth: int) -> Traced:
    """The sum under secure aggregation of whole numbers that have this many bits, at most 31."""
    if not 1 <= bitwidth <= WIDEST:
        note = f"the bit width is {bitwidth}, not 1 to {WIDEST}"
        raise errors.wrong_call("federated_secure_sum_bitwidth", note, caller_span())
    return federated_secure_sum(value, 2**bitwidth - 1)


def federated_collect(value: Any) -> Traced:
    """Every client's value, as a sequence at the server. The decorator must say `allow="collect"`."""
    trace = active_trace("federated_collect")
    if "collect" not in trace.root.allow:
        raise errors.collect_refused(caller_span())
    return call(trace, "federated_collect", (value,), {})


def sequence_map(function: Callable[..., Any], values: Any) -> Traced:
    """The function of each element; of the sequences at a place, at that place."""
    return call(active_trace("sequence_map"), "map", (function, values), {})


def sequence_reduce(values: Any, zero: Any, op: Callable[..., Any]) -> Traced:
    """`op(… op(op(zero, first), second) …, last)`; of the sequences at a place, at that place."""
    trace, span = active_trace("sequence_reduce"), caller_span()
    return _fold(trace, values, expression_of(trace, zero, span), op, span)


def sequence_sum(values: Any) -> Traced:
    """The sum of the elements, number by number; zeros where there are none."""
    span = caller_span()
    zeros = tree.Call(tree.Variable(tree.Name("zeros", span), span), (), span)
    return _fold(active_trace("sequence_sum"), values, zeros, lambda total, element: total + element, span)


def _fold(trace: Trace, values: Any, start: tree.Expression, op: Callable[..., Any], span: Span) -> Traced:
    over = expression_of(trace, values, span)
    names = [trace.fresh_name(span) for _ in range(2)]
    state, element = (tree.NamePattern(name, span) for name in names)
    return let(trace, tree.Loop("fold", element, over, start, state, block_of(trace, op, names, span), span))
