"""The models in JAX: the mean loss of a batch, from a list of weights. `mask` tells examples from filling."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def _cross_entropy(logits, labels, mask):
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)[..., 0]
    losses = losses.reshape(losses.shape[0], -1).mean(1)
    return jnp.sum(losses * mask) / jnp.sum(mask)


def softmax(w, x, y, mask):
    """Softmax regression."""
    return _cross_entropy(x @ w[0] + w[1], y, mask)


def cnn(w, x, y, mask):
    """Two convolutions of 3 by 3, a pooling, two dense layers."""
    for kernel, bias in ((w[0], w[1]), (w[2], w[3])):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + bias)
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    hidden = jax.nn.relu(x.reshape(x.shape[0], -1) @ w[4] + w[5])
    return _cross_entropy(hidden @ w[6] + w[7], y, mask)


def lstm(w, x, y, mask):
    """An embedding, one LSTM, a dense layer without bias."""

    def step(carry, given):
        hidden, cell = carry
        i, f, c, o = jnp.split(given @ w[1] + hidden @ w[2] + w[3], 4, axis=1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(c)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    zero = jnp.zeros((x.shape[0], w[2].shape[0]), jnp.float32)
    _, outputs = jax.lax.scan(step, (zero, zero), jnp.swapaxes(w[0][x], 0, 1))
    return _cross_entropy(jnp.swapaxes(outputs @ w[4], 0, 1), y, mask)


MODELS = {"softmax": softmax, "cnn": cnn, "lstm": lstm}
