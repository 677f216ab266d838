"""The table of layers: what each kind of Keras layer is in the language.

A row takes a `Step` and the names of its weights and gives a `Piece`: the layer's expression, its activation apart
(the last one may belong to the loss), and what it needs besides. Options that mean something else are refused by name,
so that a translation is never nearly right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fedlang.learning import errors
from fedlang.learning.layer_functions import (
    BATCH_MOMENTS,
    MOMENTS,
    SCALE_TO_UNIT,
    STANDARDISE,
    STANDARDISE_GROUPS,
    recurrence,
)
from fedlang.learning.wiring import Step

ACTIVATIONS: Mapping[str, str] = {
    "linear": "{}",
    "elu": "elu({})",
    "exponential": "exp({})",
    "gelu": "gelu({})",
    "hard_sigmoid": "hard_sigmoid({})",
    "leaky_relu": "leaky_relu({})",
    "log_softmax": "log_softmax({})",
    "mish": "mish({})",
    "relu": "relu({})",
    "relu6": "relu6({})",
    "selu": "selu({})",
    "sigmoid": "sigmoid({})",
    "silu": "silu({})",
    "softmax": "softmax({})",
    "softplus": "softplus({})",
    "softsign": "softsign({})",
    "tanh": "tanh({})",
}


@dataclass(frozen=True)
class Piece:
    """A layer as text, in which `{x}` is the value it takes, and `{0}`, `{1}`, … are where it takes several.

    `training` stands in for `value` and its activation while training, where that differs: `{key}` in it is a key of
    its own, `{moments}` a name for `moments`. `seen` has what training makes of the layer's statistics, by their names.
    """

    value: str
    activation: str = "linear"
    helpers: tuple[str, ...] = ()
    training: str = ""
    moments: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)

    @property
    def draws(self) -> bool:
        """Whether it takes a key while training."""
        return "{key}" in self.training


Weight = Callable[[str], str]
"""The text of one of the layer's weights, by its name in Keras."""

Row = Callable[[Step, Weight], Piece]


def _dense(step: Step, weight: Weight) -> Piece:
    return Piece(f"{{x}} @ {weight('kernel')}{_bias(step, weight)}", _activation(step))


# ---- convolutions and pooling ----


def _conv2d(step: Step, weight: Weight) -> Piece:
    _verify_convolution(step, (1, 1))
    stride = _square(step, "strides", step.layer.strides)
    value = _convolved(step, "{x}", weight("kernel"), stride)
    return Piece(f"{value}{_bias(step, weight)}", _activation(step))


def _conv1d(step: Step, weight: Weight) -> Piece:
    """That of images of height 1."""
    _verify_convolution(step, (1,))
    kernel = f"expand({weight('kernel')}, axis = 0)"
    value = _convolved(step, "expand({x}, axis = 1)", kernel, int(step.layer.strides[0]))
    return Piece(f"{value}[:, 0]{_bias(step, weight)}", _activation(step))


def _convolved(step: Step, images: str, kernel: str, stride: int) -> str:
    function = "conv2d" if step.layer.padding == "same" else "conv2d_valid"
    given = f", stride = {stride}" if stride != 1 else ""
    return f"{function}({images}, {kernel}{given})"


def _verify_convolution(step: Step, dilation: tuple[int, ...]) -> None:
    layer = step.layer
    _verify(step, "data_format", layer.data_format, "channels_last")
    _verify(step, "dilation_rate", tuple(layer.dilation_rate), dilation)
    _verify(step, "groups", layer.groups, 1)
    if layer.padding not in ("same", "valid"):
        raise _unsupported(step, "padding", layer.padding, "same or valid")


def _pooling(step: Step, _: Weight, function: str) -> Piece:
    layer = step.layer
    _verify(step, "data_format", layer.data_format, "channels_last")
    _verify(step, "padding", layer.padding, "valid")
    size = _square(step, "pool_size", layer.pool_size)
    _verify(step, "strides", tuple(layer.strides), (size, size))
    return Piece(f"{function}({{x}}, size = {size})")


def _global_pooling(step: Step, _: Weight, function: str) -> Piece:
    _verify(step, "data_format", step.layer.data_format, "channels_last")
    _verify(step, "keepdims", step.layer.keepdims, False)
    return Piece(f"{function}({_places(step)}, axis = 1)")


def _places(step: Step) -> str:
    """The value `[n, …, c]` as `[n, places, c]`."""
    *sizes, channels = step.before
    return "{x}" if len(sizes) == 1 else f"reshape({{x}}, [n, {_product(sizes)}, {channels}])"


def _product(sizes: list[int]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found


# ---- shapes, chance ----


def _flatten(step: Step, _: Weight) -> Piece:
    if len(step.before) > 1:
        _verify(step, "data_format", step.layer.data_format, "channels_last")
    return Piece("flatten({x})")


def _reshape(step: Step, _: Weight) -> Piece:
    return Piece(f"reshape({{x}}, [{', '.join(['n', *map(str, step.after)])}])")


def _permute(step: Step, _: Weight) -> Piece:
    return Piece(f"transpose({{x}}, [{', '.join(map(str, (0, *step.layer.dims)))}])")


def _dropout(step: Step, _: Weight) -> Piece:
    _verify(step, "noise_shape", step.layer.noise_shape, None)
    rate = float(step.layer.rate)
    return Piece("{x}", training=f"dropout({{key}}, {{x}}, rate = {rate!r})" if rate else "")


def _rescaling(step: Step, _: Weight) -> Piece:
    scale, offset = step.layer.scale, step.layer.offset
    if not isinstance(scale, int | float) or not isinstance(offset, int | float):
        raise _unsupported(step, "scale, offset", (scale, offset), "two numbers")
    shift = f" {'-' if offset < 0 else '+'} {abs(float(offset))!r}" if offset else ""
    return Piece(f"{{x}} * {float(scale)!r}{shift}")


# ---- activations ----


def _rectified(step: Step, _: Weight) -> Piece:
    for option, plain in (("max_value", None), ("negative_slope", 0.0), ("threshold", 0.0)):
        _verify(step, option, getattr(step.layer, option), plain)
    return Piece("{x}", "relu")


def _softmax(step: Step, _: Weight) -> Piece:
    _verify_last(step)
    return Piece("{x}", "softmax")


# ---- recurrence ----


def _embedding(step: Step, weight: Weight) -> Piece:
    _verify(step, "mask_zero", step.layer.mask_zero, False)
    return Piece(f"gather({weight('embeddings')}, {{x}})")


def _lstm(step: Step, weight: Weight) -> Piece:
    _verify(step, "recurrent_activation", _name_of(step.layer.recurrent_activation), "sigmoid")
    return _recurrent(step, weight, "lstm")


def _gru(step: Step, weight: Weight) -> Piece:
    _verify(step, "recurrent_activation", _name_of(step.layer.recurrent_activation), "sigmoid")
    _verify(step, "reset_after", step.layer.reset_after, True)
    return _recurrent(step, weight, "gru")


def _recurrent(step: Step, weight: Weight, name: str) -> Piece:
    layer = step.layer
    plain = {"return_state": False, "go_backwards": False, "stateful": False, "dropout": 0.0, "recurrent_dropout": 0.0}
    for option, wanted in plain.items():
        _verify(step, option, getattr(layer, option), wanted)
    _verify(step, "activation", _name_of(layer.activation), "tanh")
    bias = weight("bias") if layer.use_bias else "zeros()"
    function = f"{name}_sequence" if layer.return_sequences else f"{name}_last"
    value = f"{function}({{x}}, {weight('kernel')}, {weight('recurrent_kernel')}, {bias})"
    return Piece(value, helpers=recurrence(name, sequence=layer.return_sequences))


# ---- normalisation ----


def _layer_normalization(step: Step, weight: Weight) -> Piece:
    _verify_last(step)
    _verify(step, "rms_scaling", getattr(step.layer, "rms_scaling", False), False)
    scaled = f" * {weight('gamma')}" if step.layer.scale else ""
    shifted = f" + {weight('beta')}" if step.layer.center else ""
    return Piece(
        f"standardise({{x}}, epsilon = {float(step.layer.epsilon)!r}){scaled}{shifted}", helpers=(STANDARDISE,)
    )


def _group_normalization(step: Step, weight: Weight) -> Piece:
    _verify_last(step)
    *sizes, channels = step.before
    groups = int(step.layer.groups)
    shape = f"{groups}, {channels // groups}"
    gamma, beta = (f"reshape({each}, [{shape}])" for each in _scale_and_shift(step, weight))
    grouped = f"reshape({{x}}, [n, {_product(sizes)}, {shape}])"
    value = f"standardise_groups({grouped}, {gamma}, {beta}, epsilon = {float(step.layer.epsilon)!r})"
    return Piece(f"reshape({value}, [n, {', '.join(map(str, step.before))}])", helpers=(STANDARDISE_GROUPS,))


def _rms_normalization(step: Step, weight: Weight) -> Piece:
    _verify_last(step)
    value = f"scale_to_unit({{x}}, epsilon = {float(step.layer.epsilon)!r})"
    return Piece(f"{value} * {weight('scale')}", helpers=(SCALE_TO_UNIT,))


def _batch_normalization(step: Step, weight: Weight) -> Piece:
    """By the moving statistics; while it trains by those of the batch, towards which the moving ones go."""
    layer = step.layer
    _verify_last(step)
    for option in ("synchronized", "renorm"):
        _verify(step, option, getattr(layer, option, False), False)
    rest = f"{', '.join(_scale_and_shift(step, weight))}, epsilon = {float(layer.epsilon)!r}"
    kept = f"{{mean: {weight('moving_mean')}, variance: {weight('moving_variance')}}}"
    value = f"normalise({{x}}, {kept.replace('{', '{{').replace('}', '}}')}, {rest})"
    if not layer.trainable:
        return Piece(value, helpers=(MOMENTS,))
    old, new = float(layer.momentum), float(f"{1 - layer.momentum:.12g}")
    seen = {
        f"moving_{name}": f"{old!r} * {weight(f'moving_{name}')} + {new!r} * {{moments}}.{name}"
        for name in ("mean", "variance")
    }
    places = _places(step) if len(step.before) > 1 else "expand({x}, axis = 1)"
    return Piece(
        value,
        helpers=(MOMENTS, BATCH_MOMENTS),
        training=f"normalise({{x}}, {{moments}}, {rest})",
        moments=f"batch_moments({places})",
        seen=seen,
    )


def _scale_and_shift(step: Step, weight: Weight) -> tuple[str, str]:
    """The weights gamma and beta, or what stands for one that there is not."""
    plain = f"[float32[{step.before[-1]}]]()"
    gamma = weight("gamma") if step.layer.scale else f"ones{plain}"
    return gamma, weight("beta") if step.layer.center else f"zeros{plain}"


# ---- several values as one ----


def _merged(step: Step, _: Weight, template: str) -> Piece:
    """`template` of the values so far, `{0}`, and the next one, `{1}`."""
    _verify(step, "shapes", sorted(set(step.shapes)), [step.before])
    value = "{0}"
    for k in range(1, len(step.takes)):
        value = template.replace("{0}", "\0").replace("{1}", f"{{{k}}}").replace("\0", value)
    return Piece(value)


def _average(step: Step, weight: Weight) -> Piece:
    return Piece(f"({_merged(step, weight, '{0} + {1}').value}) / {float(len(step.takes))!r}")


def _concatenate(step: Step, _: Weight) -> Piece:
    """Along the last axis, which is the first one for the time of it."""
    rank = len(step.before)
    _verify(step, "axis", -1 if step.layer.axis == rank else step.layer.axis, -1)
    there = f"[{', '.join(map(str, (rank, *range(rank))))}]"
    back = f"[{', '.join(map(str, (*range(1, rank + 1), 0)))}]"
    value = f"transpose({{0}}, {there})"
    for k in range(1, len(step.takes)):
        value = f"concat({value}, transpose({{{k}}}, {there}))"
    return Piece(f"transpose({value}, {back})")


MERGES: Mapping[str, Row] = {
    "Add": partial(_merged, template="{0} + {1}"),
    "Average": _average,
    "Concatenate": _concatenate,
    "Maximum": partial(_merged, template="max({0}, {1})"),
    "Minimum": partial(_merged, template="min({0}, {1})"),
    "Multiply": partial(_merged, template="{0} * {1}"),
    "Subtract": partial(_merged, template="{0} - {1}"),
}
"""Layers that take several values."""

LAYERS: Mapping[str, Row] = {
    "Activation": lambda step, _: Piece("{x}", _activation(step)),
    "AveragePooling2D": partial(_pooling, function="average_pool"),
    "BatchNormalization": _batch_normalization,
    "Conv1D": _conv1d,
    "Conv2D": _conv2d,
    "Dense": _dense,
    "Dropout": _dropout,
    "ELU": lambda step, _: Piece(f"elu({{x}}, alpha = {float(step.layer.alpha)!r})"),
    "Embedding": _embedding,
    "Flatten": _flatten,
    "GRU": _gru,
    "GlobalAveragePooling1D": partial(_global_pooling, function="reduce_mean"),
    "GlobalAveragePooling2D": partial(_global_pooling, function="reduce_mean"),
    "GlobalMaxPooling1D": partial(_global_pooling, function="reduce_max"),
    "GlobalMaxPooling2D": partial(_global_pooling, function="reduce_max"),
    "GroupNormalization": _group_normalization,
    "Identity": lambda _, weight: Piece("{x}"),
    "LSTM": _lstm,
    "LayerNormalization": _layer_normalization,
    "LeakyReLU": lambda step, _: Piece(f"leaky_relu({{x}}, slope = {float(step.layer.negative_slope)!r})"),
    "MaxPooling2D": partial(_pooling, function="max_pool"),
    "Permute": _permute,
    "RMSNormalization": _rms_normalization,
    "ReLU": _rectified,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SimpleRNN": lambda step, weight: _recurrent(step, weight, "rnn"),
    "Softmax": _softmax,
    **MERGES,
}
KNOWN_LAYERS = ("InputLayer", *sorted(LAYERS))


def piece_of(step: Step, weight: Weight) -> Piece:
    """The text of one layer."""
    _verify_plain(step)
    if (len(step.takes) > 1) != (step.kind in MERGES):
        raise _unsupported(step, "inputs", len(step.takes), "two or more" if step.kind in MERGES else "one")
    return LAYERS[step.kind](step, weight)


def activate(activation: str, value: str) -> str:
    """A value with an activation around it."""
    return ACTIVATIONS[activation].format(value)


# ---- options ----


def _verify_plain(step: Step) -> None:
    """Nothing that Keras does around a layer of any kind: penalties, constraints, other precisions."""
    _verify(step, "dtype", getattr(step.layer, "compute_dtype", "float32"), "float32")
    for holder in (step.layer, getattr(step.layer, "cell", None)):  # a recurrent layer's cell has its weights
        for option, value in sorted(vars(holder).items() if holder else ()):
            if option.endswith(("_regularizer", "_constraint")):
                _verify(step, option, value, None)


def _verify(step: Step, option: str, value: object, wanted: object) -> None:
    if value != wanted:
        raise _unsupported(step, option, value, repr(wanted))


def _verify_last(step: Step) -> None:
    """It goes along the last axis only."""
    given = step.layer.axis
    axes = tuple(given) if isinstance(given, list | tuple) else (given,)
    _verify(step, "axis", tuple(-1 if axis == len(step.before) else axis for axis in axes), (-1,))


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
