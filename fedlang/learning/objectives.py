"""Losses of Keras for models that are called: any that `keras.losses` takes, or a function of labels and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Objective = Callable[[Any, Any], Any]


def objective_of(loss: Any) -> Objective:
    """The mean loss over a batch, a number.

    Of a model with several outputs, `loss` is a mapping or a sequence like the outputs, and the losses are summed.
    """
    import tensorflow as tf

    if isinstance(loss, Mapping) and not {"class_name", "config"} <= set(loss):
        each = {name: objective_of(inner) for name, inner in loss.items()}
        return lambda y, predicted: tf.add_n([one(y[name], predicted[name]) for name, one in each.items()])
    if isinstance(loss, tuple | list):
        several = [objective_of(inner) for inner in loss]
        return lambda y, predicted: tf.add_n(
            [one(*pair) for one, pair in zip(several, zip(y, predicted, strict=True), strict=True)]
        )
    function = loss_object(loss)
    return lambda y, predicted: tf.reduce_mean(tf.cast(function(y, predicted), tf.float32))


def loss_object(loss: Any) -> Any:
    """A `keras.losses.Loss`, which fits the ranks of labels and predictions to each other."""
    import keras

    found = keras.losses.get(loss)
    if isinstance(found, keras.losses.Loss):
        return found

    class OfFunction(keras.losses.Loss):  # type: ignore[misc]
        """A function as a loss."""

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return found(_as_ranked(y_true, y_pred), y_pred)

    return OfFunction(name=getattr(found, "__name__", "loss"))


def _as_ranked(y: Any, predicted: Any) -> Any:
    """Labels with the axis of size 1 that predictions have, or without the one that they have not."""
    import tensorflow as tf

    if len(y.shape) + 1 == len(predicted.shape) and predicted.shape[-1] == 1:
        return tf.expand_dims(y, -1)
    if len(y.shape) == len(predicted.shape) + 1 and y.shape[-1] == 1:
        return tf.squeeze(y, -1)
    return y


def name_of(loss: Any) -> str:
    """The name that says which accuracy goes with a loss."""
    if isinstance(loss, str):
        return loss.lower()
    return str(getattr(loss, "__name__", type(loss).__name__)).lower()
