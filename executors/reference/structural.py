"""Operations that move elements: broadcasting, axes, slices, gather and scatter.

Keys bring an axis of two words along.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedlang.ir.graph import Node
from fedlang.run.random import key_of_seed
from fedlang.run.values import numpy_dtype
from fedlang.source import Span
from fedlang.types.dims import Size

from .kernel import Compile, Frame, Kernel, Maker, Numbers, attributes_of, shape_of


def _constant(node: Node, compile: Compile, span: Span | None) -> Kernel:
    value: Any = attributes_of(node)["value"]
    dtype = node.tensor.dtype
    array = key_of_seed(value) if dtype == "Key" and isinstance(value, int) else np.array(value, numpy_dtype(dtype))
    array.flags.writeable = False
    shape = shape_of(node.tensor)
    return lambda frame: array if array.shape == shape(frame) else np.broadcast_to(array, shape(frame))


def _get(node: Node, compile: Compile, span: Span | None) -> Kernel:
    index = attributes_of(node)["index"]
    return lambda frame, values: values[index]


def _size(node: Node, compile: Compile, span: Span | None) -> Kernel:
    dimension = attributes_of(node)["dimension"]
    return lambda frame: np.array(frame.size(dimension), np.int32)


def _broadcast(node: Node, compile: Compile, span: Span | None) -> Kernel:
    axes, shape = attributes_of(node)["axes"], shape_of(node.tensor)

    def kernel(frame: Frame, x: Numbers) -> Numbers:
        target = shape(frame)
        kept = [1] * len(target)
        for k, axis in enumerate(axes):
            kept[axis] = x.shape[k]
        if x.ndim > len(axes):
            kept[-1] = x.shape[-1]
        return np.broadcast_to(np.reshape(x, kept), target)

    return kernel


def _transpose(node: Node, compile: Compile, span: Span | None) -> Kernel:
    permutation = attributes_of(node)["permutation"]
    return lambda frame, x: np.transpose(x, (*permutation, *range(len(permutation), x.ndim)))


def _reshape(node: Node, compile: Compile, span: Span | None) -> Kernel:
    sizes = node.tensor.shape
    words = (2,) if node.tensor.dtype == "Key" else ()

    def kernel(frame: Frame, x: Numbers) -> Numbers:
        """At most one size may be new here: it is what is left."""
        shape = tuple(frame.size(size) if frame.is_known(size) else -1 for size in sizes)
        return np.reshape(x, shape + words)

    static = shape_of(node.tensor)
    return (lambda frame, x: np.reshape(x, static(frame))) if _all_numbers(sizes) else kernel


def _all_numbers(sizes: tuple[Size, ...]) -> bool:
    return all(isinstance(size, int) for size in sizes)


def _reverse(node: Node, compile: Compile, span: Span | None) -> Kernel:
    axis = attributes_of(node)["axis"]
    return lambda frame, x: np.flip(x, axis)


def _slice(node: Node, compile: Compile, span: Span | None) -> Kernel:
    given = attributes_of(node)
    before = (slice(None),) * given["axis"]

    def kernel(frame: Frame, x: Numbers) -> Numbers:
        start, stop = frame.size(given["start"]), frame.size(given["stop"])
        if not 0 <= start <= stop <= x.shape[given["axis"]]:
            raise ValueError(f"rows {start} to {stop} of {x.shape[given['axis']]}")
        return x[(*before, slice(start, stop))]

    return kernel


def _pad(node: Node, compile: Compile, span: Span | None) -> Kernel:
    given = attributes_of(node)

    def kernel(frame: Frame, x: Numbers) -> Numbers:
        widths = [(0, 0)] * x.ndim
        widths[given["axis"]] = (frame.size(given["before"]), frame.size(given["after"]))
        return np.pad(x, widths)

    return kernel


def _concat(node: Node, compile: Compile, span: Span | None) -> Kernel:
    axis = attributes_of(node)["axis"]
    return lambda frame, *parts: np.concatenate(parts, axis=axis)


def _iota(node: Node, compile: Compile, span: Span | None) -> Kernel:
    axis, shape = attributes_of(node)["axis"], shape_of(node.tensor)

    def kernel(frame: Frame) -> Numbers:
        target = shape(frame)
        line = np.arange(target[axis], dtype=np.int32)
        return np.broadcast_to(line.reshape(-1, *(1,) * (len(target) - axis - 1)), target)

    return kernel


def in_range(index: Numbers, size: int) -> Numbers:
    """The index, when all of it is in [0, size); `IndexError` where not.

    NumPy would count negative ones from the end.
    """
    if index.size and (index.min() < 0 or index.max() >= size):
        worst = index.min() if index.min() < 0 else index.max()
        raise IndexError(f"index {worst} is not among the {size} there are")
    return index


def _gather(node: Node, compile: Compile, span: Span | None) -> Kernel:
    return lambda frame, x, index: x[in_range(index, x.shape[0])]


def _scatter_add(node: Node, compile: Compile, span: Span | None) -> Kernel:
    shape = shape_of(node.tensor)

    def kernel(frame: Frame, index: Numbers, updates: Numbers) -> Numbers:
        result = np.zeros(shape(frame), updates.dtype)
        np.add.at(result, in_range(index, result.shape[0]), updates)
        return result

    return kernel


def _take_along(node: Node, compile: Compile, span: Span | None) -> Kernel:
    axis = attributes_of(node)["axis"]
    return lambda frame, x, index: np.take_along_axis(x, in_range(index, x.shape[axis]), axis)


def _put_along(node: Node, compile: Compile, span: Span | None) -> Kernel:
    axis, shape = attributes_of(node)["axis"], shape_of(node.tensor)

    def kernel(frame: Frame, index: Numbers, updates: Numbers) -> Numbers:
        result = np.zeros(shape(frame), updates.dtype)
        places: list[Numbers] = list(np.indices(index.shape, sparse=True))
        places[axis] = in_range(index, result.shape[axis])
        np.add.at(result, tuple(places), updates)
        return result

    return kernel


KERNELS: dict[str, Maker] = {
    "constant": _constant,
    "get": _get,
    "size": _size,
    "broadcast": _broadcast,
    "transpose": _transpose,
    "reshape": _reshape,
    "reverse": _reverse,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "iota": _iota,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "take_along": _take_along,
    "put_along": _put_along,
}
