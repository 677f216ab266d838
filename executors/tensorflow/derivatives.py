"""Derivatives of TensorFlow's operations in functions from Python, where there are faster ones than its own.

TensorFlow derives an operation by what its graph named for operations of that kind when the operation was made. So a
function is traced again, in a graph that names those of this file.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from .convolution import Steps, by_images, by_kernel
from .start import tf
from .structural import slopes_of_pooled

NAMES = {"MaxPool": "FedlangMaxPool", "Conv2D": "FedlangConv2D"}
PLAIN = [1, 1, 1, 1]

_known: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def derived_faster(function: Any) -> Any:
    """A `tf.function` with the same results and these derivatives, for a client alone; the function itself where it has
    no signature, or may have statements for AutoGraph, which would have to rewrite this file, too."""
    plain, signature = getattr(function, "python_function", None), getattr(function, "input_signature", None)
    if plain is None or signature is None or getattr(function, "_autograph", True):
        return function
    if function not in _known:

        def traced(*arguments: Any) -> Any:
            with tf.compat.v1.get_default_graph().gradient_override_map(NAMES):
                return plain(*arguments)

        _known[function] = tf.function(traced, input_signature=signature, autograph=False)
    return _known[function]


def _max_pool(op: Any, dy: Any) -> Any:
    given = {name: op.get_attr(name) for name in ("ksize", "strides", "padding", "explicit_paddings", "data_format")}
    window = {name: _text(value) for name, value in given.items()}
    x, y = op.inputs[0], op.outputs[0]
    if window["data_format"] != "NHWC" or window["padding"] == "EXPLICIT":
        return tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=dy, **window)
    return slopes_of_pooled(x, dy, **window)


def _conv2d(op: Any, dy: Any) -> list[Any]:
    names = ("strides", "padding", "explicit_paddings", "data_format", "dilations", "use_cudnn_on_gpu")
    options = {name: _text(op.get_attr(name)) for name in names}
    x, kernel = op.inputs
    by_x = by_k = None
    padding = str(options["padding"]).lower()
    if options["data_format"] == "NHWC" and options["dilations"] == PLAIN and padding in ("same", "valid"):
        steps = Steps(tuple(options["strides"][1:3]), padding)
        by_x, by_k = by_images(dy, kernel, x.shape, steps), by_kernel(dy, x, kernel.shape, steps)
    if by_x is None:
        by_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, **options)
    if by_k is None:
        by_k = tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=tf.shape(kernel), out_backprop=dy, **options)
    return [by_x, by_k]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


tf.RegisterGradient(NAMES["MaxPool"])(_max_pool)
tf.RegisterGradient(NAMES["Conv2D"])(_conv2d)
