"""Functions from Python inside a TensorFlow graph: traced if they are TensorFlow's, called back if they are not.

A derivative of a traced function is taken from the call that is there already: `extern_vjp` finds, in the same body,
the results that `extern` gave for the same inputs, and TensorFlow derives those, so that nothing runs twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import tensorflow as tf

from fedlang.ir.graph import Node, Tensor
from fedlang.run.calling import call_function
from fedlang.run.errors import wrong_result, wrong_result_count
from fedlang.run.externs import find_extern, find_vjp
from fedlang.run.values import shown_type
from fedlang.types.dims import Size

from .attributes import integer
from .derivatives import derived_faster
from .dtypes import TF_DTYPES, static_shape
from .scope import Scope, once
from .together import is_together, of_node


def extern(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    """The results of the function that the node's handle names."""
    handle = str(node.attribute("handle"))
    if is_together(node):
        return _shaped(node, list(of_node(node).function(*inputs)))
    function = find_extern(handle, span)
    traced = derived_faster(getattr(function, "function", None))
    if traced is None:
        results = _called_back(scope, node, span, function.call, inputs)
    else:
        results = once(inputs, ("extern", handle), lambda: list(traced(*inputs)))
        _check_traced(handle, node, results, span)
    return _shaped(node, results)


def extern_vjp(scope: Scope, node: Node, inputs: list[Any], span: Any) -> Any:
    """The derivatives by the inputs that are floats, from the cotangents of the results that are."""
    handle = str(node.attribute("handle"))
    if is_together(node):
        return _shaped(node, list(of_node(node).function(*inputs)))
    function = find_vjp(handle, span)
    arity = integer(node, "arguments")
    arguments, cotangents = inputs[:arity], inputs[arity:]
    own, traced = getattr(function, "vjp_function", None), derived_faster(getattr(function, "function", None))
    if own is not None:
        return _shaped(node, list(own(*inputs)))
    if traced is None:
        return _shaped(node, _called_back(scope, node, span, function.vjp, inputs))
    results = once(arguments, ("extern", handle), lambda: list(traced(*arguments)))
    targets = [result for result in results if result.dtype.is_floating]
    by = [argument for argument in arguments if argument.dtype.is_floating]
    found = tf.gradients(targets, by, cotangents, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return _shaped(node, [tf.convert_to_tensor(each) for each in found])


def _types(node: Node) -> list[Tensor]:
    types = node.type if isinstance(node.type, tuple) else (node.type,)
    return [leaf for leaf in types if isinstance(leaf, Tensor)]


def _called_back(scope: Scope, node: Node, span: Any, call: Callable[..., Any], inputs: list[Any]) -> list[Any]:
    """A function of arrays, called by TensorFlow while the graph runs. Sizes that are known only then come along."""
    handle, types = str(node.attribute("handle")), _types(node)
    open_sizes: dict[Size, Any] = {
        size: scope.size(size) for type in types for size in type.shape if _is_open(scope, size)
    }

    def called(numbers: Any, *arrays: Any) -> list[Any]:
        known = dict(zip(open_sizes, map(int, numbers), strict=True))
        wanted = tuple((type, tuple(map(partial(_number, known), type.shape))) for type in types)
        try:
            return list(call_function(handle, call, arrays, wanted, span))
        except Exception:
            raise
        except BaseException as interrupt:
            raise RuntimeError(_name_of(interrupt)) from None

    numbers = (
        tf.stack([tf.cast(each, tf.int32) for each in open_sizes.values()]) if open_sizes else tf.zeros(0, tf.int32)
    )
    found = tf.numpy_function(called, [numbers, *inputs], [TF_DTYPES[type.dtype] for type in types])
    return list(found) if isinstance(found, list | tuple) else [found]


_interrupts: dict[str, BaseException] = {}
_numbers = count(1)


def _name_of(interrupt: BaseException) -> str:
    """A name that TensorFlow puts into its error, by which the interrupt is found again."""
    name = f"fedlang interrupt {next(_numbers)}."
    _interrupts[name] = interrupt
    return name


def interrupt_in(error: Exception) -> BaseException | None:
    """What ended a function from Python where TensorFlow tells of an error: Ctrl-C, or an exit. Told once."""
    found = re.search(r"fedlang interrupt \d+\.", str(error))
    return None if found is None else _interrupts.pop(found[0], None)


def _is_open(scope: Scope, size: Size) -> bool:
    return not isinstance(size, int) and scope.has(size)


def _number(known: dict[Size, int], size: Size) -> int | None:
    return size if isinstance(size, int) else known.get(size)


def _check_traced(handle: str, node: Node, results: list[Any], span: Any) -> None:
    """What TensorFlow knows of a function's results before it runs must be what is declared."""
    types = _types(node)
    if len(results) != len(types):
        raise wrong_result_count(handle, len(results), len(types), span)
    for k, (type, result) in enumerate(zip(types, results, strict=True)):
        if result.dtype != TF_DTYPES[type.dtype] or not result.shape.is_compatible_with(
            static_shape(type.shape, type.dtype)
        ):
            given = shown_type(result.dtype.name, [] if result.shape.rank is None else list(result.shape))
            raise wrong_result(handle, k, len(types), given, shown_type(type.dtype, type.shape), span)


def _shaped(node: Node, results: list[Any]) -> Any:
    """The tensors with what their types say of their shapes: one, or a tuple where the node has several results."""
    shaped = tuple(_with_rank(value, type) for value, type in zip(results, _types(node), strict=True))
    return shaped if isinstance(node.type, tuple) else shaped[0]


def _with_rank(value: Any, type: Tensor) -> Any:
    """The tensor with what its type says of its shape."""
    return tf.ensure_shape(value, [size if isinstance(size, int) else None for size in type.shape])
