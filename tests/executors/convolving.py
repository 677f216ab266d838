"""A convolution and its derivatives: what they come to in doubles, and as a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedlang.ir.graph import Builder, Graph, Tensor
from fedlang.types.dims import named

PADDINGS = ("valid", "same")


def in_doubles(x: Any, kernel: Any, dy: Any, padding: str) -> list[Any]:
    """The convolution, and its derivatives by the images and by the kernel, place by place of the kernel."""
    x, kernel, dy = (each.astype(np.float64) for each in (x, kernel, dy))
    around = [((size - 1) // 2, size // 2) if padding == "same" else (0, 0) for size in kernel.shape[:2]]
    padded = np.pad(x, [(0, 0), *around, (0, 0)])
    y, dx, dk = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(kernel.shape)
    down, across = dy.shape[1:3]
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            met = padded[:, i : i + down, j : j + across]
            y += met @ kernel[i, j]
            dk[i, j] = np.einsum("nhwc,nhwf->cf", met, dy)
            dx[:, i : i + down, j : j + across] += dy @ kernel[i, j].T
    (above, _), (left, _) = around
    return [y, dx[:, above : above + x.shape[1], left : left + x.shape[2]], dk]


def results_of(shape: tuple[int, ...], kernel: tuple[int, ...], padding: str, strides: Any = (1, 1)) -> tuple[int, int]:
    """The results' height and width, for images of this one."""
    lost = [0 if padding == "same" else size - 1 for size in kernel[:2]]
    down, across = (-(-max(0, size - less) // step) for size, less, step in zip(shape, lost, strides, strict=False))
    return down, across


def convolutions(shape: tuple[int, ...], kernel: tuple[int, ...], dtype: str, **options: Any) -> tuple[Graph, Any]:
    """The convolution, and both of its derivatives."""
    build, n = Builder(), named("n")
    images, kernels = Tensor(dtype, (n, *shape)), Tensor(dtype, kernel)
    sizes = results_of(shape, kernel, **options)
    made = Tensor(dtype, (n, *sizes, kernel[3]))
    x, k, dy = map(build.parameter, (images, kernels, made))
    results = (
        build.add("conv2d", (x, k), made, **options),
        build.add("conv2d_input", (dy, k), images, **options),
        build.add("conv2d_kernel", (dy, x), kernels, **options),
    )
    return build.finish(results), sizes
