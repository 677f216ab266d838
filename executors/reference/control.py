"""Loops and choices: `fold` and `cond`. An effect inside them happens as often as the graph it is in runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedlang.ir.graph import LeafType, Node, Tensor
from fedlang.run.values import numpy_dtype
from fedlang.source import Span

from .kernel import Compile, Frame, Kernel, Maker, Numbers, attributes_of
from .sequences import together


def _results(node: Node, values: list[Any]) -> Any:
    return tuple(values) if isinstance(node.type, tuple) else values[0]


def _types(node: Node) -> tuple[LeafType, ...]:
    return node.type if isinstance(node.type, tuple) else (node.type,)


def _fold(node: Node, compile: Compile, span: Span | None) -> Kernel:
    given = attributes_of(node)
    first, carries = given["captured"], given["carries"]
    body, backwards, outputs = compile(given["body"]), given.get("reverse", False), _types(node)[carries:]

    def kernel(frame: Frame, *inputs: Any) -> Any:
        """Outputs lie where their element does, whichever way the loop goes."""
        captured, carry, over = inputs[:first], list(inputs[first : first + carries]), inputs[first + carries :]
        steps = list(together(over))
        collected: list[list[Any]] = [[] for _ in outputs]
        for elements in reversed(steps) if backwards else steps:
            results = body(frame, (*captured, *carry, *elements))
            carry = results[:carries]
            for column, value in zip(collected, results[carries:], strict=True):
                column.append(value)
        stacked = [_stack(c[::-1] if backwards else c, type, frame) for c, type in zip(collected, outputs, strict=True)]
        return _results(node, [*carry, *stacked])

    return kernel


def _stack(column: list[Any], type: LeafType, frame: Frame) -> Numbers:
    if column:
        return np.stack(column)
    assert isinstance(type, Tensor), "a fold's outputs are tensors"
    sizes = tuple(frame.size(size) if frame.is_known(size) else 0 for size in type.shape[1:])
    return np.zeros((0, *sizes, *((2,) if type.dtype == "Key" else ())), numpy_dtype(type.dtype))


def _cond(node: Node, compile: Compile, span: Span | None) -> Kernel:
    given = attributes_of(node)
    then, otherwise = compile(given["then"]), compile(given["otherwise"])

    def kernel(frame: Frame, predicate: Numbers, *captured: Any) -> Any:
        return _results(node, (then if predicate else otherwise)(frame, captured))

    return kernel


KERNELS: dict[str, Maker] = {"fold": _fold, "cond": _cond}
