"""The models that the tests translate: each kind of layer in a model as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Batch = tuple[NDArray[Any], NDArray[Any]]


def layers() -> Any:
    import keras

    return keras.layers


def chain(*inner: Any) -> Any:
    import keras

    return keras.Sequential(list(inner))


def image(channels: int = 2) -> Any:
    return layers().Input((6, 6, channels))


def flat(*inner: Any) -> Any:
    """Layers over small images, and a dense one so that there is something to train."""
    return chain(image(), *inner, layers().Flatten(), layers().Dense(3))


def time(*inner: Any) -> Any:
    return chain(layers().Input((5, 4)), *inner)


def functional() -> Any:
    import keras

    start = layers().Input((4,))
    x = layers().Dense(5, activation="tanh")(start)
    return keras.Model(start, layers().Dense(3)(x))


def nested() -> Any:
    return chain(layers().Input((4,)), chain(layers().Dense(5, activation="relu")), layers().Dense(3))


def tokens(*inner: Any) -> Any:
    return chain(layers().Input((5,)), layers().Embedding(7, 4), *inner)


def uneven(model: Any) -> Any:
    """The model with every weight away from the ones and zeros that layers start with."""
    generator = np.random.default_rng(3)
    model.set_weights([w + 0.1 * generator.standard_normal(w.shape).astype("float32") for w in model.get_weights()])
    return model


def activations(*names: str) -> Any:
    return chain(layers().Input((4,)), *(layers().Dense(4, activation=name) for name in names))


def merging(kind: str, width: int = 6, **options: Any) -> Any:
    """Two branches from one dense layer and the layer itself, merged."""
    import keras

    start = layers().Input((5,))
    x = layers().Dense(6, activation="tanh")(start)
    branches = [layers().Dense(6, activation="relu")(x), layers().Dense(width)(x), x]
    merged = getattr(layers(), kind)(**options)(branches if kind != "Subtract" else branches[:2])
    return keras.Model(start, layers().Dense(3)(merged))


def residual(normalization: str = "BatchNormalization", **options: Any) -> Any:
    """A residual network: the input is kept, one branch has a convolution of its own, the other none."""
    import keras

    def block(x: Any, channels: int) -> Any:
        inner = getattr(layers(), normalization)(**options)(layers().Conv2D(channels, 3, padding="same")(x))
        inner = layers().Conv2D(channels, 3, padding="same")(layers().ReLU()(inner))
        inner = getattr(layers(), normalization)(**options)(inner)
        side = x if x.shape[-1] == channels else layers().Conv2D(channels, 1, use_bias=False)(x)
        return layers().ReLU()(layers().Add()([side, inner]))

    start = image()
    x = layers().GlobalAveragePooling2D()(block(block(start, 2), 4))
    return keras.Model(start, layers().Dense(3)(x))


def operators() -> Any:
    """Values added and multiplied by operators instead of layers; the input is needed last."""
    import keras

    start = layers().Input((4,))
    x = layers().Dense(4, activation="tanh")(start)
    return keras.Model(start, layers().Dense(3)(keras.ops.maximum(x + start, x * start) - start))


def branches_in_a_nested_model() -> Any:
    import keras

    inner, start = image(4), image(2)
    left = layers().Conv2D(2, 3, padding="same")(inner)
    nest = keras.Model(inner, layers().Concatenate()([left, inner, layers().ReLU()(inner)]), name="nest")
    x = layers().Flatten()(nest(layers().Conv2D(4, 3, padding="same")(start)))
    return keras.Model(start, layers().Dense(3)(x))


def two_inputs_inside() -> Any:
    """A nested model of two inputs, and a layer that is used twice."""
    import keras

    a, b, start = layers().Input((4,)), layers().Input((4,)), layers().Input((4,))
    inner = keras.Model([a, b], layers().Multiply()([a, layers().Dense(4)(b)]))
    twice = layers().Dense(4, activation="tanh")
    return keras.Model(start, layers().Dense(3)(inner([twice(start), twice(twice(start))])))


def two_embeddings() -> Any:
    import keras

    start = layers().Input((5,))
    found = layers().Average()([layers().Embedding(7, 4)(start), layers().Embedding(7, 4)(start)])
    return keras.Model(start, layers().Dense(3)(layers().GlobalMaxPooling1D()(found)))


def skipping_nothing() -> Any:
    """What is needed later comes through layers that do nothing outside of training; so does the result."""
    import keras

    start = layers().Input((4,))
    x = layers().Dense(3)(start)
    idle = layers().Dropout(0.0)(layers().Identity()(x))
    return keras.Model(start, layers().Identity()(layers().Add()([layers().Dense(3)(idle), idle])))


def frozen_statistics() -> Any:
    model = chain(layers().Input((4,)), layers().BatchNormalization(), layers().Dense(3))
    model.layers[0].trainable = False
    return model


CASES: Mapping[str, Callable[[], Any]] = {
    "Activation": lambda: flat(layers().Activation("tanh")),
    "AveragePooling2D": lambda: flat(layers().AveragePooling2D(2)),
    "Conv2D same": lambda: flat(layers().Conv2D(3, 3, padding="same")),
    "Conv2D valid": lambda: flat(layers().Conv2D(3, (2, 3), activation="relu")),
    "Conv2D strides same": lambda: flat(layers().Conv2D(3, 3, strides=2, padding="same", use_bias=False)),
    "Conv2D strides valid": lambda: flat(layers().Conv2D(3, 3, strides=2)),
    "BatchNormalization": lambda: chain(layers().Input((4,)), layers().BatchNormalization(), layers().Dense(3)),
    "BatchNormalization of images": lambda: flat(
        layers().Conv2D(3, 3), layers().BatchNormalization(momentum=0.9, epsilon=1e-2), layers().ReLU()
    ),
    "BatchNormalization over time": lambda: time(
        layers().BatchNormalization(center=False, scale=False), layers().Dense(3)
    ),
    "BatchNormalization frozen": frozen_statistics,
    "Conv1D same": lambda: time(layers().Conv1D(3, 3, padding="same", activation="relu"), layers().Dense(3)),
    "Conv1D valid": lambda: time(layers().Conv1D(3, 2, strides=2), layers().Flatten(), layers().Dense(3)),
    "Dense activations": lambda: activations("relu", "tanh", "sigmoid", "softplus", "softmax", "linear"),
    "Dense smooth activations": lambda: activations("gelu", "silu", "elu", "selu", "mish", "exponential"),
    "Dense other activations": lambda: activations("leaky_relu", "relu6", "hard_sigmoid", "softsign", "log_softmax"),
    "Dense without bias": lambda: chain(layers().Input((4,)), layers().Dense(3, use_bias=False)),
    "Dense over time": lambda: time(layers().Dense(3)),
    "Dropout at 0": lambda: flat(layers().Dropout(0.0)),
    "ELU": lambda: flat(layers().ELU(0.3)),
    "Embedding": lambda: tokens(layers().Flatten(), layers().Dense(3)),
    "Embedding twice": two_embeddings,
    "Flatten": flat,
    "GRU last": lambda: time(layers().GRU(3)),
    "GRU sequence": lambda: time(layers().GRU(3, return_sequences=True, use_bias=False), layers().Dense(3)),
    "GlobalAveragePooling1D": lambda: time(layers().GlobalAveragePooling1D(), layers().Dense(3)),
    "GlobalAveragePooling2D": lambda: chain(image(), layers().GlobalAveragePooling2D(), layers().Dense(3)),
    "GlobalMaxPooling1D": lambda: time(layers().GlobalMaxPooling1D(), layers().Dense(3)),
    "GlobalMaxPooling2D": lambda: chain(image(), layers().GlobalMaxPooling2D(), layers().Dense(3)),
    "GroupNormalization": lambda: flat(layers().Conv2D(6, 3), layers().GroupNormalization(3)),
    "GroupNormalization of all": lambda: time(layers().GroupNormalization(1, epsilon=1e-2), layers().Dense(3)),
    "GroupNormalization of each": lambda: flat(layers().GroupNormalization(-1, scale=False)),
    "Identity": skipping_nothing,
    "LSTM last": lambda: time(layers().LSTM(3)),
    "LSTM sequence": lambda: time(layers().LSTM(3, return_sequences=True)),
    "LSTM stacked": lambda: tokens(layers().LSTM(3, return_sequences=True), layers().LSTM(3, use_bias=False)),
    "LayerNormalization": lambda: time(layers().LayerNormalization(), layers().Dense(3)),
    "LayerNormalization plain": lambda: flat(layers().LayerNormalization(center=False, scale=False, epsilon=1e-5)),
    "LeakyReLU": lambda: flat(layers().LeakyReLU(0.1)),
    "MaxPooling2D": lambda: flat(layers().MaxPooling2D(2)),
    "MaxPooling2D cuts": lambda: flat(layers().MaxPooling2D((4, 4))),
    "Permute": lambda: time(layers().Permute((2, 1)), layers().Dense(3)),
    "RMSNormalization": lambda: time(layers().RMSNormalization(), layers().Dense(3)),
    "ReLU": lambda: flat(layers().ReLU()),
    "Rescaling": lambda: flat(layers().Rescaling(1 / 127.5, offset=-1)),
    "Reshape": lambda: chain(image(), layers().Reshape((12, -1)), layers().Dense(3)),
    "SimpleRNN last": lambda: time(layers().SimpleRNN(3)),
    "SimpleRNN sequence": lambda: time(layers().SimpleRNN(3, return_sequences=True)),
    "Softmax": lambda: flat(layers().Softmax()),
    **{kind: partial(merging, kind) for kind in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")},
    "Concatenate": partial(merging, "Concatenate", 2),
    "Concatenate in a nested model": branches_in_a_nested_model,
    "functional": functional,
    "nested": nested,
    "operators": operators,
    "residual": residual,
    "residual with groups": partial(residual, "GroupNormalization", groups=2),
    "two inputs inside": two_inputs_inside,
}


def batch_for(model: Any, size: int = 4) -> Batch:
    """Examples for a model that gives scores of classes."""
    generator = np.random.default_rng(5)
    shape = (size, *model.input_shape[1:])
    is_tokens = any(type(layer).__name__ == "Embedding" for layer in model.layers)
    x = generator.integers(0, 7, shape) if is_tokens else generator.standard_normal(shape).astype("float32")
    return x, generator.integers(0, 3, (size, *model.output_shape[1:-1]))
