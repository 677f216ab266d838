"""Derivatives of TensorFlow's operations in functions from Python, where there are faster ones than its own.

TensorFlow derives an operation by what its graph named for operations of that kind when the operation was made. So a
function is traced again, in a graph that names those of this file.
"""

from __future__ import annotations

from typing import Any

from .convolution import by_images, by_kernel
from .start import tf
from .structural import slopes_of_pooled

NAMES = {"MaxPool": "FedlangMaxPool", "Conv2D": "FedlangConv2D"}


def derived_faster(function: Any) -> Any:
    """A `tf.function` with the same results and these derivatives, for a client alone; the function itself where that
    changes nothing, or TensorFlow rewrites or compiles it before it is run (AutoGraph, XLA)."""
    plain, signature = getattr(function, "python_function", None), getattr(function, "input_signature", None)
    if plain is None or signature is None:
        return function
    if getattr(function, "_autograph", True) or getattr(function, "_jit_compile", True):
        return function
    if not hasattr(function, "_fedlang_derived"):
        operations = function.get_concrete_function().graph.get_operations()
        changed = any(operation.type in NAMES for operation in operations)
        function._fedlang_derived = _traced_again(plain, signature) if changed else None
    return function._fedlang_derived or function


def _traced_again(plain: Any, signature: Any) -> Any:
    def traced(*arguments: Any) -> Any:
        with tf.compat.v1.get_default_graph().gradient_override_map(NAMES):
            return plain(*arguments)

    return tf.function(traced, input_signature=signature, autograph=False)


def _max_pool(op: Any, dy: Any) -> Any:
    window = _attributes(op, "ksize", "strides", "padding", "explicit_paddings", "data_format")
    x, y = op.inputs[0], op.outputs[0]
    if x.shape.rank is None or window["data_format"] != "NHWC" or window["padding"] == "EXPLICIT":
        return tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=dy, **window)
    return slopes_of_pooled(x, dy, **window)


def _conv2d(op: Any, dy: Any) -> list[Any]:
    names = ("strides", "padding", "explicit_paddings", "data_format", "dilations", "use_cudnn_on_gpu")
    options = _attributes(op, *names)
    x, kernel = op.inputs
    known = x.shape.rank is not None and kernel.shape.rank is not None
    return [
        by_images(dy, kernel, x.shape, tf.shape(x), alone=known, **options),
        by_kernel(dy, x, kernel.shape, tf.shape(kernel), alone=known, **options),
    ]


def _attributes(op: Any, *names: str) -> dict[str, Any]:
    found = {name: op.get_attr(name) for name in names}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


tf.RegisterGradient(NAMES["MaxPool"])(_max_pool)
tf.RegisterGradient(NAMES["Conv2D"])(_conv2d)
