"""Pooling over windows of `[n, h, w, c]`, and its derivatives.

Padding neither wins a maximum nor counts in an average.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedlang.ir.graph import Node
from fedlang.source import Span

from .kernel import Compile, Frame, Kernel, Maker, Numbers, attributes_of, in_single, shape_of
from .reductions import least
from .windows import Windows


def _stacked(x: Numbers, windows: Windows, value: Any) -> Numbers:
    """Every window's elements along a last axis: `[n, h', w', c, places]`."""
    padded = windows.pad(x, value)
    return np.stack([padded[windows.at(i, j)] for i, j in windows.places()], axis=-1)


def max_pool(x: Numbers, size: Any, strides: Any, padding: str) -> Any:
    """The greatest of each window; NaN where it has one."""
    return np.max(_stacked(x, Windows.over(x.shape, size, strides, padding), least(x.dtype)), axis=-1)


def max_pool_gradient(x: Numbers, y: Numbers, dy: Numbers, size: Any, strides: Any, padding: str) -> Numbers:
    """`dy` at the first maximum of each window, row by row; NaN is one."""
    windows = Windows.over(x.shape, size, strides, padding)
    inside = _stacked(np.ones(x.shape, bool), windows, False)
    elements = _stacked(x, windows, 0)
    first = np.argmax(((elements == y[..., None]) | np.isnan(elements)) & inside, axis=-1)
    padded = windows.padded_zeros(x.shape[0], x.shape[3], dy.dtype)
    for k, (i, j) in enumerate(windows.places()):
        padded[windows.at(i, j)] += np.where(first == k, dy, np.zeros((), dy.dtype))
    return windows.unpad(padded)


def _share(image: tuple[int, ...], windows: Windows, dtype: Any) -> Any:
    """How many elements of the image each window has: `[1, h', w', 1]`."""
    return _stacked(np.ones((1, *image[1:3], 1), dtype), windows, 0).sum(axis=-1)


def average_pool(x: Numbers, size: Any, strides: Any, padding: str) -> Any:
    """The mean of each window's elements."""
    windows = Windows.over(x.shape, size, strides, padding)
    return _stacked(x, windows, 0).sum(axis=-1) / _share(x.shape, windows, x.dtype)


def average_pool_gradient(dy: Numbers, shape: tuple[int, ...], size: Any, strides: Any, padding: str) -> Numbers:
    """`dy` shared equally among each window's elements."""
    windows = Windows.over(shape, size, strides, padding)
    each = dy / _share(shape, windows, dy.dtype)
    padded = windows.padded_zeros(shape[0], shape[3], dy.dtype)
    for i, j in windows.places():
        padded[windows.at(i, j)] += each
    return windows.unpad(padded)


def _pool(function: Any) -> Maker:
    once = in_single(function)

    def maker(node: Node, compile: Compile, span: Span | None) -> Kernel:
        options = attributes_of(node)
        return lambda frame, *inputs: once(*inputs, **options)

    return maker


def _average_pool_gradient(node: Node, compile: Compile, span: Span | None) -> Kernel:
    options, shape = attributes_of(node), shape_of(node.tensor)
    once = in_single(average_pool_gradient)

    def kernel(frame: Frame, dy: Numbers) -> Any:
        return once(dy, shape=shape(frame), **options)

    return kernel


KERNELS: dict[str, Maker] = {
    "max_pool": _pool(max_pool),
    "max_pool_gradient": _pool(max_pool_gradient),
    "average_pool": _pool(average_pool),
    "average_pool_gradient": _average_pool_gradient,
}
