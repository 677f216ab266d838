"""Convolutions of few channels, as those of a network's first layer, by products of patches.

A patch is what the places of the kernel meet at a result. Patches are laid down once, [places * channels, results]: a
convolution is the product of all with the kernel, its derivative by the kernel that with the slopes. TensorFlow's own
operations are made for many channels: with one they take up to four times as long.

For a client alone its images are one product; so many that their patches leave the processor are left to TensorFlow's
operations, as the graph finds when it runs. For all clients at once each image is a product: what it comes out as
depends neither on how many images a client has nor on how many clients there are.

Sizes of images and kernels are known; numbers of images and clients need not be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from .reductions import reduce_sum
from .scope import extent, once
from .start import tf

FIT = 2 << 20  # bytes of a client's patches up to which they are: more leave the processor
FEW, SOME = 9, 25  # numbers of a patch up to which products are faster: for any kernel, and for one of many filters
MANY = 32  # filters
LARGE = 1 << 10  # results of an image up to which they are


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
        return few and self.down * self.across > 1 and self.channels * filters > 0 and 0 < prod(self.results) <= LARGE


def zeros_around(*sizes: int) -> list[list[int]]:
    """Before and behind images' axes, so that a kernel of these sizes has as many results as there are pixels."""
    return [[(size - 1) // 2, size // 2] for size in sizes]


def convolved(x: Any, kernel: Any, window: Window, otherwise: Callable[[], Any]) -> Any:
    """The convolution of a client's images [n, height, width, channels] and a kernel [down, across, channels, filters];
    by what TensorFlow has, `otherwise`, where there are so many images that it is faster."""
    filters = kernel.shape[-1]

    def products() -> Any:
        found = tf.matmul(patches, tf.reshape(kernel, [window.patch, filters]), transpose_a=True)
        return tf.reshape(found, [-1, *window.results, filters])

    patches = _patches(x, window)
    return _if_few(x, window, products, otherwise)


def by_kernel(dy: Any, x: Any, window: Window, otherwise: Callable[[], Any]) -> Any:
    """The derivative by the kernel, of slopes `dy` as `convolved` gives results."""
    filters = dy.shape[-1]

    def products() -> Any:
        found = tf.matmul(patches, tf.reshape(dy, [-1, filters]))
        return tf.reshape(found, [window.down, window.across, window.channels, filters])

    patches = _patches(x, window)
    return _if_few(x, window, products, otherwise)


def convolved_together(x: Any, kernels: Any, window: Window) -> Any:
    """The convolutions of all clients' images and kernels, the axis of clients in front of both."""
    filters, patches = kernels.shape[-1], _patches(x, window)
    found = tf.matmul(patches, tf.reshape(kernels, [-1, 1, window.patch, filters]), transpose_a=True)
    return tf.reshape(found, [*_counts(x), *window.results, filters])


def by_kernels_together(dy: Any, x: Any, window: Window) -> Any:
    """The derivatives by all clients' kernels, of slopes `dy` as `convolved_together` gives results."""
    filters, patches = dy.shape[-1], _patches(x, window)
    of_images = tf.matmul(patches, tf.reshape(dy, [*_counts(x), prod(window.results), filters]))
    return tf.reshape(reduce_sum(of_images, (1,)), [-1, window.down, window.across, window.channels, filters])


def _if_few(x: Any, window: Window, products: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """What products of patches come to where a client's images are so few that those fit."""
    most = FIT // (4 * window.patch * prod(window.results))
    count = extent(x, 0)
    if isinstance(count, int):
        return products() if count <= most else otherwise()
    return tf.cond(count <= most, products, otherwise)


def _patches(x: Any, window: Window) -> Any:
    """The patches of a client's images, [patch, results], none where they do not fit; or of each image of all clients,
    [C, n, patch, results]."""

    def alone() -> Any:
        return tf.reshape(_laid_down(x, window), [window.patch, -1])

    def together() -> Any:
        return tf.reshape(_laid_down(x, window), [*_counts(x), window.patch, prod(window.results)])

    def laid_down() -> Any:
        if len(x.shape) == 5:
            return together()
        return _if_few(x, window, alone, lambda: tf.zeros([window.patch, 0], x.dtype))

    return once([x], ("patches", window), laid_down)


def _counts(x: Any) -> list[Any]:
    """How many clients and images there are."""
    return [extent(x, 0), extent(x, 1)]


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
        planes = tf.pad(planes, [[0, 0], *zeros_around(window.down, window.across)])
    rows = tf.reshape(planes, [-1, across + window.across - 1])
    image = (down + window.down - 1) * across
    parts = [tf.slice(rows, [0, j], [-1, across]) for j in range(window.across)]
    rows = tf.reshape(stacked(parts, window.channels, image), [-1, image])
    parts = [tf.slice(rows, [0, i * across], [-1, down * across]) for i in range(window.down)]
    return stacked(parts, window.across * window.channels, down * across)
