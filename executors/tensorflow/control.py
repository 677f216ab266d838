"""Loops and choices. A body is traced once; what varies from step to step goes through TensorFlow's own loop.

Flags of checks travel as loop variables. Outputs are kept in lists whose elements' sizes are told when they are
stacked, so that a loop of no steps still gives a tensor of the right shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fedlang.ir.graph import Graph, LeafType, Node, Tensor

from .attributes import flag, graph, integer
from .dtypes import TF_DTYPES, static_shape
from .scope import Scope, Site, Unsupported, sites_in
from .sequences import same_length, sequence_of
from .start import tf

Step: TypeAlias = "Callable[[Scope, Any, list[Any]], tuple[list[Any], list[Any]]]"
Evaluate: TypeAlias = "Callable[[Graph, Sequence[Any], Scope], list[Any]]"


def loop(
    scope: Scope,
    length: Any,
    step: Step,
    carries: list[Any],
    carry_types: Sequence[Tensor],
    outputs: Sequence[Tensor],
    sites: tuple[Site, ...],
    *,
    reverse: bool = False,
) -> tuple[list[Any], list[Any]]:
    """Runs `step(scope, place, carries) -> (carries, outputs)` for each place. The last carries; outputs stacked."""
    last = length - 1
    lists = [_list_of(type, length) for type in outputs]
    flags = [tf.constant(True) for _ in sites]  # a check that has not run went well

    def body(t: Any, carried: list[Any], collected: list[Any], known: list[Any]) -> tuple[Any, ...]:
        place = last - t if reverse else t
        inner = scope.inner()
        results, rows = step(inner, place, carried)
        written = [one.write(place, row) for one, row in zip(collected, rows, strict=True)]
        return t + 1, results, written, _joined(known, inner, sites)

    shapes = [static_shape(type.shape, type.dtype) for type in carry_types]
    flag_shapes = [tf.TensorShape(None) for _ in sites]
    free = [tf.TensorShape(None) for _ in lists]
    _, carries, lists, flags = tf.while_loop(
        lambda t, *_: t < length,
        body,
        (tf.constant(0), carries, lists, flags),
        shape_invariants=(tf.TensorShape([]), shapes, free, flag_shapes),
        parallel_iterations=1,
    )
    for site, ok in zip(sites, flags, strict=True):
        scope.flag(site, ok)
    return carries, [_stacked(scope, one, type, length) for one, type in zip(lists, outputs, strict=True)]


def _list_of(type: Tensor, length: Any) -> Any:
    shape = static_shape(type.shape, type.dtype)
    return tf.TensorArray(TF_DTYPES[type.dtype], size=length, element_shape=shape, infer_shape=False)


def _stacked(scope: Scope, collected: Any, type: Tensor, length: Any) -> Any:
    shape = static_shape(type.shape, type.dtype)
    if shape.is_fully_defined():
        return collected.stack()
    own = [_size_or_none(scope, type, axis) for axis in range(len(type.shape))]
    unknown = tf.where(length > 0, -1, 0)  # that of the elements, or of none
    sizes = [unknown if size is None else size for size in own] + list(shape[len(type.shape) :])
    stacked = tf.raw_ops.TensorListStack(
        input_handle=collected.flow, element_shape=tf.stack(sizes), element_dtype=TF_DTYPES[type.dtype]
    )
    return tf.ensure_shape(stacked, [None, *shape])


def _size_or_none(scope: Scope, type: Tensor, axis: int) -> Any:
    try:
        return scope.size(type.shape[axis])
    except Unsupported:
        return None


def _joined(known: list[Any], inner: Scope, sites: tuple[Site, ...]) -> list[Any]:
    """Flags from before a step and from the step itself."""
    assert inner.flags.keys() <= {*sites}, "no check of a step is lost"
    return [
        tf.logical_and(ok, inner.flags[site]) if site in inner.flags else ok
        for ok, site in zip(known, sites, strict=True)
    ]


def tensor_types(types: Sequence[LeafType], what: str) -> list[Tensor]:
    """The types, which must be of tensors."""
    found = [type for type in types if isinstance(type, Tensor)]
    if len(found) != len(types):
        raise Unsupported(f"{what} holds a sequence")
    return found


def fold(evaluate: Evaluate, scope: Scope, node: Node, inputs: list[Any], sites: tuple[Site, ...]) -> list[Any]:
    """A fold: the last carries, then the outputs stacked."""
    body, captured, carries = graph(node, "body"), integer(node, "captured"), integer(node, "carries")
    outer, start, over = inputs[:captured], inputs[captured : captured + carries], inputs[captured + carries :]
    sequences = [sequence_of(value) for value in over]
    types = tensor_types(body.result_types(), "what a fold carries or gives")

    def step(inner: Scope, place: Any, carried: list[Any]) -> tuple[list[Any], list[Any]]:
        elements = [each.at(inner, place) for each in sequences]
        results = evaluate(body, [*outer, *carried, *elements], inner)
        return results[:carries], results[carries:]

    last, outputs = loop(
        scope,
        same_length(sequences),
        step,
        start,
        types[:carries],
        types[carries:],
        sites,
        reverse=flag(node, "reverse"),
    )
    return [*last, *outputs]


def cond(evaluate: Evaluate, scope: Scope, node: Node, inputs: list[Any]) -> list[Any]:
    """The results of the graph chosen. Checks of the other one count as passed."""
    branches = graph(node, "then"), graph(node, "otherwise")
    sites = tuple(dict.fromkeys(site for branch in branches for site in sites_in(branch)))
    tensor_types(branches[0].result_types(), "the result of a choice")

    def run(branch: Graph) -> tuple[list[Any], list[Any]]:
        inner = scope.inner()
        results = evaluate(branch, inputs[1:], inner)
        assert inner.flags.keys() <= {*sites}, "no check of a branch is lost"
        return results, [inner.flags.get(site, tf.constant(True)) for site in sites]

    results, flags = tf.cond(inputs[0], lambda: run(branches[0]), lambda: run(branches[1]))
    for site, ok in zip(sites, flags, strict=True):
        scope.flag(site, ok)
    return list(results)
