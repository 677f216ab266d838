"""Windows that slide over the height and width of `[n, h, w, c]`: what convolution and pooling share.

With padding "same" there are ceil(size / stride) windows, and the padding they need is split evenly, the odd row after
(TensorFlow's rule); with "valid" there are as many as fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernel import Numbers


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, tuple) else (int(value), int(value))


def _axis(size: int, window: int, stride: int, padding: str) -> tuple[int, int, int]:
    """The number of windows, and the padding before and after."""
    if padding == "valid":
        return max(0, (size - window) // stride + 1), 0, 0
    count = -(-size // stride)
    total = max((count - 1) * stride + window - size, 0)
    return count, total // 2, total - total // 2


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows of one image size lie."""

    height: int
    width: int
    size: tuple[int, int]
    strides: tuple[int, int]
    counts: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @staticmethod
    def over(image: tuple[int, ...], size: Any, strides: Any, padding: str) -> Windows:
        """The windows of that size over images `[n, h, w, c]`."""
        size, strides = _pair(size), _pair(strides)
        rows, top, bottom = _axis(image[1], size[0], strides[0], padding)
        columns, left, right = _axis(image[2], size[1], strides[1], padding)
        return Windows(image[1], image[2], size, strides, (rows, columns), ((top, bottom), (left, right)))

    def pad(self, x: Numbers, value: Any = 0) -> Numbers:
        """The images with their padding."""
        return np.pad(x, ((0, 0), *self.padding, (0, 0)), constant_values=value)

    def unpad(self, padded: Numbers) -> Numbers:
        """The images without it."""
        (top, _), (left, _) = self.padding
        return padded[:, top : top + self.height, left : left + self.width]

    def padded_zeros(self, images: int, channels: int, dtype: Any) -> Numbers:
        """Zeros of the padded size."""
        (top, bottom), (left, right) = self.padding
        return np.zeros((images, self.height + top + bottom, self.width + left + right, channels), dtype)

    def places(self) -> list[tuple[int, int]]:
        """The places inside a window, row by row."""
        return [(i, j) for i in range(self.size[0]) for j in range(self.size[1])]

    def at(self, i: int, j: int) -> tuple[slice, slice, slice]:
        """What picks place (i, j) of every window out of padded images."""
        down, across = self.strides
        rows = slice(i, i + down * (self.counts[0] - 1) + 1, down) if self.counts[0] else slice(0, 0)
        columns = slice(j, j + across * (self.counts[1] - 1) + 1, across) if self.counts[1] else slice(0, 0)
        return (slice(None), rows, columns)
