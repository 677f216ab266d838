"""Convolutions with 3x3 kernels by Winograd's minimal filtering, F(4x4, 3x3): a quarter of the multiplications.

Four results in a row take six pixels. As polynomials, the kernel and the pixels are evaluated at six points, the values
are multiplied, and the results are interpolated; along both axes, 4x4 results of a tile take 6x6 pixels and the values
at 36 pairs of points: Y = A' [(G k G') * (B' x B)] A. At each pair it is a matrix product over channels, of all tiles.
The maps before and behind are products with small matrices. A derivative is the transposed maps in reverse order: the
values of the pixels serve the convolution and the derivative by the kernel, those of the slopes both derivatives.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), equations 8 and 12. Their points, 0, 1, -1, 2
and -2, cost a digit of float32; these cost about half of one (why points matter is told by Barabasz et al., Error
Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks, 2018), and make A and B of numbers
that float32 has.

A result is as exact as the largest numbers in its tile allow, not those that it is made of. What isn't finite in one
pixel makes all results of the tile NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .scope import extent, once
from .start import tf

POINTS = (0.0, 0.625, -0.625, 1.25, -1.25)  # and infinity
KERNEL = 3
TILE = 4
WINDOW = TILE + KERNEL - 1
PAIRS = WINDOW * WINDOW

# They fit the times of a convolution and its derivatives over those of TensorFlow's own operations, for 100 shapes.
MULTIPLIED = 47.0  # the products of a tile, a channel and a filter, in multiplications of TensorFlow's own
MAPPED = 1150.0  # the maps of a tile, for a channel or a filter
WORTH = 0.75  # the share of the time at most
LEAST = 1 << 14  # multiplications at a pair of points, for an image: of fewer, calls take what products save


def matrices() -> tuple[Any, Any, Any]:
    """A' [4, 6], G [6, 3] and B' [6, 6], in doubles: `A' ((G k) * (B' x))` are the four results of six pixels."""
    powers = np.vstack([np.vander(POINTS, WINDOW, increasing=True), np.eye(WINDOW)[-1]])
    a, g = powers[:, :TILE].copy(), powers[:, :KERNEL].copy()
    a[-1, -1] = g[-1, -1] = 1  # at infinity a polynomial is its highest coefficient
    b = np.zeros((WINDOW, WINDOW))
    for at, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        b[at, :-1] = np.poly(others)[::-1]
        g[at] /= np.prod([point - other for other in others])
    b[-1] = np.poly(POINTS)[::-1]
    return a.T, g, b


def _along_both(matrix: Any) -> Any:
    return np.kron(matrix, matrix).astype(np.float32)


RESULT_MAP, KERNEL_MAP, PIXEL_MAP = map(_along_both, matrices())  # [16, 36], [36, 9], [36, 36]


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut into tiles: their height and width, and how many rows of zeros are put around them."""

    height: int
    width: int
    around: int

    @property
    def results(self) -> tuple[int, int]:
        """The results' height and width."""
        lost = KERNEL - 1 - 2 * self.around
        return self.height - lost, self.width - lost

    @property
    def tiles(self) -> tuple[int, int]:
        """How many there are below and beside each other."""
        down, across = self.results
        return -(-down // TILE), -(-across // TILE)

    @property
    def count(self) -> int:
        """How many an image has."""
        return self.tiles[0] * self.tiles[1]

    def share(self, channels: int, filters: int) -> float:
        """What a convolution takes of the time that TensorFlow's own takes."""
        own = KERNEL * KERNEL * self.results[0] * self.results[1] / self.count
        return (MULTIPLIED + MAPPED * (1 / channels + 1 / filters)) / own

    def is_faster(self, channels: int, filters: int) -> bool:
        """Whether a convolution is clearly faster than TensorFlow's own."""
        return self.count * channels * filters >= LEAST and self.share(channels, filters) <= WORTH


def convolved(x: Any, kernel: Any, tiling: Tiling) -> Any:
    """The convolution of images [n, height, width, channels] and a kernel [3, 3, channels, filters]."""
    found = _mapped(RESULT_MAP, tf.matmul(_of_images(x, tiling), _of_kernel(kernel)), kernel.shape[3])
    rows = tf.gather(found, _rows(*_places_of_results(tiling), extent(x, 0), tiling))
    return tf.reshape(rows, [-1, *tiling.results, kernel.shape[3]])


def by_kernel(dy: Any, x: Any, tiling: Tiling) -> Any:
    """The derivative by the kernel, of images and of slopes `dy` [n, down, across, filters]. One batched product would
    take twice as long here: what is added up is long, and the results are small."""
    pixels, slopes = (tf.unstack(each) for each in (_of_images(x, tiling), _of_slopes(dy, tiling)))
    products = tf.stack([tf.matmul(a, b, transpose_a=True) for a, b in zip(pixels, slopes, strict=True)])
    return tf.reshape(_mapped(KERNEL_MAP.T, products, dy.shape[3]), [KERNEL, KERNEL, x.shape[3], dy.shape[3]])


def by_images(dy: Any, kernel: Any, tiling: Tiling) -> Any:
    """The derivative by the images: each pixel has a part from each tile whose window it is in."""
    slopes, kernels, images = _of_slopes(dy, tiling), _of_kernel(kernel), extent(dy, 0)
    found = _mapped(PIXEL_MAP.T, tf.matmul(slopes, kernels, transpose_b=True), kernel.shape[2])
    sums: list[Any] = []
    shared = _shared(tiling)
    for each in shared.places:
        parts = [tf.gather(found, _rows(place, tile, images, tiling)) for place, tile in each]
        sums.append(tf.add_n(parts))
    order = images * shared.before + tf.range(images)[:, None] * shared.alike + shared.rank
    rows = tf.gather(tf.concat(sums, 0), tf.reshape(order, [-1]))
    return tf.reshape(rows, [-1, tiling.height, tiling.width, kernel.shape[2]])


def _of_images(x: Any, tiling: Tiling) -> Any:
    """The values of all tiles' pixels at each pair of points, [36, tiles, channels]."""
    return once([x], ("pixels", tiling), lambda: _of_tiles(PIXEL_MAP, x, tiling.around, WINDOW, tiling))


def _of_slopes(dy: Any, tiling: Tiling) -> Any:
    """The values of all tiles' slopes at each pair of points, [36, tiles, filters]."""
    return once([dy], ("slopes", tiling), lambda: _of_tiles(RESULT_MAP.T, dy, 0, TILE, tiling))


def _of_kernel(kernel: Any) -> Any:
    """The kernel's values at each pair of points, [36, channels, filters]."""

    def values() -> Any:
        mapped = tf.matmul(KERNEL_MAP, tf.reshape(kernel, [KERNEL * KERNEL, -1]))
        return tf.reshape(mapped, [PAIRS, *kernel.shape[2:]])

    return once([kernel], "kernel", values)


def _of_tiles(matrix: Any, x: Any, around: int, size: int, tiling: Tiling) -> Any:
    """A map of the `size` x `size` pixels of each tile, of images with so many rows of zeros around."""
    height, width = (TILE * (count - 1) + size for count in tiling.tiles)
    after = height - around - x.shape[1], width - around - x.shape[2]
    if around or any(after):
        x = tf.pad(x, [[0, 0], [around, after[0]], [around, after[1]], [0, 0]])
    i, j, a, b = np.ogrid[:size, :size, : tiling.tiles[0], : tiling.tiles[1]]
    first = ((TILE * a + i) * width + TILE * b + j).reshape(size * size, 1, -1).astype(np.int32)
    pixels = first + tf.range(extent(x, 0))[:, None] * (height * width)
    rows = tf.gather(tf.reshape(x, [-1, x.shape[3]]), tf.reshape(pixels, [-1]))
    return tf.reshape(_mapped(matrix, rows, x.shape[3]), [PAIRS, -1, x.shape[3]])


def _mapped(matrix: Any, values: Any, channels: int) -> Any:
    """A map of what tiles have at all places, or pairs of points: rows of channels, place by place."""
    return tf.reshape(tf.matmul(matrix, tf.reshape(values, [matrix.shape[1], -1])), [-1, channels])


def _rows(place: Any, tile: Any, images: Any, tiling: Tiling) -> Any:
    """The numbers of the rows that hold these places of these tiles of an image, for all images. Rows lie by place,
    image and tile."""
    places, tiles = place.astype(np.int32), tile.astype(np.int32)
    rows = images * tiling.count * places + tf.range(images)[:, None] * tiling.count + tiles
    return tf.reshape(rows, [-1])


@cache
def _places_of_results(tiling: Tiling) -> tuple[Any, Any]:
    """For each result of an image, its place in its tile, and the tile."""
    row, column = np.ogrid[: tiling.results[0], : tiling.results[1]]
    place = (row % TILE) * TILE + column % TILE
    tile = (row // TILE) * tiling.tiles[1] + column // TILE
    return place.reshape(-1), tile.reshape(-1)


@dataclass(frozen=True, slots=True)
class Shared:
    """An image's pixels in groups: those that are in the windows of as many tiles, one, two or four.

    `places` has for each group, for each of these tiles, the pixels' places in it, and its number. The others have for
    each pixel: how many are in the groups `before` its own, how many are in it (`alike`), and its `rank` there.
    """

    places: list[list[tuple[Any, Any]]]
    before: Any
    alike: Any
    rank: Any


@cache
def _shared(tiling: Tiling) -> Shared:
    sizes = zip((tiling.height, tiling.width), tiling.tiles, strict=True)
    (down, i, in_rows), (across, j, in_columns) = (_windows(size, tiling.around, tiles) for size, tiles in sizes)
    inside = _pairs(in_rows, np.logical_and, in_columns)
    tile = _pairs(down * tiling.tiles[1], np.add, across)
    place = _pairs(i * WINDOW, np.add, j)
    many = inside.sum(1)
    before, alike, rank = np.zeros((3, len(many)), np.int32)
    places = []
    for number in np.unique(many):
        own = np.flatnonzero(many == number)
        chosen = inside[own]
        each = (values[own][chosen].reshape(-1, number).T for values in (place, tile))
        places.append(list(zip(*each, strict=True)))
        before[own], alike[own], rank[own] = np.sum(many < number), len(own), np.arange(len(own))
    return Shared(places, before, alike, rank)


def _windows(size: int, around: int, tiles: int) -> tuple[Any, Any, Any]:
    """For each row of an image (or column), the two tiles whose windows it may be in, its places there, and whether it
    is in them."""
    row = np.arange(around, around + size)[:, None]
    tile = row // TILE - np.arange(2)
    place = row - TILE * tile
    return tile, place, (tile >= 0) & (tile < tiles) & (place < WINDOW)


def _pairs(rows: Any, combine: Any, columns: Any) -> Any:
    """[pixels, 4], of what rows and columns have [size, 2]."""
    return combine(rows[:, None, :, None], columns[None, :, None, :]).reshape(-1, 4)
