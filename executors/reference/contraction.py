"""Matrix products and convolutions. float16 and bfloat16 are multiplied in float32 and rounded once.

A convolution is one matrix product for each place of the kernel, added up: slower than one large product, plainly
right, and its two derivatives are the same loop with the roles exchanged.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from fedlang.ir.graph import Node
from fedlang.source import Span

from .kernel import Compile, Frame, Kernel, Maker, Numbers, attributes_of, in_single, shape_of
from .windows import Windows


def _matmul(node: Node, compile: Compile, span: Span | None) -> Kernel:
    given = attributes_of(node)
    flip_a, flip_b = given.get("transpose_a", False), given.get("transpose_b", False)
    product = in_single(np.matmul)

    def kernel(frame: Frame, a: Numbers, b: Numbers) -> Any:
        if a.shape[:-2] != b.shape[:-2]:
            raise ValueError(f"leading axes of {list(a.shape)} and {list(b.shape)} differ")
        return product(np.swapaxes(a, -1, -2) if flip_a else a, np.swapaxes(b, -1, -2) if flip_b else b)

    return kernel


def convolve(x: Numbers, kernel: Numbers, strides: Any, padding: str) -> Numbers:
    """`[n, h, w, i]` with `[kh, kw, i, o]` gives `[n, h', w', o]`."""
    windows = Windows.over(x.shape, kernel.shape[:2], strides, padding)
    padded = windows.pad(x)
    result = np.zeros((x.shape[0], *windows.counts, kernel.shape[3]), x.dtype)
    for i, j in windows.places():
        result += padded[windows.at(i, j)] @ kernel[i, j]
    return result


def convolve_input(dy: Numbers, kernel: Numbers, shape: tuple[int, ...], strides: Any, padding: str) -> Numbers:
    """The derivative of `convolve` by `x`, whose shape is given."""
    windows = Windows.over(shape, kernel.shape[:2], strides, padding)
    padded = windows.padded_zeros(shape[0], shape[3], dy.dtype)
    for i, j in windows.places():
        padded[windows.at(i, j)] += dy @ kernel[i, j].T
    return windows.unpad(padded)


def convolve_kernel(dy: Numbers, x: Numbers, shape: tuple[int, ...], strides: Any, padding: str) -> Numbers:
    """The derivative of `convolve` by its kernel, whose shape is given."""
    windows = Windows.over(x.shape, shape[:2], strides, padding)
    padded = windows.pad(x)
    result = np.zeros(shape, dy.dtype)
    rows = prod(dy.shape[:3])
    columns = dy.reshape(rows, shape[3])
    for i, j in windows.places():
        result[i, j] = padded[windows.at(i, j)].reshape(rows, shape[2]).T @ columns
    return result


def _conv2d(node: Node, compile: Compile, span: Span | None) -> Kernel:
    given = attributes_of(node)
    once = in_single(convolve)
    return lambda frame, x, kernel: once(x, kernel, strides=given["strides"], padding=given["padding"])


def _derivative(function: Any) -> Maker:
    once = in_single(function)

    def maker(node: Node, compile: Compile, span: Span | None) -> Kernel:
        given, shape = attributes_of(node), shape_of(node.tensor)
        return lambda frame, dy, other: once(
            dy, other, shape=shape(frame), strides=given["strides"], padding=given["padding"]
        )

    return maker


KERNELS: dict[str, Maker] = {
    "matmul": _matmul,
    "conv2d": _conv2d,
    "conv2d_input": _derivative(convolve_input),
    "conv2d_kernel": _derivative(convolve_kernel),
}
