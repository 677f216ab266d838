"""Convolutions.

A single image goes through another kernel than several, which rounds differently: in a chunk of clients there are two
images always, so that bits do not depend on the chunk. Where bits depend on how many there are (`ALIKE`), images are
taken client by client. The convolution of no image has the images' shape instead of its own, so there is one at least;
and one whose kernel is larger than the images, or empty, is no operation of TensorFlow's.

Where vectors have no masks, products are faster than TensorFlow's own operations. Of few channels they are products of
patches (`patches.py`), in a fifth of the time at best; for clients with kernels of their own these are made for all
of them at once, where TensorFlow's operation would run once for each. Other products have bits that depend on how many
images there are, so they are for clients that run one by one. A 3x3 kernel of many channels takes a quarter of the
multiplications (`winograd.py`): a fifth to a half of the time is saved. The derivative by another small kernel is a
product for each of its places, of the pixels that it meets there and of `dy`: a tenth to a quarter is saved; for a
kernel of one place, half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedlang.ir.graph import Node

from . import patches, winograd
from .attributes import graph, integer
from .lanes import ALIKE, MASKED
from .scope import Scope, extent
from .start import has_gpu, tf
from .structural import Longer, Lowered, at_least, merged, of_each, stride_options

PLACES = 9  # of a kernel, up to which products for each are faster
CHANNELS = 16  # of the images, from which they are
FILTERS = {"VALID": 32, "SAME": 48}  # from which they are; images are copied once more where they are padded
ONES = [1, 1, 1, 1]


def _conv2d(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    x, kernel = inputs
    if 0 in (*node.tensor.shape[1:3], *kernel.shape):
        return _zeros(scope, node, x)
    alone, options = not scope.multiples, stride_options(node)
    if alone and (tiling := tiling_of(x.shape, x.dtype, kernel.shape, options)) is not None:
        return winograd.convolved(x, kernel, tiling)
    if alone and (window := window_of(x.shape, x.dtype, kernel.shape, options)) is not None:
        return patches.convolved(x, kernel, window, lambda: tf.raw_ops.Conv2D(input=x, filter=kernel, **options))
    clients = None if x.dtype in ALIKE else scope.clients_in(node.tensor.shape[0])
    if clients is not None:
        return merged(tf.map_fn(lambda own: _convolved(own, kernel, node, 2).cut(), of_each(x, clients)))
    return _convolved(x, kernel, node, _least(scope, x))


def _zeros(scope: Scope, node: Node, x: Any) -> Any:
    return tf.zeros(scope.shape(node.tensor.shape), x.dtype)


def _least(scope: Scope, x: Any) -> int:
    """How many images there must be."""
    return 2 if scope.multiples and x.shape[0] is None else 1


def _convolved(x: Any, kernel: Any, node: Node, least: int) -> Longer:
    """The convolution of so many images at least, the last of which may not be there."""
    whole = tf.raw_ops.Conv2D(input=at_least(least, x), filter=kernel, **stride_options(node))
    return Longer(whole, extent(x, 0))


def biased(a: Any, b: Any) -> Any:
    """The sum of images and a number for each channel, by the operation that TensorFlow looks for behind convolutions;
    None where it is another sum."""
    for x, bias in ((a, b), (b, a)):
        if len(x.shape) == 4 and x.shape[3] is not None and bias.shape.as_list() == [1, 1, 1, x.shape[3]]:
            return tf.nn.bias_add(x, tf.reshape(bias, [-1]))
    return None


def _conv2d_input(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    dy, kernel = inputs
    if 0 in (*dy.shape[1:3], *kernel.shape):
        return _zeros(scope, node, dy)
    sizes = tf.stack(scope.shape(node.tensor.shape))
    return by_images(dy, kernel, node.tensor.shape, sizes, alone=not scope.multiples, **stride_options(node))


def _conv2d_kernel(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    dy, x = inputs
    if 0 in (*dy.shape[1:3], *node.tensor.shape):
        return _zeros(scope, node, dy)
    if _least(scope, x) > 1:
        dy, x = at_least(2, dy), at_least(2, x)
    sizes = tf.stack(scope.shape(node.tensor.shape))
    return by_kernel(dy, x, node.tensor.shape, sizes, alone=not scope.multiples, **stride_options(node))


# ---- derivatives, with options as TensorFlow's operations have them; shapes have numbers where they are known ----


def by_images(dy: Any, kernel: Any, images_shape: Any, sizes: Any, *, alone: bool, **options: Any) -> Any:
    """The derivative by the images, whose shape is `sizes`; by products only for a client alone."""
    tiling = tiling_of(images_shape, dy.dtype, kernel.shape, options) if alone else None
    if tiling is not None:
        return winograd.by_images(dy, kernel, tiling)
    return tf.raw_ops.Conv2DBackpropInput(input_sizes=sizes, filter=kernel, out_backprop=dy, **options)


def by_kernel(dy: Any, x: Any, kernel_shape: Any, sizes: Any, *, alone: bool, **options: Any) -> Any:
    """The derivative by the kernel, whose shape is `sizes`; by products only for a client alone."""
    tiling = tiling_of(x.shape, x.dtype, kernel_shape, options) if alone else None
    if tiling is not None:
        return winograd.by_kernel(dy, x, tiling)

    def own() -> Any:
        return tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=sizes, out_backprop=dy, **options)

    window = window_of(x.shape, x.dtype, kernel_shape, options) if alone else None
    if window is not None:
        return patches.by_kernel(dy, x, window, own)
    if alone and _is_faster_by_places(x, kernel_shape, options):
        return _by_places(dy, x, kernel_shape, options)
    return own()


def tiling_of(images_shape: Any, dtype: Any, kernel_shape: Any, options: Mapping[str, Any]) -> winograd.Tiling | None:
    """How images are cut into tiles for clients one by one, where that is faster."""
    _, height, width, channels = images_shape
    down, across, met, filters = kernel_shape
    known = all(isinstance(size, int) for size in (height, width, channels, filters))
    if (down, across, met) != (winograd.KERNEL, winograd.KERNEL, channels) or not known:
        return None
    tiling = winograd.Tiling(height, width, 1 if options["padding"] == "SAME" else 0)
    return tiling if _may_be_products(dtype, options) and tiling.is_faster(channels, filters) else None


def window_of(images_shape: Any, dtype: Any, kernel_shape: Any, options: Mapping[str, Any]) -> patches.Window | None:
    """How patches of images are laid down, where products of them are faster: for clients one by one, and for kernels
    of the clients' own."""
    _, height, width, channels = images_shape
    down, across, met, filters = kernel_shape
    known = all(isinstance(size, int) for size in (height, width, channels, down, across, filters))
    if not known or met != channels or not _may_be_products(dtype, options):
        return None
    window = patches.Window(down, across, height, width, channels, options["padding"] == "SAME")
    return window if window.is_faster(filters) else None


# ---- for all clients at once, each of whom has a kernel ----


def of_each_client(loop: Node) -> tuple[Node, patches.Window] | None:
    """The convolution, or derivative by the kernel, that is all that a loop over clients (or whatever else has a kernel
    each) does, where products for all of them at once are faster; None where it isn't."""
    body = graph(loop, "body")
    if len(body.nodes) != 3 or integer(loop, "captured") or integer(loop, "carries") or body.results != (2,):
        return None
    first, second, node = body.nodes
    if node.op == "conv2d" and node.inputs == (0, 1):
        images, kernel = first.tensor, second.tensor
    elif node.op == "conv2d_kernel" and node.inputs == (0, 1):
        images, kernel = second.tensor, node.tensor
    else:
        return None
    window = window_of(images.shape, images.dtype, kernel.shape, stride_options(node))
    return None if window is None else (node, window)


def together(node: Node, window: patches.Window, inputs: list[Any]) -> Any:
    """Such a convolution's results, or derivatives, for all clients."""
    first, second = inputs
    made = patches.convolved_together if node.op == "conv2d" else patches.by_kernels_together
    return made(first, second, window)


def _may_be_products(dtype: Any, options: Mapping[str, Any]) -> bool:
    """Whether products can take the place of a convolution here, and may be faster."""
    one_by_one = options["strides"] == options.get("dilations", ONES) == ONES
    known = options["padding"] in FILTERS and options.get("data_format", "NHWC") == "NHWC"
    return not MASKED and not has_gpu() and dtype == "float32" and one_by_one and known


def _is_faster_by_places(x: Any, kernel_shape: Any, options: Mapping[str, Any]) -> bool:
    """Whether the kernel's derivative is faster as a product for each of its places."""
    height, width, channels, filters = kernel_shape
    known = all(isinstance(size, int) for size in (height, width, channels, filters))
    if not known or x.shape[3] != channels or not _may_be_products(x.dtype, options):
        return False
    many = channels >= CHANNELS and filters >= FILTERS[options["padding"]]
    return bool(height * width == 1 or (height * width <= PLACES and many))


def _by_places(dy: Any, x: Any, kernel_shape: Any, options: Mapping[str, Any]) -> Any:
    """The derivative by the kernel, [h, w, channels, filters], of `dy` [n, down, across, filters]."""
    height, width, channels, filters = kernel_shape
    if options["padding"] == "SAME":
        x = tf.pad(x, [[0, 0], *patches.zeros_around(height, width), [0, 0]])
    down, across = extent(dy, 1), extent(dy, 2)
    rows = tf.reshape(dy, [-1, filters])
    products: list[Any] = []
    for i in range(height):
        for j in range(width):
            with tf.control_dependencies(products[-1:]):  # so that one copy is in use at a time, and in the cache
                met = tf.reshape(x[:, i : i + down, j : j + across], [-1, channels])
            products.append(tf.matmul(met, rows, transpose_a=True))
    return tf.reshape(tf.stack(products), [height, width, channels, filters])


TABLE: dict[str, Lowered] = {
    "conv2d": _conv2d,
    "conv2d_input": _conv2d_input,
    "conv2d_kernel": _conv2d_kernel,
}
