"""The table of layers: what each kind of Keras layer is in the language.

A row takes a `Step` and the names of its weights and gives a `Piece`: the layer's expression over `x`, its activation
apart (the last one may belong to the loss), and what it needs besides. Options that mean something else are refused
by name, so that a translation is never nearly right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fedlang.learning import errors
from fedlang.learning.wiring import Step

ACTIVATIONS: Mapping[str, str] = {
    "linear": "{}",
    "relu": "relu({})",
    "tanh": "tanh({})",
    "sigmoid": "sigmoid({})",
    "softmax": "softmax({})",
    "softplus": "softplus({})",
}

LSTM = """
## What an LSTM layer carries from one time to the next.
type Memory[n, h] = {hidden: float32[n, h], cell: float32[n, h]}

## One time of an LSTM (Hochreiter and Schmidhuber, 1997). The gates lie in Keras's order: input, forget, cell, output.
fn lstm_step[n, i, h](now: Memory[n, h], x: float32[n, i], kernel: float32[i, product(4, h)],
                      recurrent_kernel: float32[h, product(4, h)], bias: float32[product(4, h)]) -> Memory[n, h] {
  let z = x @ kernel + now.hidden @ recurrent_kernel + bias
  let cell = sigmoid(z[:, h:2 * h]) * now.cell + sigmoid(z[:, 0:h]) * tanh(z[:, 2 * h:3 * h])
  {hidden: sigmoid(z[:, 3 * h:4 * h]) * tanh(cell), cell}
}
"""
LSTM_SEQUENCE = """
## What an LSTM layer gives at every time.
fn lstm_sequence[n, t, i, h](x: float32[n, t, i], kernel: float32[i, product(4, h)],
                             recurrent_kernel: float32[h, product(4, h)], bias: float32[product(4, h)])
    -> float32[n, t, h] {
  let start: Memory[n, h] = zeros()
  let (_, hidden) = scan here in transpose(x, [1, 0, 2]) from start as now {
    let next = lstm_step(now, here, kernel, recurrent_kernel, bias)
    (next, next.hidden)
  }
  transpose(hidden, [1, 0, 2])
}
"""
LSTM_LAST = """
## What an LSTM layer gives at the last time.
fn lstm_last[n, t, i, h](x: float32[n, t, i], kernel: float32[i, product(4, h)],
                         recurrent_kernel: float32[h, product(4, h)], bias: float32[product(4, h)]) -> float32[n, h] {
  let start: Memory[n, h] = zeros()
  let end = fold here in transpose(x, [1, 0, 2]) from start as now {
    lstm_step(now, here, kernel, recurrent_kernel, bias)
  }
  end.hidden
}
"""
STANDARDISE = """
## Mean 0 and variance 1 along the last axis (Ba et al., 2016, arXiv:1607.06450).
fn standardise[...s, k](x: float32[...s, k], epsilon: float32) -> float32[...s, k] {
  let centred = x - expand(reduce_mean(x, axis = -1), axis = -1)
  centred * rsqrt(expand(reduce_mean(square(centred), axis = -1), axis = -1) + epsilon)
}
"""


@dataclass(frozen=True)
class Piece:
    """A layer as text. `draws` stands in for `value` while training; `{key}` in it is a key of its own."""

    value: str
    activation: str = "linear"
    helpers: tuple[str, ...] = ()
    draws: str = ""


Weight = Callable[[str], str]
"""The text of one of the layer's weights, by its name in Keras."""

Row = Callable[[Step, Weight], Piece]


def _dense(step: Step, weight: Weight) -> Piece:
    return Piece(f"x @ {weight('kernel')}{_bias(step, weight)}", _activation(step))


def _conv2d(step: Step, weight: Weight) -> Piece:
    layer = step.layer
    _verify(step, "data_format", layer.data_format, "channels_last")
    _verify(step, "dilation_rate", layer.dilation_rate, (1, 1))
    _verify(step, "groups", layer.groups, 1)
    if layer.padding not in ("same", "valid"):
        raise _unsupported(step, "padding", layer.padding, "same or valid")
    stride = _square(step, "strides", layer.strides)
    function = "conv2d" if layer.padding == "same" else "conv2d_valid"
    given = f", stride = {stride}" if stride != 1 else ""
    return Piece(f"{function}(x, {weight('kernel')}{given}){_bias(step, weight)}", _activation(step))


def _pooling(step: Step, function: str) -> Piece:
    layer = step.layer
    _verify(step, "data_format", layer.data_format, "channels_last")
    _verify(step, "padding", layer.padding, "valid")
    size = _square(step, "pool_size", layer.pool_size)
    _verify(step, "strides", tuple(layer.strides), (size, size))
    return Piece(f"{function}(x, size = {size})")


def _reshape(step: Step, _: Weight) -> Piece:
    return Piece(f"reshape(x, [{', '.join(['n', *map(str, step.after)])}])")


def _dropout(step: Step, _: Weight) -> Piece:
    _verify(step, "noise_shape", step.layer.noise_shape, None)
    rate = float(step.layer.rate)
    return Piece("x", draws=f"dropout({{key}}, x, rate = {rate!r})" if rate else "")


def _rectified(step: Step, _: Weight) -> Piece:
    for option, plain in (("max_value", None), ("negative_slope", 0.0), ("threshold", 0.0)):
        _verify(step, option, getattr(step.layer, option), plain)
    return Piece("x", "relu")


def _softmax(step: Step, _: Weight) -> Piece:
    axis = step.layer.axis
    _verify(step, "axis", -1 if axis == len(step.before) else axis, -1)
    return Piece("x", "softmax")


def _embedding(step: Step, weight: Weight) -> Piece:
    _verify(step, "mask_zero", step.layer.mask_zero, False)
    return Piece(f"gather({weight('embeddings')}, x)")


def _lstm(step: Step, weight: Weight) -> Piece:
    layer = step.layer
    plain = {"return_state": False, "go_backwards": False, "stateful": False, "dropout": 0.0, "recurrent_dropout": 0.0}
    for option, wanted in plain.items():
        _verify(step, option, getattr(layer, option), wanted)
    _verify(step, "activation", _name_of(layer.activation), "tanh")
    _verify(step, "recurrent_activation", _name_of(layer.recurrent_activation), "sigmoid")
    bias = weight("bias") if layer.use_bias else "zeros()"
    function, helper = ("lstm_sequence", LSTM_SEQUENCE) if layer.return_sequences else ("lstm_last", LSTM_LAST)
    value = f"{function}(x, {weight('kernel')}, {weight('recurrent_kernel')}, {bias})"
    return Piece(value, helpers=(LSTM, helper))


def _layer_normalization(step: Step, weight: Weight) -> Piece:
    layer = step.layer
    last = len(step.before)
    axes = tuple(layer.axis) if isinstance(layer.axis, list | tuple) else (layer.axis,)
    _verify(step, "axis", tuple(-1 if axis == last else axis for axis in axes), (-1,))
    _verify(step, "rms_scaling", getattr(layer, "rms_scaling", False), False)
    scaled = f" * {weight('gamma')}" if layer.scale else ""
    centred = f" + {weight('beta')}" if layer.center else ""
    return Piece(f"standardise(x, epsilon = {float(layer.epsilon)!r}){scaled}{centred}", helpers=(STANDARDISE,))


def _rescaling(step: Step, _: Weight) -> Piece:
    scale, offset = step.layer.scale, step.layer.offset
    if not isinstance(scale, int | float) or not isinstance(offset, int | float):
        raise _unsupported(step, "scale, offset", (scale, offset), "two numbers")
    shift = f" {'-' if offset < 0 else '+'} {abs(float(offset))!r}" if offset else ""
    return Piece(f"x * {float(scale)!r}{shift}")


LAYERS: Mapping[str, Row] = {
    "Activation": lambda step, _: Piece("x", _activation(step)),
    "AveragePooling2D": lambda step, _: _pooling(step, "average_pool"),
    "Conv2D": _conv2d,
    "Dense": _dense,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "Flatten": lambda _, weight: Piece("flatten(x)"),
    "LSTM": _lstm,
    "LayerNormalization": _layer_normalization,
    "MaxPooling2D": lambda step, _: _pooling(step, "max_pool"),
    "ReLU": _rectified,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Softmax": _softmax,
}
KNOWN_LAYERS = ("InputLayer", *LAYERS)


def piece_of(step: Step, weight: Weight) -> Piece:
    """The text of one layer."""
    _verify_plain(step)
    return LAYERS[step.kind](step, weight)


def activate(activation: str, value: str) -> str:
    """A value with an activation around it."""
    return ACTIVATIONS[activation].format(value)


# ---- options ----


def _verify_plain(step: Step) -> None:
    """Nothing that Keras does around a layer of any kind: penalties, constraints, other precisions."""
    _verify(step, "dtype", step.layer.compute_dtype, "float32")
    for option, value in sorted(vars(step.layer).items()):
        if option.endswith(("_regularizer", "_constraint")):
            _verify(step, option, value, None)


def _verify(step: Step, option: str, value: object, wanted: object) -> None:
    if value != wanted:
        raise _unsupported(step, option, value, repr(wanted))


def _unsupported(step: Step, option: str, value: object, wanted: str) -> Exception:
    return errors.unsupported_option("/".join(step.path), step.kind, option, value, wanted)


def _square(step: Step, option: str, sizes: Any) -> int:
    height, width = (int(size) for size in sizes)
    if height != width:
        raise _unsupported(step, option, tuple(sizes), "the same in both directions")
    return height


def _bias(step: Step, weight: Weight) -> str:
    return f" + {weight('bias')}" if step.layer.use_bias else ""


def _activation(step: Step) -> str:
    name = _name_of(step.layer.activation)
    if name not in ACTIVATIONS:
        raise _unsupported(step, "activation", name, ", ".join(ACTIVATIONS))
    return name


def _name_of(activation: Any) -> str:
    """The name of an activation of Keras or TensorFlow; a function that only looks like one has none that is known."""
    import keras

    name = str(getattr(activation, "__name__", type(activation).__name__)).removesuffix("_v2")
    tensorflow = sys.modules.get("tensorflow")
    homes = [keras.activations, *([tensorflow.nn, tensorflow.math] if tensorflow else [])]
    return name if any(getattr(home, name, None) is activation for home in homes) else repr(activation)
