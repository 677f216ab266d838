"""Convolutions of few channels, as those of a network's first layer, by products of patches.

A patch is what the places of the kernel meet at a result. Patches are laid down once, [places * channels, results]: a
convolution is the product of all with the kernel, its derivative by the kernel that with the slopes. TensorFlow's own
operations are made for many channels: with one they take two to four times as long.

For a client alone its images are one product. For all clients at once each image is one: what it comes out as depends
neither on how many images a client has nor on how many clients there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from .reductions import reduce_sum
from .scope import extent, once
from .start import tf

FEW, SOME = 9, 25  # numbers of a patch up to which products are faster: for any kernel, and for one of many filters
MANY = 32  # filters
LARGE = 1 << 10  # results of an image up to which they are: patches of larger ones leave the processor


@dataclass(frozen=True, slots=True)
class Window:
    """A kernel's height and width, over images of so many rows, columns and channels; and whether zeros are around
    them, so that there are as many results."""

    down: int
    across: int
    height: int
    width: int
    channels: int
    around: bool

    @property
    def results(self) -> tuple[int, int]:
        """The results' height and width."""
        if self.around:
            return self.height, self.width
        return max(0, self.height - self.down + 1), max(0, self.width - self.across + 1)

    @property
    def patch(self) -> int:
        """How many numbers a patch has."""
        return self.down * self.across * self.channels

    def is_faster(self, filters: int) -> bool:
        """Whether products are clearly faster than TensorFlow's own operations, and there are results at all."""
        few = self.patch <= FEW or (self.patch <= SOME and filters >= MANY)
        return self.down * self.across > 1 and few and 0 < prod(self.results) <= LARGE


def convolved(x: Any, kernel: Any, window: Window) -> Any:
    """The convolution of images [n, height, width, channels] and a kernel [down, across, channels, filters]; or of all
    clients' images and kernels, an axis of clients in front of both."""
    filters = kernel.shape[-1]
    each = [] if len(x.shape) == 4 else [-1, 1]
    found = tf.matmul(_patches(x, window), tf.reshape(kernel, [*each, window.patch, filters]), transpose_a=True)
    return tf.reshape(found, [*_counts(x), *window.results, filters])


def by_kernel(dy: Any, x: Any, window: Window) -> Any:
    """The derivative by the kernel, or those by all clients' kernels, of slopes `dy` as `convolved` gives results."""
    filters, sizes = dy.shape[-1], [window.down, window.across, window.channels]
    if len(x.shape) == 4:
        return tf.reshape(tf.matmul(_patches(x, window), tf.reshape(dy, [-1, filters])), [*sizes, filters])
    of_images = tf.matmul(_patches(x, window), tf.reshape(dy, [*_counts(x), prod(window.results), filters]))
    return tf.reshape(reduce_sum(of_images, (1,)), [-1, *sizes, filters])


def _patches(x: Any, window: Window) -> Any:
    """The patches of a client's images, [patch, results], or of each image of all clients, [C, n, patch, results]."""

    def laid_down() -> Any:
        each = [window.patch, -1] if len(x.shape) == 4 else [*_counts(x), window.patch, prod(window.results)]
        return tf.reshape(_laid_down(x, window), each)

    return once([x], ("patches", window), laid_down)


def _counts(x: Any) -> list[Any]:
    """The axes of clients and images."""
    return [-1] if len(x.shape) == 4 else [extent(x, 0), extent(x, 1)]


def _laid_down(x: Any, window: Window) -> Any:
    """The patches of groups of images, [groups, down, across * channels, results of a group]: one group of a client's
    images, or one of each. Rows are copied whole: from each place along the kernel's width, and of those then images
    without some of the first rows and the last ones."""
    alone, (down, across) = len(x.shape) == 4, window.results

    def stacked(parts: list[Any], planes: int, size: int) -> Any:
        return tf.stack([tf.reshape(part, [1, planes, -1] if alone else [-1, planes, size]) for part in parts], 1)

    images = tf.reshape(x, [*([1, -1] if alone else [-1, 1]), window.height, window.width, window.channels])
    if window.channels > 1:
        images = tf.transpose(images, [0, 4, 1, 2, 3])
    planes = tf.reshape(images, [-1, window.height, window.width])
    if window.around:
        planes = tf.pad(planes, [[0, 0], *([(size - 1) // 2, size // 2] for size in (window.down, window.across))])
    rows = tf.reshape(planes, [-1, across + window.across - 1])
    image = (down + window.down - 1) * across
    parts = [tf.slice(rows, [0, j], [-1, across]) for j in range(window.across)]
    rows = tf.reshape(stacked(parts, window.channels, image), [-1, image])
    parts = [tf.slice(rows, [0, i * across], [-1, down * across]) for i in range(window.down)]
    return stacked(parts, window.across * window.channels, down * across)
