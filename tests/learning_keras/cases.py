"""The models that the tests translate: each kind of layer in a model as small as it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def activations() -> Any:
    names = ("relu", "tanh", "sigmoid", "softplus", "softmax", "linear")
    return chain(layers().Input((4,)), *(layers().Dense(4, activation=name) for name in names))


CASES: Mapping[str, Callable[[], Any]] = {
    "Activation": lambda: flat(layers().Activation("tanh")),
    "AveragePooling2D": lambda: flat(layers().AveragePooling2D(2)),
    "Conv2D same": lambda: flat(layers().Conv2D(3, 3, padding="same")),
    "Conv2D valid": lambda: flat(layers().Conv2D(3, (2, 3), activation="relu")),
    "Conv2D strides same": lambda: flat(layers().Conv2D(3, 3, strides=2, padding="same", use_bias=False)),
    "Conv2D strides valid": lambda: flat(layers().Conv2D(3, 3, strides=2)),
    "Dense activations": activations,
    "Dense without bias": lambda: chain(layers().Input((4,)), layers().Dense(3, use_bias=False)),
    "Dense over time": lambda: time(layers().Dense(3)),
    "Dropout at 0": lambda: flat(layers().Dropout(0.0)),
    "Embedding": lambda: tokens(layers().Flatten(), layers().Dense(3)),
    "Flatten": flat,
    "LSTM last": lambda: time(layers().LSTM(3)),
    "LSTM sequence": lambda: time(layers().LSTM(3, return_sequences=True)),
    "LSTM stacked": lambda: tokens(layers().LSTM(3, return_sequences=True), layers().LSTM(3, use_bias=False)),
    "LayerNormalization": lambda: time(layers().LayerNormalization(), layers().Dense(3)),
    "LayerNormalization plain": lambda: flat(layers().LayerNormalization(center=False, scale=False, epsilon=1e-5)),
    "MaxPooling2D": lambda: flat(layers().MaxPooling2D(2)),
    "MaxPooling2D cuts": lambda: flat(layers().MaxPooling2D((4, 4))),
    "ReLU": lambda: flat(layers().ReLU()),
    "Rescaling": lambda: flat(layers().Rescaling(1 / 127.5, offset=-1)),
    "Reshape": lambda: chain(image(), layers().Reshape((12, -1)), layers().Dense(3)),
    "Softmax": lambda: flat(layers().Softmax()),
    "functional": functional,
    "nested": nested,
}


def batch_for(model: Any, size: int = 4) -> Batch:
    """Examples for a model that gives scores of classes."""
    generator = np.random.default_rng(5)
    shape = (size, *model.input_shape[1:])
    is_tokens = type(model.layers[0]).__name__ == "Embedding"
    x = generator.integers(0, 7, shape) if is_tokens else generator.standard_normal(shape).astype("float32")
    return x, generator.integers(0, 3, (size, *model.output_shape[1:-1]))
