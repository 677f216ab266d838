"""Functions from Python inside a TensorFlow graph: traced if they are TensorFlow's, called back if they are not."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fedlang.ir.graph import Node, Tensor
from fedlang.run.externs import find_extern
from fedlang.run.values import as_array

from .dtypes import TF_DTYPES
from .scope import Scope


def extern(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    """The results of the function that the node's handle names."""
    handle = node.attribute("handle")
    function = find_extern(str(handle), span)
    types = [leaf for leaf in (node.type if isinstance(node.type, tuple) else (node.type,)) if isinstance(leaf, Tensor)]
    traced = getattr(function, "function", None)
    results = traced(*inputs) if traced is not None else _called_back(function, types, inputs)
    shaped = tuple(_with_rank(value, type) for value, type in zip(results, types, strict=True))
    return shaped if isinstance(node.type, tuple) else shaped[0]


def _called_back(function: Any, types: list[Tensor], inputs: list[Any]) -> list[Any]:
    """A function of arrays, called by TensorFlow while the graph runs."""

    def call(*arrays: Any) -> list[Any]:
        given = function.call(*arrays)
        values = given if isinstance(given, tuple) else (given,)
        return [as_array(value, type.dtype) for value, type in zip(values, types, strict=True)]

    found = tf.numpy_function(call, inputs, [TF_DTYPES[type.dtype] for type in types])
    return list(found) if isinstance(found, list | tuple) else [found]


def _with_rank(value: Any, type: Tensor) -> Any:
    """The tensor with what its type says of its shape."""
    return tf.ensure_shape(value, [size if isinstance(size, int) else None for size in type.shape])
