"""The models of the workloads: each as a program, as a TensorFlow loss for the centralised loop, and in Keras.

The weights of all three are the same arrays in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fedlang as fl

PROGRAMS = Path(__file__).parent / "programs"
DIGITS = Path(__file__).parent.parent / "examples" / "mnist.fed"
Weights = list[Any]


@dataclass(frozen=True)
class Program:
    """A process in a file, what its examples' fields are called, and examples for it: `count` of them, x and y."""

    name: str
    file: Path
    process: str
    fields: tuple[str, str]
    examples: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]

    def load(self) -> fl.Process:
        """The process, compiled anew."""
        found = fl.load(self.file).entry(self.process)
        assert isinstance(found, fl.Process)
        return found


@dataclass(frozen=True)
class Model(Program):
    """A program, and the same model in TensorFlow and in Keras.

    `loss(tf, weights, x, y)` is the mean over a batch; `layers(keras)` gives a network's layers.
    """

    loss: Callable[[Any, Weights, Any, Any], Any]
    layers: Callable[[Any], list[Any]]


def _softmax_loss(tf: Any, w: Weights, x: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, x @ w[0] + w[1]))


def _cnn_loss(tf: Any, w: Weights, x: Any, y: Any) -> Any:
    first = tf.nn.relu(tf.nn.conv2d(x, w[0], 1, "VALID") + w[1])
    second = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(first, w[2], 1, "VALID") + w[3]), 2, 2, "VALID")
    hidden = tf.nn.relu(tf.reshape(second, [-1, 12544]) @ w[4] + w[5])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, hidden @ w[6] + w[7]))


def _lstm_loss(tf: Any, w: Weights, tokens: Any, following: Any) -> Any:
    xs = tf.transpose(tf.gather(w[0], tokens), [1, 0, 2])

    def step(t: Any, hidden: Any, cell: Any, outputs: Any) -> tuple[Any, ...]:
        i, f, c, o = tf.split(xs[t] @ w[1] + hidden @ w[2] + w[3], 4, axis=1)
        cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
        hidden = tf.sigmoid(o) * tf.tanh(cell)
        return t + 1, hidden, cell, outputs.write(t, hidden)

    zero = tf.zeros([tf.shape(tokens)[0], 256])
    first = (tf.constant(0), zero, zero, tf.TensorArray(tf.float32, 80))
    outputs = tf.while_loop(lambda t, *_: t < 80, step, first)[3].stack()
    targets = tf.transpose(following, [1, 0])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, outputs @ w[4]))


def _digits(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return random.random((count, 784), dtype=np.float32), random.integers(0, 10, count, dtype=np.int32)


def _pictures(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return random.random((count, 32, 32, 3), dtype=np.float32), random.integers(0, 10, count, dtype=np.int32)


def _text(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    text = random.integers(0, 86, (count, 81), dtype=np.int32)
    return np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])


def _softmax_layers(keras: Any) -> list[Any]:
    return [keras.layers.Input((784,)), keras.layers.Dense(10)]


def _cnn_layers(keras: Any) -> list[Any]:
    layers = keras.layers
    return [
        layers.Input((32, 32, 3)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ]


def _lstm_layers(keras: Any) -> list[Any]:
    layers = keras.layers
    return [
        layers.Input((80,)),
        layers.Embedding(86, 8),
        layers.LSTM(256, return_sequences=True),
        layers.Dense(86, use_bias=False),
    ]


SOFTMAX = Model("softmax", DIGITS, "mnist", ("x", "y"), _digits, _softmax_loss, _softmax_layers)
CNN = Model("cnn", PROGRAMS / "cnn.fed", "cnn", ("x", "y"), _pictures, _cnn_loss, _cnn_layers)
LSTM = Model("lstm", PROGRAMS / "lstm.fed", "characters", ("tokens", "next"), _text, _lstm_loss, _lstm_layers)
