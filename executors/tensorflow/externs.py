"""Functions from Python inside a TensorFlow graph: traced if they are TensorFlow's, called back if they are not.

A derivative of a traced function is taken from the call that is there already: `extern_vjp` finds, in the same body,
the results that `extern` gave for the same inputs, and TensorFlow derives those, so that nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fedlang.ir.graph import Node, Tensor
from fedlang.run.externs import find_extern, find_vjp
from fedlang.run.values import as_array

from .attributes import integer
from .dtypes import TF_DTYPES
from .scope import Scope
from .together import is_together, of_node


def extern(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    """The results of the function that the node's handle names."""
    handle = str(node.attribute("handle"))
    if is_together(node):
        return _shaped(node, list(of_node(node).function(*inputs)))
    function = find_extern(handle, span)
    traced = getattr(function, "function", None)
    if traced is None:
        results = _called_back(function.call, _types(node), inputs)
    else:
        results = _remembered(handle, inputs, lambda: list(traced(*inputs)))
    return _shaped(node, results)


def extern_vjp(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    """The derivatives by the inputs that are floats, from the cotangents of the results that are."""
    handle = str(node.attribute("handle"))
    if is_together(node):
        return _shaped(node, list(of_node(node).function(*inputs)))
    function = find_vjp(handle, span)
    count = integer(node, "arguments")
    arguments, cotangents = inputs[:count], inputs[count:]
    own, traced = getattr(function, "vjp_function", None), getattr(function, "function", None)
    if own is not None:
        return _shaped(node, list(own(*inputs)))
    if traced is None:
        return _shaped(node, _called_back(function.vjp, _types(node), inputs))
    results = _remembered(handle, arguments, lambda: list(traced(*arguments)))
    targets = [result for result in results if result.dtype.is_floating]
    by = [argument for argument in arguments if argument.dtype.is_floating]
    found = tf.gradients(targets, by, cotangents, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return _shaped(node, [tf.convert_to_tensor(each) for each in found])


def _remembered(handle: str, inputs: list[Any], make: Callable[[], list[Any]]) -> list[Any]:
    """A call's results, made once for the same inputs in one body. The memory is the body's own graph."""
    graph = tf.compat.v1.get_default_graph()
    known = getattr(graph, "_fedlang_externs", None)
    if known is None:
        known = graph._fedlang_externs = {}
    key = handle, tuple(map(id, inputs))
    if key not in known:
        known[key] = inputs, make()  # the inputs are kept, so their ids stay theirs
    results: list[Any] = known[key][1]
    return results


def _types(node: Node) -> list[Tensor]:
    types = node.type if isinstance(node.type, tuple) else (node.type,)
    return [leaf for leaf in types if isinstance(leaf, Tensor)]


def _called_back(call: Callable[..., Any], types: list[Tensor], inputs: list[Any]) -> list[Any]:
    """A function of arrays, called by TensorFlow while the graph runs."""

    def called(*arrays: Any) -> list[Any]:
        given = call(*arrays)
        values = given if isinstance(given, tuple) else (given,)
        return [as_array(value, type.dtype) for value, type in zip(values, types, strict=True)]

    found = tf.numpy_function(called, inputs, [TF_DTYPES[type.dtype] for type in types])
    return list(found) if isinstance(found, list | tuple) else [found]


def _shaped(node: Node, results: list[Any]) -> Any:
    """The tensors with what their types say of their shapes: one, or a tuple where the node has several results."""
    shaped = tuple(_with_rank(value, type) for value, type in zip(results, _types(node), strict=True))
    return shaped if isinstance(node.type, tuple) else shaped[0]


def _with_rank(value: Any, type: Tensor) -> Any:
    """The tensor with what its type says of its shape."""
    return tf.ensure_shape(value, [size if isinstance(size, int) else None for size in type.shape])
